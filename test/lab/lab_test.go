package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/test/cluster"
)

func TestMain(m *testing.M) {
	RunPart(map[string]func() error{"owner": ownerMain})
	os.Exit(m.Run())
}

// ownerMain boots a machine, names its directory and waits to be killed.
func ownerMain() error {
	ctx := context.Background()
	l, err := New(ctx, Options{Machines: 1})
	if err != nil {
		return err
	}
	if err := l.PowerOn(ctx, l.Nodes...); err != nil {
		return errors.Join(err, l.Close())
	}
	fmt.Println(l.dir)
	select {}
}

const patience = 60 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// boot builds a lab of stand-in masters that are up, and takes it down with
// the test.
func boot(t *testing.T, machines int) *Lab {
	t.Helper()
	standin, err := NewStandIn()
	must(t, err)
	opts := standin.Options()
	opts.Machines = machines
	l, err := New(t.Context(), opts)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	must(t, l.PowerOn(t.Context(), l.Nodes...))
	must(t, cluster.WaitEtcd(t.Context(), patience, l.Seats(), l.Seats()...))
	return l
}

func TestMasters(t *testing.T) {
	l := boot(t, 3)
	ctx := t.Context()
	n1, n2 := l.Nodes[0], l.Nodes[1]
	must(t, l.StartWitness(cluster.VIP4))
	must(t, n1.AddVIP(cluster.VIP4))
	must(t, l.Witness.WaitAnswer(ctx, patience, cluster.Now(), "n1"))

	t.Run("what a daemon needs", func(t *testing.T) {
		for _, unit := range []string{"systemd-logind.service", "dbus.service", "etcd.service", "kubelet.service", "kube-apiserver.service"} {
			u, err := n2.Unit(ctx, unit)
			must(t, err)
			if u["ActiveState"] != "active" {
				t.Errorf("%s is %s", unit, u["ActiveState"])
			}
		}
		out, err := n2.Exec(ctx, "stat", "-c", "%a %n", "/etc/kubernetes/pki/apiserver-etcd-client.key", "/etc/kubernetes/pki/etcd/peer.key")
		must(t, err)
		want := "600 /etc/kubernetes/pki/apiserver-etcd-client.key\n600 /etc/kubernetes/pki/etcd/peer.key\n"
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("modes of keys (-want +got):\n%s", diff)
		}
	})
	t.Run("limits of units hold", func(t *testing.T) {
		out, err := n2.Exec(ctx, "systemd-run", "--wait", "--pipe", "--quiet", "--property=MemoryMax=64M", "sh", "-c",
			"cat /sys/fs/cgroup/memory/$(sed -n s/.*:memory://p /proc/self/cgroup)/memory.limit_in_bytes /sys/fs/cgroup/$(sed -n s/^0:://p /proc/self/cgroup)/memory.max 2>/dev/null || true")
		must(t, err)
		if got := strings.TrimSpace(out); got != "67108864" {
			t.Errorf("memory limit = %q, want 67108864", got)
		}
	})
	t.Run("reboot", func(t *testing.T) {
		etcd, err := n1.WatchEnd(ctx, "etcd.service")
		must(t, err)
		kubelet, err := n1.WatchEnd(ctx, "kubelet.service")
		must(t, err)
		_, err = n1.Exec(ctx, "systemctl", "reboot")
		must(t, err)
		reboot, err := n1.WaitOff(ctx, patience)
		must(t, err)
		if !reboot {
			t.Error("the machine went off instead of asking for a reboot")
		}
		stopped, err := kubelet.Wait(ctx)
		must(t, err)
		died, err := etcd.Wait(ctx)
		must(t, err)
		if died < stopped {
			t.Errorf("etcd ended %v before the kubelet: a pod outlives it", stopped-died)
		}
		if h := l.Sampler.Holders(); len(h) != 0 {
			t.Errorf("holders = %v while the machine is off, want none", h)
		}
		must(t, n1.PowerOn(ctx))
		must(t, cluster.WaitEtcd(ctx, patience, l.Seats(), l.Seats()...))
		out, err := n1.Exec(ctx, "ip", "-brief", "address", "show", "dev", "eth0")
		must(t, err)
		if strings.Contains(out, cluster.VIP4.String()+"/") {
			t.Errorf("an address outlived the reboot: %s", out)
		}
	})
	t.Run("poweroff", func(t *testing.T) {
		_, err := n2.Exec(ctx, "systemctl", "poweroff")
		must(t, err)
		if reboot, err := n2.WaitOff(ctx, patience); reboot || err != nil {
			t.Errorf("WaitOff = %v, %v, want a machine that stays off", reboot, err)
		}
		must(t, n2.PowerOn(ctx))
	})
	t.Run("power cut", func(t *testing.T) {
		must(t, n1.WriteFile("/var/tmp/kept", "kept\n", 0o644))
		must(t, n1.WriteFile("/run/gone", "gone\n", 0o644))
		must(t, n1.PowerCut())
		must(t, n1.PowerOn(ctx))
		out, _, code, err := n1.Try(ctx, "cat", "/var/tmp/kept", "/run/gone")
		must(t, err)
		if out != "kept\n" || code != 1 {
			t.Errorf("after the power cut: %q and exit status %d, want the file on the disk alone", out, code)
		}
		must(t, cluster.WaitEtcd(ctx, patience, l.Seats(), l.Seats()...))
	})
	t.Run("a unit that fails is told", func(t *testing.T) {
		must(t, n2.WriteFile("/etc/systemd/system/bad.service", "[Service]\nExecStart=/bin/false\n\n[Install]\nWantedBy=multi-user.target\n", 0o644))
		_, err := n2.Exec(ctx, "systemctl", "enable", "bad.service")
		must(t, err)
		must(t, n2.PowerCut())
		if err := n2.PowerOn(ctx); err == nil || !strings.Contains(err.Error(), "bad.service") {
			t.Errorf("PowerOn = %v, want that bad.service failed", err)
		}
	})
}

// traces are what labs leave on the machine that runs them.
func traces(t *testing.T) (found []string) {
	t.Helper()
	for _, pattern := range []string{shmDir + "/" + dirPrefix + "*", cgroupRoot + "/*/" + dirPrefix + "*", cgroupRoot + "/" + dirPrefix + "*"} {
		paths, err := filepath.Glob(pattern)
		must(t, err)
		found = append(found, paths...)
	}
	notes, err := filepath.Glob("/run/systemd/nspawn/*/*")
	must(t, err)
	found = append(found, notes...)
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dirPrefix) {
			found = append(found, line)
		}
	}
	return found
}

func TestCloseLeavesNothing(t *testing.T) {
	before := traces(t)
	l := boot(t, 1)
	must(t, l.Close())
	if diff := cmp.Diff(before, traces(t)); diff != "" {
		t.Errorf("traces on this machine (-before +after):\n%s", diff)
	}
	if l.Nodes[0].running() {
		t.Error("the machine runs after Close")
	}
}

func TestKilledOwnerLeavesNothing(t *testing.T) {
	must(t, removeLeftovers()) // of runs before this one
	before := traces(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), cluster.PartVariable+"=owner")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	lines.Scan()
	dir := lines.Text()
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // says that it was killed
	if _, err := os.Stat(dir); err != nil || dir == "" {
		t.Fatalf("the owner said %q and left %v", dir, err)
	}
	groups, err := readRecord(filepath.Join(dir, "n1"))
	must(t, err)
	must(t, cluster.Poll(t.Context(), patience, "the machine to die with its owner", func() bool {
		return !slices.ContainsFunc(groups, populated)
	}))
	must(t, removeLeftovers())
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory after removeLeftovers: stat = %v, want none", err)
	}
	if diff := cmp.Diff(before, traces(t)); diff != "" {
		t.Errorf("traces on this machine (-before +after):\n%s", diff)
	}
}

func TestImage(t *testing.T) {
	image, err := NewImage(t.Context(), Systemd)
	must(t, err)
	t.Cleanup(func() { must(t, image.Close()) })
	image.Binds = map[string]string{"/lab/here": t.TempDir()}
	if _, err := image.Inside(t.Context(), "sh", "-c", "echo kept > /etc/written && echo x > /lab/here/x && test -d /proc/self"); err != nil {
		t.Fatal(err)
	}
	out, err := image.Outside(t.Context(), "cat", filepath.Join(image.Root(), "etc/written"), filepath.Join(image.Root(), "lab/here/x"))
	if err != nil || out != "kept\nx\n" {
		t.Errorf("seen from outside: %q, %v, want what was written inside", out, err)
	}
	if _, err := image.Inside(t.Context(), "sh", "-c", "echo why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("a command that fails = %v, want why", err)
	}
	if entries, err := os.ReadDir(image.Root()); err != nil || len(entries) != 0 {
		t.Errorf("%s shows %v, %v: the image is mounted for everybody", image.Root(), entries, err)
	}
}

func TestIdentity(t *testing.T) {
	self, err := identify(os.Getpid())
	must(t, err)
	if !self.alive() {
		t.Errorf("%v is not alive", self)
	}
	again, err := parseIdentity(self.String())
	if err != nil || again != self {
		t.Errorf("parseIdentity(%v) = %v, %v", self, again, err)
	}
	if other := (identity{self.pid, self.start + 1}); other.alive() {
		t.Errorf("%v is alive: it is another process with the same number", other)
	}
	if _, err := parseIdentity("x"); err == nil {
		t.Error("parseIdentity(x) = nil error")
	}
}

func TestOfSuite(t *testing.T) {
	got := ofSuite("bookworm deb a bookworm main\ntrixie deb b trixie main\nbookworm deb a bookworm main\nbookworm-security deb c bookworm-security main\n")
	want := "deb a bookworm main\ndeb c bookworm-security main\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if got := ofSuite(""); got != "" {
		t.Errorf("sources of nothing = %q", got)
	}
}

func TestRecipeKeys(t *testing.T) {
	keys := []string{Systemd.key(), Systemd.With("more", "curl").key(), Recipe{Level: "systemd", Packages: Systemd.Packages[1:]}.key()}
	slices.Sort(keys)
	if got := slices.Compact(slices.Clone(keys)); len(got) != len(keys) {
		t.Errorf("keys of different recipes: %v", keys)
	}
}

// populated reports whether a process is in the cgroup or below.
func populated(group string) (found bool) {
	_ = walk(group, func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		found = found || err == nil && len(data) > 0
		return nil
	})
	return found
}

// TestReimage: what a machine wrote is gone from its disk and from those beside it,
// and it boots as it did the first time.
func TestReimage(t *testing.T) {
	const disk = "/var/lib/thing"
	l, err := New(t.Context(), Options{Machines: 1, Disks: []string{disk}, Prepare: func(n *Node) error { return n.WriteFile("/etc/first", "", 0o644) }})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	n := l.Nodes[0]
	must(t, l.PowerOn(t.Context(), n))
	if err := n.Reimage(); err == nil {
		t.Error("a machine that is on was made anew")
	}
	_, err = n.Exec(t.Context(), "touch", "/etc/later", disk+"/later")
	must(t, err)
	must(t, n.PowerCut())
	must(t, n.Reimage())
	must(t, l.PowerOn(t.Context(), n))
	out, err := n.Exec(t.Context(), "sh", "-c", "cat /etc/hostname; ls -d /etc/first /etc/later "+disk+"/later 2>/dev/null || true")
	must(t, err)
	if diff := cmp.Diff("n1\n/etc/first\n", out); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}
