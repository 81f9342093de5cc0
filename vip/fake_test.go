package vip

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// fakeKernel is a namespace in memory, with a clock that only the test moves.
type fakeKernel struct {
	clock  time.Duration
	ls     []linkInfo
	as     []addrInfo
	routes []routeInfo
	values map[string]string

	armed    time.Duration // 0 when no guard is armed
	killed   bool          // a guard was armed when its time came
	calls    []string
	onApply  func(*fakeKernel) error // before the addresses change
	onAnswer func(*fakeKernel)       // after they changed, before the answer is read
	mangle   func(*addrInfo)         // what the kernel makes of an address
	stubborn bool                    // remove does nothing
}

var fakeMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}

func newFake() *fakeKernel {
	return &fakeKernel{
		clock:  100 * time.Second,
		ls:     []linkInfo{{index: 1, name: "lo", adminUp: true, carrier: true}, {index: 2, name: "eth0", mac: fakeMAC, adminUp: true, carrier: true}},
		routes: []routeInfo{{dst: netip.MustParsePrefix("198.51.100.0/24"), index: 2}},
	}
}

func (k *fakeKernel) vip(addrs ...netip.Addr) *VIP {
	v, err := New(Config{Addresses: addrs, Interface: "eth0"})
	if err != nil {
		panic(err)
	}
	v.kernel, v.now, v.guard = k, func() time.Duration { return k.clock }, k.arm
	return v
}

// soonOf is a latest moment that the test does not reach.
func soonOf(k *fakeKernel) time.Duration { return k.clock + time.Second }

// pass moves the clock, and does what the kernel does meanwhile.
func (k *fakeKernel) pass(d time.Duration) {
	k.clock += d
	k.killed = k.killed || k.armed != 0 && k.clock >= k.armed
	k.as = slices.DeleteFunc(k.as, func(a addrInfo) bool {
		return !a.permanent && time.Duration(a.seconds)*time.Second <= d
	})
	for i := range k.as {
		k.as[i].seconds -= int(d / time.Second)
	}
}

func (k *fakeKernel) arm(at time.Duration) (func() error, error) {
	k.calls, k.armed = append(k.calls, "arm"), at
	return func() error { k.calls, k.armed = append(k.calls, "disarm"), 0; return nil }, nil
}

func (k *fakeKernel) links() ([]linkInfo, error) { return k.ls, nil }

func (k *fakeKernel) linkByName(name string) (linkInfo, error) {
	return k.find(func(l linkInfo) bool { return l.name == name })
}

func (k *fakeKernel) linkByIndex(index int) (linkInfo, error) {
	return k.find(func(l linkInfo) bool { return l.index == index })
}

func (k *fakeKernel) find(is func(linkInfo) bool) (linkInfo, error) {
	if i := slices.IndexFunc(k.ls, is); i >= 0 {
		return k.ls[i], nil
	}
	return linkInfo{}, os.ErrNotExist
}

func (k *fakeKernel) routeTo(dst netip.Addr) (routeInfo, error) {
	k.calls = append(k.calls, "route to "+dst.String())
	for _, a := range k.as {
		if a.prefix.Addr() == dst {
			return routeInfo{index: 1, local: true}, nil
		}
	}
	i, err := longestMatch(k.routes, dst)
	return routeInfo{index: i}, err
}

func (k *fakeKernel) mainRoutes(netip.Addr) ([]routeInfo, error) {
	k.calls = append(k.calls, "list routes")
	return k.routes, nil
}

func (k *fakeKernel) addrs([]netip.Addr) ([]addrInfo, error) { return slices.Clone(k.as), nil }

func (k *fakeKernel) neighbour(int, netip.Addr) (net.HardwareAddr, error) { return nil, errNoMAC }

func (k *fakeKernel) remove(index int, p netip.Prefix) error {
	k.calls = append(k.calls, "remove "+p.String())
	if !k.stubborn {
		k.as = slices.DeleteFunc(k.as, func(a addrInfo) bool { return a.index == index && a.prefix == p })
	}
	return nil
}

func (k *fakeKernel) sysctl(path string) string { return k.values[path] }

func (k *fakeKernel) prepare(as []assignment) (change, error) { return &fakeChange{k, as}, nil }

type fakeChange struct {
	k  *fakeKernel
	as []assignment
}

func (c *fakeChange) close() { c.k.calls = append(c.k.calls, "close") }

func (c *fakeChange) apply(handled func()) error {
	k := c.k
	if k.onApply != nil {
		if err := k.onApply(k); err != nil {
			handled()
			return err
		}
	}
	for _, a := range c.as {
		k.calls = append(k.calls, "set "+a.addr.String())
		p := netip.PrefixFrom(a.addr, a.bits)
		k.as = slices.DeleteFunc(k.as, func(o addrInfo) bool { return o.index == a.index && o.prefix == p })
		info := addrInfo{index: a.index, prefix: p, label: a.label, seconds: a.valid}
		if k.mangle != nil {
			k.mangle(&info)
		}
		k.as = append(k.as, info)
	}
	handled()
	if k.onAnswer != nil {
		k.onAnswer(k)
	}
	return nil
}
