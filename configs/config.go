package configs

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"havip/election"
)

// DefaultPath is where the daemon and the command line tool look for the file.
const DefaultPath = "/etc/havip/havip.toml"

// DefaultPriority is the priority of a master that [election.priority] does not
// name.
const DefaultPriority = 100

// Values of Health.APIServer that are not a URL.
const (
	APIServerAuto = "auto" // address and port from the kube-apiserver manifest
	APIServerNone = "none" // no check: this node always counts as healthy
)

// Config is a decoded and checked file, with every default filled in except the
// times of [Election], which [Config.Timing] derives.
type Config struct {
	VIP        VIP
	Masters    []Master // sorted by name
	Etcd       Etcd
	Election   Election
	Health     Health
	Metrics    Metrics
	Kubeadm    Kubeadm
	Unattended Unattended

	// Warnings are about what works, but probably not as meant.
	Warnings []Warning

	// places says where the keys of [election] stand, for what Timing reports.
	places map[string]Place
}

// VIP is the virtual IP: one or two addresses that move together.
type VIP struct {
	Addresses []netip.Addr // at most one IPv4 and one IPv6, IPv4 first
	Interface Interface
}

// Interface says which link carries the VIP. The zero value means the link with
// the route to it.
type Interface struct {
	Name string
	MAC  net.HardwareAddr // six bytes; set only when Name is empty
}

// Auto reports whether the link is to be found by the route to the VIP.
func (i Interface) Auto() bool { return i.Name == "" && len(i.MAC) == 0 }

// Equal reports whether both name the same link in the same way.
func (i Interface) Equal(o Interface) bool {
	return i.Name == o.Name && bytes.Equal(i.MAC, o.MAC)
}

// String returns the interface as it is written in the file.
func (i Interface) String() string {
	switch {
	case i.Name != "":
		return i.Name
	case len(i.MAC) > 0:
		return i.MAC.String()
	}
	return "auto"
}

// Master is one control plane node.
type Master struct {
	Name    string // as Kubernetes knows the node
	Address netip.Addr
}

func (m Master) String() string { return m.Name + " = " + m.Address.String() }

// Etcd says how to reach the etcd member on this node.
type Etcd struct {
	Endpoint string // http or https URL with a port, no path
	CA       string // these three are empty when the endpoint is http
	Cert     string
	Key      string
	Manifest string // static pod manifest; its flags tell etcd's timers
}

// Election holds the times as the file gives them. Zero means unset: ask
// [Config.Timing] for the times to use.
type Election struct {
	Hold     time.Duration
	Takeover time.Duration
	Renewal  time.Duration
	Retry    time.Duration

	// Preempt is how long a healthy candidate of strictly higher priority waits
	// before it gets the VIP from a healthy holder. Zero means never.
	Preempt time.Duration

	// Detection is how a dead holder is found. HeartbeatPort and
	// HeartbeatInterface say where the masters' daemons hear each other.
	Detection          Detection
	HeartbeatPort      int
	HeartbeatInterface string // "": any

	// Priority holds what the file sets, 0 to 1000; see [Config.Priority].
	Priority map[string]int
}

// Health says how this node's own API server is checked, and its way to the
// VIP's clients.
type Health struct {
	APIServer string // APIServerAuto, APIServerNone or an https URL with port and path
	Manifest  string // static pod manifest, for APIServerAuto
	CA        string
	Interval  time.Duration // from the start of one check to the next
	Timeout   time.Duration // of one check
	Rise      int           // successes in a row until healthy
	Fall      int           // failures in a row until unhealthy
	Gateway   []netip.Addr  // hosts on the VIP's link of which one must answer; none: no such check
}

// Detection names how a dead holder is found.
type Detection string

// The ways of finding one.
const (
	DetectionOff      Detection = "off"      // by its record in etcd alone
	DetectionStandard Detection = "standard" // by heartbeats too, within 1.2 s
	DetectionFast     Detection = "fast"     // and within 0.3 s
)

// DefaultDetection is the way of a file that names none.
const DefaultDetection = DetectionOff

// Heartbeats returns the times of it, zero when it is off.
func (d Detection) Heartbeats() election.Detection {
	switch d {
	case DetectionStandard:
		return election.StandardDetection()
	case DetectionFast:
		return election.FastDetection()
	}
	return election.Detection{}
}

// DefaultHeartbeatPort is the number that metrics have in the documentation, there
// over TCP: one number to remember in a firewall. Nothing in a cluster of Kubernetes
// has it: not etcd, kube-vip, MetalLB (7472, 7946), Cilium, Calico or flannel, and
// it is no node port.
const DefaultHeartbeatPort = 9478

// Default returns what a file without any key means. Each call returns a new
// value.
func Default() *Config {
	return &Config{
		Etcd: Etcd{
			Endpoint: "https://127.0.0.1:2379",
			CA:       "/etc/kubernetes/pki/etcd/ca.crt",
			Cert:     "/etc/kubernetes/pki/apiserver-etcd-client.crt",
			Key:      "/etc/kubernetes/pki/apiserver-etcd-client.key",
			Manifest: "/etc/kubernetes/manifests/etcd.yaml",
		},
		Election: Election{Detection: DefaultDetection, HeartbeatPort: DefaultHeartbeatPort},
		Health: Health{
			APIServer: APIServerAuto,
			Manifest:  "/etc/kubernetes/manifests/kube-apiserver.yaml",
			CA:        "/etc/kubernetes/pki/ca.crt",
			Interval:  time.Second,
			Timeout:   time.Second, // without quorum /readyz hangs instead of failing
			Rise:      2,
			Fall:      3,
		},
		Kubeadm:    Kubeadm{UploadCerts: true, TokenTTL: 24 * time.Hour},
		Unattended: Unattended{JoinWindow: CertificateKeyLifetime},
	}
}

// Configured reports whether the file names a VIP. If it does not, there is
// nothing to hold; that is no error.
func (c *Config) Configured() bool { return len(c.VIP.Addresses) > 0 }

// VIPKey returns the name of the VIP's record in etcd. It does not depend on the
// order of the addresses in the file. It is empty when no VIP is configured.
func (c *Config) VIPKey() string {
	texts := make([]string, len(c.VIP.Addresses))
	for i, a := range c.VIP.Addresses {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}

// Priority returns the priority of a master, DefaultPriority if the file does
// not set it.
func (c *Config) Priority(name string) int {
	if p, ok := c.Election.Priority[name]; ok {
		return p
	}
	return DefaultPriority
}

// Self returns the master that this node is, found by the node's own addresses.
// The error names both sides when no master or more than one matches.
func (c *Config) Self(own []netip.Addr) (Master, error) {
	var matches []Master
	for _, m := range c.Masters {
		if slices.ContainsFunc(own, func(a netip.Addr) bool { return a.Unmap().WithZone("") == m.Address }) {
			matches = append(matches, m)
		}
	}
	switch len(matches) {
	case 1:
		return matches[0], nil
	case 0:
		return Master{}, fmt.Errorf("find this node in [masters]: none of its addresses (%s) is there (%s)",
			list(own), list(c.Masters))
	}
	return Master{}, fmt.Errorf("find this node in [masters]: its addresses (%s) match more than one (%s)",
		list(own), list(matches))
}

// list writes things for a message, "none" if there are none.
func list[T fmt.Stringer](things []T) string {
	if len(things) == 0 {
		return "none"
	}
	texts := make([]string, len(things))
	for i, t := range things {
		texts[i] = t.String()
	}
	return strings.Join(texts, ", ")
}
