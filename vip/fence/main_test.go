package fence

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"havip/vip"
)

// Markers in the environment of processes that the tests start.
const (
	insideEnv = "HAVIP_FENCE_TEST_INSIDE" // runs in namespaces of its own
	childEnv  = "HAVIP_FENCE_TEST_CHILD"  // fences a link and comes to grief
	olderEnv  = "HAVIP_FENCE_TEST_OLDER"  // does as on a kernel without tcx hooks
)

var (
	vip4 = netip.MustParseAddr("198.51.100.166")
	vip6 = netip.MustParseAddr("2001:db8::166")
	both = []netip.Addr{vip4, vip6}
)

// bpffs and dir are in the tests' own mount namespace.
const (
	bpffs = "/run/bpf"
	dir   = bpffs + "/havip"
)

// TestMain runs the tests in namespaces of their own.
func TestMain(m *testing.M) {
	if os.Getenv(olderEnv) != "" {
		systemHooks = func() hooks { return clsact{} }
	}
	if mode := os.Getenv(childEnv); mode != "" {
		os.Exit(childMain(mode))
	}
	if os.Getenv(insideEnv) != "" {
		if err := enter(); err != nil {
			fmt.Fprintln(os.Stderr, "set up the namespaces:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if os.Getuid() != 0 {
		os.Exit(m.Run()) // each test that needs root says so
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:    syscall.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig looks at the thread that started the child
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "start in namespaces:", err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

func enter() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := os.Mkdir(bpffs, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", bpffs, err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	return noDAD()
}

// noDAD lets link-local addresses of links to come work at once.
func noDAD() error {
	return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// lab is a veth pair: the end called node0 is in this process' namespace and has
// the VIP, as on a holder; the end called peer0 in a namespace of its own.
type lab struct {
	link int // index of node0
	wire *wire
}

const (
	nodeName, peerName = "node0", "peer0"
	peerNS             = "peer"
)

var (
	peer4 = netip.MustParseAddr("198.51.100.20")
	peer6 = netip.MustParseAddr("2001:db8::20")
)

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("needs root: run sudo make test")
	}
	ip(t, "netns", "add", peerNS)
	t.Cleanup(func() { ip(t, "netns", "del", peerNS) })
	inPeer(t, noDAD)
	l := &lab{}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", nodeName).Run() })
	l.connect(t)
	t.Cleanup(func() {
		if err := Remove(dir); err != nil {
			t.Errorf("tidy up: %v", err)
		}
	})
	return l
}

// connect makes the pair; after the node's end was deleted it makes it again.
func (l *lab) connect(t *testing.T) {
	t.Helper()
	ip(t, "link", "add", nodeName, "type", "veth", "peer", "name", peerName, "netns", peerNS)
	for _, a := range []string{"198.51.100.162/24", vip4.String() + "/32"} {
		ip(t, "addr", "add", a, "dev", nodeName)
	}
	for _, a := range []string{"2001:db8::162/64", vip6.String() + "/128"} {
		ip(t, "addr", "add", a, "dev", nodeName, "nodad")
	}
	ip(t, "link", "set", nodeName, "up")
	ip(t, "-n", peerNS, "addr", "add", peer4.String()+"/24", "dev", peerName)
	ip(t, "-n", peerNS, "addr", "add", peer6.String()+"/64", "dev", peerName, "nodad")
	ip(t, "-n", peerNS, "link", "set", peerName, "up")
	l.link = linkIndex(t, nodeName)
	inPeer(t, func() (err error) {
		l.wire, err = openWire(peerName)
		return err
	})
	t.Cleanup(l.wire.close)
	l.wire.learn(t)
}

func linkIndex(t *testing.T, name string) int {
	t.Helper()
	var ifr, err = unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	if err := unix.IoctlIfreq(s, unix.SIOCGIFINDEX, ifr); err != nil {
		t.Fatal(err)
	}
	return int(ifr.Uint32())
}

// inPeer runs f on a thread in the peer's namespace.
func inPeer(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(peerNS)
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

// open opens the fence of both addresses and puts it on the lab's link.
func (l *lab) open(t *testing.T, until time.Duration) *Fence {
	t.Helper()
	f, err := Open(dir, both, until)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.forget(); err != nil {
			t.Error(err)
		}
	})
	if err := f.Attach(l.link); err != nil {
		t.Fatal(err)
	}
	return f
}

// long is a deadline that no test reaches.
func long() time.Duration { return vip.Now() + time.Hour }
