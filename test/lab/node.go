package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"havip/test/cluster"
)

// Node is one machine.
type Node struct {
	*cluster.Seat

	lab    *Lab
	dir    string
	groups []string // its cgroups
	nspawn *exec.Cmd
	ended  chan struct{} // closed when nspawn has ended
	init   int           // the machine's first program, as numbered out here
	boots  int
}

func (l *Lab) newNode(i int) *Node {
	n := &Node{Seat: l.Seat(i, ""), lab: l}
	n.dir = filepath.Join(l.dir, n.Name)
	n.PKI = filepath.Join(n.dir, "pki")
	return n
}

func (n *Node) upper() string { return filepath.Join(n.dir, "upper") }

// prepare makes the node's disk.
func (n *Node) prepare() error {
	for _, d := range []string{"upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(n.dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, path := range n.disks() {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	hosts := "127.0.0.1 localhost\n"
	for _, m := range n.lab.Nodes {
		hosts += m.Address.String() + " " + m.Name + "\n"
	}
	files := map[string]string{
		"/etc/hostname": n.Name + "\n",
		"/etc/hosts":    hosts,
		// Any will do, as long as it stays and no two are the same.
		"/etc/machine-id": fmt.Sprintf("%032x\n", n.Address.AsSlice()),
	}
	for path, text := range files {
		if err := n.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	if n.lab.opts.Prepare == nil {
		return nil
	}
	return n.lab.opts.Prepare(n)
}

// Reimage gives a machine that is off a new disk, with what it had before it first
// booted: its name, its address, and nothing of what was written since.
func (n *Node) Reimage() error {
	if n.Powered() {
		return fmt.Errorf("reimage %s: it is on", n.Name)
	}
	for _, d := range []string{"upper", "work", "disks"} {
		if err := os.RemoveAll(filepath.Join(n.dir, d)); err != nil {
			return fmt.Errorf("reimage %s: %w", n.Name, err)
		}
	}
	if err := n.prepare(); err != nil {
		return fmt.Errorf("reimage %s: %w", n.Name, err)
	}
	return nil
}

// disks are the node's directories beside the overlay, path in the machine to
// path here.
func (n *Node) disks() map[string]string {
	all := map[string]string{}
	for _, inside := range n.lab.opts.Disks {
		all[inside] = filepath.Join(n.dir, "disks", inside)
	}
	return all
}

// Path is where a file of the machine is to be found from out here: in the
// running machine, or on its disk, which shows what the machine itself wrote.
func (n *Node) Path(path string) string {
	if n.Powered() {
		return filepath.Join(fmt.Sprintf("/proc/%d/root", n.init), path)
	}
	return filepath.Join(n.upper(), path)
}

// WriteFile writes a file of the machine and the directories above it.
func (n *Node) WriteFile(path, text string, mode os.FileMode) error {
	out := n.Path(path)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("make directory of %s on %s: %w", path, n.Name, err)
	}
	if err := os.WriteFile(out, []byte(text), mode); err != nil {
		return fmt.Errorf("write %s on %s: %w", path, n.Name, err)
	}
	return nil
}

// PowerOn boots the machine and waits until systemd has started everything.
func (n *Node) PowerOn(ctx context.Context) error {
	if n.Powered() {
		return nil
	}
	if err := n.start(); err != nil {
		return fmt.Errorf("power on %s: %w", n.Name, err)
	}
	return n.WaitBooted(ctx)
}

// start gives the machine power and does not wait until it has booted.
func (n *Node) start() error {
	n.boots++
	if err := n.Boot(); err != nil {
		return err
	}
	if err := n.Configure(); err != nil {
		return errors.Join(err, n.end())
	}
	if err := n.spawn(); err != nil {
		return errors.Join(err, n.end())
	}
	return nil
}

// spawn starts the container and waits for its first program.
func (n *Node) spawn() error {
	groups, unified, err := cgroupPaths(filepath.Base(n.lab.dir) + "-" + n.Name)
	if err != nil {
		return err
	}
	n.groups = groups
	if err := writeRecord(n.dir, groups); err != nil {
		return err
	}
	console, err := os.Create(filepath.Join(n.dir, fmt.Sprintf("console.%d", n.boots)))
	if err != nil {
		return err
	}
	defer console.Close()
	cmd, err := machine{
		Name: n.Name, Dir: n.dir, Rootfs: n.lab.rootfs, Network: n.NetworkPath(),
		Binds: n.lab.opts.Binds, Disks: n.disks(), Pods: n.lab.opts.HostsPods, Cgroups: groups, Unified: unified,
	}.command()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = console, console
	if err := n.Seat.Start(cmd); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	n.nspawn, n.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		_ = cmd.Wait() // how it ended is read from cmd.ProcessState
		close(ended)
	}(n.ended)
	return n.findInit()
}

// findInit waits until systemd is the container's first program.
func (n *Node) findInit() error {
	pid := n.nspawn.Process.Pid
	err := cluster.Poll(context.Background(), bootTime, n.Name+"'s first program", func() bool {
		select {
		case <-n.ended:
			return true
		default:
		}
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil {
			return false
		}
		first, _, _ := strings.Cut(string(children), " ")
		if n.init, err = strconv.Atoi(first); err != nil {
			return false
		}
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", n.init))
		return err == nil && string(name) == "systemd\n"
	})
	if err == nil && !n.running() {
		err = fmt.Errorf("systemd-nspawn ended at once: %s", n.Console())
	}
	return err
}

func (n *Node) running() bool {
	if n.nspawn == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// Console is what the machine wrote on its console since it last booted.
func (n *Node) Console() string {
	data, err := os.ReadFile(filepath.Join(n.dir, fmt.Sprintf("console.%d", n.boots)))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// WaitBooted waits until systemd has started everything, and fails if some
// unit did not start.
func (n *Node) WaitBooted(ctx context.Context) error {
	state := ""
	err := cluster.Poll(ctx, bootTime, n.Name+" to boot", func() bool {
		out, _ := n.Exec(ctx, "systemctl", "is-system-running")
		state = strings.TrimSpace(out)
		return state == "running" || state == "degraded" || !n.running()
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: it says %q: %s", err, state, n.Console())
	case state != "running":
		failed, _ := n.Exec(ctx, "systemctl", "--no-legend", "--plain", "--failed")
		return fmt.Errorf("boot %s: it is %q: %s%s", n.Name, state, failed, n.Console())
	}
	return nil
}

// PowerCut takes the machine's power away: its cable goes silent, every
// program ends at once, and its kernel goes with all addresses. What it had
// written to its disk stays.
func (n *Node) PowerCut() error {
	if !n.Powered() {
		return nil
	}
	cut := n.Cut()
	if n.running() {
		// nspawn first would try to say good-bye.
		for _, pid := range []int{n.init, n.nspawn.Process.Pid} {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				cut = errors.Join(cut, err)
			}
		}
		<-n.ended
	}
	if err := errors.Join(cut, n.end()); err != nil {
		return fmt.Errorf("cut the power of %s: %w", n.Name, err)
	}
	return nil
}

// end removes what is left of a machine that has no programs any more.
func (n *Node) end() error {
	n.init = 0
	return errors.Join(n.Off(), removeCgroups(n.groups))
}

// rebootStatus is nspawn's exit status when its machine asked for a reboot and
// nspawn was told to leave that to others (--keep-unit).
const rebootStatus = 133

// WaitOff waits until the machine has gone down by itself, and says whether it
// wants to come up again.
func (n *Node) WaitOff(ctx context.Context, limit time.Duration) (reboot bool, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-n.ended:
	case <-ctx.Done():
		return false, fmt.Errorf("wait for %s to go down: %w", n.Name, context.Cause(ctx))
	case <-timer.C:
		return false, fmt.Errorf("waited %v for %s to go down: %s", limit, n.Name, n.Console())
	}
	status := n.nspawn.ProcessState.ExitCode()
	if err := errors.Join(n.Cut(), n.end()); err != nil {
		return false, fmt.Errorf("switch off %s: %w", n.Name, err)
	}
	if status != 0 && status != rebootStatus {
		return false, fmt.Errorf("systemd-nspawn of %s ended with status %d: %s", n.Name, status, n.Console())
	}
	return status == rebootStatus, nil
}
