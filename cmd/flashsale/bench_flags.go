package main

import (
	"errors"
	"fmt"

	"github.com/alecthomas/kong"
)

var (
	errTwoServices = errors.New("--target: --dev starts a service of its own; say one of the two")
	errNoHolds     = errors.New("--hold-seconds: only --scenario holds has holds")
	errNotOurs     = errors.New("it is a setting of the service that --dev starts; the one at --target has its own")
)

// checkFlags fails where something was asked for on the command line that this sale would not heed. What the environment has is
// for other commands too.
func (b *benchRun) checkFlags(parsed *kong.Context) error {
	if b.Dev && b.Target != "" {
		return errTwoServices
	}
	for _, path := range parsed.Path {
		if path.Flag == nil || path.Resolved {
			continue
		}
		switch {
		case path.Flag.Name == "hold-seconds" && b.Scenario != "holds":
			return errNoHolds
		case !b.Dev && b.isOfTheService(path.Flag):
			return fmt.Errorf("--%s: %w%s", path.Flag.Name, errNotOurs, hint(path.Flag.Name))
		}
	}
	return nil
}

// isOfTheService is true for what a service is started with. The ledger's address is the bench's own where it reads rows.
func (b *benchRun) isOfTheService(flag *kong.Flag) bool {
	if flag.Name == "data-dir" {
		return true
	}
	if flag.Group == nil {
		return false
	}
	return flag.Group.Key == "Redis" || flag.Group.Key == "Engine" || flag.Group.Key == "Postgres" && !b.Rows
}

// hint names the flag that may have been meant.
func hint(flag string) string {
	if flag == "durability" {
		return "; --ask goes with each order"
	}
	return ""
}
