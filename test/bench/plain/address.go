package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"havip/test/cluster"
)

// address is the virtual address on this node's link.
type address struct {
	link string
	ip   netip.Addr
}

func (a address) netlink() (netlink.Link, *netlink.Addr, error) {
	link, err := netlink.LinkByName(a.link)
	if err != nil {
		return nil, nil, fmt.Errorf("find link %s: %w", a.link, err)
	}
	return link, &netlink.Addr{IPNet: &net.IPNet{IP: a.ip.AsSlice(), Mask: net.CIDRMask(32, 32)}}, nil
}

// add puts the address on the link and says so to the neighbours.
func (a address) add() error {
	link, addr, err := a.netlink()
	if err != nil {
		return err
	}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	return a.announce(link.Attrs())
}

// remove takes the address off the link; one that is not there is no error.
func (a address) remove() error {
	link, addr, err := a.netlink()
	if err != nil {
		return err
	}
	if err := netlink.AddrDel(link, addr); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove address: %w", err)
	}
	return nil
}

// announce sends one gratuitous ARP request (RFC 5944, section 4.6).
func (a address) announce(link *netlink.LinkAttrs) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	defer unix.Close(fd)
	frame := cluster.ARPRequest(link.HardwareAddr, a.ip, a.ip)
	if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
		return fmt.Errorf("announce address: %w", err)
	}
	return nil
}
