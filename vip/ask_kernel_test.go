package vip

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

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
			mac, answered, err := mustNew(t, Config{Addresses: vips(), Interface: l.node}).Probe(t.Context(), 200, wait)
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

// TestPasses: a neighbour that answers proves that the link passes frames.
func TestPasses(t *testing.T) {
	l := newLab(t)
	const n, many, wait = 4, 400, 50 * time.Millisecond // many: until there is an answer
	v := l.vip(t, vip4)
	other, silent := netip.MustParseAddr("198.51.100.163"), netip.MustParseAddr("198.51.100.164")
	ip(t, "addr", "replace", "198.51.100.162/24", "dev", l.node)
	if ok, err := v.Passes(t.Context(), []netip.Addr{other, silent}, n, wait); err != nil || ok {
		t.Fatalf("nobody is there: %v, %v", ok, err)
	}
	ip(t, "-n", l.ns, "addr", "add", "198.51.100.163/24", "dev", l.peer)
	if ok, err := v.Passes(t.Context(), []netip.Addr{other, silent}, many, wait); err != nil || !ok {
		t.Errorf("a master answers: %v, %v", ok, err)
	}
	own := []netip.Addr{netip.MustParseAddr("198.51.100.162")}
	if _, err := v.Passes(t.Context(), own, n, wait); err == nil {
		t.Error("asked nobody but itself, and says nothing")
	}
	ip(t, "route", "add", "192.0.2.0/24", "via", "198.51.100.163", "dev", l.node)
	if ok, err := v.Passes(t.Context(), nil, many, wait); err != nil || !ok {
		t.Errorf("the gateway answers: %v, %v", ok, err)
	}
}

// TestReaches: one of several hosts is enough, in either family, and a link-local
// one too, as gateways of IPv6 have.
func TestReaches(t *testing.T) {
	l := newLab(t)
	const n, many, wait = 2, 400, 50 * time.Millisecond // many: until there is an answer
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
		tries := n
		if test.want {
			tries = many
		}
		if ok, link, err := v.Reaches(t.Context(), test.hosts, tries, wait); err != nil || ok != test.want || link.Name != l.node {
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
