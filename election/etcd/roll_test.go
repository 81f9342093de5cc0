package etcd

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/test/etcdtest"
)

// TestLook: each member says by itself whether it leads, follows, or has no leader.
func TestLook(t *testing.T) {
	c := etcdtest.StartWith(t, 3, etcdtest.Options{TLS: true})
	s := open(t, configFor(c, c.Members[0]))
	leads := 0
	for _, m := range c.Members {
		says, err := s.Look(t.Context(), []string{m.ClientURL})
		if err != nil || says.LeaderID == 0 || says.Leader != (says.LeaderID == says.ID) {
			t.Errorf("%s: %+v, %v", m.Name, says, err)
		}
		if says.Leader {
			leads++
		}
	}
	if leads != 1 {
		t.Errorf("%d say that they lead", leads)
	}
	c.Members[1].Kill()
	c.Members[2].Kill()
	eventually(t, "the one left has no leader", func() error {
		says, err := s.Look(t.Context(), []string{c.Members[0].ClientURL})
		if err != nil || says.LeaderID != 0 {
			return fmt.Errorf("%+v, %v", says, err)
		}
		return nil
	})
}

// TestReplaceMember: one of three loses its disk. The node that has none now finds
// it dead on the list, has it removed through the others, and comes back under the
// same name and address as a learner that is promoted. The record stays as it is.
func TestReplaceMember(t *testing.T) {
	c := etcdtest.StartWith(t, 3, etcdtest.Options{TLS: true})
	others, dead := c.Members[:2], c.Members[2]
	mustCommit(t, open(t, configFor(c, others[0])), "", "a")
	urls := []string{others[0].ClientURL, others[1].ClientURL}
	s := open(t, configFor(c, dead))
	dead.Kill()
	dead.Wipe()

	id := rollOf(t, s, urls, "n1 well, n2 well, n3 silent")["n3"].ID
	if says, err := s.Look(t.Context(), []string{dead.ClientURL}); err == nil {
		t.Errorf("the dead one says %+v", says)
	}
	others[0].Ctl("put", testPrefix+"nodes/n1", "here")
	for node, want := range map[string]string{"n1": "here", "n3": ""} {
		if got, err := s.Presence(t.Context(), urls, node); got != want || err != nil {
			t.Errorf("presence of %s: %q, %v, want %q", node, got, err, want)
		}
	}
	// etcd adds nobody while one on its list is silent (isConnectedFullySince, 3.6.16).
	if _, err := others[0].TryCtl("member", "add", "n3", "--learner", "--peer-urls="+dead.PeerURL); err == nil || !strings.Contains(err.Error(), "unhealthy cluster") {
		t.Errorf("added beside the dead one: %v", err)
	}
	for _, when := range []string{"", "again: "} {
		if err := s.RemoveMember(t.Context(), urls, id); err != nil {
			t.Fatal(when, err)
		}
		rollOf(t, s, urls, "n1 well, n2 well")
	}

	dead.Join()
	eventually(t, "promote n3", func() error {
		list, err := s.Roll(t.Context(), urls)
		if err != nil || len(list) != 3 {
			return fmt.Errorf("%+v, %v", list, err)
		}
		for _, m := range list {
			if m.Learner {
				_, err = others[0].TryCtl("member", "promote", fmt.Sprintf("%x", m.ID))
			}
		}
		return err
	})
	dead.WaitServing()
	if again := rollOf(t, s, urls, "n1 well, n2 well, n3 well")["n3"].ID; again == id {
		t.Errorf("n3 has the ID %x again", id)
	}
	if value, err := s.Read(t.Context()); value != "a" || err != nil {
		t.Errorf("the record is %q, %v, want a", value, err)
	}
}

// rollOf asks until the members are as wanted: a leader may just be elected.
func rollOf(t *testing.T, s *Store, urls []string, want string) map[string]Listed {
	t.Helper()
	var by map[string]Listed
	eventually(t, "a roll", func() error {
		list, err := s.Roll(t.Context(), urls)
		if err != nil {
			return err
		}
		by = map[string]Listed{}
		var got []string
		leaders := 0
		for _, name := range []string{"n1", "n2", "n3"} {
			for _, m := range list {
				if m.Name != name {
					continue
				}
				by[name] = m
				state := " well"
				if m.Err != nil || m.LeaderID == 0 {
					state = " silent"
				}
				if m.Leader {
					leaders++
				}
				got = append(got, name+state)
			}
		}
		if diff := cmp.Diff(want, strings.Join(got, ", ")); diff != "" || leaders != 1 || len(got) != len(list) {
			return fmt.Errorf("%d leaders, %+v (-want +got):\n%s", leaders, list, diff)
		}
		return nil
	})
	return by
}

// TestRollWithoutQuorum: what one of three says alone is no list.
func TestRollWithoutQuorum(t *testing.T) {
	c := etcdtest.Start(t, 3)
	s := open(t, configFor(c, c.Members[2]))
	urls := []string{c.Members[0].ClientURL}
	id := rollOf(t, s, urls, "n1 well, n2 well, n3 well")["n3"].ID
	c.Members[1].Kill()
	c.Members[2].Kill()
	if list, err := s.Roll(t.Context(), urls); err == nil {
		t.Errorf("listed %+v", list)
	}
	if err := s.RemoveMember(t.Context(), urls, id); err == nil {
		t.Error("removed without a quorum")
	}
}

// TestRollThroughSecond: one of the others may hang, and one may be somebody else.
func TestRollThroughSecond(t *testing.T) {
	c := etcdtest.Start(t, 3)
	s := open(t, configFor(c, c.Members[2]))
	s.cfg.CallTimeout = 300 * time.Millisecond
	c.Members[0].Pause()
	defer c.Members[0].Resume()
	urls := []string{c.Members[0].ClientURL, c.Members[1].ClientURL}
	rollOf(t, s, urls, "n1 silent, n2 well, n3 well")
}

func TestRollNeedsFilesAndMembers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Endpoint: "https://127.0.0.1:2379", CA: filepath.Join(dir, "ca.crt"), Prefix: testPrefix, Node: "n3"})
	if _, err := s.Roll(t.Context(), []string{"https://127.0.0.1:1"}); !errors.Is(err, ErrNotConfigured) {
		t.Errorf("without certificates: %v", err)
	}
	plain := open(t, Config{Endpoint: "http://127.0.0.1:1", Prefix: testPrefix, Node: "n3"})
	if _, err := plain.Roll(t.Context(), nil); !errors.Is(err, errNoOther) {
		t.Errorf("without members: %v", err)
	}
	if _, err := plain.Roll(t.Context(), []string{"http://127.0.0.1:1"}); err == nil || err.Error() != "list members: connection refused at 127.0.0.1:1" {
		t.Errorf("with a dead member: %v", err)
	}
}
