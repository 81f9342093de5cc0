package packages

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
	"havip/test/measure"
)

var (
	repeat = flag.Int("repeat", 1, "how often each case is played")
	report = flag.String("report", "", "file to write the measurements to, as markdown")
	made   = flag.String("made", "../../bin/test/packages", "folder with a repository of each version")
)

// Generous bounds: the tests judge behaviour. How quick it was is measured and
// reported, not asserted on a machine that may be busy.
const (
	takesOver = 12 * time.Second // a crash: takeover (4.5 s) plus an etcd election, doubled
	handsOver = 2 * time.Second  // nobody has the address while it is handed over: some milliseconds
	calmsDown = 45 * time.Second // everything back in place; etcd alone may need 15 s
	goesDown  = 60 * time.Second // an orderly shutdown
	caseTime  = 5 * time.Minute  // one case with what it takes to undo it
)

// shared is the lab that most cases use in turn, the package installed on all
// nodes. One that a case left in disorder is thrown away.
var (
	shared *lab.Lab
	latest *lab.Lab // the one that was built last, for Ctrl-C; there is one at a time
	rows   []Row
	facts  = Facts{Ready: map[string][]time.Duration{}, Sizes: map[string]int64{}}
)

// building is held while a lab is built, so that Ctrl-C finds a whole one.
var building sync.Mutex

func TestMain(m *testing.M) {
	lab.RunPart()
	flag.Parse()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		signal.Stop(interrupted) // a second one ends the tidying up; the kernel and the next run do the rest
		building.Lock()
		if latest != nil {
			if err := latest.Close(); err != nil {
				fmt.Fprintln(os.Stderr, "error:", err)
			}
		}
		os.Exit(130)
	}()
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
	facts.System, facts.Load = measure.System(), measure.Load()
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

// scene is one case on its stage. Its methods end the test when something is
// not as it should be.
type scene struct {
	*testing.T
	ctx    context.Context
	l      *lab.Lab
	holder *lab.Node     // at the beginning
	began  time.Duration // when the case began
	run    Run
	tidy   func() // after the judgement, what is to be undone; nil: nothing
}

// play plays the same case as often as -repeat says and keeps what was
// measured. Each time begins with three healthy masters and ends with them.
func play(t *testing.T, name, promise string, body func(*scene)) {
	t.Helper()
	row := Row{Case: name, Promise: promise}
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

// open brings the shared lab onto the stage.
func open(t *testing.T) *scene {
	t.Helper()
	if shared == nil {
		s := fresh(t)
		s.installEverywhere()
		shared = s.l
		return s
	}
	return newScene(t, shared)
}

func newScene(t *testing.T, l *lab.Lab) *scene {
	ctx, cancel := context.WithTimeout(t.Context(), caseTime)
	t.Cleanup(cancel)
	s := &scene{T: t, ctx: ctx, l: l}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		s.tell()
		if s.l == shared {
			if err := discard(); err != nil {
				t.Errorf("close lab: %v", err)
			}
		}
	})
	return s
}

func (s *scene) play(body func(*scene)) {
	s.calm()
	s.begin()
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
	why := ""
	err := cluster.Poll(s.ctx, calmsDown, "three healthy masters", func() bool {
		why = s.unrest()
		return why == ""
	})
	if err != nil {
		s.Fatalf("%v: %s", err, why)
	}
	s.try(s.l.Witness.WaitAnswer(s.ctx, takesOver, cluster.Now(), s.holder.Name))
}

// unrest says what is not in order yet, "" when all is.
func (s *scene) unrest() string {
	holders := s.l.Sampler.Holders()
	if len(holders) != 1 {
		return fmt.Sprintf("holders: %v", holders)
	}
	s.holder = s.l.Node(holders[0])
	for _, n := range s.l.Nodes {
		// The exit status says no more than the document.
		out, errOut, _, err := n.Try(s.ctx, "havipctl", "status", "-o", "json")
		if err != nil {
			return err.Error()
		}
		if why := measure.Unrest(n.Name, s.holder.Name, out); why != "" {
			return why + " " + errOut
		}
	}
	return ""
}

// judge measures the case from its beginning until now and checks what holds
// for every case: never two holders, never an address without a lifetime.
func (s *scene) judge() {
	now := cluster.Now()
	j := s.l.Sampler.Judge(s.began, now)
	attempts := s.l.Witness.Attempts()
	s.run = Run{
		Outage: cluster.FindOutage(attempts, s.began, now).Length(), Lost: lost(attempts, s.began, now),
		Nobody: j.LongestNone, Double: j.Double, Moves: len(j.Moves),
	}
	facts.Late = max(facts.Late, s.l.Sampler.Late(s.began, now))
	s.Logf("clients cut off for %v, %d connections lost, nobody had the address for %v; %v", s.run.Outage, s.run.Lost, j.LongestNone, j.Spans)
	if j.Double != 0 {
		s.Errorf("two nodes had the address for %v: %v", j.Double, j.Doubles)
	}
	if len(j.Permanent) > 0 {
		s.Errorf("address without a lifetime: %v", j.Permanent)
	}
	if doubts := s.l.Sampler.Doubts(); len(doubts) > 0 {
		s.Errorf("the observer has doubts about itself: %v", doubts)
	}
}

// lost counts the attempts that failed.
func lost(attempts []cluster.Attempt, from, to time.Duration) (n int) {
	for _, a := range attempts {
		if a.Node == "" && a.Sent >= from && a.Sent <= to {
			n++
		}
	}
	return n
}

// tell shows what there is to see after a failure.
func (s *scene) tell() {
	if s.began != 0 {
		s.Logf("since the beginning: %v", s.l.Sampler.Judge(s.began, cluster.Now()).Spans)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, n := range s.l.Nodes {
		if !n.Powered() {
			s.Logf("%s is off: %s", n.Name, n.Console())
			continue
		}
		for _, look := range [][]string{
			{"journalctl", "--no-pager", "--output=short-precise", "--lines=40", "--unit=havipd.service", "--unit=havip-shutdown.service"},
			{"havipctl", "status"},
		} {
			out, err := n.Exec(ctx, look...)
			s.Logf("%s: %s: %v\n%s", n.Name, strings.Join(look, " "), err, out)
		}
	}
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

// unit asks systemd on a node about a unit.
func (s *scene) unit(n *lab.Node, name string) map[string]string {
	s.Helper()
	u, err := n.Unit(s.ctx, name)
	s.try(err)
	return u
}

// begin sets the moment from which the case is measured, after preparations
// that must not have cost the holder its address.
func (s *scene) begin() {
	s.Helper()
	s.began = cluster.Now()
	if h := s.l.Sampler.Holders(); !slices.Equal(h, []string{s.holder.Name}) {
		s.Fatalf("holders at the beginning: %v, want %s", h, s.holder.Name)
	}
}

// moves waits until another node than the holder has the address and answers.
func (s *scene) moves() {
	s.Helper()
	var names []string
	for _, n := range s.l.Others(s.holder) {
		names = append(names, n.Name)
	}
	name, err := s.l.Sampler.WaitHolder(s.ctx, takesOver, names...)
	s.try(err)
	s.try(s.l.Witness.WaitAnswer(s.ctx, takesOver, cluster.Now(), name))
}

// stays lets time pass and checks that the holder had the address all along.
func (s *scene) stays(d time.Duration) {
	s.Helper()
	s.try(cluster.Pause(s.ctx, d))
	j := s.l.Sampler.Judge(s.began, cluster.Now())
	if len(j.Spans) != 1 || !slices.Equal(j.Spans[0].Nodes, []string{s.holder.Name}) {
		s.Errorf("holders since the beginning: %v, want %s all along", j.Spans, s.holder.Name)
	}
}

// handedOver checks that the address moved once since the beginning, and that
// it was given and not waited for.
func (s *scene) handedOver() {
	s.Helper()
	j := s.l.Sampler.Judge(s.began, cluster.Now())
	if len(j.Moves) != 1 {
		s.Errorf("moved %d times, want once: %v", len(j.Moves), j.Spans)
	}
	if j.LongestNone > handsOver {
		s.Errorf("nobody had the address for %v, want a handover: %v", j.LongestNone, j.Spans)
	}
}

// Occasions on which a daemon starts. At boot everything else starts beside it.
const (
	atBoot = "at boot"
	byHand = "started or restarted by itself"
)

// ready notes how long the daemon that runs on the node took to be ready.
func (s *scene) ready(n *lab.Node, when string) {
	s.Helper()
	u := s.unit(n, "havipd.service")
	started, err := lab.Moment(u, "ExecMainStartTimestampMonotonic")
	s.try(err)
	ready, err := lab.Moment(u, "ActiveEnterTimestampMonotonic")
	s.try(err)
	if ready < started {
		s.Errorf("READY of %s is older than its process: %v and %v", n.Name, ready, started)
	}
	facts.Ready[when] = append(facts.Ready[when], ready-started)
}
