package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/measure"
)

// What a daemon may use while nothing happens. The aims are 20 MiB and 0.5 %;
// kernels differ in how much of a program they map around what is used, and a
// busy machine makes everything dearer, so these bounds find leaks and spinning.
const (
	mostMemory = 24  // MiB
	mostCPU    = 1.5 // percent of a core
)

// TestIdle measures what the daemons cost while nothing happens.
func TestIdle(t *testing.T) {
	span := time.Duration(min(*repeat, 6)) * 10 * time.Second
	s := open(t)
	s.play(func(s *scene) {
		writes := s.commits()
		before := map[string]time.Duration{}
		for _, n := range s.c.Nodes {
			before[n.Name] = cpuTime(t, n.HavipdPID())
		}
		s.stays(span)
		perSecond := (s.commits() - writes) / span.Seconds()
		facts.Idle = append(facts.Idle, fmt.Sprintf("idle: %.1f etcd commits a second in all", perSecond))
		for _, n := range s.c.Nodes {
			role := "standby"
			if n == s.holder {
				role = "holder"
			}
			cpu := 100 * (cpuTime(t, n.HavipdPID()) - before[n.Name]).Seconds() / span.Seconds()
			memory, err := measure.Resident(n.HavipdPID())
			s.try(err)
			facts.Idle = append(facts.Idle, fmt.Sprintf("idle %s: %.2f %% of a core, %.1f MiB resident", role, cpu, memory))
			if cpu > mostCPU || memory > mostMemory {
				t.Errorf("%s, %s: %.2f %% of a core, %.1f MiB; at most %v %% and %v MiB", n.Name, role, cpu, memory, mostCPU, mostMemory)
			}
		}
		s.Log(strings.Join(facts.Idle, "; "))
		median, worst := cluster.Noise(s.c.Witness.Attempts(), s.began, cluster.Now())
		facts.Noise = fmt.Sprintf("%v between two answers (median), %v at worst in %v",
			median.Round(100*time.Microsecond), worst.Round(time.Millisecond), span)
	})
}

func (s *scene) commits() float64 {
	s.Helper()
	n, err := s.holder.EtcdMetric(s.ctx, "etcd_server_proposals_committed_total")
	s.try(err)
	return n
}

func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	ran, err := measure.ProcessorTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	return ran
}
