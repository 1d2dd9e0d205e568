//go:build !unix

package atonce

func write(uintptr, []byte) (int, error) { return 0, nil }
