package vip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

// claim is what one frame says about an address: this MAC has it, or this MAC
// asks whether somebody has it.
type claim struct {
	addr  netip.Addr
	mac   net.HardwareAddr // who says so, by the ARP or NDP message
	from  net.HardwareAddr // who sent the frame
	probe bool             // asks before using it (RFC 5227 section 1.1, RFC 4862 section 5.4)
}

// errNoClaim: the frame is fine, or not, but says nothing of this kind.
var errNoClaim = errors.New("frame makes no claim")

const (
	icmpv6       = 58
	ipv6Header   = 40
	ndpHopLimit  = 255 // RFC 4861 section 7.1: proof that no router passed it on
	arpEthernet  = 1
	ethernetAddr = 6
)

var (
	zeroMAC  = make(net.HardwareAddr, ethernetAddr)
	allNodes = netip.MustParseAddr("ff02::1")
)

// arpFrame encodes a broadcast ARP packet.
func arpFrame(op arp.Operation, src net.HardwareAddr, srcIP netip.Addr, dst net.HardwareAddr, dstIP netip.Addr) ([]byte, error) {
	p, err := arp.NewPacket(op, src, srcIP, dst, dstIP)
	if err != nil {
		return nil, fmt.Errorf("encode ARP for %v: %w", dstIP, err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode ARP for %v: %w", dstIP, err)
	}
	return etherFrame(src, ethernet.Broadcast, ethernet.EtherTypeARP, b)
}

// announcement returns the frames that tell the link who has the address. For
// IPv4 these are both forms of gratuitous ARP of RFC 5944 section 4.6: some
// receivers heed only requests, others only replies, and the reply must carry
// the sender as its target.
func announcement(mac net.HardwareAddr, a netip.Addr) ([][]byte, error) {
	if a.Is6() {
		f, err := advertisement(mac, a)
		return [][]byte{f}, err
	}
	req, err := arpFrame(arp.OperationRequest, mac, a, zeroMAC, a)
	if err != nil {
		return nil, err
	}
	rep, err := arpFrame(arp.OperationReply, mac, a, mac, a)
	return [][]byte{req, rep}, err
}

// advertisement is an unsolicited neighbour advertisement with the override
// flag (RFC 4861 section 7.2.6).
func advertisement(mac net.HardwareAddr, a netip.Addr) ([]byte, error) {
	return ndpFrame(mac, a, allNodes, &ndp.NeighborAdvertisement{
		Override:      true,
		TargetAddress: a,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	})
}

// question asks the link whether somebody uses the address, without claiming it:
// an ARP probe (RFC 5227 section 2.1.1) or the solicitation of duplicate address
// detection (RFC 4862 section 5.4.2, from the unspecified address, no option).
func question(mac net.HardwareAddr, a netip.Addr) ([]byte, error) {
	if a.Is4() {
		return arpFrame(arp.OperationRequest, mac, netip.IPv4Unspecified(), zeroMAC, a)
	}
	group, err := ndp.SolicitedNodeMulticast(a)
	if err != nil {
		return nil, fmt.Errorf("encode NS for %v: %w", a, err)
	}
	return ndpFrame(mac, netip.IPv6Unspecified(), group, &ndp.NeighborSolicitation{TargetAddress: a})
}

// inquiry asks for the MAC of a host as a neighbour does who wants to send to it,
// from an address of its own (RFC 826, RFC 4861 section 7.2.2). A question from no
// address would make a host that is just looking whether its address is free give
// it up (RFC 5227 section 2.1.1, RFC 4862 section 5.4.3).
func inquiry(mac net.HardwareAddr, from, a netip.Addr) ([]byte, error) {
	if a.Is4() {
		return arpFrame(arp.OperationRequest, mac, from, zeroMAC, a)
	}
	group, err := ndp.SolicitedNodeMulticast(a)
	if err != nil {
		return nil, fmt.Errorf("encode NS for %v: %w", a, err)
	}
	return ndpFrame(mac, from, group, &ndp.NeighborSolicitation{
		TargetAddress: a,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}},
	})
}

func ndpFrame(mac net.HardwareAddr, src, dst netip.Addr, m ndp.Message) ([]byte, error) {
	body, err := ndp.MarshalMessageChecksum(m, src, dst)
	if err != nil {
		return nil, fmt.Errorf("encode NDP to %v: %w", dst, err)
	}
	b := make([]byte, ipv6Header, ipv6Header+len(body))
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	b[6], b[7] = icmpv6, ndpHopLimit
	copy(b[8:24], src.AsSlice())
	copy(b[24:40], dst.AsSlice())
	return etherFrame(mac, multicastMAC(dst), ethernet.EtherTypeIPv6, append(b, body...))
}

// multicastMAC maps an IPv6 group to its Ethernet address (RFC 2464 section 7).
func multicastMAC(group netip.Addr) net.HardwareAddr {
	g := group.As16()
	return net.HardwareAddr{0x33, 0x33, g[12], g[13], g[14], g[15]}
}

func etherFrame(src, dst net.HardwareAddr, t ethernet.EtherType, payload []byte) ([]byte, error) {
	f := ethernet.Frame{Destination: dst, Source: src, EtherType: t, Payload: payload}
	b, err := f.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode Ethernet frame: %w", err)
	}
	return b, nil
}

// parseClaim reads a frame off the wire. The error is errNoClaim for what is
// well-formed but beside the point.
func parseClaim(frame []byte) (claim, error) {
	var f ethernet.Frame
	if err := f.UnmarshalBinary(frame); err != nil {
		return claim{}, fmt.Errorf("parse Ethernet frame: %w", err)
	}
	var c claim
	var err error
	switch f.EtherType {
	case ethernet.EtherTypeARP:
		c, err = parseARP(f.Payload)
	case ethernet.EtherTypeIPv6:
		c, err = parseNDP(f.Payload)
	default:
		return claim{}, errNoClaim
	}
	if err != nil {
		return claim{}, err
	}
	c.from = bytes.Clone(f.Source)
	if c.mac == nil {
		c.mac = c.from
	}
	return c, nil
}

// parseARP: a sender address is a claim whatever the operation is (RFC 826, RFC
// 5227 section 1.1); without one it is a probe for the target address.
func parseARP(b []byte) (claim, error) {
	var p arp.Packet
	if err := p.UnmarshalBinary(b); err != nil {
		return claim{}, fmt.Errorf("parse ARP: %w", err)
	}
	if p.HardwareType != arpEthernet || p.ProtocolType != uint16(ethernet.EtherTypeIPv4) ||
		p.HardwareAddrLength != ethernetAddr || p.IPLength != 4 {
		return claim{}, fmt.Errorf("parse ARP: not Ethernet and IPv4: %w", errNoClaim)
	}
	c := claim{addr: p.SenderIP, mac: bytes.Clone(p.SenderHardwareAddr)}
	if p.SenderIP.IsUnspecified() {
		if p.Operation != arp.OperationRequest {
			return claim{}, errNoClaim
		}
		c.addr, c.probe = p.TargetIP, true
	}
	return c, nil
}

// parseNDP makes the checks of RFC 4861 sections 7.1.1 and 7.1.2: a packet socket
// gets what the kernel's own receiver would have dropped.
func parseNDP(b []byte) (claim, error) {
	if len(b) < ipv6Header || b[0]>>4 != 6 || b[6] != icmpv6 || b[7] != ndpHopLimit {
		return claim{}, errNoClaim
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if len(b) < ipv6Header+n {
		return claim{}, fmt.Errorf("parse NDP: %d of %d bytes", len(b)-ipv6Header, n)
	}
	src, _ := netip.AddrFromSlice(b[8:24])
	body := b[ipv6Header : ipv6Header+n]
	if checksum(b[8:40], body) != 0 {
		return claim{}, errors.New("parse NDP: wrong checksum")
	}
	m, err := ndp.ParseMessage(body)
	if err != nil {
		return claim{}, fmt.Errorf("parse NDP: %w", err)
	}
	switch m := m.(type) {
	case *ndp.NeighborAdvertisement:
		return claim{addr: m.TargetAddress, mac: targetMAC(m.Options)}, nil
	case *ndp.NeighborSolicitation:
		if src.IsUnspecified() {
			return claim{addr: m.TargetAddress, probe: true}, nil
		}
	}
	return claim{}, errNoClaim
}

// targetMAC may be absent; then the frame's sender stands for it.
func targetMAC(opts []ndp.Option) net.HardwareAddr {
	for _, o := range opts {
		if l, ok := o.(*ndp.LinkLayerAddress); ok && l.Direction == ndp.Target && len(l.Addr) == ethernetAddr {
			return bytes.Clone(l.Addr)
		}
	}
	return nil
}

// checksum is the one of RFC 4443 section 2.3, 0 when body holds a right one.
func checksum(srcDst, body []byte) uint16 {
	sum := uint32(len(body)) + icmpv6
	for _, b := range [][]byte{srcDst, body} {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint32(b[0])<<8 | uint32(b[1])
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
