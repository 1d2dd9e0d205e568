// Package migrations embeds the ledger's schema, one goose file per step.
package migrations

import "embed"

// Files are the steps, in order of their names.
//
//go:embed *.sql
var Files embed.FS
