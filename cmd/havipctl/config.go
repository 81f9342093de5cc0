package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"havip/configs"
)

func (c *cli) configCommand() *cobra.Command {
	return group("config", "Write, check and show the config file", c.configInit(), c.configCheck(), c.configShow(), c.configReference())
}

// fileArg makes a command that works on one config file, the installed one
// unless another is named.
func fileArg(use, short, long string, do func(path string) error) *cobra.Command {
	return command(use+" [FILE]", short, long, cobra.MaximumNArgs(1), func(_ *cobra.Command, args []string) error {
		path := configs.DefaultPath
		if len(args) == 1 {
			path = args[0]
		}
		return do(path)
	})
}

// load reads a file, fills in the times that would be in effect on this node,
// and writes the warnings of both to stderr.
func (c *cli) load(path string) (*configs.Config, error) {
	cfg, err := configs.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{exitFailed, err, []string{"write one: havipctl config init --help"}}
	}
	if err != nil {
		return nil, err
	}
	timers, err := configs.ReadEtcdManifest(cfg.Etcd.Manifest)
	if err != nil {
		return nil, err
	}
	timing, warnings, err := cfg.Timing(timers)
	if err != nil {
		return nil, err
	}
	warn(c.err, append(cfg.Warnings, warnings...))
	e := &cfg.Election
	e.Hold, e.Takeover, e.Renewal, e.Retry = timing.Hold, timing.Takeover, timing.Renewal, timing.Retry
	return cfg, nil
}

func (c *cli) configCheck() *cobra.Command {
	return fileArg("check", "Check a config file and tell every problem at once",
		"check tells everything that is wrong with a config file, each with its place and what to write instead. Exit code 1: there are problems.",
		func(path string) error {
			cfg, err := c.load(path)
			if err != nil {
				return err
			}
			if !cfg.Configured() {
				return c.print(path + ": ok, but it names no VIP: havipd will hold nothing\n")
			}
			return c.print(fmt.Sprintf("%s: ok: VIP %s, %d masters, hold %s, takeover %s\n", path, cfg.VIPKey(), len(cfg.Masters), cfg.Election.Hold, cfg.Election.Takeover))
		})
}

func (c *cli) configShow() *cobra.Command {
	var f *format
	cmd := fileArg("show", "Show the values in effect, derived ones too",
		"show prints a config file as it takes effect on this node: with all defaults, and with the times that are derived from etcd's own.",
		func(path string) error {
			cfg, err := c.load(path)
			if err != nil {
				return err
			}
			if *f == jsonText {
				return c.printJSON(effectiveOf(cfg))
			}
			return c.print(string(cfg.TOML()))
		})
	f = formatFlag(cmd)
	return cmd
}

// effective is what `config show -o json` prints. Times are in milliseconds.
type effective struct {
	Schema     int               `json:"schema"`
	Configured bool              `json:"configured"`
	VIP        []netip.Addr      `json:"vip"`
	Interface  string            `json:"interface"`
	Masters    []effectiveMaster `json:"masters"`
	Etcd       effectiveEtcd     `json:"etcd"`
	Election   effectiveElection `json:"election"`
	Health     effectiveHealth   `json:"health"`
	Metrics    effectiveMetrics  `json:"metrics"`
	Kubeadm    effectiveKubeadm  `json:"kubeadm"`
	Unattended effectiveAlone    `json:"unattended"`
}

type effectiveMaster struct {
	Name     string     `json:"name"`
	Address  netip.Addr `json:"address"`
	Priority int        `json:"priority"`
}

type effectiveEtcd struct {
	Endpoint string `json:"endpoint"`
	CA       string `json:"ca"`
	Cert     string `json:"cert"`
	Key      string `json:"key"`
	Manifest string `json:"manifest"`
}

type effectiveElection struct {
	HoldMS     int64 `json:"hold_ms"`
	TakeoverMS int64 `json:"takeover_ms"`
	RenewalMS  int64 `json:"renewal_ms"`
	RetryMS    int64 `json:"retry_ms"`
	PreemptMS  int64 `json:"preempt_ms"` // 0: never

	Detection          string `json:"detection"`
	HeartbeatPort      int    `json:"heartbeat_port"`
	HeartbeatInterface string `json:"heartbeat_interface"` // "": any
}

type effectiveHealth struct {
	APIServer  string       `json:"apiserver"`
	Manifest   string       `json:"manifest"`
	CA         string       `json:"ca"`
	IntervalMS int64        `json:"interval_ms"`
	TimeoutMS  int64        `json:"timeout_ms"`
	Gateway    []netip.Addr `json:"gateway"` // empty: off
	Rise       int          `json:"rise"`
	Fall       int          `json:"fall"`
}

type effectiveMetrics struct {
	Listen string `json:"listen"`
}

// effectiveKubeadm has what is not set as kubeadm would: empty.
type effectiveKubeadm struct {
	Version         string                `json:"version"`
	ClusterName     string                `json:"cluster_name"`
	Endpoint        string                `json:"endpoint"`
	PodSubnet       []netip.Prefix        `json:"pod_subnet"`
	ServiceSubnet   []netip.Prefix        `json:"service_subnet"`
	DNSDomain       string                `json:"dns_domain"`
	CertSANs        []string              `json:"cert_sans"`
	Advertise       map[string]netip.Addr `json:"advertise_address"`
	ImageRepository string                `json:"image_repository"`
	CRISocket       string                `json:"cri_socket"`
	SkipPhases      []string              `json:"skip_phases"`
	UploadCerts     bool                  `json:"upload_certs"`
	TokenTTLMS      int64                 `json:"token_ttl_ms"`
}

type effectiveAlone struct {
	On           bool   `json:"on"`
	InitNode     string `json:"init_node"`
	SecretFile   string `json:"secret_file"`
	JoinWindowMS int64  `json:"join_window_ms"`
}

// effectiveCluster is what init and join go by; the rest of [kubeadm] is handed
// on to kubeadm as it is.
func effectiveCluster(c *configs.Config) effectiveKubeadm {
	k := &c.Kubeadm
	e := effectiveKubeadm{
		Version: k.Version, ClusterName: k.ClusterName, DNSDomain: k.DNSDomain, ImageRepository: k.ImageRepository, CRISocket: k.CRISocket,
		PodSubnet: append([]netip.Prefix{}, k.PodSubnets...), ServiceSubnet: append([]netip.Prefix{}, k.ServiceSubnets...),
		CertSANs: append([]string{}, k.CertSANs...), SkipPhases: append([]string{}, k.SkipPhases...),
		Advertise: make(map[string]netip.Addr), UploadCerts: k.UploadCerts, TokenTTLMS: k.TokenTTL.Milliseconds(),
	}
	if host, port := c.Endpoint(); host != "" {
		e.Endpoint = net.JoinHostPort(host, strconv.Itoa(port))
	}
	for _, m := range c.Masters {
		e.Advertise[m.Name] = c.Advertise(m)
	}
	return e
}

func effectiveOf(c *configs.Config) effective {
	ms := time.Duration.Milliseconds
	e := effective{
		Schema: 1, Configured: c.Configured(), VIP: append([]netip.Addr{}, c.VIP.Addresses...), Interface: c.VIP.Interface.String(),
		Masters: []effectiveMaster{},
		Etcd:    effectiveEtcd{c.Etcd.Endpoint, c.Etcd.CA, c.Etcd.Cert, c.Etcd.Key, c.Etcd.Manifest},
		Election: effectiveElection{ms(c.Election.Hold), ms(c.Election.Takeover), ms(c.Election.Renewal), ms(c.Election.Retry), ms(c.Election.Preempt),
			string(c.Election.Detection), c.Election.HeartbeatPort, c.Election.HeartbeatInterface},
		Health: effectiveHealth{c.Health.APIServer, c.Health.Manifest, c.Health.CA, ms(c.Health.Interval), ms(c.Health.Timeout),
			append([]netip.Addr{}, c.Health.Gateway...), c.Health.Rise, c.Health.Fall},
		Metrics:    effectiveMetrics{c.Metrics.Listen.String()},
		Kubeadm:    effectiveCluster(c),
		Unattended: effectiveAlone{c.Unattended.On(), c.Unattended.InitNode, c.Unattended.SecretFile, ms(c.Unattended.JoinWindow)},
	}
	for _, m := range c.Masters {
		e.Masters = append(e.Masters, effectiveMaster{m.Name, m.Address, c.Priority(m.Name)})
	}
	return e
}

func (c *cli) configReference() *cobra.Command {
	return command("reference", "Print a file with every key, its meaning and its default",
		"reference prints a config file with every key, its meaning and its default.", noArgs,
		func(*cobra.Command, []string) error { return c.print(string(configs.Reference())) })
}

type initOptions struct {
	vip     []string
	masters []string
	link    string
	file    string
	force   bool
}

func (c *cli) configInit() *cobra.Command {
	var o initOptions
	cmd := command("init", "Write a config file",
		`init writes a config file, the same for every master, to stdout or to a file.
A file that is there is not overwritten without --force, except the untouched one
of the package.`,
		noArgs, func(*cobra.Command, []string) error { return c.writeConfig(&o) })
	cmd.Example = `  havipctl config init --vip 198.51.100.166 \
    --master n1=198.51.100.162 --master n2=198.51.100.163 --master n3=198.51.100.164 \
    --file /etc/havip/havip.toml`
	f := cmd.Flags()
	f.StringSliceVar(&o.vip, "vip", nil, "the virtual IP; one IPv4, one IPv6 or both")
	f.StringSliceVar(&o.masters, "master", nil, "a master as NAME=ADDRESS, once for each")
	f.StringVar(&o.link, "interface", "auto", "link that carries the VIP: a name, a MAC, or auto: the one with the route to it")
	f.StringVarP(&o.file, "file", "f", "-", "where to write; - is stdout")
	f.BoolVar(&o.force, "force", false, "overwrite the file")
	return cmd
}

func (c *cli) writeConfig(o *initOptions) error {
	data, err := o.render()
	if err != nil {
		return err
	}
	if o.file == "-" {
		return c.print(string(data))
	}
	if err := o.mayWrite(); err != nil {
		return err
	}
	if err := writeFile(o.file, data); err != nil {
		return err
	}
	return c.print("wrote " + o.file + "; the same file goes to every master\n")
}

// render makes the file, and has it read back: what init writes, check accepts.
func (o *initOptions) render() ([]byte, error) {
	const hint = "havipctl config init --vip 198.51.100.166 --master n1=198.51.100.162 --master n2=… --master n3=…"
	switch {
	case len(o.vip) == 0 && len(o.masters) == 0:
		return nil, usageError(hint, "--vip and --master are needed")
	case len(o.vip) == 0:
		return nil, usageError(hint, "--vip is needed")
	case len(o.masters) == 0:
		return nil, usageError(hint, "--master is needed, once for each")
	}
	var vip []netip.Addr
	for _, s := range o.vip {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, usageError(hint, "--vip %s: not an IP address", s)
		}
		vip = append(vip, a)
	}
	var masters []configs.Master
	for _, s := range o.masters {
		name, addr, ok := strings.Cut(s, "=")
		a, err := netip.ParseAddr(addr)
		if !ok || err != nil || name == "" {
			return nil, usageError(hint, "--master %s: not NAME=ADDRESS", s)
		}
		if slices.ContainsFunc(masters, func(m configs.Master) bool { return m.Name == name }) {
			return nil, usageError(hint, "--master %s: %s is there twice", s, name)
		}
		masters = append(masters, configs.Master{Name: name, Address: a})
	}
	data := configs.Example(vip, masters, o.link)
	if _, err := configs.Decode("config init", data); err != nil {
		return nil, &failure{exitUsage, err, []string{"nothing was written"}}
	}
	return data, nil
}

func (o *initOptions) mayWrite() error {
	old, err := os.ReadFile(o.file)
	switch {
	case o.force, errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("write config: %w", err)
	case len(bytes.TrimSpace(old)) == 0, bytes.Equal(old, configs.Minimal()):
		return nil
	}
	return &failure{exitFailed, fmt.Errorf("write config: %s is there already", o.file), []string{"--force overwrites it"}}
}

// writeFile puts the whole file in place at once: a daemon that starts in the
// middle reads the old one or the new one.
func writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".havip-*.toml")
	var odd *fs.PathError // names a file that nobody asked for
	if errors.As(err, &odd) {
		err = odd.Err
	}
	if err != nil {
		return fmt.Errorf("write config %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write config %s: %w", path, err)
	}
	return nil
}
