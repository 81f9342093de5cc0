package kubeadm

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
)

var update = flag.Bool("update", false, "write the golden files")

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
		t.Fatalf("%v: run go test ./kubeadm -update", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; run go test ./kubeadm -update if it is meant):\n%s", path, diff)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// config decodes a file with the VIP and the masters that most tests need, and
// more lines.
func config(t *testing.T, more string) *configs.Config {
	t.Helper()
	c, err := configs.Decode("havip.toml", []byte(`
vip.address = "198.51.100.166"
[masters]
n1 = "198.51.100.162"
n2 = "198.51.100.163"
n3 = "198.51.100.164"
`+more))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func master(t *testing.T, c *configs.Config, name string) configs.Master {
	t.Helper()
	m, ok := c.Master(name)
	if !ok {
		t.Fatalf("no master %s", name)
	}
	return m
}

// someSecrets are as good as any in a test.
var someSecrets = Secrets{
	Token: "k3yk3y.s3cr3ts3cr3ts3cr", CertificateKey: "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
	CAHash: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
}
