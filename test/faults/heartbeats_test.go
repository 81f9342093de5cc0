package faults

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"havip/daemon/status"
	"havip/test/cluster"
)

// TestHeartbeats: the daemons hear each other over real sockets, by a key that can be
// changed under way; a closed port is told, with what opens it, and moves nothing.
func TestHeartbeats(t *testing.T) {
	c := newCluster(t, cluster.Options{ExtraConfig: "\n[election]\ndetection = \"standard\""})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	on := func(name, promise string, body func(*scene)) {
		row := Row{Fault: name, Promise: promise}
		ok := t.Run(name, func(t *testing.T) {
			for range *repeat {
				s := newScene(t, c)
				s.play(body)
				row.Runs = append(row.Runs, s.run)
			}
		})
		rows = append(rows, row)
		if !ok {
			t.FailNow()
		}
	}
	on("the heartbeats' key is rotated", "stays, nothing is lost", func(s *scene) {
		s.hearsAll()
		before := s.heartbeats(s.holder)
		s.stays(15 * time.Second) // a younger key is not replaced
		if _, err := s.c.Others(s.holder)[0].MustCtl(s.ctx, "key", "rotate"); err != nil {
			s.Fatal(err)
		}
		for _, n := range s.c.Nodes {
			s.until(n, "a new key", func(h *status.Heartbeats) bool { return h.Key != before.Key })
		}
		s.stays(7 * time.Second) // all sign with the new one by now
		for _, n := range s.c.Nodes {
			if h := s.heartbeats(n); len(h.Dropped) > 0 {
				s.Errorf("%s dropped %+v", n.Name, h.Dropped)
			}
		}
		s.hearsAll()
	})
	on("a firewall drops the heartbeats to a standby", "stays, and is told", func(s *scene) {
		deaf := s.c.Others(s.holder)[0]
		// What comes in is local by the rule of preference 0, so that makes room.
		rule := []string{"pref", "1", "iif", "eth0", "ipproto", "udp", "dport", "9478", "blackhole"}
		s.inside(deaf, append([]string{"ip", "rule", "add"}, rule...)...)
		s.inside(deaf, "ip", "rule", "add", "pref", "2", "lookup", "local")
		s.inside(deaf, "ip", "rule", "del", "pref", "0", "lookup", "local")
		s.until(s.holder, deaf.Name+" unheard", func(h *status.Heartbeats) bool { return peerOf(h, deaf.Name).UnansweredMS > 3000 })
		s.warns(s.holder, deaf.Name+" does not answer heartbeats: UDP 9478 must be open between the masters")
		s.until(deaf, "the holder unheard", func(h *status.Heartbeats) bool { return *peerOf(h, s.holder.Name).HeardAgoMS > 3000 })
		s.warns(deaf, "nothing is heard of "+s.holder.Name+", which holds the VIP")
		s.inside(deaf, append([]string{"ip", "rule", "del"}, rule...)...)
		s.hearsAll()
	})
	on("a firewall refuses the holder's heartbeats", "stays, and is told", func(s *scene) {
		rule := []string{"pref", "1", "ipproto", "udp", "dport", "9478", "prohibit"}
		s.inside(s.holder, append([]string{"ip", "rule", "add"}, rule...)...)
		for _, n := range s.c.Others(s.holder) {
			s.until(s.holder, n.Name+" unheard", func(h *status.Heartbeats) bool { return peerOf(h, n.Name).UnansweredMS > 3000 })
			s.warns(s.holder, "heartbeats to "+n.Name+" cannot be sent: send to "+n.Address.String()+":9478: permission denied")
		}
		s.inside(s.holder, append([]string{"ip", "rule", "del"}, rule...)...)
		s.hearsAll()
	})
	on("a standby starts without etcd, and is heard", "stays", func(s *scene) {
		standby := s.c.Others(s.holder)[0]
		s.try(standby.KillEtcd())
		s.try(standby.StopHavipd(takesOver))
		s.try(standby.StartHavipd())
		began := cluster.Now()
		s.until(s.holder, standby.Name+" answers", func(h *status.Heartbeats) bool {
			p := peerOf(h, standby.Name)
			return p.UnansweredMS == 0 && time.Duration(*p.AnsweredAgoMS)*time.Millisecond < cluster.Now()-began
		})
		s.try(standby.StartEtcd())
	})
}

func (s *scene) document(n *cluster.Node) status.Document {
	s.Helper()
	out, _, _, err := n.Ctl(s.ctx, "status", "-o", "json")
	s.try(err)
	var d status.Document
	s.try(json.Unmarshal([]byte(out), &d))
	return d
}

func (s *scene) heartbeats(n *cluster.Node) *status.Heartbeats {
	s.Helper()
	h := s.document(n).Heartbeats
	if h == nil {
		s.Fatalf("%s tells nothing of heartbeats", n.Name)
	}
	return h
}

func peerOf(h *status.Heartbeats, name string) status.HeartbeatPeer {
	i := slices.IndexFunc(h.Peers, func(p status.HeartbeatPeer) bool { return p.Name == name })
	if i < 0 {
		return status.HeartbeatPeer{}
	}
	return h.Peers[i]
}

// until waits until a node's heartbeats are as they should be.
func (s *scene) until(n *cluster.Node, what string, ok func(*status.Heartbeats) bool) {
	s.Helper()
	var h *status.Heartbeats
	if err := cluster.Poll(s.ctx, calmsDown, what, func() bool { h = s.heartbeats(n); return ok(h) }); err != nil {
		s.Fatalf("%s: %v: %+v", n.Name, err, h)
	}
}

// hearsAll waits until every other master answers the holder, and nobody has anything
// to complain of.
func (s *scene) hearsAll() {
	s.Helper()
	for _, n := range s.c.Others(s.holder) {
		s.until(s.holder, "answer of "+n.Name, func(h *status.Heartbeats) bool {
			p := peerOf(h, n.Name)
			return p.AnsweredAgoMS != nil && *p.AnsweredAgoMS < 2000 && p.RoundTripUS != nil
		})
	}
	for _, p := range s.heartbeats(s.holder).Peers {
		s.Logf("%s answers %s in %d us", p.Name, s.holder.Name, *p.RoundTripUS)
	}
	for _, n := range s.c.Nodes {
		err := cluster.Poll(s.ctx, calmsDown, "no warning about heartbeats", func() bool {
			return !slices.ContainsFunc(s.document(n).Warnings, func(w string) bool { return strings.Contains(w, "heartbeats") || strings.Contains(w, "is heard") })
		})
		if err != nil {
			s.Fatalf("%s: %v: %q", n.Name, err, s.document(n).Warnings)
		}
	}
}

func (s *scene) warns(n *cluster.Node, want string) {
	s.Helper()
	d := s.document(n)
	if !slices.ContainsFunc(d.Warnings, func(w string) bool { return strings.HasPrefix(w, want) }) || d.Verdict != status.Held {
		s.Errorf("%s: %s, warnings %q, want %q", n.Name, d.Verdict, d.Warnings, want)
	}
}

// inside runs a program in the network namespace of a node.
func (s *scene) inside(n *cluster.Node, args ...string) {
	s.Helper()
	args = append([]string{"-t", fmt.Sprint(n.HavipdPID()), "-n", "--"}, args...)
	if out, err := exec.CommandContext(s.ctx, "nsenter", args...).CombinedOutput(); err != nil {
		s.Fatalf("%v: %v: %s", args, err, out)
	}
}
