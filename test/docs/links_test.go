package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks: links within the repository lead to a file, and to a heading of it.
func TestLinks(t *testing.T) {
	n := 0
	for _, p := range pages(t) {
		n += checkLinks(t, filepath.Join(root, p.Path))
	}
	if n < 50 {
		t.Errorf("%d links found", n)
	}
}

// TestPackagedLinks: so do those of the copies in the packages, which have the
// pages side by side and nothing else.
func TestPackagedLinks(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command(filepath.Join(root, "packaging/docs.sh"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(read(t, "packaging/build.sh"), `packaging/docs.sh "$STAGE/doc"`) {
		t.Error("packaging/build.sh does not use packaging/docs.sh")
	}
	for _, p := range pages(t) {
		checkLinks(t, filepath.Join(dir, filepath.Base(p.Path)))
	}
}

// checkLinks returns how many links there were.
func checkLinks(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range link.FindAllStringSubmatch(string(b), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		n++
		file, heading, _ := strings.Cut(m[1], "#")
		target := path
		if file != "" {
			target = filepath.Join(filepath.Dir(path), file)
		}
		text, err := os.ReadFile(target)
		if info, statErr := os.Stat(target); statErr == nil && info.IsDir() && heading == "" {
			continue
		}
		if err != nil {
			t.Errorf("%s: link %s: %v", filepath.Base(path), m[1], err)
		} else if heading != "" && !hasHeading(string(text), heading) {
			t.Errorf("%s: link %s: no such heading", filepath.Base(path), m[1])
		}
	}
	return n
}

var noSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// hasHeading goes by the names that GitHub gives to headings.
func hasHeading(text, name string) bool {
	for line := range strings.Lines(text) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if ok && strings.HasPrefix(line, "#") && strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-") == name {
			return true
		}
	}
	return false
}

// figure is how the measurements are written: min / median / max.
var figure = regexp.MustCompile(`[0-9][0-9.]* / [0-9][0-9.]* / [0-9][0-9.]*`)

// TestFigures: what the pages say of times was measured, and is in one of the
// tables that the measurements write.
func TestFigures(t *testing.T) {
	tables := ""
	measured := []string{"docs/faults.md", "docs/packages.md", "docs/clusters.md"}
	for _, path := range measured {
		tables += read(t, path)
	}
	n := 0
	for _, path := range []string{"docs/failures.md", "docs/howitworks.md", "docs/runbooks.md", "docs/quickstart.md", "docs/comparison.md"} {
		for _, f := range figure.FindAllString(read(t, path), -1) {
			n++
			if !strings.Contains(tables, " "+f+" ") {
				t.Errorf("%s: %s is in none of %v", path, f, measured)
			}
		}
	}
	if n < 40 {
		t.Errorf("%d figures found", n)
	}
}
