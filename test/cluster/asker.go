package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// askerPrefix is the asker's own address, from which it asks nothing.
var askerPrefix = netip.MustParsePrefix("198.51.100.199/24")

// Asker asks the wire all the time, by broadcast ARP, who has the virtual
// address. An address that is on a node's link but that its kernel keeps quiet
// about, or that nobody can reach, is none to it: it sees what clients see.
type Asker struct {
	vip   netip.Addr
	nodes map[string]string // MAC to name
	proc  *process
	stdin *os.File

	mu     sync.Mutex
	events []Event
	now    []string // who answered last
	upto   time.Duration
	lates  []lateness
	err    error
}

// StartAsker starts the question for the IPv4 virtual address.
func (c *Cluster) StartAsker() error {
	if c.Asker != nil {
		return nil
	}
	nodes := map[string]string{}
	for _, s := range c.seats() {
		nodes[s.MAC.String()] = s.Name
	}
	return c.startAsker(VIP4, nodes)
}

func (s *Stage) startAsker(vip netip.Addr, nodes map[string]string) error {
	if err := s.AddHost("asker", askerPrefix); err != nil {
		return err
	}
	stderr, err := s.logFile("asker.log")
	if err != nil {
		return err
	}
	defer stderr.Close()
	p := part("asker", vip.String())
	p.stderr = stderr
	a := &Asker{vip: vip, nodes: nodes}
	proc, stdin, stdout, err := s.hosts[len(s.hosts)-1].spawnPiped(p)
	if err != nil {
		return err
	}
	a.proc, a.stdin = proc, stdin
	s.Asker = a
	go func() { a.end(readLines(stdout, "asker", a.line)) }()
	return nil
}

func (a *Asker) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
	}
}

func (a *Asker) line(text string) error {
	words := strings.Split(text, " ")
	if len(words) < 2 {
		return fmt.Errorf("read line of asker: %q", text)
	}
	n, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return fmt.Errorf("read time of asker: %w", err)
	}
	at := time.Duration(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case len(words) == 3 && words[0] == "answer":
		a.answered(at, words[2])
	case len(words) == 3 && words[0] == "upto":
		by, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			return fmt.Errorf("read lateness of asker: %w", err)
		}
		a.upto = at
		a.lates = append(a.lates, lateness{at, time.Duration(by)})
	default:
		return fmt.Errorf("read line of asker: %q", text)
	}
	return nil
}

// answered turns who answered into who came and who went, so that both
// observers' timelines are judged by the same rules.
func (a *Asker) answered(at time.Duration, macs string) {
	var now []string
	for mac := range strings.SplitSeq(macs, ",") {
		switch name, known := a.nodes[mac]; {
		case known:
			now = append(now, name)
		case mac != "":
			now = append(now, mac)
		}
	}
	for _, n := range a.now {
		if !slices.Contains(now, n) {
			a.events = append(a.events, Event{At: at, Node: n, What: Removed, Addr: a.vip, Bits: a.vip.BitLen()})
		}
	}
	for _, n := range now {
		if !slices.Contains(a.now, n) {
			a.events = append(a.events, Event{At: at, Node: n, What: Added, Addr: a.vip, Bits: a.vip.BitLen()})
		}
	}
	a.now = now
}

// Holders are those who answered the last question whose answers are all in.
func (a *Asker) Holders() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.now)
}

// Judge judges the span between two moments as the function of that name does,
// and waits until all questions of the span are answered. A span ends where the
// first question is that was answered otherwise: it is off by one question, 5 ms,
// at either end. late is the most that a question came late.
func (a *Asker) Judge(ctx context.Context, from, to time.Duration) (j Judgement, late time.Duration, err error) {
	err = Poll(ctx, 5*time.Second, "the answers to all questions", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.upto >= to || a.err != nil
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		err = a.err
	}
	if err != nil {
		return j, 0, err
	}
	return Judge(a.events, from, to), latest(a.lates, from, to), nil
}

func (a *Asker) close() error {
	a.end(fmt.Errorf("asker: %w", os.ErrClosed))
	a.stdin.Close()
	return a.proc.kill()
}
