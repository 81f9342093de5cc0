package faults

import (
	"slices"
	"testing"
	"time"

	"havip/test/cluster"
)

func TestDeletedByHand(t *testing.T) {
	fault(t, "address deleted by hand", "back on the same node within 100 ms", func(s *scene) {
		s.try(s.holder.DeleteVIP(cluster.VIP4))
		s.stays(time.Second)
		s.wantAtMost(100 * time.Millisecond)
	})
}

// wantAtMost checks how long nobody had the address since the fault.
func (s *scene) wantAtMost(want time.Duration) {
	s.Helper()
	// Where the observer was late it saw both at one instant, which counts as no time.
	gone := func(e cluster.Event) bool { return e.At >= s.began && e.What == cluster.Removed }
	if !slices.ContainsFunc(s.c.Sampler.Events(), gone) {
		s.Error("the address was never gone: the fault was not put in")
	}
	j := s.c.Sampler.Judge(s.began, cluster.Now())
	if j.LongestNone > want {
		s.Errorf("nobody had the address for %v, want at most %v", j.LongestNone, want)
	}
}

func TestLeftoverAddress(t *testing.T) {
	fault(t, "daemons started, a standby has the address left over", "cleared before anyone takes it", func(s *scene) {
		for _, n := range append(s.c.Others(s.holder), s.holder) { // the holder last: nobody takes it in between
			s.try(n.StopHavipd(10 * time.Second))
		}
		left := s.c.Nodes[1]
		s.byHand = 1
		s.beginEmpty()
		s.try(left.AddVIP(cluster.VIP4))
		for _, n := range s.c.Nodes {
			s.try(n.StartHavipd())
		}
		cleared := func(h []string) bool { return len(h) == 0 }
		s.try(s.c.Sampler.Wait(s.ctx, takesOver, left.Name+" to clear what was left over", cleared))
		_, err := s.c.Holder(s.ctx, takesOver)
		s.try(err)
	})
}

func TestTwoFamilies(t *testing.T) {
	c := newCluster(t, cluster.Options{IPv6: true, WitnessIPv6: true})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	both := func(name, promise string, body func(*scene)) {
		row := Row{Fault: name, Promise: promise}
		for range *repeat {
			s := newScene(t, c)
			s.play(body)
			row.Runs = append(row.Runs, s.run)
		}
		rows = append(rows, row)
	}
	both("IPv4 and IPv6: handover, seen over IPv6", "both move together", func(s *scene) {
		s.ctl(s.holder, "handover")
		s.moves()
		s.wantMoves(1)
	})
	both("IPv4 and IPv6: node crash, seen over IPv6", "both move together", func(s *scene) { s.crash() })
	both("IPv4 and IPv6: the IPv6 address deleted by hand", "back within 100 ms", func(s *scene) {
		// The sampler counts a node with one of the two as holder: watch the one.
		s.try(s.holder.DeleteVIP(cluster.VIP6))
		s.stays(time.Second)
		if gap := s.gap(); gap > 100*time.Millisecond {
			s.Errorf("the IPv6 address was gone for %v, want at most 100ms", gap)
		}
	})
}

// gap is how long after the fault the IPv6 address came back; the whole time
// when it did not.
func (s *scene) gap() time.Duration {
	var gone time.Duration
	for _, e := range s.c.Sampler.Events() {
		switch {
		case e.At < s.began || e.Addr != cluster.VIP6:
		case e.What == cluster.Removed:
			gone = e.At
		case e.What == cluster.Added && gone != 0:
			return e.At - gone
		}
	}
	return cluster.Now() - s.began
}
