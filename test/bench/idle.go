package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"havip/test/cluster"
	"havip/test/measure"
)

// usage is what one moment's counters say.
type usage struct {
	cpu             map[string]time.Duration // by node
	packets         uint64
	requests, wrote float64
}

// idle measures for a span, settling after all is calm, what a contender costs
// while nothing happens and nobody looks.
func idle(ctx context.Context, who contender, masters int, settling, span time.Duration) (i Idle, err error) {
	s, err := open(ctx, who, masters, false)
	if err != nil {
		return i, err
	}
	defer func() { err = errors.Join(err, s.c.Close()) }()
	if err := cluster.Pause(ctx, settling); err != nil {
		return i, err
	}
	load := measure.Load()
	before, err := s.usage()
	if err != nil {
		return i, err
	}
	if err := cluster.Pause(ctx, span); err != nil {
		return i, err
	}
	after, err := s.usage()
	if err != nil {
		return i, err
	}
	i = Idle{Masters: masters, Contender: who.name, Load: load, System: measure.System()}
	i.Packets = float64(after.packets-before.packets) / span.Seconds() / float64(masters)
	i.Requests = (after.requests - before.requests) / span.Seconds()
	i.Writes = (after.wrote - before.wrote) / span.Seconds()
	for _, n := range s.c.Nodes {
		cpu := 100 * (after.cpu[n.Name] - before.cpu[n.Name]).Seconds() / span.Seconds()
		memory, err := resident(n.HavipdPID())
		if err != nil {
			return i, err
		}
		i.Memory = max(i.Memory, memory)
		if n == s.holder {
			i.Holder = cpu
		} else {
			i.Standby = max(i.Standby, cpu)
		}
	}
	return i, nil
}

func (s *stage) usage() (u usage, err error) {
	u.cpu = map[string]time.Duration{}
	for _, n := range s.c.Nodes {
		packets, err := n.Packets()
		if err != nil {
			return u, err
		}
		u.packets += packets
		// Unary calls are one message each, and so is what comes on a stream: a
		// watch's beginning, a lease kept alive.
		requests, err := n.EtcdMetric(s.ctx, "grpc_server_msg_received_total")
		if err != nil {
			return u, err
		}
		u.requests += requests
		if u.cpu[n.Name], err = processorTime(n.HavipdPID()); err != nil {
			return u, err
		}
	}
	u.wrote, err = s.c.Nodes[0].EtcdMetric(s.ctx, "etcd_server_proposals_committed_total")
	return u, err
}

// processorTime is that of a daemon, its children, and those of them that have
// ended.
func processorTime(pid int) (all time.Duration, err error) {
	for _, p := range group(pid) {
		ran, err := measure.ProcessorTime(p)
		if err != nil {
			return 0, err
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			return 0, fmt.Errorf("read what the children ran: %w", err)
		}
		ended, err := endedChildren(string(stat))
		if err != nil {
			return 0, err
		}
		all += ran + ended
	}
	return all, nil
}

func resident(pid int) (all float64, err error) {
	for _, p := range group(pid) {
		mib, err := measure.Resident(p)
		if err != nil {
			return 0, err
		}
		all += mib
	}
	return all, nil
}

// group lists the processes of the group that a daemon leads; none for none.
func group(pid int) (all []int) {
	if pid == 0 {
		return nil
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		fields := afterName(string(stat))
		if len(fields) > 2 && fields[2] == strconv.Itoa(pid) {
			id, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err == nil {
				all = append(all, id)
			}
		}
	}
	return all
}

// clockTick is the unit of times in /proc/PID/stat, USER_HZ (proc_pid_stat(5)).
const clockTick = 10 * time.Millisecond

// endedChildren reads cutime and cstime, the 16th and 17th field.
func endedChildren(stat string) (all time.Duration, err error) {
	fields := afterName(stat)
	if len(fields) < 15 {
		return 0, fmt.Errorf("read what the children ran: %q", stat)
	}
	for _, f := range fields[13:15] {
		ticks, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("read what the children ran: %w", err)
		}
		all += time.Duration(ticks) * clockTick
	}
	return all, nil
}

// afterName are the fields from the third on: the second may have spaces in it.
func afterName(stat string) []string {
	return strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
}
