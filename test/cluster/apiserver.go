package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// apiserverControl is the harness's end of a running stand-in API server.
type apiserverControl struct {
	proc  *process
	stdin *os.File
	said  chan string // each mode, once it is in force
}

// StartAPIServer starts the node's API server, ready, unless it is running.
func (n *Node) StartAPIServer() error {
	if n.api != nil && n.api.proc.running() {
		return nil
	}
	stderr, err := n.logFile("apiserver.log")
	if err != nil {
		return err
	}
	defer stderr.Close()
	p := part("apiserver", n.Name, filepath.Join(n.PKI, "apiserver.crt"), filepath.Join(n.PKI, "apiserver.key"), string(Ready))
	p.stderr = stderr
	proc, stdin, stdout, err := n.ns.spawnPiped(p)
	if err != nil {
		return err
	}
	api := &apiserverControl{proc: proc, stdin: stdin, said: make(chan string)}
	go func() {
		defer close(api.said)
		defer stdout.Close()
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			api.said <- lines.Text()
		}
	}()
	n.api = api
	return nil
}

// KillAPIServer ends the node's API server with SIGKILL.
func (n *Node) KillAPIServer() error {
	if n.api == nil {
		return nil
	}
	n.api.stdin.Close()
	return n.api.proc.kill()
}

// SetAPIServer changes how the node's API server behaves and waits until it
// does.
func (n *Node) SetAPIServer(mode APIServerMode) error {
	if n.api == nil || !n.api.proc.running() {
		return fmt.Errorf("set API server of %s to %s: not running", n.Name, mode)
	}
	if _, err := fmt.Fprintln(n.api.stdin, mode); err != nil {
		return fmt.Errorf("set API server of %s to %s: %w", n.Name, mode, err)
	}
	select {
	case said, ok := <-n.api.said:
		if !ok || said != string(mode) {
			return fmt.Errorf("set API server of %s to %s: it said %q", n.Name, mode, said)
		}
		return nil
	case <-time.After(10 * time.Second): // it may just be starting
		return fmt.Errorf("set API server of %s to %s: %w", n.Name, mode, errors.New("no answer"))
	}
}
