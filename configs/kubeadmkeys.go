package configs

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	minTokenTTL   = 10 * time.Minute
	maxTokenTTL   = 30 * 24 * time.Hour
	minJoinWindow = 10 * time.Minute
)

// oldestMinor is the first minor version of kubeadm that reads v1beta4.
const oldestMinor = 31

var kubeadmSection = section{
	name: "kubeadm",
	doc:  "What havipctl init and join tell kubeadm (v1beta4, so kubeadm 1.31 and newer). The daemon does not use it. What is not set is left to kubeadm.",
	keys: []key{
		example(`"v1.34.4"`, "the version of the kubeadm on the node",
			textKey("version", "version such as \"v1.34.4\"", "Version of Kubernetes.", func(c *Config) *string { return &c.Kubeadm.Version }, parseVersion)),
		example(`"kubernetes"`, "kubeadm's own",
			textKey("cluster_name", "text", "Name of the cluster in kubeconfig files.", func(c *Config) *string { return &c.Kubeadm.ClusterName }, parsePlain)),
		example(`"k8s.example.org:6443"`, "the VIP and port 6443",
			textKey("endpoint", "DNS name or the VIP, with or without a port", "What clients reach the control plane at. A DNS name must lead to the VIP. API servers listen on its port.",
				func(c *Config) *string { return &c.Kubeadm.Endpoint }, parseEndpointName)),
		listing[netip.Prefix]{
			name: "pod_subnet", takes: "network, or a list of one IPv4 and one IPv6 network", example: `["10.244.0.0/16"]`, derived: "none",
			doc:   "Where pods get their addresses from.",
			field: func(c *Config) *[]netip.Prefix { return &c.Kubeadm.PodSubnets }, parse: parseSubnet, write: netip.Prefix.String, whole: onePerFamilyNet,
		}.key(),
		listing[netip.Prefix]{
			name: "service_subnet", takes: "network, or a list of one IPv4 and one IPv6 network", example: `["10.96.0.0/12"]`, derived: "kubeadm's own",
			doc:   "Where services get their addresses from. The first is of the family of the addresses that the API servers advertise, or these do not start.",
			field: func(c *Config) *[]netip.Prefix { return &c.Kubeadm.ServiceSubnets }, parse: parseSubnet, write: netip.Prefix.String, whole: onePerFamilyNet,
		}.key(),
		example(`"cluster.local"`, "kubeadm's own",
			textKey("dns_domain", "DNS name", "Domain of the cluster's services.", func(c *Config) *string { return &c.Kubeadm.DNSDomain }, parseDomain)),
		textListKey("cert_sans", "list of DNS names and IP addresses", `["k8s.example.org"]`,
			"More names for the API server's certificate. The VIP, the endpoint, and every master's name and address are always in.",
			func(c *Config) *[]string { return &c.Kubeadm.CertSANs }, parseSAN),
		example(`"registry.k8s.io"`, "kubeadm's own",
			textKey("image_repository", "registry, with or without a path", "Where images come from.", func(c *Config) *string { return &c.Kubeadm.ImageRepository }, parseRepository)),
		example(`"unix:///run/containerd/containerd.sock"`, "the one that kubeadm finds",
			textKey("cri_socket", "unix URL", "Socket of the container runtime.", func(c *Config) *string { return &c.Kubeadm.CRISocket }, parseCRISocket)),
		listing[Arg]{
			name: "labels", takes: `list of texts "key=value"`, example: `["node.kubernetes.io/rack=r7"]`, derived: "none",
			doc:   "Labels of the masters' node objects.",
			field: func(c *Config) *[]Arg { return &c.Kubeadm.Labels }, parse: parseLabel, write: Arg.String, same: argName,
		}.key(),
		listing[Taint]{
			name: "taints", takes: `list of texts "key=value:effect" or "key:effect"`, example: `["node-role.kubernetes.io/control-plane:NoSchedule"]`, derived: "kubeadm's own", empty: true,
			doc:   "Taints of the masters' node objects, instead of kubeadm's own, which is in the example. [] sets none, so that ordinary pods run on masters too.",
			field: func(c *Config) *[]Taint { return &c.Kubeadm.Taints }, parse: parseTaint, write: Taint.String, same: Taint.String,
		}.key(),
		argsKey("kubelet_args", `["max-pods=200"]`, "Flags of the kubelet, without dashes. A flag may be there more than once. What differs between nodes cannot be here: --node-ip is set to each master's own address.",
			func(c *Config) *[]Arg { return &c.Kubeadm.KubeletArgs }, "node-ip", "hostname-override", "node-labels", "register-with-taints"),
		argsKey("apiserver_args", `["audit-log-maxage=30"]`, "Flags of the API server.",
			func(c *Config) *[]Arg { return &c.Kubeadm.APIServerArgs }, "advertise-address", "secure-port", "etcd-servers"),
		argsKey("controller_manager_args", `["node-monitor-grace-period=40s"]`, "Flags of the controller manager.",
			func(c *Config) *[]Arg { return &c.Kubeadm.ControllerManagerArgs }),
		argsKey("scheduler_args", `["v=2"]`, "Flags of the scheduler.",
			func(c *Config) *[]Arg { return &c.Kubeadm.SchedulerArgs }),
		argsKey("etcd_args", `["election-timeout=1000"]`, "Flags of etcd. Its timers decide the times of [election].",
			func(c *Config) *[]Arg { return &c.Kubeadm.EtcdArgs },
			"name", "data-dir", "advertise-client-urls", "initial-advertise-peer-urls", "initial-cluster", "initial-cluster-state", "listen-client-urls", "listen-peer-urls"),
		volumesKey("apiserver_volumes", "Paths of the node that the API server's pod sees.", func(c *Config) *[]Volume { return &c.Kubeadm.APIServerVolumes }),
		volumesKey("controller_manager_volumes", "Paths of the node that the controller manager's pod sees.", func(c *Config) *[]Volume { return &c.Kubeadm.ControllerManagerVolumes }),
		volumesKey("scheduler_volumes", "Paths of the node that the scheduler's pod sees.", func(c *Config) *[]Volume { return &c.Kubeadm.SchedulerVolumes }),
		listing[Arg]{
			name: "feature_gates", takes: `list of texts "Name=true" or "Name=false"`, example: `["ControlPlaneKubeletLocalMode=true"]`, derived: "kubeadm's own",
			doc:   "kubeadm's own feature gates; those of a component are among its flags.",
			field: func(c *Config) *[]Arg { return &c.Kubeadm.FeatureGates }, parse: parseGate, write: Arg.String, same: argName,
		}.key(),
		boolKey("allow_cgroup_v1", "Lets the kubelet run on a node with cgroup v1 (failCgroupV1 = false). From 1.35 on it refuses to otherwise.",
			func(c *Config) *bool { return &c.Kubeadm.AllowCgroupV1 }),
		example(`"/etc/havip/patches"`, "none", pathKey("patches", "Directory with kubeadm's patches for static pods and the kubelet's configuration.",
			func(c *Config) *string { return &c.Kubeadm.Patches })),
		textListKey("skip_phases", "list of phases", `["addon/kube-proxy"]`, "Phases of kubeadm init and join that are left out, as kubeadm's --skip-phases takes them.",
			func(c *Config) *[]string { return &c.Kubeadm.SkipPhases }, parsePhase),
		textListKey("ignore_preflight_errors", "list of kubeadm's checks", `["NumCPU"]`, "Checks of kubeadm's preflight phase whose failure is only a warning.",
			func(c *Config) *[]string { return &c.Kubeadm.IgnorePreflight }, parseCheck),
		boolKey("upload_certs", "Whether init leaves the cluster's certificates, encrypted, for other masters to fetch. kubeadm keeps them for 2h; havipctl token uploads them again. Without it they have to be copied by hand.",
			func(c *Config) *bool { return &c.Kubeadm.UploadCerts }),
		durationKey("token_ttl", "How long the token that init makes lets nodes join.", minTokenTTL, maxTokenTTL,
			func(c *Config) *time.Duration { return &c.Kubeadm.TokenTTL }),
		example(`"/etc/havip/kubeadm.yaml"`, "none", pathKey("overlay", "File with documents of kubeadm's own YAML, merged last into what havip renders: mappings key by key, all else replaced. Documents of another kind are added.",
			func(c *Config) *string { return &c.Kubeadm.Overlay })),
	},
}

var advertiseSection = section{
	name: "kubeadm.advertise_address",
	doc:  "Where a master's API server and etcd member are reached, if not at its address in [masters].",
	entries: &entries{
		takes: "IP address", deflt: "the one in [masters]",
		read: readAdvertise, show: showAdvertise, example: exampleConfig,
	},
}

var unattendedSection = section{
	name: "unattended",
	doc:  "Three machines become a cluster by themselves: each has this file, the same secret, and the unit havip-kubeadm.service enabled. Without init_node this is off.",
	keys: []key{
		example(`"n1"`, "none", textKey("init_node", "name of a master", "The master that begins. The others wait for it and join.",
			func(c *Config) *string { return &c.Unattended.InitNode }, parsePlain)),
		example(`"/etc/havip/secret"`, "none", pathKey("secret_file", "File with at least 32 bytes that nobody can guess, the same on every master, mode 0600 and owned by root. Token and certificate key are derived from it: whoever has it can join a master during the join window.",
			func(c *Config) *string { return &c.Unattended.SecretFile })),
		durationKey("join_window", "How long after init others can join with the secret. kubeadm keeps the certificates for no longer than 2h.", minJoinWindow, CertificateKeyLifetime,
			func(c *Config) *time.Duration { return &c.Unattended.JoinWindow }),
	},
}

// example gives a key without a default something to show; derived says what
// counts when it is not there, "" for what kubeadm does.
func example(literal, derived string, k key) key {
	k.example, k.derived = literal, derived
	return k
}

func textListKey(name, takes, example, doc string, field func(*Config) *[]string, parse func(string, reporter) (string, bool)) key {
	self := func(s string) string { return s }
	return listing[string]{name: name, takes: takes, doc: doc, example: example, derived: "none", field: field, parse: parse, write: self, same: self}.key()
}

// argsKey is a key that takes flags; own are those that havip sets itself.
func argsKey(name, example, doc string, field func(*Config) *[]Arg, own ...string) key {
	parse := func(s string, report reporter) (Arg, bool) {
		a, ok := parseArg(s, report)
		if ok && slices.Contains(own, a.Name) {
			report(fmt.Sprintf("has %q, which havip sets for each master", a), "remove it")
			return Arg{}, false
		}
		return a, ok
	}
	return listing[Arg]{name: name, takes: `list of texts "flag=value"`, doc: doc, example: example, derived: "none", field: field, parse: parse, write: Arg.String}.key()
}

func volumesKey(name, doc string, field func(*Config) *[]Volume) key {
	return listing[Volume]{
		name: name, takes: `list of texts "name:path on the node:path in the pod", with ":ro" behind it for read only`, doc: doc,
		example: `["audit:/etc/audit.yaml:/etc/audit.yaml:ro"]`, derived: "none",
		field: field, parse: parseVolume, write: Volume.String, same: func(v Volume) string { return v.Name },
	}.key()
}

func argName(a Arg) string { return a.Name }

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

var versionForm = regexp.MustCompile(`^v1\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})(-[0-9A-Za-z.-]{1,64})?$`)

func parseVersion(s string, report reporter) (string, bool) {
	match := versionForm.FindStringSubmatch(s)
	if match == nil {
		fix := `write a whole version such as "v1.34.4": what "stable" means changes, and asks the internet`
		if versionForm.MatchString("v" + s) {
			fix = fmt.Sprintf("write %q", "v"+s)
		}
		report(fmt.Sprintf("%q is not a version of Kubernetes", s), fix)
		return "", false
	}
	if minor, err := strconv.Atoi(match[1]); err != nil || minor < oldestMinor {
		report(s+" is too old", fmt.Sprintf("use v1.%d or newer: havip writes kubeadm's v1beta4", oldestMinor))
		return "", false
	}
	return s, true
}

// parsePlain reads text of one line.
func parsePlain(s string, report reporter) (string, bool) {
	if strings.TrimSpace(s) != s || hasControl(s) {
		report(fmt.Sprintf("%q has control characters or spaces at its ends", s), "write plain text")
		return "", false
	}
	return s, true
}

func parseDomain(s string, report reporter) (string, bool) {
	if why := notNodeName(s); why != "" {
		report(fmt.Sprintf("%q is not a DNS name: %s", s, why), `write a name such as "cluster.local"`)
		return "", false
	}
	return s, true
}

// parseEndpointName reads host or host:port and returns host:port.
func parseEndpointName(s string, report reporter) (string, bool) {
	const fix = `write a name or the VIP and a port, such as "k8s.example.org:6443"`
	if strings.Contains(s, "://") {
		report(fmt.Sprintf("%q is a URL", s), fix)
		return "", false
	}
	host, port := s, strconv.Itoa(APIServerPort)
	if _, err := netip.ParseAddr(s); err != nil {
		if h, p, err := net.SplitHostPort(s); err == nil {
			host, port = h, p
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		report(fmt.Sprintf("%q has no port from 1 to 65535", s), fix)
		return "", false
	}
	a, err := netip.ParseAddr(host)
	switch {
	case err == nil && a.Zone() == "":
		host = a.Unmap().String()
	case notNodeName(host) != "":
		report(fmt.Sprintf("%q is neither a DNS name nor an address", host), fix)
		return "", false
	}
	return net.JoinHostPort(host, port), true
}

func parseSubnet(s string, report reporter) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil && strings.Contains(s, ","):
		report(fmt.Sprintf("%q is not a network", s), `write a list: ["10.244.0.0/16", "fd00:10:244::/56"]`)
	case err != nil:
		report(fmt.Sprintf("%q is not a network", s), `write one such as "10.244.0.0/16"`)
	case p.Addr().Is4In6():
		report(fmt.Sprintf("%q is an IPv4 network written as IPv6", s), `write one such as "10.244.0.0/16"`)
	case p != p.Masked():
		report(fmt.Sprintf("%q has bits beyond its length", s), fmt.Sprintf("write %q", p.Masked()))
	default:
		return p, true
	}
	return netip.Prefix{}, false
}

func onePerFamilyNet(list []netip.Prefix, report reporter) bool {
	four, six := 0, 0
	for _, p := range list {
		if p.Addr().Is4() {
			four++
		} else {
			six++
		}
	}
	if four > 1 || six > 1 {
		report("has two networks of one family", "keep at most one IPv4 and one IPv6 network")
		return false
	}
	return true
}

func parseSAN(s string, report reporter) (string, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return a.String(), true
	}
	if notNodeName(strings.TrimPrefix(s, "*.")) == "" {
		return s, true
	}
	report(fmt.Sprintf("%q is neither a DNS name nor an address", s), `write a name in lower case, such as "k8s.example.org", without scheme and port`)
	return "", false
}

var repositoryForm = regexp.MustCompile(`^[a-zA-Z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)

func parseRepository(s string, report reporter) (string, bool) {
	if !repositoryForm.MatchString(s) {
		report(fmt.Sprintf("%q is not an image repository", s), `write one such as "registry.example.org/k8s", without scheme, tag and slash at the end`)
		return "", false
	}
	return s, true
}

func parseCRISocket(s string, report reporter) (string, bool) {
	path, ok := strings.CutPrefix(s, "unix://")
	if strings.HasPrefix(s, "/") {
		report(fmt.Sprintf("%q has no scheme", s), fmt.Sprintf("write %q", "unix://"+s))
		return "", false
	}
	if !ok || !strings.HasPrefix(path, "/") || hasControl(s) || strings.Contains(s, " ") {
		report(fmt.Sprintf("%q is not the URL of a socket", s), `write one such as "unix:///run/containerd/containerd.sock"`)
		return "", false
	}
	return s, true
}

var (
	flagForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*$`)
	labelForm = regexp.MustCompile(`^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	valueForm = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$`)
	phaseForm = regexp.MustCompile(`^[a-z0-9-]+(/[a-z0-9-]+)?$`)
	checkForm = regexp.MustCompile(`^[A-Za-z0-9/_.-]+$`)
	volName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

func parseArg(s string, report reporter) (Arg, bool) {
	const fix = `write "flag=value", without dashes before it`
	name, value, ok := strings.Cut(s, "=")
	if bare := strings.TrimLeft(name, "-"); bare != name {
		report(fmt.Sprintf("has %q with dashes", s), fmt.Sprintf("write %q", strings.TrimLeft(s, "-")))
		return Arg{}, false
	}
	if !ok || !flagForm.MatchString(name) {
		report(fmt.Sprintf("has %q, which is no flag with a value", s), fix)
		return Arg{}, false
	}
	return Arg{name, value}, true
}

// parseLabel reads a label that a kubelet may give its own node: of the names
// below kubernetes.io it may set only some (ValidateKubeletFlags, and
// KubeletLabels in k8s.io/kubelet/pkg/apis).
func parseLabel(s string, report reporter) (Arg, bool) {
	key, value, ok := strings.Cut(s, "=")
	if !ok || !labelForm.MatchString(key) || !valueForm.MatchString(value) {
		report(fmt.Sprintf("has %q, which is no label", s), `write "key=value"`)
		return Arg{}, false
	}
	if !kubeletMaySet(key) {
		report(fmt.Sprintf("has %q: a kubelet may not give its node this label", key), "use a name below node.kubernetes.io or of your own, or set it by kubectl label")
		return Arg{}, false
	}
	return Arg{key, value}, true
}

func kubeletMaySet(label string) bool {
	namespace, _, ok := strings.Cut(label, "/")
	below := func(domain string) bool { return namespace == domain || strings.HasSuffix(namespace, "."+domain) }
	if !ok || !below("kubernetes.io") && !below("k8s.io") || below("kubelet.kubernetes.io") || below("node.kubernetes.io") {
		return true
	}
	return slices.Contains([]string{
		"kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type",
		"topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
	}, label)
}

func parseTaint(s string, report reporter) (Taint, bool) {
	what, effect, ok := strings.Cut(s, ":")
	key, value, _ := strings.Cut(what, "=")
	if !ok || !labelForm.MatchString(key) || !valueForm.MatchString(value) || !slices.Contains([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, effect) {
		report(fmt.Sprintf("has %q, which is no taint", s), `write "key=value:effect" or "key:effect", with NoSchedule, PreferNoSchedule or NoExecute`)
		return Taint{}, false
	}
	return Taint{key, value, effect}, true
}

func parseVolume(s string, report reporter) (Volume, bool) {
	parts := strings.Split(s, ":")
	readOnly := len(parts) == 4 && parts[3] == "ro"
	if readOnly {
		parts = parts[:3]
	}
	if len(parts) != 3 || !volName.MatchString(parts[0]) || !strings.HasPrefix(parts[1], "/") || !strings.HasPrefix(parts[2], "/") {
		report(fmt.Sprintf("has %q, which is no volume", s), `write "name:/path/on/the/node:/path/in/the/pod", and ":ro" behind it for read only`)
		return Volume{}, false
	}
	return Volume{parts[0], parts[1], parts[2], readOnly}, true
}

func parseGate(s string, report reporter) (Arg, bool) {
	name, value, _ := strings.Cut(s, "=")
	if !flagForm.MatchString(name) || value != "true" && value != "false" {
		report(fmt.Sprintf("has %q, which is no feature gate", s), `write "Name=true" or "Name=false"`)
		return Arg{}, false
	}
	return Arg{name, value}, true
}

func parsePhase(s string, report reporter) (string, bool) {
	switch {
	case !phaseForm.MatchString(s):
		report(fmt.Sprintf("has %q, which is no phase", s), "write names as kubeadm init --help lists them, such as addon/kube-proxy")
	case s == "wait-control-plane":
		report("has wait-control-plane: the VIP can only be handed to the election once etcd runs", "remove it")
	case s == "upload-certs":
		report("has upload-certs", "write upload_certs = false instead")
	default:
		return s, true
	}
	return "", false
}

func parseCheck(s string, report reporter) (string, bool) {
	if !checkForm.MatchString(s) {
		report(fmt.Sprintf("has %q, which is no check", s), `write the name that kubeadm shows in brackets, such as "NumCPU"`)
		return "", false
	}
	return s, true
}

func readAdvertise(c *Config, name string, v any, report reporter) {
	if dotted, ok := unquotedName(name, v); ok {
		report("is a table, must be an address", fmt.Sprintf("a name with dots needs quotes: %s = …", literal(dotted)))
		return
	}
	s, ok := v.(string)
	if !ok {
		report("is "+typeName(v)+", must be an address", `write one address in quotes, such as "198.51.100.162"`)
		return
	}
	if a, ok := parseAddress(s, masterHint, report); ok {
		if c.Kubeadm.Advertise == nil {
			c.Kubeadm.Advertise = make(map[string]netip.Addr)
		}
		c.Kubeadm.Advertise[name] = a
	}
}

func showAdvertise(c *Config) []entry {
	var shown []entry
	for _, name := range slices.Sorted(maps.Keys(c.Kubeadm.Advertise)) {
		shown = append(shown, entry{name, literal(c.Kubeadm.Advertise[name].String())})
	}
	return shown
}
