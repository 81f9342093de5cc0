package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"havip/configs"
	"havip/kubeadm"
)

// nodeDir is a node: a directory that kubeadm and the control plane have as /.
type nodeDir struct {
	name, root string
	runner     *kubeadm.Runner
	watch      *watcher
}

const file = `
vip.address = "198.51.100.166"
[masters]
n1 = "198.51.100.162"
n2 = "198.51.100.163"
n3 = "198.51.100.164"
[kubeadm]
skip_phases = ["preflight"]  # it pulls images, and there is no runtime
kubelet_args = ["fail-swap-on=false"]
pod_subnet = "10.244.0.0/16"
cri_socket = "unix:///run/containerd/containerd.sock"
`

const file6 = `
vip.address = "2001:db8::166"
[masters]
n1 = "2001:db8::162"
n2 = "2001:db8::163"
n3 = "2001:db8::164"
[kubeadm]
skip_phases = ["preflight"]
kubelet_args = ["fail-swap-on=false"]
pod_subnet = "2001:db8:1::/64"
service_subnet = "2001:db8:2::/112"
cri_socket = "unix:///run/containerd/containerd.sock"
`

// newNode makes the directory and the runner. With proc the guards see what
// listens in the namespace.
func newNode(t *testing.T, name string, claims kubeadm.Claims, proc bool) *nodeDir {
	t.Helper()
	root := newRoot(t, proc)
	state := filepath.Join(root, "state")
	// kubeadm is told of its file by the path it has outside.
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(state)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/state", filepath.Join(root, state)); err != nil {
		t.Fatal(err)
	}
	c, err := configs.Decode("havip.toml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	self, ok := c.Master(name)
	if !ok {
		t.Fatal(name)
	}
	system := kubeadm.Node()
	system.Root = root
	n := &nodeDir{name: name, root: root, watch: &watcher{t: t}}
	n.runner = &kubeadm.Runner{Config: c, Self: self, System: system, Claims: claims, Members: fresh{}, Store: kubeadm.Store{Dir: state}, Progress: n.watch}
	return n
}

// newRoot makes a directory that can stand for /, with the binaries and something
// that answers as a container runtime would.
func newRoot(t *testing.T, proc bool) string {
	t.Helper()
	// The path of a socket has 107 bytes at most, so it is not the test's.
	root, err := os.MkdirTemp("", "node")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range []string{"binaries", "state", "proc", "dev"} {
			_ = syscall.Unmount(filepath.Join(root, dir), syscall.MNT_DETACH) // not all are mounted
		}
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	for _, dir := range []string{"binaries", "dev", "etc", "proc", "run/containerd", "state", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bind(t, *binaries, filepath.Join(root, "binaries"))
	bind(t, "/dev", filepath.Join(root, "dev"))
	if proc {
		bind(t, "/proc", filepath.Join(root, "proc"))
	}
	socket, err := net.Listen("unix", filepath.Join(root, "run/containerd/containerd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })

	return root
}

func bind(t *testing.T, from, to string) {
	t.Helper()
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		t.Fatalf("mount %s: %v", to, err)
	}
}

// use makes kubeadm and kubelet of the PATH those of this node.
func (n *nodeDir) use(t *testing.T) {
	t.Helper()
	bin := t.TempDir()
	for name, script := range map[string]string{
		"kubeadm": fmt.Sprintf("#!/bin/sh\nexec chroot %s /binaries/kubeadm \"$@\"\n", n.root),
		"kubelet": fmt.Sprintf("#!/bin/sh\necho Kubernetes $(chroot %s /binaries/kubeadm version -o short)\n", n.root),
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

// kubectl asks the cluster through the VIP.
func (n *nodeDir) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(*binaries, "kubectl"), append([]string{"--kubeconfig", filepath.Join(n.root, "etc/kubernetes/super-admin.conf")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// kubelet runs the static pods of a node until the test ends, registers the
// node, and says that it is healthy.
func (n *nodeDir) kubelet(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	health := &http.Server{Addr: "127.0.0.1:10248", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })}
	l, err := net.Listen("tcp", health.Addr)
	if err != nil {
		t.Fatal(err)
	}
	done.Go(func() { _ = health.Serve(l) })
	done.Go(func() { n.pods(ctx, t) })
	done.Go(func() { n.register(ctx) })
	t.Cleanup(func() { cancel(); health.Close(); done.Wait() })
}

// look is the pause between two looks at the manifests.
const look = 100 * time.Millisecond

// pods starts what is in the manifests.
func (n *nodeDir) pods(ctx context.Context, t *testing.T) {
	var running sync.WaitGroup
	defer running.Wait()
	started := make(map[string]bool)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		found, _ := filepath.Glob(filepath.Join(n.root, "etc/kubernetes/manifests/*.yaml")) // the pattern is right
		for _, path := range found {
			if command := podCommand(path); len(command) > 0 && !started[path] {
				started[path] = true
				running.Go(func() { n.serve(ctx, t, command) })
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// podCommand is what the only container of a pod runs.
func podCommand(path string) []string {
	var pod struct {
		Spec struct {
			Containers []struct{ Command []string }
		}
	}
	data, err := os.ReadFile(path)
	if err != nil || yaml.Unmarshal(data, &pod) != nil || len(pod.Spec.Containers) != 1 {
		return nil // not there yet, or half of it
	}
	return pod.Spec.Containers[0].Command
}

// serve runs one component, again and again, as a kubelet does.
func (n *nodeDir) serve(ctx context.Context, t *testing.T, command []string) {
	log, err := os.Create(filepath.Join(n.root, "tmp", command[0]+".log"))
	if err != nil {
		t.Error(err)
		return
	}
	defer log.Close()
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, "/binaries/"+command[0], command[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: n.root}
		cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
		err := cmd.Run()
		fmt.Fprintln(log, "ended:", err)
		select {
		case <-time.After(look):
		case <-ctx.Done():
		}
	}
}

// register makes the objects of the node and of its etcd member, which kubeadm
// finds the others' members by, as soon as there is something to make them in.
func (n *nodeDir) register(ctx context.Context) {
	node := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Node", "metadata": {"name": %q, "labels": {"kubernetes.io/hostname": %q}}}`, n.name, n.name)
	n.create(ctx, node, "-")
	n.create(ctx, "", filepath.Join(n.root, "etc/kubernetes/manifests/etcd.yaml"))
}

func (n *nodeDir) create(ctx context.Context, object, file string) {
	for ctx.Err() == nil {
		if _, err := n.kubectl(ctx, object, "create", "-f", file); err == nil {
			return
		}
		select {
		case <-time.After(5 * look):
		case <-ctx.Done():
		}
	}
}

// watcher writes the progress into the test's log, and can end a run.
type watcher struct {
	t     *testing.T
	stop  string // step at whose beginning to end the run
	end   context.CancelFunc
	mu    sync.Mutex
	steps []string
}

func (w *watcher) Note(text string)      { w.t.Log("note: " + text) }
func (w *watcher) Line(string)           {}
func (w *watcher) Skip(s kubeadm.Step)   { w.t.Log(s.Name + ": done before") }
func (w *watcher) ran() (steps []string) { w.mu.Lock(); defer w.mu.Unlock(); return w.steps }
func (w *watcher) Begin(s kubeadm.Step, _, _ int) {
	w.mu.Lock()
	w.steps = append(w.steps, s.Name)
	w.mu.Unlock()
	if s.Name == w.stop {
		w.end()
	}
}

func (w *watcher) End(s kubeadm.Step, took time.Duration, err error) {
	w.t.Logf("%s: %s, %v", s.Name, took.Round(time.Millisecond), err)
}

// claims is a daemon that hands the VIP over as soon as etcd answers.
type claims struct {
	mu    sync.Mutex
	claim kubeadm.Claim
}

func (c *claims) Check(context.Context, string) (kubeadm.Claim, error) { return kubeadm.Claim{}, nil }

func (c *claims) Claim(_ context.Context, run string) (kubeadm.Claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claim = kubeadm.Claim{State: kubeadm.ClaimHeld, Run: run, Left: time.Minute}
	return c.claim, nil
}

func (c *claims) Ask(context.Context) (kubeadm.Claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn, err := net.DialTimeout("tcp", "127.0.0.1:2379", time.Second); err == nil && c.claim.State == kubeadm.ClaimHeld {
		conn.Close()
		c.claim.State = kubeadm.ClaimHanded
	}
	return c.claim, nil
}

func (c *claims) End(context.Context, string) error {
	return errors.New("nothing should fail before the VIP is handed over")
}
func (c *claims) LetGo(context.Context) error { return nil }

// fresh is a daemon whose node never had an etcd member.
type fresh struct{}

func (fresh) Former(context.Context) (kubeadm.Former, error) { return kubeadm.Former{}, nil }
func (fresh) RemoveFormer(context.Context) (kubeadm.Former, error) {
	return kubeadm.Former{}, errors.New("nobody should remove anything")
}
