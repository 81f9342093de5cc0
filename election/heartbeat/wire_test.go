package heartbeat

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for something, on a loaded machine too.
const patience = 20 * time.Second

const testPort = 9478

// station is a wire that runs, and what it heard.
type station struct {
	*Wire
	self  Peer
	heard chan Message
}

func boot() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // exists since Linux 2.6.39
	return time.Duration(t.Nano())
}

func start(t *testing.T, cfg Config, id uint64, addresses ...string) *station {
	t.Helper()
	s := &station{self: Peer{ID: id}, heard: make(chan Message, 100)}
	for _, a := range addresses {
		s.self.Addresses = append(s.self.Addresses, netip.MustParseAddr(a))
	}
	cfg.Port, cfg.Clock, cfg.Life = testPort, boot, strings.Repeat(string(rune('a'+id)), 24)
	cfg.Heard = func(m Message) { s.heard <- m }
	s.Wire = New(cfg)
	s.SetKeys(testKeys())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s
}

// meet makes all know each other.
func meet(all ...*station) {
	for _, s := range all {
		m := Members{Self: s.self}
		for _, o := range all {
			if o != s {
				m.Peers = append(m.Peers, o.self)
			}
		}
		s.SetMembers(m)
	}
}

// says sends until the other heard it: the sockets may not be open yet.
func (s *station) says(t *testing.T, m Message, to *station) Message {
	t.Helper()
	m.To = to.self.ID
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		s.Send(m)
		select {
		case got := <-to.heard:
			return got
		case <-tick.C:
		case <-end:
			t.Fatalf("%+v was not heard; sender %+v, receiver %+v", m, s.Stats(), to.Stats())
		}
	}
}

// until waits for something that Stats shows.
func (s *station) until(t *testing.T, what string, ok func(Stats) bool) Stats {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		st := s.Stats()
		if ok(st) {
			return st
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("no %s: %+v", what, st)
		}
	}
}

// network gives the namespace a link with these addresses.
func network(t *testing.T, addresses ...string) {
	t.Helper()
	needNamespace(t)
	ip(t, "link", "set", "lo", "up")
	ip(t, "link", "add", "d0", "type", "veth", "peer", "name", "d1")
	t.Cleanup(func() { ip(t, "link", "del", "d0") })
	ip(t, "link", "set", "d0", "up")
	ip(t, "link", "set", "d1", "up")
	for _, a := range addresses {
		ip(t, "address", "add", a, "dev", "d0", "nodad")
	}
}

func TestConversation(t *testing.T) {
	for name, two := range map[string][2]string{
		"IPv4": {"198.51.100.1", "198.51.100.2"},
		"IPv6": {"2001:db8::1", "2001:db8::2"},
	} {
		t.Run(name, func(t *testing.T) {
			network(t, two[0], two[1])
			a, b := start(t, Config{}, 1, two[0]), start(t, Config{}, 2, two[1])
			meet(a, b)
			beat := a.says(t, Message{Kind: Beat, Epoch: "e-1", Seq: 7}, b)
			if beat.From != 1 || beat.To != 2 || beat.Epoch != "e-1" || beat.Seq != 7 || beat.Life != strings.Repeat("b", 24) {
				t.Errorf("beat %+v", beat)
			}
			ack := b.says(t, Message{Kind: Ack, Verdict: Denied, Epoch: "e-1", Seq: 7}, a)
			if ack.Kind != Ack || ack.Verdict != Denied || ack.Seq != 7 {
				t.Errorf("ack %+v", ack)
			}
			// It was said until it was heard, so perhaps more than once.
			for beat.Sent != ack.Echo {
				select {
				case beat = <-b.heard:
				case <-time.After(patience):
					t.Fatalf("ack %+v of a beat that was not heard, the last one was %+v", ack, beat)
				}
			}
			if p := a.Stats().Peers[2]; p.RoundTrip <= 0 || p.RoundTrip > patience || p.Acknowledged == 0 || p.Sent[Beat] == 0 || p.Received[Ack] == 0 {
				t.Errorf("counts %+v", p)
			}
		})
	}
}

// TestBothFamilies: a member with two peer URLs is heard at either.
func TestBothFamilies(t *testing.T) {
	network(t, "198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::3")
	a := start(t, Config{}, 1, "198.51.100.1", "2001:db8::1")
	b, c := start(t, Config{}, 2, "198.51.100.2"), start(t, Config{}, 3, "2001:db8::3")
	meet(a, b, c)
	for _, o := range []*station{b, c} {
		a.says(t, Message{Kind: Beat}, o)
		o.says(t, Message{Kind: Ack, Verdict: Promised}, a)
	}
	b.Send(Message{Kind: Challenge, To: 3})
	if p := b.Stats().Peers[3]; p.Unsent != 1 || p.Error != errNoSocket.Error() {
		t.Errorf("between two families: %+v", p)
	}
}

// TestSource: what is sent has the member's own address as its source and the
// class that switches may prefer, though the link has the virtual IP too.
func TestSource(t *testing.T) {
	network(t, "198.51.100.166/32", "198.51.100.1/24", "198.51.100.2/24", "2001:db8::166/128", "2001:db8::1/64", "2001:db8::2/64")
	for _, c := range []struct{ own, to string }{{"198.51.100.1", "198.51.100.2"}, {"2001:db8::1", "2001:db8::2"}} {
		witness, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(c.to), Port: testPort})
		if err != nil {
			t.Fatal(err)
		}
		defer witness.Close()
		raw, err := witness.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
		}); err != nil {
			t.Fatal(err)
		}
		vips := []netip.Addr{netip.MustParseAddr("198.51.100.166"), netip.MustParseAddr("2001:db8::166")}
		s := start(t, Config{Never: vips}, 1, "198.51.100.166", "2001:db8::166", c.own)
		s.SetMembers(Members{Self: s.self, Peers: []Peer{{ID: 2, Addresses: append(vips, netip.MustParseAddr(c.to))}}})
		s.until(t, "socket", func(st Stats) bool { return st.Trouble == "" })
		var n, cn int
		var from netip.AddrPort
		b, control := make([]byte, 2*Size), make([]byte, 100)
		// While a link comes up, IPv6 has moments without a way to its addresses.
		s.until(t, "datagram", func(Stats) bool {
			s.Send(Message{Kind: Beat, To: 2})
			_ = witness.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			n, cn, _, from, err = witness.ReadMsgUDPAddrPort(b, control)
			return err == nil
		})
		if n != Size || from != netip.AddrPortFrom(netip.MustParseAddr(c.own), testPort) {
			t.Errorf("%d bytes from %v, want %d from %s", n, from, Size, c.own)
		}
		messages, err := unix.ParseSocketControlMessage(control[:cn])
		if err != nil || len(messages) != 1 || messages[0].Data[0] != class {
			t.Errorf("class: %v, %v, want %d", messages, err, class)
		}
	}
}

// TestAddressComesLate: at boot the link gets its address after the daemon has started.
func TestAddressComesLate(t *testing.T) {
	network(t, "198.51.100.2")
	a, b := start(t, Config{}, 1, "198.51.100.1"), start(t, Config{}, 2, "198.51.100.2")
	if st := b.until(t, "trouble", func(st Stats) bool { return st.Trouble != "" }); st.Trouble != errNoAddress.Error() {
		t.Errorf("without members: %q", st.Trouble)
	}
	meet(a, b)
	a.until(t, "trouble", func(st Stats) bool {
		return strings.Contains(st.Trouble, "cannot assign requested address: etcd has this address for this node")
	})
	a.Send(Message{Kind: Beat, To: 2})
	if p := a.Stats().Peers[2]; p.Unsent != 1 || p.Error == "" {
		t.Errorf("without a socket: %+v", p)
	}
	ip(t, "address", "add", "198.51.100.1", "dev", "d0")
	a.says(t, Message{Kind: Beat}, b)
	if st := a.Stats(); st.Trouble != "" || st.Peers[2].Error != "" {
		t.Errorf("still in trouble: %q, %q", st.Trouble, st.Peers[2].Error)
	}
}

// TestPortTaken: the trouble says how to find who has the port.
func TestPortTaken(t *testing.T) {
	network(t, "198.51.100.1")
	other, err := net.ListenPacket("udp4", "198.51.100.1:9478")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	a := start(t, Config{}, 1, "198.51.100.1")
	meet(a)
	a.until(t, "trouble", func(st Stats) bool {
		return strings.Contains(st.Trouble, "198.51.100.1:9478: bind: address already in use: something else has the port (ss -lunp)")
	})
}

// TestAddressChanges: a member that was moved to another address is heard there.
func TestAddressChanges(t *testing.T) {
	network(t, "198.51.100.1", "198.51.100.2", "198.51.100.3")
	a, b := start(t, Config{}, 1, "198.51.100.1"), start(t, Config{}, 2, "198.51.100.2")
	meet(a, b)
	a.says(t, Message{Kind: Beat}, b)
	b.self.Addresses = []netip.Addr{netip.MustParseAddr("198.51.100.3")}
	meet(a, b)
	a.says(t, Message{Kind: Beat}, b)
}

// TestRefusedByKernel: what a firewall or a missing route refuses is counted, and
// said.
func TestRefusedByKernel(t *testing.T) {
	network(t, "198.51.100.1")
	a := start(t, Config{}, 1, "198.51.100.1")
	ip(t, "route", "add", "prohibit", "198.51.100.2")
	t.Cleanup(func() { ip(t, "route", "del", "prohibit", "198.51.100.2") })
	a.SetMembers(Members{Self: a.self, Peers: []Peer{{ID: 2, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.2")}}}})
	a.until(t, "refusal", func(Stats) bool {
		a.Send(Message{Kind: Beat, To: 2})
		return strings.Contains(a.Stats().Peers[2].Error, "send to 198.51.100.2:9478: permission denied: this node's own firewall or routes refuse it")
	})
}

func TestInterface(t *testing.T) {
	network(t, "198.51.100.1", "198.51.100.2")
	a, b := start(t, Config{Interface: "lo"}, 1, "198.51.100.1"), start(t, Config{}, 2, "198.51.100.2")
	meet(a, b)
	a.says(t, Message{Kind: Beat}, b) // own addresses are reached by lo
	c := start(t, Config{Interface: "d9"}, 3, "198.51.100.1")
	meet(c)
	c.until(t, "trouble", func(st Stats) bool {
		return strings.Contains(st.Trouble, "bind to link d9: no such device: is election.heartbeat_interface right?")
	})
}

// TestLinkIsMadeAnew: a link of the same name is another one to the kernel.
func TestLinkIsMadeAnew(t *testing.T) {
	network(t, "198.51.100.1/24")
	m := Members{Self: Peer{ID: 1, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1")}},
		Peers: []Peer{{ID: 2, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.9")}}}}
	a := start(t, Config{Interface: "d0"}, 1)
	a.SetMembers(m)
	sends := func() {
		t.Helper()
		before := a.Stats().Peers[2].Sent[Beat]
		a.until(t, "way", func(Stats) bool {
			a.Send(Message{Kind: Beat, To: 2})
			return a.Stats().Peers[2].Sent[Beat] > before
		})
	}
	sends()
	ip(t, "link", "del", "d0")
	a.until(t, "trouble", func(st Stats) bool { return st.Trouble != "" })
	ip(t, "link", "add", "d0", "type", "veth", "peer", "name", "d1")
	ip(t, "link", "set", "d0", "up")
	ip(t, "link", "set", "d1", "up")
	ip(t, "address", "add", "198.51.100.1/24", "dev", "d0")
	sends()
}

// TestSendNeverWaits: a link that takes nothing costs what was sent, not time.
func TestSendNeverWaits(t *testing.T) {
	network(t, "198.51.100.1/24")
	a := start(t, Config{}, 1, "198.51.100.1")
	a.SetMembers(Members{Self: a.self, Peers: []Peer{{ID: 2, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.9")}}}})
	a.until(t, "socket", func(Stats) bool {
		a.Send(Message{Kind: Beat, To: 2})
		return a.Stats().Peers[2].Sent[Beat] > 0
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10000 {
			a.Send(Message{Kind: Beat, To: 2})
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("sending waits")
	}
}

func BenchmarkSend(b *testing.B) {
	a := New(Config{Port: testPort, Clock: boot, Life: "a"})
	a.SetKeys(testKeys())
	home := netip.MustParseAddr("127.0.0.1")
	a.SetMembers(Members{Self: Peer{ID: 1, Addresses: []netip.Addr{home}}, Peers: []Peer{{ID: 2, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.2")}}}})
	if err := exec.Command("ip", "link", "set", "lo", "up").Run(); err != nil {
		b.Fatal(err)
	}
	s, err := a.bind(b.Context(), home)
	if err != nil {
		b.Fatal(err)
	}
	defer s.conn.Close()
	a.setSockets([]*socket{s})
	b.ReportAllocs()
	for b.Loop() {
		a.Send(Message{Kind: Beat, To: 2, Epoch: "4f1c2b3a495867768594a3b2-17"})
	}
	if p := a.Stats().Peers[2]; p.Unsent > 0 {
		b.Fatal(p.Error)
	}
}
