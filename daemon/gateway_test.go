package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/vip"
)

var testGateway = netip.MustParseAddr("198.51.100.1")

// Looks that say nothing else: + answered, - silent, ! could not be asked.
func TestGatewayCounts(t *testing.T) {
	tests := map[string]struct {
		holds bool
		looks string
		want  string // what is reported, by the number of the look that made it
	}{
		"answers at once":                      {false, "++++", "0:answers"},
		"the first silence counts at once":     {false, "---", "0:silent"},
		"but not on the holder":                {true, "-----", "4:silent"},
		"three silences of a standby":          {false, "+---", "0:answers 3:silent"},
		"two are none":                         {false, "+--+--+", "0:answers"},
		"the holder takes two more":            {true, "+----+-----", "0:answers 10:silent"},
		"the holder recovers with two":         {true, "+-----++", "0:answers 5:silent 7:answers"},
		"a standby with four":                  {false, "-++++", "0:silent 4:answers"},
		"one answer between begins anew":       {false, "-+++-++++", "0:silent 8:answers"},
		"who cannot ask says so":               {false, "+!!", "0:answers 1:unknown"},
		"and is not sick":                      {true, "!!!!!!", "0:unknown"},
		"a silence is not forgotten by errors": {false, "-!!++++", "0:silent 6:answers"},
		"errors do not hide a silence":         {true, "!-----", "0:unknown 5:silent"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				look := -1
				var got []string
				g := &gateway{
					cfg:   configs.Health{Interval: time.Second, Timeout: time.Second, Rise: 2, Fall: 3, Gateway: []netip.Addr{testGateway}},
					holds: func() bool { return test.holds },
					ask: func(context.Context, []netip.Addr, int, time.Duration) (bool, vip.Link, error) {
						if look++; look == len(test.looks) {
							stop()
							return false, vip.Link{}, nil
						}
						var err error
						if test.looks[look] == '!' {
							err = errors.New("no buffer space available")
						}
						return test.looks[look] == '+', eth0, err
					},
					report: func(e gatewayChanged) { got = append(got, fmt.Sprintf("%d:%s", look, e.state)) },
				}
				if err := g.run(ctx); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
					t.Errorf("reports of %q (-want +got):\n%s", test.looks, diff)
				}
			})
		})
	}
}

// wired are three masters with a gateway each, which answers while its line works.
type wired struct {
	*bench
	nodes []*shell
	up    []*atomic.Bool
}

// wire starts them apart from each other: their looks are at different times.
func (b *bench) wire(apart time.Duration) *wired {
	w := &wired{bench: b}
	for _, name := range []string{"n1", "n2", "n3"} {
		n, up := b.shell(name), &atomic.Bool{}
		up.Store(true)
		n.l.cfg.Health.Gateway = []netip.Addr{testGateway}
		n.addr.reaches = func() (bool, error) { return up.Load(), nil }
		n.start()
		w.nodes, w.up = append(w.nodes, n), append(w.up, up)
		b.pass(apart)
	}
	b.until(first + 3*time.Second)
	return w
}

func (w *wired) all(up bool) {
	for _, u := range w.up {
		u.Store(up)
	}
}

// slowest is until a holder that was cut off has given the address away: the look
// under way, and five that fail.
const slowest = 7 * time.Second

func TestHolderThatIsCutOffHandsOver(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		w := b.wire(300 * time.Millisecond)
		was := b.holder()
		if was != "n1" {
			t.Fatalf("%s holds it", was)
		}
		w.up[0].Store(false)
		begin := b.now()
		for b.holder() == "n1" && b.now()-begin < slowest {
			b.pass(50 * time.Millisecond)
		}
		took := b.now() - begin
		if b.holder() == "n1" || w.nodes[0].kernel.has() || took < 5*time.Second {
			t.Fatalf("after %v %s holds it, n1 has the address: %v", took, b.holder(), w.nodes[0].kernel.has())
		}
		b.pass(time.Second)
		d := w.nodes[1].document()
		if m := masterOf(d, "n1"); m.Gateway != status.GatewaySilent || m.GatewayDetail != "no answer from 198.51.100.1 on eth0" || m.Healthy || m.APIServer != status.APIOff {
			t.Errorf("n1 as n2 sees it: %+v", m)
		}
		if d.LastMove == nil || d.LastMove.Reason != "API server of n1: out of reach: no answer from 198.51.100.1 on eth0" {
			t.Errorf("the last move: %+v", d.LastMove)
		}
		if got := w.nodes[1].metric(`havip_transitions_total{node="n2",reason="gateway",to="holder",vip="198.51.100.166"`) +
			w.nodes[2].metric(`havip_transitions_total{node="n3",reason="gateway",to="holder",vip="198.51.100.166"`); got != "1" {
			t.Errorf("moves counted: %q", got)
		}
		w.up[0].Store(true)
		b.pass(slowest)
		if m := masterOf(w.nodes[1].document(), "n1"); m.Gateway != status.GatewayAnswers || !m.Healthy {
			t.Errorf("n1, healed, as n2 sees it: %+v", m)
		}
	})
}

// When all lose the gateway nobody is better off, whenever each of them notices.
func TestGatewayThatIsDownMovesNothing(t *testing.T) {
	for apart := time.Duration(0); apart < time.Second; apart += 170 * time.Millisecond {
		for after := time.Duration(0); after < time.Second; after += 130 * time.Millisecond {
			t.Run(fmt.Sprintf("%v apart, after %v", apart, after), func(t *testing.T) {
				in(t, func(t *testing.T, b *bench) {
					w := b.wire(apart)
					was := b.holder()
					watch := func(d time.Duration) {
						for end := b.now() + d; b.now() < end; b.pass(100 * time.Millisecond) {
							if now := b.holder(); now != was {
								t.Fatalf("moved from %s to %s at %v", was, now, b.now())
							}
						}
					}
					watch(after)
					w.all(false)
					watch(20 * time.Second)
					for _, n := range w.nodes {
						if m := masterOf(n.document(), n.name); m.Gateway != status.GatewaySilent || m.Healthy {
							t.Fatalf("%s: %+v", n.name, m)
						}
					}
					w.all(true)
					watch(20 * time.Second)
					if m := masterOf(w.nodes[2].document(), was); m.Gateway != status.GatewayAnswers || !m.Healthy {
						t.Errorf("%s: %+v", was, m)
					}
				})
			})
		}
	}
}

// A gateway that is away for less than fall is not noticed.
func TestGatewayThatRestartsMovesNothing(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		w := b.wire(300 * time.Millisecond)
		w.all(false)
		b.pass(1900 * time.Millisecond)
		w.all(true)
		b.pass(slowest)
		for _, n := range w.nodes {
			if m := masterOf(n.document(), n.name); m.Gateway != status.GatewayAnswers || !m.Healthy {
				t.Errorf("%s: %+v", n.name, m)
			}
			if strings.Contains(n.logged.String(), "out of reach") {
				t.Errorf("%s: %s", n.name, n.logged)
			}
		}
		if b.holder() != "n1" {
			t.Errorf("%s holds it", b.holder())
		}
	})
}

func TestOwnHealth(t *testing.T) {
	ok, bad := election.Health{OK: true, Reason: "ready"}, election.Health{Reason: "answers 500"}
	silent := gatewayChanged{status.GatewaySilent, "no answer from 198.51.100.1 on eth0"}
	for _, test := range []struct {
		api     healthChanged
		gateway gatewayChanged
		want    election.Health
	}{
		{healthChanged{}, gatewayChanged{}, election.Health{OK: true}},
		{healthChanged{}, silent, election.Health{Reason: "out of reach: no answer from 198.51.100.1 on eth0"}},
		{healthChanged{ok, status.APIReady}, gatewayChanged{}, ok},
		{healthChanged{ok, status.APIReady}, gatewayChanged{state: status.GatewayAnswers}, ok},
		{healthChanged{ok, status.APIReady}, gatewayChanged{status.GatewayUnknown, "cannot ask"}, ok},
		{healthChanged{ok, status.APIReady}, silent, election.Health{Reason: "out of reach: no answer from 198.51.100.1 on eth0"}},
		{healthChanged{bad, status.APIFailing}, gatewayChanged{state: status.GatewayAnswers}, bad},
		{healthChanged{bad, status.APIFailing}, silent, election.Health{Reason: "answers 500; out of reach: no answer from 198.51.100.1 on eth0"}},
	} {
		l := &loop{health: test.api, gateway: test.gateway}
		if diff := cmp.Diff(test.want, l.ownHealth()); diff != "" {
			t.Errorf("%+v, %+v (-want +got):\n%s", test.api, test.gateway, diff)
		}
	}
}
