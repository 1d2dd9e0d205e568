package httpapi

// isInteger tells whether text is a JSON number without fraction and exponent. -0 is none: it has another spelling.
func isInteger(text []byte) bool {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || digits[0] == '0' && len(text) > 1 {
		return false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// maxIntegerLen bounds the integers that are parsed, sign included: all of them fit into an int64.
const maxIntegerLen = 18

// parseInteger returns the value of a JSON integer of at most 18 characters, which is more than any field takes.
func parseInteger(text []byte) (n int64, ok bool) {
	if len(text) > maxIntegerLen || !isInteger(text) {
		return 0, false
	}
	digits := text
	if digits[0] == '-' {
		digits = digits[1:]
	}
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(text) {
		n = -n
	}
	return n, true
}

// parseCents returns the hundredths in a JSON number without sign and exponent that has at most two decimals.
func parseCents(text []byte) (cents int64, ok bool) {
	whole, decimals := text, []byte(nil)
	for i, c := range text {
		if c == '.' {
			whole, decimals = text[:i], text[i+1:]
			if len(decimals) == 0 || len(decimals) > 2 {
				return 0, false
			}
			break
		}
	}
	units, ok := parseInteger(whole)
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
