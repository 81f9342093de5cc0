package check

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"havip/configs"
	"havip/kubeadm"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

var now = time.Date(2026, 3, 2, 3, 16, 0, 0, time.UTC)

// config decodes a file with the VIP and the masters that most tests need, and
// more lines.
func config(t *testing.T, more string) *configs.Config {
	t.Helper()
	c, err := configs.Decode("havip.toml", []byte(`
vip.address = ["198.51.100.166", "2001:db8::166"]
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

func ethernet(name string, prefixes ...string) Link {
	l := Link{Link: kubeadm.Link{Name: name, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(len(name))}, Up: true, Carrier: true}}
	for _, p := range prefixes {
		l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
	}
	return l
}

// both are the facts that a node has with and without a cluster.
func both(t *testing.T) Facts {
	lo := Link{Link: kubeadm.Link{Name: "lo", Up: true, Carrier: true, Loopback: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}}
	cfg := config(t, "")
	self, _ := cfg.Master("n1")
	return Facts{
		Now: now, Missing: make(map[Part]string),
		Config: Config{Path: "/etc/havip/havip.toml", File: cfg}, Self: self,
		Links:  []Link{lo, ethernet("eth0", "198.51.100.162/24", "2001:db8::162/64"), ethernet("eth10", "203.0.113.7/24")},
		Daemon: Daemon{Configured: true, VIP: []netip.Addr{addr("198.51.100.166"), addr("2001:db8::166")}, Verdict: "HELD", Role: "candidate", Link: "eth0"},
		Clock:  Clock{Synchronised: true},
		Units: map[string]Unit{
			unitHavipd:  {Loaded: true, Enabled: true},
			unitKubelet: {Loaded: true, Enabled: true, After: []string{"network-online.target", unitHavipd}, Needs: []string{"basic.target"}},
		},
		DefaultLink: "eth0",
	}
}

// master is a node on which all is well.
func master(t *testing.T) Facts {
	f := both(t)
	f.Joined = true
	f.Daemon.Holder = "n2"
	f.Daemon.Etcd = Etcd{State: "ready", Members: []Member{
		{Name: "n1", ClientURLs: []string{"https://198.51.100.162:2379"}}, {Name: "n2", ClientURLs: []string{"https://198.51.100.163:2379"}}, {Name: "n3"},
	}}
	f.Wire = []Answer{{Address: addr("198.51.100.166"), Accepts: true, MAC: "02:00:00:00:00:02"}, {Address: addr("2001:db8::166"), Accepts: true}}
	f.Pods = Pods{
		Etcd:      map[string]string{"listen-client-urls": "https://127.0.0.1:2379,https://198.51.100.162:2379", "advertise-client-urls": "https://198.51.100.162:2379"},
		APIServer: map[string]string{"advertise-address": "198.51.100.162"},
	}
	year := Certificate{Begin: now.Add(-time.Hour), End: now.Add(365 * 24 * time.Hour)}
	client, api := year, year
	client.Path, client.Use, client.Required, client.IssuerPath = "/pki/client.crt", UseEtcdClient, true, "/pki/etcd/ca.crt"
	api.Path, api.Use, api.Required = "/pki/apiserver.crt", UseAPIServer, true
	api.Addresses = []netip.Addr{addr("10.96.0.1"), addr("198.51.100.162"), addr("198.51.100.166"), addr("2001:db8::166")}
	f.Certificates = []Certificate{client, api, {Path: "/pki/front-proxy-client.crt", Missing: true}}
	f.Kubeconfigs = []Kubeconfig{
		leads("admin.conf", "https://198.51.100.166:6443", "198.51.100.166"), leads("kubelet.conf", "https://198.51.100.162:6443", "198.51.100.162"),
	}
	f.Kubelet = Kubelet{Source: "/var/lib/kubelet/kubeadm-flags.env", NodeIP: []netip.Addr{addr("198.51.100.162")}}
	f.Cluster = Cluster{
		KubeProxy: &configs.KubeProxy{Mode: "nftables"},
		Calico:    &Calico{DaemonSet: "calico-system/calico-node", Method: "kubernetes-internal-ip", IP: "autodetect"},
		Cilium:    &Cilium{Host: "198.51.100.166", Replacement: true, Addresses: []netip.Addr{addr("198.51.100.166")}, Devices: []string{"eth+"}},
	}
	return f
}

func leads(name, server string, to ...string) Kubeconfig {
	k := Kubeconfig{Path: "/etc/kubernetes/" + name, Servers: []string{server}, Addresses: map[string][]netip.Addr{}}
	for _, a := range to {
		k.Addresses[server] = append(k.Addresses[server], addr(a))
	}
	return k
}

// bare is a node on which a cluster can be made.
func bare(t *testing.T) Facts {
	f := both(t)
	v, err := kubeadm.ParseVersion("v1.34.4")
	if err != nil {
		t.Fatal(err)
	}
	f.Daemon.Verdict, f.Daemon.Role, f.Daemon.Probed = "UNKNOWN", "waiting", true
	f.Wire = []Answer{{Address: addr("198.51.100.166"), Silent: true, Error: "no route to host"}, {Address: addr("2001:db8::166"), Silent: true, Error: "no route to host"}}
	f.Node = kubeadm.Facts{
		Root: true, Kubeadm: kubeadm.Program{Path: "kubeadm", Version: v}, Kubelet: kubeadm.Program{Path: "kubelet", Version: v},
		Addresses: []netip.Addr{addr("198.51.100.162")}, Runtime: kubeadm.Socket{Path: "/run/containerd/containerd.sock"},
	}
	f.Kernel = Kernel{Forwards: true, Bridges: true}
	return f
}

func chain(family, hook string, rules int) func(*Facts) {
	return func(f *Facts) {
		f.Firewall.Chains = []Chain{{Family: family, Table: "filter", Name: strings.ToUpper(hook), Hook: hook, Rules: rules}}
	}
}

func zoned(z Firewalld) func(*Facts) { return func(f *Facts) { f.Firewall.Firewalld = &z } }

func certificate(use CertificateUse, change func(c *Certificate)) func(*Facts) {
	return func(f *Facts) {
		change(&f.Certificates[slices.IndexFunc(f.Certificates, func(c Certificate) bool { return c.Use == use })])
	}
}

func (f *Facts) setVIP(a string) { f.Config.File.VIP.Addresses[0], f.Daemon.VIP[0] = addr(a), addr(a) }

// here puts the VIP on its link.
func (f *Facts) here() {
	f.Links[1].Prefixes = append(f.Links[1].Prefixes, netip.MustParsePrefix("198.51.100.166/32"))
}
