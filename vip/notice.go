package vip

import (
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
	lost bool // notifications were dropped
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
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return nil, false
	}
	msg := nl.DeserializeIfAddrmsg(m.Data)
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofIfAddrmsg:])
	if err != nil {
		return nil, false
	}
	n := &addrNotice{index: int(msg.Index), bits: int(msg.Prefixlen), gone: m.Header.Type == unix.RTM_DELADDR}
	local := false
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFA_LOCAL, unix.IFA_ADDRESS:
			// With both, IFA_ADDRESS is the peer's (linux/if_addr.h).
			if ip, ok := netip.AddrFromSlice(a.Value); ok && !local {
				n.addr, local = ip, a.Attr.Type == unix.IFA_LOCAL
			}
		case unix.IFA_CACHEINFO:
			if len(a.Value) >= 8 {
				// struct ifa_cacheinfo: preferred, then valid.
				valid := nl.NativeEndian().Uint32(a.Value[4:])
				n.permanent = n.permanent || valid == ^uint32(0)
			}
		case unix.IFA_FLAGS:
			if len(a.Value) >= 4 {
				flags := nl.NativeEndian().Uint32(a.Value)
				n.permanent = n.permanent || flags&unix.IFA_F_PERMANENT != 0
			}
		}
	}
	return n, n.addr.IsValid()
}
