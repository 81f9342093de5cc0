package daemon

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/election"
	"havip/election/etcd"
)

func TestWatchdogEvery(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "0": 0, "-1": 0, "soon": 0, "10000000": 5 * time.Second} {
		t.Setenv("WATCHDOG_USEC", text)
		if got := watchdogEvery(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// The watchdog is fed by the loop itself: who hangs is not.
func TestWatchdogOnlyWhileTheLoopLives(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n1.l.watchdog = time.Second
		hang, free := make(chan struct{}), make(chan struct{})
		n1.lock.publish = func(string) { // the loop calls it, and it must not block
			select {
			case <-hang:
				<-free
			default:
			}
		}
		n1.start()
		b.pass(10 * time.Second)
		if n := n1.sent.count("WATCHDOG=1"); n < 10 {
			t.Errorf("fed %d times in 10 s", n)
		}
		close(hang)
		n1.l.box.put(ready(true))
		b.pass(time.Second)
		before := n1.sent.count("WATCHDOG=1")
		b.pass(time.Minute)
		if n := n1.sent.count("WATCHDOG=1"); n != before {
			t.Errorf("fed %d times by a loop that hangs", n-before)
		}
		close(free)
		synctest.Wait()
	})
}

func TestNotifierMergesAndCleans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, sent, free := newNotifier(), &messages{}, make(chan struct{})
		n.send = func(s string) { sent.add(s); <-free } // systemd hangs
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = n.run(ctx) }()
		for i := range 100 {
			n.say(fmt.Sprintf("sentence %d", i))
			n.feed()
		}
		n.say("holds\nREADY=0\tthe \x1baddress")
		close(free)
		synctest.Wait()
		want := []string{"READY=1", "STATUS=holds READY=0 the  address", "WATCHDOG=1"}
		if diff := cmp.Diff(want, sent.list); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		n.say("holds\nREADY=0\tthe \x1baddress")
		synctest.Wait()
		if len(sent.list) != len(want) {
			t.Errorf("said again: %q", sent.list)
		}
		stop()
	})
}

func TestSentences(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1").start(), b.shell("n2").start()
		says := func(s *shell, want string) {
			t.Helper()
			if got := s.sent.last("STATUS="); !strings.HasPrefix(got, "STATUS="+want) {
				t.Errorf("%s at %v: %q, want %q", s.name, b.now(), got, want)
			}
		}
		b.pass(time.Second)
		says(n1, "candidate; nobody holds the address")
		b.pass(6 * time.Second)
		says(n1, "holds the address")
		says(n2, "standing by; n1 holds the address")
		n1.crash()
		b.pass(hold + renewal + pulse)
		says(n2, "candidate; nobody holds the address, n1 stopped renewing")
		b.pass(first)
		says(n2, "holds the address")
		b.silence("n2", etcd.Status{State: etcd.Unreachable, Reason: "connection refused"})
		b.pass(first)
		says(n2, "waiting: no usable etcd member on this node: connection refused")
		n3 := b.shell("n3").start()
		b.pass(time.Millisecond)
		n3.l.box.put(etcd.Record{Value: `{"schema": 9}`})
		b.pass(time.Millisecond)
		says(n3, "blocked: implausible record")
		n3.l.box.put(etcd.Record{Value: b.current(), Live: true})
		n3.ask("POST", "/v1/drain", "")
		b.pass(pulse)
		says(n3, "drained: drained by an operator")
		leaving := election.Glance{Leaving: "handover by an operator"}
		if got := sentence(leaving, 0); got != "giving the address away: handover by an operator" {
			t.Error(got)
		}
		setting := election.Glance{Right: time.Second, Serving: true, Address: "absent", Reason: "n2 stopped renewing"}
		if got := sentence(setting, 0); got != "has the right to the address and is setting it: n2 stopped renewing" {
			t.Error(got)
		}
	})
}
