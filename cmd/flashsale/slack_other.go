//go:build !linux

package main

// allowTimerSlack does nothing: only Linux has it.
func allowTimerSlack() {}
