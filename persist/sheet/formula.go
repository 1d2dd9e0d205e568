package sheet

import (
	"strings"
	"unicode"
)

// formulaStarts begin what a spreadsheet takes for a formula, in the wide letters of East Asian keyboards too.
const formulaStarts = "=+-@＝＋－＠"

// looksLikeFormula tells whether a spreadsheet might execute text. Apostrophes before it count as guards of it.
func looksLikeFormula(text string) bool {
	text = strings.TrimLeftFunc(strings.TrimLeft(text, "'"), unicode.IsSpace)
	for _, first := range text {
		return strings.ContainsRune(formulaStarts, first)
	}
	return false
}

// guard puts an apostrophe, which makes it text, before what a spreadsheet might execute: names are written by many, and
// the file is opened by somebody who may do more. What has apostrophes there gets one more, so unguard takes back
// exactly what guard has given.
func guard(text string) string {
	if looksLikeFormula(text) {
		return "'" + text
	}
	return text
}

// unguard takes the apostrophe of guard away.
func unguard(text string) string {
	if bare, guarded := strings.CutPrefix(text, "'"); guarded && looksLikeFormula(bare) {
		return bare
	}
	return text
}
