package daemon

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"havip/daemon/status"
	"havip/election/etcd"
	"havip/vip"
)

// fault is what can go wrong on a node, or be done to it.
type fault struct {
	name              string
	often             int           // how many times as often as the rarest
	shortest, longest time.Duration // it lasts

	// strike returns what ends it, nil if nothing does.
	strike func(n *node, chance *rand.Rand) (over func())
}

const milli = time.Millisecond

var allFaults = []fault{
	{"killed", 3, 10 * milli, 60 * milli, killed},
	{"killed, and started late", 1, 100 * milli, 6 * time.Second, killed},
	{"killed in its next transaction", 1, 600 * milli, 3 * time.Second, killedIn(inWrite)},
	{"killed as it sets the address", 1, 600 * milli, 3 * time.Second, killedIn(inSet)},
	{"killed as it saves its state", 1, 600 * milli, 3 * time.Second, killedIn(inSave)},
	{"killed as it takes the fence away", 1, 600 * milli, 3 * time.Second, killedIn(inDetach)},
	{"stopped for a restart", 2, 0, 0, restarted},
	{"stopped for good", 1, 100 * milli, 3 * time.Second, stopped},
	{"started with another detection", 1, 0, 0, configured},
	{"etcd has no leader", 1, 100 * milli, 6 * time.Second, leaderless},
	{"etcd hangs", 1, 100 * milli, 6 * time.Second, hanging},
	{"transactions are slow", 1, 50 * milli, 4 * time.Second, slow},
	{"answers of etcd are lost", 1, 50 * milli, 4 * time.Second, deaf},
	{"cut off from the other masters", 1, 50 * milli, 2 * time.Second, cut},
	{"the link is gone", 3, 1 * milli, 1500 * milli, unplugged},
	{"the kernel is busy", 1, 50 * milli, 4 * time.Second, loaded},
	{"the address is deleted", 1, 0, 0, deleted},
	{"no link can be fenced", 2, 50 * milli, 4 * time.Second, unfenced},
	{"the disk is full", 2, 50 * milli, 9 * time.Second, full},
	{"handed over", 1, 0, 0, handedOver},
	{"drained", 1, 50 * milli, 4 * time.Second, drained},
	{"a migration back begins", 2, 0, 0, givenBack},
	{"the migration is over", 1, 0, 0, func(n *node, _ *rand.Rand) func() { n.migrated(); return nil }},
}

// faults has each as often as it is to be.
func faults() []fault {
	var list []fault
	for _, f := range allFaults {
		list = append(list, slices.Repeat([]fault{f}, f.often)...)
	}
	return list
}

func killed(n *node, _ *rand.Rand) func() {
	n.kill()
	return n.start
}

// killedIn lets a daemon die right before or right after its next call, and be gone for
// as long as the next start takes, or for longer.
func killedIn(c call) func(*node, *rand.Rand) func() {
	return func(n *node, chance *rand.Rand) func() {
		if !n.alive {
			return nil
		}
		if chance.IntN(2) == 0 {
			n.pause = between(chance, 100*milli, 3*time.Second)
		}
		after := chance.IntN(2) == 0
		n.change(func(f *faulty) { f.dies, f.after = c, after })
		return func() {
			n.pause = soon
			n.change(func(f *faulty) { f.dies = 0 })
		}
	}
}

// restarted is `systemctl restart`, which the daemon may or may not learn in time.
func restarted(n *node, chance *rand.Rand) func() {
	if n.alive {
		again := chance.IntN(3) > 0
		n.change(func(f *faulty) { f.again = again })
		n.shell.stop()
	}
	return nil // systemd starts what has ended
}

// stopped is `systemctl stop`, and a kill if that takes too long.
func stopped(n *node, _ *rand.Rand) func() {
	if n.alive {
		n.down = true
		n.shell.stop()
	}
	return func() {
		n.down = false
		n.start()
	}
}

func configured(n *node, chance *rand.Rand) func() {
	n.extra = []string{"", "[election]\ndetection = \"standard\"\n", withHeartbeats, withHeartbeats}[chance.IntN(4)]
	return restarted(n, chance)
}

func leaderless(n *node, _ *rand.Rand) func() {
	s := ready(false)
	s.State, s.IsLeader, s.Reason, s.Member = etcd.NoLeader, false, "no leader", n.member
	n.whole.silence(n.name, etcd.WatchLost{Err: errors.New("no leader")}, s)
	return n.heard
}

// hanging: nobody tells the daemon.
func hanging(n *node, _ *rand.Rand) func() {
	n.whole.silence(n.name)
	return n.heard
}

// heard has etcd answer again.
func (n *node) heard() {
	n.whole.lock.Lock()
	mute, follows := n.whole.mute[n.name], n.whole.sinks[n.name] != nil
	delete(n.whole.mute, n.name)
	n.whole.lock.Unlock()
	if mute && follows {
		n.whole.speak(n.name)
	}
}

func slow(n *node, chance *rand.Rand) func() {
	to, from := between(chance, 0, 900*milli), between(chance, 0, 900*milli)
	n.change(func(f *faulty) { f.to, f.from = to, from })
	return func() { n.change(func(f *faulty) { f.to, f.from = 0, 0 }) }
}

func deaf(n *node, _ *rand.Rand) func() {
	n.change(func(f *faulty) { f.lost = true })
	return func() { n.change(func(f *faulty) { f.lost = false }) }
}

func cut(n *node, _ *rand.Rand) func() {
	n.whole.ether.cutOff(n.member, true)
	return func() { n.whole.ether.cutOff(n.member, false) }
}

func unplugged(n *node, _ *rand.Rand) func() {
	n.linkGoes()
	return n.linkComes
}

// loaded stays within what the machine reckons with.
func loaded(n *node, chance *rand.Rand) func() {
	d := between(chance, milli, 100*milli)
	n.change(func(f *faulty) { f.busy = d })
	return func() { n.change(func(f *faulty) { f.busy = 0 }) }
}

func deleted(n *node, _ *rand.Rand) func() {
	n.kernel.drop()
	return nil
}

// unfenced may be noticed by who looks at the link, or as the address is set.
func unfenced(n *node, chance *rand.Rand) func() {
	n.fence.refuses(errors.New("BPF program 7 runs before the fence"))
	if n.alive && chance.IntN(2) == 0 {
		n.kernel.happen(vip.LinkChanged{Link: eth0, Why: vip.LinkSeen})
	}
	return func() { n.fence.refuses(nil) }
}

func full(n *node, _ *rand.Rand) func() {
	n.change(func(f *faulty) { f.full = true })
	return func() { n.change(func(f *faulty) { f.full = false }) }
}

// asked goes on until the daemon has answered or the asker's patience ends.
func (n *node) asked(path string) {
	if n.alive {
		go n.shell.ask(http.MethodPost, path, "")
	}
}

func handedOver(n *node, _ *rand.Rand) func() {
	n.asked(status.PathHandover)
	return nil
}

func drained(n *node, _ *rand.Rand) func() {
	n.asked(status.PathDrain)
	return n.undrain
}

// undrain also reaches a daemon that is not there, or dies before it answers.
func (n *node) undrain() {
	if err := saveDrained(n.shell.d.StateDir, nil); err != nil {
		n.whole.t.Error(err)
	}
	n.asked(status.PathUndrain)
}

// givenBack is what `havipctl adopt -undo` does on the holder. The daemon may be killed
// when the mark is on the disk and nobody has told it yet.
func givenBack(n *node, chance *rand.Rand) func() {
	if !n.alive || !n.answers() {
		return nil
	}
	mark := status.AdoptMark{Schema: status.Schema, Stage: status.AdoptGive}
	if err := saveAdopt(n.shell.d.StateDir, mark); err != nil {
		n.whole.t.Error(err)
	}
	if chance.IntN(2) == 0 {
		n.shell.l.box.put(adoptIs{mark: mark})
		return nil
	}
	n.kill()
	n.whole.later(between(chance, 10*milli, 60*milli), n.start)
	return nil
}

func (n *node) migrated() {
	if err := saveAdopt(n.shell.d.StateDir, status.AdoptMark{}); err != nil {
		n.whole.t.Error(err)
	}
	if n.alive {
		n.shell.l.box.put(adoptIs{})
	}
}
