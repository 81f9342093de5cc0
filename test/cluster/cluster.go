package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Addresses of every cluster. RFC 5737 and RFC 3849 keep them for such use,
// and no two clusters share a wire.
var (
	VIP4          = netip.MustParseAddr("198.51.100.166")
	VIP6          = netip.MustParseAddr("2001:db8::166")
	clientPrefix4 = netip.MustParsePrefix("198.51.100.200/24")
	clientPrefix6 = netip.MustParsePrefix("2001:db8::200/64")
)

// dirPrefix begins the name of every cluster's directory; the process id of
// its owner follows.
const dirPrefix = "havip-cluster-"

// shmDir is a tmpfs on every Linux: with it a slow disk is no part of a test.
const shmDir = "/dev/shm"

// Options says what to build. The zero value is three masters with IPv4 and
// the daemon from the module's bin directory.
type Options struct {
	Masters     int                          // 3 when 0
	IPv6        bool                         // masters and the virtual address have an IPv6 address too
	WitnessIPv6 bool                         // the witness uses the IPv6 virtual address
	NoDaemon    bool                         // no havipd: the harness alone
	Instead     func(*Node) (Program, error) // what runs as a node's daemon; nil: havipd
	Havipd      string                       // path; bin/havipd of this module when empty
	Havipctl    string                       // path; bin/havipctl of this module when empty
	Etcd        string                       // path; the one `make tools` builds when empty
	DataDir     string                       // etcd's data goes below it; memory (/dev/shm) when empty
	ExtraConfig string                       // TOML, appended to every havip.toml, where it is in [health]
	EtcdApart   bool                         // etcd has a network of its own, beside that of the virtual address
	Unstarted   bool                         // Start leaves the nodes off, for the caller to power on
}

// Cluster is a running control plane. Its methods and those of its nodes are
// for one goroutine; Sampler and Witness are safe for many.
type Cluster struct {
	*Stage
	Nodes []*Node

	opts    Options
	dir     string
	closing sync.Once
	closed  error
}

// Start builds the network, the certificates and the nodes, powers them on and
// waits until etcd serves. It needs root. Close must follow, though a process
// that dies without it leaves only a directory behind, and the next Start
// removes that.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	if err := removeLeftovers(); err != nil {
		return nil, err
	}
	c := &Cluster{opts: opts}
	if err := c.build(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if opts.Unstarted {
		return c, nil
	}
	if err := c.PowerOn(ctx, c.Nodes...); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (o *Options) complete() error {
	if o.Masters == 0 {
		o.Masters = 3
	}
	havipd := !o.NoDaemon && o.Instead == nil
	for _, b := range []struct {
		path   *string
		find   func() (string, error)
		needed bool
	}{
		{&o.Etcd, func() (string, error) { return Tool("etcd") }, true},
		{&o.Havipd, func() (string, error) { return built("havipd") }, havipd},
		{&o.Havipctl, func() (string, error) { return built("havipctl") }, havipd},
	} {
		if !b.needed || *b.path != "" {
			continue
		}
		path, err := b.find()
		if err != nil {
			return err
		}
		*b.path = path
	}
	return nil
}

// CacheDir is where the Makefile keeps what takes long to make.
func CacheDir() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "havip")
}

// Tool finds a program that `make tools` builds.
func Tool(name string) (string, error) {
	path := filepath.Join(CacheDir(), "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s binary missing: run make tools: %w", name, err)
	}
	return path, nil
}

// built finds a program that `make build` builds, in the module that the
// working directory is in.
func built(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			path := filepath.Join(d, "bin", name)
			if _, err := os.Stat(path); err != nil {
				return "", fmt.Errorf("%s binary missing: run make build: %w", name, err)
			}
			return path, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("find %s: no go.mod above %s", name, dir)
		}
	}
}

// removeLeftovers removes the directories of runs whose process is gone.
// Everything else of theirs went with the process.
func removeLeftovers() error {
	dirs, err := filepath.Glob(filepath.Join(shmDir, dirPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for leftovers: %w", err)
	}
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		id, err := strconv.Atoi(pid)
		if err != nil || !errors.Is(syscall.Kill(id, 0), syscall.ESRCH) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove leftovers of process %d: %w", id, err)
		}
	}
	return nil
}

// build makes everything that does not lose power: the stage and the nodes'
// disks.
func (c *Cluster) build() (err error) {
	if c.dir, err = os.MkdirTemp(shmDir, fmt.Sprintf("%s%d-", dirPrefix, os.Getpid())); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	vips := []netip.Addr{VIP4}
	if c.opts.IPv6 {
		vips = append(vips, VIP6)
	}
	if c.Stage, err = NewStage(c.dir, vips...); err != nil {
		return err
	}
	if c.opts.EtcdApart {
		if c.etcdNet, err = newSwitch(); err != nil {
			return err
		}
	}
	p, err := NewPKI()
	if err != nil {
		return err
	}
	for i := range c.opts.Masters {
		c.Nodes = append(c.Nodes, c.newNode(i))
	}
	for _, n := range c.Nodes {
		if err := n.prepare(p); err != nil {
			return err
		}
	}
	return nil
}

// PowerOn boots the nodes at once and waits until their etcd members serve.
// It takes a majority to do that.
func (c *Cluster) PowerOn(ctx context.Context, nodes ...*Node) error {
	var g errgroup.Group
	for _, n := range nodes {
		g.Go(n.PowerOn)
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return c.WaitEtcd(ctx, 30*time.Second, nodes...)
}

// StartWitness starts the client that connects through the virtual address.
func (c *Cluster) StartWitness() error {
	if c.opts.WitnessIPv6 {
		return c.Stage.StartWitness(VIP6)
	}
	return c.Stage.StartWitness(VIP4)
}

// Node returns the node of that name, or nil.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Others returns the nodes beside the one given.
func (c *Cluster) Others(n *Node) []*Node {
	var others []*Node
	for _, o := range c.Nodes {
		if o != n {
			others = append(others, o)
		}
	}
	return others
}

// Holder waits until exactly one node holds the virtual address.
func (c *Cluster) Holder(ctx context.Context, limit time.Duration) (*Node, error) {
	name, err := c.Sampler.WaitHolder(ctx, limit)
	if err != nil {
		return nil, err
	}
	return c.Node(name), nil
}

// Close ends every process and removes every namespace and file of the
// cluster. Closing twice is harmless.
func (c *Cluster) Close() error {
	c.closing.Do(func() { c.closed = c.tearDown() })
	return c.closed
}

func (c *Cluster) tearDown() error {
	var errs []error
	for _, n := range c.Nodes {
		errs = append(errs, n.PowerOff())
		errs = append(errs, os.RemoveAll(n.data))
	}
	if c.Stage != nil {
		errs = append(errs, c.Stage.Close())
	}
	if c.dir != "" {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}
