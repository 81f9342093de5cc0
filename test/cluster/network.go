package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// linkName is the name of a node's first link, as on a plain virtual machine;
// etcdLinkName that of the one to etcd's own network, where there is one.
const (
	linkName     = "eth0"
	etcdLinkName = "eth1"
)

// bridgeName is the name of the bridge inside the switch's namespace.
const bridgeName = "br0"

// Bridge port states (IEEE 802.1D): a disabled port keeps its carrier and
// passes nothing, which is what a silent partition looks like from a node.
const (
	portDisabled   = 0
	portForwarding = 3
)

// netSwitch is the bridge that all nodes hang on, in a namespace of its own.
type netSwitch struct {
	ns *namespace
}

func newSwitch() (*netSwitch, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	s := &netSwitch{ns: ns}
	if err := ns.do(s.addBridge); err != nil {
		ns.close()
		return nil, fmt.Errorf("make bridge: %w", err)
	}
	return s, nil
}

func (s *netSwitch) addBridge() error {
	// With no multicast querier on the bridge snooping would only add a way to
	// lose neighbour discovery.
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}, MulticastSnooping: &snooping}
	if err := netlink.LinkAdd(bridge); err != nil {
		return err
	}
	return netlink.LinkSetUp(bridge)
}

// plug lays a cable from the switch's port to a new link inside ns. The MAC is
// given because a machine keeps its own through a power cut.
func (s *netSwitch) plug(port string, ns *namespace, link string, mac net.HardwareAddr) error {
	err := s.ns.do(func() error {
		bridge, err := netlink.LinkByName(bridgeName)
		if err != nil {
			return err
		}
		cable := &netlink.Veth{
			LinkAttrs:        netlink.LinkAttrs{Name: port, MasterIndex: bridge.Attrs().Index},
			PeerName:         link,
			PeerHardwareAddr: mac,
			PeerNamespace:    netlink.NsFd(int(ns.file.Fd())),
		}
		if err := netlink.LinkAdd(cable); err != nil {
			return err
		}
		return netlink.LinkSetUp(cable)
	})
	if err != nil {
		return fmt.Errorf("plug %s into the switch: %w", port, err)
	}
	return nil
}

// unplug removes the cable for good, with the node's end of it: its kernel
// loses the link and every address on it before this returns.
func (s *netSwitch) unplug(port string) error {
	return s.onPort("remove cable of", port, netlink.LinkDel)
}

// setCarrier pulls the cable out of the switch or puts it back; the node sees
// its carrier go and come.
func (s *netSwitch) setCarrier(port string, on bool) error {
	if on {
		return s.onPort("put back cable of", port, netlink.LinkSetUp)
	}
	return s.onPort("pull cable of", port, netlink.LinkSetDown)
}

// setPassing lets frames through or drops them all, with the carrier kept.
func (s *netSwitch) setPassing(port string, on bool) error {
	state := byte(portDisabled)
	if on {
		state = portForwarding
	}
	return s.onPort("set state of port", port, func(l netlink.Link) error { return setPortState(l, state) })
}

func (s *netSwitch) onPort(what, port string, f func(netlink.Link) error) error {
	err := s.ns.do(func() error {
		link, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		return f(link)
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, port, err)
	}
	return nil
}

// setPortState is `bridge link set dev … state …`, without the milliseconds
// that starting a program takes.
func setPortState(link netlink.Link, state byte) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(link.Attrs().Index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	info.AddRtAttr(nl.IFLA_BRPORT_STATE, []byte{state})
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// configure brings up lo and a link with the node's own addresses on it.
func (n *namespace) configure(link string, addresses ...netip.Prefix) error {
	return n.do(func() error {
		for _, name := range []string{"lo", link} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return fmt.Errorf("find link %s: %w", name, err)
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return fmt.Errorf("set link %s up: %w", name, err)
			}
		}
		for _, a := range addresses {
			if err := addAddress(a, link, ""); err != nil {
				return err
			}
		}
		return nil
	})
}

// addAddress puts an address on a link of the calling thread's namespace, for
// ever. IPv6 goes without duplicate detection, which takes a second and more.
func addAddress(a netip.Prefix, name, label string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	addr := &netlink.Addr{IPNet: ipNet(a), Label: label}
	if a.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add address %v: %w", a, err)
	}
	return nil
}

// errNoAddress is returned when there is no such address to delete.
var errNoAddress = errors.New("no such address on any link")

// deleteAddress removes the address from whatever link of the calling thread's
// namespace carries it, as `ip addr del` would.
func deleteAddress(a netip.Addr) error {
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, found := range all {
		if ip, ok := netip.AddrFromSlice(found.IP); !ok || ip.Unmap() != a {
			continue
		}
		link, err := netlink.LinkByIndex(found.LinkIndex)
		if err != nil {
			return fmt.Errorf("find link %d: %w", found.LinkIndex, err)
		}
		if err := netlink.AddrDel(link, &netlink.Addr{IPNet: found.IPNet}); err != nil {
			return fmt.Errorf("delete address %v from %s: %w", a, link.Attrs().Name, err)
		}
		return nil
	}
	return fmt.Errorf("delete address %v: %w", a, errNoAddress)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}
