package fence

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOlderKernel runs the tests of this package again, with the hooks of kernels
// that have no tcx.
func TestOlderKernel(t *testing.T) {
	if _, older := systemHooks().(clsact); older {
		return // all of them run with those now
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.timeout=15m")
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, insideEnv+"=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, olderEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestClsact") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestClsact: what is special about those hooks.
func TestClsact(t *testing.T) {
	l := newLab(t)
	tc := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("tc", args...).CombinedOutput(); err != nil {
			t.Fatalf("tc %v: %v: %s", args, err, out)
		}
	}
	refused := func(says string) {
		t.Helper()
		f, err := Open(dir, both, long())
		if err != nil {
			t.Fatal(err)
		}
		f.hooks = clsact{}
		if err := f.Attach(l.link); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
		if err := f.forget(); err != nil {
			t.Error(err)
		}
	}
	tc("qdisc", "add", "dev", nodeName, "ingress")
	refused("is another one in its place")
	tc("qdisc", "del", "dev", nodeName, "ingress")

	c := newCode()
	c.exit(0)
	fd, err := loadProgram("other", c.link())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := filterOther(fd, outward, "ip"); err != nil {
		t.Fatal(err)
	}
	refused("for another protocol")
	tc("filter", "del", "dev", nodeName, "egress")

	// Others replace filters by small numbers.
	f, err := Open(dir, both, long())
	if err != nil {
		t.Fatal(err)
	}
	f.hooks = clsact{}
	if err := f.Attach(l.link); err != nil {
		t.Fatal(err)
	}
	filters, err := clsact{}.filters(l.link, inward)
	if err != nil || len(filters) != 2 || min(filters[0].handle, filters[1].handle) < firstHandle {
		t.Errorf("%+v, %v", filters, err)
	}
	f.Set(0)
	l.expect(t, "closed", false)
	// A fence that is there stays as it is.
	if err := f.Attach(l.link); err != nil {
		t.Fatal(err)
	}
	if again, err := (clsact{}).filters(l.link, inward); err != nil || again[0] != filters[0] || again[1] != filters[1] {
		t.Errorf("attached twice: %+v, before %+v, %v", again, filters, err)
	}
	if err := (clsact{}).remove(filters[0], l.link, inward); err != nil {
		t.Fatal(err)
	}
	if err := (clsact{}).remove(filters[0], l.link, inward); err != nil {
		t.Errorf("remove one that is gone: %v", err)
	}
	if err := (clsact{}).add(f.posts[0].in, 1<<20, inward, firstHandle); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link that is not there: %v", err)
	}
	if there, err := (clsact{}).at(1<<20, inward); err != nil || len(there) != 0 {
		t.Errorf("a link that is not there: %v, %v", there, err)
	}
	if err := explainOld(unix.ENOENT); !strings.Contains(err.Error(), "CONFIG_NET_CLS_BPF") {
		t.Errorf("no such filters: %v", err)
	}
	for _, d := range []direction{inward, outward} {
		for _, p := range f.posts {
			if err := (clsact{}).detach(p.of(d), l.link, d); err != nil {
				t.Error(err)
			}
		}
	}
	if err := f.forget(); err != nil {
		t.Error(err)
	}
}
