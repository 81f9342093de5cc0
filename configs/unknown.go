package configs

import (
	"fmt"
	"slices"
	"strings"
)

// known reports whether the schema has this key or section.
func known(path string) bool {
	return slices.Contains(knownPaths(), path)
}

// knownPaths returns every section and key, in the order of the schema.
func knownPaths() []string {
	var paths []string
	for _, s := range schema {
		paths = append(paths, s.name)
		for _, k := range s.keys {
			paths = append(paths, s.name+"."+k.name)
		}
	}
	return paths
}

func unknownWhat(value any) string {
	if isTable(value) {
		return "unknown section"
	}
	return "unknown key"
}

// unknownFix says what was probably meant by an unknown key of a section; the
// section is empty for the top of the file.
func unknownFix(section, name string) string {
	if near := nearest(name, siblings(section)); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	for _, s := range schema {
		for _, k := range s.keys {
			if k.name == name {
				return fmt.Sprintf("it belongs under [%s]", s.name)
			}
		}
	}
	return fmt.Sprintf("remove it; known here: %s", strings.Join(siblings(section), ", "))
}

// siblings returns the names that may stand in a section.
func siblings(section string) []string {
	var names []string
	for _, path := range knownPaths() {
		within, name, nested := cutLast(path)
		if within == section && (nested || section == "") {
			names = append(names, name)
		}
	}
	return names
}

// cutLast splits a dotted path before its last part.
func cutLast(path string) (within, name string, nested bool) {
	i := strings.LastIndex(path, ".")
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// nearest returns the candidate that a slip of the keyboard makes of the name,
// or nothing.
func nearest(name string, candidates []string) string {
	if len(name) > 64 {
		return ""
	}
	best, bestDistance := "", 3
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), c); d < bestDistance && d < len(c) {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the bytes to insert, remove or change to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
