package cluster

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// askEvery is how often the asker asks the wire who has the address.
	askEvery = 5 * time.Millisecond
	// askRing is how many questions can be told apart, by the address that they
	// ask from: an answer repeats it. A quarter of a second is enough for one.
	askRing  = 50
	askFrom  = 201 // the first of them, in the last byte
	askWaits = 20  // questions until one counts as fully answered
)

// asker is the process that asks the whole wire by ARP (RFC 826) who has the
// address, and notes every MAC that answers. All that two masters answer to one
// and the same question needs no clock to be judged: both have it.
//
// It reads nothing, ends with its stdin, and writes on stdout, one a line:
// "answer AT MAC,MAC" when others answered a question than the one before it,
// "upto AT BY" ten times a second: all until AT is said, and a question was at
// most BY late.
type asker struct {
	vip   netip.Addr
	mac   net.HardwareAddr
	fd    int
	link  int
	out   *bufio.Writer
	asked [askRing]question
	count int    // questions asked
	last  string // what the last fully answered one was answered by
	worst time.Duration
	buf   []byte
}

type question struct {
	at   time.Duration
	macs []string
}

// askerMain runs the asker; its argument is the address, IPv4.
func askerMain() error {
	if len(os.Args) != 2 {
		return errors.New("want one argument: the address to ask for")
	}
	vip, err := netip.ParseAddr(os.Args[1])
	if err != nil || !vip.Is4() {
		return fmt.Errorf("read address: %q is no IPv4 address", os.Args[1])
	}
	runtime.LockOSThread()
	debug.SetGCPercent(1000)
	// As for the sampler.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	a := &asker{vip: vip, out: bufio.NewWriter(os.Stdout), buf: make([]byte, 2048)}
	if err := a.open(); err != nil {
		return err
	}
	return a.run()
}

func (a *asker) open() error {
	link, err := net.InterfaceByName(linkName)
	if err != nil {
		return fmt.Errorf("find link: %w", err)
	}
	a.link, a.mac = link.Index, link.HardwareAddr
	arp := htons(unix.ETH_P_ARP)
	if a.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(arp)); err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	if err := unix.Bind(a.fd, &unix.SockaddrLinklayer{Protocol: arp, Ifindex: a.link}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	return nil
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// run asks and listens until stdin ends.
func (a *asker) run() error {
	next := Now()
	for {
		if now := Now(); now >= next {
			a.worst = max(a.worst, now-next)
			if err := a.ask(now); err != nil {
				return err
			}
			// One that was missed is not made up for: it would say nothing new.
			next = max(next+askEvery, now)
		}
		fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}, {Fd: int32(a.fd), Events: unix.POLLIN}}
		wait := unix.NsecToTimespec(max(0, (next - Now()).Nanoseconds()))
		if _, err := unix.Ppoll(fds, &wait, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for answers: %w", err)
		}
		if fds[0].Revents != 0 {
			return nil // the cluster is gone
		}
		if err := a.listen(); err != nil {
			return err
		}
		if err := a.out.Flush(); err != nil {
			return err
		}
	}
}

// ask settles the question of some time ago and asks the next one.
func (a *asker) ask(now time.Duration) error {
	if a.count >= askWaits {
		a.settle(a.asked[(a.count-askWaits)%askRing])
	}
	slot := a.count % askRing
	a.asked[slot] = question{at: now}
	a.count++
	err := unix.Sendto(a.fd, ARPRequest(a.mac, asking(a.vip, slot), a.vip), 0, &unix.SockaddrLinklayer{Ifindex: a.link})
	if err != nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("ask: %w", err)
	}
	return nil
}

func (a *asker) settle(q question) {
	slices.Sort(q.macs)
	if said := strings.Join(slices.Compact(q.macs), ","); said != a.last {
		a.last = said
		fmt.Fprintf(a.out, "answer %d %s\n", q.at, said)
	}
	if a.count%20 == 0 {
		fmt.Fprintf(a.out, "upto %d %d\n", q.at, a.worst)
		a.worst = 0
	}
}

// listen takes all answers that are there.
func (a *asker) listen() error {
	for {
		n, _, err := unix.Recvfrom(a.fd, a.buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read answers: %w", err)
		}
		if mac, slot, ok := readAnswer(a.buf[:n], a.vip); ok {
			a.asked[slot].macs = append(a.asked[slot].macs, mac.String())
		}
	}
}

// asking is the address that the question of a slot is asked from.
func asking(vip netip.Addr, slot int) netip.Addr {
	b := vip.As4()
	b[3] = byte(askFrom + slot)
	return netip.AddrFrom4(b)
}

const arpSize = 14 + 28 // Ethernet header, ARP for Ethernet and IPv4

// ARPRequest is a broadcast question for target (RFC 826); where that is the
// address it comes from it is gratuitous ARP (RFC 5944, section 4.6).
func ARPRequest(mac net.HardwareAddr, from, target netip.Addr) []byte {
	f := bytes.Repeat([]byte{0xff}, 6)
	f = append(f, mac...)
	f = append(f, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1) // ARP; Ethernet, IPv4, their lengths, request
	f = append(f, mac...)
	f = append(f, from.AsSlice()...)
	f = append(f, make([]byte, 6)...)
	return append(f, target.AsSlice()...)
}

// readAnswer reads a reply for vip to one of the asker's questions.
func readAnswer(f []byte, vip netip.Addr) (mac net.HardwareAddr, slot int, ok bool) {
	if len(f) < arpSize || binary.BigEndian.Uint16(f[12:]) != unix.ETH_P_ARP || binary.BigEndian.Uint16(f[20:]) != 2 {
		return nil, 0, false
	}
	sender, _ := netip.AddrFromSlice(f[28:32])
	slot = int(f[41]) - askFrom
	if sender != vip || slot < 0 || slot >= askRing {
		return nil, 0, false
	}
	return net.HardwareAddr(f[22:28]), slot, true
}
