package vip

import (
	"strings"
	"testing"
)

// TestSpare: another program's address, of its own prefix length, is out of sight
// and out of reach; one that is the same to the kernel becomes this process's with
// the first set, and was never off the link.
func TestSpare(t *testing.T) {
	const four, six = "198.51.100.166", "2001:db8::166"
	for _, tt := range []struct {
		name    string
		foreign []string // as ip address add has them
		left    []string // after Set and Clear
	}{
		{"nothing", nil, nil},
		{"of another length", []string{four + "/24"}, []string{four + "/24"}},
		{"the same", []string{four + "/32", six + "/128"}, nil},
		{"IPv6 of another length is the same too", []string{six + "/64"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			v := l.vip(t, vips()...)
			for _, a := range tt.foreign {
				ip(t, "address", "add", a, "dev", l.node, "nodad")
			}
			v.Spare(true)
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
			if found, err := v.Found(); err != nil || len(found) != 2 {
				t.Errorf("found %v, %v after a set, want both", found, err)
			}
			wantForeign(t, v, tt.left)
			if err := v.Clear(t.Context()); err != nil {
				t.Errorf("clear: %v", err)
			}
			wantForeign(t, v, tt.left)
			v.Spare(false)
			if err := v.Clear(t.Context()); err != nil {
				t.Errorf("clear without sparing: %v", err)
			}
			wantForeign(t, v, nil)
		})
	}
}

// TestSpareServes: when one of two that differ in length goes, the other answers
// without a break: its entry in the table of local routes is not the other's.
func TestSpareServes(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()[:1]...)
	v.Spare(true)
	ip(t, "address", "add", "198.51.100.166/24", "dev", l.node)
	if _, err := v.Set(9, soon()); err != nil {
		t.Fatal(err)
	}
	ip(t, "address", "del", "198.51.100.166/24", "dev", l.node)
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
