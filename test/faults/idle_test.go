package faults

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
)

// TestIdle measures what the daemons cost while nothing happens. It asserts
// nothing but that nothing happens: how much is too much depends on the
// machine.
func TestIdle(t *testing.T) {
	const span = 10 * time.Second
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
			facts.Idle = append(facts.Idle, fmt.Sprintf("idle %s: %.2f %% of a core, %d MiB resident", role, cpu, resident(t, n.HavipdPID())))
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

// cpuTime is what the process used so far, user and system (proc_pid_stat(5),
// fields 14 and 15, in ticks of 1/100 s).
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		t.Fatalf("read processor time of %d: %q", pid, data)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident is the process's resident memory in MiB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatalf("read memory of %d: %v", pid, err)
	}
	return pages * os.Getpagesize() >> 20
}
