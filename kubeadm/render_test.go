package kubeadm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const everything = `
[kubeadm]
version = "v1.34.4"
cluster_name = "lab"
endpoint = "k8s.example.org"
pod_subnet = ["10.244.0.0/16", "fd00:10:244::/56"]
service_subnet = ["10.96.0.0/12", "fd00:10:96::/112"]
dns_domain = "cluster.example.org"
cert_sans = ["*.example.org", "n1"]
image_repository = "lab.invalid"
cri_socket = "unix:///run/containerd/containerd.sock"
labels = ["rack=r7", "node.kubernetes.io/zone="]
taints = ["dedicated=cp:NoSchedule", "node-role.kubernetes.io/control-plane:NoSchedule"]
kubelet_args = ["v=2", "max-pods=200"]
apiserver_args = ["service-account-issuer=https://a", "service-account-issuer=https://b"]
controller_manager_args = ["bind-address=0.0.0.0"]
scheduler_args = ["v=4"]
etcd_args = ["quota-backend-bytes=8589934592"]
apiserver_volumes = ["audit:/var/log/audit:/audit", "policy:/etc/p.yaml:/p.yaml:ro"]
controller_manager_volumes = ["cloud:/etc/cloud:/etc/cloud:ro"]
feature_gates = ["NodeLocalCRISocket=true", "ControlPlaneKubeletLocalMode=true"]
allow_cgroup_v1 = true
patches = "/etc/havip/patches"
ignore_preflight_errors = ["NumCPU", "Mem"]
token_ttl = "90m"
[kubeadm.advertise_address]
n1 = "198.51.100.12"
`

func TestRender(t *testing.T) {
	tests := []struct {
		name, node, more string
		secrets          Secrets
		render           func(Input) ([]byte, error)
	}{
		{"init-minimal", "n1", "", someSecrets, RenderInit},
		{"init-everything", "n1", everything, someSecrets, RenderInit},
		{"init-bare-taints", "n2", "[kubeadm]\ntaints = []\n", Secrets{Token: someSecrets.Token}, RenderInit},
		{"init-unattended", "n1", "[unattended]\ninit_node = \"n1\"\nsecret_file = \"/s\"\njoin_window = \"30m\"\n", someSecrets, RenderInit},
		{"join-minimal", "n2", "", someSecrets, RenderJoin},
		{"join-everything", "n1", everything, someSecrets, RenderJoin},
		{"join-unattended", "n3", "", Secrets{Token: someSecrets.Token, CertificateKey: someSecrets.CertificateKey}, RenderJoin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config(t, tt.more)
			got, err := tt.render(Input{Config: c, Self: master(t, c, tt.node), Secrets: tt.secrets, Version: "v1.34.4"})
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name+".yaml", got)
		})
	}
}

// TestVIPNowhereElse: the VIP is the endpoint and a name in the certificate, and
// nothing that belongs to one node.
func TestVIPNowhereElse(t *testing.T) {
	c := config(t, "")
	for _, render := range []func(Input) ([]byte, error){RenderInit, RenderJoin} {
		text, err := render(Input{Config: c, Self: master(t, c, "n1"), Secrets: someSecrets, Version: "v1.34.4"})
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "198.51.100.166") && !strings.Contains(line, "ndpoint: ") && line != "    - 198.51.100.166\n" {
				t.Errorf("the VIP in: %s", line)
			}
		}
	}
}

func TestRenderIPv6(t *testing.T) {
	c := config(t, "")
	c.VIP.Addresses = c.VIP.Addresses[:0]
	c.VIP.Addresses = append(c.VIP.Addresses, addr("2001:db8::166"))
	text, err := RenderInit(Input{Config: c, Self: master(t, c, "n1"), Secrets: someSecrets, Version: "v1.34.4"})
	if err != nil || !strings.Contains(string(text), "controlPlaneEndpoint: '[2001:db8::166]:6443'\n") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestOverlay(t *testing.T) {
	c := config(t, "")
	in := Input{Config: c, Self: master(t, c, "n1"), Secrets: someSecrets, Version: "v1.34.4", Overlay: []byte(`
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer:
  extraArgs: [{name: v, value: "4"}]
certificateValidityPeriod: 4380h
etcd: {local: {dataDir: /srv/etcd}}
---
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
timeouts: {discovery: 1m0s}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
timeouts: {controlPlaneComponentHealthCheck: 10m0s}
bootstrapTokens: []
`)}
	for name, render := range map[string]func(Input) ([]byte, error){"init-overlay": RenderInit, "join-overlay": RenderJoin} {
		got, err := render(in)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".yaml", got)
	}
}

func TestOverlayRefuses(t *testing.T) {
	c := config(t, "[kubeadm]\noverlay = \"/o.yaml\"\n")
	for text, want := range map[string]string{
		"kind: ClusterConfiguration\n": "read /o.yaml: line 1: each document needs apiVersion and kind",
		"- a\n":                        "read /o.yaml: line 1: each document needs apiVersion and kind",
		"apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n":                             "read /o.yaml: line 1: ClusterConfiguration is of kubeadm.k8s.io/v1beta3, must be of kubeadm.k8s.io/v1beta4",
		"apiVersion: v1\nkind: A\na: &x {b: 1}\nc: *x\n":                                               "read /o.yaml: line 1: anchors and aliases are not supported",
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncontrolPlaneEndpoint: a:1\n":  `read /o.yaml: it makes "a:1" the controlPlaneEndpoint: use kubeadm.endpoint for that`,
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer: {certSANs: [a]}\n": "read /o.yaml: it takes 198.51.100.166 out of certSANs: use kubeadm.cert_sans to add names",
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncertificatesDir: /p\n":        "read /o.yaml: it moves certificatesDir to /p: the daemon and join look for certificates where kubeadm has them by itself",
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer: 3\n":               "read /o.yaml: it takes 198.51.100.166 out of certSANs: use kubeadm.cert_sans to add names",
		"a: [": "read /o.yaml: yaml: line 1: did not find expected node content",
	} {
		_, err := RenderInit(Input{Config: c, Self: master(t, c, "n1"), Secrets: someSecrets, Overlay: []byte(text)})
		if err == nil {
			t.Errorf("%q is accepted", text)
			continue
		}
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}
