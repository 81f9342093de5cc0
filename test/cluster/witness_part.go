package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// witnessEvery is how often the witness opens a connection.
	witnessEvery = 5 * time.Millisecond
	// witnessPatience ends an attempt. It is shorter than the second after
	// which TCP repeats a SYN, so every answer belongs to a fresh SYN.
	witnessPatience = 300 * time.Millisecond
	// witnessInFlight bounds the attempts at one time, with room to spare over
	// patience / every.
	witnessInFlight = 100
)

// witnessMain connects to the address given as its argument until its stdin is
// closed, and writes each attempt as a line: "SENT DONE NODE ERROR", with "-"
// for none.
func witnessMain() error {
	if len(os.Args) != 2 {
		return errors.New("want one argument: the address to connect to")
	}
	results := make(chan Attempt, witnessInFlight)
	go writeAttempts(results)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = os.Stdin.Read(make([]byte, 1)) // returns when the cluster is gone
	}()
	slots := make(chan struct{}, witnessInFlight)
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	for {
		select {
		case <-stopped:
			return nil
		case <-tick.C:
		}
		select {
		case slots <- struct{}{}:
			go func() {
				results <- attempt(os.Args[1])
				<-slots
			}()
		default: // all in flight: a machine this busy has its own gap to show
		}
	}
}

func writeAttempts(results <-chan Attempt) {
	out := bufio.NewWriter(os.Stdout)
	for a := range results {
		fmt.Fprintln(out, formatAttempt(a))
		if len(results) == 0 {
			_ = out.Flush() // fails when nobody listens any more
		}
	}
}

// attempt opens one connection and reads the name of the node that answers.
func attempt(address string) Attempt {
	a := Attempt{Sent: Now()}
	node, err := askWho(address)
	a.Done = Now()
	a.Node = node
	if err != nil {
		a.Node, a.Err = "", reason(err)
	}
	return a
}

func askWho(address string) (string, error) {
	deadline := time.Now().Add(witnessPatience)
	d := net.Dialer{Deadline: deadline}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// A reset instead of a FIN: 200 connections a second would otherwise fill
	// the port range with TIME_WAIT.
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.SetDeadline(deadline)
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

// reason is the short cause of a failed attempt.
func reason(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}

func formatAttempt(a Attempt) string {
	node, text := a.Node, a.Err
	if node == "" {
		node = "-"
	}
	if text == "" {
		text = "-"
	}
	return fmt.Sprintf("%d %d %s %s", a.Sent, a.Done, node, text)
}

func parseAttempt(line string) (a Attempt, err error) {
	words := strings.SplitN(line, " ", 4)
	if len(words) != 4 {
		return a, fmt.Errorf("read attempt: %q", line)
	}
	sent, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return a, fmt.Errorf("read start of attempt: %w", err)
	}
	done, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return a, fmt.Errorf("read end of attempt: %w", err)
	}
	a.Sent, a.Done = time.Duration(sent), time.Duration(done)
	if words[2] != "-" {
		a.Node = words[2]
	}
	if words[3] != "-" {
		a.Err = words[3]
	}
	return a, nil
}
