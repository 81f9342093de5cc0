package configs

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files and docs/config.md")

// TestGolden compares what is generated with what is checked in. The minimal
// file is there so that nobody changes its bytes without noticing.
func TestGolden(t *testing.T) {
	for path, got := range map[string][]byte{
		"testdata/minimal.toml":            Minimal(),
		"testdata/reference.toml":          Reference(),
		"../docs/config.md":                Markdown(),
		"../packaging/man/havip.toml.5.md": manPage(),
	} {
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v: run go test ./configs -update", err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; run go test ./configs -update if it is meant):\n%s", path, diff)
		}
	}
}

var commented = regexp.MustCompile(`(?m)^#([^ \n])`)

// uncomment removes the mark before keys and sections, not that of comments.
func uncomment(text []byte) []byte { return commented.ReplaceAll(text, []byte("$1")) }

func TestMinimal(t *testing.T) {
	if c := mustDecode(t, string(Minimal())); c.Configured() {
		t.Error("the packaged file is configured")
	}
	c := mustDecode(t, string(uncomment(Minimal())))
	if got := c.VIPKey(); got != "198.51.100.166" || len(c.Masters) != 3 || len(c.Warnings) > 0 {
		t.Errorf("uncommented: VIP %q, masters %v, warnings %v", got, c.Masters, c.Warnings)
	}
}

// With every key uncommented the reference is what the decoder takes for granted
// without it.
func TestReferenceShowsTheDefaults(t *testing.T) {
	for _, s := range schema {
		for _, k := range s.keys {
			if !bytes.Contains(Reference(), []byte("\n#"+k.name+" = ")) {
				t.Errorf("%s.%s is not in the reference", s.name, k.name)
			}
		}
	}
	got := mustDecode(t, string(uncomment(Reference())))
	want := mustDecode(t, string(Example(got.VIP.Addresses, got.Masters, "")))

	wantTiming, _, err := want.Timing(EtcdTimers{})
	if err != nil {
		t.Fatal(err)
	}
	gotTiming, warnings, err := got.Timing(EtcdTimers{})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("timing of the reference: %v %v", warnings, err)
	}
	if diff := cmp.Diff(wantTiming, gotTiming); diff != "" {
		t.Errorf("times (-default +reference):\n%s", diff)
	}
	for _, m := range got.Masters {
		if got.Priority(m.Name) != want.Priority(m.Name) {
			t.Errorf("priority %d, default %d", got.Priority(m.Name), want.Priority(m.Name))
		}
	}
	for _, s := range []section{kubeadmSection, unattendedSection} {
		for _, k := range s.keys {
			if shown := k.show(got); shown != k.literal() {
				t.Errorf("%s.%s is %s, the reference shows %s", s.name, k.name, shown, k.literal())
			}
		}
	}
	for _, m := range got.Masters {
		if got.Advertise(m) != want.Advertise(m) {
			t.Errorf("%s advertises %s, by default %s", m.Name, got.Advertise(m), want.Advertise(m))
		}
	}
	got.Kubeadm, got.Unattended = want.Kubeadm, want.Unattended
	got.Election, want.Election = Election{}, Election{} // compared above, except this
	if diff := cmp.Diff(want, got, sameConfig); diff != "" {
		t.Errorf("config (-default +reference):\n%s", diff)
	}
	for _, line := range []string{`#detection = "off"`, `#heartbeat_port = 9478`, `#heartbeat_interface = "any"`} {
		if !strings.Contains(string(Reference()), "\n"+line+"\n") {
			t.Errorf("the reference does not have %s", line)
		}
	}
	if e := Default().Election; e.Detection != DetectionOff || e.HeartbeatPort != 9478 || e.HeartbeatInterface != "" {
		t.Errorf("heartbeats by default: %+v", e)
	}
	if Default().Election.Preempt != 0 || !strings.Contains(string(Reference()), "#preempt = \"off\"") {
		t.Error("preempt: the reference does not show the default")
	}
}

func TestReferenceFitsATerminal(t *testing.T) {
	for line := range strings.SplitSeq(string(Reference())+string(Minimal()), "\n") {
		if len(line) > 84 {
			t.Errorf("%d bytes: %s", len(line), line)
		}
	}
}

func TestExample(t *testing.T) {
	tests := []struct {
		name    string
		vip     []netip.Addr
		masters []Master
		iface   string
		want    string
	}{
		{"plain", []netip.Addr{addr("198.51.100.166")}, exampleConfig().Masters, "", `# havip: the same file on every master.

[vip]
address = "198.51.100.166"

[masters]
n1 = "198.51.100.162"
n2 = "198.51.100.163"
n3 = "198.51.100.164"
`},
		{"all", []netip.Addr{addr("198.51.100.166"), addr("2001:db8::166")}, []Master{{"n1.example.org", addr("2001:db8::162")}}, "bond0.7", `# havip: the same file on every master.

[vip]
address = ["198.51.100.166", "2001:db8::166"]
interface = "bond0.7"

[masters]
"n1.example.org" = "2001:db8::162"
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Example(tt.vip, tt.masters, tt.iface)
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("example (-want +got):\n%s", diff)
			}
			c := mustDecode(t, string(got))
			if diff := cmp.Diff(tt.masters, c.Masters, sameConfig); diff != "" {
				t.Errorf("masters (-want +got):\n%s", diff)
			}
		})
	}
}

// What is nonsense goes in and comes out as a problem, not as another file.
func TestExampleOfNonsense(t *testing.T) {
	got := Example([]netip.Addr{addr("127.0.0.1")}, []Master{{"a\"]\n[x", addr("198.51.100.162")}}, "eth0\nx = 1")
	_, err := Decode("f", got)
	if err == nil {
		t.Fatalf("accepted:\n%s", got)
	}
	checkRefusal(t, err)
}

func TestTOMLOfUnconfigured(t *testing.T) {
	c := mustDecode(t, "[health]\napiserver = \"none\"\n")
	text := string(c.TOML())
	if strings.Contains(text, "[vip]") {
		t.Errorf("an unconfigured file shows a VIP:\n%s", text)
	}
	if diff := cmp.Diff(c, mustDecode(t, text), sameConfig); diff != "" {
		t.Errorf("written out and decoded again (-want +got):\n%s", diff)
	}
}
