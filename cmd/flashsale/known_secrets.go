package main

import "strings"

// knownWords make up the secrets of examples and tutorials, once or repeated to the length that is asked for.
var knownWords = []string{
	"a", "admin", "at", "be", "bit", "bits", "change", "characters", "default", "development", "dev", "example", "flashsale",
	"in", "insecure", "is", "it", "jwt", "key", "least", "long", "me", "min", "must", "my", "not", "password", "please",
	"production", "replace", "root", "secret", "string", "super", "test", "the", "this", "to", "token", "user", "very", "with",
	"your", "123", "1234", "12345", "123456", "12345678", "1234567890", "0123456789", "256",
}

// maxTailDigits is how many digits at the end make a known secret no better: a year, say.
const maxTailDigits = 4

// wellKnown tells whether a secret is nothing but such words, or one sign over and over.
func wellKnown(secret string) bool {
	if secret == "" {
		return false
	}
	if strings.Trim(secret, secret[:1]) == "" {
		return true
	}
	for _, word := range strings.FieldsFunc(strings.ToLower(secret), isSeparator) {
		if !madeOfKnownWords(word) {
			return false
		}
	}
	return true
}

func isSeparator(r rune) bool { return (r < 'a' || r > 'z') && !isDigit(r) }

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

// madeOfKnownWords tells whether a text is a row of known words, whichever way it has to be cut.
func madeOfKnownWords(text string) bool {
	reached := make([]bool, len(text)+1)
	reached[0] = true
	for at := range text {
		if !reached[at] {
			continue
		}
		if rest := text[at:]; len(rest) <= maxTailDigits && strings.TrimFunc(rest, isDigit) == "" {
			return true
		}
		for _, word := range knownWords {
			if strings.HasPrefix(text[at:], word) {
				reached[at+len(word)] = true
			}
		}
	}
	return reached[len(text)]
}
