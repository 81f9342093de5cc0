package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"havip/test/cluster"
	"havip/test/lab"
)

// Run is a havipctl init or join that is under way.
type Run struct {
	node *lab.Node
	cmd  *exec.Cmd
	said bytes.Buffer
	done chan struct{}
}

// Start starts havipctl on a node and does not wait for it.
func Start(ctx context.Context, n *lab.Node, stdin string, args ...string) (*Run, error) {
	r := &Run{node: n, done: make(chan struct{})}
	r.cmd = n.Command(ctx, append([]string{"havipctl"}, args...)...)
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = strings.NewReader(stdin), &r.said, &r.said
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start havipctl %s on %s: %w", strings.Join(args, " "), n.Name, err)
	}
	go func() {
		_ = r.cmd.Wait() // how it ended is read from cmd.ProcessState
		close(r.done)
	}()
	go r.keepAwake()
	return r, nil
}

// awakeEvery is how often nsenter is woken up.
const awakeEvery = 100 * time.Millisecond

// keepAwake wakes nsenter up: it stops when its child does, and a machine that goes
// down stops all that runs on it for a moment (systemd-shutdown). Asleep, nsenter
// would keep the dead child, and with it the machine, for 90 s.
func (r *Run) keepAwake() {
	tick := time.NewTicker(awakeEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			return
		case <-tick.C:
			_ = r.cmd.Process.Signal(unix.SIGCONT) // it may just have ended
		}
	}
}

// Kill sends SIGKILL to havipctl alone: a kubeadm that it started runs on.
func (r *Run) Kill() error {
	pid := r.cmd.Process.Pid // nsenter, whose child it soon is
	child := 0
	err := cluster.Poll(context.Background(), startTime, "havipctl to start", func() bool {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err == nil {
			_, err = fmt.Sscan(string(children), &child)
		}
		return err == nil || !r.running()
	})
	if err != nil {
		return err
	}
	if child == 0 {
		return errors.New("find havipctl: it has ended")
	}
	if err := unix.Kill(child, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill havipctl: %w", err)
	}
	<-r.done
	return nil
}

// Wait waits until it has ended, and says whether it succeeded.
func (r *Run) Wait() error {
	<-r.done
	if !r.cmd.ProcessState.Success() {
		return fmt.Errorf("%s on %s: %s: %s", strings.Join(r.cmd.Args[slices.Index(r.cmd.Args, "havipctl"):], " "), r.node.Name, r.cmd.ProcessState, r.said.String())
	}
	return nil
}

func (r *Run) running() bool {
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// Step is what the journal says of one.
type Step struct{ Name, State string }

// Steps reads the journal of init or join on a node; none if there is none yet.
func Steps(n *lab.Node) ([]Step, error) {
	data, err := os.ReadFile(n.Path("/var/lib/havip/kubeadm/journal.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var j struct{ Steps []Step }
	return j.Steps, json.Unmarshal(data, &j)
}

// startTime is for nsenter to start havipctl.
const startTime = 10 * time.Second

// stepTime bounds one step.
const stepTime = 4 * time.Minute

// WaitStep waits until the step is under way. One that was over before it was
// seen is reported as an error.
func (r *Run) WaitStep(ctx context.Context, name string) error {
	state := ""
	err := cluster.Poll(ctx, stepTime, "step "+name, func() bool {
		all, err := Steps(r.node)
		i := slices.IndexFunc(all, func(s Step) bool { return s.Name == name })
		if err != nil || i < 0 {
			return !r.running()
		}
		state = all[i].State
		return state != "" || !r.running()
	})
	if err == nil && state != "begun" {
		err = fmt.Errorf("step %s on %s is %q, want it under way: %s", name, r.node.Name, state, r.said.String())
	}
	return err
}

// Plan are the names of the steps of init or join on a node.
func Plan(ctx context.Context, n *lab.Node, command string) ([]string, error) {
	// A dry run of join wants no ticket; that there is no cluster yet it says by
	// its exit status.
	out, errOut, _, err := n.Try(ctx, "havipctl", command, "--dry-run", "-o", "json")
	if err != nil {
		return nil, err
	}
	var p struct{ Steps []struct{ Name string } }
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		return nil, fmt.Errorf("plan of %s: %w: %s", command, err, errOut)
	}
	var names []string
	for _, s := range p.Steps {
		names = append(names, s.Name)
	}
	return names, nil
}
