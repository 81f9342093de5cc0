package faults

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
)

// These play docs/runbooks.md: what is seen first is what a runbook begins with,
// and the commands are its own.

// TestRunbookImplausible: "Nobody holds it", the third text.
func TestRunbookImplausible(t *testing.T) {
	fault(t, "a record that nobody obeys, released", "let go, and held again afterwards", func(s *scene) {
		was := s.holder
		s.etcdctl(was, "put", recordKey, `{"schema":1,"mode":"plain","id":"x","node":"n9","since_ms":1,"renewal":1,"hold_ms":3000,"takeover_ms":3600000}`)
		s.noneHolds()
		for _, n := range s.c.Nodes {
			s.shows(n, "implausible")
		}
		s.ctl(s.c.Others(was)[0], "release", "--yes")
		out, errOut, code, err := was.Ctl(s.ctx, "status", "--wait", "30s")
		if err != nil || code > 1 { // 1: held, and not all is as it should be yet
			s.Errorf("status --wait: %v, exit code %d\n%s%s", err, code, out, errOut)
		}
	})
}

const recordKey = "/havip/v1/198.51.100.166/record"

// TestRunbookDrained: "Nobody holds it", the second text. The last one that is
// drained keeps the address while it runs: nobody is there to have it.
func TestRunbookDrained(t *testing.T) {
	fault(t, "every master drained, then the last one stopped", "moves, stays on the last, and is held again afterwards", func(s *scene) {
		var left []string
		for _, n := range s.c.Nodes {
			left = append(left, n.Name)
		}
		for len(left) > 0 { // a drain may still be under way when it is answered
			h, err := s.c.Sampler.WaitHolder(s.ctx, takesOver, left...)
			s.try(err)
			s.ctl(s.c.Node(h), "drain")
			left = slices.DeleteFunc(left, func(n string) bool { return n == h })
			s.holder = s.c.Node(h)
		}
		s.passes(time.Second)
		if h := s.c.Sampler.Holders(); len(h) != 1 || h[0] != s.holder.Name {
			s.Errorf("holders: %v, want %s: nobody else may", h, s.holder.Name)
		}
		s.try(s.holder.StopHavipd(10 * time.Second))
		s.noneHolds()
		s.try(s.holder.StartHavipd())
		for _, n := range s.c.Nodes {
			s.shows(n, "all-drained")
		}
		for _, n := range s.c.Nodes {
			s.ctl(n, "undrain")
		}
	})
}

// TestRunbookConflict: "Two holders": an address put on a master by hand is
// removed while havipd runs there, and heard of by the holder while it does not.
func TestRunbookConflict(t *testing.T) {
	s := open(t)
	defer func() {
		if t.Failed() {
			s.tell()
			s.try(discard())
		}
	}()
	s.calm()
	stray := s.c.Others(s.holder)[0]
	one := func(h []string) bool { return len(h) == 1 && h[0] == s.holder.Name }
	two := func(h []string) bool { return len(h) == 2 }
	since := cluster.Now()
	s.try(stray.AddVIP(cluster.VIP4))
	s.try(cluster.Poll(s.ctx, takesOver, "the address by hand", func() bool { return s.c.Sampler.Judge(since, cluster.Now()).Double > 0 }))
	s.try(s.c.Sampler.Wait(s.ctx, takesOver, "havipd to remove the address", one))

	s.try(stray.StopHavipd(10 * time.Second))
	s.try(stray.AddVIP(cluster.VIP4))
	s.try(s.c.Sampler.Wait(s.ctx, takesOver, "the address by hand", two))
	s.try(stray.SpeakAs(cluster.VIP4, nobodys))
	s.shows(s.holder, "conflict")
	// havipd writes its log beside what it does.
	s.try(cluster.Poll(s.ctx, takesOver, "the log of "+s.holder.Name+" to name "+stray.MAC.String(), func() bool {
		return strings.Contains(s.holder.Log("havipd"), "mac="+stray.MAC.String())
	}))
	s.try(stray.StartHavipd())
	s.try(s.c.Sampler.Wait(s.ctx, takesOver, "havipd to clear what was left over", one))
	s.shows(s.holder, "conflict") // for ten minutes, or until a restart
	s.try(s.holder.KillHavipd())
	s.try(s.holder.StartHavipd())
	s.calm()
}

var nobodys = netip.MustParseAddr("198.51.100.99")

// TestRunbookForce: "Quorum lost", and the VIP without one.
func TestRunbookForce(t *testing.T) {
	fault(t, "etcd without quorum, the VIP claimed by force, quorum again", "let go, claimed, and held by election afterwards", func(s *scene) {
		left := s.holder
		others := s.c.Others(left)
		for _, n := range others {
			s.try(n.StopHavipd(10 * time.Second))
			s.try(n.KillEtcd())
		}
		s.noneHolds()
		s.shows(left, "partitioned")
		s.ctl(left, "claim", "--force", "--yes", "--reason", "n1 and n2 are gone for good")
		s.shows(left, "forced")
		_, err := s.c.Holder(s.ctx, takesOver)
		s.try(err)
		for _, n := range others {
			s.try(n.StartEtcd())
			s.try(n.StartHavipd())
		}
	})
}

// TestRunbookAlone: "When the others are gone for good".
func TestRunbookAlone(t *testing.T) {
	s := newScene(t, ownCluster(t))
	s.calm()
	s.began = cluster.Now()
	left := s.holder
	for _, n := range s.c.Others(left) {
		s.try(n.PowerOff())
	}
	s.noneHolds()
	s.shows(left, "partitioned")
	for _, alone := range []bool{true, false} {
		s.try(left.KillEtcd())
		left.EtcdAlone(alone)
		s.try(left.StartEtcd())
		s.try(cluster.Poll(s.ctx, calmsDown, "etcd alone", func() bool { return left.EtcdHealthy(s.ctx) }))
		if out := s.etcdctl(left, "member", "list"); strings.Count(out, "\n") != 1 {
			t.Fatalf("members:\n%s", out)
		}
	}
	_, err := s.c.Holder(s.ctx, takesOver)
	s.try(err)
	s.wants(left, "198.51.100.166   HELD by "+left.Name)
	s.judge()
}

// ownCluster is for what ends one.
func ownCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	c := newCluster(t, cluster.Options{})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	return c
}

// TestRunbookRestore: "Restore an etcd snapshot", and a copy of the data of every
// member, which is as good. The record that comes back names another holder than
// the last.
func TestRunbookRestore(t *testing.T) {
	t.Run("a copy", func(t *testing.T) {
		fault(t, "etcd set back to an older copy on all masters", "let go, and held again afterwards", func(s *scene) {
			s.stopEtcd()
			for _, n := range s.c.Nodes {
				s.try(os.CopyFS(n.EtcdData()+"-restored", os.DirFS(n.EtcdData())))
			}
			s.startEtcd()
			s.calm()
			s.setBack(func(*cluster.Node) {})
		})
	})
	t.Run("a snapshot", func(t *testing.T) {
		fault(t, "an etcd snapshot restored on all masters", "let go, and held again afterwards", func(s *scene) {
			snapshot := filepath.Join(t.TempDir(), "snapshot.db")
			s.etcdctl(s.holder, "snapshot", "save", snapshot)
			s.setBack(func(n *cluster.Node) { s.etcdutl(n, snapshot) })
		})
	})
}

// etcdutl makes the data of one member out of a snapshot.
func (s *scene) etcdutl(n *cluster.Node, snapshot string) {
	s.Helper()
	path, err := cluster.Tool("etcdutl")
	s.try(err)
	out, err := exec.CommandContext(s.ctx, path, "snapshot", "restore", snapshot, "--data-dir", n.EtcdData()+"-restored",
		"--bump-revision", "1000000000", "--mark-compacted",
		"--name", n.Name, "--initial-advertise-peer-urls", fmt.Sprintf("https://%s:2380", n.Address),
		"--initial-cluster", n.InitialCluster()).CombinedOutput()
	if err != nil {
		s.Fatalf("etcdutl snapshot restore for %s: %v: %s", n.Name, err, out)
	}
}

// setBack moves the VIP, stops etcd everywhere, and starts it with the data that
// restore left beside the old.
func (s *scene) setBack(restore func(*cluster.Node)) {
	s.Helper()
	was := s.holder
	s.try(cluster.Poll(s.ctx, takesOver, "a handover", func() bool { // the election may be on the move after etcd's restart
		_, _, code, err := was.Ctl(s.ctx, "handover")
		h := s.c.Sampler.Holders()
		return err == nil && code == 0 || len(h) == 1 && h[0] != was.Name
	}))
	s.calm()
	s.stopEtcd()
	down := cluster.Now()
	for _, n := range s.c.Nodes {
		s.shows(n, "last-known", "etcd-down")
	}
	s.noneHolds()
	for _, n := range s.c.Nodes {
		restore(n)
		s.try(os.RemoveAll(filepath.Join(n.EtcdData(), "member")))
		s.try(os.Rename(filepath.Join(n.EtcdData()+"-restored", "member"), filepath.Join(n.EtcdData(), "member")))
		s.try(os.RemoveAll(n.EtcdData() + "-restored"))
	}
	s.passes(down + takeover - cluster.Now())
	s.startEtcd()
}

// takeover, with some to spare: the runbook's rule.
const takeover = 5 * time.Second

func (s *scene) stopEtcd() {
	s.Helper()
	for _, n := range s.c.Nodes {
		s.try(n.KillEtcd())
	}
}

func (s *scene) startEtcd() {
	s.Helper()
	for _, n := range s.c.Nodes {
		s.try(n.StartEtcd())
	}
}

// TestRunbookChangeVIP: "Change the VIP": two elections beside each other, no
// moment without the old address until its last master has the new file, and no
// address left over then.
func TestRunbookChangeVIP(t *testing.T) {
	c := ownCluster(t)
	s := newScene(t, c)
	s.calm()
	s.began = cluster.Now()
	standbys := c.Others(s.holder)
	for _, n := range standbys {
		s.change(n)
		s.wants(n, "198.51.100.167   HELD by "+standbys[0].Name)
		s.wants(s.holder, "198.51.100.166   HELD by "+s.holder.Name)
	}
	j := c.Sampler.Judge(s.began, cluster.Now())
	if j.LongestNone != 0 || len(j.Moves) != 0 {
		t.Errorf("the old address was away for %v: %v", j.LongestNone, j.Spans)
	}
	s.change(s.holder)
	s.noneHolds()
	s.wants(s.holder, "198.51.100.167   HELD by "+standbys[0].Name)
	if j := c.Sampler.Judge(s.began, cluster.Now()); j.Double != 0 {
		t.Errorf("two nodes had the old address for %v", j.Double)
	}
}

// change is step 2 on one master: the file, and a restart of the daemon.
func (s *scene) change(n *cluster.Node) {
	s.Helper()
	n.SetVIP(netip.MustParseAddr("198.51.100.167"))
	s.try(n.KillHavipd()) // as a restart: nothing is handed over
	s.try(n.StartHavipd())
}

// wants waits until a node's status begins so.
func (s *scene) wants(n *cluster.Node, begins string) {
	s.Helper()
	out := ""
	err := cluster.Poll(s.ctx, takesOver, begins, func() bool {
		out, _, _, _ = n.Ctl(s.ctx, "status")
		return strings.HasPrefix(out, begins)
	})
	if err != nil {
		s.Fatalf("%s: %v:\n%s", n.Name, err, out)
	}
}

// TestRunbookEtcdctl: "etcd is full" and the end of "Uninstall", as far as
// etcdctl goes.
func TestRunbookEtcdctl(t *testing.T) {
	s := open(t)
	s.calm()
	if out := s.etcdctl(s.holder, "member", "list"); strings.Count(out, "started") != 3 {
		t.Errorf("member list:\n%s", out)
	}
	out := s.etcdctl(s.holder, "endpoint", "status", "--cluster", "-w", "json")
	m := regexp.MustCompile(`"revision":(\d+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("endpoint status:\n%s", out)
	}
	s.etcdctl(s.holder, "compact", m[1])
	s.etcdctl(s.holder, "defrag", "--cluster")
	s.etcdctl(s.holder, "alarm", "disarm")
	s.calm()
	for _, n := range s.c.Nodes {
		s.try(n.StopHavipd(10 * time.Second))
	}
	if out := s.etcdctl(s.holder, "del", "--prefix", "/havip/"); strings.TrimSpace(out) == "0" {
		t.Error("there was nothing to delete")
	}
	if left := s.etcdctl(s.holder, "get", "--prefix", "/", "--keys-only"); strings.TrimSpace(left) != "" {
		t.Errorf("left of havip in etcd:\n%s", left)
	}
	for _, n := range s.c.Nodes {
		s.try(n.StartHavipd())
	}
	s.calm()
}

// TestMembersThatAreAsked: of a master whose havipd is not heard the status says how
// its etcd member is, and of members that do not reach each other that they run.
func TestMembersThatAreAsked(t *testing.T) {
	s := open(t)
	s.calm()
	stopped := s.c.Others(s.holder)[0]
	s.try(stopped.StopHavipd(10 * time.Second))
	s.says(s.holder, "DEGRADED: havipd on "+stopped.Name+" is not heard, though its etcd member runs", "3 of 3 members: any one of them may fail")
	s.try(stopped.StartHavipd())
	s.calm()
	for _, n := range s.c.Nodes {
		// What comes in is local by the rule of preference 0, so that makes room.
		s.inside(n, "ip", "rule", "add", "pref", "1", "iif", "eth0", "ipproto", "tcp", "dport", "2380", "blackhole")
		s.inside(n, "ip", "rule", "add", "pref", "2", "lookup", "local")
		s.inside(n, "ip", "rule", "del", "pref", "0", "lookup", "local")
	}
	for _, n := range s.c.Nodes {
		s.says(n, "NOBODY", "3 of 3 members answer without a leader", "no member is down")
	}
}

// says waits until all of these are in a node's status.
func (s *scene) says(n *cluster.Node, want ...string) {
	s.Helper()
	out := ""
	if err := cluster.Poll(s.ctx, calmsDown, fmt.Sprintf("status with %q", want), func() bool {
		out, _, _, _ = n.Ctl(s.ctx, "status")
		line := strings.Join(strings.Fields(out), " ")
		return !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(line, w) })
	}); err != nil {
		s.Fatalf("%s: %v:\n%s", n.Name, err, out)
	}
}

// etcdctl runs the real one on a node, told by the environment where etcd is.
func (s *scene) etcdctl(n *cluster.Node, args ...string) string {
	s.Helper()
	path, err := cluster.Tool("etcdctl")
	s.try(err)
	cmd := exec.CommandContext(s.ctx, path, args...)
	cmd.Env = append(os.Environ(), "ETCDCTL_ENDPOINTS=https://127.0.0.1:2379",
		"ETCDCTL_CACERT="+filepath.Join(n.PKI, "etcd/ca.crt"),
		"ETCDCTL_CERT="+filepath.Join(n.PKI, "apiserver-etcd-client.crt"), "ETCDCTL_KEY="+filepath.Join(n.PKI, "apiserver-etcd-client.key"))
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	s.try(n.Start(cmd))
	if err := cmd.Wait(); err != nil {
		s.Fatalf("etcdctl %v: %v: %s", args, err, errOut.String())
	}
	return out.String()
}

// noneHolds waits until no node has the address.
func (s *scene) noneHolds() {
	s.Helper()
	s.try(s.c.Sampler.Wait(s.ctx, takesOver, "the address to be let go", func(h []string) bool { return len(h) == 0 }))
}

// shows waits until a node's status begins as a runbook does, names, times and
// numbers aside. With several names any of these texts will do.
func (s *scene) shows(n *cluster.Node, names ...string) {
	s.Helper()
	var want []string
	for _, name := range names {
		want = append(want, beginning(runbook(s.T, name)))
	}
	out := ""
	err := cluster.Poll(s.ctx, takesOver, fmt.Sprintf("the status %v", names), func() bool {
		out, _, _, _ = n.Ctl(s.ctx, "status")
		for _, w := range want {
			if beginning(out) == w {
				return true
			}
		}
		return false
	})
	if err != nil {
		s.Fatalf("%s: %v:\n%s\nwant it to begin as:\n%s\ngot:\n%s", n.Name, err, out, strings.Join(want, "\nor\n"), beginning(out))
	}
}

// runbook returns a status text of docs/runbooks.md.
func runbook(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "<!-- status: "+name+" -->\n")
	text, _, ok2 := strings.Cut(rest, "<!-- end of status -->")
	if !ok || !ok2 {
		t.Fatalf("no status %s in docs/runbooks.md", name)
	}
	return strings.ReplaceAll(text, "\n    ", "\n")
}

// varying is what differs from one cluster and one night to another.
var varying = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\s+`), " "},
	{regexp.MustCompile(`\bn\d( or n\d)*( and n\d)*\b`), "N"},
	{regexp.MustCompile(`\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b`), "MAC"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`\b[\d.]+ (s|ms|min|h|days)\b`), "AGE"},
}

// beginning is the first paragraph of a status without what varies and without
// who says so.
func beginning(text string) string {
	text, _, _ = strings.Cut(strings.TrimLeft(text, "\n"), "\n\n")
	for _, v := range varying {
		text = v.what.ReplaceAllString(text, v.as)
	}
	text, _, _ = strings.Cut(text, " as seen by")
	text, _, _ = strings.Cut(text, " seen by")
	return strings.TrimSpace(text)
}
