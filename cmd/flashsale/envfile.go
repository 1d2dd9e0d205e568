package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
)

var errSettingsFile = errors.New("settings file: not made of NAME=value lines")

// loadEnvFile reads a file of NAME=value lines as the source of settings that neither a flag nor the environment gives:
// flag > environment > file.
func loadEnvFile(r io.Reader) (kong.Resolver, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("settings file: %w", err)
	}
	values, err := godotenv.UnmarshalBytes(text)
	if err != nil {
		return nil, errSettingsFile // without the parser's words: they repeat the line, which may be a password
	}
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if _, set := os.LookupEnv(name); set {
				return nil, nil //nolint:nilnil // kong's way to say that this source has no value
			}
		}
		for _, name := range flag.Envs {
			if value, ok := values[name]; ok {
				return value, nil
			}
		}
		return nil, nil //nolint:nilnil // kong's way to say that this source has no value
	}), nil
}
