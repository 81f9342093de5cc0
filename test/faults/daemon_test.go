package faults

import (
	"testing"
	"time"

	"havip/test/cluster"
)

func TestKillSupervised(t *testing.T) {
	fault(t, "daemon killed (SIGKILL), restarted after 0.3 s", "stays", func(s *scene) {
		s.holder.Supervise(300 * time.Millisecond)
		starts := s.holder.HavipdStarts()
		s.try(s.holder.KillHavipd())
		s.stays(6 * time.Second)
		s.holder.Supervise(-1)
		if s.holder.HavipdStarts() == starts {
			s.Error("the daemon was not restarted")
		}
	})
}

func TestKillUnsupervised(t *testing.T) {
	fault(t, "daemon killed (SIGKILL), not restarted", "the kernel removes it, then another node takes it", func(s *scene) {
		was := s.holder
		s.try(was.KillHavipd())
		s.moves()
		s.try(was.StartHavipd())
		s.calm()
		s.wantMoves(1)
	})
}

func TestFreeze(t *testing.T) {
	fault(t, "daemon frozen (SIGSTOP) and woken later", "the kernel removes it, then another node takes it; nothing on waking", func(s *scene) {
		was := s.holder
		s.try(was.PauseHavipd())
		s.moves()
		s.passes(time.Second)
		s.wake(was)
		s.calm()
		s.wantMoves(1)
	})
}

func TestFreezeShort(t *testing.T) {
	fault(t, "daemon frozen for 1 s", "stays", func(s *scene) {
		s.try(s.holder.PauseHavipd())
		s.passes(time.Second)
		s.wake(s.holder)
		s.stays(5 * time.Second)
	})
}

// wake lets a frozen daemon run on. One that was frozen in the middle of
// setting the address was killed instead, on purpose, and is started again.
func (s *scene) wake(n *cluster.Node) {
	s.Helper()
	s.try(n.ResumeHavipd())
	if !n.HavipdRunning() {
		s.Log("the daemon was killed while it was frozen")
		s.try(n.StartHavipd())
	}
}

func TestBlockedStderr(t *testing.T) {
	fault(t, "node crash while nobody reads the daemons' stderr", "moves", func(s *scene) {
		s.blockStderr(true)
		s.begin()
		was := s.holder
		s.try(was.PowerOff())
		s.moves()
		s.wantMoves(1)
		s.try(was.PowerOn())
		s.calm()
		s.blockStderr(false)
	})
}

func (s *scene) blockStderr(on bool) {
	s.Helper()
	for _, n := range s.c.Nodes {
		n.BlockStderr(on)
		s.try(n.StopHavipd(10 * time.Second))
		s.try(n.StartHavipd())
		s.calm()
	}
}
