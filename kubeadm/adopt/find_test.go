package adopt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/kubeadm"
)

var (
	vip4 = netip.MustParseAddr("198.51.100.166")
	vip6 = netip.MustParseAddr("2001:db8::166")
)

// node is a machine in a directory: files by path, or by processes' names.
func node(t *testing.T, files map[string]string) kubeadm.System {
	t.Helper()
	s := kubeadm.System{Root: t.TempDir()}
	for path, text := range files {
		full := s.Path(path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

const instanceText = `vrrp_instance VI_1 {
  state MASTER
  interface ens3
  virtual_ipaddress {
    198.51.100.166/24 dev bond0 label bond0:1
  }
}
`

const kubeVIPText = `apiVersion: v1
kind: Pod
metadata: {name: kube-vip, namespace: kube-system}
spec:
  containers:
  - name: kube-vip
    image: ghcr.io/kube-vip/kube-vip:v0.9.2
    args: [manager]
    env:
    - name: vip_arp
      value: "true"
    - name: vip_interface
      value: ens3
    - name: cp_enable
      value: "true"
    - name: svc_enable
      value: "SERVICES"
    - name: address
      value: "198.51.100.166"
`

func TestFindKeepers(t *testing.T) {
	const path = "/etc/keepalived/keepalived.conf"
	const pod = "/etc/kubernetes/manifests/kube-vip.yaml"
	process := "cp_enable=true\x00address=198.51.100.166\x00"
	alone := strings.Replace(kubeVIPText, "SERVICES", "false", 1)
	for _, tt := range []struct {
		name   string
		files  map[string]string
		want   []Keeper
		others []string
	}{
		{name: "nothing"},
		{
			name:  "keepalived that runs",
			files: map[string]string{path: instanceText, "/proc/7/comm": "keepalived\n"},
			want:  []Keeper{{Kind: Keepalived, Path: path, Link: "bond0", Addresses: []netip.Addr{vip4}, Running: true}},
		},
		{
			name:  "comments, one line, no mask",
			files: map[string]string{path: "! virtual_ipaddress { 198.51.100.1 }\nvrrp_instance A { # first\n virtual_ipaddress { 198.51.100.166 } interface eth1\n}"},
			want:  []Keeper{{Kind: Keepalived, Path: path, Link: "eth1", Addresses: []netip.Addr{vip4}}},
		},
		{
			name:  "brace in the next line, two families",
			files: map[string]string{path: "vrrp_instance A\n{\n interface eth0\n virtual_ipaddress\n {\n  198.51.100.166\n }\n virtual_ipaddress_excluded {\n  2001:db8::166/64\n }\n}\n"},
			want:  []Keeper{{Kind: Keepalived, Path: path, Link: "eth0", Addresses: []netip.Addr{vip4, vip6}}},
		},
		{
			name:  "included",
			files: map[string]string{path: "global_defs {\n}\ninclude conf.d/*.conf\n", "/etc/keepalived/conf.d/vip.conf": instanceText, "/etc/keepalived/conf.d/old.txt": "vrrp_instance B {\n}"},
			want:  []Keeper{{Kind: Keepalived, Path: path, Link: "bond0", Addresses: []netip.Addr{vip4}}},
		},
		{
			name:  "includes itself",
			files: map[string]string{path: "include keepalived.conf\n" + instanceText},
			want:  []Keeper{{Kind: Keepalived, Path: path, Addresses: []netip.Addr{vip4}, Problems: []string{"read /etc/keepalived/keepalived.conf: more than 64 files are included"}}},
		},
		{name: "another address", files: map[string]string{path: strings.ReplaceAll(instanceText, "166", "167"), "/proc/7/comm": "keepalived\n"}},
		{
			name:  "more to do",
			files: map[string]string{path: instanceText + "vrrp_instance web {\n virtual_ipaddress { 198.51.100.80 }\n}\nvirtual_server 198.51.100.80 80 {\n}\n"},
			want: []Keeper{{Kind: Keepalived, Path: path, Link: "bond0", Addresses: []netip.Addr{vip4},
				Problems: []string{"it has more to do than to hold the VIP: vrrp_instance web, virtual servers"}}},
		},
		{
			name:  "a MAC address of its own, and another address",
			files: map[string]string{path: "vrrp_instance A {\n interface eth0\n use_vmac\n virtual_ipaddress {\n 198.51.100.166\n 198.51.100.167\n }\n}\n"},
			want: []Keeper{{Kind: Keepalived, Path: path, Link: "eth0", Addresses: []netip.Addr{vip4, netip.MustParseAddr("198.51.100.167")}, Problems: []string{
				"use_vmac: the VIP has a MAC address of its own, on a link of its own", "it holds other addresses beside the VIP: [198.51.100.166 198.51.100.167]"}}},
		},
		{
			name:  "variables",
			files: map[string]string{path: "$VIP=198.51.100.166\nvrrp_instance A {\n virtual_ipaddress {\n $VIP\n }\n}\n"},
			want:  []Keeper{{Kind: Keepalived, Path: path, Addresses: []netip.Addr{vip4}, Problems: []string{"which addresses it holds is not to be read: $VIP"}}},
		},
		{
			name:  "it runs, by another configuration",
			files: map[string]string{"/proc/7/comm": "keepalived\n"},
			want: []Keeper{{Kind: Keepalived, Path: path, Addresses: []netip.Addr{vip4}, Running: true,
				Problems: []string{"read keepalived's configuration: open /etc/keepalived/keepalived.conf: no such file or directory"}}},
		},
		{
			name:  "a kube-vip",
			files: map[string]string{pod: alone, "/proc/8/environ": process},
			want:  []Keeper{{Kind: KubeVIP, Path: pod, Link: "ens3", Addresses: []netip.Addr{vip4}, Running: true}},
		},
		{
			name:  "a combined one",
			files: map[string]string{pod: strings.Replace(kubeVIPText, "SERVICES", "true", 1), "/proc/8/cmdline": "/kube-vip\x00manager\x00--controlplane\x00--address=198.51.100.166\x00"},
			want:  []Keeper{{Kind: KubeVIP, Path: pod, Link: "ens3", Addresses: []netip.Addr{vip4}, Services: true, Running: true}},
		},
		{
			name:   "for Services only",
			files:  map[string]string{pod: strings.NewReplacer("SERVICES", "true", "cp_enable\n      value: \"true\"", "cp_enable\n      value: \"false\"").Replace(kubeVIPText)},
			others: []string{"kube-vip by " + pod + " serves Services only"},
		},
		{
			name:  "one in BGP mode",
			files: map[string]string{pod: strings.Replace(alone, "vip_arp", "bgp_enable", 1)},
			want: []Keeper{{Kind: KubeVIP, Path: pod, Link: "ens3", Addresses: []netip.Addr{vip4},
				Problems: []string{"it is not in ARP mode: the VIP is a route that it announces, and not on this link alone"}}},
		},
		{
			name:  "one of a DaemonSet",
			files: map[string]string{"/proc/8/environ": process},
			want: []Keeper{{Kind: KubeVIP, Addresses: []netip.Addr{vip4}, Running: true,
				Problems: []string{"it runs, and not by a static pod: take it out of the cluster by hand (a DaemonSet?)"}}},
		},
		{
			name: "other pods, and MetalLB",
			files: map[string]string{"/etc/kubernetes/manifests/etcd.yaml": "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: etcd\n", "/etc/kubernetes/manifests/.kube-vip.yaml": alone,
				"/etc/kubernetes/manifests/x": "\t{", "/proc/9/cmdline": "/speaker\x00--port=7472\x00", "/proc/9/environ": "METALLB_NODE_NAME=n1\x00"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := node(t, tt.files)
			keepers, others := findKeepers(s, []netip.Addr{vip4})
			for i := range keepers {
				for j, p := range keepers[i].Problems {
					keepers[i].Problems[j] = strings.ReplaceAll(p, s.Root, "")
				}
			}
			if diff := cmp.Diff(tt.want, keepers, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("keepers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.others, others); diff != "" {
				t.Errorf("others (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithoutControlPlane(t *testing.T) {
	combined := strings.Replace(kubeVIPText, "SERVICES", "true", 1)
	for _, tt := range []struct{ name, from, to string }{
		{"as its generator writes it", combined, strings.Replace(combined, "cp_enable\n      value: \"true\"", "cp_enable\n      value: \"false\"", 1)},
		{"without quotes, with a comment", strings.Replace(combined, "cp_enable\n      value: \"true\"", "cp_enable\n      value: true # ours", 1),
			strings.Replace(combined, "cp_enable\n      value: \"true\"", "cp_enable\n      value: \"false\" # ours", 1)},
		{"in braces", strings.Replace(combined, "name: cp_enable\n      value: \"true\"", "{name: 'cp_enable', value: 'true'}", 1),
			strings.Replace(combined, "name: cp_enable\n      value: \"true\"", "{name: 'cp_enable', value: \"false\"}", 1)},
		{"value first", strings.Replace(combined, "name: cp_enable\n      value: \"true\"", "value: \"true\"\n      name: cp_enable", 1), ""},
		{"by a flag", strings.Replace(combined, "[manager]", "[manager, --controlplane]", 1), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := withoutControlPlane([]byte(tt.from))
			if (err == nil) != (tt.to != "") {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.to, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseServer(t *testing.T) {
	for server, want := range map[string]Endpoint{
		"https://198.51.100.166:6443":  {Host: "198.51.100.166", Port: 6443},
		"https://k8s.example.org":      {Host: "k8s.example.org", Port: 443},
		"https://[2001:db8::166]:6443": {Host: "2001:db8::166", Port: 6443},
		"nonsense":                     {Error: "the server nonsense is no URL"},
	} {
		if diff := cmp.Diff(want, parseServer(server), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%q (-want +got):\n%s", server, diff)
		}
	}
}

func TestUnnamed(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{vip4.AsSlice()}, DNSNames: []string{"k8s.example.org"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{System: node(t, map[string]string{"/etc/kubernetes/pki/apiserver.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))})}
	for host, named := range map[string]bool{"198.51.100.166": true, "198.51.100.167": false, "k8s.example.org": true, "other.example.org": false, "": true} {
		if got := r.unnamed(host); (got == "") != named {
			t.Errorf("%q: %q", host, got)
		}
	}
}
