package cluster

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
)

// The sampler reads rtnetlink with the standard library alone: it judges a
// daemon that uses another one.

// parseAddr reads one RTM_NEWADDR or RTM_DELADDR message. ok is false for
// every other message.
func parseAddr(m syscall.NetlinkMessage) (e Event, ok bool, err error) {
	switch m.Header.Type {
	case syscall.RTM_NEWADDR:
		e.What = Added
	case syscall.RTM_DELADDR:
		e.What = Removed
	default:
		return Event{}, false, nil
	}
	if len(m.Data) < syscall.SizeofIfAddrmsg {
		return Event{}, false, fmt.Errorf("read address message: %d bytes", len(m.Data))
	}
	e.Bits = int(m.Data[1])
	e.Link = int(binary.NativeEndian.Uint32(m.Data[4:8]))
	e.Valid = Forever
	attrs, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return Event{}, false, fmt.Errorf("read address message: %w", err)
	}
	for _, a := range attrs {
		e.readAttr(a)
	}
	return e, e.Addr.IsValid(), nil
}

func (e *Event) readAttr(a syscall.NetlinkRouteAttr) {
	switch a.Attr.Type {
	case syscall.IFA_LOCAL: // IPv4: the address itself
		if addr, ok := netip.AddrFromSlice(a.Value); ok {
			e.Addr = addr
		}
	case syscall.IFA_ADDRESS: // IPv6: the address; IPv4: the peer's
		if addr, ok := netip.AddrFromSlice(a.Value); ok && !e.Addr.IsValid() {
			e.Addr = addr
		}
	case syscall.IFA_CACHEINFO: // preferred, valid, two time stamps
		if len(a.Value) >= 8 {
			e.Valid = binary.NativeEndian.Uint32(a.Value[4:8])
		}
	}
}

// putHeader fills in the netlink header of a request that takes the whole of
// data.
func putHeader(data []byte, kind, flags uint16) {
	binary.NativeEndian.PutUint32(data[0:4], uint32(len(data)))
	binary.NativeEndian.PutUint16(data[4:6], kind)
	binary.NativeEndian.PutUint16(data[6:8], flags)
}
