package kubeadm

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"havip/kubeadm"
	"havip/kubeadm/check"
)

// checkNode sees that check raises no false alarm at what the real kubeadm has
// written, and understands what the real API server says of kube-proxy.
func checkNode(t *testing.T, n *nodeDir) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "havip.toml")
	if err := os.WriteFile(config, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	system := n.runner.System
	// The other node's address is on the same link here.
	system.Links = func() ([]kubeadm.Link, error) {
		links, err := kubeadm.Node().Links()
		for i := range links {
			links[i].Prefixes = slices.DeleteFunc(links[i].Prefixes, func(p netip.Prefix) bool { return p.Addr() == netip.MustParseAddr(n2) })
		}
		return links, err
	}
	system.Ask = func(ctx context.Context, program string, args ...string) (string, error) {
		if program != "kubectl" {
			return "", exec.ErrNotFound
		}
		out, err := exec.CommandContext(ctx, filepath.Join(*binaries, program), args...).Output()
		return string(out), err
	}
	daemon := func(context.Context, bool) check.Daemon {
		return check.Daemon{Configured: true, VIP: n.runner.Config.VIP.Addresses, Verdict: "HELD", Role: "holder", Holder: "n1", Link: link,
			Etcd: check.Etcd{State: "ready", Members: []check.Member{{Name: "n1", ClientURLs: []string{"https://" + n1 + ":2379"}}}}}
	}
	r := check.Judge(check.Gather(t.Context(), check.Node{System: system, Daemon: daemon}, config))
	nodePorts := false
	for _, f := range r.Findings {
		if f.Level != check.LevelOK {
			t.Logf("%s %s: %s %s", f.Level, f.Look, f.Subject, f.What)
		}
		nodePorts = nodePorts || f.Look == "nodeports" && f.Level == check.LevelWarning // kubeadm leaves nodePortAddresses out
	}
	if !r.Joined || r.Errors > 0 || !nodePorts {
		t.Errorf("%d errors at a node that is in order, NodePorts seen: %v", r.Errors, nodePorts)
	}
}
