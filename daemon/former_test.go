package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/daemon/status"
	"havip/election/etcd"
)

// fakeCluster is etcd's list of members.
type fakeCluster struct {
	list    []etcd.Listed
	down    error
	stuck   error // of the next removal
	asked   []string
	removed []uint64
	here    string // presence of n3
	blind   error  // of a look for it
}

func (c *fakeCluster) Look(_ context.Context, urls []string) (etcd.Listed, error) {
	for _, m := range c.list {
		if slices.Equal(m.ClientURLs, urls) {
			return m, m.Err
		}
	}
	return etcd.Listed{}, errSilent
}

func (c *fakeCluster) Roll(_ context.Context, urls []string) ([]etcd.Listed, error) {
	c.asked = urls
	return c.list, c.down
}

func (c *fakeCluster) Presence(_ context.Context, _ []string, node string) (string, error) {
	if node != "n3" {
		return "", nil
	}
	return c.here, c.blind
}

func (c *fakeCluster) RemoveMember(_ context.Context, _ []string, id uint64) error {
	if c.stuck != nil {
		return c.stuck
	}
	c.removed = append(c.removed, id)
	return nil
}

var errSilent = errors.New("no answer from 198.51.100.164:2379 in time")

// afterLoss is the list of three, the third of which has lost its disk.
func afterLoss() *fakeCluster {
	c := &fakeCluster{}
	for i, name := range []string{"n1", "n2", "n3"} {
		host := "198.51.100.16" + string(rune('2'+i))
		m := etcd.Listed{Member: etcd.Member{ID: uint64(0xa1 + i), Name: name, ClientURLs: []string{"http://" + host + ":2379"}, PeerURLs: []string{"http://" + host + ":2380"}}, LeaderID: 0xa1}
		if name == "n3" {
			m.LeaderID, m.Err = 0, errSilent
		}
		c.list = append(c.list, m)
	}
	return c
}

func (s *shell) former(method string) status.Former {
	s.t.Helper()
	code, answer := s.ask(method, status.PathFormer, "")
	var a status.Former
	if err := json.Unmarshal(answer, &a); err != nil || code != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s: %v", method, status.PathFormer, code, answer, err)
	}
	return a
}

// madeAnew is n3 with an empty disk.
func madeAnew(b *bench, c *fakeCluster) *shell {
	n3 := b.shell("n3")
	n3.lock.run = func(ctx context.Context, sink func(etcd.Event)) error {
		sink(etcd.Status{State: etcd.NotConfigured, Reason: "ca.crt is not there"})
		<-ctx.Done()
		return nil
	}
	n3.d.faces.setCluster(c, "this")
	n3.start()
	b.pass(time.Second)
	return n3
}

func TestFormerMember(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		c := afterLoss()
		c.here = `{"node": "n3", "process": "this"}`
		n3 := madeAnew(b, c)
		want := status.Former{
			Schema: status.Schema, Removable: true, Findings: []status.ClaimFinding{},
			Members: []status.FormerMember{{ID: "a3", Name: "n3", PeerURLs: []string{"http://198.51.100.164:2380"}}},
		}
		if diff := cmp.Diff(want, n3.former(http.MethodGet)); diff != "" {
			t.Errorf("look (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"http://198.51.100.162:2379", "http://198.51.100.163:2379"}, c.asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		if len(c.removed) > 0 {
			t.Errorf("a look has removed %x", c.removed)
		}
		want.Removed = true
		if diff := cmp.Diff(want, n3.former(http.MethodPost)); diff != "" {
			t.Errorf("remove (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]uint64{0xa3}, c.removed); diff != "" {
			t.Errorf("removed (-want +got):\n%s", diff)
		}
		c.list = c.list[:2]
		if a := n3.former(http.MethodPost); a.Removed || a.Removable || len(a.Members) > 0 || len(c.removed) > 1 {
			t.Errorf("again: %+v", a)
		}
	})
}

// TestFormerMemberStays: whatever speaks against it, nothing is removed, whoever asks.
func TestFormerMemberStays(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*shell, *fakeCluster)
		want  string
	}{
		"it answers":              {func(_ *shell, c *fakeCluster) { c.list[2].Err, c.list[2].LeaderID = nil, 0xa1 }, "the member is alive: it leads, it answers, or something listens at its address"},
		"its peer port is open":   {func(s *shell, _ *fakeCluster) { s.open = map[string]bool{"198.51.100.164:2380": true} }, "the member is alive: it leads, it answers, or something listens at its address"},
		"its client port is open": {func(s *shell, _ *fakeCluster) { s.open = map[string]bool{"198.51.100.164:2379": true} }, "the member is alive: it leads, it answers, or something listens at its address"},
		"its data is there":       {func(s *shell, _ *fakeCluster) { mustMkdir(s, s.d.faces.etcdData) }, "this node has a member's data or manifest, so that member is not lost"},
		"its manifest is there":   {func(s *shell, _ *fakeCluster) { mustMkdir(s, s.l.cfg.Etcd.Manifest) }, "this node has a member's data or manifest, so that member is not lost"},
		"n2 is gone too": {func(_ *shell, c *fakeCluster) { c.list[1].Err, c.list[1].LeaderID = errSilent, 0 },
			"another member is not well: n2 (no answer from 198.51.100.164:2379 in time); the members that are well would be no quorum without it"},
		"n2 sees another leader":        {func(_ *shell, c *fakeCluster) { c.list[1].LeaderID = 0xa2 }, "another member is not well: they do not agree on a leader"},
		"its havipd is there":           {func(_ *shell, c *fakeCluster) { c.here = `{"node": "n3", "process": "other"}` }, "a havipd of this node's name runs beside this one: the machine of before may still be on"},
		"its havipd is of another kind": {func(_ *shell, c *fakeCluster) { c.here = `?` }, "a havipd of this node's name runs beside this one: the machine of before may still be on"},
		"it is alone":                   {func(_ *shell, c *fakeCluster) { c.list = c.list[2:] }, "no other member has a vote: it is the last one; the members that are well would be no quorum without it"},
		"another name here":             {func(_ *shell, c *fakeCluster) { c.list[2].Name = "m3" }, "the member at this node's address has another name"},
		"n3 where n2 is to be": {func(_ *shell, c *fakeCluster) {
			c.list[1].PeerURLs, c.list[2].PeerURLs = c.list[2].PeerURLs, c.list[1].PeerURLs
		}, "more than one member could be this node's; the member at this node's address has another name; the member of this node's name is at the address of another master; the member is alive: it leads, it answers, or something listens at its address"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				c := afterLoss()
				n3 := madeAnew(b, c)
				tt.spoil(n3, c)
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					a := n3.former(method)
					var why []string
					for _, f := range a.Findings {
						if !f.Blocks || f.Fix == "" || f.Subject == "" {
							t.Errorf("finding %+v", f)
						}
						why = append(why, f.What)
					}
					if diff := cmp.Diff(tt.want, strings.Join(why, "; ")); diff != "" || a.Removable || a.Removed {
						t.Errorf("%s: %+v (-want +got):\n%s", method, a, diff)
					}
				}
				if len(c.removed) > 0 {
					t.Errorf("removed %x", c.removed)
				}
			})
		})
	}
}

// TestNeededMember: on a node whose member is well the others are asked whether they
// could do without it.
func TestNeededMember(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*fakeCluster)
		want  bool
	}{
		"all are well": {func(*fakeCluster) {}, false},
		"n2 is down":   {func(c *fakeCluster) { c.list[1].Err, c.list[1].LeaderID = errSilent, 0 }, true},
		"an alarm":     {func(c *fakeCluster) { c.list[0].Err, c.list[1].Err = errors.New("CORRUPT"), errors.New("CORRUPT") }, false},
		"it is alone":  {func(c *fakeCluster) { c.list = c.list[2:] }, false},
		"it is gone":   {func(c *fakeCluster) { c.list = c.list[:2] }, false},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				c := afterLoss()
				c.list[2].Err, c.list[2].LeaderID = nil, 0xa1
				n3 := madeAnew(b, c)
				mustMkdir(n3, n3.d.faces.etcdData)
				tt.spoil(c)
				if a := n3.former(http.MethodGet); a.Needed != tt.want {
					t.Errorf("needed: %v, want %v", a.Needed, tt.want)
				}
			})
		})
	}
}

func TestFormerMemberFailures(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		c := afterLoss()
		n3 := madeAnew(b, c)
		c.stuck = errors.New("remove member a3: no answer")
		if code, answer := n3.ask(http.MethodPost, status.PathFormer, ""); code != http.StatusServiceUnavailable || !strings.Contains(string(answer), "remove member a3: no answer") {
			t.Errorf("a removal without an answer: %d %s", code, answer)
		}
		c.stuck, c.blind = nil, errors.New("read presence: no answer")
		if code, answer := n3.ask(http.MethodPost, status.PathFormer, ""); code != http.StatusServiceUnavailable || !strings.Contains(string(answer), "read presence: no answer") {
			t.Errorf("a presence that cannot be read: %d %s", code, answer)
		}
		c.down = errors.New("list members: etcd has no leader")
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if code, answer := n3.ask(method, status.PathFormer, ""); code != http.StatusServiceUnavailable || !strings.Contains(string(answer), "etcd has no leader") {
				t.Errorf("%s without etcd: %d %s", method, code, answer)
			}
		}
		if code, _ := n3.ask(http.MethodPost, status.PathFormer, `{"id": "a1"}`); code != http.StatusBadRequest {
			t.Errorf("asked for a certain one: %d", code)
		}
		w := httptest.NewRecorder()
		n3.d.faces.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, status.PathFormer, nil))
		if w.Code != http.StatusForbidden || len(c.removed) > 0 {
			t.Errorf("asked by somebody: %d, removed %x", w.Code, c.removed)
		}
	})
}
