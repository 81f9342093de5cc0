package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Node is one master.
type Node struct {
	*Seat

	cluster *Cluster
	dir     string // its files
	data    string // its etcd data

	etcd    *supervisor
	daemon  *supervisor
	api     *apiserverControl
	slow    *slowProxy
	slowed  bool // the daemon's config names the proxy
	vips    []netip.Addr
	alone   bool // etcd starts as a cluster of its own
	blocked bool
	bpf     *bpffs     // new at each boot
	readers []*os.File // ends of blocked pipes
}

func (c *Cluster) newNode(i int) *Node {
	n := &Node{Seat: c.Seat(i, ""), cluster: c, vips: c.VIPs}
	n.dir = filepath.Join(c.dir, n.Name)
	n.PKI = filepath.Join(n.dir, "kubernetes", "pki")
	n.data = n.dir
	if c.opts.DataDir != "" {
		n.data = filepath.Join(c.opts.DataDir, filepath.Base(c.dir), n.Name)
	}
	n.etcd = &supervisor{start: n.spawnEtcd, delay: -1}
	n.daemon = &supervisor{start: n.spawnDaemon, delay: -1}
	return n
}

// SetVIP puts another virtual address into the node's file, for the daemon's next
// start. The sampler does not watch it.
func (n *Node) SetVIP(vip netip.Addr) { n.vips = []netip.Addr{vip} }

// Number is which of the masters it is, from 0 on.
func (n *Node) Number() int { return slices.Index(n.cluster.Nodes, n) }

// Dir is the node's own directory, which outlives its power.
func (n *Node) Dir() string { return n.dir }

// EtcdData is the directory of the member's data.
func (n *Node) EtcdData() string { return filepath.Join(n.data, "etcd") }

// InitialCluster names every member and its peer URL, as etcd takes it.
func (n *Node) InitialCluster() string { return n.master().initialCluster() }

func (n *Node) runDir() string    { return filepath.Join(n.dir, "run") }
func (n *Node) socket() string    { return filepath.Join(n.runDir(), "havipd.sock") }
func (n *Node) etcdRunning() bool { return n.powered && n.etcd.current().running() }

func (n *Node) etcdEndpoint() string {
	if n.slowed {
		return "https://" + slowPort
	}
	return "https://127.0.0.1:2379"
}

func (n *Node) logFile(name string) (*os.File, error) {
	path := filepath.Join(n.dir, "log", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}

// Log returns what one of the node's programs (havipd, etcd, apiserver) wrote
// to stderr since the cluster began.
func (n *Node) Log(name string) string {
	data, err := os.ReadFile(filepath.Join(n.dir, "log", name+".log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(data)
}

// prepare writes what a node finds on its disk.
func (n *Node) prepare(p *PKI) error {
	if err := p.Install(n.PKI, n.Seat); err != nil {
		return err
	}
	for _, dir := range []string{n.runDir(), filepath.Join(n.dir, "state"), n.data} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	return n.master().WriteManifests(filepath.Join(n.dir, "kubernetes", "manifests"))
}

// PowerOn boots the node: no addresses, an empty /run, etcd from its data. The
// daemon starts first, as it does on a machine, where kubelet comes after it
// and starts the rest.
func (n *Node) PowerOn() error {
	if n.powered {
		return nil
	}
	if err := n.Boot(); err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	if err := n.Configure(); err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	if err := os.RemoveAll(n.runDir()); err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	if err := os.MkdirAll(n.runDir(), 0o755); err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	var err error
	if n.bpf, err = newBPFFS(); err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	if err := errors.Join(n.StartHavipd(), n.StartEtcd(), n.StartAPIServer()); err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	return nil
}

// PowerOff cuts the node's power: its cable goes silent, so that no FIN of a
// dying process gets out, then everything on it ends at once and its kernel
// with all addresses goes. It counts as off from the cut.
func (n *Node) PowerOff() error {
	if !n.powered {
		return nil
	}
	err := errors.Join(n.Cut(), n.killAll(), n.Off())
	if err != nil {
		return fmt.Errorf("power off %s: %w", n.Name, err)
	}
	return nil
}

func (n *Node) killAll() error {
	all := []*process{n.daemon.release(), n.etcd.release()}
	if n.api != nil {
		n.api.stdin.Close()
		all = append(all, n.api.proc)
	}
	var errs []error
	for _, p := range all { // all of them first: power does not fail in turn
		if p != nil {
			errs = append(errs, p.signal(syscall.SIGKILL))
		}
	}
	for _, p := range all {
		if p != nil {
			<-p.done
		}
	}
	if n.slow != nil {
		errs = append(errs, n.slow.listener.Close())
		n.slow = nil
	}
	for _, r := range n.readers {
		r.Close()
	}
	n.readers = nil
	if n.bpf != nil {
		errs = append(errs, n.bpf.root.Close())
		n.bpf = nil
	}
	return errors.Join(errs...)
}

// SlowEtcd makes every round trip between the node's daemon and its etcd
// member take d longer, from now on. The daemon must be started after the
// first call on a node: only then does its configuration name the proxy.
func (n *Node) SlowEtcd(d time.Duration) error {
	n.slowed = true
	if n.slow == nil {
		l, err := n.ns.listen("tcp", slowPort)
		if err != nil {
			return fmt.Errorf("slow etcd of %s: %w", n.Name, err)
		}
		ns := n.ns
		n.slow = newSlowProxy(l, func() (net.Conn, error) { return ns.dialLocal("127.0.0.1:2379") })
	}
	n.slow.setDelay(d)
	return nil
}

// DirectEtcd undoes SlowEtcd for the daemon's next start.
func (n *Node) DirectEtcd() { n.slowed = false }
