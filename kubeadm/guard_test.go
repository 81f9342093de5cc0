package kubeadm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func version(t *testing.T, text string) Version {
	t.Helper()
	v, err := ParseVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// fine are the facts of a node on which nothing is in the way.
func fine(t *testing.T) Facts {
	v := version(t, "v1.34.4")
	return Facts{
		Root: true, Kubeadm: Program{Path: "/bin/kubeadm", Version: v}, Kubelet: Program{Path: "/bin/kubelet", Version: v},
		Addresses: []netip.Addr{addr("127.0.0.1"), addr("198.51.100.162")}, Listening: []int{22, 53},
		Runtime: Socket{Path: "/run/containerd/containerd.sock", Found: []string{"/run/containerd/containerd.sock"}},
	}
}

func findingsText(list []Finding) string {
	var lines []string
	for _, f := range list {
		line := f.String()
		if f.Fix != "" {
			line += "; " + f.Fix
		}
		if !f.Blocks {
			line = "(" + line + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestGuard(t *testing.T) {
	initial, join := Situation{Command: "init"}, Situation{Command: "join"}
	tests := []struct {
		name, more string
		change     func(f *Facts)
		situation  Situation
		want       string
	}{
		{"fine", "", func(*Facts) {}, initial, ""},
		{"fine to join", "", func(*Facts) {}, join, ""},
		{"not root", "", func(f *Facts) { f.Root = false }, initial, "user: kubeadm needs root; run it by sudo"},
		{"no programs", "", func(f *Facts) {
			f.Kubeadm, f.Kubelet = Program{Error: "is not installed (not in PATH)"}, Program{Error: "is not installed (not in PATH)"}
		}, initial, `kubeadm: is not installed (not in PATH); install kubeadm 1.31 or newer
kubelet: is not installed (not in PATH); install the kubelet of the same version as kubeadm`},
		{"old", "", func(f *Facts) { f.Kubeadm.Version, f.Kubelet.Version = version(t, "v1.30.1"), version(t, "v1.30.1") }, initial,
			"kubeadm: v1.30.1 is too old; install kubeadm 1.31 or newer: havip writes its v1beta4"},
		{"new", "", func(f *Facts) { f.Kubeadm.Version, f.Kubelet.Version = version(t, "v1.36.0"), version(t, "v1.36.0") }, initial,
			"(kubeadm: v1.36.0 is newer than what this havip was tested with (1.31 to 1.35))"},
		{"one minor back", "[kubeadm]\nversion = \"v1.33.9\"\n", func(f *Facts) { f.Kubelet.Version = version(t, "v1.33.9") }, initial, ""},
		{"two minors back", "[kubeadm]\nversion = \"v1.32.0\"\n", func(f *Facts) { f.Kubelet.Version = version(t, "v1.32.0") }, initial,
			"kubeadm.version: v1.32.0 cannot be installed by kubeadm v1.34.4; set kubeadm.version to a 1.33 or 1.34, or install another kubeadm"},
		{"ahead", "[kubeadm]\nversion = \"v1.35.0\"\n", func(f *Facts) { f.Kubelet.Version = version(t, "v1.35.0") }, initial,
			"kubeadm.version: v1.35.0 cannot be installed by kubeadm v1.34.4; set kubeadm.version to a 1.33 or 1.34, or install another kubeadm"},
		{"kubelet ahead", "", func(f *Facts) { f.Kubelet.Version = version(t, "v1.35.0") }, initial, "kubelet: v1.35.0 does not go with Kubernetes v1.34.4; install a kubelet 1.34"},
		{"kubelet behind", "", func(f *Facts) { f.Kubelet.Version = version(t, "v1.32.1") }, initial, "(kubelet: v1.32.1 is older than Kubernetes v1.34.4)"},
		{"kubelet far behind", "", func(f *Facts) { f.Kubelet.Version = version(t, "v1.30.1") }, initial, "kubelet: v1.30.1 does not go with Kubernetes v1.34.4; install a kubelet 1.34"},
		{"advertise address elsewhere", "[kubeadm.advertise_address]\nn1 = \"198.51.100.12\"\n", func(*Facts) {}, initial,
			"address: this node is n1, but 198.51.100.12 is not on any of its links; configure it on a link, or correct [masters] or [kubeadm.advertise_address]"},
		{"services of the other family", "[kubeadm]\nservice_subnet = [\"2001:db8:2::/112\", \"10.96.0.0/12\"]\n", func(*Facts) {}, initial,
			"kubeadm.service_subnet: services would have IPv6 addresses first, and the API server at 198.51.100.162 does not start then; set it to an IPv4 network, or to two of which that is the first"},
		{"services of both families", "[kubeadm]\nservice_subnet = [\"10.96.0.0/12\", \"2001:db8:2::/112\"]\n", func(*Facts) {}, initial, ""},
		{"kubeadm's own services and an IPv6 master", "[kubeadm.advertise_address]\nn1 = \"2001:db8::162\"\n", func(f *Facts) { f.Addresses = append(f.Addresses, addr("2001:db8::162")) }, initial,
			"kubeadm.service_subnet: services would have IPv4 addresses first, and the API server at 2001:db8::162 does not start then; set it to an IPv6 network, or to two of which that is the first"},
		{"the same to join", "[kubeadm.advertise_address]\nn1 = \"2001:db8::162\"\n", func(f *Facts) { f.Addresses = append(f.Addresses, addr("2001:db8::162")) }, join, ""},
		{"the same with an overlay", "[kubeadm]\noverlay = \"/o.yaml\"\n[kubeadm.advertise_address]\nn1 = \"2001:db8::162\"\n", func(f *Facts) { f.Addresses = append(f.Addresses, addr("2001:db8::162")) }, initial, ""},
		{"the same with an argument", "[kubeadm]\napiserver_args = [\"service-cluster-ip-range=2001:db8:2::/112\"]\n[kubeadm.advertise_address]\nn1 = \"2001:db8::162\"\n", func(f *Facts) { f.Addresses = append(f.Addresses, addr("2001:db8::162")) }, initial, ""},
		{"name leads to the VIP", "[kubeadm]\nendpoint = \"k8s\"\n", func(f *Facts) { f.EndpointAddresses = []netip.Addr{addr("198.51.100.166")} }, initial, ""},
		{"name leads elsewhere", "[kubeadm]\nendpoint = \"k8s\"\n", func(f *Facts) { f.EndpointAddresses = []netip.Addr{addr("198.51.100.166"), addr("198.51.100.7")} }, initial,
			"endpoint: k8s leads to 198.51.100.7, which is not the VIP; make it lead to 198.51.100.166 on every node, in DNS or /etc/hosts"},
		{"name leads nowhere", "[kubeadm]\nendpoint = \"k8s\"\n", func(f *Facts) { f.EndpointError, f.EndpointSilent = "no such host", "no such host" }, join,
			"endpoint: k8s leads nowhere: no such host; make it lead to 198.51.100.166 on every node, in DNS or /etc/hosts"},
		{"nobody to join", "", func(f *Facts) { f.EndpointSilent = "no route to host" }, join,
			"endpoint: no cluster answers at 198.51.100.166 port 6443: no route to host; make one by havipctl init on one master, or see on a master that is there: havipctl status"},
		{"no runtime", "", func(f *Facts) { f.Runtime = Socket{} }, initial,
			"container runtime: there is no socket of containerd or CRI-O; install one and start it, or name its socket in kubeadm.cri_socket"},
		{"dead runtime", "", func(f *Facts) { f.Runtime.Error = "connection refused" }, initial,
			"container runtime: /run/containerd/containerd.sock does not answer: connection refused; start it: systemctl enable --now containerd (or crio)"},
		{"two runtimes", "", func(f *Facts) { f.Runtime.Found = []string{"/a", "/b"} }, initial, "container runtime: there are several: /a, /b; name one in kubeadm.cri_socket"},
		{"two runtimes, one named", "[kubeadm]\ncri_socket = \"unix:///a\"\n", func(f *Facts) { f.Runtime = Socket{Path: "/a"} }, initial, ""},
		{"swap", "", func(f *Facts) { f.Swap = []string{"/dev/sda2"} }, initial, `swap: in use: /dev/sda2; swapoff -a, and remove it from /etc/fstab; or have the kubelet bear it: kubelet_args = ["fail-swap-on=false"], or ignore_preflight_errors = ["Swap"] if its configuration does`},
		{"swap is wanted", "[kubeadm]\nkubelet_args = [\"fail-swap-on=false\"]\n", func(f *Facts) { f.Swap = []string{"/dev/sda2"} }, initial, ""},
		{"swap is ignored", "[kubeadm]\nignore_preflight_errors = [\"swap\"]\n", func(f *Facts) { f.Swap = []string{"/dev/sda2"} }, initial, ""},
		{"own certificates", "", func(f *Facts) { f.Keys = []string{"/etc/kubernetes/pki/ca.key"} }, initial,
			"(certificates: kubeadm will use those that are there: /etc/kubernetes/pki/ca.key; if they are of another cluster, remove them by: havipctl reset)"},
		{"ports", "[kubeadm]\nendpoint = \"198.51.100.166:8443\"\n", func(f *Facts) { f.Listening = []int{2379, 2380, 6443, 8443, 10250, 10257, 10259} }, initial,
			`port 8443: something listens on it, and it is for the API server; see what it is: ss -ltnp sport = :8443
port 2379: something listens on it, and it is for etcd's clients; see what it is: ss -ltnp sport = :2379
port 2380: something listens on it, and it is for etcd's peers; see what it is: ss -ltnp sport = :2380
port 10250: something listens on it, and it is for the kubelet; see what it is: ss -ltnp sport = :10250
port 10257: something listens on it, and it is for the controller manager; see what it is: ss -ltnp sport = :10257
port 10259: something listens on it, and it is for the scheduler; see what it is: ss -ltnp sport = :10259`},
		{"leftovers", "", func(f *Facts) { f.Leftovers = []string{"/etc/kubernetes/admin.conf", "/var/lib/etcd/member"} }, initial,
			"leftovers: of another cluster, or of an earlier try: /etc/kubernetes/admin.conf, /var/lib/etcd/member; if this node is a working master there is nothing to do here; else remove them by: havipctl reset"},
		{"own traces", "", func(f *Facts) { f.Leftovers, f.Listening = []string{"/etc/kubernetes/admin.conf"}, []int{6443} }, Situation{Command: "init", Begun: true}, ""},
		{"rivals", "", func(f *Facts) { f.Rivals = []Rival{{"kube-vip in /x", "move it"}} }, Situation{Command: "init", Begun: true}, "VIP: kube-vip in /x would set the VIP too; move it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config(t, tt.more)
			f := fine(t)
			tt.change(&f)
			if diff := cmp.Diff(tt.want, findingsText(Guard(c, master(t, c, "n1"), f, tt.situation))); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGuardTellsAll: everything at once.
func TestGuardTellsAll(t *testing.T) {
	c := config(t, "")
	f := fine(t)
	f.Root, f.Swap, f.Listening, f.Runtime, f.Leftovers = false, []string{"/s"}, []int{6443}, Socket{}, []string{"/x"}
	f.Addresses, f.Rivals, f.Kubelet = nil, []Rival{{"a", "b"}}, Program{Error: "is ill"}
	got := Guard(c, master(t, c, "n1"), f, Situation{Command: "init"})
	if len(Blocking(got)) != 8 {
		t.Errorf("%d findings:\n%s", len(got), findingsText(got))
	}
}

// node makes a System out of files below a directory.
func node(t *testing.T, files map[string]string) System {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return System{
		Root:      root,
		Addresses: func() ([]netip.Addr, error) { return []netip.Addr{addr("198.51.100.162")}, nil },
		Resolve:   func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") },
		Dial:      new(net.Dialer).DialContext,
	}
}

// tcpTable is /proc/net/tcp with sshd and an API server listening, and a
// connection to port 2379 of another machine.
const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: A26433C6:0947 A36433C6:094B 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
`
const tcp6Table = `  sl  local_address rem_address st
   0: 00000000000000000000000000000000:192B 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
`

func pod(env, args string) string {
	return "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: any\n    args: [" + args + "]\n    env:\n" + env
}

func variables(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString("    - name: " + pairs[i] + "\n      value: \"" + pairs[i+1] + "\"\n")
	}
	return b.String()
}

func TestGather(t *testing.T) {
	s := node(t, map[string]string{
		"proc/net/tcp": tcpTable, "proc/net/tcp6": tcp6Table,
		"proc/swaps":                         "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda2                               partition\t1000\t0\t-2\n",
		"etc/kubernetes/admin.conf":          "",
		"etc/kubernetes/cloud.conf":          "",
		"etc/kubernetes/manifests/etcd.yaml": "", "etc/kubernetes/manifests/kube-vip.yaml": "",
		"etc/kubernetes/pki/ca.key": "", "etc/kubernetes/pki/sa.key": "", "etc/kubernetes/pki/etcd/ca.key": "", "etc/kubernetes/pki/apiserver.key": "",
		"var/lib/etcd/member/snap/db": "",
	})
	s.UID = 0
	got := s.Gather(t.Context(), config(t, ""), "init")
	want := Facts{
		Root: true, Addresses: []netip.Addr{addr("198.51.100.162")}, Listening: []int{22, 6443}, Swap: []string{"/dev/sda2"},
		Leftovers: []string{"/etc/kubernetes/admin.conf", "/etc/kubernetes/manifests/etcd.yaml", "/var/lib/etcd/member"},
		Keys:      []string{"/etc/kubernetes/pki/apiserver.key", "/etc/kubernetes/pki/ca.key", "/etc/kubernetes/pki/sa.key", "/etc/kubernetes/pki/etcd/ca.key"},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.IgnoreUnexported(Version{})); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestGatherOfNothing(t *testing.T) {
	s := node(t, nil)
	s.UID = 1000
	s.Addresses = func() ([]netip.Addr, error) { return nil, errors.New("no netlink") }
	got := s.Gather(t.Context(), config(t, "[kubeadm]\nendpoint = \"k8s\"\n"), "init")
	if diff := cmp.Diff(Facts{EndpointError: "no such host"}, got, cmpopts.IgnoreUnexported(Version{})); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestEndpointSilent(t *testing.T) {
	s := node(t, nil)
	asked := ""
	s.Dial = func(_ context.Context, network, address string) (net.Conn, error) {
		asked = network + " " + address
		return nil, errors.New("silence")
	}
	if got := s.Gather(t.Context(), config(t, ""), "join"); got.EndpointSilent != "silence" || asked != "tcp 198.51.100.166:6443" {
		t.Errorf("%q, asked %q", got.EndpointSilent, asked)
	}
}

func TestGatherRuntime(t *testing.T) {
	dir, err := os.MkdirTemp("", "cri") // the path of a socket has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := node(t, nil)
	s.Root = dir
	if err := os.MkdirAll(filepath.Join(dir, "run/containerd"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "run/containerd/containerd.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	want := Socket{Path: "/run/containerd/containerd.sock", Found: []string{"/run/containerd/containerd.sock"}}
	if diff := cmp.Diff(want, s.Gather(t.Context(), config(t, ""), "init").Runtime); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	named := config(t, "[kubeadm]\ncri_socket = \"unix:///run/containerd/containerd.sock\"\n")
	want.Found = nil
	if diff := cmp.Diff(want, s.Gather(t.Context(), named, "init").Runtime); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if got := s.Gather(t.Context(), named, "init").Runtime; !strings.Contains(got.Error, "connection refused") {
		t.Errorf("dead: %+v", got)
	}
}

func TestRivals(t *testing.T) {
	const manifest = "etc/kubernetes/manifests/kv.yaml"
	const enabledLink = "etc/systemd/system/multi-user.target.wants/keepalived.service"
	const keepalivedText = "virtual_ipaddress {\n  198.51.100.166/24 dev eth0\n}\n"
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"kube-vip", map[string]string{manifest: pod(variables("cp_enable", "true", "address", "198.51.100.166"), "manager")}, "kube-vip in /etc/kubernetes/manifests/kv.yaml"},
		{"its old name", map[string]string{manifest: pod(variables("cp_enable", "1", "vip_address", "198.51.100.166"), "manager")}, "kube-vip in /etc/kubernetes/manifests/kv.yaml"},
		{"by flags", map[string]string{manifest: pod("", "manager, --controlplane, --address, 198.51.100.166, --arp")}, "kube-vip in /etc/kubernetes/manifests/kv.yaml"},
		{"by a flag with a value", map[string]string{manifest: pod("", "manager, --controlplane=true, '--address=198.51.100.166'")}, "kube-vip in /etc/kubernetes/manifests/kv.yaml"},
		{"services only", map[string]string{manifest: pod(variables("svc_enable", "true", "address", "198.51.100.166"), "manager")}, ""},
		{"switched off", map[string]string{manifest: pod(variables("cp_enable", "false", "address", "198.51.100.166"), "manager")}, ""},
		{"another address", map[string]string{manifest: pod(variables("cp_enable", "true", "address", "198.51.100.167"), "manager")}, ""},
		{"no pod", map[string]string{manifest: "{"}, ""},
		{"keepalived", map[string]string{"etc/keepalived/keepalived.conf": keepalivedText, enabledLink: ""}, "keepalived, by /etc/keepalived/keepalived.conf,"},
		{"keepalived that is switched off", map[string]string{"etc/keepalived/keepalived.conf": keepalivedText}, ""},
		{"keepalived that runs", map[string]string{"etc/keepalived/conf.d/a": "198.51.100.166", "proc/12/comm": "keepalived\n", "proc/13/comm": "bash\n"},
			"keepalived, which runs with /etc/keepalived/conf.d/a,"},
		{"keepalived, in a comment", map[string]string{"etc/keepalived/keepalived.conf": "# 198.51.100.166\nstate BACKUP ! 198.51.100.166\n198.51.100.1660\n", enabledLink: ""}, ""},
		{"keepalived for another", map[string]string{"etc/keepalived/keepalived.conf": "198.51.100.1\n", "proc/12/comm": "keepalived\n"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, r := range node(t, tt.files).Gather(t.Context(), config(t, ""), "init").Rivals {
				got = append(got, r.What)
				if r.Fix == "" {
					t.Errorf("%s: no fix", r.What)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("rivals (-want +got):\n%s", diff)
			}
		})
	}
}
