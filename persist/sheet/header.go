package sheet

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// What a header line is refused for.
var (
	errNoHeader       = errors.New("the file is empty: its first line must name the columns")
	errUnknownColumn  = errors.New("unknown column")
	errRepeatedColumn = errors.New("repeated column")
	errMissingColumn  = errors.New("missing column")
)

// readHeader returns the columns in the order of the file.
func readHeader(r *csv.Reader) ([]column, error) {
	names, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errNoHeader
	}
	if err != nil {
		return nil, fmt.Errorf("header line: %w", err)
	}
	if err := errors.Join(checkNames(names), checkRequired(names)); err != nil {
		return nil, fmt.Errorf("%w (the columns are %s)", err, strings.Join(Columns(), ", "))
	}
	order := make([]column, len(names))
	for i, name := range names {
		order[i] = columns[indexOf(name)]
	}
	return order, nil
}

func indexOf(name string) int {
	return slices.IndexFunc(columns, func(c column) bool { return c.name == name })
}

// checkNames stops at the first name that is wrong: in a file that is none of ours all of them are.
func checkNames(names []string) error {
	for i, name := range names {
		switch {
		case indexOf(name) < 0:
			return fmt.Errorf("%w %s", errUnknownColumn, quote(name))
		case slices.Contains(names[:i], name):
			return fmt.Errorf("%w %s", errRepeatedColumn, quote(name))
		}
	}
	return nil
}

func checkRequired(names []string) error {
	for i := range columns {
		if columns[i].required && !slices.Contains(names, columns[i].name) {
			return fmt.Errorf("%w %s", errMissingColumn, quote(columns[i].name))
		}
	}
	return nil
}
