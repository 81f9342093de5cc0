package vip

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
)

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 0xa}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 0xb}
)

// unhex joins the fields of a frame; a dot repeats nothing, it only separates.
func unhex(t testing.TB, fields ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ".", "").Replace(strings.Join(fields, "")))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnnouncementFrames(t *testing.T) {
	pad := strings.Repeat("00", 18) // Ethernet's shortest payload is 46 bytes
	got4, err := announcement(macA, vip4)
	if err != nil {
		t.Fatal(err)
	}
	want4 := [][]byte{
		// Request: the target's MAC is unknown.
		unhex(t, "ffffffffffff 02000000000a 0806 . 0001 0800 06 04 0001 . 02000000000a c63364a6 . 000000000000 c63364a6", pad),
		// Reply: the target is the sender.
		unhex(t, "ffffffffffff 02000000000a 0806 . 0001 0800 06 04 0002 . 02000000000a c63364a6 . 02000000000a c63364a6", pad),
	}
	if diff := cmp.Diff(want4, got4); diff != "" {
		t.Errorf("IPv4 (-want +got):\n%s", diff)
	}
	got6, err := announcement(macA, vip6)
	if err != nil {
		t.Fatal(err)
	}
	want6 := [][]byte{unhex(t,
		"333300000001 02000000000a 86dd . 60000000 0020 3a ff",
		"20010db8000000000000000000000166 ff020000000000000000000000000001",
		"88 00 f657 20000000 20010db8000000000000000000000166 . 02 01 02000000000a")}
	if diff := cmp.Diff(want6, got6); diff != "" {
		t.Errorf("IPv6 (-want +got):\n%s", diff)
	}
}

func TestParseClaim(t *testing.T) {
	frame := func(f []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	cut := func(f []byte, n int) []byte { return f[:n] }
	set := func(f []byte, at int, b byte) []byte {
		f = append([]byte(nil), f...)
		f[at] = b
		return f
	}
	na := frame(advertisement(macA, vip6))
	request := frame(inquiry(macA, vip4, netip.MustParseAddr("198.51.100.1")))
	for _, tt := range []struct {
		name  string
		frame []byte
		want  *claim
	}{
		{"announced by request", frame(arpFrame(1, macA, vip4, zeroMAC, vip4)), &claim{addr: vip4, mac: macA, from: macA}},
		{"announced by reply", frame(arpFrame(2, macA, vip4, macA, vip4)), &claim{addr: vip4, mac: macA, from: macA}},
		{"asks for another from it", request, &claim{addr: vip4, mac: macA, from: macA}},
		{"probe", frame(question(macA, vip4)), &claim{addr: vip4, mac: macA, from: macA, probe: true}},
		{"reply without sender", frame(arpFrame(2, macA, netip.IPv4Unspecified(), macB, vip4)), nil},
		{"sender hides behind a switch", set(request, 11, 0xb), &claim{addr: vip4, mac: macA, from: macB}},
		{"ARP of token ring", set(request, 15, 6), nil},
		{"ARP with long addresses", set(request, 18, 8), nil},
		{"ARP cut short", cut(request, 14+20), nil},
		{"advertised", na, &claim{addr: vip6, mac: macA, from: macA}},
		{"advertised without option", frame(ndpFrame(macA, vip6, allNodes, &ndp.NeighborAdvertisement{TargetAddress: vip6})), &claim{addr: vip6, mac: macA, from: macA}},
		{"detects duplicates", frame(question(macA, vip6)), &claim{addr: vip6, mac: macA, from: macA, probe: true}},
		{"asks for the VIP", frame(inquiry(macA, netip.MustParseAddr("2001:db8::20"), vip6)), nil},
		{"was routed", set(na, 14+7, 254), nil},
		{"wrong checksum", set(na, 14+ipv6Header+2, 0), nil},
		{"longer than it is", set(na, 14+5, 0xff), nil},
		{"header only", cut(na, 14+ipv6Header), nil},
		{"not NDP", set(na, 14+6, 17), nil},
		{"IPv4", frame(etherFrame(macA, macB, ethernet.EtherTypeIPv4, make([]byte, 46))), nil},
		{"no frame", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseClaim(tt.frame)
			if tt.want == nil {
				if err == nil {
					t.Errorf("got %+v, want an error", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*tt.want, got, cmp.AllowUnexported(claim{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFilterAgrees runs the kernel's filter program in its reference machine.
func TestFilterAgrees(t *testing.T) {
	other4, other6 := netip.MustParseAddr("198.51.100.165"), netip.MustParseAddr("2001:db8:1::166")
	must := func(fs [][]byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return fs[0]
	}
	one := func(f []byte, err error) ([][]byte, error) { return [][]byte{f}, err }
	for _, tt := range []struct {
		name   string
		frame  []byte
		v4, v6 bool
	}{
		{"announced", must(announcement(macA, vip4)), true, false},
		{"probed", must(one(question(macA, vip4))), true, false},
		{"another announced", must(announcement(macA, other4)), false, false},
		{"another probed", must(one(question(macA, other4))), false, false},
		{"another asks for it", must(one(arpFrame(1, macA, other4, zeroMAC, vip4))), false, false},
		{"advertised", must(announcement(macA, vip6)), false, true},
		{"solicited", must(one(question(macA, vip6))), false, true},
		{"another advertised", must(announcement(macA, other6)), false, false},
		{"short", macA, false, false},
	} {
		for a, want := range map[netip.Addr]bool{vip4: tt.v4, vip6: tt.v6} {
			raw, err := filterFor(a)
			if err != nil {
				t.Fatal(err)
			}
			prog, _ := bpf.Disassemble(raw)
			vm, err := bpf.NewVM(prog)
			if err != nil {
				t.Fatal(err)
			}
			// The socket's protocol sorts by EtherType before the filter does.
			is4 := len(tt.frame) > 13 && tt.frame[12] == 8
			if is4 != a.Is4() && len(tt.frame) > 13 {
				continue
			}
			if n, err := vm.Run(tt.frame); err != nil || n > 0 != want {
				t.Errorf("%s, filter for %v: %d, %v, want passed %v", tt.name, a, n, err, want)
			}
		}
	}
}

func FuzzARPFrame(f *testing.F) {
	fs, _ := announcement(macA, vip4)
	probe, _ := question(macA, vip4)
	fuzzClaim(f, append(fs, probe), ethernet.EtherTypeARP)
}

func FuzzNA(f *testing.F) {
	fs, _ := announcement(macA, vip6)
	probe, _ := question(macA, vip6)
	fuzzClaim(f, append(fs, probe), ethernet.EtherTypeIPv6)
}

// fuzzClaim looks for frames that make the reader panic, or return half a claim.
// Each input is tried as it is, and as the payload of a frame of type t, whose
// checksum is set right: random bytes hardly ever have one.
func fuzzClaim(f *testing.F, seeds [][]byte, t ethernet.EtherType) {
	for _, s := range seeds {
		f.Add(s)
		f.Add(s[14:])
		f.Add(s[14 : len(s)-1])
	}
	f.Fuzz(func(tt *testing.T, b []byte) {
		checkClaim(tt, b)
		framed, err := etherFrame(macB, macA, t, fixChecksum(b))
		if err != nil {
			tt.Fatal(err)
		}
		checkClaim(tt, framed)
	})
}

func checkClaim(t *testing.T, frame []byte) {
	c, err := parseClaim(frame)
	switch {
	case err != nil && (c.mac != nil || c.addr.IsValid()):
		t.Errorf("error %v and claim %+v", err, c)
	case err == nil && (!c.addr.IsValid() || len(c.mac) != ethernetAddr || len(c.from) != ethernetAddr):
		t.Errorf("half a claim: %+v", c)
	}
}

func fixChecksum(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < ipv6Header+8 {
		return b
	}
	n := min(int(b[4])<<8|int(b[5]), len(b)-ipv6Header)
	if n < 4 {
		return b
	}
	body := b[ipv6Header : ipv6Header+n]
	body[2], body[3] = 0, 0
	sum := checksum(b[8:40], body)
	body[2], body[3] = byte(sum>>8), byte(sum)
	return b
}
