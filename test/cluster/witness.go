package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// whoPort is where the stand-in API server says its node's name to whoever
// connects.
const whoPort = 6444

// Witness is a client that connects through the virtual address all the time
// and notes who answered, or that nobody did.
type Witness struct {
	proc  *process
	stdin *os.File

	mu       sync.Mutex
	attempts []Attempt
	err      error
}

func startWitness(ns *namespace, vip netip.Addr, stderr *os.File) (*Witness, error) {
	p := part("witness", netip.AddrPortFrom(vip, whoPort).String())
	p.stderr = stderr
	proc, stdin, stdout, err := ns.spawnPiped(p)
	if err != nil {
		return nil, err
	}
	w := &Witness{proc: proc, stdin: stdin}
	go w.read(stdout)
	return w, nil
}

func (w *Witness) read(stdout io.ReadCloser) {
	defer stdout.Close()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		a, err := parseAttempt(lines.Text())
		w.mu.Lock()
		if err != nil {
			w.err = err
		} else {
			w.attempts = append(w.attempts, a)
		}
		w.mu.Unlock()
	}
}

// Attempts returns a copy of every attempt that has ended.
func (w *Witness) Attempts() []Attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.attempts)
}

// Answered returns when the first attempt that was sent after since was answered.
func (w *Witness) Answered(since time.Duration) (at time.Duration, ok bool) {
	for _, a := range w.Attempts() {
		if a.Node != "" && a.Sent >= since && (!ok || a.Done < at) {
			at, ok = a.Done, true
		}
	}
	return at, ok
}

// Outage returns the longest span without an answer; see FindOutage.
func (w *Witness) Outage(from, to time.Duration) Outage { return FindOutage(w.Attempts(), from, to) }

// WaitAnswer waits until one of the nodes (any, when none is named) has
// answered an attempt that was sent after since.
func (w *Witness) WaitAnswer(ctx context.Context, limit, since time.Duration, among ...string) error {
	what := fmt.Sprintf("an answer through the virtual address from %v", among)
	if len(among) == 0 {
		what = "an answer through the virtual address"
	}
	err := Poll(ctx, limit, what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, a := range slices.Backward(w.attempts) {
			if a.Done < since {
				return false
			}
			if a.Node != "" && a.Sent >= since && (len(among) == 0 || slices.Contains(among, a.Node)) {
				return true
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("%w; last attempts: %s", err, w.last())
	}
	return nil
}

func (w *Witness) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err.Error()
	}
	if len(w.attempts) == 0 {
		return "none"
	}
	a := w.attempts[len(w.attempts)-1]
	return strconv.Itoa(len(w.attempts)) + " in all, the last: " + formatAttempt(a)
}

func (w *Witness) close() error {
	w.stdin.Close()
	return w.proc.kill()
}
