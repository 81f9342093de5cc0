package daemon

import (
	"net/netip"
	"sync"
	"testing"
	"time"
)

// booted is what the clock shows when a test begins.
const booted = 1000 * time.Second

var testVIP = netip.MustParseAddr("198.51.100.166")

// bench is a clock that only the test moves on beside the bubble's own time,
// and an etcd that all shells on it share.
type bench struct {
	t     *testing.T
	dir   string
	start time.Time
	notes []note

	shells []*shell
	extra  string // more of the config file
	ether  ether

	mu     sync.Mutex
	jumped time.Duration

	cell
}

func newBench(t *testing.T) *bench {
	return &bench{t: t, start: time.Now(), cell: cell{nodes: map[string]string{}, mute: map[string]bool{}}}
}

// now is the time since the test began, suspend included.
func (b *bench) now() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.start) + b.jumped
}

// suspend lets the clock jump while timers stand still.
func (b *bench) suspend(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jumped += d
}

func (b *bench) clock() Clock {
	return Clock{Boot: func() time.Duration { return booted + b.now() }, Wall: time.Now}
}
