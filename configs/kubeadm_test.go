package configs

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const kubeadmFile = vipLine + `
[kubeadm]
version = "v1.34.4"
cluster_name = "lab"
endpoint = "k8s.example.org"
pod_subnet = "10.244.0.0/16"
service_subnet = ["10.96.0.0/12", "fd00:10:96::/112"]
dns_domain = "cluster.example.org"
cert_sans = ["*.example.org", "2001:DB8::1"]
image_repository = "registry.example.org:5000/k8s"
cri_socket = "unix:///run/crio/crio.sock"
labels = ["rack=r7", "node.kubernetes.io/zone="]
taints = []
kubelet_args = ["v=2", "max-pods=200"]
apiserver_args = ["service-account-issuer=https://a", "service-account-issuer=https://b"]
controller_manager_args = ["bind-address=0.0.0.0"]
scheduler_args = ["v=4"]
etcd_args = ["quota-backend-bytes=8589934592"]
apiserver_volumes = ["audit:/var/log/audit:/audit", "policy:/etc/p.yaml:/p.yaml:ro"]
feature_gates = ["RootlessControlPlane=false"]
allow_cgroup_v1 = true
patches = "/etc/havip/patches"
skip_phases = ["addon/kube-proxy"]
ignore_preflight_errors = ["NumCPU", "FileAvailable--etc-kubernetes-pki-ca.crt"]
upload_certs = false
token_ttl = "1h"
overlay = "/etc/havip/kubeadm.yaml"

[kubeadm.advertise_address]
n2 = "198.51.100.13"

[unattended]
init_node = "n1"
secret_file = "/etc/havip/secret"
join_window = "30m"
` + three

func TestDecodeKubeadm(t *testing.T) {
	c := mustDecode(t, kubeadmFile)
	want := Kubeadm{
		Version: "v1.34.4", ClusterName: "lab", Endpoint: "k8s.example.org:6443",
		PodSubnets:     []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		ServiceSubnets: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00:10:96::/112")},
		DNSDomain:      "cluster.example.org", CertSANs: []string{"*.example.org", "2001:db8::1"},
		ImageRepository: "registry.example.org:5000/k8s", CRISocket: "unix:///run/crio/crio.sock",
		Labels: []Arg{{"rack", "r7"}, {"node.kubernetes.io/zone", ""}}, Taints: []Taint{},
		KubeletArgs:           []Arg{{"v", "2"}, {"max-pods", "200"}},
		APIServerArgs:         []Arg{{"service-account-issuer", "https://a"}, {"service-account-issuer", "https://b"}},
		ControllerManagerArgs: []Arg{{"bind-address", "0.0.0.0"}},
		SchedulerArgs:         []Arg{{"v", "4"}},
		EtcdArgs:              []Arg{{"quota-backend-bytes", "8589934592"}},
		APIServerVolumes:      []Volume{{"audit", "/var/log/audit", "/audit", false}, {"policy", "/etc/p.yaml", "/p.yaml", true}},
		FeatureGates:          []Arg{{"RootlessControlPlane", "false"}}, AllowCgroupV1: true,
		Patches: "/etc/havip/patches", SkipPhases: []string{"addon/kube-proxy"},
		IgnorePreflight: []string{"NumCPU", "FileAvailable--etc-kubernetes-pki-ca.crt"},
		TokenTTL:        time.Hour, Overlay: "/etc/havip/kubeadm.yaml",
		Advertise: map[string]netip.Addr{"n2": addr("198.51.100.13")},
	}
	if diff := cmp.Diff(want, c.Kubeadm, sameConfig); diff != "" {
		t.Errorf("kubeadm (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Unattended{"n1", "/etc/havip/secret", 30 * time.Minute}, c.Unattended); diff != "" {
		t.Errorf("unattended (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(c, mustDecode(t, string(c.TOML())), sameConfig); diff != "" {
		t.Errorf("written out and decoded again (-want +got):\n%s", diff)
	}
}

func TestEndpoint(t *testing.T) {
	for _, tt := range []struct {
		line, host string
		port       int
	}{
		{"", "198.51.100.166", 6443},
		{"kubeadm.endpoint = \"k8s.example.org\"\n", "k8s.example.org", 6443},
		{"kubeadm.endpoint = \"k8s.example.org:8443\"\n", "k8s.example.org", 8443},
		{"kubeadm.endpoint = \"198.51.100.166:443\"\n", "198.51.100.166", 443},
	} {
		c := mustDecode(t, vipLine+tt.line+three)
		if host, port := c.Endpoint(); host != tt.host || port != tt.port {
			t.Errorf("%q: endpoint %s port %d, want %s port %d", tt.line, host, port, tt.host, tt.port)
		}
	}
	six := mustDecode(t, "vip.address = \"2001:db8::166\"\nkubeadm.endpoint = \"2001:db8::166\"\n"+three)
	if host, port := six.Endpoint(); host != "2001:db8::166" || port != 6443 {
		t.Errorf("IPv6: endpoint %s port %d", host, port)
	}
	if host, _ := Default().Endpoint(); host != "" {
		t.Errorf("without a VIP: endpoint %s", host)
	}
}

func TestAdvertise(t *testing.T) {
	c := mustDecode(t, kubeadmFile)
	for name, want := range map[string]string{"n1": "198.51.100.162", "n2": "198.51.100.13"} {
		m, ok := c.Master(name)
		if got := c.Advertise(m); !ok || got != addr(want) {
			t.Errorf("%s advertises %s, want %s", name, got, want)
		}
	}
	if _, ok := c.Master("n4"); ok {
		t.Error("a master that is not there")
	}
}

var kubeadmCases = []problemCase{
	{"versions", "[kubeadm]\nversion = \"1.34.4\"\n", `f:2:11: kubeadm.version: "1.34.4" is not a version of Kubernetes; write "v1.34.4"`},
	{"moving version", "[kubeadm]\nversion = \"stable-1\"\n",
		`f:2:11: kubeadm.version: "stable-1" is not a version of Kubernetes; write a whole version such as "v1.34.4": what "stable" means changes, and asks the internet`},
	{"old version", "[kubeadm]\nversion = \"v1.30.9\"\n", `f:2:11: kubeadm.version: v1.30.9 is too old; use v1.31 or newer: havip writes kubeadm's v1beta4`},
	{"endpoint is a URL", "[kubeadm]\nendpoint = \"https://k8s.example.org\"\n",
		`f:2:12: kubeadm.endpoint: "https://k8s.example.org" is a URL; write a name or the VIP and a port, such as "k8s.example.org:6443"`},
	{"endpoint is not the VIP", vipLine + "kubeadm.endpoint = \"198.51.100.162:6443\"\n" + three,
		`f:2:20: kubeadm.endpoint: 198.51.100.162 is not the VIP; name the VIP, or a DNS name that leads to it, or remove the key`},
	{"endpoint without a port", "kubeadm.endpoint = \"k8s.example.org:\"\n",
		`f:1:20: kubeadm.endpoint: "k8s.example.org:" has no port from 1 to 65535; write a name or the VIP and a port, such as "k8s.example.org:6443"`},
	{"networks", "[kubeadm]\npod_subnet = \"10.244.0.1/16\"\nservice_subnet = \"10.96.0.0/12,fd00::/112\"\n", `
f:2:14: kubeadm.pod_subnet: "10.244.0.1/16" has bits beyond its length; write "10.244.0.0/16"
f:3:18: kubeadm.service_subnet: "10.96.0.0/12,fd00::/112" is not a network; write a list: ["10.244.0.0/16", "fd00:10:244::/56"]`},
	{"two networks of one family", "[kubeadm]\npod_subnet = [\"10.244.0.0/16\", \"10.245.0.0/16\"]\n",
		`f:2:14: kubeadm.pod_subnet: has two networks of one family; keep at most one IPv4 and one IPv6 network`},
	{"networks over nodes", vipLine + "kubeadm.pod_subnet = \"198.51.0.0/16\"\nkubeadm.service_subnet = \"198.48.0.0/12\"\n[masters]\nn1 = \"10.0.0.1\"\n", `
f:2:22: kubeadm.pod_subnet: 198.51.0.0/16 contains the VIP, 198.51.100.166; choose a network that no machine is in
f:3:26: kubeadm.service_subnet: 198.48.0.0/12 contains the VIP, 198.51.100.166; choose a network that no machine is in
f:3:26: kubeadm.service_subnet: 198.48.0.0/12 overlaps pod_subnet, 198.51.0.0/16; choose two networks apart from each other`},
	{"network over a master", vipLine + "kubeadm.pod_subnet = \"10.0.0.0/16\"\n[masters]\nn1 = \"10.0.0.1\"\n",
		`f:2:22: kubeadm.pod_subnet: 10.0.0.0/16 contains n1, 10.0.0.1; choose a network that no machine is in`},
	{"names", "[kubeadm]\ncert_sans = [\"https://k8s\", \"a\", \"a\"]\ndns_domain = \".local\"\nimage_repository = \"https://registry/\"\n", `
f:2:13: kubeadm.cert_sans: "https://k8s" is neither a DNS name nor an address; write a name in lower case, such as "k8s.example.org", without scheme and port
f:2:13: kubeadm.cert_sans: has "a" twice; keep one of them
f:3:14: kubeadm.dns_domain: ".local" is not a DNS name: each part between dots begins and ends with a letter or digit; write a name such as "cluster.local"
f:4:20: kubeadm.image_repository: "https://registry/" is not an image repository; write one such as "registry.example.org/k8s", without scheme, tag and slash at the end`},
	{"socket", "kubeadm.cri_socket = \"/run/containerd/containerd.sock\"\n",
		`f:1:22: kubeadm.cri_socket: "/run/containerd/containerd.sock" has no scheme; write "unix:///run/containerd/containerd.sock"`},
	{"flags", "[kubeadm]\nkubelet_args = [\"--v=3\", \"v\", \"node-ip=198.51.100.166\"]\nscheduler_args = 3\napiserver_args = [4, \" v=3\"]\netcd_args = [\"data-dir=/x\"]\n", `
f:2:16: kubeadm.kubelet_args: has "--v=3" with dashes; write "v=3"
f:2:16: kubeadm.kubelet_args: has "v", which is no flag with a value; write "flag=value", without dashes before it
f:2:16: kubeadm.kubelet_args: has "node-ip=198.51.100.166", which havip sets for each master; remove it
f:3:18: kubeadm.scheduler_args: is a number, must be a list of texts; write a list such as ["v=2"]
f:4:18: kubeadm.apiserver_args: has a number in its list; write each value in quotes
f:4:18: kubeadm.apiserver_args: has " v=3" in its list; write values without spaces at either end, or remove it
f:5:13: kubeadm.etcd_args: has "data-dir=/x", which havip sets for each master; remove it`},
	{"labels and taints", "[kubeadm]\nlabels = [\"rack\", \"node-role.kubernetes.io/x=\", \"a=b\", \"a=c\"]\ntaints = [\"a=b\", \"a:Never\"]\n", `
f:2:10: kubeadm.labels: has "rack", which is no label; write "key=value"
f:2:10: kubeadm.labels: has "node-role.kubernetes.io/x": a kubelet may not give its node this label; use a name below node.kubernetes.io or of your own, or set it by kubectl label
f:2:10: kubeadm.labels: has "a" twice; keep one of them
f:3:10: kubeadm.taints: has "a=b", which is no taint; write "key=value:effect" or "key:effect", with NoSchedule, PreferNoSchedule or NoExecute
f:3:10: kubeadm.taints: has "a:Never", which is no taint; write "key=value:effect" or "key:effect", with NoSchedule, PreferNoSchedule or NoExecute`},
	{"volumes and gates", "[kubeadm]\napiserver_volumes = [\"a:b:c\"]\nfeature_gates = [\"X\"]\nupload_certs = \"no\"\n", `
f:2:21: kubeadm.apiserver_volumes: has "a:b:c", which is no volume; write "name:/path/on/the/node:/path/in/the/pod", and ":ro" behind it for read only
f:3:17: kubeadm.feature_gates: has "X", which is no feature gate; write "Name=true" or "Name=false"
f:4:16: kubeadm.upload_certs: is text, must be true or false; write true or false, without quotes`},
	{"phases", "[kubeadm]\nskip_phases = [\"Addon\", \"wait-control-plane\", \"upload-certs\"]\nignore_preflight_errors = [\"a b\"]\n", `
f:2:15: kubeadm.skip_phases: has "Addon", which is no phase; write names as kubeadm init --help lists them, such as addon/kube-proxy
f:2:15: kubeadm.skip_phases: has wait-control-plane: the VIP can only be handed to the election once etcd runs; remove it
f:2:15: kubeadm.skip_phases: has upload-certs; write upload_certs = false instead
f:3:27: kubeadm.ignore_preflight_errors: has "a b", which is no check; write the name that kubeadm shows in brackets, such as "NumCPU"`},
	{"advertise addresses", vipLine + "[kubeadm.advertise_address]\nn1 = \"198.51.100.166\"\nn2 = \"198.51.100.3\"\nn3 = \"198.51.100.3\"\nn4 = 5\nn5 = \"198.51.100.5\"\n" + three, `
f:3:6: kubeadm.advertise_address.n1: 198.51.100.166 is the VIP, which moves; write the address that the other masters reach this one at
f:5:6: kubeadm.advertise_address.n3: 198.51.100.3 is the address of n2 too; write the address that the other masters reach this one at
f:6:6: kubeadm.advertise_address.n4: is a number, must be an address; write one address in quotes, such as "198.51.100.162"
f:7:6: kubeadm.advertise_address.n5: no master has this name; name one of [masters]`},
	{"slip", "[kubeadm]\npod_subnets = \"10.244.0.0/16\"\n", `f:2:15: kubeadm.pod_subnets: unknown key; did you mean pod_subnet?`},
}

var unattendedCases = []problemCase{
	{"node alone", "[unattended]\ninit_node = \"n1\"\n", `f:2:13: unattended.init_node: is set without secret_file; set both, or neither`},
	{"secret alone", "[unattended]\nsecret_file = \"/etc/havip/secret\"\n", `f:2:15: unattended.secret_file: is set without init_node; set both, or neither`},
	{"no such master", vipLine + "[unattended]\ninit_node = \"n9\"\nsecret_file = \"/s\"\n" + three, `f:3:13: unattended.init_node: no master is named "n9"; name one of n1, n2, n3`},
	{"window", "[unattended]\njoin_window = \"3h\"\n", `f:2:15: unattended.join_window: 3h is out of bounds; write a duration from "10m" to "2h"`},
}
