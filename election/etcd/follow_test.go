package etcd

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/test/etcdtest"
)

func records(events []Event) []Event {
	var out []Event
	for _, e := range events {
		if r, ok := e.(Record); ok {
			r.Cluster, r.Rev = 0, 0
			out = append(out, r)
		}
		if _, ok := e.(WatchLost); ok {
			out = append(out, WatchLost{})
		}
	}
	return out
}

func TestFollow(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	m.Ctl("put", testPrefix+"record", "a")
	m.Ctl("put", testPrefix+"nodes/n9", "old")
	m.Ctl("put", testPrefix+"call", "come")
	s, events, _ := run(t, configFor(c, m))
	st, mark := events.awaitState(0, Ready)
	events.awaitNodes(0, func(n map[string]string) bool { return cmp.Equal(n, map[string]string{"n9": "old"}) })
	events.await(0, "call", func(e Event) bool { return e == Call{Value: "come"} })

	want := Status{State: Ready, Local: true, Via: m.ClientURL, Leader: "n1", IsLeader: true}
	got := Status{State: st.State, Reason: st.Reason, Local: st.Local, Via: st.Via, Leader: st.Leader, IsLeader: st.IsLeader, Learner: st.Learner}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if st.Cluster == 0 || st.Member == 0 || st.RoundTrip <= 0 || !strings.HasPrefix(st.Version, "3.") || len(st.Members) != 1 {
		t.Errorf("status lacks something: %+v", st)
	}

	mustCommit(t, s, "a", "b")
	mustCommit(t, s, "b", "c")
	m.Ctl("del", testPrefix+"record")
	m.Ctl("del", testPrefix+"call")
	events.await(mark, "end of the call", func(e Event) bool { return e == Call{} })
	wantRecords := []Event{
		Record{Value: "a"},
		Record{Value: "b", Live: true},
		Record{Value: "c", Live: true},
		Record{Live: true},
	}
	if diff := cmp.Diff(wantRecords, records(events.since(0))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A quiet watch is asked for signs of life, which a quiet store gives too.
func TestFollowQuiet(t *testing.T) {
	c := etcdtest.Start(t, 1)
	s, events, _ := run(t, configFor(c, c.Members[0]))
	_, mark := events.awaitState(0, Ready)
	for range 3 { // status calls are PollReady apart
		_, mark = events.awaitState(mark, Ready)
	}
	mustCommit(t, s, "", "a")
	if r, _ := events.awaitRecord(mark, "a"); !r.Live {
		t.Error("the watch did not survive silence: the record is not live")
	}
	for _, e := range events.since(0) {
		if l, ok := e.(WatchLost); ok {
			t.Errorf("a quiet watch was lost: %v", l.Err)
		}
	}
}

func TestFollowMemberKilled(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	s, events, _ := run(t, configFor(c, m))
	_, mark := events.awaitState(0, Ready)
	mustCommit(t, s, "", "a")
	_, mark = events.awaitRecord(mark, "a")
	m.Kill()
	killed := time.Now() // the kernel has closed its connections
	lost, _ := events.awaitLost(mark)
	if took := lost.Sub(killed); took > time.Second {
		t.Errorf("a killed member was noticed after %v", took)
	}
	// The first attempts may meet the connection that is just breaking.
	e, _, mark := events.await(mark, "refused connection", func(e Event) bool {
		st, ok := e.(Status)
		return ok && st.State == Unreachable && strings.HasPrefix(st.Reason, "connection refused at 127.0.0.1:")
	})
	st := e.(Status)
	if st.Local || st.Via != "" {
		t.Errorf("status of a dead member says it is followed: %+v", st)
	}
	m.Start()
	r, mark := events.awaitRecord(mark, "a")
	if r.Live {
		t.Error("a record found after a restart is live")
	}
	_, mark = events.awaitState(mark, Ready)
	mustCommit(t, s, "a", "b")
	if r, _ := events.awaitRecord(mark, "b"); !r.Live {
		t.Error("a record seen after the restart is not live")
	}
}

// The store is replaced by an empty one, with the same cluster and member IDs
// (they follow from names and addresses) and lower revisions.
func TestFollowStoreReplaced(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	s, events, _ := run(t, configFor(c, m))
	_, mark := events.awaitState(0, Ready)
	value := ""
	for i := range 5 {
		next := fmt.Sprint("before ", i)
		mustCommit(t, s, value, next)
		value = next
	}
	first, mark := events.awaitRecord(mark, value)
	m.Kill()
	if err := os.RemoveAll(m.Dir); err != nil {
		t.Fatal(err)
	}
	_, mark = events.awaitLost(mark)
	m.Start()
	r, mark := events.awaitRecord(mark, "")
	if r.Live {
		t.Error("the record of another store is live")
	}
	if r.Cluster != first.Cluster {
		t.Logf("cluster changed from %x to %x", first.Cluster, r.Cluster)
	}
	_, mark = events.awaitState(mark, Ready)
	mustCommit(t, s, "", "after")
	if r, _ := events.awaitRecord(mark, "after"); !r.Live {
		t.Error("the first change in the new store is not live")
	}
}

// While the watch is down the record changes and its history is compacted.
func TestFollowCompacted(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.Members[0]
	p, endpoint := newProxy(t, m.ClientURL)
	cfg := configFor(c, m)
	cfg.Endpoint = endpoint
	s, events, _ := run(t, cfg)
	_, mark := events.awaitState(0, Ready)
	mustCommit(t, s, "", "a")
	_, mark = events.awaitRecord(mark, "a")
	p.refuse(true)
	_, mark = events.awaitLost(mark)
	for _, v := range []string{"b", "c", "d"} {
		m.Ctl("put", testPrefix+"record", v)
	}
	st, err := m.Status()
	if err != nil {
		t.Fatal(err)
	}
	m.Ctl("compaction", fmt.Sprint(st.Revision))
	p.refuse(false)
	_, mark = events.awaitState(mark, Ready)
	mustCommit(t, s, "d", "e")
	events.awaitRecord(mark, "e")
	want := []Event{
		Record{}, Record{Value: "a", Live: true},
		WatchLost{},
		Record{Value: "d"}, Record{Value: "e", Live: true},
	}
	if diff := cmp.Diff(want, records(events.since(0))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A half-open connection: everything is acknowledged, nothing arrives.
func TestFollowSilence(t *testing.T) {
	c := etcdtest.StartWith(t, 1, etcdtest.Options{TLS: true})
	m := c.Members[0]
	p, endpoint := newProxy(t, m.ClientURL)
	cfg := configFor(c, m)
	cfg.Endpoint = endpoint
	s, events, _ := run(t, cfg)
	mustCommit(t, s, "", "a")
	_, mark := events.awaitRecord(0, "a")
	_, mark = events.awaitState(mark, Ready)
	frozen := time.Now()
	p.freeze()
	if res := within(t, 300*time.Millisecond, s, "a", "b", false); res.Outcome != Unknown {
		t.Errorf("write into silence = %+v, want unknown", res)
	}
	lost, mark := events.awaitLost(mark)
	t.Logf("silence noticed after %v", lost.Sub(frozen).Round(time.Millisecond))
	if took := lost.Sub(frozen); took > 3500*time.Millisecond {
		t.Errorf("silence was noticed after %v, want about 2 s", took)
	}
	m.Ctl("put", testPrefix+"record", "c")
	p.thaw() // for new connections; the old one is given up
	r, mark := events.awaitRecord(mark, "c")
	if r.Live {
		t.Error("a record found after silence is live")
	}
	events.awaitState(mark, Ready)
}

// The etcd leader on another node dies: the watch goes on, and stays live.
func TestFollowLeaderChange(t *testing.T) {
	c := etcdtest.Start(t, 3)
	m := c.Follower()
	s, events, _ := run(t, configFor(c, m))
	mustCommit(t, s, "", "a")
	_, mark := events.awaitRecord(0, "a")
	old := c.Leader()
	old.Kill()
	var value = "a"
	eventually(t, "commit after a leader change", func() error {
		res := within(t, patience, s, value, "b", false)
		if res.Outcome == Refused {
			value = res.Current
		}
		if res.Outcome != Committed && value != "b" {
			return fmt.Errorf("%+v", res)
		}
		return nil
	})
	if r, _ := events.awaitRecord(mark, "b"); !r.Live {
		t.Error("the record after a leader change is not live")
	}
	for _, e := range events.since(mark) {
		if l, ok := e.(WatchLost); ok {
			t.Errorf("the watch was lost: %v", l.Err)
		}
	}
	events.await(mark, "a new leader's name", func(e Event) bool {
		st, ok := e.(Status)
		return ok && st.State == Ready && st.Leader != "" && st.Leader != old.Name
	})
}

func TestFollowLearner(t *testing.T) {
	c := etcdtest.Start(t, 1)
	m := c.AddLearner()
	s, events, _ := run(t, configFor(c, m))
	st, mark := events.awaitState(0, Learner)
	if !st.Learner || st.Reason == "" {
		t.Errorf("status of a learner: %+v", st)
	}
	if res := within(t, patience, s, "", "a", false); res.Outcome != Failed {
		t.Errorf("write through a learner = %+v, want failed", res)
	}
	eventually(t, "promote the learner", func() error {
		_, err := c.Members[0].TryCtl("member", "promote", fmt.Sprintf("%x", st.Member))
		return err
	})
	events.awaitState(mark, Ready)
	mustCommit(t, s, "", "a")
}

// The local member dies: the keys are followed, the record given away and the
// presence kept through another one, until the local one is back.
func TestFollowElsewhere(t *testing.T) {
	c := etcdtest.StartWith(t, 3, etcdtest.Options{TLS: true})
	m := c.Follower()
	s, events, _ := run(t, configFor(c, m))
	s.Publish("healthy")
	mustCommit(t, s, "", "a")
	_, mark := events.awaitRecord(0, "a")
	_, mark = events.awaitState(mark, Ready)
	killed := time.Now()
	m.Kill()
	st, _, mark := events.await(mark, "status through another member", func(e Event) bool {
		st, ok := e.(Status)
		return ok && st.Via != "" && st.Via != m.ClientURL
	})
	t.Logf("followed through another member after %v", time.Since(killed).Round(time.Millisecond))
	if st := st.(Status); st.Local || st.State != Unreachable || st.Reason == "" || st.Leader == "" {
		t.Errorf("status while the local member is dead: %+v", st)
	}
	if res := within(t, time.Second, s, "a", "b", false); res.Outcome != NotSent {
		t.Errorf("local write while the local member is dead = %+v, want not sent", res)
	}
	res := within(t, patience, s, "a", "free", true)
	if res.Outcome != Committed || !res.Elsewhere {
		t.Errorf("write elsewhere = %+v, want committed elsewhere", res)
	}
	_, mark = events.awaitRecord(mark, "free")
	if err := s.Call(t.Context(), "come"); err != nil {
		t.Errorf("call while the local member is dead: %v", err)
	}
	s.Publish("no etcd")
	mark = events.awaitNodes(mark, func(n map[string]string) bool { return n[m.Name] == "no etcd" })
	m.Start()
	st2, mark := events.awaitState(mark, Ready)
	if !st2.Local || st2.Via != m.ClientURL {
		t.Errorf("status after the local member is back: %+v", st2)
	}
	mustCommit(t, s, "free", "c")
	if r, _ := events.awaitRecord(mark, "c"); !r.Live {
		t.Error("the record after the way back is not live")
	}
}

// The local member is frozen: it accepts everything and answers nothing.
func TestFollowMemberPaused(t *testing.T) {
	c := etcdtest.StartWith(t, 3, etcdtest.Options{TLS: true})
	m := c.Follower()
	s, events, _ := run(t, configFor(c, m))
	mustCommit(t, s, "", "a")
	_, mark := events.awaitState(0, Ready)
	paused := time.Now()
	m.Pause()
	lost, mark := events.awaitLost(mark)
	t.Logf("freeze noticed after %v", lost.Sub(paused).Round(time.Millisecond))
	e, at, mark := events.await(mark, "status through another member", func(e Event) bool {
		st, ok := e.(Status)
		return ok && st.Via != "" && !st.Local
	})
	t.Logf("followed through another member after %v", at.Sub(paused).Round(time.Millisecond))
	if st := e.(Status); st.State != Unreachable || st.Reason == "" {
		t.Errorf("status while the local member is frozen: %+v", st)
	}
	if res := within(t, patience, s, "a", "free", true); res.Outcome != Committed || !res.Elsewhere {
		t.Errorf("write elsewhere = %+v, want committed elsewhere", res)
	}
	m.Resume()
	if st, _ := events.awaitState(mark, Ready); !st.Local {
		t.Errorf("status after the freeze: %+v", st)
	}
}

// Nothing has yet been noticed: the write finds out by itself.
func TestWriteElsewhereAtOnce(t *testing.T) {
	c := etcdtest.Start(t, 3)
	m := c.Follower()
	s, events, stop := run(t, configFor(c, m))
	mustCommit(t, s, "", "a")
	events.awaitState(0, Ready)
	stop()
	m.Kill()
	eventually(t, "write elsewhere", func() error {
		res := within(t, 2*time.Second, s, "a", "b", true)
		if res.Outcome == Committed && res.Elsewhere || res.Outcome == Refused && res.Current == "b" {
			return nil
		}
		return fmt.Errorf("%+v", res)
	})
}
