package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"havip/test/cluster"
)

// Limits of the demo. They are generous: the demo shows what it measured.
const (
	firstHolder = 30 * time.Second
	takeover    = 15 * time.Second
	quietTime   = 2 * time.Second // what a client sees with nothing broken
)

// story is one showing of the demo.
type story struct {
	ctx   context.Context
	out   io.Writer
	began time.Duration
	stay  bool
	c     *cluster.Cluster

	holder *cluster.Node // who has the address now
	broken []string      // what was not as promised
}

// say prints a line with the time since the demo began.
func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%6.1f s  %s\n", (cluster.Now() - s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *story) head(text string) { fmt.Fprintf(s.out, "\n== %s\n", text) }

func (s *story) line(format string, args ...any) {
	fmt.Fprintf(s.out, "          %s\n", fmt.Sprintf(format, args...))
}

func (s *story) play() error {
	for _, act := range []func() error{s.build, s.first, s.crash, s.back, s.handover, s.linger} {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) build() (err error) {
	s.head("three masters, each a network namespace with a real etcd member and a havipd")
	s.say("starting them, isolated from this machine's own network")
	if s.c, err = cluster.Start(s.ctx, cluster.Options{}); err != nil {
		return err
	}
	leader, err := s.c.EtcdLeader(s.ctx)
	if err != nil {
		return err
	}
	for _, n := range s.c.Nodes {
		s.line("%s  %s", n.Name, n.Address)
	}
	s.say("etcd serves; the member on %s leads", leader.Name)
	return nil
}

func (s *story) first() (err error) {
	if s.holder, err = s.c.Holder(s.ctx, firstHolder); err != nil {
		return err
	}
	s.say("%s has the address %s", s.holder.Name, cluster.VIP4)
	if err := s.c.StartWitness(); err != nil {
		return err
	}
	if err := s.c.Witness.WaitAnswer(s.ctx, takeover, cluster.Now(), s.holder.Name); err != nil {
		return err
	}
	s.say("a client in a namespace of its own connects to %s every 5 ms from now on", cluster.VIP4)
	from := cluster.Now()
	if err := cluster.Pause(s.ctx, quietTime); err != nil {
		return err
	}
	median, worst := cluster.Noise(s.c.Witness.Attempts(), from, cluster.Now())
	s.line("nothing is broken yet: an answer every %v, %v at the longest", tenths(median), tenths(worst))
	return s.status(s.holder)
}

func (s *story) crash() error {
	s.head(fmt.Sprintf("cutting the power of %s, which holds the address", s.holder.Name))
	leader, err := s.c.EtcdLeader(s.ctx)
	if err != nil {
		return err
	}
	was, role := s.holder, "etcd's leader is elsewhere"
	if leader == was {
		role = "etcd's leader goes with it"
	}
	cut := cluster.Now()
	if err := was.PowerOff(); err != nil {
		return err
	}
	s.say("%s is off, without a word to anybody; %s", was.Name, role)
	if err := s.moves(was); err != nil {
		return err
	}
	s.report(cut)
	if err := s.noticed(); err != nil {
		return err
	}
	return s.status(s.holder)
}

// noticed waits until the holder's status says that something is missing: the
// presence of the lost node is a lease that has to run out first.
func (s *story) noticed() error {
	return cluster.Poll(s.ctx, takeover, "havipctl status to say DEGRADED", func() bool {
		_, _, code, err := s.holder.Ctl(s.ctx, "status")
		return err == nil && code == 1
	})
}

func (s *story) back() error {
	s.head("and back on")
	was := s.c.Others(s.holder)
	on := cluster.Now()
	if err := s.c.PowerOn(s.ctx, was...); err != nil {
		return err
	}
	s.say("the node has power again and its etcd member caught up")
	if err := cluster.Pause(s.ctx, quietTime); err != nil {
		return err
	}
	if moves := s.c.Sampler.Judge(on, cluster.Now()).Moves; len(moves) > 0 {
		s.breaks("the address moved when the node came back: %v", moves)
	} else {
		s.say("%s keeps the address", s.holder.Name)
	}
	return nil
}

func (s *story) handover() error {
	s.head("a planned move: havipctl handover")
	was := s.holder
	asked := cluster.Now()
	if _, err := was.MustCtl(s.ctx, "handover"); err != nil {
		return err
	}
	if err := s.moves(was); err != nil {
		return err
	}
	s.report(asked)
	return s.status(s.holder)
}

// moves waits until another node than was has the address and answers.
func (s *story) moves(was *cluster.Node) error {
	var names []string
	for _, n := range s.c.Others(was) {
		names = append(names, n.Name)
	}
	name, err := s.c.Sampler.WaitHolder(s.ctx, takeover, names...)
	if err != nil {
		return err
	}
	s.holder = s.c.Node(name)
	return s.c.Witness.WaitAnswer(s.ctx, takeover, cluster.Now(), name)
}

// report tells what the two observers saw since a moment.
func (s *story) report(since time.Duration) {
	now := cluster.Now()
	outage := s.c.Witness.Outage(since, now)
	j := s.c.Sampler.Judge(since, now)
	s.say("%s has the address and answers", s.holder.Name)
	s.line("")
	s.line("clients     were cut off for %v; the last answer before came from %s, the first after from %s",
		tenths(outage.Length()), outage.Before, outage.After)
	s.line("nodes       %s", moved(j, since))
	if j.Double == 0 {
		s.line("            never two of them at once, by their kernels' own word (to within %v)", tenths(s.c.Sampler.Late(since, now)))
	}
	s.broken = append(s.broken, complaints(j, s.c.Sampler.Doubts())...)
}

// complaints says in what a judgement differs from the promise of one move
// without two holders.
func complaints(j cluster.Judgement, doubts []string) []string {
	var broken []string
	if j.Double > 0 {
		broken = append(broken, fmt.Sprintf("two nodes had the address at once for %v: %v", tenths(j.Double), j.Doubles))
	}
	if len(j.Moves) != 1 {
		broken = append(broken, fmt.Sprintf("the address moved %d times, not once: %s", len(j.Moves), spans(j.Spans)))
	}
	if len(j.Permanent) > 0 {
		broken = append(broken, fmt.Sprintf("%s had the address without a lifetime", j.Permanent[0].Node))
	}
	for _, d := range doubts {
		broken = append(broken, "the observer missed something: "+d)
	}
	return broken
}

// moved is the one move in a few words, or all there was.
func moved(j cluster.Judgement, since time.Duration) string {
	if len(j.Moves) != 1 {
		return spans(j.Spans)
	}
	m := j.Moves[0]
	return fmt.Sprintf("%s lost the address after %v, %s got it %v later",
		m.From, tenths(m.Lost-since), m.To, tenths(m.Gained-m.Lost))
}

// spans is who had the address, one after the other.
func spans(all []cluster.Holding) string {
	var parts []string
	for i, h := range all {
		who := "nobody"
		if len(h.Nodes) > 0 {
			who = strings.Join(h.Nodes, " and ") + " had it"
		}
		if i == len(all)-1 && i > 0 {
			parts = append(parts, who+" since then")
			continue
		}
		parts = append(parts, fmt.Sprintf("%s for %v", who, tenths(h.Length())))
	}
	return strings.Join(parts, ", ")
}

// tenths rounds to what a reader can use: whole milliseconds, and tenths of
// them below ten.
func tenths(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// status prints what havipctl says on a node.
func (s *story) status(n *cluster.Node) error {
	out, errOut, code, err := n.Ctl(s.ctx, "status")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n%s# havipctl status\n%s%s(exit status %d)\n", n.Name, out, errOut, code)
	if code > 1 {
		s.breaks("havipctl status on %s ended with exit status %d", n.Name, code)
	}
	return nil
}

func (s *story) breaks(format string, args ...any) {
	s.broken = append(s.broken, fmt.Sprintf(format, args...))
}

// linger leaves the cluster to the reader, when asked to.
func (s *story) linger() error {
	if !s.stay {
		return nil
	}
	s.head("yours until Ctrl-C")
	for _, n := range s.c.Nodes {
		s.line("%s: nsenter -n -t %d -- ip address    %s", n.Name, n.HavipdPID(), n.CtlLine("status"))
	}
	<-s.ctx.Done()
	return nil
}

// close tidies up, whatever happened before.
func (s *story) close() error {
	if s.c == nil {
		return nil
	}
	return s.c.Close()
}

func (s *story) verdict() int {
	if len(s.broken) == 0 {
		fmt.Fprintln(s.out, "\nall of it was as promised")
		return 0
	}
	fmt.Fprintln(s.out, "\nNOT as promised:")
	for _, b := range s.broken {
		fmt.Fprintln(s.out, "  -", b)
	}
	return 1
}
