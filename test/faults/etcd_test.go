package faults

import (
	"fmt"
	"testing"
	"time"

	"havip/test/cluster"
)

func TestEtcdLeaderElsewhere(t *testing.T) {
	fault(t, "etcd leader killed on another node", "stays", func(s *scene) {
		leader := s.leadElsewhere()
		s.begin()
		s.try(leader.KillEtcd())
		s.stays(6 * time.Second)
		s.try(leader.StartEtcd())
	})
}

func TestOwnEtcd(t *testing.T) {
	fault(t, "holder's own etcd member killed", "moves", func(s *scene) {
		s.leadElsewhere()
		s.begin()
		was := s.holder
		s.try(was.KillEtcd())
		s.moves()
		s.wantMoves(1)
		s.try(was.StartEtcd())
		s.calm()
		s.wantMoves(1)
	})
}

func TestOwnEtcdLeader(t *testing.T) {
	fault(t, "holder's own etcd member killed, it was the leader", "moves", func(s *scene) {
		s.try(s.c.MoveEtcdLeader(s.ctx, s.holder))
		s.begin()
		was := s.holder
		s.try(was.KillEtcd())
		s.moves()
		s.try(was.StartEtcd())
		s.calm()
		s.wantMoves(1)
	})
}

func TestLostQuorum(t *testing.T) {
	fault(t, "etcd without quorum for 8 s", "let go, and held again afterwards", func(s *scene) {
		others := s.c.Others(s.holder)
		for _, n := range others {
			s.try(n.KillEtcd())
		}
		nobody := func(h []string) bool { return len(h) == 0 }
		s.try(s.c.Sampler.Wait(s.ctx, takesOver, "the holder to let go", nobody))
		s.passes(s.began + 8*time.Second - cluster.Now())
		for _, n := range others {
			s.try(n.StartEtcd())
		}
		_, err := s.c.Holder(s.ctx, calmsDown)
		s.try(err)
	})
}

func TestSlowRenewals(t *testing.T) {
	for _, tt := range []struct {
		delay   time.Duration
		promise string
	}{
		{300 * time.Millisecond, "stays"},
		{800 * time.Millisecond, "stays"},
		// Longer than hold/2: whether it stays depends on what else is slow.
		{1500 * time.Millisecond, "never two holders"},
	} {
		t.Run(tt.delay.String(), func(t *testing.T) {
			name := fmt.Sprintf("each of the holder's etcd round trips takes %v longer", tt.delay)
			fault(t, name, tt.promise, func(s *scene) {
				slow := s.slowHolder()
				s.begin()
				s.try(slow.SlowEtcd(tt.delay))
				if tt.promise == "stays" {
					s.stays(10 * time.Second)
				} else {
					s.passes(10 * time.Second)
				}
				s.try(slow.SlowEtcd(0))
				s.tidy = func() {
					slow.DirectEtcd()
					s.try(slow.StopHavipd(10 * time.Second))
					s.try(slow.StartHavipd())
				}
			})
		})
	}
}

// slowHolder makes a node the holder whose daemon reaches etcd through a proxy
// that can delay.
func (s *scene) slowHolder() *cluster.Node {
	s.Helper()
	slow := s.c.Others(s.holder)[0]
	s.try(slow.StopHavipd(10 * time.Second))
	s.try(slow.SlowEtcd(0))
	s.try(slow.StartHavipd())
	s.calm()
	s.ctl(s.holder, "handover", "--to", slow.Name)
	s.moves()
	s.calm()
	return slow
}
