package etcdtest

import (
	"strings"
	"testing"
)

func TestCluster(t *testing.T) {
	c := StartWith(t, 3, Options{TLS: true})
	leader := c.Leader()
	leader.Ctl("put", "k", "v")
	if got := c.Follower().Ctl("get", "k", "--print-value-only"); got != "v" {
		t.Errorf("value through a follower = %q, want v", got)
	}
	leader.Kill()
	if _, err := leader.Status(); err == nil {
		t.Error("a killed member answers")
	}
	leader.Start()
	c.WaitServing()
	m := c.AddLearner()
	poll(t, startLimit, "wait for the learner", func() error {
		_, err := m.Status()
		return err
	})
	if got := c.Leader().Ctl("member", "list"); !strings.Contains(got, m.ClientURL+", true") {
		t.Errorf("member list has no learner at %s:\n%s", m.ClientURL, got)
	}
}

func TestPauseResume(t *testing.T) {
	c := Start(t, 1)
	m := c.Members[0]
	m.Pause()
	if _, err := m.Status(); err == nil {
		t.Error("a paused member answers")
	}
	m.Resume()
	m.WaitServing()
	m.Stop()
	m.Start()
	m.WaitServing()
}

// TestPorts: no two members have one port, though nobody listens on any yet.
func TestPorts(t *testing.T) {
	const n = 1000
	c := &Cluster{t: t, ports: map[string]bool{}}
	ports := map[string]bool{}
	for range n {
		ports[c.port(2379)] = true
	}
	if len(ports) != n {
		t.Errorf("%d ports were given %d times", len(ports), n)
	}
}
