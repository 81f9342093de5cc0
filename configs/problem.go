package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds how many problems of one file are told. Who has more than
// that gave us some other file.
const maxProblems = 100

// Place is a position in a file.
type Place struct {
	File   string
	Line   int // from 1; 0 if it belongs to no line, as a missing key does
	Column int // from 1, in bytes; 0 if only the line is known
}

// String returns file:line:column as far as known, as compilers write it.
func (p Place) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is one reason why a file is refused. Line or Key is always set.
type Problem struct {
	Place
	Key  string // dotted path, such as "vip.address"; empty for broken syntax
	What string // what is wrong
	Fix  string // what to do about it
}

// String returns the problem on one line.
func (p Problem) String() string {
	parts := []string{p.Place.String()}
	if p.Key != "" {
		parts = append(parts, p.Key)
	}
	text := strings.Join(append(parts, p.What), ": ")
	if p.Fix != "" {
		text += "; " + p.Fix
	}
	return text
}

// Error makes a single problem an error.
func (p Problem) Error() string { return p.String() }

// Problems is every reason why a file is refused, in the order of the file. What
// belongs to no line comes first.
type Problems []Problem

// Error returns one problem on each line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
}

// Warning is about something that works, but probably not as meant.
type Warning Problem

// String returns the warning on one line.
func (w Warning) String() string { return Problem(w).String() }
