package e2e

import (
	"testing"

	"havip/test/cluster"
)

// TestCluster: package, configuration, init, and two joins, one after another.
// From the claim on the virtual IP is on the first node all the time.
func TestCluster(t *testing.T) {
	s := machines(t, 3)
	s.install("")
	s.makeCluster()
}

// makeCluster is init on the first node and joins on the others.
func (s *scene) makeCluster() {
	s.Helper()
	n1 := s.Nodes[0]
	start := cluster.Now()
	first, err := s.Init(s.ctx, n1)
	s.try(err)
	s.Logf("init took %v", cluster.Now()-start)
	s.began = s.Sampler.Events()[0].At
	s.api, err = s.API(s.ctx, n1)
	s.try(err)
	for _, n := range s.Nodes[1:min(3, len(s.Nodes))] {
		begun := cluster.Now()
		s.try(s.Join(s.ctx, n, first.Join.Ticket))
		s.Logf("join of %s took %v", n.Name, cluster.Now()-begun)
	}
	s.Logf("init and joins took %v", cluster.Now()-start)
	s.ready(3)
	s.Logf("ready after %v", cluster.Now()-start)
	s.stayed(n1)
}

