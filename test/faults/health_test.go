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

func TestAPIServerRestarts(t *testing.T) {
	fault(t, "holder's API server killed, and there again after 0.5 s", "stays", func(s *scene) {
		s.try(s.holder.KillAPIServer())
		s.passes(500 * time.Millisecond)
		s.try(s.holder.StartAPIServer())
		s.stays(noticed)
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
		// The holder must at no time see a better one: it is the last to fail
		// and the first to recover, each time until every daemon has noticed.
		standbys := s.c.Others(s.holder)
		s.apiServers(cluster.Hanging, standbys...)
		s.passes(noticed)
		s.apiServers(cluster.Hanging, s.holder)
		s.stays(10 * time.Second)
		s.apiServers(cluster.Ready, s.holder)
		s.passes(noticed)
		s.apiServers(cluster.Ready, standbys...)
		s.calm()
		s.wantMoves(0)
	})
}

// noticed is enough for a daemon to see that an API server changed: three
// checks, one a second, of up to a second each.
const noticed = 7 * time.Second

func (s *scene) apiServers(mode cluster.APIServerMode, nodes ...*cluster.Node) {
	s.Helper()
	for _, n := range nodes {
		s.try(n.SetAPIServer(mode))
	}
}

func TestAPIServerForbids(t *testing.T) {
	fault(t, "holder's API server answers 403", "stays, it is alive", func(s *scene) {
		s.try(s.holder.SetAPIServer(cluster.Forbidden))
		s.stays(noticed)
		s.try(s.holder.SetAPIServer(cluster.Ready))
		s.stays(3 * time.Second)
	})
}

func TestStandbyAPIServerDead(t *testing.T) {
	fault(t, "a standby's API server dead", "stays", func(s *scene) {
		standby := s.c.Others(s.holder)[0]
		s.try(standby.KillAPIServer())
		s.stays(noticed)
		s.try(standby.StartAPIServer())
	})
}
