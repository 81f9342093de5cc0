package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameConfig makes configurations comparable: netip addresses by value, without
// the places of their keys.
var sameConfig = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func mustDecode(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Decode("havip.toml", []byte(text))
	if err != nil {
		t.Fatalf("decode:\n%v\nfile:\n%s", err, text)
	}
	return c
}

// three is the [masters] section that most tests need.
const three = `
[masters]
n1 = "198.51.100.162"
n2 = "198.51.100.163"
n3 = "198.51.100.164"
`

func TestDecodeWholeFile(t *testing.T) {
	got := mustDecode(t, `
[vip]
address = ["2001:db8::166", "198.51.100.166"]
interface = "02-00-5E-10-00-01"

[masters]
"n3.example.org" = "198.51.100.164"
n1 = "198.51.100.162"
n2 = "2001:db8::163"

[etcd]
endpoint = "https://localhost:12379/"
ca = "/pki/ca.crt"
cert = "/pki/../pki/client.crt"
key = "/pki/client.key"
manifest = "/manifests/etcd.yaml"

[election]
hold = "6s"
takeover = "8500ms"
renewal = "0.5s"
retry = "250ms"
preempt = "5m"
detection = "fast"
heartbeat_port = 7471
heartbeat_interface = "eth1"

[election.priority]
n1 = 200
"n3.example.org" = 0

[health]
apiserver = "https://198.51.100.162:6443"
manifest = "/manifests/kube-apiserver.yaml"
ca = "/pki/api.crt"
interval = "2s"
timeout = "500ms"
rise = 1
fall = 5
`)
	want := &Config{
		VIP: VIP{
			Addresses: []netip.Addr{addr("198.51.100.166"), addr("2001:db8::166")},
			Interface: Interface{MAC: net.HardwareAddr{2, 0, 0x5e, 0x10, 0, 1}},
		},
		Masters: []Master{
			{"n1", addr("198.51.100.162")}, {"n2", addr("2001:db8::163")}, {"n3.example.org", addr("198.51.100.164")},
		},
		Etcd: Etcd{Endpoint: "https://localhost:12379", CA: "/pki/ca.crt", Cert: "/pki/client.crt", Key: "/pki/client.key", Manifest: "/manifests/etcd.yaml"},
		Election: Election{
			Hold: 6 * time.Second, Takeover: 8500 * time.Millisecond, Renewal: 500 * time.Millisecond, Retry: 250 * time.Millisecond,
			Preempt: 5 * time.Minute, Detection: DetectionFast, HeartbeatPort: 7471, HeartbeatInterface: "eth1", Priority: map[string]int{"n1": 200, "n3.example.org": 0},
		},
		Health: Health{
			APIServer: "https://198.51.100.162:6443/readyz", Manifest: "/manifests/kube-apiserver.yaml", CA: "/pki/api.crt",
			Interval: 2 * time.Second, Timeout: 500 * time.Millisecond, Rise: 1, Fall: 5,
		},
		Kubeadm: Default().Kubeadm, Unattended: Default().Unattended,
	}
	if diff := cmp.Diff(want, got, sameConfig); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// What is written as dotted keys, inline tables or in sections is the same.
func TestDecodeSpellings(t *testing.T) {
	want := mustDecode(t, "[vip]\naddress = \"198.51.100.166\"\n"+three)
	for _, text := range []string{
		"vip.address = '198.51.100.166'\n" + three,
		"vip = { address = [\"198.51.100.166\"] }\nmasters = { n1 = \"198.51.100.162\", n2 = \"198.51.100.163\", n3 = \"198.51.100.164\" }\n",
		"vip.address = \"198.51.100.166\"\r\nvip.interface = \"auto\"\r\n" + strings.ReplaceAll(three, "\n", "\r\n"),
		"[vip]\naddress = \"198.51.100.166\"\n[election.priority]\n[election]\npreempt = \"off\"\n" + three,
	} {
		if diff := cmp.Diff(want, mustDecode(t, text), sameConfig); diff != "" {
			t.Errorf("config (-want +got):\n%s\nof:\n%s", diff, text)
		}
	}
}

func TestDecodeHTTPEndpointHasNoCertificates(t *testing.T) {
	c := mustDecode(t, "etcd.endpoint = \"http://127.0.0.1:2379\"\n")
	want := Etcd{Endpoint: "http://127.0.0.1:2379", Manifest: "/etc/kubernetes/manifests/etcd.yaml"}
	if diff := cmp.Diff(want, c.Etcd); diff != "" {
		t.Errorf("etcd (-want +got):\n%s", diff)
	}
}

// TestDecodeEtcdEndpoint: kubeadm has etcd listen on the loopback address of the family
// that its API server advertises.
func TestDecodeEtcdEndpoint(t *testing.T) {
	const three6 = "[masters]\nn1 = \"2001:db8::162\"\nn2 = \"2001:db8::163\"\nn3 = \"2001:db8::164\"\n"
	const four, six = "https://127.0.0.1:2379", "https://[::1]:2379"
	for _, tt := range []struct{ name, text, want string }{
		{"IPv4", "vip.address = \"198.51.100.166\"\n" + three, four},
		{"IPv6", "vip.address = \"2001:db8::166\"\n" + three6, six},
		{"IPv6, and an IPv4 VIP", "vip.address = \"198.51.100.166\"\n" + three6, six},
		{"IPv6, and one advertises IPv4", "vip.address = \"2001:db8::166\"\n" + three6 + "[kubeadm.advertise_address]\nn2 = \"198.51.100.163\"\n", four},
		{"IPv6, and it is set", "vip.address = \"2001:db8::166\"\netcd.endpoint = \"" + four + "\"\n" + three6, four},
		{"nobody", "", four},
	} {
		if got := mustDecode(t, tt.text).Etcd.Endpoint; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestConfigured(t *testing.T) {
	tests := []struct {
		name, text string
		want       bool
	}{
		{"empty file", "", false},
		{"only comments", "# nothing\n", false},
		{"empty section", "[vip]\n", false},
		{"other sections first", "[health]\napiserver = \"none\"\n[election]\nhold = \"5s\"\n", false},
		{"address", "vip.address = \"198.51.100.166\"\n" + three, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustDecode(t, tt.text).Configured(); got != tt.want {
				t.Errorf("Configured() = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	const vip = "vip.address = \"198.51.100.166\"\n"
	tests := []struct{ name, text, want string }{
		{"three masters", vip + three, ""},
		{"one master", vip + "[masters]\nn1 = \"198.51.100.162\"\n", "havip.toml:2: masters: there is one master, so nobody to take over the VIP; add two more when they exist"},
		{"two masters", vip + "[masters]\nn1 = \"198.51.100.162\"\nn2 = \"198.51.100.163\"\n",
			"havip.toml:2: masters: there are 2 masters: etcd survives no more failures than with 1; add one or remove one"},
		{"endpoint elsewhere", "etcd.endpoint = \"https://198.51.100.162:2379\"\n",
			"havip.toml:1:17: etcd.endpoint: https://198.51.100.162:2379 is not a loopback address: on every node but one this is another node's member; use 127.0.0.1, unless this file is this node's alone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, w := range mustDecode(t, tt.text).Warnings {
				got = append(got, w.String())
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "havip.toml")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("Load of nothing = %v, want fs.ErrNotExist that names the file", err)
	}
	write(t, path, "[election]\nhold = 3\n")
	_, err := Load(path)
	var problems Problems
	if !errors.As(err, &problems) || problems[0].File != path || problems[0].Line != 2 {
		t.Errorf("Load of a bad file = %v, want Problems that name the file and line", err)
	}
	write(t, path, string(Reference()))
	if c, err := Load(path); err != nil || c.Configured() {
		t.Errorf("Load of the reference = %v, %v, want a file that is not configured", c, err)
	}
	write(t, path, strings.Repeat("#", maxFile+1))
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "more than 65536 bytes") {
		t.Errorf("Load of a long file = %v", err)
	}
}

func TestManyProblemsAreCut(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "x%d = 1\n", i)
	}
	_, err := Decode("f", []byte(b.String()))
	problems := err.(Problems)
	if len(problems) != maxProblems+1 {
		t.Fatalf("%d problems, want %d and one line for the rest", len(problems), maxProblems)
	}
	if last := problems[maxProblems].What; !strings.Contains(last, "more problems") {
		t.Errorf("last problem: %s", last)
	}
}

// These took the TOML library minutes before they were refused.
func TestDeepNestingIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"dotted key":     "[masters]\n" + strings.Repeat("a.", 30000) + "a = 1\n",
		"inline tables":  "a = " + strings.Repeat("{a=", 15000) + "1" + strings.Repeat("}", 15000),
		"both, by lines": strings.Repeat(strings.Repeat("a.", 100)+"a={\n", 300),
		"dotted header":  "[" + strings.Repeat("a.", 30000) + "a]\n",
	} {
		_, err := Decode("f", []byte(text))
		if err == nil || !strings.Contains(err.Error(), "dots and braces") {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	commented := "# " + strings.Repeat("Well. ", 5000) + "\n" + vipLine + three
	mustDecode(t, commented)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
