package e2e

import (
	"slices"
	"testing"

	"havip/test/cluster"
	"havip/test/lab"
)

// quick are steps that may be over before a kill comes; the kill then falls
// between two steps, which must be as good.
var quick = []string{"etcd", "control-plane", "mark-control-plane", "control-plane-prepare", "former-member", "handed-to-election"}

// TestKilled: havipctl is killed in each step, and the same command goes on, until
// nothing is left to do; then the same with join. The virtual IP is on the first
// node from its claim on.
func TestKilled(t *testing.T) {
	s := machines(t, masters)
	s.install("")
	n1, n2 := s.Nodes[0], s.Nodes[1]
	s.killedInEachStep(n1, "init", "")
	s.began = s.Sampler.Events()[0].At
	s.connect()
	o, err := Havipctl(s.ctx, n1, "", "token")
	s.try(err)
	s.killedInEachStep(n2, "join", o.Join.Ticket+"\n")
	s.try(s.Join(s.ctx, s.Nodes[2], o.Join.Ticket))
	s.calm()
	s.stayed(n1)
}

// killedInEachStep kills a run in its first step, the next run in the second one,
// and so on. The first one has the ticket.
func (s *scene) killedInEachStep(n *lab.Node, command, ticket string) {
	s.Helper()
	plan, err := Plan(s.ctx, n, command)
	s.try(err)
	start, cut := cluster.Now(), 0
	for _, step := range plan {
		r, err := Start(s.ctx, n, ticket, command)
		s.try(err)
		ticket = ""
		err = r.WaitStep(s.ctx, step)
		if !r.running() {
			s.Fatalf("%s ended by itself: %s", command, r.said.String())
		}
		s.try(r.Kill())
		if err == nil {
			cut++
			s.Logf("%s was killed in step %s, %v after the beginning", command, step, cluster.Now()-start)
		} else if !slices.Contains(quick, step) {
			s.Errorf("kill in step %s: %v", step, err)
		}
	}
	r, err := Start(s.ctx, n, "", command)
	s.try(err)
	s.try(r.Wait())
	s.Logf("%s: killed in %d of %d steps, done after %v", command, cut, len(plan), cluster.Now()-start)
}

// TestInitRebooted: the first master goes down in the middle of init, once in
// order and once by a power cut, before and after the election has the virtual IP.
func TestInitRebooted(t *testing.T) {
	s := machines(t, masters)
	s.install("")
	n1 := s.Nodes[0]
	s.begin()
	r, err := Start(s.ctx, n1, "", "init")
	s.try(err)
	s.try(r.WaitStep(s.ctx, "wait-control-plane"))
	s.on(n1, "systemctl", "reboot")
	_, err = n1.WaitOff(s.ctx, 2*goesDown)
	s.try(err)
	s.try(n1.PowerOn(s.ctx))
	r, err = Start(s.ctx, n1, "", "init")
	s.try(err)
	s.try(r.WaitStep(s.ctx, "upload-certs"))
	s.try(n1.PowerCut())
	s.try(n1.PowerOn(s.ctx))
	first, err := s.Init(s.ctx, n1)
	s.try(err)
	s.connect()
	for _, n := range s.Nodes[1:] {
		s.try(s.Join(s.ctx, n, first.Join.Ticket))
	}
	s.calm()
	s.judge()
}
