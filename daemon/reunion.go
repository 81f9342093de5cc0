package daemon

import (
	"context"
	"log/slog"
	"net/netip"

	"havip/daemon/history"
	"havip/election"
)

// returned: a master that was cut off answers on the address's link again.
type returned struct{ host netip.Addr }

// reunion waits for the holder before this one to come back to the link. Who was cut
// off beside it has its MAC, and hears nothing from here before it does.
type reunion struct {
	await  func(ctx context.Context, host netip.Addr) (bool, error)
	report func(returned)
	log    *slog.Logger
	hosts  chan netip.Addr // whom to wait for from now on; one that is not valid is nobody
}

func newReunion(a Address, log *slog.Logger, report func(returned)) *reunion {
	return &reunion{await: a.Await, report: report, log: log, hosts: make(chan netip.Addr, 1)}
}

// expect waits for nobody else any more. Only the loop calls it.
func (r *reunion) expect(host netip.Addr) {
	select {
	case <-r.hosts:
	default:
	}
	r.hosts <- host
}

// run waits for the host that was named last, until ctx ends.
func (r *reunion) run(ctx context.Context) error {
	stop := func() {}
	for {
		select {
		case <-ctx.Done():
			stop()
			return nil
		case host := <-r.hosts:
			stop()
			stop = r.start(ctx, host)
		}
	}
}

// start returns what ends it and waits for that.
func (r *reunion) start(ctx context.Context, host netip.Addr) (stop func()) {
	if !host.IsValid() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		back, err := r.await(ctx, host)
		switch {
		case back:
			r.report(returned{host})
		case ctx.Err() == nil:
			r.log.Debug("the holder before this one does not come back", "host", host, "err", err)
		}
	}()
	return func() { cancel(); <-ended }
}

// awaitCutOff waits, on the holder, for the last master whose silence made another
// one the holder, though that one may have given the address away since.
func (l *loop) awaitCutOff(m *election.Move) {
	if m != nil && history.FromSilent(*m) {
		l.cutOff, _ = l.cfg.Master(m.From)
	}
	host := netip.Addr{}
	if l.reign.node == l.self.Name && l.cutOff.Name != l.self.Name {
		host = l.cutOff.Address
	}
	l.reunion.expect(host)
}
