package vip

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// newAddr is the prepared RTM_NEWADDR requests of one Set. They go to the kernel
// in one sendmsg, so that both addresses of a VIP appear together.
type newAddr struct {
	conn  *conn
	free  func(error)
	err   error // of apply
	bytes []byte
	seqs  []uint32
	addrs []netip.Addr
}

func (s system) prepare(as []assignment) (change, error) {
	c, free, err := s.line.hold()
	if err != nil {
		return nil, permission(err)
	}
	n := &newAddr{conn: c, free: free}
	for _, a := range as {
		req := newAddrRequest(a)
		n.bytes = append(n.bytes, req.Serialize()...)
		n.seqs = append(n.seqs, req.Seq)
		n.addrs = append(n.addrs, a.addr)
	}
	return n, nil
}

// newAddrRequest encodes one address. No broadcast: a /32 has none, nor has a /31. The size of
// every attribute is a multiple of 4 after padding, so messages may be strung
// together.
func newAddrRequest(a assignment) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	msg := nl.NewIfAddrmsg(family(a.addr))
	msg.Prefixlen = uint8(a.bits)
	msg.Index = uint32(a.index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.addr.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, a.addr.AsSlice()))
	switch {
	case a.addr.Is4() && a.bits < a.addr.BitLen():
		req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NOPREFIXROUTE)))
	case a.addr.Is6():
		// DAD would keep the address unusable for a second or more, and could
		// disable it for good; who owns it is the election's decision.
		req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE)))
	}
	if a.label != "" {
		req.AddData(nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(a.label)))
	}
	life := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Valid: uint32(a.valid), Prefered: uint32(a.preferred)}}
	req.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, life.Serialize()))
	return req
}

func (n *newAddr) apply(handled func()) error {
	n.err = n.ask(handled)
	return n.err
}

func (n *newAddr) ask(handled func()) error {
	err := n.conn.send(n.bytes)
	handled()
	if err != nil {
		return fmt.Errorf("send the request: %w", err)
	}
	errs, err := n.conn.answers(n.seqs)
	if err != nil {
		return err
	}
	for i, e := range errs {
		if e != nil {
			errs[i] = fmt.Errorf("%v: %w", n.addrs[i], refusal(e, n.addrs[i]))
		}
	}
	return errors.Join(errs...)
}

func (n *newAddr) close() { n.free(n.err) }

// refusal adds what to do about the errors that an operator can cause.
func refusal(err error, a netip.Addr) error {
	if a.Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL)) {
		return fmt.Errorf("%w: IPv6 may be disabled on the link (sysctl net.ipv6.conf.<link>.disable_ipv6)", err)
	}
	return permission(err)
}
