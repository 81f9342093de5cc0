package check

import (
	"net/netip"
	"time"

	"havip/configs"
	"havip/kubeadm"
)

// Facts are what was seen. Each part of them is gathered by itself, and may be
// missing.
type Facts struct {
	Now time.Time

	// Missing has the parts that could not be looked at, and why.
	Missing map[Part]string

	Config Config
	Self   configs.Master // this node; empty while it is in no [masters]
	Joined bool           // the node has the manifests of a control plane
	Begun  bool           // an init or join is under way: its traces are no leftovers

	Links        []Link
	DefaultLink  string // that the default route leaves by
	Node         kubeadm.Facts
	Kernel       Kernel
	Wire         []Answer
	Daemon       Daemon
	Pods         Pods
	Certificates []Certificate
	Kubeconfigs  []Kubeconfig
	Kubelet      Kubelet
	Clock        Clock
	Units        map[string]Unit
	Firewall     Firewall
	Cluster      Cluster
}

// Part is a group of facts that is gathered at once.
type Part string

// The parts.
const (
	PartLinks    Part = "links"
	PartNode     Part = "node"
	PartWire     Part = "wire"
	PartDaemon   Part = "daemon"
	PartFiles    Part = "files"
	PartClock    Part = "clock"
	PartSystemd  Part = "systemd"
	PartFirewall Part = "firewall"
	PartCluster  Part = "cluster"
)

// Config is the config file.
type Config struct {
	Path     string
	File     *configs.Config // nil if it cannot be used
	Problems []string
	Warnings []string
	SelfSays string // why this node is not found in it
}

// Link is a network link of this node with what the kernel was told of it.
type Link struct {
	kubeadm.Link
	Master         string // bridge or bond that it is a port of
	ARPIgnore      int    // as the kernel applies it: the larger of all's and its own
	DropGratuitous bool   // drop_gratuitous_arp
	DropNA         bool   // drop_unsolicited_na
	NoIPv6         bool
}

// Kernel is what kubeadm and pods ask of it.
type Kernel struct {
	Forwards bool // net.ipv4.ip_forward
	Bridges  bool // br_netfilter is there
}

// Answer is what came of connecting to an address of the VIP.
type Answer struct {
	Address netip.Addr
	Accepts bool   // somebody takes connections on the API server's port
	Refuses bool   // somebody has the address and nothing listens
	MAC     string // who has it by the kernel's neighbour table
	Stale   bool   // MAC was known before, and proves nothing of now
	Silent  bool   // nobody answered, and the kernel had somebody to ask
	Error   string
}

// Daemon is what the daemon of this node says.
type Daemon struct {
	Error   string // why it cannot be asked; nothing below is known then
	Stopped bool   // it does not run
	Denied  bool   // this user may not ask it

	Configured bool
	VIP        []netip.Addr // by the file that it has read
	Warnings   []string
	Verdict    string
	Reason     string
	Role       string
	Holder     string // "" if nobody, or not known
	Link       string
	LinkReason string
	Addresses  []Address
	Conflicts  []Conflict
	Etcd       Etcd

	// Probe is the daemon's look at the wire for the VIP, made only where there is
	// no etcd to ask.
	Probe      []kubeadm.Finding
	Probed     bool
	ProbeError string
}

// Address is an address of the VIP as the kernel has it here.
type Address struct {
	Address   netip.Addr
	Present   bool
	Permanent bool
}

// Conflict is somebody else who claimed an address of the VIP on the wire.
type Conflict struct {
	Address netip.Addr
	MAC     string
	Ago     time.Duration
	Count   int64
}

// Etcd is the etcd cluster by the daemon's word.
type Etcd struct {
	State   string
	Members []Member
	Alarms  []string
}

// Answers reports whether the member list is of now.
func (e Etcd) Answers() bool { return e.State == "ready" || e.State == "learner" }

// Member is a member of etcd.
type Member struct {
	Name       string
	ClientURLs []string
	Learner    bool
}

// Pods are the control plane's static pods, by their flags.
type Pods struct {
	Etcd, APIServer           map[string]string
	EtcdError, APIServerError string // why their manifests cannot be read
}

// Certificate is one that the control plane or havip uses.
type Certificate struct {
	Path     string
	Use      CertificateUse
	Required bool // on a node that is part of a cluster
	Missing  bool
	Error    string // why it cannot be used, one clause
	Denied   bool   // it may not be read by this user

	Begin, End time.Time
	Names      []string
	Addresses  []netip.Addr

	KeyError   string // why its key does not go with it
	IssuerPath string
	IssuedBy   string // why it is not of this issuer
}

// CertificateUse says what a certificate is for.
type CertificateUse string

// The uses that a look asks for.
const (
	UseEtcdClient CertificateUse = "etcd client"
	UseAPIServer  CertificateUse = "API server"
	UseOther      CertificateUse = "other"
)

// Kubeconfig is one of those in /etc/kubernetes.
type Kubeconfig struct {
	Path      string
	Error     string
	Denied    bool
	Servers   []string
	Addresses map[string][]netip.Addr // what the servers' names lead to
}

// Kubelet is what the kubelet was told of its address.
type Kubelet struct {
	Source string // process or file that it was found in; "" if there is no kubelet
	NodeIP []netip.Addr
}

// Clock is the machine's.
type Clock struct {
	Error        string
	Synchronised bool
	Keepers      []string // programs that keep it, which run
}

// Unit is what systemd says of a unit.
type Unit struct {
	Loaded  bool
	Enabled bool
	After   []string
	Needs   []string // units whose end ends it
}

// Firewall is what filters packets.
type Firewall struct {
	Firewalld *Firewalld // nil: it does not run
	Error     string     // why firewalld, which runs, says nothing

	Chains      []Chain // base chains that drop what no rule takes
	ChainsError string
}

// Firewalld is the zone that the VIP's link is in.
type Firewalld struct {
	Zone     string
	Target   string
	Services []string
	Ports    []string
	BySource bool // other zones take some machines by their addresses
}

// Chain is a base chain.
type Chain struct {
	Family, Table, Name string
	Hook                string
	Rules               int
}

// Cluster is what the API server says of other programs.
type Cluster struct {
	KubeProxy *configs.KubeProxy // nil: there is none
	Calico    *Calico
	Cilium    *Cilium
	KubeVIP   []string // DaemonSets that hold the VIP
}

// Calico is how calico-node finds the node's address.
type Calico struct {
	DaemonSet string // with its namespace
	Method    string // IP_AUTODETECTION_METHOD; "" is first-found
	Method6   string
	IP        string // IP; anything but autodetect (or nothing) needs no method
}

// Cilium is how the agent reaches the API server, and where it works.
type Cilium struct {
	Host        string // KUBERNETES_SERVICE_HOST, as k8sServiceHost sets it
	Addresses   []netip.Addr
	Replacement bool     // of kube-proxy
	Devices     []string // none: detected
}
