package e2e

import "testing"

// whole is a cluster of three that tests use in turn, and beside it a machine
// that is no master. One that a test left in disorder is thrown away.
var whole *Masters

// masters are those that havip is configured with; a worker may be beside them.
const masters = 3

// clusterOfThree brings the shared cluster onto the stage, calm.
func clusterOfThree(t *testing.T) *scene {
	t.Helper()
	s := onStage(t)
	if whole == nil {
		s.machines(Setup{Machines: masters + 1})
		s.install("")
		s.makeCluster()
		whole = s.Masters
	} else {
		s.Masters = whole
		s.connect()
	}
	t.Cleanup(func() {
		if t.Failed() {
			whole = nil // the scene closes it
		}
	})
	s.calm()
	s.begin()
	return s
}

// connect makes a client of the shared cluster.
func (s *scene) connect() {
	s.Helper()
	var err error
	s.api, err = s.API(s.ctx, s.Nodes[0])
	s.try(err)
}
