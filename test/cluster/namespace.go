package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errNamespaceClosed is returned for work on a namespace that is gone.
var errNamespaceClosed = errors.New("network namespace is closed")

// namespace is a network namespace without a name, kept by one thread.
// Whatever must happen inside it is done by that thread, one thing at a time.
type namespace struct {
	file *os.File // the namespace itself, for setns and as a link's target
	work chan func()
	stop chan struct{}
	gone chan struct{}
}

func newNamespace() (*namespace, error) {
	n := &namespace{work: make(chan func()), stop: make(chan struct{}), gone: make(chan struct{})}
	ready := make(chan error)
	go n.onOwnThread(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	return n, nil
}

// onOwnThread keeps away from the process's main thread: that one never ends,
// and would keep the namespace and its processes alive after Close.
func (n *namespace) onOwnThread(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		n.run(ready)
		return // still locked: the runtime ends the thread with the goroutine
	}
	moved := make(chan error)
	go n.onOwnThread(moved)
	err := <-moved
	runtime.UnlockOSThread()
	ready <- err
}

func (n *namespace) run(ready chan<- error) {
	defer close(n.gone)
	if err := n.enterNew(); err != nil {
		ready <- err
		return
	}
	defer n.file.Close()
	ready <- nil
	for {
		select {
		case f := <-n.work:
			f()
		case <-n.stop:
			return
		}
	}
}

func (n *namespace) enterNew() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("needs root: %w", err)
		}
		return err
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	n.file = f
	return err
}

// do runs f on the namespace's thread and waits for it.
func (n *namespace) do(f func() error) error {
	result := make(chan error, 1)
	select {
	case n.work <- func() { result <- f() }:
		return <-result
	case <-n.gone:
		return errNamespaceClosed
	}
}

// start starts the program inside the namespace. It dies with the namespace's
// thread, so it outlives neither Close nor this process.
func (n *namespace) start(cmd *exec.Cmd) error { return n.startSlack(cmd, 0) }

// startSlack is start with a timer slack, which a program has from the thread
// that starts it.
func (n *namespace) startSlack(cmd *exec.Cmd, slack time.Duration) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// A group of its own: Ctrl-C at the terminal is for this process alone,
	// which then ends the others in order.
	cmd.SysProcAttr.Setpgid = true
	return n.do(func() error {
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0); err != nil { // 0 is the one it had first
			return fmt.Errorf("set timer slack: %w", err)
		}
		return cmd.Start()
	})
}

// dial connects from inside the namespace. It uses a thread of its own, so
// that a slow peer does not hold up the namespace's other work.
func (n *namespace) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type answer struct {
		conn net.Conn
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			got <- answer{err: fmt.Errorf("enter network namespace: %w", err)}
			return
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		got <- answer{conn, err}
	}()
	a := <-got
	return a.conn, a.err
}

// dialLocal connects to something in the same namespace that answers at once
// or not at all.
func (n *namespace) dialLocal(address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	return n.dial(ctx, "tcp", address)
}

func (n *namespace) listen(network, address string) (l net.Listener, err error) {
	err = n.do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// path names the namespace to another process of the same user.
func (n *namespace) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
}

// close ends the namespace's thread and with it every process started in it.
// Closing twice is harmless.
func (n *namespace) close() {
	select {
	case <-n.gone:
	case n.stop <- struct{}{}:
		<-n.gone
	}
}
