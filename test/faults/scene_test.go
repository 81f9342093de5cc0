package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/measure"
)

var (
	repeat = flag.Int("repeat", 1, "how often each fault is put in")
	report = flag.String("report", "", "file to write the measurements to, as markdown")
)

// Generous bounds: the tests judge behaviour. How quick it was is measured and
// reported, not asserted on a machine that may be busy.
const (
	takesOver = 12 * time.Second // a crash: takeover (4.5 s) plus an etcd election, doubled
	calmsDown = 45 * time.Second // everything back in place after a fault was healed; etcd alone may need 15 s
	faultTime = 3 * time.Minute  // one fault with its healing
)

// shared is the cluster that most faults use in turn. One that a fault left in
// disorder is thrown away.
var (
	shared *cluster.Cluster
	rows   []Row
	facts  Facts
)

func TestMain(m *testing.M) {
	cluster.RunPart()
	flag.Parse()
	code := m.Run()
	if err := finish(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		code = 1
	}
	os.Exit(code)
}

func finish() error {
	err := discard()
	if *report == "" || len(rows) == 0 {
		return err
	}
	facts.System = measure.System()
	f, createErr := os.Create(*report)
	if createErr != nil {
		return errors.Join(err, createErr)
	}
	return errors.Join(err, WriteReport(f, rows, facts), f.Close())
}

func discard() error {
	if shared == nil {
		return nil
	}
	err := shared.Close()
	shared = nil
	return err
}

// scene is one fault on its stage. Its methods end the test when something is
// not as it should be.
type scene struct {
	*testing.T
	ctx    context.Context
	c      *cluster.Cluster
	holder *cluster.Node // at the beginning
	began  time.Duration // when the fault was put in
	run    Run
	tidy   func() // after the judgement, what is to be undone; nil: nothing
	// by hand additions of the address, which have no lifetime
	byHand int
	// behindFence is for how long two nodes may have the address while one of
	// them keeps quiet about it, as the asker sees.
	behindFence time.Duration
}

// fault puts the same fault in as often as -repeat says and keeps what was
// measured. Each time begins with three healthy masters and ends with them.
func fault(t *testing.T, name, promise string, body func(*scene)) {
	t.Helper()
	faultOn(t, open, name, promise, body)
}

func faultOn(t *testing.T, open func(*testing.T) *scene, name, promise string, body func(*scene)) {
	t.Helper()
	row := Row{Fault: name, Promise: promise}
	for i := range *repeat {
		ok := t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			s := open(t)
			s.play(body)
			row.Runs = append(row.Runs, s.run)
		})
		if !ok {
			break
		}
	}
	rows = append(rows, row)
}

// open brings the shared cluster onto the stage.
func open(t *testing.T) *scene {
	if shared == nil {
		shared = newCluster(t, cluster.Options{})
	}
	return newScene(t, shared)
}

func newCluster(t *testing.T, opts cluster.Options) *cluster.Cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run sudo make test")
	}
	c, err := cluster.Start(context.Background(), opts)
	if err != nil {
		t.Fatalf("start cluster: %v", err)
	}
	if err := c.StartWitness(); err != nil {
		t.Fatalf("start witness: %v", errors.Join(err, c.Close()))
	}
	return c
}

func newScene(t *testing.T, c *cluster.Cluster) *scene {
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	t.Cleanup(cancel)
	return &scene{T: t, ctx: ctx, c: c}
}

func (s *scene) play(body func(*scene)) {
	s.Cleanup(func() {
		if !s.Failed() {
			return
		}
		s.tell()
		if s.c == shared {
			if err := discard(); err != nil {
				s.Errorf("close cluster: %v", err)
			}
		}
	})
	s.calm()
	s.began = cluster.Now()
	body(s)
	s.calm()
	s.judge()
	if s.tidy != nil {
		s.tidy()
		s.calm()
	}
}

// calm waits until one node holds the address, it answers clients, and every
// daemon sees three healthy masters.
func (s *scene) calm() {
	s.Helper()
	s.try(s.c.WaitEtcd(s.ctx, calmsDown, s.c.Nodes...))
	why := ""
	err := cluster.Poll(s.ctx, calmsDown, "three healthy masters", func() bool {
		why = s.unrest()
		return why == ""
	})
	if err != nil {
		s.Fatalf("%v: %s", err, why)
	}
	s.try(s.c.Witness.WaitAnswer(s.ctx, takesOver, cluster.Now(), s.holder.Name))
}

// unrest says what is not in order yet, "" when all is.
func (s *scene) unrest() string {
	holders := s.c.Sampler.Holders()
	if len(holders) != 1 {
		return fmt.Sprintf("holders: %v", holders)
	}
	s.holder = s.c.Node(holders[0])
	for _, n := range s.c.Nodes {
		// The exit status says no more than the document.
		out, _, _, err := n.Ctl(s.ctx, "status", "-o", "json")
		if err != nil {
			return err.Error()
		}
		if why := measure.Unrest(n.Name, s.holder.Name, out); why != "" {
			return why
		}
	}
	return ""
}

// judge measures the fault from its beginning until now and checks what holds
// for every fault: never two holders, never an address without a lifetime.
func (s *scene) judge() {
	now := cluster.Now()
	j := s.c.Sampler.Judge(s.began, now)
	s.run.Outage = s.c.Witness.Outage(s.began, now).Length()
	s.run.Nobody, s.run.Double, s.run.Moves = j.LongestNone, j.Double, len(j.Moves)
	facts.Late = max(facts.Late, s.c.Sampler.Late(s.began, now))
	s.Logf("clients cut off for %v, nobody had the address for %v; %v", s.run.Outage, j.LongestNone, j.Spans)
	if j.Double > s.behindFence {
		s.Errorf("two nodes had the address for %v: %v", j.Double, j.Doubles)
	}
	if len(j.Permanent) > s.byHand {
		s.Errorf("address without a lifetime: %v", j.Permanent)
	}
	if doubts := s.c.Sampler.Doubts(); len(doubts) > 0 {
		s.Errorf("the observer has doubts about itself: %v", doubts)
	}
	if s.c.Asker != nil {
		s.judgeWire(now)
	}
}

// judgeWire judges by who answers for the address: a node behind whose fence it
// is left over does not.
func (s *scene) judgeWire(now time.Duration) {
	j, late, err := s.c.Asker.Judge(s.ctx, s.began, now)
	s.try(err)
	s.run.Nobody, s.run.Double = j.LongestNone, j.Double
	facts.Late = max(facts.Late, late)
	s.Logf("nobody answered on the wire for %v; %v", j.LongestNone, j.Spans)
	if j.Double != 0 {
		s.Errorf("two nodes answered on the wire for %v: %v", j.Double, j.Doubles)
	}
}

// tell shows what there is to see after a failure.
func (s *scene) tell() {
	if s.began != 0 {
		now := cluster.Now()
		s.Logf("since the fault: %v", s.c.Sampler.Judge(s.began, now).Spans)
	}
	for _, n := range s.c.Nodes {
		s.Logf("%s: havipd's last words:\n%s", n.Name, measure.LastLines(n.Log("havipd"), 30))
		if n.HavipdRunning() {
			out, errOut, _, _ := n.Ctl(context.Background(), "status")
			s.Logf("%s: havipctl status:\n%s%s", n.Name, out, errOut)
		}
	}
}

func (s *scene) try(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// ctl runs havipctl on a node, where it has to succeed.
func (s *scene) ctl(n *cluster.Node, args ...string) {
	s.Helper()
	_, err := n.MustCtl(s.ctx, args...)
	s.try(err)
}

// moves waits until another node than the holder has the address and answers.
func (s *scene) moves() *cluster.Node {
	s.Helper()
	var names []string
	for _, n := range s.c.Others(s.holder) {
		names = append(names, n.Name)
	}
	name, err := s.c.Sampler.WaitHolder(s.ctx, takesOver, names...)
	s.try(err)
	s.try(s.c.Witness.WaitAnswer(s.ctx, takesOver, cluster.Now(), name))
	return s.c.Node(name)
}

// stays lets time pass and checks that nobody but the holder had the address
// since the fault, and that the holder has it now.
func (s *scene) stays(d time.Duration) {
	s.Helper()
	s.try(cluster.Pause(s.ctx, d))
	j := s.c.Sampler.Judge(s.began, cluster.Now())
	if len(j.Moves) != 0 || j.Spans[len(j.Spans)-1].Nodes == nil {
		s.Errorf("holders since the fault: %v, want %s all along", j.Spans, s.holder.Name)
	}
}

// passes lets time pass in which nothing is expected.
func (s *scene) passes(d time.Duration) {
	s.Helper()
	s.try(cluster.Pause(s.ctx, d))
}

// wantMoves checks how often the address moved since the fault.
func (s *scene) wantMoves(want int) {
	s.Helper()
	if j := s.c.Sampler.Judge(s.began, cluster.Now()); len(j.Moves) != want {
		s.Errorf("moved %d times, want %d: %v", len(j.Moves), want, j.Spans)
	}
}

// leadElsewhere makes a member beside the holder's lead etcd.
func (s *scene) leadElsewhere() *cluster.Node {
	s.Helper()
	leader, err := s.c.EtcdLeader(s.ctx)
	s.try(err)
	if leader == s.holder {
		leader = s.c.Others(s.holder)[0]
		s.try(s.c.MoveEtcdLeader(s.ctx, leader))
	}
	return leader
}

// begin sets the moment from which the fault is measured, after preparations
// that must not have cost the holder its address.
func (s *scene) begin() {
	s.Helper()
	s.began = cluster.Now()
	if h := s.c.Sampler.Holders(); len(h) != 1 || h[0] != s.holder.Name {
		s.Fatalf("holders before the fault: %v, want %s", h, s.holder.Name)
	}
}

// beginEmpty is begin for a fault in which nobody has the address at first. The
// observer may learn that it went a little later than that the daemon has ended, but
// a daemon that leaves it to the kernel's lifetime is found out.
func (s *scene) beginEmpty() {
	s.Helper()
	s.try(s.c.Sampler.Wait(s.ctx, time.Second, "nobody to have the address before the fault", func(h []string) bool { return len(h) == 0 }))
	s.began = cluster.Now()
}
