package kubeadm

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// changesVIP plays step 1 of "Change the VIP" in docs/runbooks.md with the real
// kubeadm and API server, and what else the runbooks ask of them. The editor is
// played.
func (n *nodeDir) changesVIP(t *testing.T) {
	t.Helper()
	const old, other = "198.51.100.166", "198.51.100.167"
	text := n.run(t, "kubectl", "-n", "kube-system", "get", "configmap", "kubeadm-config", "-o", "jsonpath={.data.ClusterConfiguration}")
	edited := strings.Replace(text, "controlPlaneEndpoint: "+old, "controlPlaneEndpoint: "+other, 1)
	edited = strings.Replace(edited, "  certSANs:\n", "  certSANs:\n  - "+other+"\n", 1)
	if strings.Count(edited, other) != 2 || !strings.Contains(edited, "- "+old+"\n") {
		t.Fatalf("not as expected:\n%s", edited)
	}
	if err := os.WriteFile(filepath.Join(n.root, "kubeadm.yaml"), []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	n.run(t, "kubeadm", "config", "validate", "--config", "kubeadm.yaml")
	n.run(t, "kubeadm", "init", "phase", "upload-config", "kubeadm", "--config", "kubeadm.yaml")
	if stored := n.run(t, "kubectl", "-n", "kube-system", "get", "configmap", "kubeadm-config", "-o", "jsonpath={.data.ClusterConfiguration}"); strings.Count(stored, other) != 2 {
		t.Errorf("kubeadm-config:\n%s", stored)
	}
	pki := filepath.Join(n.root, "etc/kubernetes/pki")
	before := names(t, filepath.Join(pki, "apiserver.crt"))
	for _, file := range []string{"apiserver.crt", "apiserver.key"} {
		if err := os.Rename(filepath.Join(pki, file), filepath.Join(n.root, file)); err != nil {
			t.Fatal(err)
		}
	}
	n.run(t, "kubeadm", "init", "phase", "certs", "apiserver", "--config", "kubeadm.yaml")
	after := names(t, filepath.Join(pki, "apiserver.crt"))
	for _, name := range append(before, other) {
		if !slices.Contains(after, name) {
			t.Errorf("the new certificate has no %s: %v", name, after)
		}
	}
	if out := n.run(t, "kubeadm", "certs", "check-expiration"); !strings.Contains(out, "apiserver-etcd-client") {
		t.Errorf("certs check-expiration:\n%s", out)
	}
	n.run(t, "kubectl", "--server", "https://198.51.100.162:6443", "get", "nodes")
	n.run(t, "kubectl", "-n", "kube-system", "rollout", "restart", "daemonset", "kube-proxy")
	n.run(t, "kubectl", "delete", "node", "n1")
}

// run runs a program of Kubernetes as a runbook has it.
func (n *nodeDir) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := n.command(t.Context(), name, args...)
	cmd.Path = "/binaries/" + name
	cmd.Env = append(cmd.Env, "KUBECONFIG=/etc/kubernetes/admin.conf")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// names are those in a certificate.
func names(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}
