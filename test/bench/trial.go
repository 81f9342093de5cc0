package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"havip/test/cluster"
	"havip/test/measure"
)

const (
	calmsDown = 90 * time.Second // everything in place after a fault was healed, dead candidates gone
	askAgain  = time.Second / 4  // after which a contender is asked whether it is calm: that takes programs
	calmFor   = time.Second      // that nothing moves before all counts as calm
	placings  = 5                // of etcd's leader
	quiet     = time.Second      // before a fault, to see the machine's own noise
)

// stage is a cluster with one contender on it.
type stage struct {
	ctx       context.Context
	contender contender
	c         *cluster.Cluster
	holder    *cluster.Node // when it was calm last
	leader    *cluster.Node // of etcd, likewise
}

// open builds a cluster of its own for a contender; observed by clients and on
// the wire, or left alone so that only the contender's own cost is seen.
func open(ctx context.Context, who contender, masters int, observed bool) (*stage, error) {
	opts := cluster.Options{Masters: masters}
	if err := who.prepare(&opts); err != nil {
		return nil, err
	}
	c, err := cluster.Start(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	s := &stage{ctx: ctx, contender: who, c: c}
	for _, n := range c.Nodes {
		n.Supervise(who.restart)
	}
	if observed {
		err = errors.Join(c.StartWitness(), c.StartAsker())
	}
	if err == nil && who.name != none {
		err = s.calm()
	}
	if err != nil {
		return nil, errors.Join(err, s.tell(), c.Close())
	}
	return s, nil
}

// calm waits until one node has the address, answers alone and goes on doing so,
// and the contender has everything in order.
func (s *stage) calm() error {
	if err := s.c.WaitEtcd(s.ctx, calmsDown, s.c.Nodes...); err != nil {
		return err
	}
	var asked time.Duration
	why := ""
	err := cluster.Poll(s.ctx, calmsDown, s.contender.title+" to be calm", func() bool {
		if seen := s.unrest(); seen != "" {
			why = seen
			return false
		}
		if cluster.Now()-asked < askAgain {
			return false
		}
		why = s.contender.unrest(s.ctx, s.c, s.holder)
		asked = cluster.Now()
		return why == ""
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, why)
	}
	if err := s.steady(); err != nil {
		return err
	}
	if s.c.Witness == nil {
		return nil
	}
	return s.c.Witness.WaitAnswer(s.ctx, patience, cluster.Now(), s.holder.Name)
}

// steady waits until the same node has had the address for some time.
func (s *stage) steady() error {
	var since time.Duration
	holder, why := "", ""
	err := cluster.Poll(s.ctx, calmsDown, "the address to stay where it is", func() bool {
		why = s.unrest()
		if why != "" || s.holder.Name != holder || since == 0 {
			since = cluster.Now()
			holder = s.holder.Name
		}
		return why == "" && cluster.Now()-since >= calmFor
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, why)
	}
	return nil
}

// unrest says what the observers do not see in order; "" when all is.
func (s *stage) unrest() string {
	holders := s.c.Sampler.Holders()
	if len(holders) != 1 {
		return fmt.Sprintf("holders: %v", holders)
	}
	if s.c.Asker != nil {
		if answer := s.c.Asker.Holders(); !slices.Equal(answer, holders) {
			return fmt.Sprintf("%s has the address, %v answer for it", holders[0], answer)
		}
	}
	s.holder = s.c.Node(holders[0])
	for _, n := range s.c.Nodes {
		if !n.HavipdRunning() {
			return n.Name + "'s daemon does not run"
		}
	}
	return ""
}

// place puts the etcd leader where the fault wants it, and waits for calm again:
// a change of leader is a fault of its own, after which the address may be elsewhere.
func (s *stage) place(f fault) error {
	for range placings {
		leader, err := s.c.EtcdLeader(s.ctx)
		if err != nil {
			return err
		}
		if f.leading == (leader == s.holder) {
			s.leader = leader
			return nil
		}
		leader = s.holder
		if !f.leading {
			leader = s.c.Others(s.holder)[0]
		}
		if err := s.c.MoveEtcdLeader(s.ctx, leader); err != nil {
			return err
		}
		if err := s.calm(); err != nil {
			return err
		}
	}
	return fmt.Errorf("etcd's leader and the address do not stay where they are put, %d times", placings)
}

// play puts the fault in once and measures it.
func (s *stage) play(f fault) (t Trial, err error) {
	if err := s.calm(); err != nil {
		return t, err
	}
	if err := s.place(f); err != nil {
		return t, err
	}
	t = Trial{Masters: len(s.c.Nodes), Contender: s.contender.name, Fault: f.name, Load: measure.Load(), System: measure.System()}
	probe, err := newCommits(s.c.Others(s.holder)[0])
	if err != nil {
		return t, err
	}
	defer probe.close()
	if t.Commit, err = probe.own(s.ctx); err != nil {
		return t, err
	}
	began := cluster.Now()
	if err := cluster.Pause(s.ctx, quiet); err != nil {
		return t, err
	}
	struck := cluster.Now()
	if h := s.c.Sampler.Holders(); len(h) != 1 || h[0] != s.holder.Name {
		return t, fmt.Errorf("holders before the fault: %v, want %s", h, s.holder.Name)
	}
	_, noise := cluster.Noise(s.c.Witness.Attempts(), began, struck)
	t.Noise = milliseconds(noise)
	if f.leading {
		probe.watch(s.ctx)
	}
	if err := f.strike(s); err != nil {
		return t, err
	}
	if err := cluster.Pause(s.ctx, f.span-(cluster.Now()-struck)); err != nil {
		return t, err
	}
	// That no answer comes is a result; it shows in the outage.
	_ = s.c.Witness.WaitAnswer(s.ctx, f.limit, cluster.Now())
	if f.leading {
		t.Etcd = milliseconds(probe.first(struck))
	}
	healed := cluster.Now()
	if err := f.heal(s); err != nil {
		return t, err
	}
	if err := s.calm(); err != nil {
		return t, err
	}
	return t, s.judge(&t, struck, healed, cluster.Now())
}

// judge notes what the observers saw.
func (s *stage) judge(t *Trial, struck, healed, ended time.Duration) error {
	attempts := s.c.Witness.Attempts()
	broken, after := cluster.FindOutage(attempts, struck, healed), outageAfter(attempts, healed, ended)
	t.Outage, t.Heal = milliseconds(broken.Length()), milliseconds(after.Length())
	t.Open = broken.After == "" && broken.To == healed
	kernels := s.c.Sampler.Judge(struck, ended)
	t.Nobody = milliseconds(s.c.Sampler.Judge(struck, healed).LongestNone)
	t.Double, t.Moves = milliseconds(kernels.Double), len(kernels.Moves)
	wire, late, err := s.c.Asker.Judge(s.ctx, struck, ended)
	if err != nil {
		return err
	}
	t.Wire = milliseconds(wire.Double)
	t.Late = milliseconds(max(late, s.c.Sampler.Late(struck, ended)))
	if doubts := s.c.Sampler.Doubts(); len(doubts) > 0 {
		return fmt.Errorf("the observer has doubts about itself: %v", doubts)
	}
	return nil
}

// outageAfter counts from healed on what began before it: that much was the fault.
func outageAfter(attempts []cluster.Attempt, healed, ended time.Duration) cluster.Outage {
	attempts = slices.DeleteFunc(slices.Clone(attempts), func(a cluster.Attempt) bool { return a.Done < healed })
	return cluster.FindOutage(attempts, healed, ended)
}

// tell is what a failed run leaves to read.
func (s *stage) tell() error {
	var errs []error
	for _, n := range s.c.Nodes {
		for _, log := range []string{"havipd", "keepalived", "plain"} {
			if text := n.Log(log); text != "" {
				errs = append(errs, fmt.Errorf("last words of %s on %s:\n%s", log, n.Name, measure.LastLines(text, 10)))
			}
		}
	}
	return errors.Join(errs...)
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
