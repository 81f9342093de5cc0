package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"havip/test/cluster"
)

// PartPath is where a machine finds the program that runs the tests, which can
// play parts in it too.
const PartPath = "/lab/part"

// RunPart must be the first call of every TestMain of a package that starts a
// lab.
func RunPart(more ...map[string]func() error) {
	cluster.RunPart(append(more, map[string]func() error{
		"machine": machineMain, "init": initMain, "image": imageMain,
	})...)
}

// machine is what the process that becomes systemd-nspawn has to know.
type machine struct {
	Name    string
	Dir     string // with upper, work and merged
	Rootfs  string
	Network string // path of the network namespace
	Binds   map[string]string
	Disks   map[string]string // path in the machine to path here
	Pods    bool              // the kernel is as a kubelet wants it
	Cgroups []string
	Unified bool // cgroups have version 2 alone
}

// command is the process that plays the machine, with mounts of its own: what
// it mounts nobody else sees, and it goes when the process does.
func (m machine) command() (*exec.Cmd, error) {
	spec, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", string(spec))
	cmd.Env = append(os.Environ(), cluster.PartVariable+"=machine")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	return cmd, nil
}

// machineMain mounts the machine's disk, moves into the machine's cgroups and
// becomes systemd-nspawn, which makes its cgroup namespace from there.
func machineMain() error {
	var m machine
	if len(os.Args) != 2 {
		return errors.New("want one argument: the machine, as JSON")
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &m); err != nil {
		return fmt.Errorf("read machine: %w", err)
	}
	if err := makeCgroups(m.Cgroups); err != nil {
		return err
	}
	for _, g := range m.Cgroups {
		if err := os.WriteFile(filepath.Join(g, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	if err := mountOverlay(m.Rootfs, m.Dir); err != nil {
		return err
	}
	// nspawn keeps notes by the machine's name in /run/systemd, and leaves them.
	if err := unix.Mount("run", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("hide /run: %w", err)
	}
	nspawn, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		return fmt.Errorf("boot %s: %w: install systemd-container", m.Name, err)
	}
	args, err := m.arguments()
	if err != nil {
		return err
	}
	return become(nspawn, args, m.environment())
}

// become turns this process into a program that is killed when its parent ends.
// The kernel keeps that wish with the thread (PR_SET_PDEATHSIG(2const)), and
// exec with the thread that calls it: what the parent asked for at the start of
// this process may have been asked of another one.
func become(program string, args, env []string) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("tie %s to its parent: %w", program, err)
	}
	return syscall.Exec(program, args, env)
}

func (m machine) arguments() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{
		"systemd-nspawn", "--quiet", "--directory=" + filepath.Join(m.Dir, "merged"), "--machine=" + m.Name,
		"--network-namespace-path=" + m.Network,
		// Nothing of this goes through the computer's own systemd, if it has one.
		"--register=no", "--keep-unit",
		// A machine may do all that this process may; havipd's own limits are
		// its unit's.
		"--capability=all",
		"--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe", "--kill-signal=SIGRTMIN+3",
		"--bind-ro=" + self + ":" + PartPath,
		"--setenv=" + cluster.PartVariable + "=init",
	}
	for _, inside := range slices.Sorted(maps.Keys(m.Binds)) {
		args = append(args, "--bind-ro="+m.Binds[inside]+":"+inside)
	}
	for _, inside := range slices.Sorted(maps.Keys(m.Disks)) {
		args = append(args, "--bind="+m.Disks[inside]+":"+inside)
	}
	args = append(args, PartPath)
	if m.Pods {
		args = append(args, hostsPods)
	}
	return args, nil
}

func (m machine) environment() []string {
	unified := "0"
	if m.Unified {
		unified = "1"
	}
	return []string{
		"PATH=" + searchPath,
		"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=" + unified,
		"SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", // sysctls of its own network only
		"SYSTEMD_NSPAWN_LOCK=0",                   // the lock would lie in a place that is shared
		"SYSTEMD_SECCOMP=0",                       // a machine's kernel refuses no calls
	}
}

// initMain is a machine's first program until it becomes systemd. nspawn
// mounts the controllers of version 1 read-only; systemd must find them
// writable when it starts, or it enforces no unit's limits.
func initMain() error {
	paths, unified, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range paths {
		if unified {
			break
		}
		flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
		if err := unix.Mount("", h, "", flags, ""); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: no mount point
			return fmt.Errorf("make %s writable: %w", h, err)
		}
	}
	if err := mountBPF(); err != nil {
		return err
	}
	if slices.Contains(os.Args[1:], hostsPods) {
		if err := suitKubelet(); err != nil {
			return err
		}
	}
	if err := os.Unsetenv(cluster.PartVariable); err != nil {
		return err
	}
	// nspawn does not pass on that it dies with the run.
	return become("/lib/systemd/systemd", []string{"/lib/systemd/systemd"}, os.Environ())
}

// mountBPF mounts the file system for BPF objects where systemd does on a machine,
// but not in a container. It is of this machine alone, and new at each boot. /sys is
// a small tree of nspawn's own, read-only.
func mountBPF() error {
	const sys, dir = "/sys", "/sys/fs/bpf"
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("", sys, "", flags, ""); err != nil {
		return fmt.Errorf("make %s writable: %w", sys, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("bpf", dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	if err := unix.Mount("", sys, "", flags|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", sys, err)
	}
	return nil
}
