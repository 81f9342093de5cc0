package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Sampler knows at any moment which nodes have the virtual address on an
// interface, from their kernels.
type Sampler struct {
	vips  []netip.Addr
	proc  *process
	stdin *os.File

	mu      sync.Mutex
	lives   map[string]string // a node's life, "n1/2", to the node, "n1"; gone when it is off
	events  []Event
	now     holders
	doubts  []string
	lates   []lateness
	changed chan struct{} // closed and replaced at each change
	err     error
	seen    map[string]chan struct{} // lives that the process watches
}

// lateness is one reading of how far behind the sampler was.
type lateness struct {
	at, by time.Duration
}

func startSampler(ns *namespace, vips []netip.Addr, stderr *os.File) (*Sampler, error) {
	s := &Sampler{
		vips: vips, lives: map[string]string{}, now: holders{},
		changed: make(chan struct{}), seen: map[string]chan struct{}{},
	}
	var args []string
	for _, v := range vips {
		args = append(args, v.String())
	}
	p := part("sampler", args...)
	p.stderr = stderr
	proc, stdin, stdout, err := ns.spawnPiped(p)
	if err != nil {
		return nil, err
	}
	s.proc, s.stdin = proc, stdin
	go func() { s.end(readLines(stdout, "sampler", s.line)) }()
	return s, nil
}

// spawnPiped starts a program whose stdin and stdout this process holds.
func (n *namespace) spawnPiped(p program) (proc *process, stdin, stdout *os.File, err error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("make pipe for %s: %w", p.name, err)
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return nil, nil, nil, fmt.Errorf("make pipe for %s: %w", p.name, err)
	}
	defer outW.Close()
	p.stdin, p.stdout = inR, outW
	if proc, err = n.spawn(p); err != nil {
		inW.Close()
		outR.Close()
		return nil, nil, nil, err
	}
	return proc, inW, outR, nil
}

// readLines hands on what an observer says, until it ends or says what nobody
// understands.
func readLines(stdout io.ReadCloser, name string, line func(string) error) error {
	defer stdout.Close()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if err := line(lines.Text()); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s ended: %w", name, io.ErrUnexpectedEOF)
}

func (s *Sampler) line(text string) error {
	words := strings.Fields(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(words) == 2 && words[0] == "watching":
		if c, ok := s.seen[words[1]]; ok {
			close(c)
			delete(s.seen, words[1])
		}
	case len(words) == 7 && words[0] == "event":
		e, err := parseSample(words[1:])
		if err != nil {
			return err
		}
		s.record(e)
	case len(words) > 2 && words[0] == "doubt":
		// A node that is off may go in any way.
		if node, ok := s.lives[words[2]]; ok {
			s.doubts = append(s.doubts, node+": "+strings.Join(words[3:], " "))
		}
	case len(words) == 3 && words[0] == "late":
		at, err1 := strconv.ParseInt(words[1], 10, 64)
		by, err2 := strconv.ParseInt(words[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("read lateness of sampler: %w", err)
		}
		s.lates = append(s.lates, lateness{time.Duration(at), time.Duration(by)})
	default:
		return fmt.Errorf("read line of sampler: %q", text)
	}
	return nil
}

// record adds an event that bears the name of a life. What a node's kernel
// says once its power is cut counts for nothing.
func (s *Sampler) record(e Event) {
	node, ok := s.lives[e.Node]
	if !ok {
		return
	}
	e.Node = node
	s.events = append(s.events, e)
	s.now.apply(e)
	s.announce()
}

func (s *Sampler) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Sampler) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.announce()
	}
}

// watch begins to observe a new life of a node and waits until it is observed.
func (s *Sampler) watch(node, life string, ns *namespace) error {
	watching := make(chan struct{})
	s.mu.Lock()
	s.lives[life] = node
	s.seen[life] = watching
	s.mu.Unlock()
	if _, err := fmt.Fprintf(s.stdin, "watch %s %s\n", life, ns.path()); err != nil {
		return fmt.Errorf("watch %s: %w", node, err)
	}
	select {
	case <-watching:
		return nil
	case <-s.proc.done:
		return fmt.Errorf("watch %s: %w", node, s.failure())
	case <-time.After(5 * time.Second):
		return fmt.Errorf("watch %s: sampler does not answer", node)
	}
}

// cut marks that the power of a node's life is cut, now.
func (s *Sampler) cut(life string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node, ok := s.lives[life]
	if !ok {
		return
	}
	delete(s.lives, life)
	off := Event{At: Now(), Node: node, What: Off}
	s.events = append(s.events, off)
	s.now.apply(off)
	s.announce()
}

// drop stops observing a life, so that its namespace can go.
func (s *Sampler) drop(life string) error {
	if _, err := fmt.Fprintf(s.stdin, "drop %s\n", life); err != nil {
		return fmt.Errorf("stop watching %s: %w", life, err)
	}
	return nil
}

func (s *Sampler) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Holders returns the nodes that have a virtual address on an interface.
func (s *Sampler) Holders() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.names()
}

// Wait waits until ok holds for the nodes that have a virtual address; it is
// asked after every change. what completes "waited 3s for …".
func (s *Sampler) Wait(ctx context.Context, limit time.Duration, what string, ok func(holders []string) bool) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		s.mu.Lock()
		names, changed, err := s.now.names(), s.changed, s.err
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if ok(names) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		case <-timer.C:
			return fmt.Errorf("waited %v for %s; holders: %v", limit, what, names)
		}
	}
}

// WaitHolder waits until exactly one node holds all virtual addresses and that
// node is one of those named (any, when none is named). It returns the node.
func (s *Sampler) WaitHolder(ctx context.Context, limit time.Duration, among ...string) (string, error) {
	what := "a holder"
	if len(among) > 0 {
		what += " among " + strings.Join(among, ", ")
	}
	var holder string
	err := s.Wait(ctx, limit, what, func(names []string) bool {
		if len(names) != 1 || !s.complete(names[0]) {
			return false
		}
		holder = names[0]
		return len(among) == 0 || slices.Contains(among, holder)
	})
	return holder, err
}

func (s *Sampler) complete(node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.hasAll(node, s.vips)
}

// Events returns a copy of the timeline so far, in order of time.
func (s *Sampler) Events() []Event {
	s.mu.Lock()
	events := slices.Clone(s.events)
	s.mu.Unlock()
	sortEvents(events)
	return events
}

// Judge judges the span between two moments; see the function of that name.
func (s *Sampler) Judge(from, to time.Duration) Judgement { return Judge(s.Events(), from, to) }

// Doubts are changes that only the periodic comparison with the kernel's own
// list found and no notification followed, and other troubles. None are expected;
// with any of them the timeline is not proof.
func (s *Sampler) Doubts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.doubts)
}

// Late is the most that a time stamp between two moments may be late: two
// holders for less than this could go unseen. With IPv6 add what the kernel itself
// is late by, see toldWithin.
func (s *Sampler) Late(from, to time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return latest(s.lates, from, to)
}

func latest(lates []lateness, from, to time.Duration) (worst time.Duration) {
	for _, l := range slices.Backward(lates) {
		if l.at < from {
			break
		}
		if l.at <= to {
			worst = max(worst, l.by)
		}
	}
	return worst
}

func (s *Sampler) close() error {
	s.end(fmt.Errorf("sampler: %w", os.ErrClosed))
	s.stdin.Close()
	return s.proc.kill()
}
