package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEverySettingIsDocumented holds the settings against what people read.
func TestEverySettingIsDocumented(t *testing.T) {
	_, parsed, err := parse(t, "", "serve")
	require.NoError(t, err)
	for _, file := range []string{"README.md", ".env.example"} {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		require.NoError(t, err)
		for _, flag := range parsed.Flags() {
			for _, name := range flag.Envs {
				if name != "FLASHSALE_CONFIG" {
					require.Contains(t, string(text), name, "%s does not name the setting", file)
				}
			}
		}
	}
}
