package cluster

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// Master is what kubeadm's manifests on one master say.
type Master struct {
	Name    string
	Address netip.Addr
	PKI     string     // directory
	Data    string     // etcd's
	Member  netip.Addr // of its etcd member; Address if not valid
	All     []*Seat    // the masters that form the etcd cluster
}

// EtcdFlags are the flags that kubeadm v1.34 writes into etcd.yaml, and so the
// ones this node's etcd runs with. No timers among them: etcd's defaults hold.
func (m Master) EtcdFlags() []string {
	url := func(a netip.Addr, port uint16) string {
		return "https://" + netip.AddrPortFrom(a, port).String()
	}
	member := m.Address
	if m.Member.IsValid() {
		member = m.Member
	}
	return []string{
		"--advertise-client-urls=" + url(member, 2379),
		"--cert-file=" + filepath.Join(m.PKI, "etcd/server.crt"),
		"--client-cert-auth=true",
		"--data-dir=" + m.Data,
		"--feature-gates=InitialCorruptCheck=true",
		"--initial-advertise-peer-urls=" + url(member, 2380),
		"--initial-cluster=" + m.initialCluster(),
		"--key-file=" + filepath.Join(m.PKI, "etcd/server.key"),
		"--listen-client-urls=https://127.0.0.1:2379," + url(member, 2379),
		"--listen-metrics-urls=http://127.0.0.1:2381",
		"--listen-peer-urls=" + url(member, 2380),
		"--name=" + m.Name,
		"--peer-cert-file=" + filepath.Join(m.PKI, "etcd/peer.crt"),
		"--peer-client-cert-auth=true",
		"--peer-key-file=" + filepath.Join(m.PKI, "etcd/peer.key"),
		"--peer-trusted-ca-file=" + filepath.Join(m.PKI, "etcd/ca.crt"),
		"--snapshot-count=10000",
		"--trusted-ca-file=" + filepath.Join(m.PKI, "etcd/ca.crt"),
		"--watch-progress-notify-interval=5s",
	}
}

func (m Master) initialCluster() string {
	var members []string
	for _, n := range m.All {
		members = append(members, fmt.Sprintf("%s=https://%s", n.Name, netip.AddrPortFrom(n.memberAddress(), 2380)))
	}
	return strings.Join(members, ",")
}

func (m Master) apiserverFlags() []string {
	return []string{
		"--advertise-address=" + m.Address.String(),
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--client-ca-file=" + filepath.Join(m.PKI, "ca.crt"),
		"--enable-bootstrap-token-auth=true",
		"--etcd-cafile=" + filepath.Join(m.PKI, "etcd/ca.crt"),
		"--etcd-certfile=" + filepath.Join(m.PKI, "apiserver-etcd-client.crt"),
		"--etcd-keyfile=" + filepath.Join(m.PKI, "apiserver-etcd-client.key"),
		"--etcd-servers=https://127.0.0.1:2379",
		"--secure-port=6443",
		"--service-cluster-ip-range=10.96.0.0/12",
		"--tls-cert-file=" + filepath.Join(m.PKI, "apiserver.crt"),
		"--tls-private-key-file=" + filepath.Join(m.PKI, "apiserver.key"),
	}
}

// staticPod is a static pod's manifest as far as a reader of its command line
// can tell.
func staticPod(name string, flags []string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    component: %s\n    tier: control-plane\n", name)
	fmt.Fprintf(&b, "  name: %s\n  namespace: kube-system\nspec:\n  containers:\n  - command:\n    - %s\n", name, name)
	for _, f := range flags {
		fmt.Fprintf(&b, "    - %s\n", f)
	}
	fmt.Fprintf(&b, "    image: registry.k8s.io/%s\n    name: %s\n  hostNetwork: true\nstatus: {}\n", name, name)
	return []byte(b.String())
}

// WriteManifests writes the two manifests that matter here into dir.
func (m Master) WriteManifests(dir string) error {
	if err := writeFile(filepath.Join(dir, "etcd.yaml"), staticPod("etcd", m.EtcdFlags()), 0o600); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "kube-apiserver.yaml"), staticPod("kube-apiserver", m.apiserverFlags()), 0o600)
}

func (n *Node) master() Master {
	return Master{
		Name: n.Name, Address: n.Address, Member: n.EtcdAddr, PKI: n.PKI, Data: n.EtcdData(), All: n.cluster.seats(),
	}
}

// havipConfig is the node's havip.toml. Only the paths differ from what an
// operator would write: here three nodes share one file system.
func (n *Node) havipConfig() []byte {
	var b strings.Builder
	c := n.cluster
	var vips []string
	for _, v := range n.vips {
		vips = append(vips, fmt.Sprintf("%q", v))
	}
	fmt.Fprintf(&b, "[vip]\naddress = [%s]\ninterface = \"auto\"\n\n[masters]\n", strings.Join(vips, ", "))
	for _, m := range c.Nodes {
		fmt.Fprintf(&b, "%s = %q\n", m.Name, m.Address)
	}
	k8s := filepath.Join(n.dir, "kubernetes")
	fmt.Fprintf(&b, "\n[etcd]\nendpoint = %q\n", n.etcdEndpoint())
	fmt.Fprintf(&b, "ca = %q\ncert = %q\nkey = %q\nmanifest = %q\n",
		filepath.Join(k8s, "pki/etcd/ca.crt"), filepath.Join(k8s, "pki/apiserver-etcd-client.crt"),
		filepath.Join(k8s, "pki/apiserver-etcd-client.key"), filepath.Join(k8s, "manifests/etcd.yaml"))
	fmt.Fprintf(&b, "\n[health]\nmanifest = %q\nca = %q\n",
		filepath.Join(k8s, "manifests/kube-apiserver.yaml"), filepath.Join(k8s, "pki/ca.crt"))
	if c.opts.ExtraConfig != "" {
		fmt.Fprintf(&b, "\n%s\n", c.opts.ExtraConfig)
	}
	return []byte(b.String())
}
