package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Node is one master.
type Node struct {
	Name     string
	Address  netip.Addr // its own IPv4 address
	Address6 netip.Addr // its own IPv6 address; not valid without IPv6
	MAC      net.HardwareAddr

	cluster *Cluster
	dir     string // its files
	data    string // its etcd data
	ns      *namespace
	powered bool
	lives   int

	etcd    *supervisor
	daemon  *supervisor
	api     *apiserverControl
	slow    *slowProxy
	slowed  bool // the daemon's config names the proxy
	blocked bool
	readers []*os.File // ends of blocked pipes
}

func (c *Cluster) newNode(i int) *Node {
	last := 162 + i
	if i >= 4 {
		last++ // 166 is the virtual address
	}
	n := &Node{
		Name:    fmt.Sprintf("n%d", i+1),
		Address: netip.AddrFrom4([4]byte{198, 51, 100, byte(last)}),
		MAC:     net.HardwareAddr{0x02, 0, 198, 51, 100, byte(last)},
		cluster: c,
	}
	if c.opts.IPv6 {
		n.Address6 = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", last))
	}
	n.dir = filepath.Join(c.dir, n.Name)
	n.data = n.dir
	if c.opts.DataDir != "" {
		n.data = filepath.Join(c.opts.DataDir, filepath.Base(c.dir), n.Name)
	}
	n.etcd = &supervisor{start: n.spawnEtcd, delay: -1}
	n.daemon = &supervisor{start: n.spawnHavipd, delay: -1}
	return n
}

// Addresses are the node's own addresses.
func (n *Node) Addresses() []netip.Addr {
	if n.Address6.IsValid() {
		return []netip.Addr{n.Address, n.Address6}
	}
	return []netip.Addr{n.Address}
}

func (n *Node) pkiDir() string    { return filepath.Join(n.dir, "kubernetes", "pki") }
func (n *Node) runDir() string    { return filepath.Join(n.dir, "run") }
func (n *Node) socket() string    { return filepath.Join(n.runDir(), "havipd.sock") }
func (n *Node) life() string      { return fmt.Sprintf("%s/%d", n.Name, n.lives) }
func (n *Node) etcdRunning() bool { return n.powered && n.etcd.current().running() }

// Powered reports whether the node is on.
func (n *Node) Powered() bool { return n.powered }

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
func (n *Node) prepare(p *pki) error {
	if err := p.install(n.pkiDir(), n, n.cluster.VIPs); err != nil {
		return err
	}
	for _, dir := range []string{n.runDir(), filepath.Join(n.dir, "state"), n.data} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	return n.writeManifests()
}

// boot gives the node a network: a new kernel without addresses, its cable and
// its own addresses.
func (n *Node) boot() error {
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	n.ns = ns
	n.lives++
	if err := n.cluster.net.plug(n.Name, ns, n.MAC); err != nil {
		ns.close()
		return err
	}
	n.powered = true
	if err := n.cluster.Sampler.watch(n.Name, n.life(), ns); err != nil {
		return err
	}
	addresses := []netip.Prefix{netip.PrefixFrom(n.Address, 24)}
	if n.Address6.IsValid() {
		addresses = append(addresses, netip.PrefixFrom(n.Address6, 64))
	}
	return ns.configure(addresses...)
}

// PowerOn boots the node: no addresses, an empty /run, etcd from its data. The
// daemon starts first, as it does on a machine, where kubelet comes after it
// and starts the rest.
func (n *Node) PowerOn() error {
	if n.powered {
		return nil
	}
	if err := n.boot(); err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	if err := os.RemoveAll(n.runDir()); err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	if err := os.MkdirAll(n.runDir(), 0o755); err != nil {
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
	cut := n.cluster.net.setPassing(n.Name, false)
	if cut != nil {
		// A port whose cable is out already has nothing to pass.
		cut = n.cluster.net.setCarrier(n.Name, false)
	}
	n.cluster.Sampler.cut(n.life())
	err := errors.Join(cut, n.killAll(), n.cluster.net.unplug(n.Name), n.cluster.Sampler.drop(n.life()))
	n.ns.close()
	n.powered = false
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
	return errors.Join(errs...)
}

// Mute cuts the node off in silence: it keeps its carrier, no frame passes in
// either direction, and everything on it runs on.
func (n *Node) Mute() error { return n.cluster.net.setPassing(n.Name, false) }

// Unmute heals Mute.
func (n *Node) Unmute() error { return n.cluster.net.setPassing(n.Name, true) }

// PullCable takes the carrier away.
func (n *Node) PullCable() error { return n.cluster.net.setCarrier(n.Name, false) }

// PlugCable gives the carrier back.
func (n *Node) PlugCable() error { return n.cluster.net.setCarrier(n.Name, true) }

// AddVIP puts a virtual address on the node by hand, for ever.
func (n *Node) AddVIP(vip netip.Addr) error {
	return n.ns.do(func() error { return addAddress(netip.PrefixFrom(vip, vip.BitLen()), "") })
}

// DeleteVIP deletes a virtual address from the node by hand.
func (n *Node) DeleteVIP(vip netip.Addr) error {
	return n.ns.do(func() error { return deleteAddress(vip) })
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
