package load

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/valyala/fasthttp"
)

// Answer is what the server said. It holds until the script is asked for its next request.
type Answer struct {
	Status int
	Body   []byte

	head   []byte                   // lines of the headers of a plain answer
	header *fasthttp.ResponseHeader // of any other
}

// Header returns the value of a header; empty where there is none.
func (a *Answer) Header(name string) []byte {
	if a.header != nil {
		return a.header.Peek(name)
	}
	for rest := a.head; len(rest) > 0; {
		var key, value []byte
		if key, value, rest = headerLine(rest); bytes.EqualFold(key, []byte(name)) {
			return value
		}
	}
	return nil
}

var (
	plainStart = []byte("HTTP/1.1 ")
	headEnd    = []byte("\r\n\r\n")
)

// statusLen is the length of a status and the space behind it.
const statusLen = len("201 ")

// plainAnswer reads an answer that is there as a whole, has a length and leaves the connection open, and returns how many
// bytes it is. Any other is 0 bytes: fasthttp reads it, as it would have read this one.
func plainAnswer(text []byte) (a Answer, size int) {
	end := bytes.Index(text, headEnd)
	if end < 0 {
		return a, 0
	}
	line, head, _ := bytes.Cut(text[:end+len(headEnd)/2], []byte{'\n'})
	status, known := bytes.CutPrefix(line, plainStart)
	if !known || len(status) < statusLen || status[statusLen-1] != ' ' {
		return a, 0
	}
	code, err := strconv.Atoi(string(status[:statusLen-1]))
	if err != nil || code < http.StatusOK || code == http.StatusNoContent || code == http.StatusNotModified {
		return a, 0
	}
	body := end + len(headEnd)
	length := plainLength(head)
	if length < 0 || length > len(text)-body {
		return a, 0
	}
	return Answer{Status: code, Body: text[body : body+length], head: head}, body + length
}

// plainLength returns how long the body is that comes behind such headers; -1 where they do not say it alone.
func plainLength(head []byte) int {
	length := -1
	for len(head) > 0 {
		var key, value []byte
		key, value, head = headerLine(head)
		switch {
		case bytes.EqualFold(key, []byte("Content-Length")):
			n, err := strconv.ParseUint(string(value), 10, 31)
			if err != nil || length >= 0 {
				return -1
			}
			length = int(n)
		case !isHeaderName(key): // what goes on from the line before, or worse
			return -1
		case bytes.EqualFold(key, []byte("Connection")), bytes.EqualFold(key, []byte("Transfer-Encoding")):
			return -1
		}
	}
	return length
}

// headerLine returns the first of some lines, taken apart, and the others.
func headerLine(lines []byte) (name, value, rest []byte) {
	line, rest, _ := bytes.Cut(lines, []byte{'\n'})
	name, value, _ = bytes.Cut(line, []byte{':'})
	return name, bytes.Trim(value, " \r"), rest
}

// isHeaderName tells whether a name is of letters, digits and hyphens, as all are that anybody uses.
func isHeaderName(name []byte) bool {
	for _, c := range name {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(name) > 0
}
