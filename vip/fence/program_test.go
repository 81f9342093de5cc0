package fence

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"havip/vip"
)

// testRun is what BPF_PROG_TEST_RUN takes (linux/bpf.h).
type testRun struct {
	fd, verdict      uint32
	sizeIn, _        uint32
	in, _            unsafe.Pointer
	repeat, duration uint32
	_, _             uint32
	_, _             unsafe.Pointer
}

// run lets the kernel run a program on a frame, without any link. It returns the
// verdict, and how long one run took on average.
func run(t testing.TB, fd int, f frame, repeat uint32) (verdict int32, took time.Duration) {
	t.Helper()
	const testRunCommand = 10 // BPF_PROG_TEST_RUN
	x := testRun{fd: uint32(fd), sizeIn: uint32(len(f)), in: unsafe.Pointer(&f[0]), repeat: repeat}
	if _, err := bpf(testRunCommand, &x); err != nil {
		t.Fatalf("run on %v: %v", f, err)
	}
	return int32(x.verdict), time.Duration(x.duration)
}

// loaded is a pair of programs with a deadline, on no link.
type loaded struct {
	*clock
	fds map[direction]int
}

func load(t testing.TB, a netip.Addr) loaded {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("needs root: run sudo make test")
	}
	fd, err := newMap("test")
	if err != nil {
		t.Fatal(err)
	}
	c, err := mapClock(fd)
	if err != nil {
		t.Fatal(err)
	}
	l := loaded{c, map[direction]int{}}
	for _, d := range []direction{inward, outward} {
		if l.fds[d], err = loadProgram("test", d.program(a, fd)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(l.fds[d]) })
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return l
}

var (
	macA, macB = net.HardwareAddr{2, 0, 0, 0, 0, 0xa}, net.HardwareAddr{2, 0, 0, 0, 0, 0xb}
	near4      = netip.MustParseAddr("198.51.100.167") // one bit away from the VIP
	near6      = netip.MustParseAddr("2001:db8::167")
	far6       = netip.MustParseAddr("2001:db9::166")
	linkLocal  = netip.MustParseAddr("fe80::1")
	allNodes   = netip.MustParseAddr("ff02::1")
	free4      = netip.IPv4Unspecified()
)

// TestVerdicts: which frames a closed fence drops. An open one drops none.
func TestVerdicts(t *testing.T) {
	ping := func(from, to netip.Addr) frame { return pingFrame(macA, macB, from, to, 1) }
	behind := func(f frame) frame { // a hop-by-hop header with padding alone before the rest
		f = slices.Concat(f[:54], []byte{unix.IPPROTO_ICMPV6, 0, 1, 4, 0, 0, 0, 0}, f[54:])
		f[20], f[19] = 0, f[19]+8
		return f
	}
	solicit := neighbourFrame(macB, peer6, solicitedNode(vip6), vip6, neighbourSolicitation)
	advertise := neighbourFrame(macB, linkLocal, allNodes, vip6, neighbourAdvertisement)
	for _, test := range []struct {
		name string
		vip  netip.Addr
		frame
		in, out bool // dropped
	}{
		{"ARP request for the VIP", vip4, arpFrame(macB, 1, peer4, vip4), true, false},
		{"ARP probe of the VIP", vip4, arpFrame(macB, 1, free4, vip4), true, false},
		{"ARP request by the VIP", vip4, arpFrame(macB, 1, vip4, peer4), false, true},
		{"ARP reply of the VIP", vip4, arpFrame(macB, 2, vip4, peer4), false, true},
		{"ARP reply to the VIP", vip4, arpFrame(macB, 2, peer4, vip4), false, false},
		{"ARP announcement, a request", vip4, arpFrame(macB, 1, vip4, vip4), false, true},
		{"ARP announcement, a reply", vip4, arpFrame(macB, 2, vip4, vip4), false, true},
		{"ARP for another address", vip4, arpFrame(macB, 1, peer4, near4), false, false},
		{"ARP cut short", vip4, arpFrame(macB, 1, peer4, vip4)[:41], false, false},
		{"ARP of one byte", vip4, arpFrame(macB, 1, vip4, vip4)[:15], false, false},
		{"IPv4 to the VIP", vip4, ping(peer4, vip4), true, false},
		{"IPv4 from the VIP", vip4, ping(vip4, peer4), false, true},
		{"IPv4 to another address", vip4, ping(peer4, near4), false, false},
		{"IPv4 from another address", vip4, ping(near4, peer4), false, false},
		{"IPv4 with nothing in it", vip4, ipFrame(macA, macB, peer4, vip4, unix.IPPROTO_UDP, 1, nil), true, false},
		{"IPv6 beside an IPv4 VIP", vip4, ping(peer6, vip6), false, false},

		{"IPv6 to the VIP", vip6, ping(peer6, vip6), true, false},
		{"IPv6 from the VIP", vip6, ping(vip6, peer6), false, true},
		{"IPv6 to another address", vip6, ping(peer6, near6), false, false},
		{"IPv6 to another network", vip6, ping(peer6, far6), false, false},
		{"IPv6 from another address", vip6, ping(near6, peer6), false, false},
		{"IPv6 with nothing in it", vip6, ipFrame(macA, macB, peer6, vip6, 59, 1, nil), true, false},
		{"solicitation of the VIP", vip6, solicit, true, false},
		{"solicitation of another address of the same group", vip6, neighbourFrame(macB, peer6, solicitedNode(vip6), far6, neighbourSolicitation), false, false},
		{"solicitation by the VIP", vip6, neighbourFrame(macB, vip6, solicitedNode(peer6), peer6, neighbourSolicitation), false, true},
		{"solicitation of the VIP behind another header", vip6, behind(solicit), false, false},
		{"solicitation cut short", vip6, solicit[:77], false, false},
		{"advertisement of the VIP", vip6, advertise, false, true},
		{"advertisement by the VIP", vip6, neighbourFrame(macB, vip6, allNodes, vip6, neighbourAdvertisement), false, true},
		{"advertisement of another address", vip6, neighbourFrame(macB, linkLocal, allNodes, near6, neighbourAdvertisement), false, false},
		{"ARP beside an IPv6 VIP", vip6, arpFrame(macB, 1, peer4, vip4), false, false},
		{"another protocol", vip6, ethernet(macA, macB, 0x88cc, make([]byte, 100)), false, false},
	} {
		p := load(t, test.vip)
		for d, dropped := range map[direction]bool{inward: test.in, outward: test.out} {
			for _, open := range []bool{false, true} {
				p.set(vip.Now())
				want := int32(next)
				if open {
					p.set(long())
				} else if dropped {
					want = drop
				}
				if got, _ := run(t, p.fds[d], test.frame, 1); got != want {
					t.Errorf("%s, %sward, open %v: verdict %d, want %d", test.name, d.name, open, got, want)
				}
			}
		}
	}
}

// TestDeadlines: where on the clock the fence is closed.
func TestDeadlines(t *testing.T) {
	p := load(t, vip4)
	f := pingFrame(macA, macB, peer4, vip4, 1)
	atBoot := int32(next)
	if vip.Now() < forgotten {
		atBoot = drop
	}
	for name, test := range map[string]struct {
		until time.Duration
		want  int32
	}{
		"far ahead":              {1<<63 - 1, next},
		"an hour ahead":          {long(), next},
		"just over":              {vip.Now(), drop},
		"a minute over":          {vip.Now() - time.Minute, drop},
		"almost forgotten":       {vip.Now() - forgotten + 10*time.Second, drop},
		"forgotten":              {vip.Now() - forgotten, next},
		"before the clock":       {-time.Second, atBoot},
		"the end of unsigned":    {-1, atBoot},
		"the least there can be": {-1 << 63, next},
	} {
		p.set(test.until)
		if got, _ := run(t, p.fds[inward], f, 1); got != test.want {
			t.Errorf("%s: verdict %d, want %d", name, got, test.want)
		}
	}
}

// BenchmarkProgram is what a frame costs, as the kernel itself counts it.
func BenchmarkProgram(b *testing.B) {
	for name, test := range map[string]struct {
		vip netip.Addr
		frame
	}{
		"IPv4 of others":   {vip4, pingFrame(macA, macB, peer4, near4, 1)},
		"IPv4 for the VIP": {vip4, pingFrame(macA, macB, peer4, vip4, 1)},
		"IPv6 of others":   {vip6, pingFrame(macA, macB, peer6, near6, 1)},
		"IPv6 for the VIP": {vip6, pingFrame(macA, macB, peer6, vip6, 1)},
	} {
		b.Run(name, func(b *testing.B) {
			p := load(b, test.vip)
			p.set(long())
			b.ResetTimer()
			took := time.Duration(0)
			for range b.N {
				_, took = run(b, p.fds[inward], test.frame, 100_000)
			}
			b.ReportMetric(float64(took), "ns/frame")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func BenchmarkSet(b *testing.B) {
	p := load(b, vip4)
	f := &Fence{posts: []*post{{clock: p.clock}}}
	for range b.N {
		f.Set(0)
	}
}
