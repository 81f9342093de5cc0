package vip

import (
	"bytes"
	"net"
	"net/netip"
)

// kernel is what this package asks of the operating system. Absence of a link
// or a route is os.ErrNotExist.
type kernel interface {
	links() ([]linkInfo, error)
	linkByName(name string) (linkInfo, error)
	linkByIndex(index int) (linkInfo, error)
	// routeTo looks a single destination up as a sent packet would.
	routeTo(dst netip.Addr) (routeInfo, error)
	// mainRoutes lists the unicast routes of the main table for a's family.
	mainRoutes(a netip.Addr) ([]routeInfo, error)
	// addrs lists every address of the namespace, on whatever link, that is of
	// the family of one of those given, in the kernel's order.
	addrs(like []netip.Addr) ([]addrInfo, error)
	// neighbour is the MAC that a host of the link has or last had; errNoMAC if the
	// kernel has given it up.
	neighbour(index int, a netip.Addr) (net.HardwareAddr, error)
	// prepare opens all that a change needs, so that apply is one system call.
	prepare(as []assignment) (change, error)
	// remove deletes one address from one link; absence is no error.
	remove(index int, p netip.Prefix) error
	// sysctl reads one value under /proc/sys, "" when it cannot.
	sysctl(path string) string
}

// change is a prepared set of addresses.
type change interface {
	// apply makes it happen and calls handled as soon as the kernel has carried
	// it out or refused it, before the answer is read. handled is called exactly
	// once, also on errors.
	apply(handled func()) error
	close()
}

// linkInfo is what is known of one link.
type linkInfo struct {
	index   int
	name    string
	mac     net.HardwareAddr
	adminUp bool
	carrier bool // has carrier, and its operational state lets frames pass
	master  int  // index of the bridge, bond or VRF it belongs to, or 0
	kind    string
}

func (l linkInfo) up() bool { return l.adminUp && l.carrier }

// same: what the configuration goes by has not changed.
func (l linkInfo) same(o linkInfo) bool {
	return l.index == o.index && l.name == o.name && l.master == o.master && bytes.Equal(l.mac, o.mac)
}

// public drops what callers have no use for.
func (l linkInfo) public() Link {
	return Link{Index: l.index, Name: l.name, MAC: l.mac, Up: l.up()}
}

type routeInfo struct {
	dst    netip.Prefix // /0 for a default route; only the main table's routes have it
	index  int
	metric int
	local  bool       // the destination is an address of this node
	via    netip.Addr // the gateway; only the main table's routes have it
}

// addrInfo is one address on one link.
type addrInfo struct {
	index     int
	prefix    netip.Prefix // address and prefix length, not masked
	label     string
	seconds   int // remaining valid lifetime
	permanent bool
	failed    bool // IPv6: another host had it (RFC 4862 section 5.4)
}

// assignment is one address to set, with its lifetimes.
type assignment struct {
	bits      int // prefix length
	index     int
	addr      netip.Addr
	label     string // IPv4 only
	valid     int    // whole seconds
	preferred int    // whole seconds, 0 means deprecated
}
