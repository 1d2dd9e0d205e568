// Package layout holds the tests that keep the shape of this repository: who
// imports whom, and how long things may get. The linter says the same earlier;
// a comment can silence a linter, not these tests.
package layout
