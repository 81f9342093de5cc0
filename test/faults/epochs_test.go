package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"havip/election"
	"havip/test/cluster"
)

const (
	// found is sooner than a plain record of a dead holder is taken over: 4.5 s,
	// of which the last renewal may have used up 0.5.
	found = 3 * time.Second
	// leftover is for how long the kernel keeps an address that nobody refreshes:
	// 3 s of lifetime and 1.3 s that it is late, and the sampler too.
	leftover = 4500 * time.Millisecond
	// anEpoch is enough for one to begin and to grow old where others of the same
	// holder were short: the calm that it waits for doubles with each of them.
	anEpoch = 90 * time.Second
	strikes = 3 // of one fault, until it strikes in an epoch
)

// TestEpochs: what heartbeats are for, and what they must not break. Each fault
// strikes while an epoch is in force, and who has the address is asked on the wire.
func TestEpochs(t *testing.T) {
	t.Run("fast", func(t *testing.T) {
		e := newEpochs(t, "fast")
		e.crash()
		e.crashWithLeader()
		e.freeze()
		e.partition()
		e.handover()
		e.upgrade()
	})
	t.Run("standard", func(t *testing.T) {
		e := newEpochs(t, "standard")
		e.crash()
		e.freeze()
		e.partition()
		e.stop()
		e.kill()
		e.etcdLeader()
		e.lostQuorum()
		e.killStandbys()
		e.crashStandby()
	})
}

// epochs is a cluster whose daemons hear each other.
type epochs struct {
	*testing.T
	c         *cluster.Cluster
	detection string
	epoch     string        // the last one that was seen
	since     time.Duration // when it was seen first
	before    entry         // the record when the fault struck, as one beside the holder had it
}

func newEpochs(t *testing.T, detection string) *epochs {
	return &epochs{T: t, c: newHearing(t, detection), detection: detection}
}

// newHearing is a cluster of daemons that hear each other, and somebody who asks who
// has the address on the wire.
func newHearing(t *testing.T, detection string) *cluster.Cluster {
	c := newCluster(t, cluster.Options{ExtraConfig: fmt.Sprintf("\n[election]\ndetection = %q", detection)})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	if err := c.StartAsker(); err != nil {
		t.Fatalf("start asker: %v", err)
	}
	return c
}

// on plays one fault as often as -repeat says. On a busy machine the holder may have
// gone back to a plain record just before; a strike that finds that out says false.
// Then it is put in once more, in a fresh epoch.
func (e *epochs) on(name, promise string, place func(*scene), strike func(*scene) bool) {
	e.Helper()
	row := Row{Fault: name + ", heartbeats " + e.detection, Promise: promise}
	ok := e.Run(name, func(t *testing.T) {
		for range *repeat {
			s := newScene(t, e.c)
			s.play(func(s *scene) {
				for range strikes {
					place(s)
					e.inForce(s)
					place(s) // that took a while, in which etcd may have elected another leader
					e.before = s.record(s.c.Others(s.holder)[0])
					s.begin()
					if e.before.Epoch != nil && strike(s) {
						return
					}
					s.Log("the epoch had ended before the fault struck: once more, in a fresh one")
					s.calm()
				}
				s.Fatalf("%d times no epoch lasted until the fault", strikes)
			})
			row.Runs = append(row.Runs, s.run)
		}
	})
	rows = append(rows, row)
	if !ok {
		e.FailNow()
	}
}

// inForce waits until an epoch is older than its first promise: until then a dead
// holder is found no sooner than without.
func (e *epochs) inForce(s *scene) {
	s.Helper()
	e.waitEpoch(s, func(rec election.Record) bool {
		return cluster.Now()-e.since > time.Duration(rec.Epoch.FirstPromiseMS)*time.Millisecond
	})
}

// another waits until an epoch has begun that is not the one at the fault. It takes
// the answers of all: with three members none can be missing.
func (e *epochs) another(s *scene) {
	s.Helper()
	was := e.epoch
	e.waitEpoch(s, func(rec election.Record) bool { return rec.Epoch.ID != was })
}

// later waits until the epoch's record was renewed so many times.
func (e *epochs) later(s *scene, renewal uint64, times uint64) {
	s.Helper()
	e.waitEpoch(s, func(rec election.Record) bool { return rec.Renewal >= renewal+times })
	if e.epoch != e.before.Epoch.ID {
		s.Errorf("the epoch is %s, want that of before, %s", e.epoch, e.before.Epoch.ID)
	}
}

func (e *epochs) waitEpoch(s *scene, ok func(election.Record) bool) {
	s.Helper()
	began, begun := cluster.Now(), 0
	err := cluster.Poll(s.ctx, anEpoch, "an epoch", func() bool {
		rec := s.record(s.holder).Record
		if rec.Epoch == nil {
			return false
		}
		if rec.Epoch.ID != e.epoch {
			e.epoch, e.since = rec.Epoch.ID, cluster.Now()
			begun++
		}
		return ok(rec)
	})
	if err != nil {
		s.Fatalf("%v, %d began; %s says of heartbeats: %+v", err, begun, s.holder.Name, s.heartbeats(s.holder))
	}
	s.Logf("waited %v for an epoch, %d began", (cluster.Now() - began).Round(time.Millisecond), begun)
}

func (e *epochs) crash() {
	e.on("node crash, etcd leader elsewhere", "found by heartbeats, does not move back", (*scene).leaderAway, func(s *scene) bool {
		return e.crashed(s, found)
	})
}

// crashWithLeader takes etcd's own election too, so nothing is said of its time.
func (e *epochs) crashWithLeader() {
	place := func(s *scene) { s.try(s.c.MoveEtcdLeader(s.ctx, s.holder)) }
	e.on("node crash with the etcd leader on it", "found by heartbeats, does not move back", place, func(s *scene) bool {
		return e.crashed(s, takesOver)
	})
}

func (e *epochs) crashed(s *scene, limit time.Duration) bool {
	s.Helper()
	was := s.holder
	s.try(was.PowerOff())
	to := s.answersElsewhere()
	s.try(was.PowerOn())
	return e.unheard(s, to, limit)
}

func (e *epochs) freeze() {
	e.on("daemon frozen (SIGSTOP) and woken later", "found by heartbeats, one answers; nothing on waking", (*scene).leaderAway, func(s *scene) bool {
		was := s.holder
		s.behindFence = leftover
		s.try(was.PauseHavipd())
		to := s.answersElsewhere()
		s.gone(was)
		s.wake(was)
		ok := e.unheard(s, to, found)
		e.another(s)
		return ok
	})
}

func (e *epochs) partition() {
	e.on("silent partition, then healed", "found by heartbeats, one answers; does not move back", (*scene).leaderAway, func(s *scene) bool {
		was := s.holder
		s.behindFence = leftover
		s.try(was.Mute())
		to := s.answersElsewhere()
		s.gone(was)
		s.try(was.Unmute())
		ok := e.unheard(s, to, found)
		e.another(s)
		return ok
	})
}

func (e *epochs) handover() {
	e.on("handover asked for", "moves to the node named", anywhere, func(s *scene) bool {
		to := s.c.Others(s.holder)[1]
		s.ctl(s.holder, "handover", "--to", to.Name)
		if got := s.moves(); got != to {
			s.Errorf("%s holds the address, want %s", got.Name, to.Name)
		}
		s.wantMoves(1)
		return true
	})
}

func (e *epochs) stop() {
	e.on("daemon stopped (SIGTERM)", "moves, and does not move back", anywhere, func(s *scene) bool {
		was := s.holder
		s.try(was.StopHavipd(10 * time.Second))
		s.moves()
		s.try(was.StartHavipd())
		s.calm()
		s.wantMoves(1)
		return true
	})
}

// havipRestart is RestartSec of havipd's unit.
const havipRestart = 20 * time.Millisecond

func (e *epochs) kill() {
	e.on("daemon killed (SIGKILL), restarted after 20 ms", "stays, and so does its epoch", anywhere, func(s *scene) bool {
		s.holder.Supervise(havipRestart)
		starts := s.holder.HavipdStarts()
		s.try(s.holder.KillHavipd())
		e.later(s, e.before.Renewal, 3) // by the process that follows
		s.holder.Supervise(-1)
		if s.holder.HavipdStarts() != starts+1 {
			s.Errorf("the daemon was restarted %d times, want once", s.holder.HavipdStarts()-starts)
		}
		s.stays(0)
		return true
	})
}

// upgrade is what a package manager does, one master after the other.
func (e *epochs) upgrade() {
	e.on("standbys' daemons stopped and started in turn", "stays, and an epoch comes back", anywhere, func(s *scene) bool {
		for _, n := range s.c.Others(s.holder) {
			s.try(n.StopHavipd(10 * time.Second))
			s.try(n.StartHavipd())
			s.calm()
		}
		e.another(s)
		s.stays(0)
		return true
	})
}

// killStandbys takes both away at one instant, without a word.
func (e *epochs) killStandbys() {
	e.on("both standbys' daemons killed (SIGKILL) and restarted", "stays, and an epoch comes back", anywhere, func(s *scene) bool {
		var both errgroup.Group
		for _, n := range s.c.Others(s.holder) {
			n.Supervise(havipRestart)
			both.Go(n.KillHavipd)
		}
		s.try(both.Wait())
		e.another(s)
		for _, n := range s.c.Others(s.holder) {
			n.Supervise(-1)
		}
		s.stays(0)
		return true
	})
}

func (e *epochs) crashStandby() {
	e.on("crash of a standby", "stays, without heartbeats until it is back", anywhere, func(s *scene) bool {
		standby := s.c.Others(s.holder)[0]
		s.try(standby.PowerOff())
		s.try(cluster.Poll(s.ctx, takesOver, "a plain record", func() bool { return s.record(s.holder).Epoch == nil }))
		s.stays(0)
		s.try(standby.PowerOn())
		s.calm()
		e.another(s)
		s.stays(0)
		return true
	})
}

func (e *epochs) etcdLeader() {
	e.on("etcd leader killed on another node", "stays", (*scene).leaderAway, func(s *scene) bool {
		leader := s.leadElsewhere()
		s.try(leader.KillEtcd())
		s.renewed()
		s.stays(0)
		s.try(leader.StartEtcd())
		return true
	})
}

// lostQuorum lasts longer than a plain holder's right, and than a plain takeover.
func (e *epochs) lostQuorum() {
	e.on("etcd without quorum for 5 s", "stays", anywhere, func(s *scene) bool {
		others := s.c.Others(s.holder)
		for _, n := range others {
			s.try(n.KillEtcd())
		}
		struck := s.record(s.holder).Epoch != nil
		s.passes(s.began + 5*time.Second - cluster.Now())
		if struck {
			s.stays(0)
		}
		for _, n := range others {
			s.try(n.StartEtcd())
		}
		if struck {
			s.renewed()
			s.stays(0)
		}
		return struck
	})
}

func anywhere(*scene) {}

func (s *scene) leaderAway() { s.leadElsewhere() }

// renewed waits until etcd has confirmed another write of the record.
func (s *scene) renewed() {
	s.Helper()
	was := s.record(s.holder).revision
	s.try(cluster.Poll(s.ctx, calmsDown, "a renewal", func() bool { return s.record(s.holder).revision > was }))
}

// gone waits until no address is left on a node.
func (s *scene) gone(n *cluster.Node) {
	s.Helper()
	s.try(s.c.Sampler.Wait(s.ctx, takesOver, n.Name+" to have no address", func(h []string) bool { return !slices.Contains(h, n.Name) }))
}

// answersElsewhere waits until another node than the holder, and no other, answers
// for the address.
func (s *scene) answersElsewhere() *cluster.Node {
	s.Helper()
	var h []string
	err := cluster.Poll(s.ctx, takesOver, "another node to answer", func() bool {
		h = s.c.Asker.Holders()
		return len(h) == 1 && h[0] != s.holder.Name
	})
	if err != nil {
		s.Fatalf("%v; those who do: %v", err, h)
	}
	s.try(s.c.Witness.WaitAnswer(s.ctx, takesOver, cluster.Now(), h[0]))
	return s.c.Node(h[0])
}

// unheard checks, after a takeover, that it was for want of heartbeats, and within
// the limit. It is false if the record that was replaced was a plain one.
func (e *epochs) unheard(s *scene, to *cluster.Node, limit time.Duration) bool {
	s.Helper()
	s.calm()
	s.wantMoves(1)
	was := e.before.Node
	all := s.records(to, e.before.revision)
	next := slices.IndexFunc(all, func(r entry) bool { return r.Node != was })
	if next < 1 {
		s.Fatalf("the records since the fault: %+v", all)
	}
	if all[next-1].Epoch == nil {
		return false
	}
	if why := all[next].Move.Reason; !strings.HasPrefix(why, was+" was not heard for ") {
		s.Errorf("%s took it over because %s", to.Name, why)
	}
	wire, _, err := s.c.Asker.Judge(s.ctx, s.began, cluster.Now())
	s.try(err)
	if len(wire.Moves) != 1 {
		s.Fatalf("on the wire: %v", wire.Spans)
	}
	took := wire.Moves[0].Gained - s.began
	s.Logf("%s answered %v after the fault", to.Name, took)
	if took > limit {
		s.Errorf("%s answered %v after the fault, want less than %v", to.Name, took, limit)
	}
	return true
}
