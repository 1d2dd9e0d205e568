package httpapi

import (
	"strconv"
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendString appends text as a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, text[start:i]...), "\ufffd"...)
				start = i + size
			}
			i += size
			continue
		}
		if c < ' ' || c == '"' || c == '\\' {
			dst = append(dst, text[start:i]...)
			dst = appendEscape(dst, c)
			start = i + 1
		}
		i++
	}
	dst = append(dst, text[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	if c == '"' || c == '\\' {
		return append(dst, '\\', c)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// appendTime appends an instant, in ms since 1970, as a JSON string in ISO 8601, UTC, with milliseconds. It is
// hand-written because it is on the path of every order; the years are 0 to 9999.
func appendTime(dst []byte, ms int64) []byte {
	const dayMs = 24 * 60 * 60 * 1000
	days, rest := ms/dayMs, ms%dayMs
	if rest < 0 {
		days, rest = days-1, rest+dayMs
	}
	year, month, day := civil(days)
	dst = append(dst, '"')
	dst = appendDigits(dst, year, 4)
	dst = appendDigits(append(dst, '-'), month, 2)
	dst = appendDigits(append(dst, '-'), day, 2)
	dst = appendDigits(append(dst, 'T'), rest/3_600_000, 2)
	dst = appendDigits(append(dst, ':'), rest/60_000%60, 2)
	dst = appendDigits(append(dst, ':'), rest/1000%60, 2)
	dst = appendDigits(append(dst, '.'), rest%1000, 3)
	return append(dst, 'Z', '"')
}

// civil returns the date that is days after 1970-01-01, in the proleptic Gregorian calendar, by counting in eras of
// 400 years that begin on 1 March (H. Hinnant, chrono-compatible low-level date algorithms).
func civil(days int64) (year, month, day int64) {
	const daysPerEra = 146_097
	days += 719_468 // since 0000-03-01
	era := days / daysPerEra
	if days < 0 {
		era = (days - daysPerEra + 1) / daysPerEra
	}
	dayOfEra := days - era*daysPerEra
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36_524 - dayOfEra/146_096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	marchMonth := (5*dayOfYear + 2) / 153
	day = dayOfYear - (153*marchMonth+2)/5 + 1
	month = marchMonth + 3
	if month > 12 {
		month -= 12
	}
	year = yearOfEra + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

// appendDigits appends n, not negative, in exactly width digits.
func appendDigits(dst []byte, n int64, width int) []byte {
	for range width {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= len(dst)-width; i-- {
		dst[i] = '0' + byte(n%10)
		n /= 10
	}
	return dst
}

// appendOptionalTime appends an instant, or null for the zero time.
func appendOptionalTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, "null"...)
	}
	return appendTime(dst, t.UnixMilli())
}

// appendThousandths appends n/1000, n not negative, with at most three decimals.
func appendThousandths(dst []byte, n int64) []byte {
	dst = strconv.AppendInt(dst, n/1000, 10)
	if n%1000 == 0 {
		return dst
	}
	dst = appendDigits(append(dst, '.'), n%1000, 3)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// appendCents appends an amount of hundredths, not negative: 20, 19.50.
func appendCents(dst []byte, cents int64) []byte {
	dst = strconv.AppendInt(dst, cents/100, 10)
	if cents%100 != 0 {
		dst = appendDigits(append(dst, '.'), cents%100, 2)
	}
	return dst
}

// The append functions below add one member: a name, with the comma before it, and a value.

func appendIntMember(dst []byte, head string, n int64) []byte {
	return strconv.AppendInt(append(dst, head...), n, 10)
}

func appendBoolMember(dst []byte, head string, b bool) []byte {
	return strconv.AppendBool(append(dst, head...), b)
}

func appendStringMember(dst []byte, head, text string) []byte {
	return appendString(append(dst, head...), text)
}
