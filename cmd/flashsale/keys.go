package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"flashsale/httpapi/auth"
)

type keysCmd struct {
	New keysNew `cmd:"" help:"Make a key: prints it once, and the line for API_KEYS_FILE that lets it in."`
}

type keysNew struct {
	Scope string `required:"" help:"buyer, monitor or admin, or several with commas between them." placeholder:"SCOPES"`
	User  string `help:"The one buyer that a buyer's key may act for. Default: any, as the shop's backend needs."`
	Name  string `help:"Who has the key; the audit shows it. Default: key-<date>-<time>." placeholder:"NAME"`
}

// Run makes a key.
func (k *keysNew) Run() error { return k.print(os.Stdout, os.Stderr, time.Now()) }

// print writes the key and its line to out, and what they are for to notes: so `> file` keeps just the two.
func (k *keysNew) print(out, notes io.Writer, now time.Time) error {
	name := k.Name
	if name == "" {
		name = now.UTC().Format("key-20060102-150405")
	}
	key := auth.NewKey()
	line, err := auth.KeyLine(key, k.Scope, name, k.User)
	if err != nil {
		return fmt.Errorf("keys new: %w", err)
	}
	for _, part := range []struct {
		to   io.Writer
		text string
	}{
		{notes, "The key, shown this once; its bearer sends `Authorization: Bearer <key>`:\n"},
		{out, key + "\n"},
		{notes, "\nThe line for API_KEYS_FILE, from which the key can't be found out:\n"},
		{out, line + "\n"},
	} {
		if _, err := io.WriteString(part.to, part.text); err != nil {
			return fmt.Errorf("keys new: %w", err)
		}
	}
	return nil
}
