// Package page shows what was measured as one HTML file that needs nothing else: no script, no other host. It is made to be
// read on a screen, light or dark, on a phone, and on paper, and to be pasted into somebody's report.
package page
