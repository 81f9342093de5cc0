package vip

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolve(t *testing.T) {
	mac := func(last byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, last} }
	eth := func(index int, name string, m byte) linkInfo {
		return linkInfo{index: index, name: name, mac: mac(m), adminUp: true, carrier: true}
	}
	port := func(l linkInfo, master int) linkInfo { l.master = master; return l }
	vrf := linkInfo{index: 9, name: "vrf0", kind: "vrf"}
	bond := eth(5, "bond0", 2)
	bond.kind = "bond"
	vlan := eth(6, "bond0.10", 2)
	to := func(p string, index, metric int) routeInfo {
		return routeInfo{dst: netip.MustParsePrefix(p), index: index, metric: metric}
	}
	for _, tt := range []struct {
		name, iface string
		links       []linkInfo
		routes      []routeInfo
		want        string
		err         []string
	}{
		{name: "by name", iface: "eth1", links: []linkInfo{eth(2, "eth0", 1), eth(3, "eth1", 2)}, want: "eth1"},
		{name: "by name, none", iface: "eth9", links: []linkInfo{eth(2, "eth0", 1)}, err: []string{`"eth9"`, "no such interface", "eth0"}},
		{name: "by MAC", iface: "02:00:00:00:00:02", links: []linkInfo{eth(2, "eth0", 1), eth(3, "eth1", 2)}, want: "eth1"},
		{name: "by MAC, none", iface: "02:00:00:00:00:09", links: []linkInfo{eth(2, "eth0", 1)}, err: []string{"02:00:00:00:00:09", "eth0"}},
		{name: "by MAC, bond and its port", iface: "02:00:00:00:00:02", links: []linkInfo{port(eth(3, "eth1", 2), 5), bond}, want: "bond0"},
		{name: "by MAC, in a VRF", iface: "02:00:00:00:00:02", links: []linkInfo{port(eth(3, "eth1", 2), 9), vrf}, want: "eth1"},
		{name: "by MAC, VLAN has the route", iface: "02:00:00:00:00:02", links: []linkInfo{bond, vlan}, routes: []routeInfo{to("198.51.100.0/24", 6, 0)}, want: "bond0.10"},
		{name: "by MAC, ambiguous", iface: "02:00:00:00:00:02", links: []linkInfo{bond, vlan}, err: []string{"bond0, bond0.10", "name the link"}},
		{name: "auto, longest prefix", links: []linkInfo{eth(2, "eth0", 1), eth(3, "eth1", 2)}, routes: []routeInfo{to("0.0.0.0/0", 2, 0), to("198.51.100.0/24", 3, 100)}, want: "eth1"},
		{name: "auto, lowest metric", links: []linkInfo{eth(2, "eth0", 1), eth(3, "eth1", 2)}, routes: []routeInfo{to("0.0.0.0/0", 2, 200), to("0.0.0.0/0", 3, 100)}, want: "eth1"},
		{name: "auto, none", iface: "auto", links: []linkInfo{eth(2, "eth0", 1)}, routes: []routeInfo{to("203.0.113.0/24", 2, 0)}, err: []string{"no route", "198.51.100.166", "eth0", "by name"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newFake()
			k.ls, k.routes = tt.links, tt.routes
			v := mustNew(t, Config{Addresses: []netip.Addr{vip4}, Interface: tt.iface})
			v.kernel = k
			l, err := v.Link()
			if tt.err != nil {
				if err == nil {
					t.Fatalf("found %v", l)
				}
				contains(t, err.Error(), tt.err...)
				return
			}
			if err != nil || l.Name != tt.want {
				t.Errorf("%q, %v, want %s", l.Name, err, tt.want)
			}
		})
	}
}

// TestAutoStays: once the VIP is on the node, lookups say "local"; the link must
// stay the one it is on, and a restarted daemon must find the same.
func TestAutoStays(t *testing.T) {
	k := newFake()
	k.ls = append(k.ls, linkInfo{index: 3, name: "eth1", mac: macB})
	v := mustNew(t, Config{Addresses: []netip.Addr{vip4}})
	v.kernel = k
	name := func() string {
		l, err := v.Link()
		if err != nil {
			t.Fatal(err)
		}
		return l.Name
	}
	if got := name(); got != "eth0" {
		t.Fatal(got)
	}
	k.as = []addrInfo{{index: 2, prefix: netip.MustParsePrefix("198.51.100.166/32"), seconds: 2}}
	k.routes[0].index = 3 // routes move away while the address is held
	if got := name(); got != "eth0" || slices.Contains(k.calls, "list routes") {
		t.Errorf("held: %s, calls %v", got, k.calls)
	}
	v.chosen.Store(0) // restarted
	if got := name(); got != "eth1" {
		t.Errorf("restarted: %s, want the one the main table names", got)
	}
	k.ls = k.ls[:2] // eth1 vanishes
	if _, err := v.Link(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestWarnings(t *testing.T) {
	own := addrInfo{index: 2, prefix: netip.MustParsePrefix("198.51.100.162/24"), permanent: true}
	ours := addrInfo{index: 2, prefix: netip.MustParsePrefix("198.51.100.166/32"), seconds: 3}
	elsewhere := own
	elsewhere.prefix = netip.MustParsePrefix("203.0.113.5/24")
	static := ours
	static.permanent = true
	for _, tt := range []struct {
		name string
		f    facts
		want []string
	}{
		{"fine", facts{addrs: []addrInfo{own, ours}}, nil},
		{"no address of its own", facts{addrs: []addrInfo{ours}}, []string{"eth0 has no address of its own in the family of 198.51.100.166: programs may take the VIP for the node's address"}},
		{"outside", facts{addrs: []addrInfo{elsewhere}}, []string{"198.51.100.166 is outside every prefix of eth0 (203.0.113.0/24): its neighbours reach it only if they have a route to it"}},
		{"VIP first", facts{addrs: []addrInfo{ours, own}}, []string{"198.51.100.166 comes before the node's own address on eth0: programs that take the first one, and routes without a gateway, use it"}},
		{"static", facts{addrs: []addrInfo{own, static}}, []string{"198.51.100.166/32 is on link 2 for ever: something else put it there, remove it"}},
		{"port", facts{addrs: []addrInfo{own}, port: "br0"}, []string{"eth0 is a port of br0: an address on it answers nobody, name br0 instead"}},
		{"ARP", facts{addrs: []addrInfo{own}, arpIgnore: 2}, []string{"arp_ignore is 2 on eth0: the kernel will not answer ARP for 198.51.100.166, set it to 0 or 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.f.link = linkInfo{index: 2, name: "eth0", mac: macA}
			tt.f.vips = []netip.Addr{vip4}
			if diff := cmp.Diff(tt.want, judge(tt.f)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
