package vip

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// system is the kernel of the calling thread's network namespace. What every
// refresh asks goes over the line, if there is one; the rest is rare, and each
// request of it uses a socket of its own.
type system struct{ line *line }

// dumpTries bounds repeating a dump that a change interrupted.
const dumpTries = 5

// with runs f on a fresh handle, again when a change interrupted its dump.
func with(f func(*netlink.Handle) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	defer h.Close()
	if err := h.SetSocketTimeout(answerTimeout); err != nil {
		return fmt.Errorf("set netlink timeout: %w", err)
	}
	for range dumpTries {
		if err = f(h); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if errors.Is(err, unix.EAGAIN) {
		return ErrUnknown
	}
	return permission(err)
}

// permission names the missing capability.
func permission(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: needs CAP_NET_ADMIN and CAP_NET_RAW, run it as root or by its systemd unit", err)
	}
	return err
}

func (system) links() ([]linkInfo, error) {
	var out []linkInfo
	err := with(func(h *netlink.Handle) error {
		ls, err := h.LinkList()
		out = out[:0]
		for _, l := range ls {
			out = append(out, describe(l))
		}
		return err
	})
	return out, err
}

func (s system) linkByName(name string) (linkInfo, error) {
	return s.oneLink(0, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

func (s system) linkByIndex(index int) (linkInfo, error) { return s.oneLink(index) }

// skipStats leaves the counters out of the answer (linux/rtnetlink.h).
const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS

func (s system) oneLink(index int, by ...*nl.RtAttr) (linkInfo, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	for _, a := range by {
		req.AddData(a)
	}
	var out linkInfo
	err := s.line.on(func(c *conn) error {
		m, err := c.get(req, unix.RTM_NEWLINK)
		if err != nil {
			return err
		}
		n, ok := parseLink(m)
		if !ok {
			return errors.New("the kernel's answer cannot be read")
		}
		out = n.linkInfo
		return nil
	})
	if errors.Is(err, unix.ENODEV) {
		err = os.ErrNotExist
	}
	return out, err
}

func describe(l netlink.Link) linkInfo {
	a := l.Attrs()
	const passes = unix.IFF_RUNNING | unix.IFF_LOWER_UP
	out := linkInfo{
		index:   a.Index,
		name:    a.Name,
		mac:     bytes.Clone(a.HardwareAddr),
		adminUp: a.RawFlags&unix.IFF_UP != 0,
		carrier: a.RawFlags&passes == passes,
		master:  a.MasterIndex,
		kind:    l.Type(),
	}
	// Only Ethernet has ARP frames of the form this package sends. The loopback
	// link has an all-zero address.
	if len(out.mac) != 6 || a.RawFlags&(unix.IFF_LOOPBACK|unix.IFF_NOARP) != 0 {
		out.mac = nil
	}
	return out
}

func (system) routeTo(dst netip.Addr) (routeInfo, error) {
	var rs []netlink.Route
	err := with(func(h *netlink.Handle) (err error) {
		rs, err = h.RouteGet(dst.AsSlice())
		return err
	})
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), err == nil && len(rs) == 0:
		return routeInfo{}, os.ErrNotExist
	case err != nil:
		return routeInfo{}, err
	}
	return routeInfo{index: rs[0].LinkIndex, local: rs[0].Type == unix.RTN_LOCAL}, nil
}

func (system) mainRoutes(a netip.Addr) ([]routeInfo, error) {
	var rs []netlink.Route
	err := with(func(h *netlink.Handle) (err error) {
		// Without it the kernel sends every table and the library drops the rest.
		_ = h.SetStrictCheck(true)
		rs, err = h.RouteListFiltered(family(a), &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		return err
	})
	var out []routeInfo
	for _, r := range rs {
		out = append(out, routesOf(r, a)...)
	}
	return out, err
}

func (system) neighbour(index int, a netip.Addr) (net.HardwareAddr, error) {
	var ns []netlink.Neigh
	err := with(func(h *netlink.Handle) (err error) {
		ns, err = h.NeighList(index, family(a))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	for _, n := range ns {
		// An entry that failed has none.
		if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a && len(n.HardwareAddr) == ethernetAddr {
			return n.HardwareAddr, nil
		}
	}
	return nil, errNoMAC
}

// routesOf flattens a route with several next hops.
func routesOf(r netlink.Route, a netip.Addr) []routeInfo {
	if r.Type != unix.RTN_UNICAST {
		return nil
	}
	dst := netip.PrefixFrom(a, 0)
	if r.Dst != nil {
		p, ok := prefixOf(r.Dst)
		if !ok {
			return nil
		}
		dst = p
	}
	if len(r.MultiPath) == 0 {
		return []routeInfo{{dst: dst, index: r.LinkIndex, metric: r.Priority, via: gateway(r.Gw)}}
	}
	var out []routeInfo
	for _, hop := range r.MultiPath {
		out = append(out, routeInfo{dst: dst, index: hop.LinkIndex, metric: r.Priority, via: gateway(hop.Gw)})
	}
	return out
}

// gateway is the zero Addr for a route without one.
func gateway(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func (s system) addrs(like []netip.Addr) ([]addrInfo, error) {
	fam := family(like[0])
	for _, a := range like {
		if family(a) != fam {
			fam = unix.AF_UNSPEC
		}
	}
	var out []addrInfo
	var err error
	for range dumpTries {
		out = out[:0]
		err = s.line.on(func(c *conn) error {
			req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
			req.AddData(nl.NewIfAddrmsg(fam))
			return c.dump(req, unix.RTM_NEWADDR, func(m syscall.NetlinkMessage) {
				if a, ok := parseAddr(m); ok {
					out = append(out, a)
				}
			})
		})
		if !errors.Is(err, errInterrupted) {
			break
		}
	}
	return out, err
}

func (system) remove(index int, p netip.Prefix) error {
	err := with(func(h *netlink.Handle) error {
		return h.AddrDel(nil, &netlink.Addr{LinkIndex: index, IPNet: ipNet(p)})
	})
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func (system) sysctl(path string) string {
	b, err := os.ReadFile(filepath.Join("/proc/sys", path))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if !ok || size == 0 {
		return netip.Prefix{}, false
	}
	if size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits), true
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
