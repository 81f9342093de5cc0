package kubeadm

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"havip/configs"
)

// Finding is something that is in the way, or worth to know.
type Finding struct {
	Subject string `json:"subject,omitempty"` // what it is about: "port 6443"
	What    string `json:"what"`
	Fix     string `json:"fix,omitempty"`
	Blocks  bool   `json:"blocks"` // nothing is done while it is so
}

func (f Finding) String() string {
	if f.Subject == "" {
		return f.What
	}
	return f.Subject + ": " + f.What
}

// Blocking returns those findings that keep the run from starting.
func Blocking(all []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f Finding) bool { return !f.Blocks })
}

// Facts are what was seen of this node before anything is done.
type Facts struct {
	Root      bool
	Kubeadm   Program
	Kubelet   Program
	Addresses []netip.Addr // of this node

	Listening []int    // TCP ports that something listens on, on any address
	Swap      []string // swap devices and files in use

	Runtime Socket

	// Leftovers are files of an earlier cluster, below /etc/kubernetes and in
	// etcd's data directory.
	Leftovers []string
	Keys      []string // below /etc/kubernetes/pki

	// Rivals are what else would set the VIP.
	Rivals []Rival

	// EndpointAddresses are what the control-plane endpoint's name leads to;
	// empty with an error if it leads nowhere.
	EndpointAddresses []netip.Addr
	EndpointError     string

	EndpointSilent string // for join: why nothing answers there
}

// Program is a program that was asked for its version.
type Program struct {
	Path    string
	Version Version
	Error   string // why it could not be asked
}

// Socket is the container runtime's.
type Socket struct {
	Path  string
	Error string // why it does not answer; empty: it does
	Found []string
}

// Rival is something that would set the VIP too.
type Rival struct {
	What string // "kube-vip in /etc/kubernetes/manifests/kube-vip.yaml"
	Fix  string
}

// Situation says for what the guards are asked.
type Situation struct {
	Command string // init or join
	Begun   bool   // a run before this one has changed things: its traces are no leftovers
}

// Guard returns everything that is in the way of init or join, at once.
func Guard(c *configs.Config, self configs.Master, f Facts, s Situation) []Finding {
	g := guard{config: c, self: self, facts: f, situation: s}
	g.user()
	g.programs()
	g.address()
	g.services()
	g.endpoint()
	g.runtime()
	g.swap()
	g.rivals()
	if !s.Begun {
		g.ports()
		g.leftovers()
	}
	return g.findings
}

type guard struct {
	config    *configs.Config
	self      configs.Master
	facts     Facts
	situation Situation
	findings  []Finding
}

func (g *guard) block(subject, what, fix string) {
	g.findings = append(g.findings, Finding{Subject: subject, What: what, Fix: fix, Blocks: true})
}

func (g *guard) note(subject, what, fix string) {
	g.findings = append(g.findings, Finding{Subject: subject, What: what, Fix: fix})
}

func (g *guard) user() {
	if !g.facts.Root {
		g.block("user", "kubeadm needs root", "run it by sudo")
	}
}

func (g *guard) programs() {
	kubeadm, kubelet := g.facts.Kubeadm, g.facts.Kubelet
	if kubeadm.Error != "" {
		g.block("kubeadm", kubeadm.Error, "install kubeadm 1.31 or newer")
	}
	if kubelet.Error != "" {
		g.block("kubelet", kubelet.Error, "install the kubelet of the same version as kubeadm")
	}
	if kubeadm.Error != "" {
		return
	}
	if kubeadm.Version.Minor < oldestMinor {
		g.block("kubeadm", fmt.Sprintf("%s is too old", kubeadm.Version), "install kubeadm 1.31 or newer: havip writes its v1beta4")
	}
	if kubeadm.Version.Minor > testedMinor {
		g.note("kubeadm", fmt.Sprintf("%s is newer than what this havip was tested with (1.%d to 1.%d)", kubeadm.Version, oldestMinor, testedMinor), "")
	}
	wanted := g.wanted()
	if wanted.Minor > kubeadm.Version.Minor || wanted.Minor < kubeadm.Version.Minor-1 {
		g.block("kubeadm.version", fmt.Sprintf("%s cannot be installed by kubeadm %s", wanted, kubeadm.Version),
			fmt.Sprintf("set kubeadm.version to a 1.%d or 1.%d, or install another kubeadm", kubeadm.Version.Minor-1, kubeadm.Version.Minor))
	}
	if kubelet.Error != "" {
		return
	}
	if skew := wanted.Minor - kubelet.Version.Minor; skew < 0 || skew > maxSkew {
		g.block("kubelet", fmt.Sprintf("%s does not go with Kubernetes %s", kubelet.Version, wanted), fmt.Sprintf("install a kubelet 1.%d", wanted.Minor))
	} else if kubelet.Version.Minor != wanted.Minor {
		g.note("kubelet", fmt.Sprintf("%s is older than Kubernetes %s", kubelet.Version, wanted), "")
	}
}

// wanted is the version of Kubernetes to install.
func (g *guard) wanted() Version { return wantedVersion(g.config, g.facts.Kubeadm.Version) }

func wantedVersion(c *configs.Config, own Version) Version {
	if v, err := ParseVersion(c.Kubeadm.Version); err == nil {
		return v
	}
	return own
}

// address sees that what the API server and etcd will listen on is this node's.
func (g *guard) address() {
	a := g.config.Advertise(g.self)
	if !slices.Contains(g.facts.Addresses, a) {
		g.block("address", fmt.Sprintf("this node is %s, but %s is not on any of its links", g.self.Name, a), "configure it on a link, or correct [masters] or [kubeadm.advertise_address]")
	}
}

// services sees that the API server starts: it advertises an address of the family that
// services have first, which is IPv4 with kubeadm's own network.
func (g *guard) services() {
	k := &g.config.Kubeadm
	given := slices.ContainsFunc(k.APIServerArgs, func(a configs.Arg) bool { return a.Name == "service-cluster-ip-range" })
	if g.situation.Command != initPhases.command || given || k.Overlay != "" { // which may say otherwise
		return
	}
	a, six := g.config.Advertise(g.self), len(k.ServiceSubnets) > 0 && k.ServiceSubnets[0].Addr().Is6()
	if a.Is6() == six {
		return
	}
	family := map[bool]string{false: "IPv4", true: "IPv6"}
	g.block("kubeadm.service_subnet", fmt.Sprintf("services would have %s addresses first, and the API server at %s does not start then", family[six], a),
		fmt.Sprintf("set it to an %s network, or to two of which that is the first", family[!six]))
}

// endpoint sees that a name for the control plane leads to the VIP, and that a
// node that joins finds a cluster there.
func (g *guard) endpoint() {
	host, port := g.config.Endpoint()
	if g.situation.Command == joinPhases.command && g.facts.EndpointError == "" && g.facts.EndpointSilent != "" {
		g.block("endpoint", fmt.Sprintf("no cluster answers at %s port %d: %s", host, port, g.facts.EndpointSilent),
			"make one by havipctl init on one master, or see on a master that is there: havipctl status")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return
	}
	fix := fmt.Sprintf("make it lead to %s on every node, in DNS or /etc/hosts", g.config.VIPKey())
	if g.facts.EndpointError != "" {
		g.block("endpoint", fmt.Sprintf("%s leads nowhere: %s", host, g.facts.EndpointError), fix)
		return
	}
	for _, a := range g.facts.EndpointAddresses {
		if !slices.Contains(g.config.VIP.Addresses, a) {
			g.block("endpoint", fmt.Sprintf("%s leads to %s, which is not the VIP", host, a), fix)
		}
	}
}

func (g *guard) runtime() {
	r := g.facts.Runtime
	switch {
	case len(r.Found) > 1 && g.config.Kubeadm.CRISocket == "":
		g.block("container runtime", "there are several: "+strings.Join(r.Found, ", "), "name one in kubeadm.cri_socket")
	case r.Path == "":
		g.block("container runtime", "there is no socket of containerd or CRI-O", "install one and start it, or name its socket in kubeadm.cri_socket")
	case r.Error != "":
		g.block("container runtime", fmt.Sprintf("%s does not answer: %s", r.Path, r.Error), "start it: systemctl enable --now containerd (or crio)")
	}
}

// swap is only a warning to kubeadm, but a kubelet with its own defaults does not
// start beside it. That the kubelet's configuration says otherwise, by the overlay
// or a patch, is not seen here; the check can be ignored as kubeadm's.
func (g *guard) swap() {
	k := &g.config.Kubeadm
	wanted := slices.ContainsFunc(k.KubeletArgs, func(a configs.Arg) bool { return a.Name == "fail-swap-on" && a.Value == "false" })
	ignored := slices.ContainsFunc(k.IgnorePreflight, func(check string) bool { return strings.EqualFold(check, "swap") || check == "all" })
	if len(g.facts.Swap) == 0 || wanted || ignored {
		return
	}
	g.block("swap", "in use: "+strings.Join(g.facts.Swap, ", "),
		`swapoff -a, and remove it from /etc/fstab; or have the kubelet bear it: kubelet_args = ["fail-swap-on=false"], or ignore_preflight_errors = ["Swap"] if its configuration does`)
}

// ports are those that the control plane listens on, and what for.
func ports(c *configs.Config) []struct {
	number int
	use    string
} {
	_, api := c.Endpoint()
	return []struct {
		number int
		use    string
	}{{api, "the API server"}, {2379, "etcd's clients"}, {2380, "etcd's peers"}, {10250, "the kubelet"}, {10257, "the controller manager"}, {10259, "the scheduler"}}
}

func (g *guard) ports() {
	for _, p := range ports(g.config) {
		if slices.Contains(g.facts.Listening, p.number) {
			g.block(fmt.Sprintf("port %d", p.number), "something listens on it, and it is for "+p.use,
				fmt.Sprintf("see what it is: ss -ltnp sport = :%d", p.number))
		}
	}
}

func (g *guard) leftovers() {
	if len(g.facts.Keys) > 0 {
		g.note("certificates", "kubeadm will use those that are there: "+strings.Join(g.facts.Keys, ", "), "if they are of another cluster, remove them by: havipctl reset")
	}
	if len(g.facts.Leftovers) == 0 {
		return
	}
	g.block("leftovers", "of another cluster, or of an earlier try: "+strings.Join(g.facts.Leftovers, ", "),
		"if this node is a working master there is nothing to do here; else remove them by: havipctl reset")
}

func (g *guard) rivals() {
	for _, r := range g.facts.Rivals {
		g.block("VIP", r.What+" would set the VIP too", r.Fix)
	}
}
