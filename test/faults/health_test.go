package faults

import (
	"testing"
	"time"

	"havip/test/cluster"
)

func TestAPIServerDead(t *testing.T) {
	fault(t, "holder's API server dead", "moves, another one is healthy", func(s *scene) {
		was := s.holder
		s.try(was.KillAPIServer())
		s.moves()
		s.try(was.StartAPIServer())
		s.calm()
		s.wantMoves(1)
	})
}

func TestAPIServerHangs(t *testing.T) {
	fault(t, "holder's API server hangs", "moves, another one is healthy", func(s *scene) {
		was := s.holder
		s.try(was.SetAPIServer(cluster.Hanging))
		s.moves()
		s.try(was.SetAPIServer(cluster.Ready))
		s.calm()
		s.wantMoves(1)
	})
}

func TestAPIServerFails(t *testing.T) {
	fault(t, "holder's API server not ready (500)", "moves, another one is healthy", func(s *scene) {
		was := s.holder
		s.try(was.SetAPIServer(cluster.Failing))
		s.moves()
		s.try(was.SetAPIServer(cluster.Ready))
		s.calm()
		s.wantMoves(1)
	})
}

func TestAllAPIServersHang(t *testing.T) {
	fault(t, "every API server hangs", "stays, nobody is better", func(s *scene) {
		s.run.Unserved = true
		s.allAPIServers(cluster.Hanging)
		s.stays(10 * time.Second)
		s.allAPIServers(cluster.Ready)
		s.calm()
		s.wantMoves(0)
	})
}

func (s *scene) allAPIServers(mode cluster.APIServerMode) {
	s.Helper()
	// The standbys first: the holder must at no time see a better one.
	for _, n := range append(s.c.Others(s.holder), s.holder) {
		if n == s.holder && mode != cluster.Ready {
			s.passes(6 * time.Second) // until their daemons have seen it: fall, three checks
		}
		s.try(n.SetAPIServer(mode))
	}
}

func TestAPIServerForbids(t *testing.T) {
	fault(t, "holder's API server answers 403", "stays, it is alive", func(s *scene) {
		s.try(s.holder.SetAPIServer(cluster.Forbidden))
		s.stays(7 * time.Second)
		s.try(s.holder.SetAPIServer(cluster.Ready))
		s.stays(3 * time.Second)
	})
}

func TestStandbyAPIServerDead(t *testing.T) {
	fault(t, "a standby's API server dead", "stays", func(s *scene) {
		standby := s.c.Others(s.holder)[0]
		s.try(standby.KillAPIServer())
		s.stays(7 * time.Second)
		s.try(standby.StartAPIServer())
	})
}
