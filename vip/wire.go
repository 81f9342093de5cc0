package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// sendTimeout bounds one frame; a link's queue does not stand still for longer
// while the link is up.
const sendTimeout = time.Second

// sendOnly as a packet socket's protocol receives nothing.
const sendOnly = 0

// wire is a packet socket on one link.
type wire struct {
	*packet.Conn
	group int // socket that keeps the link in the solicited-node group, or -1
}

// send puts whole frames on the link.
func (w *wire) send(frames ...[]byte) error {
	if err := w.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	for _, f := range frames {
		dst := net.HardwareAddr(f[:ethernetAddr])
		if _, err := w.WriteTo(f, &packet.Addr{HardwareAddr: dst}); err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) Close() error {
	if w.group >= 0 {
		_ = unix.Close(w.group)
	}
	return w.Conn.Close()
}

// openSender opens a socket that only sends.
func openSender(l Link) (*wire, error) { return openWire(l, sendOnly, nil) }

// openListener opens a socket that gets only the frames that may speak of a, so
// that a busy link does not wake the daemon.
func openListener(l Link, a netip.Addr) (*wire, error) {
	filter, err := filterFor(a)
	if err != nil {
		return nil, fmt.Errorf("assemble the filter for %v: %w", a, err)
	}
	proto := int(ethernet.EtherTypeARP)
	if a.Is6() {
		proto = int(ethernet.EtherTypeIPv6)
	}
	w, err := openWire(l, proto, filter)
	if err != nil || a.Is4() {
		return w, err
	}
	if w.group, err = joinSolicitedNode(l.Index, a); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("join the solicited-node group of %v on %s: %w", a, l.Name, err)
	}
	return w, nil
}

func openWire(l Link, proto int, filter []bpf.RawInstruction) (*wire, error) {
	if l.MAC == nil {
		return nil, fmt.Errorf("open packet socket on %s: the link has no Ethernet address", l.Name)
	}
	ifi := &net.Interface{Index: l.Index, Name: l.Name, HardwareAddr: l.MAC}
	c, err := packet.Listen(ifi, packet.Raw, proto, &packet.Config{Filter: filter})
	if err != nil {
		if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
			err = os.ErrNotExist
		}
		return nil, fmt.Errorf("open packet socket on %s: %w", l.Name, permission(err))
	}
	return &wire{Conn: c, group: -1}, nil
}

// joinSolicitedNode makes network card and switch pass the group's frames: a
// node that does not carry the address has not joined it.
func joinSolicitedNode(index int, a netip.Addr) (int, error) {
	group, err := ndp.SolicitedNodeMulticast(a)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	m := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)}
	if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, m); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// maxFrame is enough for every ARP and NDP message that matters here.
const maxFrame = 2048

// read returns the next claim of address a. Frames that are none are skipped:
// anybody on the link can send them.
func (w *wire) read(a netip.Addr) (claim, error) {
	buf := make([]byte, maxFrame)
	for {
		n, _, err := w.ReadFrom(buf)
		if errors.Is(err, unix.ENETDOWN) {
			// Said once when the link goes down; the socket works again when it is up.
			continue
		}
		if err != nil {
			return claim{}, err
		}
		if c, err := parseClaim(buf[:n]); err == nil && c.addr == a {
			return c, nil
		}
	}
}

// Offsets in a frame without VLAN tag; the kernel takes the tag out before.
const (
	offSenderIP = 14 + 14
	offTargetIP = 14 + 24
	offNextHdr  = 14 + 6
	offICMPType = 14 + ipv6Header
	offNDTarget = 14 + ipv6Header + 8
)

// filterFor passes ARP from a or probing for a, and neighbour solicitations and
// advertisements for a.
func filterFor(a netip.Addr) ([]bpf.RawInstruction, error) {
	if a.Is4() {
		ip := binary.BigEndian.Uint32(a.AsSlice())
		return bpf.Assemble([]bpf.Instruction{
			bpf.LoadAbsolute{Off: offSenderIP, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: ip, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 3},
			bpf.LoadAbsolute{Off: offTargetIP, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ip, SkipTrue: 1},
			bpf.RetConstant{Val: maxFrame},
			bpf.RetConstant{Val: 0},
		})
	}
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offNextHdr, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6, SkipTrue: 11},
		bpf.LoadAbsolute{Off: offICMPType, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 135, SkipTrue: 9},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: 136, SkipTrue: 8},
	}
	b := a.As16()
	for i := range 4 {
		prog = append(prog,
			bpf.LoadAbsolute{Off: uint32(offNDTarget + 4*i), Size: 4},
			// The rejecting return is behind the words still to come and the
			// accepting one.
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(b[4*i:]), SkipTrue: uint8(2*(3-i) + 1)})
	}
	return bpf.Assemble(append(prog, bpf.RetConstant{Val: maxFrame}, bpf.RetConstant{Val: 0}))
}
