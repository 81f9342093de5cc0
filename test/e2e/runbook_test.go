package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
)

// These play docs/runbooks.md on real masters, its lines as they stand: the machines
// have the names and addresses of the documentation. What no test can have is
// crictl, which Debian does not package: whether a pod runs is seen at its port.

// environment is what the runbooks begin with.
var environment = []string{
	"export KUBECONFIG=/etc/kubernetes/admin.conf",
	"export ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 ETCDCTL_CACERT=/etc/kubernetes/pki/etcd/ca.crt",
	"export ETCDCTL_CERT=/etc/kubernetes/pki/etcd/healthcheck-client.crt",
	"export ETCDCTL_KEY=/etc/kubernetes/pki/etcd/healthcheck-client.key",
}

// typed runs lines of shell on a node, where each has to succeed.
func (s *scene) typed(n *lab.Node, lines ...string) string {
	s.Helper()
	return s.on(n, "bash", "-ec", strings.Join(slices.Concat(environment, lines), "\n"))
}

// without are the masters beside one.
func (s *scene) without(n *lab.Node) []*lab.Node {
	return slices.DeleteFunc(slices.Clone(s.Nodes[:masters]), func(o *lab.Node) bool { return o == n })
}

// noneHolds waits until nobody has the virtual IP.
func (s *scene) noneHolds() {
	s.Helper()
	s.try(s.Sampler.Wait(s.ctx, takesOver, "nobody to have the virtual IP", func(h []string) bool { return len(h) == 0 }))
}

// heldAgain is how many a runbook ends. Exit status 1: held, and not all is as it
// should be yet.
func (s *scene) heldAgain(n *lab.Node) {
	s.Helper()
	out, errOut, code, err := n.Try(s.ctx, "bash", "-c", "havipctl status --wait 120s")
	if err != nil || code > 1 {
		s.Fatalf("status --wait on %s: %v, exit status %d\n%s%s", n.Name, err, code, out, errOut)
	}
}

// shows waits for what a runbook begins with.
func (s *scene) shows(n *lab.Node, want string) {
	s.Helper()
	out := ""
	err := cluster.Poll(s.ctx, takesOver, fmt.Sprintf("%q on %s", want, n.Name), func() bool {
		out, _, _, _ = n.Try(s.ctx, "havipctl", "status") // not held is no exit status 0
		return strings.Contains(strings.Join(strings.Fields(out), " "), want)
	})
	if err != nil {
		s.Errorf("%v:\n%s", err, out)
	}
}

// apiBack is longer than the kubelet may wait before it starts an API server anew
// that has ended again and again without an etcd.
const apiBack = 6 * time.Minute

// podsGone waits until neither API server nor etcd answers on a node.
func (s *scene) podsGone(n *lab.Node) {
	s.Helper()
	s.try(cluster.Poll(s.ctx, settles, "the end of the control plane on "+n.Name, func() bool { return len(s.certificates(n)) == 0 }))
}

// TestRunbookCommands: what is only looked at.
func TestRunbookCommands(t *testing.T) {
	s := clusterOfThree(t)
	holder := s.holder()
	other := s.without(holder)[0]
	t.Run("an address by hand", func(t *testing.T) {
		s.typed(other, "systemctl stop havipd", "ip address add 198.51.100.166/32 dev eth0")
		s.typed(other, "ip address del 198.51.100.166/32 dev eth0")
		s.typed(other, "systemctl start havipd")
	})
	s.calm()
	s.begin() // two had it for a moment
	for _, c := range []struct {
		on         *lab.Node
		line, want string
	}{
		{holder, "ip -brief address", "198.51.100.166/32"},
		{holder, "ip -brief link", holder.MAC.String()},
		{holder, "ip neighbour", other.Address.String()},
		{other, "systemctl status havipd kubelet", "kubelet.service"},
		{other, "systemctl status kubelet containerd", "containerd.service"},
		{other, "journalctl -u havipd -n 50 --no-pager", "havipd"},
		{other, "journalctl -u havipd --since '1 hour ago' --no-pager", "havipd"},
		{other, "journalctl -u kubelet -n 50 --no-pager", "kubelet"},
		{other, "curl -s --unix-socket /run/havip/havipd.sock http://havipd/v1/status", `"198.51.100.166"`},
		{other, "kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes", "n3"},
		{other, "kubectl --server https://198.51.100.162:6443 get nodes", "n3"},
		{other, "etcdctl member list", "n3"},
		{other, "openssl rand -hex 32 | grep -cE '^[0-9a-f]{64}$'", "1"},
		// An editor that changes nothing; kube-proxy is no part of this cluster.
		{other, "export KUBE_EDITOR=true; kubectl -n kube-public edit configmap cluster-info", "no changes"},
		{other, "kubectl -n kube-system create configmap kube-proxy", "created"},
		{other, "export KUBE_EDITOR=true; kubectl -n kube-system edit configmap kube-proxy", "no changes"},
		{other, "kubectl -n kube-system delete configmap kube-proxy", "deleted"},
	} {
		if out := s.typed(c.on, c.line); !strings.Contains(out, c.want) {
			t.Errorf("%s: %s does not show %q:\n%s", c.on.Name, c.line, c.want, out)
		}
	}
	s.looksOnly(other)
	s.stayed(holder)
}

// looksOnly puts somebody into the group that may look, and nothing else
// (docs/security.md).
func (s *scene) looksOnly(n *lab.Node) {
	s.Helper()
	s.typed(n, "useradd alice")
	as := func(line string) (string, int) {
		out, errOut, code, err := n.Try(s.ctx, "runuser", "-u", "alice", "--", "bash", "-c", line)
		s.try(err)
		return out + errOut, code
	}
	if out, code := as("havipctl status"); code < 2 {
		s.Errorf("alice may look before she is in the group: exit status %d: %s", code, out)
	}
	s.typed(n, "usermod -aG havip alice")
	if out, code := as("havipctl status"); code != 0 || !strings.Contains(out, "HELD") {
		s.Errorf("alice of the group havip may not look: exit status %d: %s", code, out)
	}
	if out, code := as("havipctl drain"); code == 0 {
		s.Errorf("alice may drain: %s", out)
	}
	s.typed(n, "userdel alice")
}

// TestRunbookQuorum: "Quorum lost": runtime, kubelet and etcd of two masters are
// down.
func TestRunbookQuorum(t *testing.T) {
	play(t, func(s *scene) {
		left := s.holder()
		for _, n := range s.without(left) {
			s.typed(n, "systemctl stop kubelet containerd", "pkill -KILL -x etcd")
		}
		s.noneHolds()
		s.shows(left, "no quorum")
		for _, n := range s.without(left) {
			s.typed(n, "systemctl start containerd kubelet")
		}
		start := cluster.Now()
		s.heldAgain(left)
		held := cluster.Now() - start
		s.calm()
		s.Logf("virtual IP held after %v, three ready masters after %v", held, cluster.Now()-start)
		s.judge()
	})
}

// TestRestoreSnapshot: "Restore an etcd snapshot", after the virtual IP has moved on.
func TestRestoreSnapshot(t *testing.T) {
	play(t, func(s *scene) {
		was := s.holder()
		before, after := uniqueName("before"), uniqueName("after")
		s.try(s.api.Write(s.ctx, before))
		s.typed(was, "etcdctl snapshot save /root/snapshot.db")
		snapshot, err := os.ReadFile(was.Path("/root/snapshot.db"))
		s.try(err)
		s.try(s.api.Write(s.ctx, after))
		s.on(was, "havipctl", "handover")
		s.moves(was, takesOver)
		all := s.Nodes[:masters]
		var members []string
		for _, n := range all {
			s.try(n.WriteFile("/root/snapshot.db", string(snapshot), 0o600))
			members = append(members, fmt.Sprintf("%s=https://%s:2380", n.Name, n.Address))
		}

		for _, n := range all {
			s.typed(n, "mv /etc/kubernetes/manifests /etc/kubernetes/manifests.away")
		}
		for _, n := range all {
			s.podsGone(n)
		}
		s.noneHolds()
		for _, n := range all {
			s.shows(n, "the etcd member of "+n.Name+" does not answer")
		}
		for _, n := range all {
			s.typed(n,
				"etcdutl snapshot restore /root/snapshot.db --data-dir /var/lib/etcd-restored --bump-revision 1000000000 --mark-compacted "+
					fmt.Sprintf("--name %s --initial-advertise-peer-urls https://%s:2380 --initial-cluster %s", n.Name, n.Address, strings.Join(members, ",")),
				"mv /var/lib/etcd/member /root/member-before",
				"mv /var/lib/etcd-restored/member /var/lib/etcd/member")
		}
		for _, n := range all {
			s.typed(n, "mv /etc/kubernetes/manifests.away /etc/kubernetes/manifests")
		}
		start := cluster.Now()
		s.heldAgain(was)
		held := cluster.Now() - start
		s.calm()
		s.Logf("virtual IP held after %v, three ready masters after %v", held, cluster.Now()-start)
		s.judge()
		if err := s.api.Get(s.ctx, configMap+before, nil); err != nil {
			s.Errorf("what the snapshot has is not there: %v", err)
		}
		if err := s.api.Get(s.ctx, configMap+after, nil); err == nil || !strings.Contains(err.Error(), "404") {
			s.Errorf("what was written after the snapshot: %v, want 404", err)
		}
		for _, n := range all {
			s.typed(n, "rm -r /root/member-before /root/snapshot.db /var/lib/etcd-restored") // for the next run
		}
	})
}

const configMap = "/api/v1/namespaces/default/configmaps/"

// TestRunbookAlone: "When the others are gone for good": one master is made a cluster
// of one and gets company from machines with empty disks.
func TestRunbookAlone(t *testing.T) {
	play(t, func(s *scene) {
		n3 := s.Nodes[2]
		for _, n := range s.without(n3) {
			s.try(n.PowerCut())
		}
		s.noneHolds()
		start := cluster.Now()
		s.alone(n3)
		took := cluster.Now() - start
		s.heldAgain(n3)
		held := cluster.Now() - start
		if h := s.holder(); h != n3 {
			s.Errorf("%s holds the virtual IP, want %s", h.Name, n3.Name)
		}
		s.judge()
		name := uniqueName("alone")
		s.try(cluster.Poll(s.ctx, apiBack, "a write through the virtual IP", func() bool { return s.api.Write(s.ctx, name) == nil }))
		s.Logf("etcd was one member after %v, virtual IP held after %v, first write after %v", took, held, cluster.Now()-start)

		s.try(cluster.Poll(s.ctx, settles, "the others to be not ready", func() bool {
			ready, _, err := s.api.ReadyNodes(s.ctx)
			return err == nil && slices.Equal(ready, []string{n3.Name})
		}))
		o, err := Havipctl(s.ctx, n3, "", "token")
		s.try(err)
		for _, n := range s.without(n3) {
			s.empty(n)
			s.typed(n, "echo "+o.Join.Ticket+" | havipctl join")
		}
		s.calm()
		s.judge()
	})
}

// alone makes an etcd of one member out of what a master has.
func (s *scene) alone(n *lab.Node) {
	s.Helper()
	s.typed(n, "mv /etc/kubernetes/manifests/etcd.yaml /root/etcd.yaml")
	s.try(cluster.Poll(s.ctx, settles, "the end of etcd", func() bool { return s.certificates(n)["2379"] == "" }))
	s.typed(n, "cp -a /var/lib/etcd /root/etcd-before",
		`sed 's/^    - etcd$/    - etcd\n    - --force-new-cluster/' /root/etcd.yaml > /root/etcd-alone.yaml`)
	out, errOut, code, err := n.Try(s.ctx, "bash", "-c", "diff /root/etcd.yaml /root/etcd-alone.yaml")
	if err != nil || code != 1 || strings.Count(out, "\n") != 2 || !strings.Contains(out, ">     - --force-new-cluster\n") {
		s.Fatalf("diff ends with %d, %v, want one line more: %s%s", code, err, out, errOut)
	}
	s.typed(n, "cp /root/etcd-alone.yaml /etc/kubernetes/manifests/etcd.yaml")
	s.try(cluster.Poll(s.ctx, settles, "etcd alone", func() bool {
		out, _, code, err := n.Try(s.ctx, "bash", "-ec", strings.Join(append(slices.Clone(environment), "etcdctl member list"), "\n"))
		return err == nil && code == 0 && strings.Count(out, "\n") == 1 && strings.Contains(out, ", "+n.Name+", ")
	}))
	s.typed(n, "cp /root/etcd.yaml /etc/kubernetes/manifests/etcd.yaml")
	s.try(cluster.Poll(s.ctx, settles, "etcd without the flag", func() bool {
		out, _, code, err := n.Try(s.ctx, "pgrep", "-a", "-x", "etcd")
		return err == nil && code == 0 && !strings.Contains(out, "--force-new-cluster")
	}))
}

// empty gives a master that is off a new disk, with the package on it.
func (s *scene) empty(n *lab.Node) {
	s.Helper()
	s.try(n.Reimage())
	s.try(n.PowerOn(s.ctx))
	s.try(s.kubernetes.Import(s.ctx, n))
	s.try(s.Install(s.ctx, n, ""))
}

// TestRunbookRemove: "Replace a master" by hand, which is for one that gets another
// name or address. Without --replace the new one joins only because the old member is
// off the list.
func TestRunbookRemove(t *testing.T) {
	play(t, func(s *scene) {
		holder := s.holder()
		lost := s.without(holder)[0]
		s.try(lost.PowerCut())
		s.typed(holder, "etcdctl member remove "+s.members(holder)[lost.Name], "kubectl delete node "+lost.Name)
		s.empty(lost)
		o, err := Havipctl(s.ctx, holder, "", "token")
		s.try(err)
		s.typed(lost, "echo "+o.Join.Ticket+" | havipctl join")
		s.calm()
		s.stayed(holder)
	})
}

// TestRunbookChangeVIP: "Change the VIP", while clients use the old one until the
// last master leaves it.
func TestRunbookChangeVIP(t *testing.T) {
	s := clusterOfThree(t)
	whole = nil // no other test knows the new address
	c := s.clients(uniqueName("change"))
	s.bothNames()
	holder := s.holder()
	others := s.without(holder)
	s.takesNew(others[0])
	for _, n := range s.Nodes[:masters] {
		s.typed(n, "for f in /etc/kubernetes/admin.conf /etc/kubernetes/super-admin.conf; do if [ -e $f ]; then "+
			"sed -i 's#https://198.51.100.166:6443#https://198.51.100.167:6443#' $f; fi; done")
	}
	const edit = "export KUBE_EDITOR='sed -i s#https://198.51.100.166:6443#https://198.51.100.167:6443#'; "
	s.typed(holder, "kubectl -n kube-system create configmap kube-proxy --from-literal=server=https://198.51.100.166:6443") // an addon, which is not here
	for _, line := range []string{"kubectl -n kube-public edit configmap cluster-info", "kubectl -n kube-system edit configmap kube-proxy"} {
		if out := s.typed(holder, edit+line); !strings.Contains(out, "edited") {
			t.Errorf("%s: %s", line, out)
		}
	}
	s.takesNew(others[1])
	c.stop()
	if j := s.judge(); j.LongestNone > handsOver {
		t.Errorf("nobody had the old virtual IP for %v, want handovers: %v", j.LongestNone, j.Spans)
	}
	if reads, lost := c.reads.Outage(c.from, cluster.Now()); reads > takesOver {
		t.Errorf("clients of the old virtual IP were cut off for %v (%d failed)", reads, lost)
	}
	s.takesNew(holder)
	s.noneHolds()
	for _, n := range s.Nodes[:masters] {
		s.heldAgain(n)
		if out := s.typed(n, "kubectl get nodes"); strings.Count(out, " Ready ") != masters {
			t.Errorf("through the new virtual IP %s sees\n%s", n.Name, out)
		}
	}
}

// bothNames gives the certificates of all API servers the new address beside the old.
func (s *scene) bothNames() {
	s.Helper()
	n1 := s.Nodes[0]
	s.typed(n1, "cd /root", "kubectl -n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterConfiguration}' > kubeadm.yaml")
	text := s.on(n1, "cat", "/root/kubeadm.yaml")
	edited := strings.Replace(text, "controlPlaneEndpoint: 198.51.100.166", "controlPlaneEndpoint: 198.51.100.167", 1)
	edited = strings.Replace(edited, "  certSANs:\n", "  certSANs:\n  - 198.51.100.167\n", 1)
	if strings.Count(edited, "198.51.100.167") != 2 || !strings.Contains(edited, "- 198.51.100.166\n") {
		s.Fatalf("not as expected:\n%s", text)
	}
	for i, n := range s.Nodes[:masters] {
		s.try(n.WriteFile("/root/kubeadm.yaml", edited, 0o600))
		if i == 0 {
			s.typed(n, "cd /root", "kubeadm config validate --config kubeadm.yaml", "kubeadm init phase upload-config kubeadm --config kubeadm.yaml")
		}
		s.typed(n, "cd /root", "havipctl drain",
			"mv /etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/apiserver.key /root/",
			"kubeadm init phase certs apiserver --config kubeadm.yaml",
			"mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/",
			"sleep 20",
			"mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/",
			"havipctl undrain")
		s.calm()
	}
}

// takesNew sends one master to the new address.
func (s *scene) takesNew(n *lab.Node) {
	s.Helper()
	s.typed(n, `sed -i 's/198\.51\.100\.166/198.51.100.167/' /etc/havip/havip.toml`, "havipctl config check", "systemctl restart havipd")
	out, errOut, code, err := n.Try(s.ctx, "havipctl", "status", "--wait", "30s")
	if err != nil || code > 1 {
		s.Fatalf("%s with the new address: %v, exit status %d\n%s%s", n.Name, err, code, out, errOut)
	}
	s.shows(n, "198.51.100.167 HELD by ")
	s.typed(n, "kubectl --server https://198.51.100.167:6443 get nodes")
}
