package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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
	timeout := time.After(patience)
	for {
		select {
		case e := <-events:
			got = append(got, fmt.Sprint(e))
			if fmt.Sprint(e) == want {
				return
			}
		case <-timeout:
			t.Fatalf("no %q within %v, only %q", want, patience, got)
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

// TestWatchLosesNotices: what waited when the kernel began to drop notices is older
// than all that it dropped.
func TestWatchLosesNotices(t *testing.T) {
	l := newLab(t)
	ip(t, "link", "add", "other0", "type", "veth", "peer", "name", "other1")
	t.Cleanup(func() { ip(t, "link", "del", "other0") })
	events := make(chan Event)
	watchInto(t, l.vip(t, vip4), events) // and holds it up until somebody listens
	t.Cleanup(func() {
		go func() {
			for range events {
			}
		}()
	})
	ip(t, "link", "set", "other0", "up")
	ip(t, "-n", l.ns, "link", "set", l.peer, "down")
	eventually(t, "end of the carrier", func() bool { return !l.carrier(t) })
	flood(t, "other0")
	ip(t, "-n", l.ns, "link", "set", l.peer, "up")
	eventually(t, "carrier", func() bool { return l.carrier(t) })

	up, told := false, false
	look := func() {
		for quiet := time.After(time.Second); ; {
			select {
			case e := <-events:
				if c, ok := e.(LinkChanged); ok {
					up = c.Link.Up
				}
				_, added := e.(AddressAdded)
				told = told || added
			case <-quiet:
				return
			}
		}
	}
	eventually(t, "address that was told", func() bool {
		ip(t, "addr", "add", "198.51.100.166/32", "dev", l.node)
		look()
		ip(t, "addr", "del", "198.51.100.166/32", "dev", l.node)
		return told
	})
	if !up {
		t.Error("the link counts as down, which it was before notices were lost")
	}
}

func (l lab) carrier(t *testing.T) bool {
	t.Helper()
	return strings.Contains(ip(t, "addr", "show", "dev", l.node), "LOWER_UP")
}

// flood makes more notices of a link than a socket has room for.
func flood(t *testing.T, link string) {
	t.Helper()
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	x, err := h.LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * noticeBuffer / 256 { // the kernel doubles the room, and a notice takes more than 256 bytes
		if err := h.LinkSetMTU(x, 1400+i%2); err != nil {
			t.Fatal(err)
		}
	}
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
