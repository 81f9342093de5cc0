package measure

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ProcessorTime is what the process's threads ran so far, by the scheduler's own
// count in nanoseconds (/proc/PID/task/TID/schedstat). Go ends no thread without
// need.
func ProcessorTime(pid int) (all time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("read processor time of %d: %d threads: %w", pid, len(files), os.ErrNotExist)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return 0, fmt.Errorf("read processor time: %w", err)
		}
		var ran time.Duration
		if _, err := fmt.Sscan(string(data), &ran); err != nil {
			return 0, fmt.Errorf("read processor time of %d: %q: %w", pid, data, err)
		}
		all += ran
	}
	return all, nil
}

// Resident is the process's resident memory in MiB (proc_pid_statm(5)).
func Resident(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		return 0, fmt.Errorf("read memory of %d: %q: %w", pid, data, err)
	}
	return float64(pages*os.Getpagesize()) / (1 << 20), nil
}
