package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
)

// Generous bounds: the tests judge behaviour; how quick it was is reported.
const (
	takesOver  = 20 * time.Second // a crash: takeover (4.5 s) plus an etcd election, on a busy computer
	handsOver  = 2 * time.Second
	apiReturns = time.Minute
	goesDown   = 60 * time.Second
)

// clients use the API through the virtual IP.
type clients struct {
	reads, writes *Watch
	from          time.Duration
}

func (s *scene) clients(name string) *clients {
	s.Helper()
	c := &clients{s.api.WatchReads(s.ctx), s.api.WatchWrites(s.ctx, name), 0}
	s.Cleanup(c.stop)
	s.try(c.reads.WaitAnswer(s.ctx, takesOver, cluster.Now()))
	s.try(c.writes.WaitAnswer(s.ctx, takesOver, cluster.Now()))
	c.from = cluster.Now()
	return c
}

func (c *clients) stop() {
	c.reads.Stop()
	c.writes.Stop()
}

// back waits until both are answered again, and says how long they were not.
func (s *scene) back(c *clients, name string) {
	s.Helper()
	now := cluster.Now()
	s.try(c.reads.WaitAnswer(s.ctx, apiReturns, now))
	s.try(c.writes.WaitAnswer(s.ctx, apiReturns, now))
	end := cluster.Now()
	reads, lostReads := c.reads.Outage(c.from, end)
	writes, lostWrites := c.writes.Outage(c.from, end)
	j := s.Sampler.Judge(c.from, end)
	s.Logf("%s: reads cut off for %v (%d failed), writes for %v (%d failed), nobody had the virtual IP for %v", name, reads, lostReads, writes, lostWrites, j.LongestNone)
	note(name, figure{"reads", reads}, figure{"writes", writes}, figure{"nobody", j.LongestNone}, figure{"two", j.Double})
}

// moves waits until another node than this one has the virtual IP.
func (s *scene) moves(from *lab.Node, limit time.Duration) *lab.Node {
	s.Helper()
	var names []string
	for _, n := range s.Others(from) {
		names = append(names, n.Name)
	}
	name, err := s.Sampler.WaitHolder(s.ctx, limit, names...)
	s.try(err)
	return s.Node(name)
}

// etcdPKI is where kubeadm keeps etcd's certificates.
const etcdPKI = "/etc/kubernetes/pki/etcd/"

// told asks on the master that neither had nor has the virtual IP why it moved, as
// soon as it did.
func (s *scene) told(name string, was, now *lab.Node, reason string) {
	s.Helper()
	for _, n := range s.Nodes[:masters] {
		if n == was || n == now {
			continue
		}
		start := cluster.Now()
		out, err := n.Exec(s.ctx, "havipctl", "history", "-n", "1")
		took := cluster.Now() - start
		if err != nil || !strings.Contains(out, reason) {
			s.Errorf("%s does not say why the virtual IP moved, %q: %v\n%s", n.Name, reason, err, out)
			return
		}
		note(name, figure{"why on screen", took})
		return
	}
}

// named adds to a case's name whether the node leads etcd: if it does, the API
// waits for etcd's own election, wherever the virtual IP is.
func (s *scene) named(name string, n *lab.Node) string {
	s.Helper()
	out := s.on(n, "etcdctl", "--endpoints=https://127.0.0.1:2379", "--cacert="+etcdPKI+"ca.crt",
		"--cert="+etcdPKI+"healthcheck-client.crt", "--key="+etcdPKI+"healthcheck-client.key", "endpoint", "status", "-w", "json")
	var all []struct {
		Status struct {
			Header struct {
				Member uint64 `json:"member_id"`
			}
			Leader uint64
		}
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		s.Fatalf("read etcd's status: %v: %s", err, out)
	}
	if all[0].Status.Leader == all[0].Status.Header.Member {
		return name + ", which leads etcd"
	}
	return name + ", which does not lead etcd"
}

// TestCrash: the holder's power is cut while clients use the API.
func TestCrash(t *testing.T) {
	play(t, func(s *scene) {
		was := s.holder()
		name := s.named("power cut of the holder", was)
		c := s.clients(uniqueName("crash"))
		s.begin()
		s.try(was.PowerCut())
		s.told(name, was, s.moves(was, takesOver), was.Name+" stopped renewing")
		s.back(c, name)
		c.stop()
		s.judge()
		s.try(was.PowerOn(s.ctx))
		s.calm()
		s.judge()
	})
}

// TestReboot: the holder is rebooted in order while clients use the API.
func TestReboot(t *testing.T) {
	play(t, func(s *scene) {
		was := s.holder()
		name := s.named("`systemctl reboot` of the holder", was)
		c := s.clients(uniqueName("reboot"))
		s.begin()
		s.on(was, "systemctl", "reboot")
		s.told(name, was, s.moves(was, takesOver), was.Name+" shuts down")
		again, err := was.WaitOff(s.ctx, goesDown)
		s.try(err)
		if !again {
			s.Errorf("%s went off and does not want to reboot", was.Name)
		}
		s.try(was.PowerOn(s.ctx))
		s.back(c, name)
		c.stop()
		s.calm()
		if j := s.judge(); j.LongestNone > handsOver {
			s.Errorf("nobody had the virtual IP for %v, want a handover: %v", j.LongestNone, j.Spans)
		}
	})
}

// TestColdStart: all masters lose their power at once and get it back.
func TestColdStart(t *testing.T) {
	play(t, func(s *scene) {
		for _, n := range s.Nodes[:masters] {
			s.try(n.PowerCut())
		}
		s.begin()
		s.try(s.PowerOn(s.ctx, s.Nodes[:masters]...))
		booted := cluster.Now()
		_, err := s.Holder(s.ctx, time.Minute)
		s.try(err)
		held := cluster.Now()
		s.try(cluster.Poll(s.ctx, settles, "a write through the virtual IP", func() bool { return s.api.Write(s.ctx, uniqueName("cold")) == nil }))
		wrote := cluster.Now()
		s.calm()
		s.Logf("from power on: booted after %v, virtual IP held after %v, first write after %v", booted-s.began, held-s.began, wrote-s.began)
		note("cold start of all", figure{"held", held - s.began}, figure{"first write", wrote - s.began})
		s.judge()
	})
}

// renewed waits until so many kubelets have renewed their leases lately: that a
// node is Ready may have been written before.
func (s *scene) renewed(number int) {
	s.Helper()
	since := time.Now()
	s.try(cluster.Poll(s.ctx, settles, "renewed leases", func() bool {
		at, err := s.api.Renewed(s.ctx)
		n := 0
		for _, when := range at {
			if when.After(since) {
				n++
			}
		}
		return err == nil && n >= number
	}))
}
