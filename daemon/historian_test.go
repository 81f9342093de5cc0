package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/daemon/history"
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

// A node that is cut off from etcd lets go, and tells of it when etcd is back.
func TestHistoryAcrossLostEtcd(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1").start(), b.shell("n2")
		b.pass(6 * time.Second)
		n2.start()
		b.pass(10 * time.Second)
		gone := etcd.Status{State: etcd.NoLeader, Reason: "etcd has no leader", Local: true}
		b.silence("n1", etcd.WatchLost{Err: errors.New("gone")}, gone)
		b.silence("n2", etcd.WatchLost{Err: errors.New("gone")}, gone)
		b.pass(40 * time.Second)
		wantMoves(t, n1, firstMove, "lost n1> ?: etcd confirmed no renewal within 3s")
		wantMoves(t, n2, firstMove)
		h := n1.told("")
		if !h.LastKnown || h.AgeMS == nil || *h.AgeMS < 39_000 || h.Unwritten != 1 || h.Reason == "" || !h.Entries[1].Waiting {
			t.Errorf("without etcd: %+v", h)
		}
		for _, s := range []*shell{n1, n2} {
			b.speak(s.name)
		}
		b.pass(10 * time.Second)
		for _, s := range []*shell{n1, n2} {
			if got := len(s.l.history.kept); got != 3 {
				t.Errorf("%s has %d facts before anybody asks, want 3", s.name, got)
			}
			h := s.told("")
			got := moves(h)
			if len(got) != 2 || h.LastKnown || h.Unwritten != 0 {
				t.Fatalf("%s: %q, %+v", s.name, got, h)
			}
			e := h.Entries[1]
			if e.From != "n1" || e.Reason != "n1 let go: etcd confirmed no renewal within 3s" || e.GapMS == nil || *e.GapMS < 37_000 || *e.GapMS > 48_000 {
				t.Errorf("%s: %q, gap %v", s.name, got, e.GapMS)
			}
			if !slices.Contains(e.By, "n1") {
				t.Errorf("%s: written by %v", s.name, e.By)
			}
		}
	})
}

// A member without a quorum tells what it has, which is not all there is.
func TestHistoryWithoutQuorum(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		asked := n1.lock.history
		n1.lock.history = func(ctx context.Context, most int, quorum bool) ([]etcd.Kept, error) {
			if quorum {
				return asked(ctx, most, quorum)
			}
			b.lock.Lock()
			defer b.lock.Unlock()
			return slices.Clone(b.history), nil
		}
		n1.start()
		b.pass(10 * time.Second)
		if h := n1.told(""); h.LastKnown || h.AgeMS != nil {
			t.Errorf("with a quorum: %+v", h)
		}
		b.silence("n1", etcd.Status{State: etcd.NoLeader, Reason: "etcd has no leader", Local: true})
		b.pass(20 * time.Second)
		h := n1.told("")
		if !h.LastKnown || h.AgeMS == nil || *h.AgeMS < 19_000 || *h.AgeMS > 31_000 || h.Reason != "etcd has no leader" {
			t.Errorf("without a quorum: %+v", h)
		}
	})
}

// What was not written is still there after a restart, and the node tells what
// it last knew though etcd never answers it.
func TestHistoryAcrossRestart(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.pass(6 * time.Second)
		b.silence("n1", etcd.Status{State: etcd.Unreachable, Reason: "connection refused"})
		b.pass(10 * time.Second)
		n1.crash()
		<-n1.done
		synctest.Wait()
		again := b.shell("n1").start()
		b.silence("n1", etcd.Status{State: etcd.Unreachable, Reason: "connection refused"})
		b.pass(2 * time.Second)
		wantMoves(t, again, firstMove, "lost n1> ?: etcd confirmed no renewal within 3s")
		b.speak("n1")
		b.pass(10 * time.Second)
		got := moves(again.told(""))
		if len(got) != 2 || !strings.HasSuffix(got[1], "n1 let go: etcd confirmed no renewal within 3s") {
			t.Errorf("after etcd was back: %q", got)
		}
	})
}

// A crash is told by the survivor, and by the node itself once it is back.
func TestHistoryOfACrashedNode(t *testing.T) {
	for reason, boot := range map[string]string{"its havipd had ended": "", "it was rebooted": "another"} {
		t.Run(reason, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n1, n2 := b.shell("n1").start(), b.shell("n2")
				b.pass(6 * time.Second)
				n2.start()
				b.pass(6 * time.Second)
				n1.crash()
				<-n1.done
				b.expire("n1")
				b.pass(20 * time.Second)
				wantMoves(t, n2, firstMove, "takeover n1>n2 4.5s: n1 stopped renewing")
				again := b.shell("n1")
				if boot != "" {
					again.l.history.bootID = boot
				}
				again.start()
				b.pass(5 * time.Second)
				if e := n2.told("").Entries[1]; !strings.HasPrefix(e.Reason, "n1 stopped renewing; n1: "+reason+", and was back 15.") || *e.GapMS != 4500 {
					t.Errorf("after its return: %+v", e)
				}
			})
		})
	}
}

// A restart that adopts the record moves nothing, so there is nothing to tell.
func TestHistoryOfARestart(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		next := leftover(t, b, func(*shell, *savedFile) {}).start()
		b.pass(10 * time.Second)
		wantMoves(t, next, firstMove)
		if b.keeps != 1 {
			t.Errorf("%d entries were written, want 1", b.keeps)
		}
	})
}

// Whatever the archive does, the election goes on, and what waits is bounded.
func TestHistoryHangsAndFails(t *testing.T) {
	for name, keep := range map[string]func(context.Context) error{
		"hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"fails": func(context.Context) error { return errors.New("permission denied") },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				var calls atomic.Int64
				n1 := b.shell("n1")
				n1.lock.keep = func(ctx context.Context, _, _ string, _ int) error { calls.Add(1); return keep(ctx) }
				n1.start()
				b.pass(6 * time.Second)
				for range historyQueue {
					n1.ask(http.MethodPost, status.PathDrain, "")
					n1.ask(http.MethodPost, status.PathUndrain, "")
					b.pass(time.Millisecond)
				}
				before := calls.Load()
				b.pass(10 * time.Minute)
				if got := calls.Load() - before; got < 10 || got > 40 {
					t.Errorf("tried %d times in ten minutes", got)
				}
				h := n1.told("")
				if len(h.Entries) > historyQueue || h.Dropped == 0 || h.Unwritten == 0 {
					t.Errorf("%d entries, %d dropped, %d not written", len(h.Entries), h.Dropped, h.Unwritten)
				}
				if d := n1.document(); d.Holder == nil || *d.Holder.RightLeftMS < 2000 {
					t.Errorf("the election suffers: %+v", d.Holder)
				}
			})
		})
	}
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

// A snapshot that is restored has its own history; what came after it is gone with
// it, but for what the nodes had not written yet.
func TestHistoryAfterARestore(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1").start(), b.shell("n2")
		b.pass(6 * time.Second)
		n2.start()
		b.pass(6 * time.Second)
		n1.ask(http.MethodPost, status.PathHandover, "")
		b.pass(10 * time.Second)
		b.lock.Lock()
		record, kept, rev := b.record, slices.Clone(b.history), b.rev
		b.lock.Unlock()
		n2.ask(http.MethodPost, status.PathHandover, "")
		b.pass(10 * time.Second)
		gone := etcd.Status{State: etcd.NoLeader, Reason: "etcd has no leader", Local: true}
		for _, s := range []*shell{n1, n2} {
			b.silence(s.name, etcd.WatchLost{Err: errors.New("gone")}, gone)
		}
		b.pass(20 * time.Second)
		b.lock.Lock()
		b.record, b.history, b.rev = record, kept, rev
		b.lock.Unlock()
		for _, s := range []*shell{n1, n2} {
			b.speak(s.name)
		}
		b.pass(20 * time.Second)
		for _, s := range []*shell{n1, n2} {
			wantMoves(t, s, firstMove,
				"handover n1>n2 0s: handover by an operator",
				"lost n1> ?: etcd confirmed no renewal within 3s",
				"takeover n2>n1 ?: n2 stopped renewing",
			)
		}
	})
}

// A read that was begun before another one and ends after it knows less; and what
// was just read is not told again while something waits for its better witness.
func TestHistoryReadsThatOvertake(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		h := b.shell("n1").l.history
		slow := make(chan struct{})
		var calls atomic.Int64
		h.archive = &fakeLock{history: func(context.Context, int, bool) ([]etcd.Kept, error) {
			if calls.Add(1) == 1 {
				<-slow
				return nil, nil
			}
			return []etcd.Kept{{Key: "k"}}, nil
		}}
		done := make(chan error)
		go func() { done <- h.read(context.Background()) }()
		synctest.Wait()
		if err := h.read(context.Background()); err != nil {
			t.Fatal(err)
		}
		close(slow)
		if err := <-done; err != nil || len(h.kept) != 1 {
			t.Errorf("%v; the older answer counts: %v", err, h.kept)
		}
		if !h.fresh() {
			t.Error("what was just read is asked for again")
		}
		h.queue = []queued{{Fact: history.Fact{ID: "x"}, due: booted + time.Hour}}
		if h.fresh() {
			t.Error("while something waits, what was just read is told")
		}
	})
}

// Revisions of another cluster say nothing of the order in this one.
func TestHistoryOfAnotherCluster(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		h := b.shell("n1").l.history
		record := election.Record{Schema: election.Schema, Mode: election.ModePlain, ID: "a-1", Node: "n2", Since: 1000, HoldMS: 3000, TakeoverMS: 4500,
			Move: &election.Move{To: "n2", AtMS: 1000, Reason: "there was no record"}}
		value, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		h.record(etcd.Record{Value: string(value), Live: true, Cluster: 7, Rev: 4000})
		h.record(etcd.Record{Value: string(value), Live: true, Cluster: 7, Rev: 4001})
		if got := h.queue[0].Rev; got != 4000 {
			t.Errorf("revision %d in the same cluster, want 4000", got)
		}
		h.record(etcd.Record{Cluster: 8, Rev: 12})
		if got := h.queue[0].Rev; got != 0 {
			t.Errorf("revision %d in another cluster, want none", got)
		}
	})
}

// A write whose outcome is not known is repeated and leaves one entry.
func TestHistoryAfterAnUnknownOutcome(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		keep := n1.lock.keep
		var calls atomic.Int64
		n1.lock.keep = func(ctx context.Context, key, value string, most int) error {
			err := keep(ctx, key, value, most)
			if calls.Add(1) == 1 {
				return errors.New("no answer in time")
			}
			return err
		}
		n1.start()
		b.pass(10 * time.Second)
		wantMoves(t, n1, firstMove)
		if h := n1.told(""); b.keeps != 1 || h.Unwritten != 0 {
			t.Errorf("%d entries, %d not written", b.keeps, h.Unwritten)
		}
	})
}

// A file system that hangs holds up the history and nothing else.
func TestHistoryFileHangs(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		thaw := make(chan struct{})
		n1.l.history.save = func(historyFile) error { <-thaw; return errors.New("no space left on device") }
		n1.start()
		b.pass(6 * time.Second)
		if !n1.kernel.has() {
			t.Error("the address was not taken")
		}
		wantMoves(t, n1, firstMove)
		close(thaw)
		b.pass(6 * time.Second)
		if b.keeps != 1 || strings.Count(n1.logged.String(), "no space left on device") != 1 {
			t.Errorf("%d entries; log: %s", b.keeps, n1.logged)
		}
	})
}

// Nonsense in etcd or in the file is told apart, and does no harm.
func TestHistoryGarbage(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		b.history = []etcd.Kept{
			{Key: "huge", Unread: true, Created: 4},
			{Key: "text\x1b[31m\xff", Value: "hello", Created: 3},
			{Key: "of-tomorrow", Value: `{"schema": 2}`, Created: 2},
			{Key: "empty", Created: 1},
		}
		if err := os.MkdirAll(n1.d.StateDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n1.d.StateDir, "history.json"), []byte(`{"vip": 7`), 0o600); err != nil {
			t.Fatal(err)
		}
		n1.start()
		b.pass(10 * time.Second)
		wantMoves(t, n1, firstMove)
		if diff := cmp.Diff([]string{"huge", "text\x1b[31m?", "of-tomorrow", "empty"}, n1.told("").Unreadable); diff != "" {
			t.Errorf("unreadable (-want +got):\n%s", diff)
		}
		if d := n1.document(); d.Holder == nil || !strings.Contains(n1.logged.String(), "the history of before is not known") {
			t.Errorf("holder %+v; log: %s", d.Holder, n1.logged)
		}
	})
}

// A file of another VIP is another history.
func TestHistoryFileOfAnotherVIP(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		h := n1.l.history
		fact := history.Fact{Schema: history.Schema, ID: "x", Kind: status.HistoryLost, AtMS: 1, By: "n1"}
		if err := h.write(historyFile{VIP: "198.51.100.177", Queue: []history.Fact{fact}}); err != nil {
			t.Fatal(err)
		}
		if err := h.load(); err != nil || len(h.queue) != 0 {
			t.Errorf("took %v over: %v", h.queue, err)
		}
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

// An idle cluster writes nothing for the history, and reads it seldom.
func TestHistoryIdle(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1"), b.shell("n2")
		var reads atomic.Int64
		for _, s := range []*shell{n1, n2} {
			list := s.lock.history
			s.lock.history = func(ctx context.Context, most int, quorum bool) ([]etcd.Kept, error) {
				reads.Add(1)
				return list(ctx, most, quorum)
			}
			s.start()
		}
		b.pass(time.Minute)
		keeps, before := b.keeps, reads.Load()
		b.pass(15 * time.Minute)
		if got := reads.Load() - before; b.keeps != keeps || got < 2*2 || got > 2*4 {
			t.Errorf("in a quarter of an hour: %d entries, %d reads", b.keeps-keeps, got)
		}
	})
}
