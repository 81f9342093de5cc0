package cluster

import (
	"net/netip"
	"path/filepath"
	"testing"

	"havip/configs"
)

func TestGeneratedFilesAreWhatTheDaemonReads(t *testing.T) {
	c := &Cluster{dir: t.TempDir(), Stage: &Stage{VIPs: []netip.Addr{VIP4, VIP6}}}
	for i := range 3 {
		c.Nodes = append(c.Nodes, c.newNode(i))
	}
	n := c.Nodes[1]
	p, err := NewPKI()
	must(t, err)
	must(t, n.prepare(p))

	cfg, err := configs.Decode("havip.toml", n.havipConfig())
	if err != nil {
		t.Fatalf("decode havip.toml: %v", err)
	}
	if self, err := cfg.Self(n.Addresses()); err != nil || self.Name != "n2" {
		t.Errorf("Self = %v, %v, want n2", self, err)
	}
	manifests := filepath.Join(n.dir, "kubernetes", "manifests")
	timers, err := configs.ReadEtcdManifest(filepath.Join(manifests, "etcd.yaml"))
	if err != nil || !timers.Found {
		t.Errorf("ReadEtcdManifest = %+v, %v, want it found", timers, err)
	}
	api, err := configs.ReadAPIServerManifest(filepath.Join(manifests, "kube-apiserver.yaml"))
	if err != nil || api.Address != n.Address.String() || api.Port != 6443 {
		t.Errorf("ReadAPIServerManifest = %+v, %v, want %v and 6443", api, err, n.Address)
	}
	n.slowed = true
	if _, err := configs.Decode("havip.toml", n.havipConfig()); err != nil {
		t.Errorf("decode havip.toml with the proxy: %v", err)
	}
}
