package main

import (
	"errors"
	"fmt"
	"iter"

	"github.com/alecthomas/kong"
)

var (
	errTwoServices = errors.New("--target: --dev starts a service of its own; say one of the two")
	errNotOurs     = errors.New("it is a setting of the service that --dev starts; the one at --target has its own")
	errNotOurRedis = errors.New("it is of the Redis that --dev starts; the one that is named has its own")
	errTwoServers  = errors.New("--dev starts servers of its own; say one of the two")
	errOwnPrefix   = errors.New("bench compare has one of its own, which goes again")
	errNoData      = errors.New("bench compare keeps no data: what --dev starts is on temporary folders")
)

// Flags that not every bench heeds.
const (
	flagDataDir = "data-dir"
	flagFsync   = "fsync"
	flagPrefix  = "redis-prefix"
)

// saidFlags are those of the command line. What the environment has is for other commands too.
func saidFlags(parsed *kong.Context) iter.Seq[*kong.Flag] {
	return func(yield func(*kong.Flag) bool) {
		for _, path := range parsed.Path {
			if path.Flag != nil && !path.Resolved && !yield(path.Flag) {
				return
			}
		}
	}
}

// checkFlags fails where something was asked for on the command line that this sale would not heed, whatever its scenario.
func (b *benchRun) checkFlags(parsed *kong.Context) error {
	if b.Dev && b.Target != "" {
		return errTwoServices
	}
	for flag := range saidFlags(parsed) {
		if !b.Dev && b.isOfTheService(flag) {
			return fmt.Errorf("--%s: %w%s", flag.Name, errNotOurs, hint(flag.Name))
		}
	}
	return nil
}

// isOfTheService is true for what a service is started with. The ledger's address is the bench's own where it reads rows.
func (b *benchRun) isOfTheService(flag *kong.Flag) bool {
	if flag.Name == flagDataDir {
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

// checkFlags fails where something was asked for on the command line that this competition would not heed.
func (b *benchCompare) checkFlags(parsed *kong.Context) error {
	for flag := range saidFlags(parsed) {
		switch flag.Name {
		case flagDataDir:
			return fmt.Errorf("--%s: %w", flag.Name, errNoData)
		case flagPrefix:
			return fmt.Errorf("--%s: %w", flag.Name, errOwnPrefix)
		}
	}
	return checkServerFlags(parsed, b.Dev)
}

// checkServerFlags fails where servers are both started and named, and where those that are named are asked for what only one
// that is started can have.
func checkServerFlags(parsed *kong.Context, dev bool) error {
	for flag := range saidFlags(parsed) {
		switch {
		case flag.Name == flagFsync && !dev:
			return fmt.Errorf("--%s: %w", flag.Name, errNotOurRedis)
		case dev && flag.Group != nil && (flag.Group.Key == "Redis" || flag.Group.Key == "Postgres"):
			return fmt.Errorf("--%s: %w", flag.Name, errTwoServers)
		}
	}
	return nil
}
