package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEdits runs each sed of the pages on what it is meant for.
func TestEdits(t *testing.T) {
	samples := map[string]struct{ before, after string }{
		// As kubeadm 1.34.4 writes it (kubeadm init phase etcd local --dry-run).
		"/root/etcd.yaml": {
			"  containers:\n  - command:\n    - etcd\n    - --advertise-client-urls=https://198.51.100.162:2379\n    image: registry.k8s.io/etcd:3.6.5-0\n",
			"  containers:\n  - command:\n    - etcd\n    - --force-new-cluster\n    - --advertise-client-urls=https://198.51.100.162:2379\n    image: registry.k8s.io/etcd:3.6.5-0\n",
		},
		"/etc/havip/havip.toml": {
			"[vip]\naddress = \"198.51.100.166\"\n\n[masters]\nn1 = \"198.51.100.162\"\n",
			"[vip]\naddress = \"198.51.100.167\"\n\n[masters]\nn1 = \"198.51.100.162\"\n",
		},
		"/etc/kubernetes/kubelet.conf": {
			"    server: https://198.51.100.166:6443\n  name: default-cluster\n",
			"    server: https://198.51.100.167:6443\n  name: default-cluster\n",
		},
	}
	seen := map[string]bool{}
	for _, l := range lines(t) {
		if firstWord(l.Text) != "sed" {
			continue
		}
		commands, err := l.Simple()
		if err != nil {
			t.Fatal(err)
		}
		words := commands[0]
		path := words[len(words)-1]
		s, ok := samples[path]
		if !ok {
			t.Errorf("%v: no sample of %s", l, path)
			continue
		}
		seen[path] = true
		file := filepath.Join(t.TempDir(), "sample")
		if err := os.WriteFile(file, []byte(s.before), 0o600); err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(l.Text, " > ")
		out, err := exec.Command("bash", "-c", strings.Replace(text, path, file, 1)).Output()
		if err != nil {
			t.Errorf("%v: %v", l, err)
		}
		if strings.HasPrefix(text, "sed -i ") {
			if out, err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(s.after, string(out)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", l, diff)
		}
	}
	if len(seen) != len(samples) {
		t.Errorf("only of %v is there an edit", seen)
	}
}
