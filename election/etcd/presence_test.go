package etcd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"havip/test/etcdtest"
)

func TestPresence(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	cfg1, cfg2 := configFor(c, m), configFor(c, m)
	cfg2.Node = "n2"
	cfg2.TTL = 2 * time.Second
	s1, events, _ := run(t, cfg1)
	s2, _, stop2 := run(t, cfg2)
	s1.Publish("a")
	s2.Publish("b")
	mark := events.awaitNodes(0, func(n map[string]string) bool { return n["n1"] == "a" && n["n2"] == "b" })

	s1.Publish("c")
	s1.Publish("d")
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "d" })

	m.Ctl("del", testPrefix+"nodes/n1")
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "" })
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "d" })

	// The leases end by other hands: new ones are made.
	for _, line := range strings.Split(m.Ctl("lease", "list"), "\n") {
		if id := strings.TrimSpace(line); !strings.Contains(id, "found") {
			m.Ctl("lease", "revoke", id)
		}
	}
	for _, node := range []string{"n1", "n2"} {
		gone := events.awaitNodes(mark, func(n map[string]string) bool { return n[node] == "" })
		events.awaitNodes(gone, func(n map[string]string) bool { return n[node] != "" })
	}
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "d" && n["n2"] == "b" })

	// n2 stops without a word: its presence stays for what is left of its lease.
	stop2()
	s2.Close()
	if left := m.Ctl("get", testPrefix+"nodes/n2", "--print-value-only"); left != "b" {
		t.Errorf("presence %q right after the end, want b until its lease ends", left)
	}
	mark = events.awaitNodes(mark, func(n map[string]string) bool { _, ok := n["n2"]; return !ok })

	if err := s1.Call(t.Context(), "come"); err != nil {
		t.Fatal(err)
	}
	_, _, mark = events.await(mark, "call", func(e Event) bool { return e == Call{Value: "come"} })
	if err := s1.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, _ = events.await(mark, "end of the call", func(e Event) bool { return e == Call{} })
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return len(n) == 0 })

	s1.Publish("e")
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "e" })
	s1.Publish("")
	events.awaitNodes(mark, func(n map[string]string) bool { return len(n) == 0 })
}

// A put that was given up may commit after the ones that followed it.
func TestPresencePutCommitsLate(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	cfg := configFor(c, m)
	cfg.CallTimeout = 300 * time.Millisecond
	s, events, _ := run(t, cfg)
	s.Publish("a")
	mark := events.awaitNodes(0, func(n map[string]string) bool { return n["n1"] == "a" })
	m.Pause()
	s.Publish("b")
	eventually(t, "a put without an outcome", func() error {
		s.presence.mu.Lock()
		defer s.presence.mu.Unlock()
		if !slices.Contains(s.presence.doubted, "b") {
			return errors.New("none yet")
		}
		return nil
	})
	s.Publish("c")
	m.Resume()
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "c" })
	m.Ctl("put", testPrefix+"nodes/n1", "b") // late
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "b" })
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "c" })
	// The put of c may have had no outcome either, and is then made once more.
	eventually(t, "a put with an outcome", func() error {
		if err := s.presence.lock(t.Context()); err != nil {
			return err
		}
		defer s.presence.unlock()
		s.presence.mu.Lock()
		defer s.presence.mu.Unlock()
		if s.presence.rewrite {
			return errors.New("none yet")
		}
		return nil
	})
	m.Ctl("put", testPrefix+"nodes/n1", "another node's of this name")
	events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "another node's of this name" })
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	if s.presence.rewrite {
		t.Error("another node's presence is written over")
	}
}

// The presence outlives its lease's time as long as it is kept.
func TestPresenceIsKept(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	cfg := configFor(c, m)
	cfg.TTL = 2 * time.Second
	s, events, _ := run(t, cfg)
	s.Publish("a")
	there := events.awaitNodes(0, func(n map[string]string) bool { return n["n1"] == "a" })
	mark := there
	for range 3 { // PollReady apart: three times the lease
		_, mark = events.awaitState(mark, Ready)
	}
	for _, e := range events.since(there) {
		if n, ok := e.(Nodes); ok {
			t.Errorf("presence changed: %+v", n)
		}
	}
	if got := m.Ctl("get", testPrefix+"nodes/n1", "--print-value-only"); got != "a" {
		t.Errorf("presence = %q, want a", got)
	}
}

// Shutdown: the daemon's tasks have ended, the store still does what is asked.
func TestAfterRun(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	s, events, stop := run(t, configFor(c, m))
	s.Publish("a")
	events.awaitNodes(0, func(n map[string]string) bool { return n["n1"] == "a" })
	stop()
	if res := within(t, patience, s, "", "free", true); res.Outcome != Committed || res.Elsewhere {
		t.Errorf("write after Run = %+v, want committed here", res)
	}
	if err := s.Leave(t.Context()); err != nil {
		t.Errorf("leave after Run: %v", err)
	}
	if got := m.Ctl("get", testPrefix+"nodes/", "--prefix"); got != "" {
		t.Errorf("presence after Leave: %q", got)
	}
	if err := s.Leave(t.Context()); err != nil {
		t.Errorf("second leave: %v", err)
	}
}

// A call whose turn does not come ends with its context.
func TestCallWaitsNoLonger(t *testing.T) {
	s := open(t, Config{Endpoint: "http://127.0.0.1:1", Prefix: testPrefix, Node: "n1"})
	if err := s.presence.lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Call(ctx, "x"); err == nil {
		t.Error("call returned without its turn")
	}
	if err := s.Leave(ctx); err == nil {
		t.Error("leave returned without its turn")
	}
}
