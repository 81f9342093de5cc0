package kubeadm

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"havip/configs"
)

const apiVersion = "kubeadm.k8s.io/v1beta4"

// The parts of kubeadm's v1beta4 that havip writes. Fields that are empty are
// left out, and kubeadm has its own defaults for them.
type (
	typeMeta struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
	}
	initConfiguration struct {
		typeMeta         `yaml:",inline"`
		BootstrapTokens  []bootstrapToken `yaml:"bootstrapTokens"`
		CertificateKey   string           `yaml:"certificateKey,omitempty"`
		LocalAPIEndpoint apiEndpoint      `yaml:"localAPIEndpoint"`
		NodeRegistration nodeRegistration `yaml:"nodeRegistration"`
		Patches          *patches         `yaml:"patches,omitempty"`
	}
	joinConfiguration struct {
		typeMeta         `yaml:",inline"`
		ControlPlane     joinControlPlane `yaml:"controlPlane"`
		Discovery        discovery        `yaml:"discovery"`
		NodeRegistration nodeRegistration `yaml:"nodeRegistration"`
		Patches          *patches         `yaml:"patches,omitempty"`
	}
	clusterConfiguration struct {
		typeMeta             `yaml:",inline"`
		KubernetesVersion    string          `yaml:"kubernetesVersion"`
		ClusterName          string          `yaml:"clusterName,omitempty"`
		ControlPlaneEndpoint string          `yaml:"controlPlaneEndpoint"`
		ImageRepository      string          `yaml:"imageRepository,omitempty"`
		FeatureGates         map[string]bool `yaml:"featureGates,omitempty"`
		Networking           *networking     `yaml:"networking,omitempty"`
		APIServer            component       `yaml:"apiServer"`
		ControllerManager    *component      `yaml:"controllerManager,omitempty"`
		Scheduler            *component      `yaml:"scheduler,omitempty"`
		Etcd                 *etcd           `yaml:"etcd,omitempty"`
	}
	kubeletConfiguration struct {
		typeMeta     `yaml:",inline"`
		FailCgroupV1 bool `yaml:"failCgroupV1"`
	}
	bootstrapToken struct {
		Token       string   `yaml:"token"`
		Description string   `yaml:"description"`
		TTL         string   `yaml:"ttl"`
		Usages      []string `yaml:"usages"`
		Groups      []string `yaml:"groups"`
	}
	apiEndpoint struct {
		AdvertiseAddress string `yaml:"advertiseAddress"`
		BindPort         int    `yaml:"bindPort"`
	}
	nodeRegistration struct {
		Name                  string   `yaml:"name"`
		CRISocket             string   `yaml:"criSocket,omitempty"`
		Taints                *[]taint `yaml:"taints,omitempty"` // [] is not the same as none
		KubeletExtraArgs      []arg    `yaml:"kubeletExtraArgs"`
		IgnorePreflightErrors []string `yaml:"ignorePreflightErrors,omitempty"`
	}
	taint struct {
		Key    string `yaml:"key"`
		Value  string `yaml:"value,omitempty"`
		Effect string `yaml:"effect"`
	}
	arg struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	}
	volume struct {
		Name      string `yaml:"name"`
		HostPath  string `yaml:"hostPath"`
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly,omitempty"`
	}
	component struct {
		ExtraArgs    []arg    `yaml:"extraArgs,omitempty"`
		ExtraVolumes []volume `yaml:"extraVolumes,omitempty"`
		CertSANs     []string `yaml:"certSANs,omitempty"` // of the API server alone
	}
	etcd struct {
		Local struct {
			ExtraArgs []arg `yaml:"extraArgs"`
		} `yaml:"local"`
	}
	networking struct {
		PodSubnet     string `yaml:"podSubnet,omitempty"`
		ServiceSubnet string `yaml:"serviceSubnet,omitempty"`
		DNSDomain     string `yaml:"dnsDomain,omitempty"`
	}
	patches struct {
		Directory string `yaml:"directory"`
	}
	joinControlPlane struct {
		CertificateKey   string      `yaml:"certificateKey,omitempty"`
		LocalAPIEndpoint apiEndpoint `yaml:"localAPIEndpoint"`
	}
	discovery struct {
		BootstrapToken bootstrapTokenDiscovery `yaml:"bootstrapToken"`
	}
	bootstrapTokenDiscovery struct {
		APIServerEndpoint        string   `yaml:"apiServerEndpoint"`
		Token                    string   `yaml:"token"`
		CACertHashes             []string `yaml:"caCertHashes,omitempty"`
		UnsafeSkipCAVerification bool     `yaml:"unsafeSkipCAVerification,omitempty"`
	}
)

// Input is all that kubeadm's configuration is made of.
type Input struct {
	Config  *configs.Config
	Self    configs.Master
	Secrets Secrets
	Version string // of Kubernetes
	Overlay []byte // content of kubeadm.overlay
}

// RenderInit writes the file for kubeadm init.
func RenderInit(in Input) ([]byte, error) {
	k, ttl := &in.Config.Kubeadm, tokenLife(in.Config)
	docs := []any{
		initConfiguration{
			typeMeta:         typeMeta{apiVersion, "InitConfiguration"},
			BootstrapTokens:  []bootstrapToken{newToken(in.Secrets.Token, ttl)},
			CertificateKey:   in.Secrets.CertificateKey,
			LocalAPIEndpoint: in.localEndpoint(),
			NodeRegistration: in.registration(),
			Patches:          in.patches(),
		},
		in.cluster(),
	}
	if k.AllowCgroupV1 {
		docs = append(docs, kubeletConfiguration{typeMeta: typeMeta{"kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"}})
	}
	return in.write(docs)
}

// tokenLife is how long a token lets others join.
func tokenLife(c *configs.Config) time.Duration {
	if c.Unattended.On() {
		return c.Unattended.JoinWindow
	}
	return c.Kubeadm.TokenTTL
}

// RenderJoin writes the file for kubeadm join of a master.
func RenderJoin(in Input) ([]byte, error) {
	found := bootstrapTokenDiscovery{APIServerEndpoint: in.endpoint(), Token: in.Secrets.Token}
	if in.Secrets.CAHash != "" {
		found.CACertHashes = []string{in.Secrets.CAHash}
	} else {
		found.UnsafeSkipCAVerification = true // cluster-info is signed with the token all the same
	}
	return in.write([]any{joinConfiguration{
		typeMeta:         typeMeta{apiVersion, "JoinConfiguration"},
		ControlPlane:     joinControlPlane{CertificateKey: in.Secrets.CertificateKey, LocalAPIEndpoint: in.localEndpoint()},
		Discovery:        discovery{found},
		NodeRegistration: in.registration(),
		Patches:          in.patches(),
	}})
}

// newToken is a token as kubeadm makes them: it signs cluster-info, and lets
// nodes ask for certificates.
func newToken(token string, ttl time.Duration) bootstrapToken {
	return bootstrapToken{
		Token: token, Description: "made by havipctl", TTL: ttl.String(),
		Usages: []string{"signing", "authentication"}, Groups: []string{"system:bootstrappers:kubeadm:default-node-token"},
	}
}

func (in Input) cluster() clusterConfiguration {
	k := &in.Config.Kubeadm
	c := clusterConfiguration{
		typeMeta:             typeMeta{apiVersion, "ClusterConfiguration"},
		KubernetesVersion:    in.Version,
		ClusterName:          k.ClusterName,
		ControlPlaneEndpoint: in.endpoint(),
		ImageRepository:      k.ImageRepository,
		FeatureGates:         gates(k.FeatureGates),
		APIServer:            component{args(k.APIServerArgs), volumes(k.APIServerVolumes), in.names()},
		ControllerManager:    optional(component{args(k.ControllerManagerArgs), volumes(k.ControllerManagerVolumes), nil}),
		Scheduler:            optional(component{args(k.SchedulerArgs), volumes(k.SchedulerVolumes), nil}),
	}
	if n := (networking{prefixes(k.PodSubnets), prefixes(k.ServiceSubnets), k.DNSDomain}); n != (networking{}) {
		c.Networking = &n
	}
	if len(k.EtcdArgs) > 0 {
		c.Etcd = &etcd{}
		c.Etcd.Local.ExtraArgs = args(k.EtcdArgs)
	}
	return c
}

// endpoint is what clients reach the control plane at.
func (in Input) endpoint() string {
	host, port := in.Config.Endpoint()
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// localEndpoint is where this node's own API server is: on its own address,
// never on the VIP, and on the port of the endpoint, since clients of the VIP
// come to the API server of the node that has it.
func (in Input) localEndpoint() apiEndpoint {
	_, port := in.Config.Endpoint()
	return apiEndpoint{in.Config.Advertise(in.Self).String(), port}
}

// names are in the API server's certificate besides kubeadm's own: every way in
// which a client may call a master, whichever has the VIP.
func (in Input) names() []string {
	host, _ := in.Config.Endpoint()
	var list []string
	add := func(name string) {
		if name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	for _, a := range in.Config.VIP.Addresses {
		add(a.String())
	}
	add(host)
	for _, m := range in.Config.Masters {
		add(m.Name)
		add(m.Address.String())
		add(in.Config.Advertise(m).String())
	}
	for _, name := range in.Config.Kubeadm.CertSANs {
		add(name)
	}
	return list
}

func (in Input) registration() nodeRegistration {
	k := &in.Config.Kubeadm
	r := nodeRegistration{
		Name: in.Self.Name, CRISocket: k.CRISocket, IgnorePreflightErrors: k.IgnorePreflight,
		KubeletExtraArgs: append([]arg{{"node-ip", in.Self.Address.String()}}, args(k.KubeletArgs)...),
	}
	if len(k.Labels) > 0 {
		labels := make([]string, len(k.Labels))
		for i, l := range k.Labels {
			labels[i] = l.String()
		}
		r.KubeletExtraArgs = append(r.KubeletExtraArgs, arg{"node-labels", strings.Join(labels, ",")})
	}
	if k.Taints != nil {
		list := make([]taint, len(k.Taints))
		for i, t := range k.Taints {
			list[i] = taint(t)
		}
		r.Taints = &list
	}
	return r
}

func (in Input) patches() *patches {
	if in.Config.Kubeadm.Patches == "" {
		return nil
	}
	return &patches{in.Config.Kubeadm.Patches}
}

// write turns documents into YAML, with the overlay merged in.
func (in Input) write(docs []any) ([]byte, error) {
	nodes := make([]*yaml.Node, len(docs))
	for i, d := range docs {
		nodes[i] = new(yaml.Node)
		if err := nodes[i].Encode(d); err != nil {
			return nil, fmt.Errorf("write kubeadm's configuration: %w", err)
		}
	}
	nodes, err := overlay(nodes, in.Overlay)
	if err == nil {
		err = in.keeps(nodes)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", in.Config.Kubeadm.Overlay, err)
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	for _, n := range nodes {
		if err := e.Encode(n); err != nil {
			return nil, fmt.Errorf("write kubeadm's configuration: %w", err)
		}
	}
	return b.Bytes(), e.Close()
}

// keeps sees that the overlay has left what the VIP hangs on: a cluster whose
// certificates lack it, or whose endpoint is another, would be made only to fail.
func (in Input) keeps(docs []*yaml.Node) error {
	for _, doc := range docs {
		if scalar(doc, "kind") != "ClusterConfiguration" {
			continue
		}
		if got := scalar(doc, "controlPlaneEndpoint"); got != in.endpoint() {
			return fmt.Errorf("it makes %q the controlPlaneEndpoint: use kubeadm.endpoint for that", got)
		}
		if got := scalar(doc, "certificatesDir"); got != "" {
			return fmt.Errorf("it moves certificatesDir to %s: the daemon and join look for certificates where kubeadm has them by itself", got)
		}
		var sans []string
		if list := child(child(doc, "apiServer"), "certSANs"); list != nil {
			for _, n := range list.Content {
				sans = append(sans, n.Value)
			}
		}
		for _, name := range in.names() {
			if !slices.Contains(sans, name) {
				return fmt.Errorf("it takes %s out of certSANs: use kubeadm.cert_sans to add names", name)
			}
		}
	}
	return nil
}

func args(list []configs.Arg) []arg {
	var out []arg
	for _, a := range list {
		out = append(out, arg(a))
	}
	return out
}

func volumes(list []configs.Volume) []volume {
	var out []volume
	for _, v := range list {
		out = append(out, volume(v))
	}
	return out
}

func gates(list []configs.Arg) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, g := range list {
		out[g.Name] = g.Value == "true"
	}
	return out
}

func prefixes(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

// optional leaves out a component that nothing is said about.
func optional(c component) *component {
	if len(c.ExtraArgs) == 0 && len(c.ExtraVolumes) == 0 {
		return nil
	}
	return &c
}
