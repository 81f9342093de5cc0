package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The tests in this file repeat, on a real kernel, the facts of doc.go.

func TestLifecycleKernel(t *testing.T) {
	l := newLab(t)
	lifecycle(t, l.vip(t, vips()...), soon)
}

func TestSetShape(t *testing.T) {
	l := newLab(t)
	if _, err := l.vip(t, vips()...).Set(9, soon()); err != nil {
		t.Fatal(err)
	}
	got := ip(t, "addr", "show", "dev", l.node)
	contains(t, got,
		"inet 198.51.100.166/32 scope global dynamic node0:havip",
		"inet6 2001:db8::166/128 scope global nodad deprecated dynamic noprefixroute")
	if strings.Contains(got, "brd 198") {
		t.Errorf("a broadcast address was filled in:\n%s", got)
	}
	four, node := strings.Index(got, "198.51.100.166"), strings.Index(got, nodeAddr)
	if four < node {
		t.Errorf("the VIP comes before the node's own address:\n%s", got)
	}
	if routes := ip(t, "route"); strings.Contains(routes, "198.51.100.166") {
		t.Errorf("the VIP made a route:\n%s", routes)
	}
}

// TestRefreshNeverDrops: a watcher sees 20 refreshes and no removal.
func TestRefreshNeverDrops(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()...)
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	var took []time.Duration
	for range 20 {
		began := Now()
		done, err := v.Set(2, soon())
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, done-began)
	}
	added := 0
	for added < 40 {
		msgs, _, err := sock.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range msgs {
			n, ok := parseNotice(m)
			switch {
			case !ok || !v.owns(n.addr.addr):
			case n.addr.gone:
				t.Fatalf("%v was removed by a refresh", n.addr.addr)
			default:
				added++
			}
		}
	}
	t.Logf("from call to done: %v", took)
}

// TestLifetimeEnds: the kernel removes what nobody refreshes.
func TestLifetimeEnds(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()...)
	events := make(chan Event, 100)
	watchInto(t, v, events)
	done, err := v.Set(1, soon())
	if err != nil {
		t.Fatal(err)
	}
	gone := make(map[netip.Addr]time.Duration)
	for len(gone) < 2 {
		if d, ok := (<-events).(AddressDeleted); ok {
			gone[d.Addr] = Now() - done
		}
	}
	for a, after := range gone {
		// The kernel may fire 20 ms early, and 1.3 s late at worst.
		if after < 970*time.Millisecond || after > 2400*time.Millisecond {
			t.Errorf("%v went after %v, its lifetime was 1 s", a, after)
		}
		t.Logf("%v went after %v", a, after)
	}
}

func TestSetFindsPermanent(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vip4)
	ip(t, "addr", "add", "198.51.100.166/24", "dev", "lo")
	t.Cleanup(func() { _ = exec.Command("ip", "addr", "flush", "dev", "lo", "scope", "global").Run() })
	if _, err := v.Set(2, soon()); !errors.Is(err, ErrPermanent) {
		t.Fatalf("error %v", err)
	} else {
		contains(t, err.Error(), "198.51.100.166/24 on lo (permanent)")
	}
	if _, err := v.Set(2, soon()); err != nil {
		t.Errorf("after its removal: %v", err)
	}
	// By hand, on our own address: a refresh makes it mortal again.
	ip(t, "addr", "change", "198.51.100.166/32", "dev", l.node)
	if _, err := v.Set(2, soon()); err != nil {
		t.Errorf("made permanent by hand: %v", err)
	}
}

func TestSetNamesTheCause(t *testing.T) {
	l := newLab(t)
	if _, err := mustNew(t, Config{Addresses: vips(), Interface: "nosuch0"}).Set(2, soon()); err == nil {
		t.Error("set on a link that is not there")
	} else {
		contains(t, err.Error(), "198.51.100.166", `"nosuch0"`, "no such interface", l.node)
	}
	off := fmt.Sprintf("net.ipv6.conf.%s.disable_ipv6=1", l.node)
	if out, err := exec.Command("sysctl", "-qw", off).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if _, err := l.vip(t, vips()...).Set(2, soon()); err == nil {
		t.Error("set IPv6 where it is disabled")
	} else {
		contains(t, err.Error(), "2001:db8::166", "disable_ipv6")
	}
}

// TestSourceAddress: the node must go on speaking from its own addresses.
func TestSourceAddress(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()...)
	ip(t, "route", "add", "default", "via", "198.51.100.1")
	ip(t, "-6", "route", "add", "default", "via", "2001:db8::1")
	check := func(when, dst, want string) {
		t.Helper()
		if got := ip(t, "route", "get", dst); !strings.Contains(got, "src "+want+" ") {
			t.Errorf("%s, to %s: %swant from %s", when, dst, got, want)
		}
	}
	set := func() {
		t.Helper()
		if _, err := v.Set(30, soon()); err != nil {
			t.Fatal(err)
		}
	}
	everywhere := func(when string) {
		t.Helper()
		for _, dst := range []string{"198.51.100.20", "198.51.100.167", "203.0.113.9"} {
			check(when, dst, "198.51.100.162")
		}
		for _, dst := range []string{"2001:db8::20", "2001:db8::167", "2001:db8:1::9"} {
			check(when, dst, "2001:db8::162")
		}
	}
	set()
	everywhere("own address first")
	check("to itself", "198.51.100.166", "198.51.100.166")
	ip(t, "route", "replace", "default", "dev", l.node)
	check("own first, default route without gateway", "203.0.113.9", "198.51.100.162")

	// As after a DHCP client replaced the node's address: the VIP is older.
	ip(t, "addr", "flush", "dev", l.node)
	set()
	ip(t, "addr", "add", nodeAddr, "dev", l.node)
	ip(t, "addr", "add", nodeAddr6, "dev", l.node, "nodad")
	ip(t, "route", "replace", "default", "via", "198.51.100.1")
	ip(t, "-6", "route", "replace", "default", "via", "2001:db8::1")
	everywhere("VIP first")
	link, err := v.Link()
	if err != nil {
		t.Fatal(err)
	}
	contains(t, strings.Join(link.Warnings, "\n"), "comes before the node's own address")

	// What cannot be avoided, and is warned of.
	ip(t, "route", "replace", "default", "dev", l.node)
	check("VIP first, default route without gateway", "203.0.113.9", "198.51.100.166")
}

// TestDeprecatedMatters: without it the VIP would be the source for everything.
func TestDeprecatedMatters(t *testing.T) {
	l := newLab(t)
	ip(t, "addr", "add", "2001:db8::166/128", "dev", l.node, "nodad", "noprefixroute", "valid_lft", "30", "preferred_lft", "30")
	contains(t, ip(t, "route", "get", "2001:db8::167"), "src 2001:db8::166")
	if _, err := l.vip(t, vip6).Set(30, soon()); err != nil {
		t.Fatal(err)
	}
	contains(t, ip(t, "route", "get", "2001:db8::167"), "src 2001:db8::162")
}

func TestAutoAndMAC(t *testing.T) {
	l := newLab(t)
	byName, err := l.vip(t, vip4).Link()
	if err != nil {
		t.Fatal(err)
	}
	if !byName.Up || len(byName.Warnings) > 0 {
		t.Errorf("link %+v", byName)
	}
	for _, iface := range []string{Auto, byName.MAC.String()} {
		for _, a := range vips() {
			v := mustNew(t, Config{Addresses: []netip.Addr{a}, Interface: iface})
			for range 2 { // the second time, the VIP is on the node
				link, err := v.Link()
				if err != nil || link.Name != l.node {
					t.Errorf("%s for %v: %q, %v", iface, a, link.Name, err)
				}
				if _, err := v.Set(5, soon()); err != nil {
					t.Error(err)
				}
			}
			// A restarted daemon has not chosen a link yet.
			link, err := mustNew(t, Config{Addresses: []netip.Addr{a}, Interface: iface}).Link()
			if err != nil || link.Name != l.node {
				t.Errorf("%s for %v, after a restart: %q, %v", iface, a, link.Name, err)
			}
			if err := v.Clear(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	ip(t, "link", "del", l.node)
	if _, err := mustNew(t, Config{Addresses: vips()}).Link(); err == nil {
		t.Error("found a link without a route")
	} else {
		contains(t, err.Error(), "no route")
	}
	l.connect(t)
	again, err := l.vip(t, vip4).Link()
	if err != nil || again.Index == byName.Index {
		t.Errorf("re-created: %+v, %v", again, err)
	}
}

// TestSetWhereDADFailed: an address that somebody else has set, and for which
// duplicate address detection has failed, answers nobody, refreshed or not.
func TestSetWhereDADFailed(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vip6)
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+l.node+"/accept_dad", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	ip(t, "-n", l.ns, "addr", "add", vip6.String()+"/64", "dev", l.peer, "nodad")
	ip(t, "addr", "add", vip6.String()+"/128", "dev", l.node)
	eventually(t, "failure", func() bool { return strings.Contains(ip(t, "addr", "show", "dev", l.node), "dadfailed") })
	if _, err := v.Set(30, soon()); !errors.Is(err, errDuplicate) {
		t.Errorf("the first set: %v", err)
	}
	if _, err := v.Set(30, soon()); err != nil {
		t.Errorf("the second set: %v", err)
	}
	if got := ip(t, "addr", "show", "dev", l.node); !strings.Contains(got, vip6.String()+"/128") || strings.Contains(got, "dadfailed") {
		t.Errorf("afterwards: %s", got)
	}
}
