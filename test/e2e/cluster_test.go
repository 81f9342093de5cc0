package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"havip/test/cluster"
)

// TestCluster: package, configuration, init, and two joins, one after another.
// From the claim on the virtual IP is on the first node all the time.
func TestCluster(t *testing.T) {
	each(t, func(t *testing.T) {
		discardWhole(t) // each is a new one; the last stays for other tests
		testCluster(t, clusterOfThree(t))
	})
}

func testCluster(t *testing.T, s *scene) {
	if got, want := s.api.Server(), "https://"+cluster.VIP4.String()+":6443"; got != want {
		t.Errorf("admin.conf has %s, want %s", got, want)
	}
	out := s.on(s.Nodes[1], "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "--server", "https://"+cluster.VIP4.String()+":6443", "get", "nodes")
	t.Logf("kubectl get nodes:\n%s", out)
	t.Run("check finds no error", func(t *testing.T) {
		for _, n := range s.Nodes[:masters] {
			out, errOut, code, err := n.Try(s.ctx, "havipctl", "check")
			if err != nil || code != 0 {
				t.Errorf("havipctl check on %s ends with %d, %v, want 0:\n%s%s", n.Name, code, err, out, errOut)
			}
			t.Logf("%s:\n%s", n.Name, out)
		}
	})
	t.Run("history tells of the claim", func(t *testing.T) {
		for _, n := range s.Nodes[:masters] {
			var h struct {
				Entries []struct{ Kind, From, To string }
			}
			if err := json.Unmarshal([]byte(s.on(n, "havipctl", "history", "-o", "json")), &h); err != nil {
				t.Fatal(err)
			}
			if len(h.Entries) < 2 || h.Entries[0].Kind != "claim" || h.Entries[0].To != s.Nodes[0].Name || h.Entries[1].From != s.Nodes[0].Name || h.Entries[1].To != s.Nodes[0].Name {
				t.Errorf("history on %s begins with %+v, want a claim by %s that the election took over", n.Name, h.Entries, s.Nodes[0].Name)
			}
		}
	})
	t.Run("debug bundle has no secrets", func(t *testing.T) {
		n := s.Nodes[0]
		s.on(n, "havipctl", "debug", "bundle", "--output", "/var/tmp/bundle.tar.gz")
		text := s.on(n, "tar", "-xzOf", "/var/tmp/bundle.tar.gz")
		if !strings.Contains(text, "kube-apiserver") || !strings.Contains(text, "havipd") {
			t.Errorf("the bundle of %d bytes tells nothing of the control plane", len(text))
		}
		secrets := s.on(n, "sh", "-c", "cat $(find /etc/kubernetes/pki -name '*.key'); grep -h client-key-data /etc/kubernetes/*.conf")
		for _, line := range strings.Split(secrets, "\n") {
			_, data, named := strings.Cut(line, "client-key-data: ")
			if !named {
				data = line
			}
			if len(data) > 20 && !strings.HasPrefix(data, "-----") && strings.Contains(text, data) {
				t.Errorf("the bundle has a line of a private key: %.12s…", data)
			}
		}
	})
	t.Run("nothing to do", func(t *testing.T) {
		for i, command := range []string{"init", "join", "join"} {
			o, err := Havipctl(s.ctx, s.Nodes[i], "", command)
			if err != nil || o.Changed {
				t.Errorf("havipctl %s again: %+v, %v; want no change", command, o, err)
			}
		}
	})
}

// makeCluster is init on the first node and joins on the others.
func (s *scene) makeCluster() {
	s.Helper()
	n1 := s.Nodes[0]
	start := cluster.Now()
	first, err := s.Init(s.ctx, n1)
	s.try(err)
	initTook := cluster.Now() - start
	s.began = s.Sampler.Events()[0].At
	s.connect()
	for _, n := range s.Nodes[1:masters] {
		begun := cluster.Now()
		s.try(s.Join(s.ctx, n, first.Join.Ticket))
		s.Logf("join of %s took %v", n.Name, cluster.Now()-begun)
	}
	joined := cluster.Now() - start
	s.ready(masters)
	ready := cluster.Now() - start
	s.Logf("init took %v, with joins %v, ready after %v", initTook, joined, ready)
	s.stayed(n1)
	j := s.Sampler.Judge(s.began, cluster.Now())
	note("a cluster by `havipctl init` and two `havipctl join`", figure{"init", initTook}, figure{"joined", joined}, figure{"ready", ready},
		figure{"nobody", j.LongestNone}, figure{"two", j.Double})
}
