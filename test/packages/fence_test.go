package packages

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"havip/daemon/status"
	"havip/test/cluster"
	"havip/test/lab"
)

// fenceDir is where the daemon keeps its fence.
const fenceDir = "/sys/fs/bpf/havip"

// TestFenceInTheUnit: what the unit leaves the daemon is enough to fence the link,
// and to find the fence again after it was killed.
func TestFenceInTheUnit(t *testing.T) {
	play(t, "fence: the daemon is killed, then stopped", "the next process has the same programs; a stop takes them away", func(s *scene) {
		defer s.detection("off")
		s.detection("standard")
		s.calm()
		for _, n := range s.l.Nodes {
			s.isFenced(n)
		}
		was := s.holder
		before := s.fence(was)
		s.begin()
		s.on(was, "systemctl", "kill", "--signal=KILL", "havipd.service")
		s.stays(3 * time.Second)
		s.isFenced(was)
		if after := s.fence(was); after != before {
			s.Errorf("the fence before the daemon was killed:\n%sand after it:\n%s", before, after)
		}
		s.on(was, "systemctl", "stop", "havipd.service")
		s.moves()
		if left := s.fence(was); left != "" {
			s.Errorf("a daemon that was stopped left a fence:\n%s", left)
		}
		s.on(was, "systemctl", "start", "havipd.service")
		s.calm()
	})
}

// TestRestartInEpoch: the next process could not wait for answers to beats, so this one
// writes a plain record before it goes.
func TestRestartInEpoch(t *testing.T) {
	play(t, "`systemctl restart havipd` with heartbeats in force", "stays", func(s *scene) {
		defer s.detection("off")
		s.detection("standard")
		s.calm()
		epoch := s.inEpoch("")
		s.begin()
		s.on(s.holder, "systemctl", "restart", "havipd.service")
		s.inEpoch(epoch)
		s.stays(0)
	})
}

// inEpoch waits until the holder has begun an epoch that is not this one.
func (s *scene) inEpoch(last string) string {
	s.Helper()
	var d status.Document
	err := cluster.Poll(s.ctx, calmsDown, "an epoch", func() bool {
		d = status.Document{}
		// Right after a restart there is nobody to ask.
		out, _, _, err := s.holder.Try(s.ctx, "havipctl", "status", "-o", "json")
		s.try(err)
		_ = json.Unmarshal([]byte(out), &d)
		return d.Heartbeats != nil && d.Heartbeats.Epoch != "" && d.Heartbeats.Epoch != last
	})
	if err != nil {
		s.Fatalf("%s: %v: %+v", s.holder.Name, err, d.Heartbeats)
	}
	return d.Heartbeats.Epoch
}

// TestRemoveAfterKill: a fence that nobody is there to remove goes with the package.
func TestRemoveAfterKill(t *testing.T) {
	play(t, "fence: the daemon is killed, then removed by apt", "no fence is left", func(s *scene) {
		defer s.detection("off")
		s.detection("standard")
		s.calm()
		n := s.l.Others(s.holder)[0]
		const dropIn = "/run/systemd/system/havipd.service.d"
		s.try(n.WriteFile(dropIn+"/stays-dead.conf", "[Service]\nRestart=no\n", 0o644))
		s.on(n, "systemctl", "daemon-reload")
		s.on(n, "systemctl", "kill", "--signal=KILL", "havipd.service")
		if s.fence(n) == "" {
			s.Error("a daemon that was killed leaves no fence: this shows nothing")
		}
		s.on(n, "apt-get", "-qq", "-y", "remove", "havip")
		if left := s.on(n, "find", "/sys/fs/bpf", "-mindepth", "1"); strings.Contains(left, "havip") {
			s.Errorf("left on the node:\n%s", left)
		}
		s.on(n, "rm", "-r", dropIn)
		s.on(n, "systemctl", "daemon-reload")
		s.try(s.install(n, older))
		s.on(n, "systemctl", "start", "havipd")
		s.calm()
	})
}

// detection changes on every node how a dead holder is found.
func (s *scene) detection(how string) {
	s.Helper()
	for _, n := range s.l.Nodes {
		s.on(n, "sed", "-i", "/^.election]/,$d", "/etc/havip/havip.toml")
		s.on(n, "sh", "-c", "printf '[election]\\ndetection = \""+how+"\"\\n' >>/etc/havip/havip.toml && havipctl config check")
		s.on(n, "systemctl", "restart", "havipd.service")
	}
}

// isFenced checks that the daemon that runs says so; it has read back what the
// kernel has on the link.
func (s *scene) isFenced(n *lab.Node) {
	s.Helper()
	pid := s.unit(n, "havipd.service")["MainPID"]
	if out := s.on(n, "journalctl", "--no-pager", "_PID="+pid); !strings.Contains(out, "msg=fence attached=true") {
		s.Errorf("the daemon of %s does not say that its fence is on the link:\n%s", n.Name, out)
	}
}

// fence lists what is kept of a node's fence, each with its number.
func (s *scene) fence(n *lab.Node) string {
	s.Helper()
	return s.on(n, "sh", "-c", "test ! -e "+fenceDir+" || find "+fenceDir+" -type f -printf '%i %p\\n' | sort")
}
