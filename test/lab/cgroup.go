package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where every Linux of today has its hierarchies: one tree
// (version 2), or one below it for each controller (version 1).
const cgroupRoot = "/sys/fs/cgroup"

// hierarchies returns the mount points, and whether there is version 2 alone.
func hierarchies() (paths []string, unified bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &s); err != nil {
		return nil, false, fmt.Errorf("look for cgroups: %w", err)
	}
	if s.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{cgroupRoot}, true, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, false, fmt.Errorf("look for cgroups: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() { // cpu,cpuacct has links beside it
			paths = append(paths, filepath.Join(cgroupRoot, e.Name()))
		}
	}
	return paths, false, nil
}

// cgroupPaths are the cgroups that a machine of that name is to have, one in
// each hierarchy. Memory is counted below whatever bounds this process;
// elsewhere that would only add a level.
func cgroupPaths(name string) (groups []string, unified bool, err error) {
	paths, unified, err := hierarchies()
	if err != nil {
		return nil, false, err
	}
	for _, h := range paths {
		own := "/"
		if filepath.Base(h) == "memory" {
			if own, err = ownCgroup("memory"); err != nil {
				return nil, false, err
			}
		}
		groups = append(groups, filepath.Join(h, own, name))
	}
	return groups, unified, nil
}

func makeCgroups(groups []string) error {
	for _, g := range groups {
		if err := os.Mkdir(g, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if err := fillCpuset(g); err != nil {
			return err
		}
	}
	return nil
}

// ownCgroup is where this process is in a hierarchy of version 1.
func ownCgroup(controller string) (string, error) {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find own cgroup: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// hierarchy-ID:controller-list:cgroup-path (cgroups(7))
		fields := strings.SplitN(lines.Text(), ":", 3)
		if len(fields) == 3 && slices.Contains(strings.Split(fields[1], ","), controller) {
			return fields[2], nil
		}
	}
	return "/", lines.Err()
}

// fillCpuset gives a new cpuset what the one above has: an empty one takes no
// processes (cpuset(7)). Other controllers have no such files.
func fillCpuset(group string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(group), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("fill cpuset: %w", err)
		}
		if err := os.WriteFile(filepath.Join(group, name), data, 0o644); err != nil {
			return fmt.Errorf("fill cpuset: %w", err)
		}
	}
	return nil
}

// removeCgroups ends every process in the cgroups, and removes them with all
// below them. They are a machine's own: whatever is in them is the machine.
func removeCgroups(groups []string) error {
	var err error
	// Each round kills what a round before was too early for, and gives the
	// kernel time to bury it.
	for range 250 {
		for _, g := range groups {
			if err := killAll(g); err != nil {
				return err
			}
		}
		var errs []error
		for _, g := range groups {
			errs = append(errs, removeTree(g))
		}
		if err = errors.Join(errs...); !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// killAll sends SIGKILL to every process in a cgroup and below.
func killAll(root string) error {
	return walk(root, func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("end machine: %w", err)
		}
		for line := range strings.Lines(string(data)) {
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil || pid == 0 {
				continue // 0: of a namespace that cannot be seen from here
			}
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("end machine: %w", err)
			}
		}
		return nil
	})
}

// removeTree removes directories from the leaves up; a cgroup's files go with
// it.
func removeTree(root string) error {
	var dirs []string
	if err := walk(root, func(dir string) error { dirs = append(dirs, dir); return nil }); err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}

// walk visits a cgroup and those below it. Any of them may vanish meanwhile.
func walk(root string, visit func(dir string) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("look through cgroup: %w", err)
		case d.IsDir():
			return visit(path)
		}
		return nil
	})
}

// recordName is the file in a node's directory with the cgroups that are to be
// removed, should the run that made them be killed. They depend on where that
// run was.
const recordName = "cgroups"

func writeRecord(dir string, groups []string) error {
	if err := os.WriteFile(filepath.Join(dir, recordName), []byte(strings.Join(groups, "\n")), 0o600); err != nil {
		return fmt.Errorf("write down cgroups: %w", err)
	}
	return nil
}

func readRecord(dir string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it never booted
	}
	if err != nil {
		return nil, fmt.Errorf("read cgroups: %w", err)
	}
	return strings.Fields(string(data)), nil
}
