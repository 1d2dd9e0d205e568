package httpapi

// Almost all bodies of POST /orders are one object of strings without escapes and integers. Those are read in one pass; any
// other is the parser's, which also says what is wrong with it.

// readPlain reads such a body; false means that it is another, and nothing was to be taken.
func (f *orderFields) readPlain(body []byte) bool {
	rest, ok := behind(body, '{')
	for ok {
		var name, value member
		if name, rest = plainValue(rest); name.kind != memberString {
			return false
		}
		if rest, ok = behind(rest, ':'); !ok {
			return false
		}
		if value, rest = plainValue(rest); value.kind == memberOther {
			return false
		}
		f.take(name.text, value)
		if end, ended := behind(rest, '}'); ended {
			return len(skipSpace(end)) == 0
		}
		rest, ok = behind(rest, ',')
	}
	return false
}

// behind returns what follows a character, which may have space before it.
func behind(text []byte, c byte) (rest []byte, found bool) {
	text = skipSpace(text)
	if len(text) == 0 || text[0] != c {
		return nil, false
	}
	return text[1:], true
}

func skipSpace(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\n' || text[0] == '\t' || text[0] == '\r') {
		text = text[1:]
	}
	return text
}

// plainValue reads a string without escapes or an integer, and returns what follows it. Anything else is memberOther.
func plainValue(text []byte) (value member, rest []byte) {
	text = skipSpace(text)
	if len(text) > 0 && text[0] == '"' {
		return plainString(text[1:])
	}
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '-') {
		end++
	}
	if !isInteger(text[:end]) {
		return member{kind: memberOther}, nil
	}
	return member{memberNumber, text[:end]}, text[end:] // a fraction or an exponent is no end of a member
}

// plainString reads what stands before the next quote.
func plainString(text []byte) (value member, rest []byte) {
	for i, c := range text {
		if c == '"' {
			return member{memberString, text[:i]}, text[i+1:]
		}
		if c == '\\' || c < ' ' {
			break
		}
	}
	return member{kind: memberOther}, nil
}
