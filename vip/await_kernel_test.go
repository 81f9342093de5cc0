package vip

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/ethernet"
)

// TestAwait: a host that is back is noticed at once, and nobody else is asked.
func TestAwait(t *testing.T) {
	for _, tt := range []struct {
		name, prefix string
		proto        ethernet.EtherType
	}{
		{"IPv4", "198.51.100.164/24", ethernet.EtherTypeARP},
		{"IPv6", "2001:db8::164/64", ethernet.EtherTypeIPv6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			v := l.vip(t, vips()...)
			host, peer := netip.MustParsePrefix(tt.prefix).Addr(), l.peerLink(t)
			if _, err := v.Await(t.Context(), host); !errors.Is(err, errNoMAC) {
				t.Fatalf("a host whose MAC is not known: %v", err)
			}
			ip(t, "neigh", "replace", host.String(), "lladdr", peer.MAC.String(), "dev", l.node, "nud", "stale")
			var wire *wire
			l.inPeer(t, func() (err error) {
				wire, err = openWire(peer, int(tt.proto), nil)
				return err
			})
			defer wire.Close()
			type end struct {
				back bool
				err  error
				at   time.Duration
			}
			ended := make(chan end, 1)
			go func() {
				back, err := v.Await(t.Context(), host)
				ended <- end{back, err, Now()}
			}()
			for asked := 0; asked < 3; {
				buf := make([]byte, maxFrame)
				n, _, err := wire.ReadFrom(buf)
				if err != nil {
					t.Fatal(err)
				}
				if frame := buf[:n]; bytes.Contains(frame[2*ethernetAddr:], host.AsSlice()) {
					if !bytes.Equal(frame[:ethernetAddr], peer.MAC) {
						t.Errorf("asked %v", frame[:ethernetAddr])
					}
					asked++
				}
			}
			if len(ended) != 0 {
				t.Fatalf("ended before the host was back: %+v", <-ended)
			}
			ip(t, "-n", l.ns, "addr", "add", tt.prefix, "dev", l.peer, "nodad")
			back := Now()
			e := <-ended
			if !e.back || e.err != nil {
				t.Fatalf("the host is back: %v, %v", e.back, e.err)
			}
			t.Logf("noticed %v after ip had set the address", e.at-back)
			if e.at-back > time.Second {
				t.Errorf("noticed after %v", e.at-back)
			}
		})
	}
}

func TestAwaitEnds(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vip4)
	host := netip.MustParseAddr("198.51.100.164")
	ip(t, "neigh", "replace", host.String(), "lladdr", "02:00:00:00:00:99", "dev", l.node, "nud", "stale")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if back, err := v.Await(ctx, host); back || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody waits any more: %v, %v", back, err)
	}
	ip(t, "-n", l.ns, "link", "set", l.peer, "down")
	eventually(t, "no carrier", func() bool {
		_, err := v.Await(t.Context(), host)
		return errors.Is(err, ErrDown)
	})
}
