package daemon

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"havip/daemon/history"
	"havip/daemon/status"
	"havip/election/etcd"
)

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
