package etcd

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/test/etcdtest"
)

func (s *seen) awaitKey(mark int, value string) int {
	s.t.Helper()
	_, _, next := s.await(mark, "key "+value, func(e Event) bool { return e == Event(Key{Value: value}) })
	return next
}

// TestKey: of those who set a first key at once one succeeds; all hear of it, and of
// its changes.
func TestKey(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	cfg := configFor(c, m)
	cfg.Node = "n2"
	a, first, _ := run(t, configFor(c, m))
	b, second, _ := run(t, cfg)
	mark := first.awaitKey(0, "")
	_, _ = first.awaitState(0, Ready)
	_, _ = second.awaitState(0, Ready)
	results := make(chan error, 2)
	go func() { results <- a.SetKey(t.Context(), "", "k1") }()
	go func() { results <- b.SetKey(t.Context(), "", "k1") }()
	if one, other := <-results, <-results; (one == nil) == (other == nil) || !errors.Is(errors.Join(one, other), ErrChanged) {
		t.Errorf("two at once: %v, %v", one, other)
	}
	mark = first.awaitKey(mark, "k1")
	other := second.awaitKey(0, "k1")
	if err := a.SetKey(t.Context(), "k0", "k2"); !errors.Is(err, ErrChanged) {
		t.Errorf("over another key: %v", err)
	}
	if err := a.SetKey(t.Context(), "k1", "k2"); err != nil {
		t.Errorf("over the key: %v", err)
	}
	first.awaitKey(mark, "k2")
	other = second.awaitKey(other, "k2")
	m.Ctl("del", testPrefix+"key")
	second.awaitKey(other, "")
	m.Ctl("put", testPrefix+"key", "")
	if err := b.SetKey(t.Context(), "", "k3"); err != nil {
		t.Errorf("over an empty key: %v", err)
	}
	_, late, _ := run(t, Config{Endpoint: cfg.Endpoint, CA: cfg.CA, Cert: cfg.Cert, Key: cfg.Key, Prefix: testPrefix, Node: "n3"})
	late.awaitKey(0, "k3")
	c.Members[0].Stop()
	if err := b.SetKey(t.Context(), "k3", "k4"); err == nil || errors.Is(err, ErrChanged) {
		t.Errorf("without etcd: %v", err)
	}
}

// TestMembersAreListed: the status has what is needed to reach the others' daemons,
// and soon after one comes.
func TestMembersAreListed(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	_, events, _ := run(t, configFor(c, m))
	st, mark := events.awaitState(0, Ready)
	if len(st.Members) != 1 || st.Member != st.Members[0].ID {
		t.Fatalf("members %+v, own %x", st.Members, st.Member)
	}
	if diff := cmp.Diff([]string{m.PeerURL}, st.Members[0].PeerURLs); diff != "" {
		t.Errorf("peer URLs (-want +got):\n%s", diff)
	}
	m.Ctl("member", "add", "n2", "--learner", "--peer-urls=http://198.51.100.9:2380")
	other := configFor(c, m)
	other.Node = "n2"
	s, _, _ := run(t, other)
	s.Publish("here")
	_, _, mark = events.await(mark, "presence of n2", func(e Event) bool {
		n, ok := e.(Nodes)
		return ok && n.Values["n2"] != ""
	})
	// The next regular list may be ten seconds off; the next status has it, but for one
	// that was being asked for when the presence came.
	var got []Member
	for range 2 {
		var e Event
		e, _, mark = events.await(mark, "status", func(e Event) bool { _, ok := e.(Status); return ok })
		if got = e.(Status).Members; len(got) == 2 {
			return
		}
	}
	t.Errorf("members in the status after the presence: %+v", got)
}
