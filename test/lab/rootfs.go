package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"havip/test/cluster"
)

// suite is the Debian that machines run.
const suite = "bookworm"

// Recipe says what is in the tree that machines boot from. Each recipe has a
// tree of its own in the cache.
type Recipe struct {
	Level    string   // its name in the cache, and what it is for
	Packages []string // beside Debian's minimal set
}

// Systemd is a machine with systemd, logind and the bus, and without
// Kubernetes. Whoever looks into one wants ip, ps and ping.
var Systemd = Recipe{
	Level: "systemd",
	Packages: []string{
		"systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev", "iproute2", "iputils-ping", "procps", "netbase",
	},
}

// With returns the recipe with more packages under another name, for a level
// above this one.
func (r Recipe) With(level string, packages ...string) Recipe {
	return Recipe{Level: level, Packages: append(slices.Clone(r.Packages), packages...)}
}

// masked are units that have nothing to do in a container: there is no
// hardware, no terminal and no network to reach out to.
var masked = []string{
	"systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket",
	"systemd-timesyncd.service", "systemd-modules-load.service", "systemd-sysctl.service", "getty.target", "console-getty.service",
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
}

// finish runs in the new tree. A list of packages that the machine cannot
// reach would make every apt-get update fail.
var finish = `set -eu
rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin
rm -f "$1"/etc/machine-id "$1"/etc/hostname
for unit in ` + strings.Join(masked, " ") + `; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done
ln -sf /lib/systemd/system/multi-user.target "$1/etc/systemd/system/default.target"
rm -f "$1"/etc/systemd/system/*.wants/systemd-networkd.service "$1"/etc/systemd/system/*.wants/systemd-networkd-wait-online.service
mkdir -p "$1/var/log/journal"
: > "$1/etc/fstab"
: > "$1/etc/resolv.conf"
`

// key changes whenever the tree would.
func (r Recipe) key() string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{suite, finish}, r.Packages...), "\n")))
	return fmt.Sprintf("%s-%x", r.Level, sum[:6])
}

// Rootfs returns the directory with the recipe's tree. The first time it is
// made from the packages that this machine's apt knows, which takes half a
// minute and a network.
func Rootfs(ctx context.Context, r Recipe) (string, error) {
	dir := filepath.Join(cluster.CacheDir(), "rootfs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make rootfs: %w", err)
	}
	path := filepath.Join(dir, r.key())
	unlock, err := lock(path + ".lock")
	if err != nil {
		return "", fmt.Errorf("make rootfs: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := r.build(ctx, path); err != nil {
		return "", fmt.Errorf("make rootfs %s: %w", r.Level, err)
	}
	return path, nil
}

// lock lets one process at a time make a tree.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// build makes the tree beside its place and moves it there when it is whole.
func (r Recipe) build(ctx context.Context, path string) error {
	sources, err := sources(ctx)
	if err != nil {
		return err
	}
	unfinished := path + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	args := []string{
		"--mode=root", "--variant=minbase", "--include=" + strings.Join(r.Packages, ","),
		"--dpkgopt=path-exclude=/usr/share/locale/*", "--customize-hook=sh -c '" + finish + "' -- \"$1\"",
	}
	options, err := aptOptions(ctx)
	if err != nil {
		return err
	}
	for _, o := range options {
		args = append(args, "--aptopt="+o)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, unfinished, "-")...)
	cmd.Stdin = strings.NewReader(sources)
	// What it mounts ends with it, also when it is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run mmdebstrap: %w\n%s", err, bytes.TrimSpace(out))
	}
	return os.Rename(unfinished, path)
}

// sources are the lines of a sources.list for the suite, from what this
// machine's own apt uses, whatever form that has.
func sources(ctx context.Context) (string, error) {
	lines, err := knownSources(ctx)
	if err == nil && lines == "" {
		// Whose a source is apt learns only when it is asked.
		if out, err := exec.CommandContext(ctx, "apt-get", "-qq", "update").CombinedOutput(); err != nil {
			return "", fmt.Errorf("run apt-get update: %w\n%s", err, bytes.TrimSpace(out))
		}
		lines, err = knownSources(ctx)
	}
	if err == nil && lines == "" {
		err = errors.New("apt has no source of Debian " + suite + ": add one to /etc/apt/sources.list.d")
	}
	return lines, err
}

func knownSources(ctx context.Context) (string, error) {
	format := "$(CODENAME) deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(RELEASE) $(COMPONENT)"
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", format, "Created-By: Packages", "Origin: Debian").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt for its sources: %w", err)
	}
	return ofSuite(string(out)), nil
}

// ofSuite picks the sources of the suite and its updates, each once, out of
// lines that begin with a code name.
func ofSuite(listed string) string {
	var lines []string
	for line := range strings.Lines(listed) {
		codename, source, _ := strings.Cut(strings.TrimSpace(line), " ")
		if (codename == suite || strings.HasPrefix(codename, suite+"-")) && !slices.Contains(lines, source+"\n") {
			lines = append(lines, source+"\n")
		}
	}
	return strings.Join(lines, "")
}

// aptOptions are this machine's settings without which its sources may not be
// reachable or not be accepted.
func aptOptions(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return nil, fmt.Errorf("ask apt for its settings: %w", err)
	}
	options := []string{`Acquire::Languages "none";`}
	for line := range strings.Lines(string(out)) {
		for _, prefix := range []string{"Acquire::http::", "Acquire::https::", "Acquire::Check-Valid-Until "} {
			if strings.HasPrefix(line, prefix) {
				options = append(options, strings.TrimSpace(line))
			}
		}
	}
	return options, nil
}
