package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
	"havip/vip"
)

const (
	// pulse bounds how long the loop sleeps: the watchdog wants to be fed, and the
	// runtime's timers do not count the time a machine was suspended.
	pulse = 500 * time.Millisecond

	// conflictEvery is how often a foreign claim of the address is answered by
	// announcing again (RFC 5227 section 2.4, DEFEND_INTERVAL).
	conflictEvery = 10 * time.Second

	// againEvery bounds how often what happens elsewhere makes this node announce.
	againEvery = time.Second

	// silence is how long a master's daemon must not have been heard for its coming
	// back to be news: it is asked twice a second at least.
	silence = 1200 * time.Millisecond

	// expiryUnsure is how long before the end of its lifetime an address may be
	// gone by itself: the lifetime counts from within the call that set it.
	expiryUnsure = 200 * time.Millisecond

	// eventsKept is how many transitions the status can show.
	eventsKept = 50
)

// loop owns the machine. All its fields belong to its goroutine but those that
// say otherwise.
type loop struct {
	clock   Clock
	log     *slog.Logger
	machine *election.Machine
	box     *mailbox
	alarm   alarm

	lock       Lock
	caller     *caller
	address    Address
	keeper     *keeper
	fencing    *fencing
	reunion    *reunion
	history    *historian
	heartbeats *heartbeats // nil: off
	notifier   *notifier
	announce   chan struct{}
	ownedTil   atomic.Int64 // any goroutine: until when the neighbours may be told
	dropped    func() int64
	meter      meter
	beat       *atomic.Int64 // any goroutine: when the loop last moved

	cfg     *configs.Config
	self    configs.Master
	version string
	path    string
	process string
	timing  election.Timing
	etcdNow etcd.Status
	health  healthChanged
	gateway gatewayChanged
	link    vip.Link
	linkWhy string
	noticed time.Duration // when a notice last told of the link; 0: never
	roster  roster
	mine    election.Peer // what the machine last published
	trip    time.Duration

	asked     bool                     // etcdNow was told
	answered  time.Duration            // when etcd last answered with a quorum; 0: never
	reign     reign                    // of whom the record names
	lapsed    lapse                    // of whom it named before
	cutOff    configs.Master           // who was last taken over from for silence
	toldAgain time.Duration            // when tellAgain last did; 0: never
	heard     map[string]time.Duration // by member: when its daemon was last heard
	reasserts int64
	conflicts map[string]claimed // by address and MAC
	foreign   time.Duration      // when a conflict was last answered and logged; 0: never
	warnings  map[string]string
	events    []status.Event
	drain     *drainMark
	adopt     status.AdoptMark
	ending    bool         // the mark of adopt is being erased
	waited    func() error // any goroutine: erases it
	elected   func()       // any goroutine: writes down that a claim is over
	token     uint64
	waiting   map[uint64]func(election.Done)
	waiters   []*query
	fed       time.Duration
	watchdog  time.Duration
	stop      func()      // called once when the machine exits
	followed  atomic.Bool // any goroutine: another process of this node follows at once
}

// Messages of the loop's own, beside the election's events.
type (
	query struct {
		held   bool // answer once somebody holds the address
		until  time.Duration
		gone   context.Context // done: nobody waits any more
		answer chan status.Document
	}
	command struct {
		make   func(token uint64) election.Event
		drain  **drainMark // with drain and undrain: what the mark is from now on
		answer func(election.Done)
	}
	linkIs struct {
		link  vip.Link
		err   error
		begun time.Duration // when it was looked at
	}
	// timersNote is what deriving the timing from etcd's timers had to say.
	timersNote struct {
		warnings []configs.Warning
		err      error
	}
	tripIs struct{ d time.Duration }
	// standing asks where this node stands, for a claim.
	standing struct{ answer chan claimStanding }
)

// claimed is a conflict and when it last came.
type claimed struct {
	status.Conflict
	at time.Duration
}

// conflictsKept bounds the list: anybody on the link can claim the address, each
// time with another MAC.
const conflictsKept = 16

// run is the loop. It ends when ctx does, or when the machine has let go of everything.
func (l *loop) run(ctx context.Context, first []election.Action) error {
	l.perform(first)
	defer l.alarm.end()
	for {
		l.afterStep()
		l.setAlarm()
		select {
		case <-ctx.Done():
			return nil
		case <-l.box.ready:
			for _, ev := range l.box.take() {
				l.handle(ev)
			}
		case <-l.alarm.rings():
			l.step(election.Tick{})
		}
	}
}

func (l *loop) setAlarm() {
	next, now := l.machine.Next(), l.clock.Boot()
	if next-now > pulse || next < 0 {
		next = now + pulse
	}
	l.alarm.set(max(next, now), now)
}

func (l *loop) now() election.Now {
	return election.Now{Boot: l.clock.Boot(), Wall: l.clock.Wall().UnixMilli()}
}

// step says what is owned before it has anybody told: the announcer asks at once.
func (l *loop) step(ev election.Event) {
	acts := l.machine.Step(l.now(), ev)
	l.ownedTil.Store(int64(ownedUntil(l.machine.Glance())))
	l.perform(acts)
}

// afterStep lets the rest of the process see what the machine decided.
func (l *loop) afterStep() {
	v, now := l.machine.Glance(), l.clock.Boot()
	l.beat.Store(int64(now))
	l.noteReign(v, now)
	l.notifier.say(sentence(v, now))
	if l.watchdog > 0 && now-l.fed >= l.watchdog/2 {
		l.fed = now
		l.notifier.feed()
	}
	l.answerWaiters()
	l.fencing.tend()
}

// ownedUntil is until when the address may be announced: it is on the link, and
// is so by right.
func ownedUntil(v election.Glance) time.Duration {
	if !v.Serving || v.Address == "absent" {
		return 0
	}
	if v.LivesTill == 0 {
		return v.Right
	}
	return min(v.Right, v.LivesTill)
}

// owned is asked right before every announcement.
func (l *loop) owned() bool { return l.clock.Boot() < time.Duration(l.ownedTil.Load()) }

func (l *loop) handle(ev any) {
	switch e := ev.(type) {
	case election.Retime:
		l.timing = e.Timing
		l.step(e)
	case election.Fence:
		l.fenceIs(e)
	case election.Heard:
		l.step(e)
		l.heardOf(e.From)
	case election.Event:
		l.step(e)
	case etcd.Event:
		l.fromEtcd(e)
	case vip.Event:
		l.fromLink(e)
	case returned:
		if e.host == l.cutOff.Address {
			l.cutOff = configs.Master{}
		}
		l.tellNeighbours()
	case linkIs:
		l.looked(e)
	case healthChanged:
		l.health = e
		l.step(l.ownHealth())
		l.publish()
	case gatewayChanged:
		l.gateway = e
		l.step(l.ownHealth())
		l.publish()
	case *query:
		l.query(e)
	case command:
		l.command(e)
	case standing:
		e.answer <- l.claimStanding()
	case adoptAsk:
		l.adoptAsk(e)
	case adoptIs:
		l.adoptIs(e)
	case timersNote:
		l.timersNote(e)
	case tripIs:
		l.trip = e.d
	}
}

// fenceIs also tells people: only the holder says why it does without heartbeats.
func (l *loop) fenceIs(e election.Fence) {
	delete(l.warnings, "fence")
	if !e.OK {
		l.warnings["fence"] = "there is no fence here, so heartbeats are not used while this node is the holder: " + e.Reason
	}
	l.step(e)
}

func (l *loop) fromEtcd(ev etcd.Event) {
	switch e := ev.(type) {
	case etcd.Record:
		l.history.record(e)
		l.step(election.Observed{Value: e.Value, Live: e.Live})
		l.endWait()
	case etcd.WatchLost:
		l.log.Debug("watch lost", "reason", e.Err)
	case etcd.Nodes:
		now, before := l.clock.Boot(), l.roster.now
		l.step(election.Peers{List: l.roster.update(e.Values, now, l.lastSure(now))})
		l.checkTwin()
		l.endWait()
		if l.machine.Glance().Serving && l.roster.joined(before) {
			l.tellAgain() // who was cut off beside that node may have the old holder's MAC
		}
	case etcd.Call:
		var c election.Call
		if e.Value == "" || json.Unmarshal([]byte(e.Value), &c) == nil {
			l.step(election.Called{Call: c})
		}
	case etcd.Key:
		l.heartbeats.key(e.Value)
	case etcd.Status:
		back := l.asked && !l.etcdAnswers()
		l.etcdNow, l.asked = e, true
		l.heartbeats.status(e)
		if l.etcdAnswers() {
			l.answered = l.clock.Boot()
			if back && l.machine.Glance().Serving {
				l.tellAgain() // it was this node that was cut off, and others may have spoken
			}
		}
		l.history.etcdAnswers(l.etcdAnswers(), e.Reason)
		local := e.State == etcd.Ready && e.Local
		l.step(election.Etcd{Local: local, Elsewhere: !local && e.Via != "" && !e.Local, Reason: etcdReason(e)})
		l.publish()
	}
}

func etcdReason(s etcd.Status) string {
	switch {
	case s.Reason != "":
		return s.Reason
	case s.State == etcd.Ready && !s.Local:
		return "its keys are being read"
	default:
		return s.State.String()
	}
}

// checkTwin notices another node of this node's name: its presence replaces ours.
func (l *loop) checkTwin() {
	p, ok := l.roster.now[l.self.Name]
	if ok && p.Process != l.process && p.Address != l.self.Address.String() {
		l.warnings["twin"] = fmt.Sprintf("the node at %s has the name %s too: [masters] must be the same in the file of every master", p.Address, l.self.Name)
		return
	}
	delete(l.warnings, "twin")
}

func (l *loop) conflict(e vip.Conflict) {
	if !l.machine.Glance().Serving {
		return
	}
	now, key := l.clock.Boot(), e.Addr.String()+" "+e.MAC.String()
	c := l.conflicts[key]
	first := c.Count == 0
	c.Address, c.MAC, c.At, c.at = e.Addr, e.MAC.String(), l.clock.Wall(), now
	c.Count++
	l.meter.Conflict()
	l.conflicts[key] = c
	l.forgetConflicts()
	if l.machine.Glance().Claim > 0 {
		// There is no record yet that says whose the address is.
		l.step(election.Unclaim{Reason: fmt.Sprintf("%s claims %s too", e.MAC, e.Addr)})
		return
	}
	if l.foreign != 0 && now-l.foreign < conflictEvery {
		return
	}
	l.foreign = now
	if first {
		l.log.Warn("somebody else claims the address", "address", e.Addr, "mac", e.MAC.String())
		l.remember(fmt.Sprintf("%s claims %s too", e.MAC, e.Addr))
	}
	l.tellNeighbours()
}

// forgetConflicts keeps the newest.
func (l *loop) forgetConflicts() {
	for len(l.conflicts) > conflictsKept {
		oldest := ""
		for key, c := range l.conflicts {
			if oldest == "" || c.at < l.conflicts[oldest].at {
				oldest = key
			}
		}
		delete(l.conflicts, oldest)
	}
}

// timersNote replaces the warnings about etcd's timers.
func (l *loop) timersNote(n timersNote) {
	maps.DeleteFunc(l.warnings, func(key, _ string) bool { return strings.HasPrefix(key, "timers ") })
	if n.err != nil {
		l.warnings["timers "] = n.err.Error()
	}
	for i, w := range n.warnings {
		l.warnings[fmt.Sprintf("timers %d", i)] = fmt.Sprint(w)
	}
}

func (l *loop) tellNeighbours() {
	select {
	case l.announce <- struct{}{}:
	default:
	}
}

// heardOf notices that another master's daemon is heard after a silence: who was cut
// off beside it may have the old holder's MAC.
func (l *loop) heardOf(member string) {
	now, last := l.clock.Boot(), l.heard[member]
	l.heard[member] = now
	if now-last > silence && l.machine.Glance().Serving {
		l.tellAgain()
	}
}

// tellAgain tells what the neighbours may have missed, once a second at most: a
// burst goes on for longer.
func (l *loop) tellAgain() {
	now := l.clock.Boot()
	if l.toldAgain != 0 && now-l.toldAgain < againEvery {
		return
	}
	l.toldAgain = now
	l.tellNeighbours()
}

func (l *loop) remember(text string) {
	l.events = append(l.events, status.Event{At: l.clock.Wall(), Text: text})
	if n := len(l.events) - eventsKept; n > 0 {
		l.events = l.events[n:]
	}
}

// publish says in etcd what this node is, when that has changed.
func (l *loop) publish() {
	if l.mine.Node == "" {
		return
	}
	l.lock.Publish(presence{
		Peer: l.mine, Address: l.self.Address.String(), Version: l.version, Link: l.link.Name, Gateway: l.gateway.state, Cut: l.gateway.detail,
		Etcd: l.memberState(), APIServer: cmp.Or(l.health.state, status.APIUnknown), Detail: l.healthDetail(), Process: l.process,
		Adopt: l.adopt.Stage, Detection: l.detection(),
	}.encode())
}

func (l *loop) healthDetail() string {
	if l.health.event.OK {
		return ""
	}
	return l.health.event.Reason
}
