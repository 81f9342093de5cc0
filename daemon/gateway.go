package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"havip/configs"
	"havip/daemon/metrics"
	"havip/daemon/status"
	"havip/election"
	"havip/vip"
)

// gatewayChanged is the loop's news of the VIP's own network.
type gatewayChanged struct {
	state  status.Gateway
	detail string
}

// gateway asks hosts on the VIP's link whether they are there, and counts. etcd
// may run over another network: then the election is content while the switch
// that carries the VIP is dead.
type gateway struct {
	cfg    configs.Health
	ask    func(ctx context.Context, hosts []netip.Addr, n int, wait time.Duration) (bool, vip.Link, error)
	holds  func() bool // this node serves the address now
	report func(gatewayChanged)

	said  gatewayChanged
	inRow int // looks in a row that contradict what was said
}

// gatewayQuestions are asked in one look, so that one lost frame is not a failed one.
const gatewayQuestions = 2

// behind is how many looks more the holder needs to fail, and the others to
// recover. When all masters lose the gateway at once, and when it comes back, the
// holder must at no time be the only one that is sick, or the address would move
// though nobody is better off. Looks begin within one interval of each other; the
// second one is for the news to get around.
const behind = 2

// run looks every interval until ctx ends, and reports changes.
func (g *gateway) run(ctx context.Context) error {
	if len(g.cfg.Gateway) == 0 {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(g.cfg.Interval)
	defer t.Stop()
	for {
		answered, link, err := g.ask(ctx, g.cfg.Gateway, gatewayQuestions, g.cfg.Timeout/gatewayQuestions)
		if ctx.Err() != nil {
			return nil
		}
		if news, is := g.count(answered, link.Name, err); is {
			g.said, g.inRow = news, 0
			g.report(news)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// count takes one look and returns what is new. That nobody could be asked is no
// sign of a dead network: it is told, and moves nothing.
func (g *gateway) count(answered bool, link string, err error) (gatewayChanged, bool) {
	var now gatewayChanged
	switch {
	case answered:
		now.state = status.GatewayAnswers
	case err != nil && g.said.state == status.GatewaySilent:
		return now, false
	case err != nil:
		now = gatewayChanged{status.GatewayUnknown, err.Error()}
		return now, now != g.said
	default:
		now = gatewayChanged{status.GatewaySilent, fmt.Sprintf("no answer from %s on %s", spoken(g.cfg.Gateway), link)}
	}
	if now.state == g.said.state {
		g.inRow = 0
		return now, false
	}
	g.inRow++
	return now, g.inRow >= g.need(answered)
}

// need is how many looks in a row it takes. The first one ever counts at once,
// unless that would take the address away.
func (g *gateway) need(answered bool) int {
	holds, known := g.holds(), g.said.state == status.GatewayAnswers || g.said.state == status.GatewaySilent
	switch {
	case !known && (answered || !holds):
		return 1
	case answered && holds:
		return g.cfg.Rise
	case answered:
		return g.cfg.Rise + behind
	case holds:
		return g.cfg.Fall + behind
	}
	return g.cfg.Fall
}

func spoken(hosts []netip.Addr) string {
	var texts []string
	for _, h := range hosts {
		texts = append(texts, h.String())
	}
	return strings.Join(texts, " or ")
}

// ownHealth is what the election is told: sick is who has no working API server,
// and whose API server cannot be reached by way of the address.
func (l *loop) ownHealth() election.Health {
	h := l.health.event
	if l.health.state == "" {
		h = election.Health{OK: true} // not asked yet, which the election counts so
	}
	if l.gateway.state != status.GatewaySilent {
		return h
	}
	cut := metrics.OutOfReach + l.gateway.detail
	if !h.OK {
		cut = h.Reason + "; " + cut
	}
	return election.Health{Reason: cut}
}
