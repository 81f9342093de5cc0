package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Enter is the beginning of a command line that runs the rest on the machine.
func (n *Node) Enter() string { return fmt.Sprintf("nsenter -t %d -a --wdns=/ --", n.init) }

// Command is a command to run on the machine, as root from its console.
func (n *Node) Command(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{
		"-t", strconv.Itoa(n.init), "-a", "--wdns=/", "--", "env", "-i", "PATH=" + searchPath, "HOME=/root", "LANG=C.UTF-8",
		"TERM=dumb", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=", "DEBIAN_FRONTEND=noninteractive",
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	// nsenter has a child inside: both are to end when the time is over.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// Exec runs a command on the machine and returns what it wrote, both streams
// in one.
func (n *Node) Exec(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	code, err := n.run(ctx, &out, &out, args)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s on %s: exit status %d: %s", strings.Join(args, " "), n.Name, code, strings.TrimSpace(out.String()))
	}
	return out.String(), err
}

// Try runs a command on the machine that may fail, and returns its exit status.
func (n *Node) Try(ctx context.Context, args ...string) (stdout, stderr string, code int, err error) {
	var out, errOut bytes.Buffer
	code, err = n.run(ctx, &out, &errOut, args)
	return out.String(), errOut.String(), code, err
}

func (n *Node) run(ctx context.Context, stdout, stderr *bytes.Buffer, args []string) (int, error) {
	if !n.running() {
		return 0, fmt.Errorf("%s on %s: it is off", strings.Join(args, " "), n.Name)
	}
	cmd := n.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s on %s: %w", strings.Join(args, " "), n.Name, err)
	}
	return 0, nil
}
