package daemon

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"havip/daemon/status"
)

// pair is n1, which holds the address and has a logind, beside n2.
func pair(b *bench) (n1, n2 *shell) {
	n1 = b.shell("n1")
	n1.has = true
	n1.start()
	b.pass(6 * time.Second)
	n2 = b.shell("n2").start()
	b.pass(time.Second)
	return n1, n2
}

func TestShutdownIsDelayedUntilHandedOver(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := pair(b)
		if n1.held() != 1 {
			t.Fatalf("%d locks, want 1", n1.held())
		}
		n1.onFree = func() {
			if n1.kernel.has() || b.holder() != "n2" {
				t.Errorf("let the node go down with the address there: %v, the holder %s", n1.kernel.has(), b.holder())
			}
		}
		n1.news <- true
		b.pass(100 * time.Millisecond)
		if n1.held() != 0 || !n2.kernel.has() {
			t.Errorf("%d locks, n2 has the address: %v", n1.held(), n2.kernel.has())
		}
		move := n2.document().LastMove
		if move == nil || move.Reason != "n1 shuts down" || !move.Planned {
			t.Errorf("last move: %+v", move)
		}
		// What comes free now is not for this node.
		n2.crash()
		b.pass(10 * time.Second)
		if n1.kernel.has() {
			t.Error("took the address again")
		}
	})
}

func TestShutdownCalledOff(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := pair(b)
		n1.news <- true
		b.pass(time.Second)
		n1.news <- false
		b.pass(time.Second)
		if n1.held() != 1 || n1.taken != 2 {
			t.Errorf("%d locks, %d taken, want 1 and 2", n1.held(), n1.taken)
		}
		n2.crash()
		b.pass(10 * time.Second)
		if !n1.kernel.has() {
			t.Error("does not take the address although the node stays up")
		}
	})
}

// Nobody to hand over to is no reason to keep a node from going down.
func TestShutdownAlone(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := pair(b)
		n2.stop()
		b.pass(time.Second)
		n1.news <- true
		synctest.Wait()
		if n1.held() != 0 || !n1.kernel.has() {
			t.Errorf("%d locks, the address is there: %v, want 0 and true", n1.held(), n1.kernel.has())
		}
		if !strings.Contains(n1.logged.String(), "no other master can take the address") {
			t.Errorf("log:\n%s", n1.logged)
		}
	})
}

// A handover that does not come to an end does not keep the node up for ever.
func TestShutdownWithoutEtcd(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, _ := pair(b)
		b.silence("n1")
		b.silence("n2")
		n1.news <- true
		b.pass(inhibitFor)
		if n1.held() != 0 {
			t.Error("still delays the shutdown")
		}
	})
}

func TestLogindIsFoundAgain(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, _ := pair(b)
		n1.install(false)
		close(n1.news)
		b.pass(5 * logindRetry)
		if n1.held() != 0 {
			t.Errorf("%d locks without a connection", n1.held())
		}
		if n := strings.Count(n1.logged.String(), "connect to the system bus"); n != 1 {
			t.Errorf("said %d times that there is no logind, want once", n)
		}
		n1.install(true)
		b.pass(logindRetry)
		if n1.held() != 1 {
			t.Errorf("%d locks, want 1", n1.held())
		}
	})
}

// A bus that hangs neither holds up the end of the process nor makes it a failure.
func TestStopWhileTheBusHangs(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n1.hangs = true
		n1.start()
		b.pass(6 * time.Second)
		begin := b.now()
		n1.stop()
		if err := <-n1.done; err != nil {
			t.Errorf("ended with %v", err)
		}
		if took := b.now() - begin; took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// Without logind havip-shutdown.service asks the same over the socket.
func TestShutdownOverTheSocket(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := pair(b)
		n1.ask(http.MethodPost, status.PathShutdown, "")
		if code, body := n1.ask(http.MethodPost, status.PathShutdown, ""); code != http.StatusOK {
			t.Errorf("again: %d %s", code, body)
		}
		b.pass(100 * time.Millisecond)
		if n1.kernel.has() || !n2.kernel.has() {
			t.Errorf("n1 has it: %v, n2 has it: %v", n1.kernel.has(), n2.kernel.has())
		}
		n1.ask(http.MethodPost, status.PathUndrain, "")
		b.pass(100 * time.Millisecond)
		if got := n1.document().Self; got.Role != status.RoleCandidate {
			t.Errorf("after undrain: %+v", got)
		}
	})
}
