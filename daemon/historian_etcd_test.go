package daemon

import (
	"context"
	"encoding/json"
	"errors"
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
