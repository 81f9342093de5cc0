package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os/signal"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
	"havip/election/heartbeat"
	"havip/vip"
)

// Options is what havipd is told on its command line.
type Options struct {
	Config   string // path of havip.toml
	RunDir   string // memory of this boot
	StateDir string // memory across boots
	Socket   string
	FenceDir string // on a BPF file system: what closes the address when no daemon does
	Version  string
	Log      *slog.Logger
	Dropped  func() int64 // lines the log lost
}

// Run is the daemon. It returns when ctx ends and everything is let go of.
func Run(ctx context.Context, o Options) error {
	lock, err := lockDir(o.RunDir)
	if err != nil {
		pause(ctx) // it would be started again at once, for as long as that lasts
		return err
	}
	// A log that nobody reads any more must not end us: Go dies of a broken pipe
	// on stderr even where systemd has the signal ignored.
	signal.Ignore(unix.SIGPIPE)
	d := &daemon{Options: o, clock: SystemClock(), notifier: newNotifier(), alarm: newAlarm, wire: newWire, fences: systemFences(), restarting: askSystemd, logind: dialLogind}
	d.faces = newFaces(o.StateDir, d.clock, o.Log)
	d.faces.vitals.version = o.Version
	d.waiting("havipd has just started", nil, nil)
	brake(ctx, o.RunDir, d.clock.Boot())

	// What serves the node outlives ctx: handing over needs some time after it.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, life := errgroup.WithContext(life)
	g.Go(func() error { return d.notifier.run(life) })
	g.Go(func() error { return d.faces.serve(life, o.Socket) })
	g.Go(func() error { return d.faces.servePublic(life) })
	g.Go(func() error {
		defer end()
		return d.work(ctx, life)
	})
	err = await(g, life)
	if !errors.Is(err, errStraggler) {
		lock.Close() // else it ends with the process, as the straggler does
	}
	return err
}

// straggling is how long a task may take to end after it was told to. A call
// into a kernel or a disk that hangs has no deadline; the process ends without it.
const straggling = time.Second

// errStraggler means that a task had not ended straggling after it was told to.
var errStraggler = errors.New("a call into the kernel or to the disk does not return")

// await waits for the group's tasks, and only straggling longer than ctx lasts.
func await(g *errgroup.Group, ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(straggling):
		return errStraggler
	}
}

type daemon struct {
	Options
	clock    Clock
	notifier *notifier
	faces    *faces

	alarm      func() alarm
	wire       func(heartbeat.Config) Wire
	fences     fences
	restarting func(context.Context) (bool, error) // systemd is about to start this service again
	logind     func(context.Context) (logind, error)
}

// work waits until there is something to do, and does it until ctx ends.
func (d *daemon) work(ctx, life context.Context) error {
	cfg, err := configs.Load(d.Config)
	if err != nil {
		d.trouble("the config file has problems", err, nil)
		return d.idleUntil(ctx, "the config file has problems: havipctl config check")
	}
	listen := cfg.Metrics.Listen
	if listen.On() && listen.Host != configs.SelfHost {
		d.faces.vitals.listenOn(listen.Address(netip.Addr{}))
	}
	if !cfg.Configured() {
		d.faces.setIdle(status.Document{Version: d.Version, Config: d.Config})
		return d.idleUntil(ctx, "not configured: no [vip] in "+d.Config)
	}
	self, ok := d.findSelf(ctx, cfg)
	if !ok {
		return nil
	}
	if listen.On() && listen.Host == configs.SelfHost {
		d.faces.vitals.listenOn(listen.Address(self.Address))
	}
	return d.elect(ctx, life, cfg, self)
}

// elect takes part in the election until ctx ends and the machine has let go.
func (d *daemon) elect(ctx, life context.Context, cfg *configs.Config, self configs.Master) error {
	timers, err := configs.ReadEtcdManifest(cfg.Etcd.Manifest)
	if err != nil {
		d.Log.Warn("etcd's timers are not known, using its defaults", "err", err)
	}
	timing, notes, err := cfg.Timing(timers)
	if err != nil {
		d.trouble("the config file does not fit etcd's timers", err, cfg)
		return d.idleUntil(ctx, "the config file does not fit etcd's timers: havipctl config check")
	}
	address, err := vip.New(vip.Config{Addresses: cfg.VIP.Addresses, Interface: cfg.VIP.Interface.String(), Log: d.Log})
	if err != nil {
		d.trouble("the address cannot be served", err, cfg)
		return d.idleUntil(ctx, "the address cannot be served: havipctl status")
	}
	store, err := etcd.New(etcd.Config{
		Endpoint: cfg.Etcd.Endpoint, CA: cfg.Etcd.CA, Cert: cfg.Etcd.Cert, Key: cfg.Etcd.Key,
		Prefix: "/havip/v1/" + cfg.VIPKey() + "/", History: "/havip/history/v1/" + cfg.VIPKey() + "/", Node: self.Name, Log: d.Log,
	})
	if err != nil {
		d.trouble("etcd cannot be used", err, cfg)
		return d.idleUntil(ctx, "etcd cannot be used: havipctl status")
	}
	defer store.Close()
	l := d.newLoop(cfg, self, timing, store, address)
	for i, w := range cfg.Warnings {
		l.warnings[fmt.Sprintf("config %d", i)] = fmt.Sprint(w)
	}
	for i, w := range notes {
		l.warnings[fmt.Sprintf("timers %d", i)] = fmt.Sprint(w)
	}
	d.faces.setCluster(store, l.process)
	err = d.runLoop(ctx, life, l, store, address)
	if l.followed.Load() {
		return err // the next process takes the presence over
	}
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if lerr := store.Leave(leave); lerr != nil {
		d.Log.Debug("leave", "err", lerr)
	}
	return err
}

func (d *daemon) newLoop(cfg *configs.Config, self configs.Master, timing election.Timing, lock Store, a Address) *loop {
	l := &loop{
		clock: d.clock, log: d.Log, box: newMailbox(), alarm: d.alarm(), lock: lock, address: a, notifier: d.notifier,
		announce: make(chan struct{}, 1), dropped: d.Dropped,
		meter: d.faces.vitals.count(self.Name, cfg.VIPKey()), beat: &d.faces.vitals.beat,
		cfg: cfg, self: self, version: d.Version, path: d.Config, process: incarnation(), timing: timing,
		conflicts: map[string]claimed{}, heard: map[string]time.Duration{}, warnings: map[string]string{}, waiting: map[uint64]func(election.Done){},
		watchdog: watchdogEvery(),
	}
	l.heartbeats = d.newHeartbeats(cfg, l.process, lock, func(ev election.Event) { l.box.put(ev) })
	l.caller = newCaller(a, d.clock, func(ev election.Event) { l.box.put(ev) })
	l.reunion = newReunion(a, d.Log, func(e returned) { l.box.put(e) })
	l.history = newHistorian(lock, d.clock, d.Log, d.StateDir, cfg.VIPKey(), self.Name)
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
	if saved != nil && saved.Claim != 0 && !d.faces.claimGoesOn() {
		saved = nil
	}
	l.drain, err = loadDrained(d.StateDir)
	if err != nil {
		d.Log.Warn("this node counts as drained", "err", err)
	}
	if err := l.history.load(); err != nil {
		d.Log.Warn("the history of before is not known", "err", err)
	}
	l.adopt, err = loadAdopt(d.StateDir)
	if err != nil {
		d.Log.Warn("this node is kept back as in a migration", "err", err)
	}
	if err := l.heartbeats.load(); err != nil {
		d.Log.Warn("the members and the key of before are not known", "err", err)
	}
	address.Spare(spares(l.adopt.Stage))
	l.fencing = d.newFencing(l, address, servedUntil(saved))
	if saved != nil {
		saved.Open = l.fencing.until()
	}
	var first []election.Action
	l.machine, first = election.New(election.Config{
		Node: l.self.Name, Incarnation: l.process, Timing: l.timing,
		Priority: l.cfg.Priority(l.self.Name), Preempt: l.cfg.Election.Preempt,
		Detection: l.cfg.Election.Detection.Heartbeats(),
	}, l.now(), saved, l.drain != nil || keptBack(l.adopt.Stage))
	d.faces.setLoop(l.box, address, l.cfg, l.self)
	d.faces.history.Store(l.history)
	d.faces.heartbeats.Store(l.heartbeats)
	l.waited = func() error { return d.faces.endWait(l.box, address) }
	l.elected = func() { d.faces.claimOver(l.box) }

	inner, end := context.WithCancel(life)
	defer end()
	l.stop = end
	g, inner := errgroup.WithContext(inner)
	go l.history.run(inner) // not awaited: a disk that hangs must not keep the daemon
	put := func(ev any) { l.box.put(ev) }
	// A daemon without one of its senses must not go on, nor leave the address
	// behind: it gives the address away first, and then ends with the error.
	task := func(name string, run func(context.Context) error) {
		g.Go(func() error {
			err := run(inner)
			if inner.Err() != nil {
				return nil
			}
			put(election.Stop{})
			<-inner.Done()
			return fmt.Errorf("%s ended: %w", name, cmp.Or(err, errNoReason))
		})
	}
	task("calling the kernel", l.caller.run)
	task("keeping the state", l.keeper.run)
	task("following etcd", func(ctx context.Context) error { return store.Run(ctx, func(ev etcd.Event) { put(ev) }) })
	if h := l.heartbeats; h != nil {
		task("hearing the other masters", h.wire.Run)
		task("following etcd's members", h.follow)
		task("keeping the members and the key", h.keep)
	}
	task("watching the link", func(ctx context.Context) error { return d.watchLink(ctx, address, put) })
	task("looking at the link", func(ctx context.Context) error { return lookAtLink(ctx, address, d.clock, put) })
	task("fencing the link", l.fencing.run)
	task("announcing", func(ctx context.Context) error { return address.RunAnnouncer(ctx, l.announce, l.owned) })
	task("waiting for the holder before this one", l.reunion.run)
	task("checking the API server", func(ctx context.Context) error {
		h := &health{cfg: l.cfg.Health, self: l.self.Address.String(), report: func(e healthChanged) { put(e) }}
		return h.run(ctx)
	})
	task("asking the gateway", func(ctx context.Context) error {
		g := &gateway{cfg: l.cfg.Health, ask: address.Reaches, holds: l.owned, report: func(e gatewayChanged) { put(e) }}
		return g.run(ctx)
	})
	task("following etcd's timers", l.followTimers)
	task("delaying shutdowns", func(ctx context.Context) error {
		return d.delayShutdown(ctx, func(on bool) <-chan election.Done {
			return send(l.box, command{make: func(t uint64) election.Event { return election.Shutdown{Token: t, On: on} }})
		})
	})
	g.Go(func() error {
		defer end()
		return l.run(inner, first)
	})
	stop := context.AfterFunc(ctx, func() {
		l.followed.Store(d.followed(l.cfg, l.self))
		put(election.Stop{Restart: l.followed.Load()})
	})
	defer stop()
	err = await(g, inner)
	if !errors.Is(err, errStraggler) && !l.followed.Load() && l.machine.Glance().Address == "absent" {
		l.fencing.end()
	}
	return err
}

// servedUntil is until when the process before had the right to serve.
func servedUntil(s *election.SavedState) time.Duration {
	if s == nil || s.GivenAway {
		return 0
	}
	return max(s.Right, s.Claim)
}

// errNoReason is why a task ended that did not say.
var errNoReason = errors.New("without an error")

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
		timing, notes, err := l.cfg.Timing(timers)
		l.box.put(timersNote{notes, err})
		if err == nil && timing != last {
			last = timing
			l.log.Info("etcd's timers changed", "hold", timing.Hold, "takeover", timing.Takeover)
			l.box.put(election.Retime{Timing: timing, Detection: l.cfg.Election.Detection.Heartbeats()})
		}
	}
}
