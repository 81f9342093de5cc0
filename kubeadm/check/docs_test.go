package check

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table in docs/check.md anew")

// TestDoc: the table of docs/check.md is the catalogue.
func TestDoc(t *testing.T) {
	const (
		path  = "../../docs/check.md"
		begin = "<!-- looks: written by go test ./kubeadm/check -update -->\n"
		end   = "<!-- end of looks -->\n"
	)
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte(begin))
	old, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s: no marks around the looks", path)
	}
	want := table()
	if *update {
		page = []byte(string(before) + begin + want + end + string(after))
		if err := os.WriteFile(path, page, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(old)); diff != "" {
		t.Errorf("%s (-want +got; go test ./kubeadm/check -update if it is meant):\n%s", path, diff)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("\n| look | when | what must be so | why | how to mend it |\n|---|---|---|---|---|\n")
	for _, l := range Catalogue() {
		when := map[When]string{Always: "always", Before: "no cluster yet", After: "part of a cluster"}[l.When]
		cell := strings.NewReplacer("|", `\|`, "_", `\_`).Replace
		b.WriteString("| `" + l.Name + "` | " + when + " | " + cell(l.About) + " | " + cell(l.Why) + " | " + cell(l.Fix) + " |\n")
	}
	return b.String() + "\n"
}

// TestCatalogue: what a finding and the table need is there.
func TestCatalogue(t *testing.T) {
	names := map[string]bool{}
	for _, l := range Catalogue() {
		if l.Name == "" || l.About == "" || l.Why == "" || l.Fix == "" || l.When == "" || l.judge == nil {
			t.Errorf("%+v: something is missing", l)
		}
		if names[l.Name] {
			t.Errorf("%s is there twice", l.Name)
		}
		names[l.Name] = true
	}
}
