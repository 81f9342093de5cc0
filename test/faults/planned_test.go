package faults

import (
	"testing"
	"time"
)

func TestHandover(t *testing.T) {
	fault(t, "handover asked for", "moves to the node named", func(s *scene) {
		to := s.c.Others(s.holder)[1]
		s.ctl(s.holder, "handover", "--to", to.Name)
		if got := s.moves(); got != to {
			s.Errorf("%s holds the address, want %s", got.Name, to.Name)
		}
		s.wantMoves(1)
	})
}

func TestHandoverWithEtcdLeader(t *testing.T) {
	fault(t, "handover by the node with the etcd leader", "moves", func(s *scene) {
		s.try(s.c.MoveEtcdLeader(s.ctx, s.holder))
		s.begin()
		s.ctl(s.holder, "handover")
		s.moves()
		s.wantMoves(1)
	})
}

func TestStop(t *testing.T) {
	fault(t, "daemon stopped (SIGTERM)", "moves, and does not move back", func(s *scene) {
		was := s.holder
		s.try(was.StopHavipd(10 * time.Second))
		s.moves()
		s.try(was.StartHavipd())
		s.calm()
		s.wantMoves(1)
	})
}

func TestDrain(t *testing.T) {
	fault(t, "holder drained, then undrained", "moves, and does not move back", func(s *scene) {
		was := s.holder
		s.ctl(was, "drain")
		s.moves()
		s.passes(time.Second)
		s.ctl(was, "undrain")
		s.calm()
		s.wantMoves(1)
	})
}

func TestDrainedNodeStaysOut(t *testing.T) {
	fault(t, "node crash with one standby drained", "moves to the other one", func(s *scene) {
		was, drained := s.holder, s.c.Others(s.holder)[0]
		s.ctl(drained, "drain")
		s.passes(time.Second)
		s.begin()
		s.try(was.PowerOff())
		if got := s.moves(); got == drained {
			s.Errorf("%s holds the address although it is drained", drained.Name)
		}
		s.ctl(drained, "undrain")
		s.try(was.PowerOn())
		s.calm()
		s.wantMoves(1)
	})
}
