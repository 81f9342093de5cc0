package configs

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

// oversize refuses what is too much for the TOML library and is no havip
// configuration anyway.
func oversize(name string, data []byte) (Problem, bool) {
	if len(data) > maxFile {
		return Problem{
			Place: Place{File: name, Line: 1}, What: fmt.Sprintf("the file has more than %d bytes", maxFile),
			Fix: "give a havip configuration, which is far shorter",
		}, true
	}
	number, count := 0, 0
	for line := range bytes.Lines(data) {
		number++
		if bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")) {
			continue
		}
		if count += bytes.Count(line, []byte(".")) + bytes.Count(line, []byte("{")); count > maxNesting {
			return Problem{
				Place: Place{File: name, Line: number}, What: fmt.Sprintf("up to here are more than %d dots and braces", maxNesting),
				Fix: "give a havip configuration, which has far fewer",
			}, true
		}
	}
	return Problem{}, false
}

// syntaxProblem explains why the file is no TOML. The library stops at the first
// reason, so there is only one.
func syntaxProblem(name string, data []byte, err error) Problem {
	p := Problem{Place: Place{File: name, Line: 1}, What: err.Error()}
	var pe toml.ParseError
	if errors.As(err, &pe) {
		p.What = pe.Message
		p.Line = max(1, pe.Position.Line)
		p.Column = max(1, pe.Position.Col)
	}
	line := lineOf(data, p.Line)
	if p.Column > len(line)+1 {
		p.Column = 0 // of a key that is there twice the library counts beyond the line
	}
	p.What = "not TOML: " + strings.TrimSuffix(strings.ReplaceAll(p.What, "\n", " "), ".")
	p.Fix = syntaxFix(p.What, line)
	return p
}

func lineOf(data []byte, number int) string {
	lines := strings.Split(string(data), "\n")
	if number > len(lines) {
		return ""
	}
	return strings.TrimRight(lines[number-1], "\r")
}

// bareValue is a key and a value that looks like text without quotes.
var bareValue = regexp.MustCompile(`^\s*([A-Za-z0-9_.-]+)\s*=\s*([^\s"'\[\]{}=#,]+)\s*(?:#.*)?$`)

// syntaxFix says what to do about the mistakes that people make.
func syntaxFix(what, line string) string {
	match := bareValue.FindStringSubmatch(line)
	switch {
	case strings.Contains(what, "already been defined"):
		return "keep one of them"
	case strings.Contains(what, "UTF-16"):
		return "save the file as UTF-8"
	case match != nil:
		return fmt.Sprintf("put the value in quotes: %s = %q", match[1], match[2])
	case strings.TrimSpace(line) != "" && !strings.Contains(line, "=") && !strings.Contains(line, "["):
		return `write key = "value", or begin a comment with #`
	}
	return "see https://toml.io/en/v1.0.0 for the syntax"
}
