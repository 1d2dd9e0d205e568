package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// newLogger writes JSON in production and coloured lines on a terminal.
func newLogger(out *os.File, json bool) *slog.Logger {
	if json {
		return slog.New(slog.NewJSONHandler(out, nil))
	}
	return slog.New(tint.NewTextHandler(out, &tint.Options{
		TimeFormat: time.TimeOnly, NoColor: !isatty.IsTerminal(out.Fd()),
	}))
}
