package vip

import (
	"strings"
	"testing"
)

// TestSpare: another program's IPv4 address is out of sight and out of reach, of
// whatever length. An IPv6 one becomes this process's with the first set, and was
// never off the link.
func TestSpare(t *testing.T) {
	const four, six = "198.51.100.166", "2001:db8::166"
	for _, tt := range []struct {
		name    string
		foreign []string // as ip address add has them
		own     string   // as Set makes it
		left    []string // after Set and Clear
	}{
		{"nothing", nil, four + "/32", nil},
		{"of another length", []string{four + "/24"}, four + "/32", []string{four + "/24"}},
		{"of the same", []string{four + "/32", six + "/128"}, four + "/31", []string{four + "/32"}},
		{"IPv6 of another length is the same too", []string{six + "/64"}, four + "/32", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			v := l.vip(t, vips()...)
			for _, a := range tt.foreign {
				ip(t, "address", "add", a, "dev", l.node, "nodad")
			}
			v.Spare(SpareFound)
			if found, err := v.Found(); err != nil || len(found) > 0 {
				t.Errorf("found %v, %v before the first set, want nothing", found, err)
			}
			if err := v.Clear(t.Context()); err != nil {
				t.Errorf("clear before the first set: %v", err)
			}
			wantForeign(t, v, tt.foreign)
			if _, err := v.Set(9, soon()); err != nil {
				t.Fatal(err)
			}
			if found, err := v.Found(); err != nil || len(found) != 2 || found[0].prefix().String() != tt.own {
				t.Errorf("found %v, %v after a set, want %s and IPv6", found, err, tt.own)
			}
			wantForeign(t, v, tt.left)
			if routes := ip(t, "route"); strings.Contains(routes, "/31") || strings.Contains(routes, "198.51.100.166 dev") {
				t.Errorf("the VIP made a route:\n%s", routes)
			}
			if err := v.Clear(t.Context()); err != nil {
				t.Errorf("clear: %v", err)
			}
			wantForeign(t, v, tt.left)
			v.Spare(SpareNothing)
			if err := v.Clear(t.Context()); err != nil {
				t.Errorf("clear without sparing: %v", err)
			}
			wantForeign(t, v, nil)
		})
	}
}

// TestSpareServes: when the other program's goes, this one's answers without a
// break: what the kernel knows of local addresses is not per prefix length. The
// next set makes it a /32 again, and nobody hears of a loss.
func TestSpareServes(t *testing.T) {
	for _, bits := range []string{"/24", "/32"} {
		t.Run(bits, func(t *testing.T) {
			l := newLab(t)
			v := l.vip(t, vips()[:1]...)
			v.Spare(SpareFound)
			ip(t, "address", "add", "198.51.100.166"+bits, "dev", l.node)
			if _, err := v.Set(9, soon()); err != nil {
				t.Fatal(err)
			}
			events := make(chan Event, 100)
			watchInto(t, v, events)
			expect(t, events, "link node0: seen")
			ip(t, "address", "del", "198.51.100.166"+bits, "dev", l.node)
			contains(t, ip(t, "route", "get", "198.51.100.166"), "local 198.51.100.166")
			if _, err := v.Set(2, soon()); err != nil { // for less than what it replaces
				t.Fatal(err)
			}
			if found, err := v.Found(); err != nil || len(found) != 1 || found[0].Bits != 32 {
				t.Errorf("found %v, %v after the other program's went, want a /32 alone", found, err)
			}
			contains(t, ip(t, "route", "get", "198.51.100.166"), "local 198.51.100.166")
			ip(t, "link", "set", l.node, "down")
			for e := range events {
				if deleted, ok := e.(AddressDeleted); ok {
					t.Errorf("told %v", deleted)
				}
				if e, ok := e.(LinkChanged); ok && e.Why == LinkDown {
					break
				}
			}
		})
	}
}

// TestSpareRoom: the VIP makes room for a program that is about to set it, and the
// node never ceases to answer for it.
func TestSpareRoom(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()[:1]...)
	own := func(want string) {
		t.Helper()
		if found, err := v.Found(); err != nil || len(found) != 1 || found[0].prefix().String() != want {
			t.Errorf("found %v, %v, want %s alone", found, err, want)
		}
		contains(t, ip(t, "route", "get", "198.51.100.166"), "local 198.51.100.166")
	}
	set := func(life int) {
		t.Helper()
		if _, err := v.Set(life, soon()); err != nil {
			t.Fatal(err)
		}
	}
	set(9)
	v.Spare(SpareRoom)
	own("198.51.100.166/32")
	set(2)
	own("198.51.100.166/31")
	ip(t, "address", "add", "198.51.100.166/32", "dev", l.node)
	set(2)
	own("198.51.100.166/31")
	if err := v.Clear(t.Context()); err != nil {
		t.Error(err)
	}
	wantForeign(t, v, []string{"198.51.100.166/32"})
	contains(t, ip(t, "route", "get", "198.51.100.166"), "local 198.51.100.166")
}

func wantForeign(t *testing.T, v *VIP, want []string) {
	t.Helper()
	found, err := v.Foreign()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.prefix().String())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("without a lifetime: %v, want %v", got, want)
	}
}
