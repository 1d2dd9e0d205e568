package main

import (
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
)

// loadEnvFile reads a file of NAME=value lines as the source of settings that neither a flag nor the environment gives:
// flag > environment > file.
func loadEnvFile(r io.Reader) (kong.Resolver, error) {
	values, err := godotenv.Parse(r)
	if err != nil {
		return nil, fmt.Errorf("settings file: %w", err)
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
