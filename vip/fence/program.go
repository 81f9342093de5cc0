package fence

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Open again is a fence that nobody tended for so long after its deadline. What a
// crash, a downgrade or a purge leaves on a link must not mute the address for
// ever: tc(8) does not even show it. By then there is nothing to fence any more,
// since no address of havip's lives longer than the 60 s of the longest takeover
// time, and 1.3 s of lateness.
const forgotten = 90 * time.Second

// Verdicts of a program at a tcx hook (enum tcx_action_base, linux/bpf.h), and of a
// filter that decides by itself (linux/pkt_cls.h).
const (
	next = -1 // TCX_NEXT, TC_ACT_UNSPEC: whoever comes after us decides
	drop = 2  // TCX_DROP, TC_ACT_SHOT
)

// Helpers by their numbers (enum bpf_func_id, linux/bpf.h).
const (
	helperLoadBytes = 26  // bpf_skb_load_bytes: copes with packets in pieces, fails on short ones
	helperBootTime  = 125 // bpf_ktime_get_boot_ns
)

// Where struct __sk_buff (linux/bpf.h) has what.
const (
	skbProtocol    = 16
	skbVLANPresent = 20
	skbVLANTag     = 24
)

const vlanID = 0xfff // of a VLAN tag, the rest is priority (IEEE 802.1Q)

// Where a frame has what, counted from the beginning of its Ethernet header.
const (
	network = 14 // the header after it

	arpOperation = network + 6 // RFC 826, for Ethernet and IPv4
	arpSender    = network + 14
	arpTarget    = network + 24
	arpRequest   = 1

	ip4Source      = network + 12 // RFC 791
	ip4Destination = network + 16

	ip6Next        = network + 6 // RFC 8200
	ip6Source      = network + 8
	ip6Destination = network + 24
	icmp6          = network + 40
	icmp6Target    = icmp6 + 8 // of neighbour solicitation and advertisement (RFC 4861)

	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
)

// program is the fence of one address in one direction; until is the descriptor
// of the map with its deadline.
//
// It first looks whether a frame is about the address, and reads the clock only
// then: of all that passes a master's link, most is not.
func (d direction) program(a netip.Addr, until int) []byte {
	c := newCode()
	c.register(setRegister, r6, r1)
	// A frame of a VLAN is another link's, which sees it without its tag. One
	// that has a priority and no VLAN is this link's own.
	c.load(loadWord, r1, r6, skbVLANPresent)
	c.jump(jumpEqual, r1, 0, 0, "untagged")
	c.load(loadWord, r1, r6, skbVLANTag)
	c.constant(andConstant, r1, vlanID)
	c.jump(jumpNotEqual, r1, 0, 0, "pass")
	c.label("untagged")
	c.load(loadWord, r7, r6, skbProtocol)
	if a.Is4() {
		d.filter4(c, a)
	} else {
		d.filter6(c, a)
	}

	c.label("fenced")
	c.call(helperBootTime)
	c.mapMemory(r1, until)
	c.load(loadLong, r1, r1, 0)
	// Before the deadline the difference is below zero, and as unsigned as it is
	// here it is huge.
	c.register(subRegister, r0, r1)
	c.long(r1, uint64(forgotten))
	c.jump(jumpAtLeast, r0, r1, 0, "pass")
	c.exit(drop)
	c.label("pass")
	c.exit(next)
	return c.link()
}

// filter4 goes to "fenced" with what is about an IPv4 address.
func (d direction) filter4(c *code, a netip.Addr) {
	address := int32(binary.NativeEndian.Uint32(a.AsSlice()))
	field, arp := int16(ip4Destination), int16(arpTarget)
	if d == outward {
		field, arp = ip4Source, arpSender
	}
	c.jump(jumpEqual, r7, 0, wire16(unix.ETH_P_IP), "ip")
	c.jump(jumpNotEqual, r7, 0, wire16(unix.ETH_P_ARP), "pass")

	c.copy(arp, 4)
	c.load(loadWord, r1, r10, -4)
	c.jump(jumpNotEqual, r1, 0, address, "pass")
	if d == inward {
		// Only who asks for the address is kept out. Where it is now is told by
		// requests and replies from itself to itself, and this node wants to know.
		const size = arpSender + 4 - arpOperation
		c.copy(arpOperation, size)
		c.load(loadByte, r1, r10, -size+1)
		c.jump(jumpNotEqual, r1, 0, arpRequest, "pass")
		c.load(loadWord, r1, r10, -4)
		c.jump(jumpEqual, r1, 0, address, "pass")
	}
	c.jump(jumpAlways, 0, 0, 0, "fenced")

	c.label("ip")
	c.copy(field, 4)
	c.load(loadWord, r1, r10, -4)
	c.jump(jumpNotEqual, r1, 0, address, "pass")
}

// filter6 goes to "fenced" with what is about an IPv6 address.
//
// A neighbour solicitation or advertisement behind an extension header is not
// found in here, but what answers it on the way out is: the kernel puts none.
func (d direction) filter6(c *code, a netip.Addr) {
	b := a.As16()
	c.long(r8, binary.NativeEndian.Uint64(b[:8]))
	c.long(r9, binary.NativeEndian.Uint64(b[8:]))
	field, message := int16(ip6Destination), int32(neighbourSolicitation)
	if d == outward {
		field, message = ip6Source, neighbourAdvertisement
	}
	c.jump(jumpNotEqual, r7, 0, wire16(unix.ETH_P_IPV6), "pass")

	const header = icmp6 - network
	c.copy(network, header)
	at := field - network - header
	c.load(loadLong, r1, r10, at)
	c.jump(jumpDifferent, r1, r8, 0, "other")
	c.load(loadLong, r1, r10, at+8)
	c.jump(jumpDifferent, r1, r9, 0, "other")
	c.jump(jumpAlways, 0, 0, 0, "fenced")

	c.label("other")
	c.load(loadByte, r1, r10, ip6Next-network-header)
	c.jump(jumpNotEqual, r1, 0, unix.IPPROTO_ICMPV6, "pass")
	const size = icmp6Target + 16 - icmp6
	c.copy(icmp6, size)
	c.load(loadByte, r1, r10, -size)
	c.jump(jumpNotEqual, r1, 0, message, "pass")
	c.load(loadLong, r1, r10, -16)
	c.jump(jumpDifferent, r1, r8, 0, "pass")
	c.load(loadLong, r1, r10, -8)
	c.jump(jumpDifferent, r1, r9, 0, "pass")
}

// wire16 is how a number in network byte order looks to a program that reads it
// as its own.
func wire16(n uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)))
}

// copy brings bytes of the frame to the end of the stack; a frame that is too
// short passes, as it means nothing to the kernel either.
func (c *code) copy(from int16, size int32) {
	c.register(setRegister, r1, r6)
	c.constant(setConstant, r2, int32(from))
	c.register(setRegister, r3, r10)
	c.constant(addConstant, r3, -size)
	c.constant(setConstant, r4, size)
	c.call(helperLoadBytes)
	c.jump(jumpNotEqual, r0, 0, 0, "pass")
}
