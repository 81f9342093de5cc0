package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"havip/test/cluster"
)

// Unit is what systemd says about one of its units, by property name
// (org.freedesktop.systemd1(5)).
func (n *Node) Unit(ctx context.Context, unit string) (map[string]string, error) {
	out, err := n.Exec(ctx, "systemctl", "show", unit)
	if err != nil {
		return nil, err
	}
	properties := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		properties[name] = value
	}
	return properties, nil
}

// Moment reads one of systemd's …Monotonic time stamps, on the clock that the
// sampler and the witness use too. 0 stands for never.
func Moment(properties map[string]string, name string) (time.Duration, error) {
	us, err := strconv.ParseInt(properties[name], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", name, properties["Id"], err)
	}
	return time.Duration(us) * time.Microsecond, nil
}

// Process is the main process of a unit, in the numbers of out here.
func (n *Node) Process(ctx context.Context, unit string) (int, error) {
	properties, err := n.Unit(ctx, unit)
	if err != nil {
		return 0, err
	}
	inside := properties["MainPID"]
	if inside == "0" || inside == "" {
		return 0, fmt.Errorf("find process of %s on %s: it is %s", unit, n.Name, properties["ActiveState"])
	}
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", n.init))
	if err != nil {
		return 0, fmt.Errorf("find process of %s on %s: %w", unit, n.Name, err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range all {
		if its, err := os.Readlink(filepath.Join(dir, "ns/pid")); err == nil && its == namespace && innerPID(dir) == inside {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("find process of %s on %s: no process %s in its machine", unit, n.Name, inside)
}

// innerPID is a process's number in its own namespace, the last of those that
// it has (proc_pid_status(5), NSpid).
func innerPID(dir string) string {
	f, err := os.Open(filepath.Join(dir, "status"))
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if all, ok := strings.CutPrefix(lines.Text(), "NSpid:"); ok {
			fields := strings.Fields(all)
			return fields[len(fields)-1]
		}
	}
	return ""
}

// Ending knows when a process ended.
type Ending struct {
	done chan struct{}
	at   time.Duration
	err  error
}

// WatchEnd watches the main process of a unit from now on.
func (n *Node) WatchEnd(ctx context.Context, unit string) (*Ending, error) {
	pid, err := n.Process(ctx, unit)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("watch %s on %s: %w", unit, n.Name, err)
	}
	e := &Ending{done: make(chan struct{})}
	go func() {
		defer close(e.done)
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				e.at, e.err = cluster.Now(), err
				return
			}
		}
	}()
	return e, nil
}

// Wait returns when the process ended.
func (e *Ending) Wait(ctx context.Context) (time.Duration, error) {
	select {
	case <-e.done:
		return e.at, e.err
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the end of a process: %w", context.Cause(ctx))
	}
}
