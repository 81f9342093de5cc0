package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
)

// TestResetAndRejoin: the holder leaves the cluster in order, and joins again by a
// ticket that another master makes.
func TestResetAndRejoin(t *testing.T) {
	play(t, func(s *scene) {
		was := s.holder()
		name := s.named("`havipctl reset` of the holder", was)
		c := s.clients(uniqueName("reset"))
		s.begin()
		reset, err := Havipctl(s.ctx, was, "", "reset", "--yes")
		s.try(err)
		if !reset.Changed {
			s.Errorf("reset says %q and no change", reset.Message)
		}
		now := s.moves(was, takesOver)
		s.back(c, name)
		s.try(s.api.Delete(s.ctx, "/api/v1/nodes/"+was.Name))
		c.from = cluster.Now()
		o, err := Havipctl(s.ctx, now, "", "token")
		s.try(err)
		s.try(s.Join(s.ctx, was, o.Join.Ticket))
		s.calm()
		s.back(c, "`havipctl join` of a node that was reset")
		c.stop()
		if j := s.judge(); j.LongestNone > handsOver {
			s.Errorf("nobody had the virtual IP for %v, want a handover: %v", j.LongestNone, j.Spans)
		}
	})
}

// TestWorker: a machine without havip joins by the line that token prints, and is
// Ready all the time while the virtual IP moves by plan and by a crash: its kubelet
// finds the way to the new holder before anybody misses it.
func TestWorker(t *testing.T) {
	s := clusterOfThree(t)
	worker := s.Nodes[masters]
	was := s.holder()
	o, err := Havipctl(s.ctx, was, "", "token")
	s.try(err)
	s.on(worker, "sh", "-c", strings.TrimPrefix(o.Join.Worker, "sudo ")+" --ignore-preflight-errors="+strings.Join(ignored, ","))
	s.try(cluster.Poll(s.ctx, settles, "a ready worker", func() bool {
		_, others, err := s.api.ReadyNodes(s.ctx)
		return err == nil && slices.Contains(others, worker.Name)
	}))
	s.renewsAfter("`havipctl handover`, seen by a worker", worker, func() { s.on(was, "havipctl", "handover") })
	was = s.moves(was, takesOver)
	s.renewsAfter("power cut of the holder, seen by a worker", worker, func() { s.try(was.PowerCut()) })
	s.moves(was, takesOver)
	s.try(was.PowerOn(s.ctx))
	s.calm()
	s.judge()
}

// renewsAfter measures how long after the virtual IP was moved the worker's kubelet
// renewed its lease; it does so every 10 s when all is well. It must not be NotReady
// at any time.
func (s *scene) renewsAfter(name string, worker *lab.Node, move func()) {
	s.Helper()
	since := time.Now()
	move()
	s.try(cluster.Poll(s.ctx, settles, "a renewed lease of "+worker.Name, func() bool {
		if _, others, err := s.api.ReadyNodes(s.ctx); err == nil && !slices.Contains(others, worker.Name) {
			s.Fatalf("%s is not Ready %v after the virtual IP was moved", worker.Name, time.Since(since))
		}
		at, err := s.api.Renewed(s.ctx)
		return err == nil && at[worker.Name].After(since)
	}))
	took := time.Since(since)
	s.Logf("%s: its lease was renewed after %v", name, took)
	note(name, figure{"first renewed lease", took})
}
