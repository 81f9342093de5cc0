package status

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const runbooks = "../../docs/runbooks.md"

// copied is a status text in the documentation: the name of a golden file, and
// its text as code.
var copied = regexp.MustCompile(`(?s)<!-- status: (\S+) -->\n(.*?)<!-- end of status -->\n`)

// TestCopiedStatus: what the documentation shows of `havipctl status` is what it
// prints.
func TestCopiedStatus(t *testing.T) {
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range paths {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := copied.ReplaceAllFunc(page, func(block []byte) []byte {
			found++
			name := string(copied.FindSubmatch(block)[1])
			text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return block
			}
			return []byte("<!-- status: " + name + " -->\n\n" + asCode(string(text)) + "\n<!-- end of status -->\n")
		})
		if n := bytes.Count(page, []byte("<!-- status: ")); n != len(copied.FindAll(page, -1)) {
			t.Errorf("%s: of %d status texts not all have an end", path, n)
			continue // what is between two of them would be lost
		}
		if *update && !bytes.Equal(page, want) {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if diff := cmp.Diff(string(want), string(page)); diff != "" {
			t.Errorf("%s (-want +got; -update writes it):\n%s", path, diff)
		}
	}
	if found == 0 {
		t.Error("no page shows a status")
	}
}

// TestReadmeStatus: the few lines that the README shows are among them.
func TestReadmeStatus(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/one-gone.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, found := strings.Cut(string(page), "\n    havipctl status\n\n")
	shown, _, ended := strings.Cut(shown, "\n\n")
	if !found || !ended {
		t.Fatal("the README shows no status")
	}
	for line := range strings.Lines(shown + "\n") {
		if line = strings.TrimPrefix(line, "    "); line != "…\n" && !strings.Contains(string(text), line) {
			t.Errorf("the README has %q, which is no line of one-gone.txt", line)
		}
	}
}

func asCode(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			line = "    " + line
		}
		b.WriteString(line)
	}
	return b.String()
}

// TestRunbooksBeginWithStatus: whoever looks for a runbook compares what is on
// the screen.
func TestRunbooksBeginWithStatus(t *testing.T) {
	page, err := os.ReadFile(runbooks)
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(page), "\n## ")[1:]
	if len(sections) < 5 {
		t.Fatalf("%s has %d sections", runbooks, len(sections))
	}
	for _, s := range sections {
		title, text, _ := strings.Cut(s, "\n")
		if !strings.HasPrefix(strings.TrimLeft(text, "\n"), "<!-- status: ") {
			t.Errorf("%s: %q does not begin with a status", runbooks, title)
		}
	}
}
