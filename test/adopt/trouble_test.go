package adopt

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
)

// TestKilled: the command is killed in each step of each master's part, and goes on
// each time. On the holder the daemon is killed with it.
func TestKilled(t *testing.T) {
	s := withKeepalived(t, "")
	n1, n2, n3 := s.l.Nodes[0], s.l.Nodes[1], s.l.Nodes[2]
	first := []string{"prepare", "write-config", "start-havipd"}
	s.quick(s.step("killed on the way", func() {
		for _, n := range []*lab.Node{n2, n3} {
			s.killed(n, "--begin", append(first, "await-ready", "stop-keeper", "await-gone", "wait")...)
			s.goesOn(n, "havipctl", "adopt", "--begin")
		}
		s.killed(n1, "--begin", first...)
		for _, step := range []string{"await-ready", "take", "await-holder", "stop-keeper", "await-gone", "over"} {
			s.killed(n1, "--begin", step)
			s.killedDaemon(n1)
		}
		s.goesOn(n1, "havipctl", "adopt", "--begin")
	}))
	s.stable(n1)
	s.step("killed on the way back", func() {
		s.killed(n2, "--undo", "keep-back")
		s.goesOn(n2, "havipctl", "adopt", "--undo")
		s.goesOn(n3, "havipctl", "adopt", "--undo")
		s.try(cluster.Poll(s.ctx, patience, "n1 hears that both are kept back", func() bool {
			out, _, _, err := n1.Try(s.ctx, "havipctl", "status", "-o", "json")
			return err == nil && strings.Count(out, `"adopting": "back"`) == 2
		}))
		s.killed(n1, "--undo", "give", "start-keeper", "await-keeper", "stop-havipd", "forget", "restore-files")
		s.goesOn(n1, "havipctl", "adopt", "--undo")
		for _, n := range []*lab.Node{n2, n3} {
			s.killed(n, "--undo", "stop-havipd", "start-keeper", "forget", "restore-files")
			s.goesOn(n, "havipctl", "adopt", "--undo")
		}
	})
	for _, n := range s.l.Nodes {
		s.on(n, "sh", "-c", "systemctl is-active keepalived && systemctl is-enabled keepalived && ! systemctl is-active havipd && test ! -e /etc/havip/havip.toml")
	}
	s.holder("n1")
}

// killed runs the command once for each of these steps, and kills it when it says
// that the step begins, on a machine of any speed. Of quick steps it may do one
// more before it dies; the next run then says that it was done before.
func (s *scene) killed(n *lab.Node, way string, steps ...string) {
	s.Helper()
	const script = `test -p /run/says || mkfifo /run/says
havipctl adopt "$1" >/run/says 2>&1 &
sed -E -u "/^([0-9]+\/[0-9]+ )?$2: |^nothing to do/q7" /run/says; found=$?
kill -KILL $! 2>/dev/null; wait; test $found = 7`
	for _, step := range steps {
		s.goesOn(n, "sh", "-c", script, "sh", way, step)
	}
}

// goesOn runs a command that has to succeed, if need be once more: one that asks a
// daemon which is just ending is told so, and ends.
func (s *scene) goesOn(n *lab.Node, args ...string) {
	s.Helper()
	var last string
	err := cluster.Poll(s.ctx, patience, strings.Join(args, " "), func() bool {
		out, errOut, code, err := n.Try(s.ctx, args...)
		last = out + errOut
		return err == nil && code == 0
	})
	if err != nil {
		s.Fatalf("%v: it says last:\n%s", err, last)
	}
}

// killedDaemon kills the daemon, and waits until the next one is where it was: were
// that killed before it has renewed the record it adopted, the one after it would
// have to wait the record out.
func (s *scene) killedDaemon(n *lab.Node) {
	s.Helper()
	show := []string{"systemctl", "show", "--property=MainPID", "havipd"}
	was, term := s.on(n, show...), s.term(n)
	s.on(n, "systemctl", "kill", "--signal=KILL", "havipd")
	s.try(cluster.Poll(s.ctx, patience, "havipd runs again", func() bool {
		_, _, code, err := n.Try(s.ctx, "systemctl", "is-active", "havipd")
		return err == nil && code == 0 && s.on(n, show...) != was && (term == "" || s.term(n) != term)
	}))
}

// term names the process that last renewed the record on this node, "" without one.
func (s *scene) term(n *lab.Node) string {
	s.Helper()
	text, err := os.ReadFile(n.Path("/run/havip/state.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), `"id":"`)
	process, _, _ := strings.Cut(after, "-")
	return process
}

// TestHolderDies: the master whose part comes last loses power when all others
// wait. They wait on, until an operator lets one of them take the address.
func TestHolderDies(t *testing.T) {
	s := withKeepalived(t, "/24")
	n1, n2, n3 := s.l.Nodes[0], s.l.Nodes[1], s.l.Nodes[2]
	s.on(n2, "havipctl", "adopt", "--begin")
	s.on(n3, "havipctl", "adopt", "--begin")
	s.step("the holder dies", func() {
		s.try(n1.PowerCut())
		s.try(cluster.Pause(s.ctx, 10*time.Second))
		if h := s.l.Sampler.Holders(); len(h) != 0 {
			s.Errorf("%v took the address", h)
		}
		s.on(n2, "havipctl", "undrain")
		s.holder("n2")
	})
	err := cluster.Poll(s.ctx, patience, "n3 takes part", func() bool {
		out, _, _, err := n3.Try(s.ctx, "havipctl", "status", "-o", "json")
		return err == nil && !strings.Contains(out, `"adopting"`) && strings.Contains(out, `"role": "candidate"`)
	})
	s.try(err)
}
