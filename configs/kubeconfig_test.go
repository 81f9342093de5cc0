package configs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadKubeconfig(t *testing.T) {
	const cluster = "clusters:\n- name: k\n  cluster:\n    server: https://198.51.100.166:6443\n"
	tests := []struct {
		name, text string
		want       Kubeconfig
		err        string
	}{
		{"kubeadm's", cluster + "users:\n- name: a\n  user:\n    client-certificate-data: cGVt\n", Kubeconfig{Servers: []string{"https://198.51.100.166:6443"}, Certificate: []byte("pem")}, ""},
		{"kubelet's", cluster + "users:\n- name: a\n  user:\n    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n", Kubeconfig{Servers: []string{"https://198.51.100.166:6443"}}, ""},
		{"empty", "", Kubeconfig{}, "it is empty"},
		{"no cluster", "kind: Config\n", Kubeconfig{}, "it names no cluster"},
		{"no YAML", "\t{", Kubeconfig{}, "yaml"},
		{"bad certificate", cluster + "users:\n- user:\n    client-certificate-data: '%'\n", Kubeconfig{}, "client-certificate-data"},
		{"too large", strings.Repeat("#", maxManifest+1), Kubeconfig{}, "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "admin.conf")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := ReadKubeconfig(path)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), path) {
					t.Fatalf("error %v, want %s and the path", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("kubeconfig (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := ReadKubeconfig(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

func TestParseKubeProxy(t *testing.T) {
	tests := []struct {
		name, text string
		want       KubeProxy
		bad        bool
	}{
		{"kubeadm's", "kind: KubeProxyConfiguration\nmode: \"\"\nnodePortAddresses: null\nipvs:\n  strictARP: false\n", KubeProxy{}, false},
		{"ipvs", "mode: ipvs\nipvs:\n  strictARP: true\nnodePortAddresses:\n- 198.51.100.0/24\n", KubeProxy{Mode: "ipvs", StrictARP: true, NodePortAddresses: []string{"198.51.100.0/24"}}, false},
		{"primary", "mode: nftables\nnodePortAddresses: [primary]\n", KubeProxy{Mode: "nftables", NodePortAddresses: []string{"primary"}}, false},
		{"empty", "", KubeProxy{}, true},
		{"no YAML", "\t{", KubeProxy{}, true},
		{"too large", strings.Repeat("#", maxManifest+1), KubeProxy{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseKubeProxy([]byte(tt.text))
			if (err != nil) != tt.bad {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}
