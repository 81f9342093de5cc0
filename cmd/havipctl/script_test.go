package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"havip/kubeadm"
	"havip/test/kubeadmtest"
)

func TestMain(m *testing.M) {
	kubeadmtest.Become()
	testscript.Main(m, map[string]func(){"havipctl": scriptMain})
}

// scriptMain is main on a node that is a directory, if the script has one.
func scriptMain() {
	root := os.Getenv("ROOT")
	if root == "" {
		main()
		return
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if network != "tcp" {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(root, "endpoint"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: unix.EHOSTUNREACH}
		}
		return conn, err
	}
	own := netip.MustParseAddr(os.Getenv("NODE"))
	node := kubeadm.System{
		Root: root, UID: 0, Dial: dial, Addresses: func() ([]netip.Addr, error) { return []netip.Addr{own}, nil },
		Links: func() ([]kubeadm.Link, error) {
			return []kubeadm.Link{{Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Up: true, Carrier: true, Prefixes: []netip.Prefix{netip.PrefixFrom(own, 24)}}}, nil
		},
		Ask: askFakes, Synchronised: func() (bool, error) { return true, nil },
	}
	os.Exit(run(node, os.Getenv("STATE")))
}

// askFakes knows the programs that are fakes, and none of this machine.
func askFakes(ctx context.Context, program string, args ...string) (string, error) {
	if program != "kubeadm" && program != "kubelet" {
		return "", fmt.Errorf("%s %w", program, kubeadm.ErrNotInstalled)
	}
	return kubeadm.Ask(ctx, program, args...)
}

// TestScripts runs the real main against a daemon that serves the documents of
// daemon/status/testdata. The commands added to testscript's own:
//
//	daemon NAME…         serve these documents on $SOCK, one for each status call,
//	                     the last one again and again; also !hang, !drop, !schema, !garbage
//	answer PATH CODE TEXT  what a changing call answers
//	asked TEXT           the last changing call was this, or the last one for the history
//	served N             wait until N status calls were answered
//	stopdaemon           end it; the socket goes with it
//	exit CODE CMD ARG…   run a command that ends with this exit code
//	nocaps CODE CMD ARG… the same without any capability
//	node ADDRESS         be a node with a fake kubeadm and a container runtime
//	kubeadm set NAME     what the fake kubeadm does (test/kubeadmtest); also unset
//	kubeadm block PHASE  let a phase wait; also unblock, and reach: wait until it
//	                     waits
//	locked               a run, or a kubeadm that one left, has the lock
//	ran PHASE…           the phases that it has run since the last ran
//	claims STATE         what the daemon says of a claim: granted, refused, absent
func TestScripts(t *testing.T) {
	docs, err := filepath.Abs("../../daemon/status/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// The work directory's path may be too long for a unix socket (108 bytes).
			dir, err := os.MkdirTemp("", "havip")
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(dir) })
			sock := filepath.Join(dir, "sock")
			f := newFake(docs, sock)
			env.Defer(f.stop)
			env.Values[fakeKey{}] = f
			env.Values[nodeKey{}] = &nodeDir{dir: filepath.Join(dir, "node")}
			env.Setenv("SOCK", sock)
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon":     func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(fakeOf(ts).start(args)) },
			"stopdaemon": func(ts *testscript.TestScript, _ bool, _ []string) { fakeOf(ts).stop() },
			"answer":     answerCommand,
			"asked":      askedCommand,
			"served":     servedCommand,
			"exit":       func(ts *testscript.TestScript, _ bool, args []string) { exitCommand(ts, args[0], args[1:]) },
			"nocaps":     nocapsCommand,
			"node":       nodeCommand,
			"kubeadm":    kubeadmCommand,
			"ran":        ranCommand,
			"locked":     lockedCommand,
			"claims":     func(ts *testscript.TestScript, _ bool, args []string) { fakeOf(ts).grant(args[0]) },
		},
	})
}

func answerCommand(ts *testscript.TestScript, _ bool, args []string) {
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	fakeOf(ts).answer("/v1/"+args[0], code, args[2])
}

func askedCommand(ts *testscript.TestScript, _ bool, args []string) {
	if got := fakeOf(ts).lastChange(); got != args[0] {
		ts.Fatalf("asked %q, not %q", got, args[0])
	}
}

func servedCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	if !fakeOf(ts).waitServed(n, 20*time.Second) {
		ts.Fatalf("less than %d status calls in 20 s", n)
	}
}

func exitCommand(ts *testscript.TestScript, code string, args []string) {
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[0], args[1:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != code {
		ts.Fatalf("exit code %d, not %s", got, code)
	}
}

// nocapsCommand makes root obey file modes as everybody does.
func nocapsCommand(ts *testscript.TestScript, _ bool, args []string) {
	cmd := args[1:]
	if os.Geteuid() == 0 {
		cmd = append([]string{"setpriv", "--bounding-set=-all", "--inh-caps=-all"}, cmd...)
	}
	exitCommand(ts, args[0], cmd)
}

type nodeKey struct{}

// nodeDir is where the node of a script is, once it has one.
type nodeDir struct {
	dir  string
	fake *kubeadmtest.Fake
	seen int // phases that ran has asked for
}

func nodeOf(ts *testscript.TestScript) *nodeDir { return ts.Value(nodeKey{}).(*nodeDir) }

// nodeCommand makes the node, and something that answers at the endpoint.
func nodeCommand(ts *testscript.TestScript, _ bool, args []string) {
	help, err := filepath.Abs("../../kubeadm/testdata")
	ts.Check(err)
	n := nodeOf(ts)
	if n.fake == nil {
		fake, env, err := kubeadmtest.Install(n.dir, help)
		ts.Check(err)
		n.fake = fake
		for _, pair := range env {
			name, value, _ := strings.Cut(pair, "=")
			if name == "PATH" {
				value += string(filepath.ListSeparator) + ts.Getenv("PATH")
			}
			ts.Setenv(name, value)
		}
		for _, path := range []string{"run/containerd/containerd.sock", "endpoint"} {
			path = filepath.Join(fake.Root(), path)
			ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
			l, err := net.Listen("unix", path)
			ts.Check(err)
			ts.Defer(func() { l.Close() })
		}
		ts.Setenv("ROOT", fake.Root())
		ts.Setenv("STATE", filepath.Join(n.dir, "state"))
	}
	ts.Setenv("NODE", args[0])
}

func kubeadmCommand(ts *testscript.TestScript, _ bool, args []string) {
	n := nodeOf(ts)
	switch args[0] {
	case "set":
		ts.Check(n.fake.Set(args[1], ""))
	case "unset":
		ts.Check(n.fake.Unset(args[1]))
	case "block":
		ts.Check(n.fake.Block(args[1]))
	case "unblock":
		ts.Check(n.fake.Unblock(args[1]))
	case "reach":
		end := time.After(20 * time.Second)
		for tick := time.Tick(5 * time.Millisecond); !slices.Contains(n.fake.Blocked(), args[1]); {
			select {
			case <-tick:
			case <-end:
				ts.Fatalf("%s was not reached in 20 s", args[1])
			}
		}
	default:
		ts.Fatalf("kubeadm %s?", args[0])
	}
}

func lockedCommand(ts *testscript.TestScript, neg bool, _ []string) {
	f, err := os.Open(filepath.Join(ts.Getenv("STATE"), "lock"))
	ts.Check(err)
	defer f.Close()
	locked := errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	if locked == neg {
		ts.Fatalf("locked: %v", locked)
	}
}

func ranCommand(ts *testscript.TestScript, _ bool, args []string) {
	n := nodeOf(ts)
	all := n.fake.Phases()
	got := all[n.seen:]
	n.seen = len(all)
	if !slices.Equal(got, args) {
		ts.Fatalf("ran %v, not %v", got, args)
	}
}
