package e2e

import (
	"slices"
	"strings"
	"testing"

	"havip/daemon/status"
	"havip/test/cluster"
	"havip/test/lab"
)

// TestReplace: a master loses its disk and comes back under its name and address.
// join finds its dead etcd member, says which it is, and changes nothing; join
// --replace removes it, goes on, and the node is a ready master again. The holder
// keeps the virtual IP all along.
func TestReplace(t *testing.T) {
	play(t, func(s *scene) {
		holder := s.holder()
		others := slices.DeleteFunc(slices.Clone(s.Nodes[:masters]), func(n *lab.Node) bool { return n == holder })
		lost := others[len(others)-1]
		c := s.clients(uniqueName("replace"))
		s.begin()
		s.try(lost.PowerCut())
		s.try(lost.Reimage())
		s.try(lost.PowerOn(s.ctx))
		s.try(s.kubernetes.Import(s.ctx, lost))
		s.try(s.Install(s.ctx, lost, ""))
		s.try(cluster.Poll(s.ctx, settles, lost.Name+" to be not ready", func() bool {
			ready, _, err := s.api.ReadyNodes(s.ctx)
			return err == nil && !slices.Contains(ready, lost.Name)
		}))
		o, err := Havipctl(s.ctx, holder, "", "token")
		s.try(err)

		before := s.members(holder)
		if len(before) != masters || before[lost.Name] == "" {
			s.Fatalf("etcd lists %v, want %d with %s", before, masters, lost.Name)
		}
		for _, n := range []*lab.Node{holder, others[0]} {
			s.keepsMember(n)
		}
		err = s.Join(s.ctx, lost, o.Join.Ticket)
		if err == nil {
			s.Fatalf("%s has joined beside its dead member", lost.Name)
		}
		for _, want := range []string{
			lost.Name + " (ID " + before[lost.Name] + ", https://" + lost.Address.String() + ":2380)",
			"it does not answer and its data is gone, so it can only be removed", "havipctl join --replace",
		} {
			if !strings.Contains(err.Error(), want) {
				s.Errorf("join does not say %q: %v", want, err)
			}
		}
		if now := s.members(holder); now[lost.Name] != before[lost.Name] || len(now) != masters {
			s.Fatalf("a refused join has changed etcd's list from %v to %v", before, now)
		}

		start := cluster.Now()
		_, err = Havipctl(s.ctx, lost, "", "join", "--replace") // with the ticket of the first try
		s.try(err)
		took := cluster.Now() - start
		s.calm()
		if now := s.members(holder); len(now) != masters || now[lost.Name] == "" || now[lost.Name] == before[lost.Name] {
			s.Errorf("etcd lists %v after %v, want a new %s", now, before, lost.Name)
		}
		s.Logf("havipctl join --replace took %v", took)
		s.back(c, "`havipctl join --replace` of a master that lost its disk")
		c.stop()
		s.stayed(holder)
	})
}

// keepsMember asks the daemon of a master that is well to remove its own member,
// which it has to refuse, whoever asks.
func (s *scene) keepsMember(n *lab.Node) {
	s.Helper()
	c := status.NewClient(n.Path(status.SocketPath))
	defer c.Close()
	answer, err := c.RemoveFormer(s.ctx)
	s.try(err)
	if answer.Removable || answer.Removed || len(answer.Members) != 1 || answer.Members[0].Name != n.Name || len(answer.Findings) < 3 {
		s.Errorf("%s, asked to remove its own member while another is dead: %+v", n.Name, answer)
	}
}

// members are etcd's, name to ID.
func (s *scene) members(on *lab.Node) map[string]string {
	s.Helper()
	out := s.on(on, "etcdctl", "--endpoints=https://127.0.0.1:2379", "--cacert="+etcdPKI+"ca.crt",
		"--cert="+etcdPKI+"healthcheck-client.crt", "--key="+etcdPKI+"healthcheck-client.key", "member", "list")
	all := map[string]string{}
	for line := range strings.Lines(out) {
		fields := strings.Split(line, ", ") // ID, status, name, peers, clients, learner
		if len(fields) < 3 {
			s.Fatalf("read etcd's members: %q", line)
		}
		all[fields[2]] = fields[0]
	}
	return all
}
