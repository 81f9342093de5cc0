package packages

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"havip/daemon/status"
	"havip/test/cluster"
	"havip/test/lab"
)

// settles is how long after a restart the next daemon could still lose what
// it took over: the record's hold (3 s) and a little more.
const settles = 4 * time.Second

func TestQuiet(t *testing.T) {
	play(t, "nothing", "stays", func(s *scene) {
		const span = 10 * time.Second
		s.stays(span)
		median, worst := cluster.Noise(s.l.Witness.Attempts(), s.began, cluster.Now())
		facts.Noise = fmt.Sprintf("%v between two answers (median), %v at worst in %v",
			median.Round(100*time.Microsecond), worst.Round(time.Millisecond), span)
	})
}

func TestRestart(t *testing.T) {
	play(t, "`systemctl restart havipd`", "stays", func(s *scene) {
		s.on(s.holder, "systemctl", "restart", "havipd")
		s.stays(settles)
		s.ready(s.holder, byHand)
	})
}

func TestKill(t *testing.T) {
	play(t, "`kill -9` of the daemon", "stays", func(s *scene) {
		s.on(s.holder, "systemctl", "kill", "--signal=KILL", "havipd")
		s.stays(settles)
		s.ready(s.holder, byHand)
		if u := s.unit(s.holder, "havipd.service"); u["ActiveState"] != "active" {
			s.Errorf("havipd is %s after it was killed, want active", u["ActiveState"])
		}
	})
}

func TestUpgrade(t *testing.T) {
	play(t, "upgrade by apt", "stays", func(s *scene) {
		s.has(s.holder, older)
		s.begin()
		s.on(s.holder, "apt-get", "-qq", "-y", "upgrade")
		s.stays(settles)
		s.runs(s.holder, newer)
	})
}

func TestDowngrade(t *testing.T) {
	play(t, "downgrade by apt", "stays", func(s *scene) {
		s.has(s.holder, newer)
		s.begin()
		s.try(s.install(s.holder, older))
		s.stays(settles)
		s.runs(s.holder, older)
	})
}

func TestRollingUpgrade(t *testing.T) {
	play(t, "upgrade of all three, one after another", "stays", func(s *scene) {
		for _, n := range s.l.Nodes {
			s.has(n, older)
		}
		s.begin()
		for _, n := range append(s.l.Others(s.holder), s.holder) {
			s.on(n, "apt-get", "-qq", "-y", "upgrade")
			s.runs(n, newer)
			s.calm()
		}
		s.stays(settles)
		for _, n := range s.l.Nodes {
			out := s.on(n, "find", "/etc/havip", "-type", "f")
			if out != "/etc/havip/havip.toml\n" {
				s.Errorf("files in /etc/havip of %s after the upgrade: %q, want the config file alone", n.Name, out)
			}
		}
	})
}

// has makes sure that a version is on the node before the case begins.
func (s *scene) has(n *lab.Node, version string) {
	s.Helper()
	s.try(s.install(n, version))
	s.runs(n, version)
	s.calm()
}

// runs waits until the daemon of that version runs on the node.
func (s *scene) runs(n *lab.Node, version string) {
	s.Helper()
	got := ""
	err := cluster.Poll(s.ctx, takesOver, version+" on "+n.Name, func() bool {
		out, _, _, err := n.Try(s.ctx, "havipctl", "status", "-o", "json")
		var doc status.Document
		if err == nil && json.Unmarshal([]byte(out), &doc) == nil {
			got = doc.Version
		}
		return strings.TrimPrefix(got, "v") == version
	})
	if err != nil {
		s.Fatalf("%v: it runs %q", err, got)
	}
}

func TestStop(t *testing.T) {
	play(t, "`systemctl stop havipd`", "handed over", func(s *scene) {
		was := s.holder
		s.on(was, "systemctl", "stop", "havipd")
		s.moves()
		s.handedOver()
		s.on(was, "systemctl", "start", "havipd")
		s.calm()
		s.handedOver()
	})
}

func TestRestartWithBrokenConfig(t *testing.T) {
	play(t, "restart with a config file that is broken", "handed over", func(s *scene) {
		was := s.holder
		good := s.on(was, "cat", "/etc/havip/havip.toml")
		s.try(was.WriteFile("/etc/havip/havip.toml", "[vip\n", 0o644))
		s.begin()
		_, _, _, err := was.Try(s.ctx, "systemctl", "restart", "havipd")
		s.try(err)
		s.moves()
		s.handedOver()
		s.try(was.WriteFile("/etc/havip/havip.toml", good, 0o644))
		s.on(was, "systemctl", "restart", "havipd")
		s.calm()
		s.handedOver()
	})
}

// network is what networkd is told about a node's link.
const network = "[Match]\nName=eth0\n\n[Network]\nAddress=%s/24\nLinkLocalAddressing=no\n"

func TestNetworkd(t *testing.T) {
	play(t, "`systemctl restart systemd-networkd`", "back on the same node at once", func(s *scene) {
		was := s.holder
		s.try(was.WriteFile("/etc/systemd/network/10-eth0.network", fmt.Sprintf(network, was.Address), 0o644))
		s.on(was, "systemctl", "start", "systemd-networkd")
		s.managed(was)
		s.calm()
		s.begin()
		s.on(was, "systemctl", "restart", "systemd-networkd")
		s.managed(was)
		s.try(cluster.Pause(s.ctx, settles))
		j := s.l.Sampler.Judge(s.began, cluster.Now())
		if len(j.Moves) != 0 || j.LongestNone > time.Second {
			s.Errorf("holders: %v, want %s but for a moment", j.Spans, was.Name)
		}
		s.tidy = func() {
			s.on(was, "systemctl", "stop", "systemd-networkd.socket", "systemd-networkd")
			s.on(was, "rm", "/etc/systemd/network/10-eth0.network")
		}
	})
}

// managed waits until networkd has set up the node's link.
func (s *scene) managed(n *lab.Node) {
	s.Helper()
	out := ""
	err := cluster.Poll(s.ctx, takesOver, "networkd on "+n.Name, func() bool {
		out, _, _, _ = n.Try(s.ctx, "networkctl", "--no-pager", "status", "eth0")
		return strings.Contains(out, "10-eth0.network") && strings.Contains(out, "(configured)")
	})
	if err != nil {
		s.Fatalf("%v: %s", err, out)
	}
}
