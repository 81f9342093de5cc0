package configs

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// APIServerPort is where API servers listen unless kubeadm.endpoint names
// another port; it is kubeadm's own default.
const APIServerPort = 6443

// CertificateKeyLifetime is how long kubeadm keeps the certificates that a new
// master fetches (DefaultCertTokenDuration in its constants.go; nothing sets it).
const CertificateKeyLifetime = 2 * time.Hour

// Kubeadm is what havipctl tells kubeadm when it makes a cluster or joins one.
// What is empty is left to kubeadm.
type Kubeadm struct {
	Version     string // of Kubernetes, such as v1.34.4; empty: that of the kubeadm on this node
	ClusterName string

	// Endpoint is host:port, the host a DNS name or an address of the VIP. Ask
	// [Config.Endpoint] for the one to use.
	Endpoint string

	PodSubnets     []netip.Prefix // at most one of each family
	ServiceSubnets []netip.Prefix
	DNSDomain      string
	CertSANs       []string // the VIP and the masters are always in

	ImageRepository string
	CRISocket       string // URL, such as unix:///run/containerd/containerd.sock

	Labels []Arg

	// Taints of the node object. Nil leaves kubeadm's own, which keeps ordinary
	// pods away from masters; a list without a taint removes it.
	Taints []Taint

	KubeletArgs           []Arg
	APIServerArgs         []Arg
	ControllerManagerArgs []Arg
	SchedulerArgs         []Arg
	EtcdArgs              []Arg

	APIServerVolumes         []Volume
	ControllerManagerVolumes []Volume
	SchedulerVolumes         []Volume

	FeatureGates  []Arg // values are true and false
	AllowCgroupV1 bool  // from 1.35 on the kubelet refuses it unless told so

	Patches         string
	SkipPhases      []string
	IgnorePreflight []string
	UploadCerts     bool
	TokenTTL        time.Duration
	Overlay         string // YAML file, merged last

	// Advertise is the API server's and etcd's address of masters that use
	// another one than in [masters].
	Advertise map[string]netip.Addr
}

// Unattended says how masters become a cluster by themselves. It is off while
// InitNode is empty.
type Unattended struct {
	InitNode   string // who begins; the others join
	SecretFile string
	JoinWindow time.Duration // how long after init others may join
}

// On reports whether masters are to become a cluster by themselves.
func (u Unattended) On() bool { return u.InitNode != "" }

// Arg is a command line flag of some component, without its dashes, or any
// other name with a value.
type Arg struct{ Name, Value string }

func (a Arg) String() string { return a.Name + "=" + a.Value }

// Taint is one taint of a node.
type Taint struct{ Key, Value, Effect string }

func (t Taint) String() string {
	if t.Value == "" {
		return t.Key + ":" + t.Effect
	}
	return t.Key + "=" + t.Value + ":" + t.Effect
}

// Volume is a path of the node that is mounted into a component's pod.
type Volume struct {
	Name, HostPath, MountPath string
	ReadOnly                  bool
}

func (v Volume) String() string {
	s := v.Name + ":" + v.HostPath + ":" + v.MountPath
	if v.ReadOnly {
		s += ":ro"
	}
	return s
}

// Endpoint returns host and port that clients reach the control plane at:
// kubeadm.endpoint, or the first address of the VIP. Since the VIP is on a
// master, its API server listens on this port.
func (c *Config) Endpoint() (host string, port int) {
	if c.Kubeadm.Endpoint == "" {
		if len(c.VIP.Addresses) == 0 {
			return "", APIServerPort
		}
		return c.VIP.Addresses[0].String(), APIServerPort
	}
	host, text, err := net.SplitHostPort(c.Kubeadm.Endpoint)
	if err != nil {
		return c.Kubeadm.Endpoint, APIServerPort
	}
	port, err = strconv.Atoi(text)
	if err != nil {
		port = APIServerPort
	}
	return host, port
}

// Advertise returns the address that a master's API server and etcd member are
// reached at.
func (c *Config) Advertise(m Master) netip.Addr {
	if a, ok := c.Kubeadm.Advertise[m.Name]; ok {
		return a
	}
	return m.Address
}

// Master returns a master by its name.
func (c *Config) Master(name string) (Master, bool) {
	i := slices.IndexFunc(c.Masters, func(m Master) bool { return m.Name == name })
	if i < 0 {
		return Master{}, false
	}
	return c.Masters[i], true
}

// validateKubeadm checks what [kubeadm] and [unattended] say against the rest.
func (d *decoder) validateKubeadm() {
	d.validateEndpoint()
	d.validateAdvertise()
	d.validateSubnets()
	d.validateUnattended()
}

func (d *decoder) validateEndpoint() {
	host, _ := d.config.Endpoint()
	a, err := netip.ParseAddr(host)
	if d.config.Kubeadm.Endpoint == "" || err != nil || !d.config.Configured() {
		return
	}
	if !slices.Contains(d.config.VIP.Addresses, a.Unmap()) {
		d.report("kubeadm.endpoint", fmt.Sprintf("%s is not the VIP", a), "name the VIP, or a DNS name that leads to it, or remove the key")
	}
}

func (d *decoder) validateAdvertise() {
	seen := make(map[netip.Addr]string)
	for _, name := range slices.Sorted(maps.Keys(d.config.Kubeadm.Advertise)) {
		a := d.config.Kubeadm.Advertise[name]
		path := entryPath("kubeadm.advertise_address", name)
		if _, ok := d.config.Master(name); !ok && len(d.config.Masters) > 0 {
			d.report(path, "no master has this name", "name one of [masters]")
		}
		if slices.Contains(d.config.VIP.Addresses, a) {
			d.report(path, fmt.Sprintf("%s is the VIP, which moves", a), masterHint)
		}
		if other, ok := seen[a]; ok {
			d.report(path, fmt.Sprintf("%s is the address of %s too", a, other), masterHint)
		}
		seen[a] = name
	}
}

// validateSubnets sees that no pod or service can have the address of a node.
func (d *decoder) validateSubnets() {
	k := &d.config.Kubeadm
	for _, s := range []struct {
		key  string
		nets []netip.Prefix
	}{{"kubeadm.pod_subnet", k.PodSubnets}, {"kubeadm.service_subnet", k.ServiceSubnets}} {
		for _, n := range s.nets {
			for _, a := range d.config.VIP.Addresses {
				if n.Contains(a) {
					d.report(s.key, fmt.Sprintf("%s contains the VIP, %s", n, a), "choose a network that no machine is in")
				}
			}
			for _, m := range d.config.Masters {
				if n.Contains(m.Address) {
					d.report(s.key, fmt.Sprintf("%s contains %s, %s", n, m.Name, m.Address), "choose a network that no machine is in")
				}
			}
		}
	}
	for _, p := range k.PodSubnets {
		for _, s := range k.ServiceSubnets {
			if p.Overlaps(s) {
				d.report("kubeadm.service_subnet", fmt.Sprintf("%s overlaps pod_subnet, %s", s, p), "choose two networks apart from each other")
			}
		}
	}
}

func (d *decoder) validateUnattended() {
	u := d.config.Unattended
	if d.set("unattended.init_node") != d.set("unattended.secret_file") {
		given, missing := "unattended.init_node", "secret_file"
		if d.set("unattended.secret_file") {
			given, missing = "unattended.secret_file", "init_node"
		}
		d.report(given, "is set without "+missing, "set both, or neither")
	}
	if !u.On() || len(d.config.Masters) == 0 {
		return
	}
	if _, ok := d.config.Master(u.InitNode); !ok {
		names := make([]string, len(d.config.Masters))
		for i, m := range d.config.Masters {
			names[i] = m.Name
		}
		d.report("unattended.init_node", fmt.Sprintf("no master is named %q", u.InitNode), "name one of "+strings.Join(names, ", "))
	}
}
