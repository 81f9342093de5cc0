package docs

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/commands.md anew")

const root = "../.."

func pages(t *testing.T) []Page {
	t.Helper()
	all, err := Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("%d pages", len(all))
	}
	return all
}

// lines returns every line of shell in the documentation.
func lines(t *testing.T) []Line {
	t.Helper()
	var all []Line
	for _, p := range pages(t) {
		list, err := p.Commands()
		if err != nil {
			t.Error(err)
		}
		all = append(all, list...)
	}
	return all
}

func TestPieces(t *testing.T) {
	for name, c := range map[string]struct {
		page []string
		want []string // the commands
		err  bool
	}{
		"indented":        {[]string{"Do:", "", "    sudo apt install havip", "    # then", "    havipctl status"}, []string{"sudo apt install havip", "havipctl status"}, false},
		"a host":          {[]string{"    n1: sudo havipctl init"}, []string{"sudo havipctl init"}, false},
		"a continuation":  {[]string{"    sudo havipctl config init \\", "        --vip ADDRESS"}, []string{"sudo havipctl config init --vip ADDRESS"}, false},
		"a fence":         {[]string{"```sh", "ip address", "```"}, []string{"ip address"}, false},
		"a file":          {[]string{"```toml", "ip = 1", "```"}, nil, false},
		"what it prints":  {[]string{"    havipctl status", "", "    HELD by n1"}, []string{"havipctl status"}, false},
		"both at once":    {[]string{"    havipctl status", "    HELD by n1"}, []string{"havipctl status"}, true},
		"the wrong way":   {[]string{"    HELD by n1", "    havipctl status"}, nil, true},
		"an unknown one":  {[]string{"    shutdown -h now"}, nil, true},
		"with sudo":       {[]string{"    sudo Shutdown"}, nil, true},
		"a golden status": {[]string{"<!-- status: x -->", "", "    systemctl start havipd", "", "<!-- end of status -->"}, nil, false},
	} {
		list, err := Page{Path: name, Lines: c.page}.Commands()
		if (err != nil) != c.err {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, l := range list {
			got = append(got, l.Text)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSimple(t *testing.T) {
	for text, want := range map[string][][]string{
		"echo havip1,x | sudo havipctl join # the ticket": {{"echo", "havip1,x"}, {"havipctl", "join"}},
		"claim --reason 'n2 and n3 are gone' && ls > a":   {{"claim", "--reason", "n2 and n3 are gone"}, {"ls"}},
		"for x in a b; do sudo ls $x; done":               {{"for", "x", "in", "a", "b"}, {"ls", "$x"}},
	} {
		got, err := Line{Text: text}.Simple()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for _, bad := range []string{"echo 'x", "echo `x`"} {
		if got, err := (Line{Text: bad}).Simple(); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
