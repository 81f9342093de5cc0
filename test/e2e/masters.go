package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"havip/test/cluster"
	"havip/test/lab"
)

// Masters are machines with the package installed, or soon.
type Masters struct {
	*lab.Lab
	kubernetes *lab.Kubernetes
	next       *lab.Kubernetes // nil without one
}

// Setup says what machines to make.
type Setup struct {
	Binaries string // directory with Kubernetes, as test/kubernetes.sh makes it
	Next     string // the same of the next minor version, to upgrade to; "" for none
	Package  string // directory with havip's deb
	Machines int    // 3 when 0
}

// packages is where a machine has the deb, next where it has the next version of
// Kubernetes.
const (
	packages   = "/lab/packages"
	next       = "/lab/next"
	nextImages = "/lab/next.tar"
)

// New makes machines that have everything but havip; they are off. Close must
// follow.
func New(ctx context.Context, s Setup) (*Masters, error) {
	k, err := lab.NewKubernetes(ctx, s.Binaries)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(s.Package)
	if err != nil {
		return nil, err
	}
	if found, err := filepath.Glob(filepath.Join(dir, "havip_*.deb")); err != nil || len(found) != 1 {
		return nil, fmt.Errorf("find the package in %s: there are %d: run sudo make e2e", dir, len(found))
	}
	etcdutl, err := cluster.Tool("etcdutl")
	if err != nil {
		return nil, err
	}
	opts := k.Options()
	opts.Machines = s.Machines
	opts.Binds[packages] = dir
	opts.Binds["/usr/bin/etcdutl"] = etcdutl // to restore snapshots with
	m := &Masters{kubernetes: k}
	if s.Next != "" {
		if m.next, err = lab.NewKubernetes(ctx, s.Next); err != nil {
			return nil, err
		}
		maps.Copy(opts.Binds, m.next.Binds(next))
		opts.Binds[nextImages] = m.next.Images()
	}
	if m.Lab, err = lab.New(ctx, opts); err != nil {
		return nil, err
	}
	return m, nil
}

// Boot boots them, and gives their container runtimes the images.
func (m *Masters) Boot(ctx context.Context) error {
	if err := m.PowerOn(ctx, m.Nodes...); err != nil {
		return err
	}
	return Each(m.Nodes, func(n *lab.Node) error { return m.kubernetes.Import(ctx, n) })
}

// Each does the same on nodes at once.
func Each(nodes []*lab.Node, do func(*lab.Node) error) error {
	var g errgroup.Group
	for _, n := range nodes {
		g.Go(func() error { return do(n) })
	}
	return g.Wait()
}

// Install brings the package and its configuration onto a node, and starts the
// daemon.
func (m *Masters) Install(ctx context.Context, n *lab.Node, more string) error {
	if err := m.InstallOnly(ctx, n, more); err != nil {
		return err
	}
	_, err := n.Exec(ctx, "systemctl", "enable", "--now", "havipd")
	return err
}

// InstallOnly is Install without the start.
func (m *Masters) InstallOnly(ctx context.Context, n *lab.Node, more string) error {
	if _, err := n.Exec(ctx, "sh", "-c", "apt-get -qq -y install "+packages+"/havip_*.deb"); err != nil {
		return err
	}
	args := []string{"havipctl", "config", "init", "--file", configPath, "--vip", cluster.VIP4.String()}
	for _, one := range m.Nodes[:min(3, len(m.Nodes))] {
		args = append(args, "--master", one.Name+"="+one.Address.String())
	}
	if _, err := n.Exec(ctx, args...); err != nil {
		return err
	}
	text, err := n.Exec(ctx, "cat", configPath)
	if err != nil {
		return err
	}
	return n.WriteFile(configPath, text+m.settings()+more, 0o644)
}

const configPath = "/etc/havip/havip.toml"

// ignored are checks of kubeadm that a container on a small computer fails, or
// that look for what no network has.
var ignored = []string{"NumCPU", "Mem", "SystemVerification", "FileExisting-crictl", "Hostname"}

// settings are what these machines need of kubeadm: images from nowhere, no
// addons, and from 1.35 on the leave to run with cgroups of version 1.
func (m *Masters) settings() string {
	return fmt.Sprintf("\n[kubeadm]\nversion = %q\nimage_repository = %q\nskip_phases = [\"addon\"]\nallow_cgroup_v1 = true\nignore_preflight_errors = [\"%s\"]\n",
		m.kubernetes.Version, lab.ImageRepository, strings.Join(ignored, `", "`))
}

// Outcome is what init, join, token and reset print as JSON.
type Outcome struct {
	Changed bool
	Message string
	Join    struct{ Ticket, Master, Worker string }
}

// Havipctl runs it on a node, with -o json, and returns what it printed.
func Havipctl(ctx context.Context, n *lab.Node, stdin string, args ...string) (Outcome, error) {
	var o Outcome
	cmd := n.Command(ctx, append([]string{"havipctl"}, append(args, "-o", "json")...)...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &said
	if err := cmd.Run(); err != nil {
		return o, fmt.Errorf("havipctl %s on %s: %w\n%s", strings.Join(args, " "), n.Name, err, said.String())
	}
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		return o, fmt.Errorf("havipctl %s on %s: %w\n%s", strings.Join(args, " "), n.Name, err, out.String())
	}
	return o, nil
}

// Init makes the node the first master.
func (m *Masters) Init(ctx context.Context, n *lab.Node) (Outcome, error) {
	return Havipctl(ctx, n, "", "init")
}

// Join makes the node another master.
func (m *Masters) Join(ctx context.Context, n *lab.Node, ticket string) error {
	_, err := Havipctl(ctx, n, ticket+"\n", "join")
	return err
}

// settles is how long pods may take to run after a join on a busy computer.
const settles = 3 * time.Minute

// API is a client of the cluster through the virtual IP, with what a master has
// in admin.conf.
func (m *Masters) API(ctx context.Context, n *lab.Node) (*API, error) {
	text, err := n.Exec(ctx, "cat", "/etc/kubernetes/admin.conf")
	if err != nil {
		return nil, err
	}
	return NewAPI([]byte(text), m.Dial)
}
