package sim

import (
	"fmt"
	"math/rand/v2"
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
	before func(*World) // the start of the daemons; may be nil
	run    func(*World)
}{
	{"chaos", 60, (*World).oddities, runChaos},
	{"crash", 8, nil, runCrash},
	{"crash with a dead watch", 6, nil, runCrashDeadWatch},
	{"etcd leader change", 6, nil, runLeaderChange},
	{"slow etcd", 4, nil, runSlowEtcd},
	{"restart", 6, nil, runRestart},
	{"standby trouble", 4, nil, runStandby},
	{"handover", 6, nil, runHandover},
	{"handover to a node that leaves", 3, nil, runHandoverMeetsStop},
	{"orders one upon the other", 6, nil, runOrders},
	{"requests applied twice", 3, nil, runTwice},
	{"a cluster is made", 10, (*World).beforeEtcd, runBootstrap},
	{"a cluster is made without trouble", 2, (*World).beforeEtcd, runClaimKept},
	{"init on a member", 2, nil, runInitOnMember},
	{"cannot set", 3, nil, runCannotSet},
	{"times are changed", 3, nil, runRetimed},
	{"given up", 2, nil, runGivenUp},

	{"heartbeats", 40, (*World).withBeats, runBeats},
	{"heartbeats: edges of epochs", 20, (*World).withBeats, runEdges},
	{"heartbeats: fights over an epoch", 20, (*World).withFights, runFights},
	{"heartbeats: killed on the way", 8, (*World).withFights, runKilled},
	{"heartbeats: killed with an old state", 4, (*World).withCalmBeats, runStale},
	{"heartbeats: an epoch begins unnoticed", 4, (*World).withCalmBeats, runUnnoticed},
	{"heartbeats: echoes of an epoch", 4, (*World).withCalmBeats, runEchoes},
	{"heartbeats: a cluster is made", 5, (*World).beforeEtcdWithBeats, runBootstrap},
	{"heartbeats: a cluster is made without trouble", 1, (*World).beforeEtcdWithBeats, runClaimKept},
	{"heartbeats: crash", 3, (*World).withCalmBeats, runBeatsCrash},
	{"heartbeats: crash with etcd's leader", 3, (*World).withCalmBeats, runBeatsCrashLeader},
	{"heartbeats: frozen holder", 3, (*World).withCalmBeats, runBeatsFrozen},
	{"heartbeats: standby trouble", 4, (*World).withCalmBeats, runBeatsStandbys},
	{"heartbeats: etcd trouble", 3, (*World).withCalmBeats, runBeatsEtcd},
	{"heartbeats: upgrade with a slow etcd", 2, (*World).withCalmBeats, runBeatsUpgrade},
	{"heartbeats: blocked port", 2, (*World).withCalmBeats, runBeatsBlocked},
	{"heartbeats: restart", 2, (*World).withCalmBeats, runBeatsRestart},
	{"heartbeats: kill", 4, (*World).withCalmBeats, runBeatsKilled},
	{"heartbeats: kill without etcd", 1, (*World).withCalmBeats, runBeatsKilledAlone},
	{"heartbeats: handover", 3, (*World).withCalmBeats, runBeatsHandover},
	{"heartbeats: members", 2, (*World).withCalmBeats, runBeatsMembers},
	{"heartbeats: idle", 1, (*World).withCalmBeats, runBeatsIdle},
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
	w := newWorld(rng, size(rng), timings(rng, mixes[k.name]))
	w.log = log
	if k.before != nil {
		k.before(w)
	}
	w.look()
	w.startAll()
	k.run(w)
	return Result{Seed: seed, Kind: k.name, Faults: w.faults, Bad: w.bad, Stats: w.stats}
}

// mixes are the kinds in which every node may have its own times.
var mixes = map[string]bool{"chaos": true, "heartbeats": true, "heartbeats: edges of epochs": true}

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
	w.healBeats()
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
		if n.alive && w.inCell(n) && n.prio > h[0].prio && n.name != h[0].name {
			w.violate("P4: %s holds the address, %s has the higher priority", h[0].id, n.id)
			return
		}
	}
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
