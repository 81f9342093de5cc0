package e2e

import (
	"slices"
	"strings"
	"testing"

	"havip/test/cluster"
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

// TestWorker: a machine without havip joins by the line that token prints, and its
// kubelet reaches the API server after a planned move.
func TestWorker(t *testing.T) {
	s := clusterOfThree(t)
	worker := s.Nodes[masters]
	was := s.holder()
	o, err := Havipctl(s.ctx, was, "", "token")
	s.try(err)
	s.on(worker, "sh", "-c", strings.TrimPrefix(o.Join.Worker, "sudo ")+" --ignore-preflight-errors="+strings.Join(ignored, ","))
	s.try(cluster.Poll(s.ctx, settles, "a ready worker", func() bool {
		_, others, err := s.api.ReadyNodes(s.ctx)
		return err == nil && slices.Equal(others, []string{worker.Name})
	}))
	s.on(was, "havipctl", "handover")
	s.moves(was, takesOver)
	s.renewed(masters + 1)
	s.judge()
}
