package daemon

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd beside the loop: its socket may block. Of the states
// that wait only the newest is sent; signs of life are merged.
type notifier struct {
	send func(state string)

	mu     sync.Mutex
	status string
	alive  bool
	ready  chan struct{}
}

func newNotifier() *notifier {
	return &notifier{ready: make(chan struct{}, 1), send: func(state string) {
		// Without systemd there is nobody to tell; with it, a lost message shows
		// in systemctl status or ends in the watchdog.
		_, _ = sd.SdNotify(false, state)
	}}
}

// say sets the sentence of systemctl status.
func (n *notifier) say(status string) {
	// A line of its own would be a message of its own: names and reasons come
	// from other nodes too.
	status = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, status)
	n.mu.Lock()
	changed := n.status != status
	n.status = status
	n.mu.Unlock()
	if changed { // the loop says it at every step
		n.wake()
	}
}

// feed says that the loop is alive.
func (n *notifier) feed() {
	n.mu.Lock()
	n.alive = true
	n.mu.Unlock()
	n.wake()
}

func (n *notifier) wake() {
	select {
	case n.ready <- struct{}{}:
	default:
	}
}

func (n *notifier) run(ctx context.Context) error {
	n.send(sd.SdNotifyReady)
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.ready:
		}
		n.mu.Lock()
		status, alive := n.status, n.alive
		n.alive = false
		n.mu.Unlock()
		if status != said {
			said = status
			n.send("STATUS=" + status)
		}
		if alive {
			n.send(sd.SdNotifyWatchdog)
		}
	}
}

// watchdogEvery is how often systemd wants a sign of life: half the time it was
// told to wait, or 0 for never.
func watchdogEvery() time.Duration {
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || us <= 0 {
		return 0
	}
	return time.Duration(us) * time.Microsecond / 2
}
