package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// Markers in the environment of processes that the tests start.
const (
	insideEnv = "HAVIP_VIP_TEST_INSIDE" // runs in namespaces of its own
	childEnv  = "HAVIP_VIP_TEST_CHILD"  // is the subject of a guard test
)

var (
	vip4 = netip.MustParseAddr("198.51.100.166")
	vip6 = netip.MustParseAddr("2001:db8::166")
)

// TestMain runs the tests in a fresh network namespace, and in a mount namespace
// where "ip netns" leaves nothing behind, so that the machine's own links are
// never touched.
func TestMain(m *testing.M) {
	if mode := os.Getenv(childEnv); mode != "" {
		os.Exit(guardChild(mode))
	}
	if os.Getuid() != 0 || os.Getenv(insideEnv) != "" {
		if err := enter(); err != nil {
			fmt.Fprintln(os.Stderr, "set up the namespace:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:    syscall.SIGKILL,
	}
	// Pdeathsig looks at the thread that started the child.
	runtime.LockOSThread()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "start in a namespace:", err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// enter finishes the namespaces: private mounts, /sys and /run of its own, lo up.
func enter() error {
	if os.Getuid() != 0 {
		return nil
	}
	for _, mnt := range []struct {
		src, dst, typ string
		flags         uintptr
	}{
		{"none", "/", "", syscall.MS_REC | syscall.MS_PRIVATE},
		{"tmpfs", "/run", "tmpfs", 0},
	} {
		if err := syscall.Mount(mnt.src, mnt.dst, mnt.typ, mnt.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", mnt.dst, err)
		}
	}
	out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	return noDAD()
}

// noDAD lets link-local addresses of links to come work at once.
func noDAD() error {
	return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("needs root: run sudo make test")
	}
}

// ip runs iproute2 and returns what it printed.
func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// lab is a veth pair: the end called node is in this process' namespace, with
// the node's own addresses; the end called peer in a namespace of its own.
type lab struct {
	node, peer string
	ns         string
}

const (
	nodeAddr, peerAddr   = "198.51.100.162/24", "198.51.100.20/24"
	nodeAddr6, peerAddr6 = "2001:db8::162/64", "2001:db8::20/64"
)

func newLab(t *testing.T) lab {
	t.Helper()
	needRoot(t)
	l := lab{node: "node0", peer: "peer0", ns: "peer"}
	ip(t, "netns", "add", l.ns)
	t.Cleanup(func() { ip(t, "netns", "del", l.ns) })
	l.inPeer(t, noDAD)
	l.connect(t)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", l.node).Run() })
	ip(t, "-n", l.ns, "link", "set", "lo", "up")
	ip(t, "-n", l.ns, "addr", "add", peerAddr, "dev", l.peer)
	ip(t, "-n", l.ns, "addr", "add", peerAddr6, "dev", l.peer, "nodad")
	return l
}

// connect makes the pair; after the node's end was deleted it makes it again.
func (l lab) connect(t *testing.T) {
	t.Helper()
	ip(t, "link", "add", l.node, "type", "veth", "peer", "name", l.peer, "netns", l.ns)
	ip(t, "addr", "add", nodeAddr, "dev", l.node)
	ip(t, "addr", "add", nodeAddr6, "dev", l.node, "nodad")
	ip(t, "link", "set", l.node, "up")
	ip(t, "-n", l.ns, "link", "set", l.peer, "up")
	// IPv6 accepts nothing before its link-local address is settled.
	eventually(t, "carrier", func() bool {
		return !strings.Contains(ip(t, "addr", "show", "dev", l.node), "tentative") &&
			strings.Contains(ip(t, "addr", "show", "dev", l.node), "LOWER_UP")
	})
}

// vip returns a VIP with the given addresses on the lab's link.
func (l lab) vip(t *testing.T, addrs ...netip.Addr) *VIP {
	t.Helper()
	return mustNew(t, Config{Addresses: addrs, Interface: l.node})
}

func mustNew(t *testing.T, c Config) *VIP {
	t.Helper()
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// inPeer runs f on a thread in the peer's namespace.
func (l lab) inPeer(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it the
		// only thread that was moved.
		runtime.LockOSThread()
		ns, err := netns.GetFromName(l.ns)
		if err == nil {
			err = errors.Join(netns.Set(ns), ns.Close())
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in the peer's namespace: %v", err)
	}
}

func (l lab) peerLink(t *testing.T) (out Link) {
	t.Helper()
	l.inPeer(t, func() error {
		li, err := system{}.linkByName(l.peer)
		out = li.public()
		return err
	})
	return out
}

// patience is how long a test waits for something, on a busy machine too.
const patience = 20 * time.Second

// eventually polls the kernel, which tells nobody when it is done.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// soon is a latest moment that no test reaches.
func soon() time.Duration { return Now() + time.Minute }

func contains(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%q lacks %q", got, w)
		}
	}
}

// addrsOf lists the addresses as strings, for comparison.
func addrsOf(found []Found) []string {
	var out []string
	for _, f := range found {
		out = append(out, f.prefix().String())
	}
	slices.Sort(out)
	return out
}

func vips() []netip.Addr { return []netip.Addr{vip4, vip6} }
