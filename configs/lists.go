package configs

import (
	"fmt"
	"strings"
)

// A listing is a key that takes a list of texts; one text stands for a list of
// one.
type listing[T any] struct {
	name, takes, doc, example string
	derived                   string // what the default is

	field func(*Config) *[]T
	parse func(s string, report reporter) (T, bool)
	write func(T) string

	// same tells which two values may not stand beside each other; nil: any may.
	same func(T) string

	// whole looks at a list whose values are all right; nil: nothing to see.
	whole func(list []T, report reporter) bool

	// empty makes a list without values different from no key.
	empty bool
}

func (l listing[T]) key() key {
	return key{name: l.name, takes: l.takes, doc: l.doc, example: l.example, derived: l.derived, read: l.read, show: l.show}
}

func (l listing[T]) read(c *Config, v any, report reporter) {
	values, ok := v.([]any)
	if !ok {
		if _, ok := v.(string); !ok {
			report("is "+typeName(v)+", must be a list of texts", "write a list such as "+l.example)
			return
		}
		values = []any{v}
	}
	list, right := []T{}, true
	seen := make(map[string]bool)
	for _, value := range values {
		one, ok := l.readOne(value, report)
		right = right && ok
		if !ok {
			continue
		}
		if l.same != nil {
			if seen[l.same(one)] {
				report(fmt.Sprintf("has %q twice", l.same(one)), "keep one of them")
				right = false
			}
			seen[l.same(one)] = true
		}
		list = append(list, one)
	}
	if !right || l.whole != nil && !l.whole(list, report) {
		return
	}
	if len(list) == 0 && !l.empty {
		list = nil
	}
	*l.field(c) = list
}

func (l listing[T]) readOne(value any, report reporter) (T, bool) {
	var none T
	s, ok := value.(string)
	switch {
	case !ok:
		report("has "+typeName(value)+" in its list", "write each value in quotes")
	case strings.TrimSpace(s) != s || s == "" || hasControl(s):
		report(fmt.Sprintf("has %q in its list", s), "write values without spaces at either end, or remove it")
	default:
		return l.parse(s, report)
	}
	return none, false
}

func (l listing[T]) show(c *Config) string {
	list := *l.field(c)
	if len(list) == 0 && (!l.empty || list == nil) {
		return ""
	}
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = literal(l.write(one))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// boolKey is a key that takes true or false.
func boolKey(name, doc string, field func(*Config) *bool) key {
	return key{
		name: name, takes: "true or false", doc: doc,
		read: func(c *Config, v any, report reporter) {
			b, ok := v.(bool)
			if !ok {
				report("is "+typeName(v)+", must be true or false", "write true or false, without quotes")
				return
			}
			*field(c) = b
		},
		show: func(c *Config) string { return fmt.Sprint(*field(c)) },
	}
}
