package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"havip/daemon/status"
	"havip/test/docs"
)

// TestDocumentedCommands: each command line of the documentation is one that
// havipctl understands. Nothing is carried out.
func TestDocumentedCommands(t *testing.T) {
	pages, err := docs.Pages("../..")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range pages {
		lines, err := p.Commands()
		if err != nil {
			t.Error(err)
		}
		for _, l := range append(lines, usages(p)...) {
			commands, err := l.Simple()
			if err != nil {
				t.Error(err)
			}
			for _, words := range commands {
				if words[0] != "havipctl" {
					continue
				}
				n++
				if err := parse(words[1:]); err != nil {
					t.Errorf("%v: %v", l, err)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("%d commands found", n)
	}
}

// usages are the mentions in sentences and tables; [options] count as given, the
// first of two that exclude each other, and N is a number.
func usages(p docs.Page) []docs.Line {
	lines := p.Inline("havipctl")
	for i := range lines {
		text := alternative.ReplaceAllString(lines[i].Text, "")
		lines[i].Text = strings.NewReplacer("[", "", "]", "", " …", "", "-n N", "-n 1").Replace(text)
	}
	return lines
}

// alternative is the second of them, in a table.
var alternative = regexp.MustCompile(`\\\|[^\] ]+`)

// TestAdvisedCommands: so is what `havipctl status` says to do next.
func TestAdvisedCommands(t *testing.T) {
	paths, err := filepath.Glob("../../daemon/status/testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d status.Document
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, s := range d.Next {
			commands, err := docs.Line{Page: path, Text: s.Command}.Simple()
			if err != nil {
				t.Error(err)
			}
			for _, words := range commands {
				if words[0] == "havipctl" {
					n++
					if err := parse(words[1:]); err != nil {
						t.Errorf("%s: %s: %v", path, s.Command, err)
					}
				}
			}
		}
	}
	if n < 5 {
		t.Errorf("%d commands found", n)
	}
}

// parse does what cobra does before it runs a command.
func parse(args []string) error {
	root := (&cli{}).root()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	rest = cmd.Flags().Args()
	if cmd.HasSubCommands() && len(rest) > 0 {
		return fmt.Errorf("%s has no command %q", cmd.CommandPath(), rest[0])
	}
	return errors.Join(cmd.ValidateArgs(rest), cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
}

func TestParseRefuses(t *testing.T) {
	for _, bad := range []string{"statsu", "status n1", "status --never", "handover n1", "config look", "release --yes=perhaps", "status --wait soon"} {
		if err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("havipctl %s is understood", bad)
		}
	}
}
