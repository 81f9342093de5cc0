package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"

	"github.com/vishvananda/netlink"
)

// Seat is a master's place on the stage, seen from outside: its cable, the
// network of its kernel, a new one each time it boots, and its etcd member.
type Seat struct {
	Name     string
	Address  netip.Addr // its own IPv4 address
	Address6 netip.Addr // its own IPv6 address; not valid without IPv6
	EtcdAddr netip.Addr // of its member, on a network of its own; not valid where it has none
	MAC      net.HardwareAddr
	PKI      string // directory with kubeadm's certificates, to ask etcd with

	stage   *Stage
	ns      *namespace
	powered bool
	lives   int
}

// Seat returns the place of the master with that number, from 0 on. pki is
// where its certificates will be.
func (s *Stage) Seat(i int, pki string) *Seat {
	last := 162 + i
	if i >= 4 {
		last++ // 166 is the virtual address
	}
	seat := &Seat{
		Name:    fmt.Sprintf("n%d", i+1),
		Address: netip.AddrFrom4([4]byte{198, 51, 100, byte(last)}),
		MAC:     net.HardwareAddr{0x02, 0, 198, 51, 100, byte(last)},
		PKI:     pki,
		stage:   s,
	}
	for _, v := range s.VIPs {
		if v.Is6() {
			seat.Address6 = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", last))
		}
	}
	if s.etcdNet != nil {
		seat.EtcdAddr = netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%d", last))
	}
	return seat
}

// memberAddress is where the others reach its etcd member.
func (s *Seat) memberAddress() netip.Addr {
	if s.EtcdAddr.IsValid() {
		return s.EtcdAddr
	}
	return s.Address
}

// Addresses are the node's own addresses.
func (s *Seat) Addresses() []netip.Addr {
	all := []netip.Addr{s.Address}
	for _, a := range []netip.Addr{s.Address6, s.EtcdAddr} {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// Powered reports whether the node is on.
func (s *Seat) Powered() bool { return s.powered }

func (s *Seat) life() string { return fmt.Sprintf("%s/%d", s.Name, s.lives) }

// Boot gives the node a network: a new kernel without addresses and its cable,
// under observation from its first moment.
func (s *Seat) Boot() error {
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	s.ns = ns
	s.lives++
	err = s.stage.net.plug(s.Name, ns, linkName, s.MAC)
	if err == nil && s.EtcdAddr.IsValid() {
		err = s.stage.etcdNet.plug(s.Name, ns, etcdLinkName, s.etcdMAC())
	}
	if err != nil {
		ns.close()
		return err
	}
	s.powered = true
	return s.stage.Sampler.watch(s.Name, s.life(), ns)
}

// Configure brings the links up and puts the node's own addresses on them.
func (s *Seat) Configure() error {
	addresses := []netip.Prefix{netip.PrefixFrom(s.Address, 24)}
	if s.Address6.IsValid() {
		addresses = append(addresses, netip.PrefixFrom(s.Address6, 64))
	}
	err := s.ns.configure(linkName, addresses...)
	if err == nil && s.EtcdAddr.IsValid() {
		err = s.ns.configure(etcdLinkName, netip.PrefixFrom(s.EtcdAddr, 64))
	}
	return err
}

func (s *Seat) etcdMAC() net.HardwareAddr {
	mac := slices.Clone(s.MAC)
	mac[1] = 2
	return mac
}

// Cut is the moment of a power cut: no frame passes any more, and whatever the
// kernel still says counts for nothing.
func (s *Seat) Cut() error {
	cut := s.stage.net.setPassing(s.Name, false)
	if s.EtcdAddr.IsValid() {
		cut = errors.Join(cut, s.stage.etcdNet.setPassing(s.Name, false))
	}
	if cut != nil {
		// A port whose cable is out already has nothing to pass.
		cut = s.stage.net.setCarrier(s.Name, false)
	}
	s.stage.Sampler.cut(s.life())
	return cut
}

// Off follows Cut and takes the kernel away, with all addresses and processes.
func (s *Seat) Off() error {
	err := s.stage.net.unplug(s.Name)
	if s.EtcdAddr.IsValid() {
		err = errors.Join(err, s.stage.etcdNet.unplug(s.Name))
	}
	err = errors.Join(err, s.stage.Sampler.drop(s.life()))
	s.ns.close()
	s.powered = false
	return err
}

// NetworkPath names the network of the node's kernel to other programs.
func (s *Seat) NetworkPath() string { return s.ns.path() }

// Start starts a program in the node's network. It dies with this process, and
// with the node's power.
func (s *Seat) Start(cmd *exec.Cmd) error { return s.ns.start(cmd) }

// Packets counts what the node's link has received and sent since it booted.
func (s *Seat) Packets() (packets uint64, err error) {
	err = s.ns.do(func() error {
		link, err := netlink.LinkByName(linkName)
		if err != nil {
			return fmt.Errorf("count packets of %s: %w", s.Name, err)
		}
		packets = link.Attrs().Statistics.RxPackets + link.Attrs().Statistics.TxPackets
		return nil
	})
	return packets, err
}

// Mute cuts the node off in silence, but for etcd's own network where there is one: it keeps its carrier, no frame passes in
// either direction, and everything on it runs on.
func (s *Seat) Mute() error { return s.stage.net.setPassing(s.Name, false) }

// Unmute heals Mute.
func (s *Seat) Unmute() error { return s.stage.net.setPassing(s.Name, true) }

// PullCable takes the carrier away.
func (s *Seat) PullCable() error { return s.stage.net.setCarrier(s.Name, false) }

// PlugCable gives the carrier back.
func (s *Seat) PlugCable() error { return s.stage.net.setCarrier(s.Name, true) }

// AddVIP puts a virtual address on the node by hand, for ever.
func (s *Seat) AddVIP(vip netip.Addr) error {
	return s.ns.do(func() error { return addAddress(netip.PrefixFrom(vip, vip.BitLen()), linkName, "") })
}

// DeleteVIP deletes a virtual address from the node by hand.
func (s *Seat) DeleteVIP(vip netip.Addr) error {
	return s.ns.do(func() error { return deleteAddress(vip) })
}

// SpeakAs has the node's kernel send from a virtual address that AddVIP put
// there, to an address that nobody has: its question for that one's MAC tells
// the whole wire that the virtual address is here.
func (s *Seat) SpeakAs(vip, to netip.Addr) error {
	return s.ns.do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(vip, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
		if err != nil {
			return fmt.Errorf("speak as %s: %w", vip, err)
		}
		defer c.Close()
		if _, err := c.Write([]byte{0}); err != nil {
			return fmt.Errorf("speak as %s: %w", vip, err)
		}
		return nil
	})
}
