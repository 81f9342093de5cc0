package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// program says what to start in a namespace.
type program struct {
	name   string
	path   string
	args   []string
	env    []string // added to this process's own
	stdin  *os.File
	stdout *os.File
	stderr *os.File      // nil: /dev/null
	slack  time.Duration // of its timers; 0: the kernel's own, 50 us
}

// process is one running program. Signals go to it and to what it started.
type process struct {
	name    string
	cmd     *exec.Cmd
	started time.Duration
	done    chan struct{} // closed once it has ended and was waited for
}

func (n *namespace) spawn(p program) (*process, error) {
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	// A nil *os.File in these interfaces would not be a nil interface.
	if p.stdin != nil {
		cmd.Stdin = p.stdin
	}
	if p.stdout != nil {
		cmd.Stdout = p.stdout
	}
	if p.stderr != nil {
		cmd.Stderr = p.stderr
	}
	if err := n.startSlack(cmd, p.slack); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	proc := &process{name: p.name, cmd: cmd, started: Now(), done: make(chan struct{})}
	go func() {
		// How it ended is read from cmd.ProcessState where it matters.
		_ = cmd.Wait()
		close(proc.done)
	}()
	return proc, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends sig to the process and its children, as systemd does to all that
// is in a unit; a process that has ended already is no error.
func (p *process) signal(sig syscall.Signal) error {
	if !p.running() {
		return nil
	}
	if err := syscall.Kill(-p.pid(), sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to %s: %w", sig, p.name, err)
	}
	return nil
}

// kill ends the process at once and waits for it; nil and ended ones are fine.
func (p *process) kill() error {
	if p == nil {
		return nil
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// terminate asks the process to end and kills it when limit has passed.
func (p *process) terminate(limit time.Duration) error {
	if p == nil {
		return nil
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("end %s: still there %v after SIGTERM", p.name, limit), p.kill())
	}
}

// supervisor keeps one program running, as systemd's Restart=always would.
type supervisor struct {
	start func() (*process, error)
	delay time.Duration // before a restart; below 0: never restarted

	mu      sync.Mutex
	proc    *process
	wanted  bool
	changed chan struct{} // closed when wanted becomes false; one for each up
	starts  int
	err     error // of the last start
}

// up starts the program unless it is running.
func (s *supervisor) up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted && s.proc.running() {
		return nil
	}
	s.halt()
	proc, err := s.start()
	if err != nil {
		return err
	}
	s.proc, s.wanted, s.changed = proc, true, make(chan struct{})
	s.starts++
	go s.watch(s.changed)
	return nil
}

// release tells the supervisor that the program's end is meant, and returns
// the process for the caller to end.
func (s *supervisor) release() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt()
	return s.proc
}

func (s *supervisor) halt() {
	if s.wanted {
		s.wanted = false
		close(s.changed)
	}
}

func (s *supervisor) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *supervisor) watch(released <-chan struct{}) {
	for {
		select {
		case <-released:
			return
		case <-s.current().done:
		}
		delay := s.patience()
		if delay < 0 {
			return
		}
		select {
		case <-released:
			return
		case <-time.After(delay):
		}
		if !s.restart() {
			return
		}
	}
}

func (s *supervisor) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delay
}

func (s *supervisor) restart() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wanted {
		return false
	}
	proc, err := s.start()
	if err != nil {
		s.err = err
		return false
	}
	s.proc = proc
	s.starts++
	return true
}
