// Package sheet reads and writes products as a CSV table whose columns are named as in the HTTP API.
package sheet
