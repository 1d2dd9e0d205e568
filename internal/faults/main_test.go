package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"flashsale/internal/devstack/devtest"
)

// binary is the program under attack, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "flashsale-faults-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "flashsale")
	build := exec.Command("go", "build", "-o", binary, "flashsale/cmd/flashsale")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	return devtest.Main(m)
}
