package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
	"havip/vip"
)

// Options is what havipd is told on its command line.
type Options struct {
	Config   string // path of havip.toml
	RunDir   string // memory of this boot
	StateDir string // memory across boots
	Socket   string
	Version  string
	Log      *slog.Logger
	Dropped  func() int64 // lines the log lost
}

// Run is the daemon. It returns when ctx ends and everything is let go of.
func Run(ctx context.Context, o Options) error {
	lock, err := lockDir(o.RunDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	d := &daemon{Options: o, clock: SystemClock(), notifier: newNotifier()}
	d.faces = &faces{stateDir: o.StateDir, clock: d.clock}
	d.idle("starting", nil)

	// What serves the node outlives ctx: handing over needs some time after it.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, life := errgroup.WithContext(life)
	g.Go(func() error { return d.notifier.run(life) })
	g.Go(func() error { return d.faces.serve(life, o.Socket) })
	g.Go(func() error {
		defer end()
		return d.work(ctx, life)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

type daemon struct {
	Options
	clock    Clock
	notifier *notifier
	faces    *faces
}

// work waits until there is something to do, and does it until ctx ends.
func (d *daemon) work(ctx, life context.Context) error {
	cfg, err := configs.Load(d.Config)
	switch {
	case err != nil:
		d.idle("the config file has problems", err)
		return d.idleUntil(ctx, "the config file has problems: havipctl config check")
	case !cfg.Configured():
		d.idle("", nil)
		return d.idleUntil(ctx, "not configured: no [vip] in "+d.Config)
	}
	self, ok := d.findSelf(ctx, cfg)
	if !ok {
		return nil
	}
	return d.elect(ctx, life, cfg, self)
}

// idle shows that there is no election here, and why.
func (d *daemon) idle(why string, err error) {
	doc := status.Document{Time: d.clock.Wall(), Version: d.Version, Config: d.Config, Configured: false}
	if why != "" {
		doc.Self.Reason = why
		doc.Warnings = append(doc.Warnings, why)
	}
	if err != nil {
		d.Log.Error(why, "err", err)
		doc.Warnings = append(doc.Warnings, err.Error())
	}
	d.faces.setIdle(doc)
}

func (d *daemon) idleUntil(ctx context.Context, why string) error {
	d.notifier.say(why)
	d.Log.Info("waiting", "reason", why)
	every := watchdogEvery()
	if every == 0 {
		every = time.Minute
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			d.notifier.feed()
		}
	}
}

// findSelf waits until one of the masters' addresses is on a link of this node:
// at boot the daemon may be earlier than the network.
func (d *daemon) findSelf(ctx context.Context, cfg *configs.Config) (configs.Master, bool) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	said := ""
	for {
		self, err := cfg.Self(ownAddresses())
		if err == nil {
			return self, true
		}
		if err.Error() != said {
			said = err.Error()
			d.idle("this node is none of [masters] yet", err)
			d.notifier.say("waiting: " + said)
		}
		select {
		case <-ctx.Done():
			return configs.Master{}, false
		case <-t.C:
			d.notifier.feed()
		}
	}
}

func ownAddresses() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr())
		}
	}
	return own
}

// elect takes part in the election until ctx ends and the machine has let go.
func (d *daemon) elect(ctx, life context.Context, cfg *configs.Config, self configs.Master) error {
	timers, err := configs.ReadEtcdManifest(cfg.Etcd.Manifest)
	if err != nil {
		d.Log.Warn("etcd's timers are not known, using its defaults", "err", err)
	}
	timing, notes, err := cfg.Timing(timers)
	if err != nil {
		d.idle("the config file does not fit etcd's timers", err)
		return d.idleUntil(ctx, "the config file does not fit etcd's timers: havipctl config check")
	}
	address, err := vip.New(vip.Config{Addresses: cfg.VIP.Addresses, Interface: cfg.VIP.Interface.String(), Log: d.Log})
	if err != nil {
		return fmt.Errorf("prepare the address: %w", err)
	}
	store, err := etcd.New(etcd.Config{
		Endpoint: cfg.Etcd.Endpoint, CA: cfg.Etcd.CA, Cert: cfg.Etcd.Cert, Key: cfg.Etcd.Key,
		Prefix: "/havip/v1/" + cfg.VIPKey() + "/", Node: self.Name, Log: d.Log,
	})
	if err != nil {
		return fmt.Errorf("prepare etcd: %w", err)
	}
	defer store.Close()
	l := d.newLoop(cfg, self, timing, store, address)
	for i, w := range append(cfg.Warnings, notes...) {
		l.warnings[fmt.Sprintf("config %d", i)] = fmt.Sprint(w)
	}
	err = d.runLoop(ctx, life, l, store, address)
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if lerr := store.Leave(leave); lerr != nil {
		d.Log.Debug("leave", "err", lerr)
	}
	return err
}

func (d *daemon) newLoop(cfg *configs.Config, self configs.Master, timing election.Timing, lock Lock, a Address) *loop {
	l := &loop{
		clock: d.clock, log: d.Log, box: newMailbox(), lock: lock, notifier: d.notifier,
		announce: make(chan struct{}, 1), dropped: d.Dropped,
		cfg: cfg, self: self, version: d.Version, path: d.Config, process: incarnation(), timing: timing,
		conflicts: map[string]status.Conflict{}, warnings: map[string]string{}, waiting: map[uint64]func(election.Done){},
		watchdog: watchdogEvery(),
	}
	l.caller = newCaller(a, d.clock, func(ev election.Event) { l.box.put(ev) })
	l.keeper = newKeeper(d.RunDir, cfg.VIPKey(), func(ev election.Event) { l.box.put(ev) }, func(err error) {
		d.Log.Error("keep the state for the next start", "err", err)
	})
	return l
}

// incarnation is random, so that no two processes ever write the same ID.
func incarnation() string {
	b := make([]byte, 12)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

func (d *daemon) runLoop(ctx, life context.Context, l *loop, store Lock, address Address) error {
	saved, err := l.keeper.load()
	if err != nil {
		d.Log.Warn("nothing is adopted", "err", err)
	}
	l.drain, err = loadDrained(d.StateDir)
	if err != nil {
		d.Log.Warn("this node counts as drained", "err", err)
	}
	var first []election.Action
	l.machine, first = election.New(election.Config{
		Node: l.self.Name, Incarnation: l.process, Timing: l.timing,
		Priority: l.cfg.Priority(l.self.Name), Preempt: l.cfg.Election.Preempt,
	}, l.now(), saved, l.drain != nil)
	d.faces.setLoop(l.box, address)

	inner, end := context.WithCancel(life)
	defer end()
	l.stop = end
	g, inner := errgroup.WithContext(inner)
	put := func(ev any) { l.box.put(ev) }
	g.Go(func() error { return l.caller.run(inner) })
	g.Go(func() error { return l.keeper.run(inner) })
	g.Go(func() error { return store.Run(inner, func(ev etcd.Event) { put(ev) }) })
	g.Go(func() error { return d.watchLink(inner, address, put) })
	g.Go(func() error { return address.RunAnnouncer(inner, l.announce, l.owned) })
	g.Go(func() error {
		h := &health{cfg: l.cfg.Health, self: l.self.Address.String(), report: func(e healthChanged) { put(e) }}
		return h.run(inner)
	})
	g.Go(func() error { return l.followTimers(inner) })
	g.Go(func() error {
		defer end()
		return l.run(inner, first)
	})
	stop := context.AfterFunc(ctx, func() { put(election.Stop{}) })
	defer stop()
	return g.Wait()
}

// watchLink follows the link and the address for as long as ctx lasts, and
// looks again after every failure.
func (d *daemon) watchLink(ctx context.Context, a Address, put func(any)) error {
	said := ""
	for {
		link, err := a.Link()
		put(linkIs{link, err})
		if err = a.Watch(ctx, func(ev vip.Event) { put(ev) }); ctx.Err() != nil {
			return nil
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			d.Log.Warn("watch the link", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// timersEvery is how often the etcd manifest is looked at again: kubeadm writes
// it after the daemon has started, and people edit it.
const timersEvery = 10 * time.Second

// followTimers derives the timing again when etcd's manifest says other timers.
func (l *loop) followTimers(ctx context.Context) error {
	t := time.NewTicker(timersEvery)
	defer t.Stop()
	last := l.timing
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		timers, err := configs.ReadEtcdManifest(l.cfg.Etcd.Manifest)
		if err != nil {
			continue // it may be half written; the old timing stays
		}
		timing, _, err := l.cfg.Timing(timers)
		switch {
		case err != nil:
			l.box.put(configWarning{"timers", err.Error()})
		case timing != last:
			last = timing
			l.log.Info("etcd's timers changed", "hold", timing.Hold, "takeover", timing.Takeover)
			l.box.put(election.Retime{Timing: timing})
		}
	}
}
