package configs

import (
	"fmt"
	"strconv"
	"time"
)

// A section is a table of the file.
type section struct {
	name string // dotted
	doc  string
	keys []key

	// entries is set where the keys are names that the operator chooses.
	entries *entries
}

// A key is one key of a section: how it is read, shown and explained.
type key struct {
	name    string
	takes   string // what may stand there, for people
	doc     string
	example string // TOML literal to show where the default is nothing
	derived string // what the default is, where it is not a constant

	read func(c *Config, v any, report reporter)
	show func(c *Config) string // TOML literal; empty if unset
}

// entries describes a section whose keys are master names.
type entries struct {
	takes   string
	deflt   string
	example func() *Config // a configuration to take the shown entries from
	read    func(c *Config, name string, v any, report reporter)
	show    func(c *Config) []entry
}

// An entry is a master name and the TOML literal beside it.
type entry struct{ name, value string }

// textKey is a key that takes one text, which parse checks and normalises.
func textKey(name, takes, doc string, field func(*Config) *string, parse func(string, reporter) (string, bool)) key {
	return key{
		name: name, takes: takes, doc: doc,
		read: func(c *Config, v any, report reporter) {
			s, ok := asText(v, report)
			if !ok {
				return
			}
			if s, ok = parse(s, report); ok {
				*field(c) = s
			}
		},
		show: func(c *Config) string {
			if s := *field(c); s != "" {
				return literal(s)
			}
			return ""
		},
	}
}

// pathKey is a key that takes an absolute path.
func pathKey(name, doc string, field func(*Config) *string) key {
	return textKey(name, "absolute path", doc, field, parsePath)
}

// durationKey is a key that takes a duration within bounds.
func durationKey(name, doc string, low, high time.Duration, field func(*Config) *time.Duration) key {
	takes := fmt.Sprintf("duration, %s to %s", durationText(low), durationText(high))
	return key{
		name: name, takes: takes, doc: doc,
		read: func(c *Config, v any, report reporter) {
			d, ok := asDuration(v, report)
			if !ok {
				return
			}
			if d < low || d > high {
				report(fmt.Sprintf("%s is out of bounds", durationText(d)),
					fmt.Sprintf("write a duration from %q to %q", durationText(low), durationText(high)))
				return
			}
			*field(c) = d
		},
		show: func(c *Config) string {
			if d := *field(c); d > 0 {
				return literal(durationText(d))
			}
			return ""
		},
	}
}

// countKey is a key that takes a whole number within bounds.
func countKey(name, doc string, low, high int, field func(*Config) *int) key {
	return key{
		name: name, takes: fmt.Sprintf("number, %d to %d", low, high), doc: doc,
		read: func(c *Config, v any, report reporter) {
			if n, ok := asCount(v, low, high, report); ok {
				*field(c) = n
			}
		},
		show: func(c *Config) string { return strconv.Itoa(*field(c)) },
	}
}

// literal writes a basic string (TOML 1.0, "String"). What goes in was checked
// to have no control characters, and for the rest Go's escapes are TOML's.
func literal(s string) string { return strconv.Quote(s) }

// keyLiteral writes a key, quoted where a bare one is not enough.
func keyLiteral(name string) string {
	for i := range len(name) {
		c := name[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return literal(name)
		}
	}
	if name == "" {
		return `""`
	}
	return name
}
