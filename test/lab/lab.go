package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"havip/test/cluster"
)

// dirPrefix begins the name of every lab's directory; its owner's process id
// and start time follow.
const dirPrefix = "havip-lab-"

// shmDir is a tmpfs on every Linux: with it a slow disk is no part of a test.
const shmDir = "/dev/shm"

// bootTime is enough for a machine to boot on a busy computer. On a quiet one
// it takes two seconds.
const bootTime = 90 * time.Second

// Options says what to build. The zero value is three machines with systemd.
type Options struct {
	Machines int               // 3 when 0
	Recipe   Recipe            // Systemd when empty
	Binds    map[string]string // path in the machine to path here, read-only
	// Disks are directories of a machine that are no part of the overlay, such
	// as a container runtime's: an overlay cannot lie on another. As its disk
	// does they keep what was written through power cuts.
	Disks     []string
	HostsPods bool // the kernel is as a kubelet wants it
	// Prepare writes what a machine has on its disk before it boots for the
	// first time.
	Prepare func(*Node) error
}

// Lab is a set of machines on one wire. Its methods and those of its nodes
// are for one goroutine; different nodes may be used at once.
type Lab struct {
	*cluster.Stage
	Nodes []*Node

	opts    Options
	rootfs  string
	dir     string
	closing sync.Once
	closed  error
}

// New builds a lab whose machines are off. It needs root. Close must follow.
func New(ctx context.Context, opts Options) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("boot machines: needs root")
	}
	if opts.Machines == 0 {
		opts.Machines = 3
	}
	if len(opts.Recipe.Packages) == 0 {
		opts.Recipe = Systemd
	}
	l := &Lab{opts: opts}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context) (err error) {
	if l.rootfs, err = Rootfs(ctx, l.opts.Recipe); err != nil {
		return err
	}
	if l.dir, err = makeDir(); err != nil {
		return err
	}
	if l.Stage, err = cluster.NewStage(l.dir, []netip.Addr{cluster.VIP4}...); err != nil {
		return err
	}
	for i := range l.opts.Machines {
		l.Nodes = append(l.Nodes, l.newNode(i))
	}
	for _, n := range l.Nodes {
		if err := n.prepare(); err != nil {
			return fmt.Errorf("prepare %s: %w", n.Name, err)
		}
	}
	return nil
}

// makeDir makes a directory in memory that the next one to call this removes,
// should this process be killed.
func makeDir() (string, error) {
	if err := removeLeftovers(); err != nil {
		return "", err
	}
	self, err := identify(os.Getpid())
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(shmDir, dirPrefix+self.String()+"-")
	if err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	return dir, nil
}

// PowerOn boots the nodes at once and waits until they are up.
func (l *Lab) PowerOn(ctx context.Context, nodes ...*Node) error {
	var g errgroup.Group
	for _, n := range nodes {
		g.Go(func() error { return n.PowerOn(ctx) })
	}
	return g.Wait()
}

// Node returns the node of that name, or nil.
func (l *Lab) Node(name string) *Node {
	for _, n := range l.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Others returns the nodes beside the one given.
func (l *Lab) Others(n *Node) []*Node {
	var others []*Node
	for _, o := range l.Nodes {
		if o != n {
			others = append(others, o)
		}
	}
	return others
}

// Seats are the nodes' places on the stage.
func (l *Lab) Seats() []*cluster.Seat {
	var all []*cluster.Seat
	for _, n := range l.Nodes {
		all = append(all, n.Seat)
	}
	return all
}

// Holder waits until exactly one node holds the virtual address.
func (l *Lab) Holder(ctx context.Context, limit time.Duration) (*Node, error) {
	name, err := l.Sampler.WaitHolder(ctx, limit)
	if err != nil {
		return nil, err
	}
	return l.Node(name), nil
}

// Close cuts the power of every node and removes all that was made. Closing
// twice is harmless.
func (l *Lab) Close() error {
	l.closing.Do(func() { l.closed = l.tearDown() })
	return l.closed
}

func (l *Lab) tearDown() error {
	var errs []error
	for _, n := range l.Nodes {
		errs = append(errs, n.PowerCut())
	}
	if l.Stage != nil {
		errs = append(errs, l.Stage.Close())
	}
	if l.dir != "" {
		errs = append(errs, os.RemoveAll(l.dir))
	}
	return errors.Join(errs...)
}

// removeLeftovers ends what is left of runs whose process is gone, and removes
// what they made.
func removeLeftovers() error {
	dirs, err := filepath.Glob(filepath.Join(shmDir, dirPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for leftovers: %w", err)
	}
	for _, dir := range dirs {
		name := strings.TrimPrefix(filepath.Base(dir), dirPrefix)
		owner, err := parseIdentity(name[:max(0, strings.LastIndexByte(name, '-'))])
		if err != nil || owner.alive() {
			continue
		}
		if err := removeLeftover(dir); err != nil {
			return fmt.Errorf("remove leftovers of process %d: %w", owner.pid, err)
		}
	}
	return nil
}

func removeLeftover(dir string) error {
	nodes, err := filepath.Glob(filepath.Join(dir, "n*"))
	if err != nil {
		return err
	}
	for _, node := range nodes {
		groups, err := readRecord(node)
		if err != nil {
			return err
		}
		if err := removeCgroups(groups); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
