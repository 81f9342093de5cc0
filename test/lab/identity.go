package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// identity is a process that cannot be mistaken for a later one with the same
// number.
type identity struct {
	pid   int
	start uint64 // ticks since boot (proc_pid_stat(5), field 22)
}

func identify(pid int) (identity, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return identity{}, fmt.Errorf("look at process %d: %w", pid, err)
	}
	// The name in field 2 may contain anything.
	_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return identity{}, fmt.Errorf("look at process %d: %q", pid, data)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return identity{}, fmt.Errorf("look at process %d: %w", pid, err)
	}
	return identity{pid, start}, nil
}

func (i identity) String() string { return fmt.Sprintf("%d-%d", i.pid, i.start) }

func parseIdentity(text string) (i identity, err error) {
	if _, err := fmt.Sscanf(text, "%d-%d", &i.pid, &i.start); err != nil {
		return i, fmt.Errorf("read process %q: %w", text, err)
	}
	return i, nil
}

func (i identity) alive() bool {
	now, err := identify(i.pid)
	return err == nil && now == i
}
