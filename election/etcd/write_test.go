package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"havip/test/etcdtest"
)

func TestWrite(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	s := open(t, configFor(c, m))
	key := testPrefix + "record"
	steps := []struct {
		name          string
		expect, value string
		want          Result
	}{
		{"create", "", "a", Result{Outcome: Committed}},
		{"create what is there", "", "b", Result{Outcome: Refused, Current: "a"}},
		{"replace", "a", "b", Result{Outcome: Committed}},
		{"replace what was", "a", "c", Result{Outcome: Refused, Current: "b"}},
		{"the same again", "b", "b", Result{Outcome: Committed}},
	}
	for _, st := range steps {
		if got := within(t, patience, s, st.expect, st.value, false); got != st.want {
			t.Errorf("%s: %+v, want %+v", st.name, got, st.want)
		}
	}
	m.Ctl("del", key)
	if got, want := within(t, patience, s, "b", "c", false), (Result{Outcome: Refused}); got != want {
		t.Errorf("replace a deleted key: %+v, want %+v", got, want)
	}
	m.Ctl("put", key, "")
	if got, want := within(t, patience, s, "", "d", false), (Result{Outcome: Committed}); got != want {
		t.Errorf("create over an empty key: %+v, want %+v", got, want)
	}
	if got, err := s.Read(t.Context()); got != "d" || err != nil {
		t.Errorf("read = %q, %v, want d", got, err)
	}
	m.Ctl("del", key)
	if got, err := s.Read(t.Context()); got != "" || err != nil {
		t.Errorf("read of an absent key = %q, %v", got, err)
	}
}

// A context that has ended sends nothing; one without a deadline gets one.
func TestWriteContext(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	cfg := configFor(c, m)
	cfg.CallTimeout = 300 * time.Millisecond
	s := open(t, cfg)
	mustCommit(t, s, "", "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res := s.Write(ctx, "a", "b", false); res.Outcome != NotSent {
		t.Errorf("write with an ended context = %+v, want not sent", res)
	}
	m.Pause()
	if res := s.Write(t.Context(), "a", "c", false); res.Outcome != Unknown {
		t.Errorf("write to a frozen member = %+v, want unknown", res)
	}
	m.Resume()
	eventually(t, "settle the unknown write", func() error {
		if got, err := s.Read(t.Context()); err != nil || got == "b" {
			return fmt.Errorf("read %q, %v", got, err)
		}
		return nil
	})
}

// Two nodes that see the same record: exactly one gets it, each time.
func TestWriteRace(t *testing.T) {
	c := etcdtest.Start(t, 3)
	stores := []*Store{open(t, configFor(c, c.Members[0])), open(t, configFor(c, c.Members[1])), open(t, configFor(c, c.Members[2]))}
	current := ""
	for round := range 50 {
		results := make([]Result, len(stores))
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() { results[i] = within(t, patience, s, current, fmt.Sprintf("%d by %d", round, i), false) })
		}
		wg.Wait()
		winner := ""
		for i, r := range results {
			switch {
			case r.Outcome == Committed && winner == "":
				winner = fmt.Sprintf("%d by %d", round, i)
			case r.Outcome == Committed:
				t.Fatalf("round %d: two writes were committed: %+v", round, results)
			case r.Outcome != Refused:
				t.Fatalf("round %d: %+v", round, results)
			}
		}
		for _, r := range results {
			if r.Outcome == Refused && r.Current != winner {
				t.Fatalf("round %d: refused for %q, the winner wrote %q", round, r.Current, winner)
			}
		}
		current = winner
	}
}

func TestWriteNotSent(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	s := open(t, configFor(c, m))
	mustCommit(t, s, "", "a")
	m.Kill()
	eventually(t, "write to a dead member", func() error {
		// The first write may meet the connection that is just breaking.
		res := within(t, time.Second, s, "a", "b", false)
		if res.Outcome != NotSent || !strings.Contains(res.Err.Error(), "connection refused at 127.0.0.1:") {
			return fmt.Errorf("%+v, want not sent, connection refused", res)
		}
		return nil
	})
	m.Start()
	m.WaitServing()
	eventually(t, "write to the member after its restart", func() error {
		if res := within(t, patience, s, "a", "b", false); res.Outcome != Committed {
			return fmt.Errorf("%+v", res)
		}
		return nil
	})
}

func TestWriteWithoutQuorum(t *testing.T) {
	c := etcdtest.Start(t, 3)
	m := c.Follower()
	s, events, _ := run(t, configFor(c, m))
	mustCommit(t, s, "", "a")
	events.awaitState(0, Ready)
	mark := events.mark()
	for _, other := range c.Members {
		if other != m {
			other.Pause()
		}
	}
	if res := within(t, 700*time.Millisecond, s, "a", "b", false); res.Outcome != Unknown || res.Err == nil {
		t.Errorf("write without a quorum = %+v, want unknown and why", res)
	}
	st, mark := events.awaitState(mark, NoLeader)
	if st.Reason == "" {
		t.Error("no leader, and no reason")
	}
	if _, err := s.Read(t.Context()); err == nil {
		t.Error("a read without a quorum succeeded")
	}
	for _, other := range c.Members {
		if other != m {
			other.Resume()
		}
	}
	events.awaitState(mark, Ready)
	// The write of unknown outcome is settled by what is there now.
	value, err := s.Read(t.Context())
	if err != nil || value != "a" && value != "b" {
		t.Errorf("read after the pause = %q, %v, want a or b", value, err)
	}
}

// A member that reaches its quota says so of a write that it nevertheless made.
func TestWriteNoSpace(t *testing.T) {
	c := etcdtest.StartWith(t, 1, etcdtest.Options{Args: []string{"--quota-backend-bytes=" + fmt.Sprint(200<<10)}})
	m := c.Members[0]
	s, events, _ := run(t, configFor(c, m))
	mustCommit(t, s, "", "a")
	fill := strings.Repeat("x", 20<<10)
	eventually(t, "fill the database", func() error {
		if _, err := m.TryCtl("put", "fill", fill); err != nil {
			return nil
		}
		return errors.New("not full yet")
	})
	res := within(t, patience, s, "a", "b", false)
	if res.Outcome != Unknown || !errors.Is(res.Err, ErrNoSpace) {
		t.Errorf("write with a full database = %+v, want unknown, %v", res, ErrNoSpace)
	}
	if got, err := s.Read(t.Context()); err != nil || got != "a" {
		t.Errorf("read = %q, %v, want a", got, err)
	}
	st, _ := events.awaitState(0, Alarmed)
	if want := "NOSPACE alarm on n1"; !strings.HasPrefix(st.Reason, want) {
		t.Errorf("reason %q, want %q…", st.Reason, want)
	}
	if len(st.Alarms) != 1 || st.Alarms[0] != "NOSPACE on n1" {
		t.Errorf("alarms %q, want NOSPACE on n1", st.Alarms)
	}
}

func TestWriteWithAuth(t *testing.T) {
	c := etcdtest.StartWith(t, 1, etcdtest.Options{TLS: true})
	m := c.Members[0]
	s, events, _ := run(t, configFor(c, m))
	mustCommit(t, s, "", "a")
	_, mark := events.awaitState(0, Ready)
	for _, cmd := range []string{"user add root:secret", "user grant-role root root", "user add kube-apiserver-etcd-client:secret", "auth enable"} {
		m.Ctl(strings.Fields(cmd)...)
	}
	res := within(t, patience, s, "a", "b", false)
	if res.Outcome != Failed || !errors.Is(res.Err, ErrDenied) {
		t.Errorf("write with auth on = %+v, want failed, %v", res, ErrDenied)
	}
	if _, err := s.Read(t.Context()); !errors.Is(err, ErrDenied) {
		t.Errorf("read with auth on: %v, want %v", err, ErrDenied)
	}
	// A watch that runs already is not ended by it, and status needs only a
	// user: break the connection to see what a start would.
	m.Kill()
	_, mark = events.awaitState(mark, Unreachable)
	m.Start()
	st, mark := events.awaitState(mark, Denied)
	if !strings.Contains(st.Reason, "permission denied (etcd auth is on)") {
		t.Errorf("reason %q", st.Reason)
	}
	if _, err := m.TryCtl("--user=root:secret", "auth", "disable"); err != nil {
		t.Fatal(err)
	}
	events.awaitState(mark, Ready)
}

// Three writes in flight at once: no more than one of them finds what it expects.
func TestWritesInFlight(t *testing.T) {
	c := etcdtest.Start(t, 1)
	s := open(t, configFor(c, c.Members[0]))
	mustCommit(t, s, "", "a")
	var mu sync.Mutex
	count := map[Outcome]int{}
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			res := s.Write(context.Background(), "a", fmt.Sprint(i), false)
			mu.Lock()
			defer mu.Unlock()
			count[res.Outcome]++
		})
	}
	wg.Wait()
	if count[Committed] != 1 || count[Refused] != 2 {
		t.Errorf("outcomes %v, want one committed and two refused", count)
	}
}
