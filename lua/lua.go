// Package lua holds the scripts that decide everything in Redis, one file per operation, embedded.
//
// README.md beside it describes the keyspace and every status. The package imports nothing of ours and runs nothing:
// engine runs the scripts and decodes their replies.
package lua

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.lua
var files embed.FS

// include is the line by which a script takes in the body of a fragment.
const include = "--@include "

// fragments are included by scripts and never run on their own.
var fragments = map[string]bool{"guard.lua": true, "books.lua": true, "counters.lua": true, "entries.lua": true}

// Names returns the file names of all scripts, sorted, fragments left out.
func Names() []string {
	entries, err := fs.Glob(files, "*.lua")
	if err != nil {
		panic("lua: " + err.Error()) // the pattern is a constant
	}
	names := entries[:0]
	for _, name := range entries {
		if !fragments[name] {
			names = append(names, name)
		}
	}
	return names
}

// Source returns the text of a script as it goes to Redis, its fragments included. It panics on a name that is not
// embedded, which is a mistake of the programmer.
func Source(name string) string {
	var out strings.Builder
	for line := range strings.Lines(Raw(name)) {
		if fragment, ok := strings.CutPrefix(strings.TrimSpace(line), include); ok {
			out.WriteString(Raw(fragment))
			continue
		}
		out.WriteString(line)
	}
	return out.String()
}

// Raw returns the text of a file as it is, header first.
func Raw(name string) string {
	text, err := files.ReadFile(name)
	if err != nil {
		panic("lua: " + err.Error())
	}
	return string(text)
}
