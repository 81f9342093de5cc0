package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
)

// Stage is what never loses power: the wire that the masters hang on, the
// client that connects through the virtual address, and the two observers.
// A Cluster puts masters made of processes on it, test/lab machines that boot.
type Stage struct {
	VIPs    []netip.Addr
	Sampler *Sampler
	Witness *Witness // nil until StartWitness
	Asker   *Asker   // nil until StartAsker

	dir     string // for logs
	net     *netSwitch
	client  *namespace
	etcdNet *netSwitch   // for etcd alone; nil: it is on the same wire
	hosts   []*namespace // that AddHost made
}

// clientPort is the name of the client's port of the switch.
const clientPort = "client"

// NewStage makes a wire without masters; dir takes the observers' logs. It
// needs root. Close must follow.
func NewStage(dir string, vips ...netip.Addr) (*Stage, error) {
	s := &Stage{VIPs: vips, dir: dir}
	if err := s.build(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stage) build() (err error) {
	if os.Geteuid() != 0 {
		return errors.New("make network namespaces: needs root")
	}
	if s.net, err = newSwitch(); err != nil {
		return err
	}
	if err := s.addClient(); err != nil {
		return err
	}
	stderr, err := s.logFile("sampler.log")
	if err != nil {
		return err
	}
	defer stderr.Close()
	s.Sampler, err = startSampler(s.net.ns, s.VIPs, stderr)
	return err
}

func (s *Stage) addClient() (err error) {
	if s.client, err = newNamespace(); err != nil {
		return err
	}
	mac := []byte{0x02, 0, 198, 51, 100, 200}
	if err := s.net.plug(clientPort, s.client, linkName, mac); err != nil {
		return err
	}
	addresses := []netip.Prefix{clientPrefix4}
	for _, v := range s.VIPs {
		if v.Is6() {
			addresses = append(addresses, clientPrefix6)
		}
	}
	return s.client.configure(linkName, addresses...)
}

// AddHost puts a further host on the wire, such as a gateway; the name is its
// port's. MuteHost and UnmuteHost take it away and give it back.
func (s *Stage) AddHost(name string, address netip.Prefix) error {
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	s.hosts = append(s.hosts, ns)
	a := address.Addr().As16()
	if err := s.net.plug(name, ns, linkName, append(net.HardwareAddr{0x02, 1}, a[12:]...)); err != nil {
		return err
	}
	return ns.configure(linkName, address)
}

// MuteHost drops all frames of a host, in both directions.
func (s *Stage) MuteHost(name string) error { return s.net.setPassing(name, false) }

// UnmuteHost heals MuteHost.
func (s *Stage) UnmuteHost(name string) error { return s.net.setPassing(name, true) }

// MuteClient drops all frames of the client, in both directions.
func (s *Stage) MuteClient() error { return s.net.setPassing(clientPort, false) }

// UnmuteClient heals MuteClient. The client then has this MAC for an address, as one
// has that was cut off together with it.
func (s *Stage) UnmuteClient(address netip.Addr, mac net.HardwareAddr) error {
	err := s.client.do(func() error {
		link, err := netlink.LinkByName(linkName)
		if err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_REACHABLE, IP: address.AsSlice(), HardwareAddr: mac})
	})
	if err != nil {
		return fmt.Errorf("set the client's neighbour %v: %w", address, err)
	}
	return s.net.setPassing(clientPort, true)
}

func (s *Stage) logFile(name string) (*os.File, error) {
	f, err := os.Create(filepath.Join(s.dir, name))
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}

// StartWitness starts the client that connects through the virtual address.
func (s *Stage) StartWitness(vip netip.Addr) error {
	if s.Witness != nil {
		return nil
	}
	stderr, err := s.logFile("witness.log")
	if err != nil {
		return err
	}
	defer stderr.Close()
	s.Witness, err = startWitness(s.client, vip, stderr)
	return err
}

// Dial connects from where the client is.
func (s *Stage) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return s.client.dial(ctx, network, address)
}

// Close ends the observers and removes the wire, with whatever still runs at
// the end of it.
func (s *Stage) Close() error {
	var errs []error
	if s.Witness != nil {
		errs = append(errs, s.Witness.close())
	}
	if s.Asker != nil {
		errs = append(errs, s.Asker.close())
	}
	if s.Sampler != nil {
		errs = append(errs, s.Sampler.close())
	}
	if s.client != nil {
		s.client.close()
	}
	for _, ns := range s.hosts {
		ns.close()
	}
	for _, n := range []*netSwitch{s.net, s.etcdNet} {
		if n != nil {
			n.ns.close()
		}
	}
	return errors.Join(errs...)
}
