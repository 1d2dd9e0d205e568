package httpapi

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"flashsale/engine"
)

// maxFieldShown is how much of an unknown field's name is repeated to its sender, in bytes.
const maxFieldShown = 64

func unknownField(name string) *engine.Error {
	return wrongField(name, "is not a field of this request")
}

func repeatedField(name string) *engine.Error { return wrongField(name, "appears twice") }

func missingField(name string) *engine.Error { return engine.Invalid(name, "is missing") }

// wrongField copies the name, which may lie in memory that is used again. One that is empty is named by its quotes.
func wrongField(name, what string) *engine.Error {
	if name == "" {
		name = `""`
	}
	if len(name) > maxFieldShown {
		name = name[:maxFieldShown] + "…"
	}
	return engine.Invalid(strings.ToValidUTF8(name, "\ufffd"), what)
}

// eachMember calls take for every member of a body that must be one JSON object with no field twice. Bodies of admins
// are few, so encoding/json reads them: it is stricter about strings than fastjson.
func eachMember(body []byte, take func(name string, value json.RawMessage) error) error {
	if !utf8.Valid(body) || !json.Valid(body) {
		return errMalformed
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return errNoObject
	}
	seen := make(map[string]bool)
	for decoder.More() {
		token, err := decoder.Token()
		name, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || decoder.Decode(&value) != nil {
			return errMalformed
		}
		if seen[name] {
			return repeatedField(name)
		}
		seen[name] = true
		if err := take(name, value); err != nil {
			return err
		}
	}
	return nil
}

// textValue returns a JSON string.
func textValue(value json.RawMessage) (text string, ok bool) {
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	return text, json.Unmarshal(value, &text) == nil && hasWholePairs(value)
}

// hasWholePairs tells whether every escape of a surrogate has its other half: encoding/json makes U+FFFD of one alone, which
// nobody wrote. The value is sound JSON.
func hasWholePairs(value []byte) bool {
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		i++
		if value[i] != 'u' {
			continue
		}
		first := escapedUnit(value[i-1:])
		i += escapeLength - 2
		if !utf16.IsSurrogate(first) {
			continue
		}
		if utf16.DecodeRune(first, escapedUnit(value[i+1:])) == utf8.RuneError {
			return false
		}
		i += escapeLength
	}
	return true
}

const escapeLength = len(`\u0000`)

// escapedUnit returns the UTF-16 unit whose escape text begins with; 0 = it begins with none.
func escapedUnit(text []byte) rune {
	if len(text) < escapeLength || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(text[2:escapeLength]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(unit)
}

// plainText returns a JSON string of minimum to maximum characters, none of them a control character.
func plainText(value json.RawMessage, minimum, maximum int) (text string, ok bool) {
	text, ok = textValue(value)
	return text, ok && engine.ValidText(text, minimum, maximum)
}

// integerValue returns a JSON integer from minimum to maximum.
func integerValue(value json.RawMessage, minimum, maximum int64) (n int64, ok bool) {
	n, ok = parseInteger(value)
	return n, ok && n >= minimum && n <= maximum
}

// boolValue returns true or false.
func boolValue(value json.RawMessage) (b, ok bool) {
	text := string(value)
	return text == "true", text == "true" || text == "false"
}
