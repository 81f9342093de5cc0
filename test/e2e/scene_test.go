package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
	"havip/test/measure"
)

// scene is one test on its machines. Its methods end the test when something is
// not as it should be.
type scene struct {
	*testing.T
	*Masters
	ctx   context.Context
	api   *API
	began time.Duration
}

// caseTime bounds one test. A cluster takes two minutes where it is quiet.
const caseTime = 20 * time.Minute

// onStage is a test without machines yet.
func onStage(t *testing.T) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), caseTime)
	s := &scene{T: t, ctx: ctx}
	t.Cleanup(func() {
		defer cancel()
		if s.Masters == nil {
			return
		}
		if t.Failed() {
			s.tell()
		}
		if s.Masters != whole {
			if err := discard(s.Masters); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// machines boots some for this test.
func (s *scene) machines(setup Setup) {
	s.Helper()
	start := cluster.Now()
	m, err := fresh(s.ctx, setup)
	s.try(err)
	s.Masters = m
	s.try(m.Boot(s.ctx))
	s.Logf("%d machines with images after %v", setup.Machines, cluster.Now()-start)
}

func discardWhole(t *testing.T) {
	t.Helper()
	if whole == nil {
		return
	}
	m := whole
	whole = nil
	if err := discard(m); err != nil {
		t.Fatal(err)
	}
}

// machines boots some for this test alone. The shared cluster goes first: root
// has 128 inotify instances (fs.inotify.max_user_instances), and a cluster takes
// some 70 of them.
func machines(t *testing.T, number int) *scene {
	t.Helper()
	return machinesWith(t, Setup{Machines: number})
}

func machinesWith(t *testing.T, setup Setup) *scene {
	t.Helper()
	discardWhole(t)
	s := onStage(t)
	s.machines(setup)
	return s
}

// each does the same as often as -repeat says.
func each(t *testing.T, do func(t *testing.T)) {
	t.Helper()
	for i := range *repeat {
		if !t.Run(fmt.Sprint(i+1), do) {
			break
		}
	}
}

// play plays a case on the shared cluster as often as -repeat says.
func play(t *testing.T, body func(*scene)) {
	t.Helper()
	each(t, func(t *testing.T) { body(clusterOfThree(t)) })
}

func (s *scene) try(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// on runs a command on a node, where it has to succeed.
func (s *scene) on(n *lab.Node, args ...string) string {
	s.Helper()
	out, err := n.Exec(s.ctx, args...)
	s.try(err)
	return out
}

// install brings the package onto every node that is to be a master.
func (s *scene) install(more string) {
	s.Helper()
	s.try(Each(s.Nodes[:masters], func(n *lab.Node) error { return s.Install(s.ctx, n, more) }))
}

// begin is the moment from which the virtual IP is judged.
func (s *scene) begin() { s.began = cluster.Now() }

// ready waits until that many masters with all their pods are ready, through the
// virtual IP.
func (s *scene) ready(masters int) {
	s.Helper()
	said := ""
	err := cluster.Poll(s.ctx, settles, fmt.Sprintf("%d ready masters", masters), func() bool {
		said = s.unready(masters)
		return said == ""
	})
	if err != nil {
		s.Fatalf("%v: %s", err, said)
	}
}

// perMaster are API server, controller manager, scheduler and etcd.
const perMaster = 4

func (s *scene) unready(masters int) string {
	names, _, err := s.api.ReadyNodes(s.ctx)
	if err != nil {
		return err.Error()
	}
	pods, err := s.api.ReadyPods(s.ctx)
	if err != nil {
		return err.Error()
	}
	if len(names) != masters || pods != masters*perMaster {
		return fmt.Sprintf("ready are %v and %d pods", names, pods)
	}
	return ""
}

// calm waits until one node holds the virtual IP, every daemon sees three healthy
// masters, and every kubelet has renewed its lease: that a node is Ready may have
// been written before it lost its power.
func (s *scene) calm() {
	s.Helper()
	why := ""
	err := cluster.Poll(s.ctx, settles, "three healthy masters", func() bool {
		why = s.unrest()
		return why == ""
	})
	if err != nil {
		s.Fatalf("%v: %s", err, why)
	}
	s.renewed(masters)
	s.ready(masters)
}

// unrest says what is not in order yet, "" when all is.
func (s *scene) unrest() string {
	holders := s.Sampler.Holders()
	if len(holders) != 1 {
		return fmt.Sprintf("holders: %v", holders)
	}
	for _, n := range s.Nodes[:masters] {
		// The exit status says no more than the document.
		out, errOut, _, err := n.Try(s.ctx, "havipctl", "status", "-o", "json")
		if err != nil {
			return err.Error()
		}
		if why := measure.Unrest(n.Name, holders[0], out); why != "" {
			return why + " " + errOut
		}
	}
	return ""
}

// holder is the one node with the virtual IP.
func (s *scene) holder() *lab.Node {
	s.Helper()
	n, err := s.Holder(s.ctx, time.Minute)
	s.try(err)
	return n
}

// judge checks what holds for every case: never two holders, never an address
// without a lifetime.
func (s *scene) judge() cluster.Judgement {
	s.Helper()
	j := s.Sampler.Judge(s.began, cluster.Now())
	facts.Late = max(facts.Late, s.Sampler.Late(s.began, cluster.Now()))
	if j.Double != 0 {
		s.Errorf("two nodes had the virtual IP for %v: %v", j.Double, j.Doubles)
	}
	if len(j.Permanent) > 0 {
		s.Errorf("virtual IP without a lifetime: %v", j.Permanent)
	}
	if doubts := s.Sampler.Doubts(); len(doubts) > 0 {
		s.Errorf("the observer has doubts about itself: %v", doubts)
	}
	return j
}

// stayed checks that one node had the virtual IP all the time.
func (s *scene) stayed(n *lab.Node) {
	s.Helper()
	if j := s.judge(); len(j.Spans) != 1 || !slices.Equal(j.Spans[0].Nodes, []string{n.Name}) {
		s.Errorf("holders: %v, want %s all along", j.Spans, n.Name)
	}
}

// tell shows what there is to see after a failure.
func (s *scene) tell() {
	s.Logf("since the beginning: %v", s.Sampler.Judge(s.began, cluster.Now()).Spans)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, n := range s.Nodes {
		if !n.Powered() {
			s.Logf("%s is off: %s", n.Name, n.Console())
			continue
		}
		for _, look := range []string{
			"journalctl --no-pager --output=short-precise --lines=40 --unit=havipd.service --unit=havip-kubeadm.service",
			"journalctl --no-pager --output=short-precise --lines=15 --unit=kubelet.service --unit=containerd.service",
			"systemctl --no-pager list-jobs", "journalctl --no-pager --output=short-precise --lines=30 _PID=1",
			"havipctl status", "ip -brief address", "ctr -n k8s.io containers ls | head -20",
			"cat /var/lib/havip/kubeadm/journal.json", "tail -n 8 /var/lib/havip/kubeadm/logs/*",
		} {
			out, _ := n.Exec(ctx, "sh", "-c", look)
			s.Logf("%s: %s:\n%s", n.Name, look, strings.TrimSpace(out))
		}
	}
}
