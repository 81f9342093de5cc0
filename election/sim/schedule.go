package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"havip/election"
)

// Result is what became of one schedule.
type Result struct {
	Seed   uint64
	Kind   string
	Faults []string
	Bad    []string // violations; empty: clean
	Stats  Stats
}

// kinds are the schedules: chaos asks for safety (P1) and recovery (P4), the
// others for one promise each in a world where only one thing goes wrong.
var kinds = []struct {
	name   string
	weight int
	run    func(*World)
}{
	{"chaos", 60, runChaos},
	{"crash", 8, runCrash},
	{"crash with a dead watch", 6, runCrashDeadWatch},
	{"etcd leader change", 6, runLeaderChange},
	{"slow etcd", 4, runSlowEtcd},
	{"restart", 6, runRestart},
	{"standby trouble", 4, runStandby},
	{"handover", 6, runHandover},
	{"handover to a node that leaves", 3, runHandoverMeetsStop},
	{"orders one upon the other", 6, runOrders},
	{"requests applied twice", 3, runTwice},
	{"a cluster is made", 10, runBootstrap},
	{"a cluster is made without trouble", 2, runClaimKept},
	{"init on a member", 2, runInitOnMember},
	{"cannot set", 3, runCannotSet},
	{"times are changed", 3, runRetimed},
	{"given up", 2, runGivenUp},
}

// Run plays the schedule of one seed, of the kind that is named or else of one
// that the seed picks. log may be nil.
func Run(seed uint64, kind string, log func(string)) Result {
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	pick := rng.IntN(total)
	i := 0
	for pick >= kinds[i].weight {
		pick -= kinds[i].weight
		i++
	}
	for j, k := range kinds {
		if k.name == kind {
			i = j
		}
	}
	k := kinds[i]
	w := newWorld(rng, size(rng), timings(rng, k.name == "chaos"))
	w.log = log
	if k.name == "chaos" {
		w.oddities()
	}
	if strings.HasPrefix(k.name, "a cluster is made") {
		w.beforeEtcd()
	}
	w.look()
	w.startAll()
	k.run(w)
	return Result{Seed: seed, Kind: k.name, Faults: w.faults, Bad: w.bad, Stats: w.stats}
}

// oddities are what a few schedules have from the start.
func (w *World) oddities() {
	switch w.rng.IntN(20) {
	case 0:
		w.twins()
	case 1:
		w.preempting()
	}
}

func size(rng *rand.Rand) int {
	if rng.IntN(4) == 0 {
		return 5
	}
	return 3
}

// timings gives every node the default, or in some chaos schedules each its own.
func timings(rng *rand.Rand, mix bool) func(int) election.Timing {
	standard := election.DeriveTiming(election.DefaultEtcdElection)
	if !mix || rng.IntN(3) > 0 {
		return func(int) election.Timing { return standard }
	}
	return func(int) election.Timing { return otherTiming(rng) }
}

func otherTiming(rng *rand.Rand) election.Timing {
	t := election.DeriveTiming(election.DefaultEtcdElection)
	holds := []time.Duration{1500 * ms, 2500 * ms, 3 * sec, 4 * sec, 6 * sec}
	t.Hold = holds[rng.IntN(len(holds))]
	t.Takeover = election.MinTakeoverFor(t.Hold)
	return t
}

func (w *World) startAll() {
	for _, n := range w.nodes {
		w.after(w.between(0, 300*ms), n.start)
	}
}

func (w *World) pick() *node { return w.nodes[w.rng.IntN(len(w.nodes))] }

func (w *World) longestTakeover() time.Duration {
	var t time.Duration
	for _, n := range w.nodes {
		t = max(t, n.timing.Takeover)
	}
	return t
}

// awaitHolder lets the world run until somebody holds the address and two more
// seconds have passed, and returns it.
func (w *World) awaitHolder(limit time.Duration) *node {
	end := w.now + limit
	for w.now < end {
		w.run(w.now + 50*ms)
		if h := w.holders(); len(h) == 1 {
			w.run(w.now + 2*sec)
			if h := w.holders(); len(h) == 1 {
				return h[0]
			}
		}
	}
	w.violate("P4: nobody holds the address after %v in which nothing went wrong", limit)
	return nil
}

// quiet sets the world to rights: what comes now has small delays and no faults.
func (w *World) quiet() {
	w.settled = true
	w.etcd.leaderless, w.etcd.down, w.etcd.slow = false, false, 0
	for _, n := range w.nodes {
		n.heal()
		n.powerOn()
		n.thaw()
		if n.drained && n.alive {
			n.step(election.SetDrained{On: false})
		}
		n.drained = false
		if !n.alive {
			n.restartLater()
		} else {
			n.step(election.Health{OK: true, Reason: "ready"})
			n.step(n.linkState())
		}
		if !n.watching {
			n.rewatch(w.between(100*ms, 600*ms))
		}
	}
	w.tellEtcd()
}

// recover checks P4: after the last fault somebody holds the address within the
// budget, and keeps it.
func (w *World) recover() {
	w.quiet()
	takeover := w.slowest
	w.operator()
	// A process that starts (3 s at worst) has a watch within 0.6 s, may find a
	// record that changed just then, waits it out, and may meet one more holder
	// with trouble on the way.
	budget := 3*sec + 2*takeover + 2*sec
	if w.waited {
		budget += election.MaxTakeover
	}
	end := w.now + budget
	patient := w.rng.IntN(8) == 0
	w.run(w.now + 7*sec) // what was still under way, and leaves that wait 5 s for another try
	for w.now < end && (patient || !w.atRest()) {
		w.run(w.now + 500*ms)
	}
	if len(w.holders()) == 0 {
		w.violate("P4: nobody holds the address %v after the last fault", budget)
		return
	}
	holder := w.holders()[0].id
	moves := len(w.moves)
	w.run(w.now + 4*sec)
	w.orderly()
	if w.preempt > 0 {
		w.preempted()
		return
	}
	if h := w.holders(); len(h) != 1 || h[0].id != holder || len(w.moves) != moves {
		w.violate("P3: %s lost the address in a quiet world", holder)
	}
}

func runChaos(w *World) {
	w.run(w.between(500*ms, 6*sec))
	faults := w.someFaults()
	at := w.between(0, 3*sec)
	for range 1 + w.rng.IntN(9) {
		w.after(at, func() { w.randomFault(faults) })
		if w.chance(0.4) {
			at += w.between(0, 400*ms) // one upon the other
		} else {
			at = w.between(0, 8*sec)
		}
	}
	w.run(w.now + 10*sec)
	w.recover()
}

// atRest: did one node hold the address for the last 2 s, and nobody else?
func (w *World) atRest() bool {
	if len(w.holders()) != 1 || w.holders()[0].role != election.Holder {
		return false
	}
	return w.now > w.held[len(w.held)-1].from+2*sec
}

// preempted checks that the address comes to rest where the priorities say.
func (w *World) preempted() {
	w.run(w.now + 4*w.preempt)
	moves := len(w.moves)
	w.run(w.now + 2*w.preempt + 6*sec)
	h := w.holders()
	if len(h) != 1 || len(w.moves) > moves+1 {
		w.violate("P3: the address does not come to rest")
		return
	}
	for _, n := range w.nodes {
		if n.alive && n.prio > h[0].prio && n.name != h[0].name {
			w.violate("P4: %s holds the address, %s has the higher priority", h[0].id, n.id)
			return
		}
	}
}

// budget for a crash: the takeover from the last renewal seen, a read and a
// transaction, the ranks before this one, timers, and the address itself.
func crashBudget(w *World) time.Duration {
	return w.longestTakeover()*101/100 + 600*ms
}

func runCrash(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.fault("%s loses power", h.id)
	h.powerOff()
	w.stall(h)
	w.expectHolder(crashBudget(w), h)
}

// stall lets etcd elect a leader, if the dead node had it.
func (w *World) stall(h *node) {
	w.tellEtcd()
	if w.chance(0.4) {
		w.etcd.leaderless = true
		w.fault("and it had etcd's leader")
		w.after(w.between(950*ms, 2200*ms), func() { w.etcd.leaderless = false })
	}
}

// expectHolder checks P2: within the budget somebody else holds the address.
func (w *World) expectHolder(budget time.Duration, dead *node) {
	start := w.now
	for w.now < start+budget {
		w.run(w.now + 10*ms)
		if h := w.holders(); len(h) == 1 && h[0] != dead {
			w.run(w.now + 3*sec)
			if len(w.holders()) != 1 {
				w.violate("P3: the new holder did not keep the address")
			}
			return
		}
	}
	w.violate("P2: nobody took over within %v", budget)
}

// A watch that died without a word may cost half a takeover more, not a whole one.
func runCrashDeadWatch(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.fault("all watches die silently")
	for _, n := range w.nodes {
		n.silent, n.watching = true, false
	}
	w.run(w.now + w.between(0, 12*sec))
	if l := w.holders(); len(l) != 1 || l[0] != h {
		w.violate("P3: %s lost the address to a dead watch", h.id)
		return
	}
	w.fault("%s loses power", h.id)
	h.powerOff()
	w.tellEtcd()
	w.expectHolder(crashBudget(w)+w.longestTakeover()/2, h)
}

// keeps checks P3: the holder keeps the address without a gap while do goes on.
func (w *World) keeps(d time.Duration, what string) {
	if len(w.holders()) != 1 {
		return
	}
	h := w.holders()[0]
	spans := len(w.held)
	w.run(w.now + d)
	if l := w.holders(); len(l) != 1 || l[0] != h || len(w.held) != spans {
		w.violate("P3: %s did not keep the address through %s", h.name, what)
	}
}

func runLeaderChange(w *World) {
	w.settled = true
	if w.awaitHolder(12*sec) == nil {
		return
	}
	w.run(w.now + w.between(0, sec))
	w.etcd.leaderless = true
	stall := w.between(950*ms, 2200*ms)
	w.fault("etcd has no leader for %v", stall)
	w.after(stall, func() { w.etcd.leaderless = false })
	w.keeps(8*sec, "a leader change of etcd")
}

func runSlowEtcd(w *World) {
	w.settled = true
	if w.awaitHolder(12*sec) == nil {
		return
	}
	w.etcd.slow = w.between(200*ms, 900*ms)
	w.fault("every transaction takes %v longer", w.etcd.slow)
	w.keeps(10*sec, "slow renewals")
}

// A process that is back before its deadline keeps the address where it is.
func runRestart(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	if w.chance(0.3) {
		h.setTiming(otherTiming(w.rng))
	}
	if d := w.between(50*ms, 1000*ms); w.chance(0.5) {
		w.fault("daemon of %s is restarted", h.id)
		h.restart(d)
	} else {
		w.fault("daemon of %s is killed and started again", h.id)
		h.kill("SIGKILL")
		w.after(d, h.start)
	}
	w.stats.Adoptions++
	w.keeps(8*sec, "a restart of its daemon")
}

// runRetimed changes a holder's times again and again and takes it away at any
// moment: what is on the link by then was chosen under the times of before.
func runRetimed(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.settled = false
	for range 4 + w.rng.IntN(8) {
		w.after(w.between(0, 6*sec), func() { w.retime(h) })
	}
	ends := []func(*node){w.freeze, w.crashProcess, w.losePower, w.cutNode}
	w.after(w.between(0, 7*sec), func() { ends[w.rng.IntN(len(ends))](h) })
	w.run(w.now + 15*sec)
	w.recover()
}

// A request that reaches etcd twice is refused the second time, by its own value.
func runTwice(w *World) {
	w.settled = true
	if w.awaitHolder(12*sec) == nil {
		return
	}
	w.twice = 0.3
	w.fault("requests are applied twice")
	w.keeps(10*sec, "requests that are applied twice")
}

// A holder that cannot set the address is no holder: somebody else must serve.
func runCannotSet(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.fault("%s cannot set the address any more", h.id)
	h.failSet = true
	h.deleteAddress()
	w.run(w.now + w.longestTakeover() + 6*sec)
	if l := w.holders(); len(l) != 1 || l[0] == h {
		w.violate("P4: %s cannot set the address and does not let go of the record", h.id)
	}
}

// A snapshot in which the record is free, or of a term that its holder gave up,
// says nothing of who serves now. Being waited out by everybody, it does no harm
// even if etcd was away for less than a takeover.
func runGivenUp(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.settled = false
	w.fault("%s is told to release", h.id)
	h.step(election.Release{Token: 1})
	w.run(w.now + w.between(sec, 2*sec))
	back := ""
	for i, v := range w.etcd.history {
		if r, err := election.DecodeRecord(v); err == nil && r.Free() {
			back = v
			if w.chance(0.5) {
				back = w.etcd.history[i-1] // the last one of the term that was given up
			}
		}
	}
	if back == "" {
		return
	}
	for _, n := range w.holders() {
		if w.chance(0.5) {
			w.cutNode(n)
		} else {
			w.freeze(n)
		}
	}
	down := w.between(2600*ms, 3500*ms) // longer than any watch event is late
	w.fault("etcd: down for %v, then a snapshot of a term that was given up", down)
	w.restoreTo(back, down)
	w.run(w.now + 8*sec)
	w.recover()
}

func runStandby(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	for _, n := range w.nodes {
		if n == h {
			continue
		}
		w.after(w.between(0, 4*sec), func() {
			w.fault("trouble on %s, a standby", n.id)
			switch w.rng.IntN(3) {
			case 0:
				n.kill("SIGKILL")
				w.after(w.between(0, 3*sec), n.start)
			case 1:
				n.healthy = false
				n.step(election.Health{Reason: "no answer in 1 s"})
			case 2:
				n.frozen = true
				w.after(w.between(0, 8*sec), n.thaw)
			}
		})
	}
	w.keeps(12*sec, "trouble on the standbys")
}

func runHandover(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	how := w.rng.IntN(5)
	switch how {
	case 0:
		w.fault("handover from %s by command", h.id)
		h.step(election.HandOver{Token: 1})
	case 1:
		w.fault("%s is drained", h.id)
		h.drained = true
		h.step(election.SetDrained{Token: 1, On: true})
	case 2:
		w.fault("daemon of %s is stopped", h.id)
		h.step(election.Stop{})
	case 3:
		w.fault("API server of %s fails", h.id)
		h.healthy = false
		h.step(election.Health{Reason: "no answer in 1 s"})
	case 4:
		w.fault("%s shuts down", h.id)
		h.step(election.Shutdown{Token: 1, On: true})
	}
	start := w.now
	for w.now < start+sec {
		w.run(w.now + 5*ms)
		if l := w.holders(); len(l) == 1 && l[0] != h {
			if gap := w.gap(); gap > 60*ms {
				w.violate("P2: nobody held the address for %v in a planned handover", gap)
			}
			w.keeps(6*sec, "the time after a handover")
			return
		}
	}
	w.violate("P2: nobody took over within 1 s of a planned handover")
}

// A successor may be told to leave when it has just been chosen: the record must
// not name a process that is gone, or everybody waits it out.
func runHandoverMeetsStop(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.fault("handover from %s by command", h.id)
	h.step(election.HandOver{Token: 1})
	next := w.nodes[0] // equals rank by name
	if next == h {
		next = w.nodes[1]
	}
	w.after(w.between(0, 25*ms), func() {
		switch w.rng.IntN(4) {
		case 0:
			w.fault("daemon of %s is stopped", next.id)
			next.step(election.Stop{})
		case 1:
			w.fault("daemon of %s is restarted", next.id)
			next.restart(w.between(50*ms, 500*ms))
		case 2:
			w.fault("%s is drained", next.id)
			next.drained = true
			next.step(election.SetDrained{Token: 2, On: true})
		case 3:
			w.fault("%s shuts down", next.id)
			next.step(election.Shutdown{Token: 2, On: true})
		}
	})
	spans := len(w.held)
	w.run(w.now + 6*sec)
	for i := spans; i < len(w.held); i++ {
		if gap := w.held[i].from - w.held[i-1].to; gap > 150*ms {
			w.violate("P2: nobody held the address for %v", gap)
		}
	}
	if len(w.holders()) != 1 {
		w.violate("P2: nobody holds the address after a handover")
	}
}

// What people and supervisors order does not cost the address as long as one
// node that could take it is left alone, however fast one order follows the other.
func runOrders(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	spare := w.nodes[len(w.nodes)-1]
	if spare == h {
		spare = w.nodes[0]
	}
	for range 2 + w.rng.IntN(4) {
		n := w.pick()
		if w.chance(0.5) {
			n = h
		}
		if n == spare {
			continue
		}
		w.after(w.between(0, 1500*ms), func() { w.order(n) })
	}
	spans := len(w.held)
	w.run(w.now + 9*sec)
	for i := spans; i < len(w.held); i++ {
		if gap := w.held[i].from - w.held[i-1].to; gap > 150*ms {
			w.violate("P2: nobody held the address for %v", gap)
		}
	}
	if len(w.holders()) != 1 {
		w.violate("P2: nobody holds the address after all that was ordered")
	}
}

// order is one command to one daemon.
func (w *World) order(n *node) {
	if !n.alive {
		return
	}
	switch w.rng.IntN(8) {
	case 0, 1:
		if w.chance(0.3) {
			n.setTiming(otherTiming(w.rng))
		}
		w.fault("daemon of %s is restarted", n.id)
		n.restart(w.between(50*ms, 500*ms))
	case 2:
		w.fault("daemon of %s is stopped", n.id)
		n.step(election.Stop{})
		w.after(w.between(100*ms, 3*sec), n.start)
	case 3:
		on := w.rng.IntN(2) == 0
		w.fault("%s shuts down: %v", n.id, on)
		n.step(election.Shutdown{Token: 1, On: on})
	case 4:
		n.drained = !n.drained
		w.fault("%s is drained: %v", n.id, n.drained)
		n.step(election.SetDrained{Token: 1, On: n.drained})
	case 5:
		w.fault("handover from %s by command", n.id)
		n.step(election.HandOver{Token: 1})
	case 6:
		n.setTiming(otherTiming(w.rng))
		w.fault("%s: hold is now %v", n.id, n.timing.Hold)
		n.step(election.Retime{Timing: n.timing})
	case 7:
		w.fault("API server of %s healthy: %v", n.id, !n.healthy)
		n.healthy = !n.healthy
		n.step(election.Health{OK: n.healthy, Reason: n.healthReason()})
	}
}

// gap is how long nobody had the address before the present holder.
func (w *World) gap() time.Duration {
	if len(w.held) < 2 {
		return 0
	}
	return w.held[len(w.held)-1].from - w.held[len(w.held)-2].to
}

func (r Result) String() string {
	s := fmt.Sprintf("seed %d, %s:\n", r.Seed, r.Kind)
	for _, f := range r.Faults {
		s += "  fault: " + f + "\n"
	}
	for _, b := range r.Bad {
		s += "  VIOLATION: " + b + "\n"
	}
	return s
}
