package kubeadm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestWithDaemon makes a cluster by havipctl and havipd as they are installed,
// the directory of the node being their /: the claim, the phases, the hand-over to
// the election, and the VIP on the link all the while.
func TestWithDaemon(t *testing.T) {
	withDaemon(t, file, vip+"/32").changesVIP(t)
}

// TestWithDaemonIPv6 is a cluster without an IPv4 address: kubeadm has its etcd listen
// elsewhere.
func TestWithDaemonIPv6(t *testing.T) {
	address(t, "2001:db8::162/64", "nodad")
	withDaemon(t, file6, "2001:db8::166/128")
}

// withDaemon makes the cluster of a havip.toml.
func withDaemon(t *testing.T, file, vip string) *nodeDir {
	t.Helper()
	n := &nodeDir{name: "n1", root: newRoot(t, true), watch: &watcher{t: t}}
	for dir, files := range map[string]map[string]string{"etc/havip": {"havip.toml": file}, "etc": {"hosts": ""}, "run/havip": nil, "var/lib/havip": nil} {
		if err := os.MkdirAll(filepath.Join(n.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(n.root, dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.build(t, "havipd", "havipctl")
	n.kubelet(t)
	log := n.daemon(t, vip)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("havipd:\n%s", log)
			showLogs(t, n)
		}
	})
	if _, out := n.havipctl(t, "init", "--dry-run"); !strings.Contains(out, "handed-to-election") {
		t.Fatalf("the daemon does not answer, or a dry run refuses:\n%s", out)
	}
	seen := watchVIP(t, vip)
	code, out := n.havipctl(t, "init")
	if code != 0 {
		t.Fatalf("init: exit code %d\n%s", code, out)
	}
	t.Log(out)
	present, gone := seen()
	if present == 0 || gone > 0 {
		t.Errorf("the VIP was seen %d times from the claim on, and not seen %d times", present, gone)
	}
	t.Logf("the VIP was on the link in %d looks", present)
	n.checkHeld(t)
	if code, out := n.havipctl(t, "init"); code != 0 || !strings.Contains(out, "nothing to do: n1 is a master since ") {
		t.Errorf("again: exit code %d\n%s", code, out)
	}
	if code, out := n.havipctl(t, "token", "-o", "json"); code != 0 || !strings.Contains(out, `"ticket": "havip1,`) {
		t.Errorf("token: exit code %d\n%s", code, out)
	}
	return n
}

// build puts programs of this repository into the node.
func (n *nodeDir) build(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(n.root, "bin", name), "havip/cmd/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
}

// command is a program as the node has it.
func (n *nodeDir) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/bin/"+name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: n.root}
	cmd.Dir, cmd.Env = "/", []string{"PATH=/binaries", "HOME=/"}
	return cmd
}

// daemon starts havipd and waits for its socket.
func (n *nodeDir) daemon(t *testing.T, vip string) *safeBuffer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.command(ctx, "havipd")
	log := &safeBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	t.Cleanup(func() {
		cancel()
		<-ended
		if hasVIP(vip) {
			t.Error("havipd has ended, and the VIP is still there")
		}
	})
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", filepath.Join(n.root, "run/havip/havipd.sock"))
		if err == nil {
			conn.Close()
			return log
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("havipd ended:\n%s", log)
		}
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *safeBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func (n *nodeDir) havipctl(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	data, err := n.command(t.Context(), "havipctl", args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(data)
}

// checkHeld sees that the election has given this node the VIP.
func (n *nodeDir) checkHeld(t *testing.T) {
	t.Helper()
	_, out := n.havipctl(t, "status", "-o", "json") // exit code 1: nobody stands by
	var d struct {
		Holder struct{ Node string }
		Record struct{ State, Node string }
		Self   struct{ Role string }
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.Holder.Node != "n1" || d.Record.State != "held" || d.Record.Node != "n1" || d.Self.Role != "holder" {
		t.Errorf("status: %v\n%s", err, out)
	}
}

// watchVIP looks at the link until the returned function is called: how often the
// VIP was there, and how often it was not after it had been.
func watchVIP(t *testing.T, vip string) func() (present, gone int) {
	t.Helper()
	stop := make(chan struct{})
	var done sync.WaitGroup
	present, gone := 0, 0
	done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			switch {
			case hasVIP(vip):
				present++
			case present > 0:
				gone++
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	return func() (int, int) {
		close(stop)
		done.Wait()
		return present, gone
	}
}

func hasVIP(vip string) bool {
	l, err := net.InterfaceByName(link)
	if err != nil {
		return false
	}
	addresses, err := l.Addrs()
	return err == nil && slices.ContainsFunc(addresses, func(a net.Addr) bool { return a.String() == vip })
}
