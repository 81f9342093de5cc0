package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
)

// told is a node's answer to who asks for the history.
func (s *shell) told(query string) status.History {
	s.t.Helper()
	code, body := s.ask(http.MethodGet, status.PathHistory+query, "")
	var h status.History
	if err := json.Unmarshal(body, &h); err != nil || code != http.StatusOK {
		s.t.Fatalf("history: %d %s: %v", code, body, err)
	}
	return h
}

// moves are the entries in one line each.
func moves(h status.History) []string {
	lines := []string{}
	for _, e := range h.Entries {
		gap := "?"
		if e.GapMS != nil {
			gap = (time.Duration(*e.GapMS) * time.Millisecond).String()
		}
		lines = append(lines, fmt.Sprintf("%s %s>%s %s: %s", e.Kind, e.From, e.To, gap, e.Reason))
	}
	return lines
}

func wantMoves(t *testing.T, s *shell, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, moves(s.told(""))); diff != "" {
		t.Errorf("history as %s tells it (-want +got):\n%s", s.name, diff)
	}
}

const firstMove = "taken >n1 ?: there was no record"

// Every master tells the same of moves that others made, with the reasons that
// the real election gives.
func TestHistoryOfMoves(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2, n3 := b.shell("n1").start(), b.shell("n2"), b.shell("n3")
		b.pass(6 * time.Second)
		n2.start()
		n3.start()
		b.pass(time.Second)
		n1.ask(http.MethodPost, status.PathHandover, `{"to": "n2"}`)
		b.pass(10 * time.Second)
		n2.crash()
		b.expire("n2")
		b.pass(10 * time.Second)
		n1.ask(http.MethodPost, status.PathDrain, "")
		b.pass(10 * time.Second)
		n1.ask(http.MethodPost, status.PathDrain, "") // changes nothing
		n1.ask(http.MethodPost, status.PathUndrain, "")
		b.pass(10 * time.Second)
		for _, s := range []*shell{n1, n3} {
			wantMoves(t, s, firstMove,
				"handover n1>n2 0s: handover by an operator",
				"takeover n2>n1 4.5s: n2 stopped renewing",
				"drain > ?: n1 is to take no part until undrain",
				"handover n1>n3 0s: n1 is drained",
				"undrain > ?: n1 may hold the address again",
			)
			h := s.told("")
			for _, e := range h.Entries {
				if e.To != "" && !slices.Equal(e.By, []string{e.To}) {
					t.Errorf("%s tells that %v wrote of %+v", s.name, e.By, e)
				}
			}
			if h.LastKnown || h.Unwritten != 0 || h.Dropped != 0 || len(h.Unreadable) != 0 || h.Node != s.name || !slices.Equal(h.VIP, s.l.cfg.VIP.Addresses) {
				t.Errorf("%s: %+v", s.name, h)
			}
		}
		if got := n3.told("?limit=2"); len(got.Entries) != 2 || got.Earlier != 4 || got.Entries[1].Kind != status.HistoryUndrain {
			t.Errorf("the newest two: %q, %d before", moves(got), got.Earlier)
		}
		if got := n3.told("?since=15s"); len(got.Entries) != 1 {
			t.Errorf("of the last 15 s: %q", moves(got))
		}
		if b.keeps != 6 {
			t.Errorf("%d entries were written, want 6", b.keeps)
		}
	})
}

// A node that takes the address and cannot write its history: another one tells.
func TestHistoryByAnotherNode(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1"), b.shell("n2")
		n1.lock.keep = func(context.Context, string, string, int) error { return errors.New("permission denied") }
		n1.start()
		b.pass(6 * time.Second)
		n2.start()
		b.pass(10 * time.Second)
		wantMoves(t, n2, firstMove)
		wantMoves(t, n1, firstMove)
		if h := n1.told(""); h.Unwritten != 0 || !slices.Equal(h.Entries[0].By, []string{"n2"}) {
			t.Errorf("%d not written; by %v", h.Unwritten, h.Entries[0].By)
		}
	})
}

// An address that flaps costs etcd a few calls a second, and a bounded history.
func TestHistoryOfAFlappingAddress(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1"), b.shell("n2")
		var reads, keeps atomic.Int64
		for _, s := range []*shell{n1, n2} {
			keep, list := s.lock.keep, s.lock.history
			s.lock.keep = func(ctx context.Context, key, value string, most int) error {
				keeps.Add(1)
				return keep(ctx, key, value, most)
			}
			s.lock.history = func(ctx context.Context, most int, quorum bool) ([]etcd.Kept, error) {
				reads.Add(1)
				return list(ctx, most, quorum)
			}
			s.start()
		}
		b.pass(10 * time.Second)
		moved := 0
		for range 150 {
			for _, s := range []*shell{n1, n2} {
				if code, _ := s.ask(http.MethodPost, status.PathHandover, ""); code == http.StatusOK {
					moved++
				}
			}
			b.pass(400 * time.Millisecond)
		}
		b.pass(20 * time.Second)
		seconds := int64(b.now()/time.Second) + 1
		if got := reads.Load(); got > 2*2*seconds {
			t.Errorf("%d reads in %d s", got, seconds)
		}
		if got := keeps.Load(); moved < 250 || got > 2*historyBatch*seconds {
			t.Errorf("%d writes in %d s, for %d moves", got, seconds, moved)
		}
		h := n2.told("")
		if len(b.history) != historyKept || len(h.Entries) != historyKept || h.Unwritten != 0 {
			t.Errorf("%d facts kept, %d entries, %d not written", len(b.history), len(h.Entries), h.Unwritten)
		}
		for i := 50; i < len(h.Entries); i++ { // the oldest went in the order in which they were written
			if h.Entries[i].From != h.Entries[i-1].To {
				t.Fatalf("%+v comes after %+v", h.Entries[i], h.Entries[i-1])
			}
		}
		t.Logf("%d moves, %d reads and %d writes in %d s; dropped %d", moved, reads.Load(), keeps.Load(), seconds, h.Dropped)
	})
}

// A claim, the same by force, and its end.
func TestHistoryOfClaims(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		comes := n1.lock.run
		n1.lock.run = func(ctx context.Context, sink func(etcd.Event)) error {
			sink(etcd.Status{State: etcd.NotConfigured, Reason: "no certificates"})
			<-time.After(30 * time.Second)
			return comes(ctx, sink)
		}
		n1.start()
		b.pass(time.Second)
		now := n1.l.clock.Boot()
		claim := func(why string) {
			<-send(n1.l.box, command{make: func(t uint64) election.Event {
				return election.Claim{Token: t, For: 40 * time.Second, Looked: now, Why: why}
			}})
		}
		claim("claimed the address by force: two masters burnt down")
		b.pass(time.Second)
		<-send(n1.l.box, command{make: func(t uint64) election.Event {
			return election.Unclaim{Token: t, Reason: "given back by havipctl"}
		}})
		b.pass(time.Second)
		now = n1.l.clock.Boot()
		claim("claimed the address for havipctl init; there is no etcd yet")
		want := []string{
			"claim >n1 ?: claimed the address by force: two masters burnt down",
			"claim end n1> ?: given back by havipctl",
			"claim >n1 ?: claimed the address for havipctl init; there is no etcd yet",
		}
		b.pass(time.Second)
		wantMoves(t, n1, want...)
		b.pass(39 * time.Second)
		wantMoves(t, n1, append(want, "taken n1>n1 0s: the election took the claim over: there was no record")...)
		if b.keeps != 4 {
			t.Errorf("%d entries were written, want 4", b.keeps)
		}
	})
}
