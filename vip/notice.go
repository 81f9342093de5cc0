package vip

import (
	"bytes"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// notice is one notification of the kernel, decoded.
type notice struct {
	link *linkNotice
	addr *addrNotice
}

type linkNotice struct {
	linkInfo
	gone   bool
	notify bool // the driver asks for announcements
}

type addrNotice struct {
	index     int
	addr      netip.Addr
	bits      int
	gone      bool
	permanent bool
}

// Values of IFLA_EVENT (enum in linux/if_link.h): the link itself asks that its
// neighbours be told.
const (
	iflaEventFailover    = 2 // IFLA_EVENT_BONDING_FAILOVER
	iflaEventNotifyPeers = 4 // IFLA_EVENT_NOTIFY_PEERS
)

// parseNotice decodes a message; ok is false for what is beside the point or too
// short to be read.
func parseNotice(m syscall.NetlinkMessage) (n notice, ok bool) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		n.link, ok = parseLink(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		n.addr, ok = parseAddrNotice(m)
	}
	return n, ok
}

func parseLink(m syscall.NetlinkMessage) (*linkNotice, bool) {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return nil, false
	}
	// A bridge reports its ports in family AF_BRIDGE, and their removal from it
	// as RTM_DELLINK; only AF_UNSPEC speaks of the link itself.
	if m.Data[0] != unix.AF_UNSPEC {
		return nil, false
	}
	h := unix.NlMsghdr(m.Header)
	l, err := netlink.LinkDeserialize(&h, m.Data)
	if err != nil {
		return nil, false
	}
	n := &linkNotice{linkInfo: describe(l), gone: m.Header.Type == unix.RTM_DELLINK}
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, false
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_EVENT && len(a.Value) >= 4 {
			why := nl.NativeEndian().Uint32(a.Value)
			n.notify = why == iflaEventFailover || why == iflaEventNotifyPeers
		}
	}
	return n, true
}

func parseAddrNotice(m syscall.NetlinkMessage) (*addrNotice, bool) {
	a, ok := parseAddr(m)
	return &addrNotice{
		index: a.index, addr: a.prefix.Addr(), bits: a.prefix.Bits(), permanent: a.permanent,
		gone: m.Header.Type == unix.RTM_DELADDR,
	}, ok
}

// parseAddr decodes one address, of a notice or of a list.
func parseAddr(m syscall.NetlinkMessage) (a addrInfo, ok bool) {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return a, false
	}
	msg := nl.DeserializeIfAddrmsg(m.Data)
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfAddrmsg:])
	if err != nil {
		return a, false
	}
	a.index = int(msg.Index)
	// The flag of both families, and the lifetime of all ones: neither bit nor
	// number is trusted alone.
	a.permanent = msg.Flags&unix.IFA_F_PERMANENT != 0
	a.failed = msg.Family == unix.AF_INET6 && msg.Flags&unix.IFA_F_DADFAILED != 0
	var addr netip.Addr
	local := false
	for _, at := range attrs {
		switch at.Attr.Type {
		case unix.IFA_LOCAL, unix.IFA_ADDRESS:
			// With both, IFA_ADDRESS is the peer's (linux/if_addr.h).
			if ip, ok := netip.AddrFromSlice(at.Value); ok && !local {
				addr, local = ip, at.Attr.Type == unix.IFA_LOCAL
			}
		case unix.IFA_LABEL:
			a.label = string(bytes.TrimRight(at.Value, "\x00"))
		case unix.IFA_CACHEINFO:
			if len(at.Value) >= 8 {
				// struct ifa_cacheinfo: preferred, then valid.
				valid := nl.NativeEndian().Uint32(at.Value[4:])
				a.permanent = a.permanent || valid == ^uint32(0)
				a.seconds = int(valid)
			}
		case unix.IFA_FLAGS:
			if len(at.Value) >= 4 {
				flags := nl.NativeEndian().Uint32(at.Value)
				a.permanent = a.permanent || flags&unix.IFA_F_PERMANENT != 0
			}
		}
	}
	if a.permanent {
		a.seconds = 0
	}
	a.prefix = netip.PrefixFrom(addr, int(msg.Prefixlen))
	return a, a.prefix.IsValid()
}
