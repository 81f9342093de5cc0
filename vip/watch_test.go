package vip

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// roaming is a kernel whose route to the VIP moves after five seconds, and is gone
// after fifteen.
type roaming struct {
	*fakeKernel
	began time.Time
}

func (k roaming) routeTo(netip.Addr) (routeInfo, error) {
	switch at := time.Since(k.began); {
	case at < lookOften/2:
		return routeInfo{index: 2}, nil
	case at < 3*lookOften/2:
		return routeInfo{index: 3}, nil
	}
	return routeInfo{}, os.ErrNotExist
}

// A route that moves to another link makes no notice. One that goes may come back.
func TestWatchFollowsTheRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := roaming{newFake(), time.Now()}
		// Without an Ethernet address there is nothing to open a socket on.
		k.ls = []linkInfo{
			{index: 2, name: "eth0", adminUp: true, carrier: true},
			{index: 3, name: "eth1", adminUp: true, carrier: true},
		}
		v := mustNew(t, Config{Addresses: []netip.Addr{vip4}})
		v.kernel = k
		var got []string
		w := &watch{
			vip: v, sink: func(e Event) { got = append(got, fmt.Sprint(e)) }, track: newTracker(v.addrs),
			notices: make(chan notice), claims: make(chan claim), broken: make(chan error),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*lookOften)
		defer cancel()
		if err := w.run(ctx); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"link eth0: seen", "link eth1: re-created"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
