package fence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"havip/vip"
)

// wire sends and receives whole frames at the peer's end of the lab.
type wire struct {
	fd   int
	mac  net.HardwareAddr
	node net.HardwareAddr // the other end's
}

func openWire(name string) (*wire, error) {
	l, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Index})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	}
	return &wire{fd: fd, mac: l.HardwareAddr}, errors.Join(err)
}

func (w *wire) close() { _ = unix.Close(w.fd) }

// learn finds the other end's MAC address by asking for the node's own address.
// It also waits until frames get through, and until both families answer: IPv6 does
// from a work queue's turn on.
func (w *wire) learn(t *testing.T) {
	t.Helper()
	node := netip.MustParseAddr("198.51.100.162")
	f := w.insist(t, arpFrame(w.mac, 1, peer4, node), func(f frame) bool { return f.arp(2, node) })
	w.node = net.HardwareAddr(f[6:12])
	for _, a := range []netip.Addr{netip.MustParseAddr("2001:db8::162"), vip6} {
		w.insist(t, neighbourFrame(w.mac, peer6, solicitedNode(a), a, neighbourSolicitation), func(f frame) bool { return f.advertises(a) })
	}
}

// insist asks until there is an answer.
func (w *wire) insist(t *testing.T, question frame, answer func(frame) bool) frame {
	t.Helper()
	for range 800 {
		w.send(t, question)
		if f := w.await(25*time.Millisecond, answer); f != nil {
			return f
		}
	}
	t.Fatalf("the node does not answer %v", question)
	return nil
}

func (w *wire) send(t *testing.T, f frame) {
	t.Helper()
	if _, err := unix.Write(w.fd, f); err != nil {
		t.Fatal(err)
	}
}

// await returns the first frame that is wanted, or nil when limit is over.
func (w *wire) await(limit time.Duration, wanted func(frame) bool) frame {
	end := vip.Now() + limit
	buffer := make([]byte, 2048)
	for left := limit; left > 0; left = end - vip.Now() {
		fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		timeout := unix.NsecToTimespec(int64(left))
		if n, err := unix.Ppoll(fds, &timeout, nil); n == 0 || err != nil {
			continue
		}
		n, err := unix.Read(w.fd, buffer)
		if err == nil && wanted(buffer[:n]) {
			return slices.Clone(buffer[:n])
		}
	}
	return nil
}

// drain forgets what was received and not read.
func (w *wire) drain() {
	buffer := make([]byte, 2048)
	for {
		if _, _, err := unix.Recvfrom(w.fd, buffer, unix.MSG_DONTWAIT); err != nil {
			return
		}
	}
}

// frame is an Ethernet frame.
type frame []byte

var everybody = net.HardwareAddr{255, 255, 255, 255, 255, 255}

func ethernet(dst, src net.HardwareAddr, kind uint16, payload []byte) frame {
	f := slices.Concat(frame(dst), frame(src))
	f = binary.BigEndian.AppendUint16(f, kind)
	return append(f, payload...)
}

// tagged puts a VLAN tag into a frame.
func (f frame) tagged(tag uint16) frame {
	return slices.Concat(f[:12], []byte{0x81, 0, byte(tag >> 8), byte(tag)}, f[12:])
}

func arpFrame(src net.HardwareAddr, operation byte, sender, target netip.Addr) frame {
	b := []byte{0, 1, 8, 0, 6, 4, 0, operation}
	b = slices.Concat(b, src, sender.AsSlice(), make([]byte, 6), target.AsSlice())
	return ethernet(everybody, src, unix.ETH_P_ARP, b)
}

// ipFrame is a packet of either family.
func ipFrame(dst, src net.HardwareAddr, from, to netip.Addr, protocol, hops byte, payload []byte) frame {
	if from.Is4() {
		h := make([]byte, 12, 20)
		h[0], h[8], h[9] = 0x45, hops, protocol
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
		h = slices.Concat(h, from.AsSlice(), to.AsSlice())
		binary.BigEndian.PutUint16(h[10:], checksum(h))
		return ethernet(dst, src, unix.ETH_P_IP, append(h, payload...))
	}
	h := make([]byte, 8, 40)
	h[0], h[6], h[7] = 0x60, protocol, hops
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	return ethernet(dst, src, unix.ETH_P_IPV6, slices.Concat(h, from.AsSlice(), to.AsSlice(), payload))
}

// checksum is that of RFC 1071.
func checksum(parts ...[]byte) uint16 {
	b := slices.Concat(parts...)
	sum := uint32(0)
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// sealed fills in the checksum at an offset of a payload of even length.
func sealed(from, to netip.Addr, protocol byte, at int, payload []byte) []byte {
	pseudo := slices.Concat(from.AsSlice(), to.AsSlice(), []byte{0, byte(len(payload)), 0, protocol})
	if protocol == unix.IPPROTO_ICMP {
		pseudo = nil
	}
	binary.BigEndian.PutUint16(payload[at:], checksum(pseudo, payload))
	return payload
}

func pingFrame(dst, src net.HardwareAddr, from, to netip.Addr, sequence uint16) frame {
	request, protocol := byte(8), byte(unix.IPPROTO_ICMP)
	if to.Is6() {
		request, protocol = 128, unix.IPPROTO_ICMPV6
	}
	b := []byte{request, 0, 0, 0, 0x48, 0x41, byte(sequence >> 8), byte(sequence)}
	return ipFrame(dst, src, from, to, protocol, 64, sealed(from, to, protocol, 2, b))
}

func synFrame(dst, src net.HardwareAddr, from, to netip.Addr, port uint16) frame {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, 20000)
	binary.BigEndian.PutUint16(b[2:], port)
	b[12], b[13] = 0x50, 2
	return ipFrame(dst, src, from, to, unix.IPPROTO_TCP, 64, sealed(from, to, unix.IPPROTO_TCP, 16, b))
}

// neighbourFrame is a solicitation or an advertisement.
func neighbourFrame(src net.HardwareAddr, from, to, target netip.Addr, kind byte) frame {
	b := slices.Concat([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice(), []byte{1, 1}, src)
	t := to.As16()
	group := net.HardwareAddr{0x33, 0x33, t[12], t[13], t[14], t[15]} // RFC 2464 section 7
	return ipFrame(group, src, from, to, unix.IPPROTO_ICMPV6, 255, sealed(from, to, unix.IPPROTO_ICMPV6, 2, b))
}

// solicitedNode is the group that is asked for an address (RFC 4291 section 2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(b[13:], a.AsSlice()[13:])
	return netip.AddrFrom16(b)
}

func (f frame) kind() uint16 { return binary.BigEndian.Uint16(f[12:]) }

// arp reports whether it is an ARP frame with this sender.
func (f frame) arp(operation byte, sender netip.Addr) bool {
	return len(f) >= 42 && f.kind() == unix.ETH_P_ARP && f[21] == operation && string(f[28:32]) == string(sender.AsSlice())
}

// from reports whether it is a packet of an address's, and of a protocol.
func (f frame) from(a netip.Addr, protocol byte) bool {
	if a.Is4() {
		return len(f) >= 34 && f.kind() == unix.ETH_P_IP && f[23] == protocol && string(f[26:30]) == string(a.AsSlice())
	}
	return len(f) >= 54 && f.kind() == unix.ETH_P_IPV6 && f[20] == protocol && string(f[22:38]) == string(a.AsSlice())
}

// advertises reports whether it is a neighbour advertisement for an address.
func (f frame) advertises(a netip.Addr) bool {
	return len(f) >= 78 && f.kind() == unix.ETH_P_IPV6 && f[20] == unix.IPPROTO_ICMPV6 && f[54] == neighbourAdvertisement && string(f[62:78]) == string(a.AsSlice())
}

// mentions reports whether a frame shows that its sender has an address.
func (f frame) mentions(a netip.Addr) bool {
	for _, protocol := range []byte{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6, unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		if f.from(a, protocol) {
			return true
		}
	}
	return f.arp(1, a) || f.arp(2, a) || f.advertises(a)
}

func (f frame) String() string { return fmt.Sprintf("%x", []byte(f)) }
