package packages

import (
	"slices"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
)

func TestReboot(t *testing.T) {
	play(t, "`systemctl reboot`", "handed over before kubelet and etcd end", func(s *scene) { s.goDown("reboot") })
}

func TestPoweroff(t *testing.T) {
	play(t, "`systemctl poweroff`", "handed over before kubelet and etcd end", func(s *scene) { s.goDown("poweroff") })
}

func TestRebootWithoutLogind(t *testing.T) {
	play(t, "`systemctl reboot` without logind", "handed over before kubelet and etcd end", func(s *scene) {
		s.withoutLogind(func() { s.goDown("reboot") })
	})
}

func TestRebootWithDeadEtcd(t *testing.T) {
	play(t, "`systemctl reboot` without logind, its etcd member just killed", "handed over through another member", func(s *scene) {
		s.withoutLogind(func() {
			was := s.holder
			// At once: the VIP leaves a node whose member is dead, reboot or not.
			s.on(was, "sh", "-c", "systemctl mask --runtime etcd.service && systemctl kill --signal=KILL etcd.service && systemctl reboot")
			s.moves()
			s.comesBack(was, true)
			s.handedOver()
		})
	})
}

// withoutLogind plays a case on a holder that has no logind.
func (s *scene) withoutLogind(body func()) {
	s.Helper()
	was := s.holder
	s.on(was, "systemctl", "mask", "--now", "systemd-logind.service")
	s.calm()
	s.begin()
	body()
	s.tidy = func() {
		s.on(was, "systemctl", "unmask", "systemd-logind.service")
		s.on(was, "systemctl", "start", "systemd-logind.service")
		s.on(was, "systemctl", "restart", "havipd")
	}
}

// goDown takes the holder down in order and up again. The address must leave
// before the kubelet ends, and be on another node before the pods end.
func (s *scene) goDown(how string) {
	s.Helper()
	was := s.holder
	ends := map[string]*lab.Ending{}
	for _, unit := range []string{"kubelet.service", "etcd.service", "kube-apiserver.service"} {
		e, err := was.WatchEnd(s.ctx, unit)
		s.try(err)
		ends[unit] = e
	}
	s.begin()
	s.on(was, "systemctl", how)
	s.moves()
	s.comesBack(was, how == "reboot")
	s.handedOver()
	for _, move := range s.l.Sampler.Judge(s.began, cluster.Now()).Moves {
		for unit, e := range ends {
			ended, err := e.Wait(s.ctx)
			s.try(err)
			if ended < move.Lost || unit != "kubelet.service" && ended < move.Gained {
				s.Errorf("%s ended %v after the beginning; the address left after %v and was there again after %v",
					unit, ended-s.began, move.Lost-s.began, move.Gained-s.began)
			}
		}
	}
}

// comesBack waits until the node is off and gives it power again.
func (s *scene) comesBack(n *lab.Node, reboot bool) {
	s.Helper()
	again, err := n.WaitOff(s.ctx, goesDown)
	s.try(err)
	if again != reboot {
		s.Errorf("%s went off and wants to reboot: %v, want %v", n.Name, again, reboot)
	}
	s.try(n.PowerOn(s.ctx))
	s.ready(n, atBoot)
	s.calm()
}

// TestBoot: the daemon is there before the kubelet, which is what starts etcd:
// if it waited for etcd, nothing would ever start.
func TestBoot(t *testing.T) {
	play(t, "power cut of all three, then on", "held again by one; most of it is how long etcd takes to start", func(s *scene) {
		for _, n := range s.l.Nodes {
			s.try(n.PowerCut())
		}
		s.began = cluster.Now()
		s.try(s.l.PowerOn(s.ctx, s.l.Nodes...))
		_, err := s.l.Holder(s.ctx, time.Minute)
		s.try(err)
		for _, n := range s.l.Nodes {
			s.ready(n, atBoot)
			s.inOrder(n, "havipd.service", "ActiveEnterTimestampMonotonic", "kubelet.service", "ExecMainStartTimestampMonotonic")
			s.inOrder(n, "kubelet.service", "ExecMainStartTimestampMonotonic", "etcd.service", "ExecMainStartTimestampMonotonic")
		}
	})
}

// inOrder checks that one thing happened before another at the last boot.
func (s *scene) inOrder(n *lab.Node, first, when, second, then string) {
	s.Helper()
	a, err := lab.Moment(s.unit(n, first), when)
	s.try(err)
	b, err := lab.Moment(s.unit(n, second), then)
	s.try(err)
	if a == 0 || b == 0 || !slices.IsSorted([]time.Duration{a, b}) {
		s.Errorf("%s: %s of %s at %v, %s of %s at %v, want them in this order", n.Name, when, first, a, then, second, b)
	}
}
