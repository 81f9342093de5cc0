package kubeadm

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Link is a network link of the node.
type Link struct {
	Name     string
	MAC      net.HardwareAddr // nil: it has no Ethernet address
	Up       bool             // by the administrator's will
	Carrier  bool             // a cable with somebody at its other end
	Loopback bool
	Prefixes []netip.Prefix // its addresses, with the length of their prefixes
}

func ownLinks() ([]Link, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var links []Link
	for _, i := range list {
		l := Link{
			Name: i.Name, Up: i.Flags&net.FlagUp != 0, Carrier: i.Flags&net.FlagRunning != 0, Loopback: i.Flags&net.FlagLoopback != 0,
		}
		if len(i.HardwareAddr) == 6 {
			l.MAC = i.HardwareAddr
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.Prefixes = append(l.Prefixes, p)
			}
		}
		links = append(links, l)
	}
	return links, nil
}

// synchronised asks the kernel whether somebody keeps its clock right
// (adjtimex(2); with modes 0 it sets nothing and needs no privilege).
func synchronised() (bool, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, err
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}
