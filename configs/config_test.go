package configs

import (
	"net/netip"
	"testing"
	"time"
)

func TestSelf(t *testing.T) {
	c := &Config{Masters: []Master{{"n1", addr("198.51.100.162")}, {"n2", addr("2001:db8::163")}}}
	tests := []struct {
		name    string
		own     []netip.Addr
		want    string
		wantErr string
	}{
		{"by IPv4", []netip.Addr{addr("127.0.0.1"), addr("198.51.100.162")}, "n1", ""},
		{"by IPv6", []netip.Addr{addr("fe80::1%eth0"), addr("2001:db8::163")}, "n2", ""},
		{"as the kernel may tell it", []netip.Addr{addr("::ffff:198.51.100.162")}, "n1", ""},
		{"twice the same", []netip.Addr{addr("198.51.100.162"), addr("198.51.100.162")}, "n1", ""},
		{"stranger", []netip.Addr{addr("198.51.100.9")}, "",
			"find this node in [masters]: none of its addresses (198.51.100.9) is there (n1 = 198.51.100.162, n2 = 2001:db8::163)"},
		{"no address", nil, "",
			"find this node in [masters]: none of its addresses (none) is there (n1 = 198.51.100.162, n2 = 2001:db8::163)"},
		{"both", []netip.Addr{addr("198.51.100.162"), addr("2001:db8::163")}, "",
			"find this node in [masters]: its addresses (198.51.100.162, 2001:db8::163) match more than one (n1 = 198.51.100.162, n2 = 2001:db8::163)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.Self(tt.own)
			switch {
			case tt.wantErr == "" && err != nil:
				t.Fatal(err)
			case tt.wantErr != "" && (err == nil || err.Error() != tt.wantErr):
				t.Errorf("error %v\nwant  %s", err, tt.wantErr)
			case got.Name != tt.want:
				t.Errorf("self %q, want %q", got.Name, tt.want)
			}
		})
	}
}

func TestVIPKeyIgnoresOrder(t *testing.T) {
	const want = "198.51.100.166,2001:db8::166"
	for _, list := range []string{`["198.51.100.166", "2001:db8::166"]`, `["2001:DB8:0::166", "198.51.100.166"]`} {
		if got := mustDecode(t, "vip.address = "+list+"\n"+three).VIPKey(); got != want {
			t.Errorf("VIPKey of %s = %q, want %q", list, got, want)
		}
	}
	if got := Default().VIPKey(); got != "" {
		t.Errorf("VIPKey without a VIP = %q, want none", got)
	}
}

func TestPriority(t *testing.T) {
	c := &Config{Election: Election{Priority: map[string]int{"n1": 0, "n2": 500}}}
	for name, want := range map[string]int{"n1": 0, "n2": 500, "n3": DefaultPriority} {
		if got := c.Priority(name); got != want {
			t.Errorf("Priority(%s) = %d, want %d", name, got, want)
		}
	}
}

func TestInterfaceForms(t *testing.T) {
	tests := []struct{ in, want string }{
		{"auto", "auto"},
		{"eth0", "eth0"},
		{"bond0.100", "bond0.100"},
		{"enp130s0f0np0v1", "enp130s0f0np0v1"}, // 15 bytes
		{"br-lan@x", "br-lan@x"},
		{"02:00:5E:10:00:01", "02:00:5e:10:00:01"},
		{"0200.5e10.0001", "02:00:5e:10:00:01"},
		{"lo", ""},
		{"..", ""},
		{"eth0:1", ""},
		{"eth 0", ""},
		{"01:00:5e:00:00:01", ""},       // a multicast address
		{"00:00:00:00:00:00", ""},       // what lo has
		{"02:00:5e:10:00:01:00:02", ""}, // eight bytes
		{"02:00:5e:10:00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			refused := false
			got, ok := parseInterface(tt.in, func(string, string) { refused = true })
			if ok == refused {
				t.Fatalf("ok %v, refused %v", ok, refused)
			}
			if ok && got.String() != tt.want || !ok && tt.want != "" {
				t.Errorf("%q becomes %q (%v), want %q", tt.in, got, ok, tt.want)
			}
			if ok && got.Auto() != (tt.in == "auto") {
				t.Errorf("%q: Auto() = %v", tt.in, got.Auto())
			}
		})
	}
}

func TestAddressesOthersReach(t *testing.T) {
	for _, bad := range []string{"0.0.0.0", "0.1.2.3", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1", "169.254.1.1", "fe80::1", "255.255.255.255"} {
		if unusable(addr(bad)) == "" {
			t.Errorf("%s passes", bad)
		}
	}
	for _, good := range []string{"198.51.100.166", "10.0.0.1", "192.168.1.255", "2001:db8::166", "fd00::1", "100.64.0.1"} {
		if why := unusable(addr(good)); why != "" {
			t.Errorf("%s is refused: %s", good, why)
		}
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "400ms", 4500 * time.Millisecond: "4.5s", time.Minute: "1m", 90 * time.Second: "1m30s",
		time.Hour: "1h", 24 * time.Hour: "24h", 10 * time.Minute: "10m", time.Hour + time.Second: "1h0m1s",
	} {
		got := durationText(d)
		if got != want {
			t.Errorf("durationText(%v) = %q, want %q", d, got, want)
		}
		if back, err := time.ParseDuration(got); err != nil || back != d {
			t.Errorf("%q reads as %v, %v", got, back, err)
		}
	}
}

func TestEveryDurationReadsBack(t *testing.T) {
	for _, d := range []time.Duration{1, 999, time.Millisecond + 1, 37 * time.Hour, 20 * time.Minute, 100 * time.Minute} {
		if back, err := time.ParseDuration(durationText(d)); err != nil || back != d {
			t.Errorf("%v is written %q and reads as %v, %v", d, durationText(d), back, err)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"adress", "address", 1}, {"retyr", "retry", 2}, {"hold", "fall", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
