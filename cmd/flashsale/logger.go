package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// logSettings say how much is logged.
type logSettings struct {
	LogLevel string `env:"LOG_LEVEL" group:"Log" help:"debug, info, warn or error; SIGHUP changes it to debug, and back." default:"info" enum:"debug,info,warn,error"`
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// newLogger writes JSON in production and coloured lines on a terminal, from a level on that may change.
func newLogger(out *os.File, json bool, level slog.Leveler) *slog.Logger {
	if json {
		return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: withUnit}))
	}
	return slog.New(tint.NewTextHandler(out, &tint.Options{
		Level: level, TimeFormat: time.TimeOnly, NoColor: !isatty.IsTerminal(out.Fd()),
	}))
}

// withUnit writes a time that something took as people read it, 1.5s: nanoseconds without a unit would be taken for anything.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// loggedError is one that the log has, so that it is not told again.
type loggedError struct{ error }

// Unwrap returns what it is about.
func (e loggedError) Unwrap() error { return e.error }

// logEnd has the log say why a service ends where whoever reads it reads nothing but JSON.
func logEnd(err error) error {
	if err == nil {
		return nil
	}
	slog.Error("ended", "error", oneLine(err))
	return loggedError{err}
}

// logLevel is the level in force. A SIGHUP turns to debug what is not, and the next one back.
type logLevel struct {
	slog.LevelVar
	usual  slog.Level
	hangup chan os.Signal
}

// newLogLevel takes SIGHUP from now on. In development it goes on ending the process: a terminal that is closed sends it.
func newLogLevel(usual slog.Level, development bool) *logLevel {
	l := &logLevel{usual: usual, hangup: make(chan os.Signal, 1)}
	l.Set(usual)
	if !development {
		signal.Notify(l.hangup, syscall.SIGHUP)
	}
	return l
}

// run follows the signals until ctx ends.
func (l *logLevel) run(ctx context.Context) error {
	for {
		select {
		case <-l.hangup:
			l.turn()
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *logLevel) turn() {
	next := slog.LevelDebug
	if l.Level() == slog.LevelDebug {
		next = max(l.usual, slog.LevelInfo)
	}
	slog.Warn("log level changes", "from", l.Level(), "to", next) // seen unless only errors are wanted
	l.Set(next)
}
