package status

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files under testdata")

// golden compares got with testdata/name, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestRenderGolden(t *testing.T) {
	for name, make := range scenarios {
		t.Run(name, func(t *testing.T) {
			d := make()
			Judge(d)
			var b bytes.Buffer
			if err := Render(&b, d, Options{Loc: cet}); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", b.Bytes())
			for _, line := range strings.Split(b.String(), "\n") {
				if n := utf8.RuneCountInString(line); n > 100 {
					t.Errorf("line of %d columns: %s", n, line)
				}
			}
			doc, err := json.MarshalIndent(d, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", append(doc, '\n'))
		})
	}
}

// TestRenderNarrow checks that every width from the least on is kept, except
// by words and commands that must stay whole to be copied.
func TestRenderNarrow(t *testing.T) {
	for name, make := range scenarios {
		d := make()
		Judge(d)
		for width := 60; width <= 120; width += 7 {
			var b bytes.Buffer
			if err := Render(&b, d, Options{Loc: cet, Width: width}); err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(b.String(), "\n") {
				if utf8.RuneCountInString(line) > width && !strings.Contains(line, ": ") && !strings.Contains(line, "run ") {
					t.Errorf("%s at width %d: %q", name, width, line)
				}
			}
		}
	}
}

func TestRenderColour(t *testing.T) {
	for name, want := range map[string]string{
		"all-well":     "\x1b[32mHELD\x1b[0m by n2",
		"one-gone":     "\x1b[33mDEGRADED\x1b[0m: n1 is gone",
		"no-quorum":    "\x1b[31mNOBODY\x1b[0m holds",
		"etcd-down":    "\x1b[31mUNKNOWN\x1b[0m: the etcd member",
		"unconfigured": "\x1b[31mUNCONFIGURED\x1b[0m: no [vip]",
		"takeover":     "\x1b[31mgone\x1b[0m  ",
	} {
		d := scenarios[name]()
		Judge(d)
		var plain, colour bytes.Buffer
		if err := Render(&plain, d, Options{Loc: cet}); err != nil {
			t.Fatal(err)
		}
		if err := Render(&colour, d, Options{Loc: cet, Color: true}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(colour.String(), want) {
			t.Errorf("%s: no %q in:\n%s", name, want, colour.String())
		}
		if strings.Contains(plain.String(), "\x1b") {
			t.Errorf("%s: escape sequence without colour", name)
		}
		if diff := cmp.Diff(plain.String(), stripColour(colour.String())); diff != "" {
			t.Errorf("%s: colour changes the layout (-plain +coloured):\n%s", name, diff)
		}
	}
}

func stripColour(s string) string {
	for _, c := range []string{red, green, yellow, bold, "0"} {
		s = strings.ReplaceAll(s, "\x1b["+c+"m", "")
	}
	return s
}

// TestRenderHostile feeds what a stranger with access to etcd or the link
// could: nothing of it reaches the terminal as a control sequence.
func TestRenderHostile(t *testing.T) {
	d := change(loseN1)
	const evil = "\x1b]0;owned\x07\r\n\u202e"
	d.Masters[0].Version, d.Masters[1].APIServerDetail = evil, evil
	d.Masters[1].Name, d.Holder.Node, d.Record.Node = "n2"+evil, "n2"+evil, "n2"+evil
	d.Holder.Link, d.LastMove.Reason, d.LastMove.Chosen = evil, evil, evil
	d.Etcd.Alarms, d.Etcd.Reason, d.Warnings = []string{evil}, evil, []string{evil}
	d.Address.Conflicts = []Conflict{{Address: d.VIP[0], MAC: evil, Count: 1}}
	d.Events = []Event{{At: at0316, Text: evil}}
	Judge(d)
	var b bytes.Buffer
	if err := Render(&b, d, Options{Loc: cet, Events: true}); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexAny(b.String(), "\x1b\x07\r\u202e"); i >= 0 {
		t.Errorf("control character at %d in:\n%q", i, b.String())
	}
}

// TestRenderZero: a daemon that knows nothing yet still gets a page.
func TestRenderZero(t *testing.T) {
	for _, d := range []*Document{{}, {Configured: true}, {Configured: true, Holder: &Holder{}, LastMove: &LastMove{}, Masters: []Master{{}}}} {
		Judge(d)
		if err := Render(io.Discard, d, Options{}); err != nil {
			t.Fatal(err)
		}
		if d.IsHeld() && d.Holder == nil {
			t.Errorf("held by nobody: %+v", d)
		}
	}
}

func TestRenderEventsAndStaleness(t *testing.T) {
	d := healthy()
	Judge(d)
	var b bytes.Buffer
	if err := Render(&b, d, Options{Loc: cet, Events: true, Now: at0316.Add(42 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"as seen by n3 at 03:16:21 CET, 42 s ago\n",
		"events      2026-03-01 01:16:21 waiting -> candidate: etcd answers\n",
		"            03:12:09 n2 took over: n1 stopped renewing\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

func TestRenderLongNames(t *testing.T) {
	d := healthy()
	for i := range d.Masters {
		d.Masters[i].Name = strings.Repeat("x", 20+i) + ".control-plane.eu-central-1.example.org-" + d.Masters[i].Name
	}
	d.Holder.Node, d.Node = d.Masters[1].Name, d.Masters[2].Name
	Judge(d)
	var b bytes.Buffer
	if err := Render(&b, d, Options{Loc: cet}); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("line of %d columns: %s", n, line)
		}
	}
	if !strings.Contains(b.String(), "…") {
		t.Errorf("no name was cut:\n%s", b.String())
	}
}
