package adopt

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"havip/configs"
)

// Facts are what was seen of this node before anything is done.
type Facts struct {
	Root      bool
	Endpoint  Endpoint
	Keepers   []Keeper
	Others    []string // left as they are
	Here      bool     // the VIP is on a link of this node
	Silent    string   // why nobody answers at the endpoint
	Unnamed   string   // why the API server's certificate is not for the endpoint
	Member    bool     // this node has an etcd member, by its manifest
	Masters   []configs.Master
	MastersNo string // why they are not known
	Self      configs.Master
	SelfNo    string // why this node is not found among them

	ConfigPath string
	Config     []byte // the file as it is to be
	ConfigNo   string // why that cannot be said
	ConfigHas  []byte // the file as it is; nil: there is none
	ConfigKept bool   // there is a good one: it stays as it is

	Daemon  Standing
	Journal *Journal
}

// Endpoint is where the cluster's kubeconfig files lead.
type Endpoint struct {
	Host      string
	Port      int
	Addresses []netip.Addr
	Error     string
}

// Standing is where the daemon of this node stands.
type Standing struct {
	Runs    bool
	Stage   string // of a migration: ready, wait, take, back, give or none ("")
	Holder  bool   // this node has the VIP by havip
	Foreign bool   // the keeper has set the VIP here
	Known   bool   // what Record says is of now
	Record  string // who has the VIP by havip; "" nobody
	Masters []Master
	Members int // of etcd that vote, 0: not known
}

// Master is another master as the daemon of this one sees it.
type Master struct {
	Name    string
	Present bool
	Stage   string
	Drained bool
}

// keptBack: by its part in a migration.
func (m Master) keptBack() bool { return m.Present && m.Drained && m.Stage != stageOver }

// Stages, as the daemon names them.
const (
	stageReady = "ready"
	stageWait  = "wait"
	stageTake  = "take"
	stageBack  = "back"
	stageGive  = "give"
	stageOver  = ""
)

// Daemon is what is needed of the daemon on this node.
type Daemon interface {
	// Standing does not fail where the daemon does not run.
	Standing(ctx context.Context) (Standing, error)
	// Prepare leaves a mark for the daemon's next start: it begins at ready.
	Prepare() error
	// Forget removes that mark. The daemon does not run.
	Forget() error
	// Adopt asks for a stage.
	Adopt(ctx context.Context, stage string, without []string) error
}

// Services starts and stops units.
type Services interface {
	Enabled(ctx context.Context, unit string) bool
	Do(ctx context.Context, verb, unit string) error // enable, disable, start, stop, restart
}

// lookTime bounds what gathering waits for; kubectl takes seconds to start on a
// busy machine.
const lookTime = 15 * time.Second

// Gather looks at the node and changes nothing.
func (r *Runner) Gather(ctx context.Context) (Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	f := Facts{Root: r.System.UID == 0, ConfigPath: r.ConfigPath}
	var err error
	if f.Journal, err = r.load(); err != nil {
		return f, err
	}
	if f.Daemon, err = r.Daemon.Standing(ctx); err != nil {
		return f, err
	}
	f.Endpoint = r.endpoint(ctx)
	f.Keepers, f.Others = findKeepers(r.System, f.Endpoint.Addresses)
	own, err := r.System.Addresses()
	if err != nil {
		return f, fmt.Errorf("list this node's addresses: %w", err)
	}
	f.Here = overlap(own, f.Endpoint.Addresses)
	if f.Endpoint.Error == "" {
		f.Silent = r.silent(ctx, net.JoinHostPort(f.Endpoint.Host, strconv.Itoa(f.Endpoint.Port)))
	}
	f.Unnamed = r.unnamed(f.Endpoint.Host)
	_, err = os.Stat(r.System.Path(manifests, "etcd.yaml"))
	f.Member = err == nil
	r.gatherConfig(ctx, &f, own)
	return f, nil
}

// endpoint reads where the control plane is from a kubeconfig file of kubeadm's.
func (r *Runner) endpoint(ctx context.Context) Endpoint {
	var e Endpoint
	for _, name := range []string{"admin.conf", "kubelet.conf", "controller-manager.conf"} {
		k, err := configs.ReadKubeconfig(r.System.Path("etc/kubernetes", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			e.Error = err.Error()
			continue
		}
		if e = parseServer(k.Servers[0]); e.Error == "" {
			break
		}
	}
	switch {
	case e.Host == "" && e.Error == "":
		e.Error = "there is no kubeconfig file of kubeadm's: this node is no master of a kubeadm cluster"
		return e
	case e.Error != "":
		return e
	}
	if a, err := netip.ParseAddr(e.Host); err == nil {
		e.Addresses = []netip.Addr{a.Unmap()}
		return e
	}
	list, err := r.System.Resolve(ctx, e.Host)
	if err != nil {
		e.Error = err.Error()
	}
	e.Addresses = list
	return e
}

// parseServer takes a kubeconfig's URL apart.
func parseServer(server string) Endpoint {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" {
		return Endpoint{Error: fmt.Sprintf("the server %s is no URL", server)}
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		port = 443
	}
	return Endpoint{Host: u.Hostname(), Port: port}
}

func (r *Runner) silent(ctx context.Context, address string) string {
	conn, err := r.System.Dial(ctx, "tcp", address)
	if err != nil {
		return err.Error()
	}
	conn.Close()
	return ""
}

// unnamed looks for the endpoint in the certificate of this node's API server: one
// that never was the holder may have another than the clients know. That it
// cannot be read is no finding.
func (r *Runner) unnamed(host string) string {
	text, err := os.ReadFile(r.System.Path("etc/kubernetes/pki/apiserver.crt"))
	if err != nil || host == "" {
		return ""
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return ""
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return ""
	}
	if err := cert.VerifyHostname(host); err != nil {
		return err.Error()
	}
	return ""
}

// gatherConfig says what the config file is to be. One that is there and fits
// stays, with whatever else it says.
func (r *Runner) gatherConfig(ctx context.Context, f *Facts, own []netip.Addr) {
	f.ConfigHas, _ = os.ReadFile(r.System.Path(r.ConfigPath))
	c, err := configs.Decode(r.ConfigPath, f.ConfigHas)
	blank := len(bytes.TrimSpace(f.ConfigHas)) == 0 || err == nil && !c.Configured()
	switch {
	case !blank && err != nil:
		f.ConfigNo = err.Error()
		return
	case !blank:
		f.ConfigKept, f.Config, f.Masters = true, f.ConfigHas, c.Masters
		f.self(c, own)
		return
	}
	f.Masters, err = r.masters(ctx)
	if err != nil {
		f.MastersNo = err.Error()
		return
	}
	f.Config = render(f, r.Link)
	c, err = configs.Decode(r.ConfigPath, f.Config)
	if err != nil {
		f.ConfigNo = err.Error()
		return
	}
	f.self(c, own)
}

func (f *Facts) self(c *configs.Config, own []netip.Addr) {
	var err error
	if f.Self, err = c.Self(own); err != nil {
		f.SelfNo = err.Error()
	}
	if !overlap(c.VIP.Addresses, f.Endpoint.Addresses) {
		f.ConfigNo = fmt.Sprintf("it names the VIP %s, but the control-plane endpoint is %s", c.VIPKey(), f.Endpoint.Host)
	}
}

// render makes the same file on every master.
func render(f *Facts, link string) []byte {
	addresses := slices.Clone(f.Endpoint.Addresses)
	for _, k := range f.Keepers {
		for _, a := range k.Addresses {
			if !slices.Contains(addresses, a) {
				addresses = append(addresses, a)
			}
		}
	}
	slices.SortFunc(addresses, func(a, b netip.Addr) int { return a.Compare(b) })
	text := configs.Example(addresses, f.Masters, link)
	if _, err := netip.ParseAddr(f.Endpoint.Host); err != nil && f.Endpoint.Host != "" {
		text = fmt.Appendf(text, "\n[kubeadm]\nendpoint = %q\n", net.JoinHostPort(f.Endpoint.Host, strconv.Itoa(f.Endpoint.Port)))
	}
	return text
}

// masters are those that were given, or those that the API server lists.
func (r *Runner) masters(ctx context.Context) ([]configs.Master, error) {
	list := slices.Clone(r.Masters)
	if len(list) == 0 {
		said, err := r.Kubectl(ctx, "--kubeconfig="+r.System.Path("etc/kubernetes/admin.conf"), "get", "nodes",
			"--selector=node-role.kubernetes.io/control-plane", "--request-timeout=3s",
			`--output=jsonpath={range .items[*]}{.metadata.name}{" "}{.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}`)
		if err != nil {
			return nil, err
		}
		if list, err = parseMasters(said); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 {
		return nil, errors.New("the API server lists no control-plane node")
	}
	slices.SortFunc(list, func(a, b configs.Master) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func parseMasters(said string) ([]configs.Master, error) {
	var list []configs.Master
	for line := range strings.Lines(said) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) < 2 {
			return nil, fmt.Errorf("node %s has no InternalIP", words[0])
		}
		a, err := netip.ParseAddr(words[1])
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", words[0], err)
		}
		list = append(list, configs.Master{Name: words[0], Address: a})
	}
	return list, nil
}
