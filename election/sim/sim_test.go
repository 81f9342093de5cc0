package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	schedules = flag.Int("schedules", 4000, "how many random schedules to play")
	firstSeed = flag.Uint64("first", 1, "seed of the first one")
	enough    = flag.Int("enough", 5, "stop after this many schedules that broke a promise")
	oneSeed   = flag.Uint64("seed", 0, "play only this seed and print what happens in it")
	oneKind   = flag.String("kind", "", "play only schedules of this kind")
)

// kept are seeds that once broke a promise: they are played first, always. A
// change of the model gives a seed another schedule; then they are random ones.
var kept = []uint64{
	29737,        // P1: news of a removal made a set address absent, and it was given away uncleared
	16310, 23163, // P1: nonsense was released before a frozen holder with longer timers was done
	2840, 7736, 11557, 12195, // an address without a right was left for its kernel lifetime
	308, 4188, 6977, // set calls that failed were repeated at once
	1, 69, // a request applied twice lost the record
	27, 85, // a holder that could not set kept the record
	433003692, // an epoch was begun right after a handover, every 50 ms while etcd was gone
}

// TestSchedules plays random schedules and demands that none breaks a promise.
func TestSchedules(t *testing.T) {
	if *oneSeed != 0 {
		r := Run(*oneSeed, *oneKind, func(s string) { fmt.Println(s) })
		if len(r.Bad) > 0 {
			t.Errorf("%v", r)
		}
		return
	}
	for _, seed := range kept {
		if r := Run(seed, *oneKind, nil); len(r.Bad) > 0 {
			t.Errorf("%vgo test ./election/sim -run TestSchedules -seed %d   shows it", r, seed)
		}
	}
	total, bad := play(*firstSeed, *schedules, *enough)
	for _, r := range bad {
		t.Errorf("%vgo test ./election/sim -run TestSchedules -seed %d   shows it", r, r.Seed)
	}
	t.Logf("%d schedules: %+v", *schedules, total)
	reached(t, total)
	fmt.Fprintf(os.Stderr, "simulation: %d schedules, %d steps, %d violations\n", *schedules, total.Steps, len(bad))
}

// reached guards against a simulation that no longer gets to the corners.
func reached(t *testing.T, s Stats) {
	t.Helper()
	if *schedules < 2000 || *oneKind != "" {
		return
	}
	for name, n := range map[string]int{
		"unknown outcomes": s.Unknown, "late commits": s.LateCommits, "takeovers": s.Takeovers, "handovers": s.Handovers,
		"adoptions": s.Adoptions, "kills in a set call": s.Killed, "restores": s.Restored, "lapses": s.Lapses, "claims": s.Claims,
		"epochs": s.Epochs, "falls to plain": s.Falls, "abandonments": s.Abandoned, "takeovers by abandonment": s.ByAbandonment,
		"denials after a restart": s.Refusals, "datagrams that a later process got": s.LateDatagrams, "frozen holders that were fenced": s.Fenced,
		"epochs that began late": s.LateEpochs, "changes of members": s.Members,
	} {
		if n == 0 {
			t.Errorf("the schedules never had any %s", name)
		}
	}
}

// play runs n schedules on all processors and stops early after enough failures.
func play(first uint64, n, enough int) (Stats, []Result) {
	var (
		next  atomic.Uint64
		mu    sync.Mutex
		total Stats
		bad   []Result
		wg    sync.WaitGroup
	)
	// A schedule leaves little behind: more of the time goes to the schedules.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				mu.Lock()
				stop := i >= uint64(n) || len(bad) >= enough
				mu.Unlock()
				if stop {
					return
				}
				r := Run(first+i, *oneKind, nil)
				mu.Lock()
				total.add(r.Stats)
				if len(r.Bad) > 0 {
					bad = append(bad, r)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total, bad
}
