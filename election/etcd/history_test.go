package etcd

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/test/etcdtest"
)

const testHistory = "/havip/history/v1/198.51.100.166/"

func withHistory(c *etcdtest.Cluster, m *etcdtest.Member) Config {
	cfg := configFor(c, m)
	cfg.History = testHistory
	return cfg
}

func mustKeep(t *testing.T, s *Store, key, value string, most int) {
	t.Helper()
	if err := s.Keep(t.Context(), key, value, most); err != nil {
		t.Fatal(err)
	}
}

// kept is the history as "key=value", the newest first.
func kept(t *testing.T, s *Store, most int) []string { return keptBy(t, s, most, true) }

func keptBy(t *testing.T, s *Store, most int, quorum bool) []string {
	t.Helper()
	list, err := s.History(t.Context(), most, quorum)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{}
	for _, k := range list {
		text := k.Key + "=" + k.Value
		if k.Unread {
			text = k.Key + " unread"
		}
		texts = append(texts, text)
	}
	return texts
}

func TestHistory(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	s := open(t, withHistory(c, m))
	if diff := cmp.Diff([]string{}, kept(t, s, 10)); diff != "" {
		t.Errorf("an empty history (-want +got):\n%s", diff)
	}
	for i := range 3 {
		mustKeep(t, s, fmt.Sprint("k", i), fmt.Sprint("v", i), 3)
	}
	mustKeep(t, s, "k1", "the same again", 3)
	if diff := cmp.Diff([]string{"k2=v2", "k1=v1", "k0=v0"}, kept(t, s, 10)); diff != "" {
		t.Errorf("after a repetition (-want +got):\n%s", diff)
	}
	mustKeep(t, s, "a", "v3", 3) // the order is that of time, not of names
	if diff := cmp.Diff([]string{"a=v3", "k2=v2", "k1=v1"}, kept(t, s, 10)); diff != "" {
		t.Errorf("after one too many (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a=v3"}, kept(t, s, 1)); diff != "" {
		t.Errorf("the newest one (-want +got):\n%s", diff)
	}
	if err := s.Keep(t.Context(), "big", strings.Repeat("x", MaxKept+1), 3); err == nil {
		t.Error("a value above the bound was kept")
	}
}

// A history that grew beyond its bound, by a larger bound of before or by hand,
// shrinks with the next entry.
func TestHistoryShrinks(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	s := open(t, withHistory(c, m))
	for i := range 2 * maxTrim {
		mustKeep(t, s, fmt.Sprint("k", i), "v", 1000)
	}
	mustKeep(t, s, "a", "v", 150)
	if got := len(kept(t, s, 1000)); got != 150 {
		t.Errorf("%d entries, want 150", got)
	}
	mustKeep(t, s, "b", "v", 20)
	mustKeep(t, s, "c", "v", 20)
	if diff := cmp.Diff([]string{"c=v", "b=v", "a=v"}, kept(t, s, 1000)[:3]); diff != "" {
		t.Errorf("the newest (-want +got):\n%s", diff)
	}
	if got := len(kept(t, s, 1000)); got != 20 {
		t.Errorf("%d entries, want 20", got)
	}
}

// What the watch of the election's keys tells does not change.
func TestHistoryIsNotFollowed(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	s, events, _ := run(t, withHistory(c, m))
	_, mark := events.awaitState(0, Ready)
	for i := range 20 {
		mustKeep(t, s, fmt.Sprint("k", i), strings.Repeat("x", MaxKept), 10)
	}
	mustCommit(t, s, "", "a")
	events.awaitRecord(mark, "a")
	want := []Event{Record{Value: "a", Live: true}}
	if diff := cmp.Diff(want, records(events.since(mark))); diff != "" {
		t.Errorf("records since then (-want +got):\n%s", diff)
	}
	if got := m.Ctl("get", "--prefix", "--keys-only", "--limit=1", testPrefix+"h"); strings.TrimSpace(got) != "" {
		t.Errorf("history among the election's keys: %q", got)
	}
}

// Others with the key to etcd may write there what they like.
func TestHistoryWithGarbage(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	s := open(t, withHistory(c, m))
	mustKeep(t, s, "k0", "v0", 100)
	m.Ctl("put", testHistory+"large", strings.Repeat("x", MaxKept+1))
	m.Ctl("put", testHistory, "no name")
	if diff := cmp.Diff([]string{"=no name", "large unread", "k0=v0"}, kept(t, s, 10)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	huge := strings.Repeat("x", 100<<10) // arguments have a limit of their own
	for i := range 12 {
		m.Ctl("put", fmt.Sprint(testHistory, "huge", i), huge)
	}
	mustKeep(t, s, "k1", "v1", 100)
	got := kept(t, s, 100)
	if len(got) != 16 || got[0] != "k1=v1" || got[1] != "huge11 unread" || got[15] != "k0=v0" {
		t.Errorf("history of more than one answer: %.60q", got)
	}
	for i := range 3 {
		mustKeep(t, s, fmt.Sprint("n", i), "v", 3)
	}
	if diff := cmp.Diff([]string{"n2=v", "n1=v", "n0=v"}, kept(t, s, 10)); diff != "" {
		t.Errorf("garbage goes like everything else (-want +got):\n%s", diff)
	}
}

// Three nodes that write the same entries at once leave each of them once, and
// no fewer than the bound.
func TestHistoryTogether(t *testing.T) {
	c := etcdtest.Start(t, 3)
	c.WaitServing()
	var wg sync.WaitGroup
	for _, m := range c.Members {
		s := open(t, withHistory(c, m))
		wg.Go(func() {
			for i := range 30 {
				if err := s.Keep(t.Context(), fmt.Sprintf("k%02d", i), "v", 20); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := kept(t, open(t, withHistory(c, c.Members[0])), 100); len(got) != 20 {
		t.Errorf("%d entries, want 20: %v", len(got), got)
	}
}

// Without a quorum nothing is kept, and what is there can be read; without the
// local member both go through another one.
func TestHistoryInTrouble(t *testing.T) {
	c := etcdtest.Start(t, 3)
	c.WaitServing()
	m := c.Members[0]
	s, events, _ := run(t, withHistory(c, m))
	_, mark := events.awaitState(0, Ready)
	mustKeep(t, s, "k0", "v0", 10)
	for _, other := range c.Members[1:] {
		other.Stop()
	}
	if err := s.Keep(t.Context(), "k1", "v1", 10); err == nil {
		t.Error("kept without a quorum")
	}
	if _, err := s.History(t.Context(), 10, true); err == nil {
		t.Error("read with a quorum, and there is none")
	}
	if diff := cmp.Diff([]string{"k0=v0"}, keptBy(t, s, 10, false)); diff != "" {
		t.Errorf("without a quorum (-want +got):\n%s", diff)
	}
	for _, other := range c.Members[1:] {
		other.Start()
	}
	c.WaitServing()
	_, _ = events.awaitState(mark, Ready)
	eventually(t, "keep with a quorum again", func() error { return s.Keep(t.Context(), "k1", "v1", 10) })
	m.Kill()
	eventually(t, "keep through another member", func() error { return s.Keep(t.Context(), "k2", "v2", 10) })
	if diff := cmp.Diff([]string{"k2=v2", "k1=v1", "k0=v0"}, kept(t, s, 10)); diff != "" {
		t.Errorf("through another member (-want +got):\n%s", diff)
	}
}

func TestHistoryPrefix(t *testing.T) {
	for history, ok := range map[string]bool{
		"": true, testHistory: true, "/havip/history/v1/198.51.100.166": false,
		testPrefix: false, testPrefix + "history/": false, "/havip/": false,
	} {
		cfg := Config{Endpoint: "http://127.0.0.1:2379", Prefix: testPrefix, Node: "n1", History: history}
		if _, err := New(cfg); (err == nil) != ok {
			t.Errorf("history prefix %q: %v", history, err)
		}
	}
	s := open(t, Config{Endpoint: "http://127.0.0.1:2379", Prefix: testPrefix, Node: "n1"})
	if err := s.Keep(t.Context(), "k", "v", 1); !errors.Is(err, errNoHistory) {
		t.Errorf("keep without a prefix: %v", err)
	}
	if _, err := s.History(t.Context(), 1, true); !errors.Is(err, errNoHistory) {
		t.Errorf("read without a prefix: %v", err)
	}
}
