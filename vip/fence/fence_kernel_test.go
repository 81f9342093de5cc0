package fence

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"havip/vip"
)

// answered is how long a test waits for an answer that should come, and silent
// how long for one that should not.
const (
	answered = 20 * time.Second
	silent   = 50 * time.Millisecond
)

// question is something that a neighbour sends, and the answer to it.
type question struct {
	name   string
	ask    func(*wire) frame
	answer func(frame) bool
}

// questions are all the ways in which the tests look whether a node has the VIP.
func questions() []question {
	ping := func(from, to netip.Addr, protocol byte) question {
		return question{"ping " + to.String(),
			func(w *wire) frame { return pingFrame(w.node, w.mac, from, to, 1) },
			func(f frame) bool { return f.from(to, protocol) }}
	}
	syn := func(from, to netip.Addr) question {
		return question{"TCP " + to.String(),
			func(w *wire) frame { return synFrame(w.node, w.mac, from, to, 9) },
			func(f frame) bool { return f.from(to, unix.IPPROTO_TCP) }} // a reset is an answer
	}
	return []question{
		{"ARP", func(w *wire) frame { return arpFrame(w.mac, 1, peer4, vip4) }, func(f frame) bool { return f.arp(2, vip4) }},
		{"ARP probe", func(w *wire) frame { return arpFrame(w.mac, 1, netip.IPv4Unspecified(), vip4) }, func(f frame) bool { return f.arp(2, vip4) }},
		{"neighbour solicitation", func(w *wire) frame {
			return neighbourFrame(w.mac, peer6, solicitedNode(vip6), vip6, neighbourSolicitation)
		}, func(f frame) bool { return f.advertises(vip6) }},
		{"duplicate address detection", func(w *wire) frame {
			f := neighbourFrame(w.mac, netip.IPv6Unspecified(), solicitedNode(vip6), vip6, neighbourSolicitation)
			return ipFrame(net.HardwareAddr(f[:6]), w.mac, netip.IPv6Unspecified(), solicitedNode(vip6), unix.IPPROTO_ICMPV6, 255,
				sealed(netip.IPv6Unspecified(), solicitedNode(vip6), unix.IPPROTO_ICMPV6, 2, slices.Concat([]byte{135, 0, 0, 0, 0, 0, 0, 0}, vip6.AsSlice())))
		}, func(f frame) bool { return f.advertises(vip6) }},
		ping(peer4, vip4, unix.IPPROTO_ICMP), ping(peer6, vip6, unix.IPPROTO_ICMPV6),
		syn(peer4, vip4), syn(peer6, vip6),
		{"ping of priority 5 without a VLAN", func(w *wire) frame { return pingFrame(w.node, w.mac, peer4, vip4, 1).tagged(5 << 13) },
			func(f frame) bool { return f.from(vip4, unix.IPPROTO_ICMP) }},
	}
}

// answers reports whether the node answers a question.
func (l *lab) answers(t *testing.T, q question, limit time.Duration) bool {
	t.Helper()
	l.wire.drain()
	l.wire.send(t, q.ask(l.wire))
	return l.wire.await(limit, q.answer) != nil
}

// expect asks everything.
func (l *lab) expect(t *testing.T, when string, want bool) {
	t.Helper()
	limit := silent
	if want {
		limit = answered
	}
	for _, q := range questions() {
		if got := l.answers(t, q, limit); got != want {
			t.Errorf("%s, %s: answered %v, want %v", when, q.name, got, want)
		}
	}
}

func TestFence(t *testing.T) {
	l := newLab(t)
	l.expect(t, "without a fence", true)
	f := l.open(t, 0)
	l.expect(t, "a fresh one that has the deadline 0", false)
	f.Set(long())
	l.expect(t, "before the deadline", true)
	f.Set(vip.Now() - time.Second)
	l.expect(t, "after the deadline", false)
	f.Set(0)
	l.expect(t, "closed", false)
	if err := f.Attach(l.link); err != nil {
		t.Errorf("attach again: %v", err)
	}
	l.expect(t, "attached again", false)
	own := question{ask: func(w *wire) frame { return pingFrame(w.node, w.mac, peer4, netip.MustParseAddr("198.51.100.162"), 1) },
		answer: func(f frame) bool { return f.from(netip.MustParseAddr("198.51.100.162"), unix.IPPROTO_ICMP) }}
	if !l.answers(t, own, answered) {
		t.Error("the node's own address is fenced too")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l.expect(t, "taken away", true)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was kept is left: %v", err)
	}
	for _, d := range []direction{inward, outward} {
		if ids := l.programs(t, d); len(ids) != 0 {
			t.Errorf("%sward: programs %v are left", d.name, ids)
		}
	}
}

// TestClosesOutward: what the node sends by itself does not get out either.
func TestClosesOutward(t *testing.T) {
	l := newLab(t)
	f := l.open(t, long())
	node, err := openWire(nodeName)
	if err != nil {
		t.Fatal(err)
	}
	defer node.close()
	for name, sent := range map[string]frame{
		"ARP request":              arpFrame(node.mac, 1, vip4, peer4),
		"announcement, a request":  arpFrame(node.mac, 1, vip4, vip4),
		"announcement, a reply":    arpFrame(node.mac, 2, vip4, vip4),
		"neighbour advertisement":  neighbourFrame(node.mac, netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1"), vip6, neighbourAdvertisement),
		"solicitation by the VIP":  neighbourFrame(node.mac, vip6, solicitedNode(peer6), peer6, neighbourSolicitation),
		"packet of the IPv4 VIP":   pingFrame(l.wire.mac, node.mac, vip4, peer4, 1),
		"packet of the IPv6 VIP":   pingFrame(l.wire.mac, node.mac, vip6, peer6, 1),
		"short packet of the VIP":  ipFrame(l.wire.mac, node.mac, vip4, peer4, unix.IPPROTO_UDP, 1, nil),
		"packet with much in it":   ipFrame(l.wire.mac, node.mac, vip4, peer4, unix.IPPROTO_UDP, 1, make([]byte, 1400)),
		"segment of the IPv6 VIP":  synFrame(l.wire.mac, node.mac, vip6, peer6, 9),
		"advertisement by the VIP": neighbourFrame(node.mac, vip6, netip.MustParseAddr("ff02::1"), vip6, neighbourAdvertisement),
	} {
		mine := func(f frame) bool { return string(f) == string(sent) }
		f.Set(long())
		l.wire.drain()
		node.send(t, sent)
		if l.wire.await(answered, mine) == nil {
			t.Errorf("%s: did not get out before the deadline", name)
		}
		f.Set(0)
		// The kernel tells the sender of what is dropped on the way out.
		if _, err := unix.Write(node.fd, sent); !errors.Is(err, unix.ENOBUFS) {
			t.Errorf("%s: sent after the deadline: %v", name, err)
		}
		if l.wire.await(silent, mine) != nil {
			t.Errorf("%s: got out after the deadline", name)
		}
	}
}

// TestTold: a node that is fenced still learns who has the address.
func TestTold(t *testing.T) {
	l := newLab(t)
	ip(t, "addr", "del", vip4.String()+"/32", "dev", nodeName)
	l.open(t, 0)
	ip(t, "neigh", "replace", vip4.String(), "lladdr", "02:00:00:00:00:01", "dev", nodeName, "nud", "stale")
	for _, operation := range []byte{1, 2} {
		mac := net.HardwareAddr{2, 0, 0, 0, 1, operation}
		f := arpFrame(mac, operation, vip4, vip4)
		copy(f[32:], mac) // a reply to itself, see vip's doc.go, fact 9
		l.wire.send(t, f)
		eventually(t, fmt.Sprintf("neighbour entry after operation %d", operation), func() bool {
			out, err := exec.Command("ip", "neigh", "show", vip4.String()).CombinedOutput()
			return err == nil && strings.Contains(string(out), mac.String())
		})
	}
}

// TestPrecision: what is sent at or after the deadline is never answered; how
// long before it the last answered question was sent is noise of the sender's.
func TestPrecision(t *testing.T) {
	l := newLab(t)
	f := l.open(t, 0)
	const rounds = 40
	var last, arrived []time.Duration
	for range rounds {
		deadline := vip.Now() + 30*time.Millisecond
		f.Set(deadline)
		sent, got := l.stream(t, deadline+15*time.Millisecond)
		if sent >= deadline {
			t.Errorf("an answer to what was sent %v after the deadline", sent-deadline)
		}
		last, arrived = append(last, sent-deadline), append(arrived, got-deadline)
	}
	slices.Sort(last)
	slices.Sort(arrived)
	t.Logf("last answered question sent, from the deadline: %v", spread(last))
	t.Logf("last answer received, from the deadline: %v", spread(arrived))
}

// stream pings every millisecond until end, and returns when the last ping that
// was answered was sent, and when its answer came.
func (l *lab) stream(t *testing.T, end time.Duration) (sent, got time.Duration) {
	t.Helper()
	l.wire.drain()
	for n := uint16(1); vip.Now() < end; n++ {
		q := pingFrame(l.wire.node, l.wire.mac, peer4, vip4, n)
		at := vip.Now()
		l.wire.send(t, q)
		if l.wire.await(time.Millisecond, func(f frame) bool {
			return f.from(vip4, unix.IPPROTO_ICMP) && string(f[40:42]) == string(q[40:42])
		}) != nil {
			sent, got = at, vip.Now()
			if rest := time.Millisecond - (got - at); rest > 0 {
				l.wire.await(rest, func(frame) bool { return false })
			}
		}
	}
	return sent, got
}

func spread(d []time.Duration) string {
	return fmt.Sprintf("min %v, median %v, p90 %v, max %v, n=%d", d[0], d[len(d)/2], d[len(d)*9/10], d[len(d)-1], len(d))
}

// TestRetransmission: an established connection of the VIP's that sends again and
// again, and must look for its peer, shows nobody that the address is here.
func TestRetransmission(t *testing.T) {
	for _, a := range both {
		t.Run(a.String(), func(t *testing.T) {
			l := newLab(t)
			f := l.open(t, long())
			ln, err := net.Listen("tcp", net.JoinHostPort(a.String(), "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			var client net.Conn
			inPeer(t, func() (err error) {
				client, err = net.Dial("tcp", ln.Addr().String())
				return err
			})
			defer client.Close()
			server, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			f.Set(0)
			ip(t, "neigh", "flush", "dev", nodeName)
			l.wire.drain()
			if _, err := server.Write([]byte("are you there?")); err != nil {
				t.Fatal(err)
			}
			// The first retransmission comes after 200 ms, the second 400 ms later.
			if f := l.wire.await(time.Second, func(f frame) bool { return f.mentions(a) }); f != nil {
				t.Errorf("%v", f)
			}
			f.Set(long())
			if l.wire.await(answered, func(f frame) bool { return f.from(a, unix.IPPROTO_TCP) }) == nil {
				t.Error("nothing was sent again after the fence was open: this test shows nothing")
			}
		})
	}
}

// eventually polls the kernel, which tells nobody when it is done.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(answered)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %s within %v", what, answered)
		}
	}
}
