package vip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// watchInto runs Watch until the test ends.
func watchInto(t *testing.T, v *VIP, events chan<- Event) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	began := make(chan struct{}, 1)
	go func() {
		ended <- v.Watch(ctx, func(e Event) {
			select {
			case began <- struct{}{}:
			default:
			}
			events <- e
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("watch ended with %v", err)
		}
	})
	<-began
}

// expect skips events until one reads as wanted.
func expect(t *testing.T, events <-chan Event, want string) {
	t.Helper()
	var got []string
	timeout := time.After(5 * time.Second)
	for {
		select {
		case e := <-events:
			got = append(got, fmt.Sprint(e))
			if fmt.Sprint(e) == want {
				return
			}
		case <-timeout:
			t.Fatalf("no %q within 5 s, only %q", want, got)
		}
	}
}

func TestWatch(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()...)
	events := make(chan Event, 100)
	watchInto(t, v, events)
	expect(t, events, "link node0: seen")

	link, err := v.Link()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(30, soon()); err != nil {
		t.Fatal(err)
	}
	expect(t, events, fmt.Sprintf("198.51.100.166 added to link %d", link.Index))
	began := Now()
	ip(t, "addr", "del", "198.51.100.166/32", "dev", l.node)
	expect(t, events, fmt.Sprintf("198.51.100.166 deleted from link %d", link.Index))
	t.Logf("deletion told %v after ip was started", Now()-began)
	ip(t, "addr", "add", "198.51.100.166/24", "dev", l.node)
	expect(t, events, fmt.Sprintf("198.51.100.166 added to link %d for ever", link.Index))
	if err := v.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}

	ip(t, "-n", l.ns, "link", "set", l.peer, "down") // the cable is pulled
	expect(t, events, "link node0: down")
	if err := v.Announce(); !errors.Is(err, ErrDown) {
		t.Errorf("announced on a link without carrier: %v", err)
	}
	ip(t, "-n", l.ns, "link", "set", l.peer, "up")
	expect(t, events, "link node0: up")
	ip(t, "link", "set", l.node, "address", "02:00:00:00:00:77")
	expect(t, events, "link node0: new MAC")

	ip(t, "link", "del", l.node)
	expect(t, events, "link node0: gone")
	l.connect(t)
	expect(t, events, "link node0: re-created")
	// Listening goes on on the new link.
	l.claimFromPeer(t, vip4)
	expect(t, events, fmt.Sprintf("198.51.100.166 claimed by %v", l.peerLink(t).MAC))
}

// claimFromPeer announces an address from the peer, as a holder there would.
func (l lab) claimFromPeer(t *testing.T, a netip.Addr) {
	t.Helper()
	l.inPeer(t, func() error {
		v, err := New(Config{Addresses: []netip.Addr{a}, Interface: l.peer})
		if err != nil {
			return err
		}
		return v.Announce()
	})
}

func TestWatchConflict(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()...)
	events := make(chan Event, 100)
	watchInto(t, v, events)
	expect(t, events, "link node0: seen")
	if err := v.Announce(); err != nil {
		t.Fatal(err)
	}
	for _, a := range vips() {
		l.claimFromPeer(t, a)
		expect(t, events, fmt.Sprintf("%v claimed by %v", a, l.peerLink(t).MAC))
	}
}

func TestWatchWithoutLink(t *testing.T) {
	needRoot(t)
	events := make(chan Event, 100)
	l := lab{node: "node0", peer: "peer0", ns: "peer"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.vip(t, vip4).Watch(ctx, func(e Event) { events <- e }) }()
	newLab(t)
	expect(t, events, "link node0: seen")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestAnnounceReachesNeighbour: the neighbour's entry for the VIP follows an
// announcement, though it was updated less than a second ago.
func TestAnnounceReachesNeighbour(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()...)
	if _, err := v.Set(30, soon()); err != nil {
		t.Fatal(err)
	}
	link, err := v.Link()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range vips() {
		// As if another node had held it until now.
		ip(t, "-n", l.ns, "neigh", "replace", a.String(), "lladdr", "02:00:00:00:00:99", "dev", l.peer, "nud", "reachable")
		began := Now()
		if err := v.Announce(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "update at the neighbour", func() bool {
			return strings.Contains(ip(t, "-n", l.ns, "neigh", "show", a.String()), link.MAC.String())
		})
		t.Logf("%v: the neighbour has the new MAC %v after the announcement, read with ip", a, Now()-began)
	}
}

func TestProbe(t *testing.T) {
	l := newLab(t)
	const wait = 100 * time.Millisecond
	for _, tt := range []struct {
		name, peer string
		vip        netip.Addr
	}{
		{"IPv4", "198.51.100.166/32", vip4},
		{"IPv6", "2001:db8::166/128", vip6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := l.vip(t, tt.vip)
			began := time.Now()
			if mac, answered, err := v.Probe(t.Context(), 2, wait); err != nil || answered {
				t.Fatalf("nobody has it: %v, %v, %v", mac, answered, err)
			}
			if took := time.Since(began); took < 2*wait {
				t.Errorf("waited only %v", took)
			}
			ip(t, "-n", l.ns, "addr", "add", tt.peer, "dev", l.peer)
			peer := l.peerLink(t).MAC
			mac, answered, err := mustNew(t, Config{Addresses: vips(), Interface: l.node}).Probe(t.Context(), 20, wait)
			if err != nil || !answered || !bytes.Equal(mac, peer) {
				t.Errorf("held by %v: %v, %v, %v", peer, mac, answered, err)
			}
			ip(t, "-n", l.ns, "addr", "del", tt.peer, "dev", l.peer)
		})
	}
}

// TestProbesMeet: of two nodes that probe at once, at most one goes on. The one
// that was listening when the other asked is answered.
func TestProbesMeet(t *testing.T) {
	l := newLab(t)
	const n, wait = 10, 50 * time.Millisecond
	for _, a := range vips() {
		here := make(chan bool)
		v := l.vip(t, a)
		go func() {
			_, answered, err := v.Probe(t.Context(), n, wait)
			if err != nil {
				t.Errorf("probe here: %v", err)
			}
			here <- answered
		}()
		there := false
		l.inPeer(t, func() error {
			// Not by Probe, whose sockets are opened on threads of their own.
			li, err := system{}.linkByName(l.peer)
			if err != nil {
				return err
			}
			ask, err := question(li.mac, a)
			if err != nil {
				return err
			}
			mac, err := probeOne(t.Context(), li.public(), a, ask, n, wait, listening{own: macSet{string(li.mac): true}, probesCount: true})
			there = mac != nil
			return err
		})
		if h := <-here; !h && !there {
			t.Errorf("%v: both would go on", a)
		}
	}
}

func TestProbeCancelled(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := l.vip(t, vip4).Probe(ctx, 100, time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestResetConnections: clients learn of the end at once, the listener and
// connections to the node's own address live on.
func TestResetConnections(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()...)
	if _, err := v.Set(30, soon()); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "tcp4"} { // dual-stack, and IPv4 only
		t.Run(network, func(t *testing.T) { testReset(t, l, v, network) })
	}
}

func testReset(t *testing.T, l lab, v *VIP, network string) {
	ln, err := net.Listen(network, ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	toVIP := []string{vip4.String()}
	if network == "tcp" {
		toVIP = append(toVIP, vip6.String())
	}
	var clients []net.Conn
	l.inPeer(t, func() error {
		for _, host := range append(toVIP, "198.51.100.162") {
			c, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if err != nil {
				return err
			}
			clients = append(clients, c)
		}
		return nil
	})
	for range clients {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	began := Now()
	n, err := v.ResetConnections(t.Context())
	if err != nil || n != len(toVIP) {
		t.Errorf("%d reset, %v, want %d", n, err, len(toVIP))
	}
	t.Logf("%d reset in %v", n, Now()-began)
	for i, c := range clients {
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err := io.ReadAll(c)
		var timeout net.Error
		alive := errors.As(err, &timeout) && timeout.Timeout()
		if toOwn := i == len(toVIP); alive != toOwn {
			t.Errorf("client %d ended with %v", i, err)
		}
	}
	l.inPeer(t, func() error {
		c, err := net.Dial("tcp", net.JoinHostPort(vip4.String(), port))
		if err != nil {
			return fmt.Errorf("the listener is gone: %w", err)
		}
		return c.Close()
	})
}

// TestResetSparesListener: a socket that ended meanwhile must not lead to the
// listener, which is what the kernel's lookup by address would find.
func TestResetSparesListener(t *testing.T) {
	needRoot(t)
	// Go listens with MPTCP where it can; the fallback is seen with plain TCP.
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	ln, err := plain.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	diag, err := dial(4) // NETLINK_SOCK_DIAG
	if err != nil {
		t.Fatal(err)
	}
	defer diag.close()
	v := mustNew(t, Config{Addresses: []netip.Addr{vip4}})
	v.addrs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	ids, err := v.sockets(diag, 2)
	if err != nil || len(ids) != 2 {
		t.Fatalf("%d sockets, %v", len(ids), err)
	}
	// A reset leaves no TIME_WAIT behind that could be found instead.
	_ = c.(*net.TCPConn).SetLinger(0)
	_, _ = c.Close(), s.Close()
	if n, err := destroy(t.Context(), diag, ids); n != 0 || err != nil {
		t.Errorf("%d destroyed, %v", n, err)
	}
	c, err = net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatalf("the listener is gone: %v", err)
	}
	_ = c.Close()
}

// TestClearResets: Clear itself resets, while the address can still be spoken from.
func TestClearResets(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vip4)
	if _, err := v.Set(30, soon()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	var client net.Conn
	l.inPeer(t, func() (err error) {
		client, err = net.Dial("tcp", net.JoinHostPort(vip4.String(), port))
		return err
	})
	defer client.Close()
	began := Now()
	if err := v.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("cleared in %v", Now()-began)
	_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client was told %v", err)
	}
}

// TestPasses: a neighbour that answers proves that the link passes frames.
func TestPasses(t *testing.T) {
	l := newLab(t)
	const n, wait = 4, 50 * time.Millisecond
	v := l.vip(t, vip4)
	other, silent := netip.MustParseAddr("198.51.100.163"), netip.MustParseAddr("198.51.100.164")
	ip(t, "addr", "replace", "198.51.100.162/24", "dev", l.node)
	if ok, err := v.Passes(t.Context(), []netip.Addr{other, silent}, n, wait); err != nil || ok {
		t.Fatalf("nobody is there: %v, %v", ok, err)
	}
	ip(t, "-n", l.ns, "addr", "add", "198.51.100.163/24", "dev", l.peer)
	if ok, err := v.Passes(t.Context(), []netip.Addr{other, silent}, n, wait); err != nil || !ok {
		t.Errorf("a master answers: %v, %v", ok, err)
	}
	own := []netip.Addr{netip.MustParseAddr("198.51.100.162")}
	if _, err := v.Passes(t.Context(), own, n, wait); err == nil {
		t.Error("asked nobody but itself, and says nothing")
	}
	ip(t, "route", "add", "192.0.2.0/24", "via", "198.51.100.163", "dev", l.node)
	if ok, err := v.Passes(t.Context(), nil, n, wait); err != nil || !ok {
		t.Errorf("the gateway answers: %v, %v", ok, err)
	}
}

// TestReaches: one of several hosts is enough, in either family, and a link-local
// one too, as gateways of IPv6 have.
func TestReaches(t *testing.T) {
	l := newLab(t)
	const n, wait = 2, 50 * time.Millisecond
	v := l.vip(t, vip4)
	there, there6, local := netip.MustParseAddr("198.51.100.20"), netip.MustParseAddr("2001:db8::20"), netip.MustParseAddr("fe80::1")
	gone, gone6, own := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("198.51.100.162")
	ip(t, "-n", l.ns, "addr", "add", "fe80::1/64", "dev", l.peer, "nodad")
	for _, test := range []struct {
		hosts []netip.Addr
		want  bool
	}{
		{[]netip.Addr{there}, true}, {[]netip.Addr{there6}, true}, {[]netip.Addr{local}, true},
		{[]netip.Addr{gone, there}, true}, {[]netip.Addr{gone6, gone, there6}, true}, {[]netip.Addr{own, there}, true},
		{[]netip.Addr{gone}, false}, {[]netip.Addr{gone, gone6}, false}, {[]netip.Addr{own, gone}, false},
	} {
		if ok, link, err := v.Reaches(t.Context(), test.hosts, n, wait); err != nil || ok != test.want || link.Name != l.node {
			t.Errorf("%v: %v on %s, %v", test.hosts, ok, link.Name, err)
		}
	}
	if _, _, err := v.Reaches(t.Context(), []netip.Addr{own}, n, wait); err == nil {
		t.Error("asked nobody but itself, and says nothing")
	}
	ip(t, "-n", l.ns, "link", "set", l.peer, "down")
	eventually(t, "no carrier", func() bool {
		_, _, err := v.Reaches(t.Context(), []netip.Addr{there}, n, wait)
		return errors.Is(err, ErrDown)
	})
}

// TestReachesTakesNoAddressAway: a gateway that boots and is looking whether its
// address is free must not hear from us that it is not.
func TestReachesTakesNoAddressAway(t *testing.T) {
	l := newLab(t)
	l.inPeer(t, func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/"+l.peer+"/accept_dad", []byte("1"), 0)
	})
	v := l.vip(t, vip4)
	booting := netip.MustParseAddr("2001:db8::77")
	state := func() string { return ip(t, "-n", l.ns, "-6", "addr", "show", "dev", l.peer, "to", booting.String()) }
	boot := func() {
		_ = exec.Command("ip", "-n", l.ns, "addr", "del", booting.String()+"/64", "dev", l.peer).Run()
		ip(t, "-n", l.ns, "addr", "add", booting.String()+"/64", "dev", l.peer)
		contains(t, state(), "tentative")
	}

	// What would go wrong: the question that Probe asks.
	boot()
	li, err := v.resolve()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(a netip.Addr) ([]byte, error) { return question(li.mac, a) }
	own := listening{own: macSet{string(li.mac): true}}
	eventually(t, "duplicate", func() bool {
		if _, err := anyAnswers(t.Context(), li.public(), []netip.Addr{booting}, ask, 1, 20*time.Millisecond, own); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(state(), "dadfailed")
	})

	boot()
	eventually(t, "answer", func() bool {
		ok, _, err := v.Reaches(t.Context(), []netip.Addr{booting}, 1, 20*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	})
	if s := state(); strings.Contains(s, "dadfailed") || strings.Contains(s, "tentative") {
		t.Errorf("the gateway's address: %s", s)
	}
}

// TestAskFrom: the VIP asks nobody, and no address of another link does.
func TestAskFrom(t *testing.T) {
	v := &VIP{addrs: vips()}
	at := func(index int, prefix string) addrInfo {
		return addrInfo{index: index, prefix: netip.MustParsePrefix(prefix)}
	}
	mine := []addrInfo{
		at(2, "198.51.100.166/32"), at(3, "198.51.100.9/24"), at(2, "198.51.100.130/25"), at(2, "198.51.100.20/25"),
		at(2, "2001:db8::166/128"), at(2, "2001:db8::162/64"), at(2, "fe80::5/64"),
	}
	for host, want := range map[string]string{
		"198.51.100.1": "198.51.100.20", "198.51.100.200": "198.51.100.130", "203.0.113.1": "198.51.100.130",
		"2001:db8::1": "2001:db8::162", "fe80::1": "fe80::5", "2001:db8:1::1": "2001:db8::162",
	} {
		if got, ok := v.askFrom(Link{Index: 2, Name: "eth0"}, mine, netip.MustParseAddr(host)); !ok || got.String() != want {
			t.Errorf("%s is asked from %v (%v), want %s", host, got, ok, want)
		}
	}
	if got, ok := v.askFrom(Link{Index: 2, Name: "eth0"}, mine[:2], netip.MustParseAddr("198.51.100.1")); ok {
		t.Errorf("asked from %v", got)
	}
}
