package engine

// IsInteger tells whether text is a JSON number without fraction and exponent. -0 is none: it has another spelling.
func IsInteger[T string | []byte](text T) bool {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || digits[0] == '0' && len(text) > 1 {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}

// maxIntegerLen bounds the integers that are parsed, sign included: all of them fit into an int64.
const maxIntegerLen = 18

// ParseInteger returns the value of a JSON integer of at most 18 characters, which is more than any field takes.
func ParseInteger[T string | []byte](text T) (n int64, ok bool) {
	if len(text) > maxIntegerLen || !IsInteger(text) {
		return 0, false
	}
	digits := text
	if digits[0] == '-' {
		digits = digits[1:]
	}
	for i := range len(digits) {
		n = n*10 + int64(digits[i]-'0')
	}
	if len(digits) < len(text) {
		n = -n
	}
	return n, true
}

// ParseCents returns the hundredths in a JSON number without sign and exponent that has at most two decimals.
func ParseCents[T string | []byte](text T) (cents int64, ok bool) {
	whole, decimals := text, text[:0]
	for i := range len(text) {
		if text[i] == '.' {
			whole, decimals = text[:i], text[i+1:]
			if len(decimals) == 0 || len(decimals) > 2 {
				return 0, false
			}
			break
		}
	}
	units, ok := ParseInteger(whole)
	if !ok || text[0] == '-' || len(whole) > maxIntegerLen-2 {
		return 0, false
	}
	cents = units * 100
	for i, worth := 0, int64(10); i < len(decimals); i, worth = i+1, worth/10 {
		if decimals[i] < '0' || decimals[i] > '9' {
			return 0, false
		}
		cents += int64(decimals[i]-'0') * worth
	}
	return cents, true
}
