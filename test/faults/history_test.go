package faults

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"havip/daemon/status"
	"havip/test/cluster"
)

// TestHistory: after a handover, a failing API server, a crash and a lost quorum
// every master tells the same moves, for the reasons that were put in, and as the
// sampler saw them.
func TestHistory(t *testing.T) {
	open(t).play(func(s *scene) {
		since := time.Now()
		reasons := []string{}
		first := s.holder
		second := s.c.Others(first)[0]
		s.ctl(first, "handover", "--to", second.Name)
		s.moves()
		s.onScreen(first, "handover by an operator")
		reasons = append(reasons, "^handover by an operator$")

		s.calm()
		failing := s.holder
		s.try(failing.SetAPIServer(cluster.Failing))
		s.moves()
		s.try(failing.SetAPIServer(cluster.Ready))
		reasons = append(reasons, "^API server of "+failing.Name+": ")

		s.calm()
		crashed := s.holder
		s.try(crashed.PowerOff())
		s.moves()
		for _, n := range s.c.Others(crashed) {
			s.onScreen(n, crashed.Name+" stopped renewing")
		}
		s.try(crashed.PowerOn())
		reasons = append(reasons, "^"+crashed.Name+" stopped renewing; "+crashed.Name+": its havipd had ended, and was back ")

		s.calm()
		quorum := s.holder
		s.loseQuorum()
		reasons = append(reasons, "^"+quorum.Name+" let go: etcd confirmed no renewal within ")

		s.calm()
		s.tellsOf(since, reasons)
	})
}

// told is how long etcd may take to tell one node what another one wrote. That the
// address moved is seen on the wire first, by who looks all the time.
const told = 2 * time.Second

// onScreen runs the one command that says why the address moved.
func (s *scene) onScreen(n *cluster.Node, reason string) {
	s.Helper()
	begin := cluster.Now()
	out := ""
	err := cluster.Poll(s.ctx, told, n.Name+" to say why", func() bool {
		var err error
		out, err = n.MustCtl(s.ctx, "history", "-n", "1")
		s.try(err)
		return strings.Contains(out, reason)
	})
	if err != nil {
		s.Errorf("%v:\n%s", err, out)
		return
	}
	s.Logf("%s: the reason was on screen after %v", n.Name, cluster.Now()-begin)
}

// loseQuorum leaves the holder without one until it has let go, asks what it
// knows meanwhile, and gives the quorum back.
func (s *scene) loseQuorum() {
	s.Helper()
	others := s.c.Others(s.holder)
	for _, n := range others {
		s.try(n.KillEtcd())
	}
	s.try(s.c.Sampler.Wait(s.ctx, takesOver, "the holder to let go", func(h []string) bool { return len(h) == 0 }))
	s.passes(3 * time.Second)
	for _, n := range s.c.Nodes {
		h := s.history(n, time.Time{})
		if !h.LastKnown || h.AgeMS == nil || len(h.Entries) == 0 {
			s.Errorf("%s without a quorum: last known %v, age %v, %d entries", n.Name, h.LastKnown, h.AgeMS, len(h.Entries))
		}
		if last := h.Entries[len(h.Entries)-1]; n == s.holder && (last.Kind != status.HistoryLost || !last.Waiting || h.Unwritten == 0) {
			s.Errorf("%s without a quorum: %+v, %d not written", n.Name, last, h.Unwritten)
		}
	}
	for _, n := range others {
		s.try(n.StartEtcd())
	}
	_, err := s.c.Holder(s.ctx, calmsDown)
	s.try(err)
}

func (s *scene) history(n *cluster.Node, since time.Time) status.History {
	s.Helper()
	args := []string{"history", "-n", "0", "-o", "json"}
	if !since.IsZero() {
		args = append(args, "--since", since.Format(time.RFC3339Nano))
	}
	out, err := n.MustCtl(s.ctx, args...)
	s.try(err)
	var h status.History
	s.try(json.Unmarshal([]byte(out), &h))
	return h
}

// tellsOf compares what every master tells with what was done and seen.
func (s *scene) tellsOf(since time.Time, reasons []string) {
	s.Helper()
	var entries []status.HistoryEntry
	// A fact is written some seconds after its move, so that its best witness can.
	err := cluster.Poll(s.ctx, calmsDown, "every master to have written what it knows", func() bool {
		entries = s.history(s.c.Nodes[0], since).Entries
		for _, e := range entries {
			if e.Waiting {
				return false
			}
		}
		return len(entries) == len(reasons) && regexp.MustCompile(reasons[2]).MatchString(entries[2].Reason)
	})
	if err != nil {
		s.Fatalf("%v: %+v", err, entries)
	}
	for _, n := range s.c.Nodes[1:] {
		var h status.History
		diff := ""
		err := cluster.Poll(s.ctx, told, n.Name+" to have been told", func() bool {
			entries, h = s.history(s.c.Nodes[0], since).Entries, s.history(n, since)
			diff = cmp.Diff(entries, h.Entries, cmpopts.EquateEmpty())
			return diff == ""
		})
		if err != nil {
			s.Errorf("%s and %s tell different things (-%[1]s +%[2]s):\n%s", s.c.Nodes[0].Name, n.Name, diff)
		}
		if h.LastKnown || h.Unwritten != 0 || h.Dropped != 0 || len(h.Unreadable) != 0 {
			s.Errorf("%s: last known %v (%s), %d not written, %d dropped, unreadable %q", n.Name, h.LastKnown, h.Reason, h.Unwritten, h.Dropped, h.Unreadable)
		}
	}
	seen := s.seen()
	if len(seen) != len(entries) {
		s.Fatalf("%d entries, the sampler saw %d moves: %+v; %v", len(entries), len(seen), entries, seen)
	}
	for i, e := range entries {
		if e.From != seen[i].From || e.To != seen[i].To || !regexp.MustCompile(reasons[i]).MatchString(e.Reason) || e.Planned != (i == 0) {
			s.Errorf("entry %d: %+v; want %s -> %s, reason %s", i+1, e, seen[i].From, seen[i].To, reasons[i])
		}
		gap := "unknown"
		if e.GapMS == nil {
			s.Errorf("entry %d: no gap: %+v", i+1, e)
		} else {
			gap = (time.Duration(*e.GapMS) * time.Millisecond).String()
		}
		s.Logf("%s -> %s, nobody for %s, the sampler saw %v: %s (by %v)", e.From, e.To, gap,
			(seen[i].Gained - seen[i].Lost).Round(time.Millisecond), e.Reason, e.By)
	}
	out, err := s.c.Nodes[0].MustCtl(s.ctx, "history", "--since", fmt.Sprint(time.Since(since).Round(time.Second)+time.Second))
	s.try(err)
	s.Logf("%s:\n%s", s.c.Nodes[0].CtlLine("history"), out)
}

// seen are the moves by the sampler since the beginning, also those of a holder
// that let go and got it again.
func (s *scene) seen() []cluster.Move {
	var moves []cluster.Move
	var last *cluster.Holding
	spans := s.c.Sampler.Judge(s.began, cluster.Now()).Spans
	for i := range spans {
		if len(spans[i].Nodes) == 0 {
			continue
		}
		if last != nil {
			moves = append(moves, cluster.Move{From: last.Nodes[0], To: spans[i].Nodes[0], Lost: last.To, Gained: spans[i].From})
		}
		last = &spans[i]
	}
	return moves
}
