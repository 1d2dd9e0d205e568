package httpapi

import "flashsale/engine"

// Numbers are read by the rules that every way into the system shares.

func isInteger(text []byte) bool { return engine.IsInteger(text) }

func parseInteger(text []byte) (n int64, ok bool) { return engine.ParseInteger(text) }

func parseCents(text []byte) (cents int64, ok bool) { return engine.ParseCents(text) }
