package daemon

import (
	"net/netip"
	"os"
	"sync"
	"time"
)

// lastingFence is a fence that outlives the daemon, as the kernel's does.
type lastingFence struct {
	node *node

	mu       sync.Mutex
	made     bool
	attached bool
	until    time.Duration
	refuse   error // of Attach
}

func (f *lastingFence) open(_ string, _ []netip.Addr, until time.Duration) (Fence, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.made {
		f.made, f.until = true, max(until, f.now())
	}
	return f, nil
}

func (f *lastingFence) left() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

func (f *lastingFence) now() time.Duration { return f.node.whole.clock().Boot() }

func (f *lastingFence) change(how func()) {
	f.mu.Lock()
	how()
	f.mu.Unlock()
	f.node.whole.judge()
}

func (f *lastingFence) Set(until time.Duration) { f.change(func() { f.until = max(until, f.now()) }) }

func (f *lastingFence) Tend() { f.change(func() { f.until = max(f.until, f.now()) }) }

func (f *lastingFence) Until() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.until
}

func (f *lastingFence) Attach(int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.node.wrong().gone:
		return os.ErrNotExist
	case f.refuse == nil:
		f.attached = true
	}
	return f.refuse
}

func (f *lastingFence) Detach() error {
	return f.node.mortal(f.node.shell, inDetach, f.unlink)
}

func (f *lastingFence) Close() error {
	f.change(func() { f.made, f.attached = false, false })
	return nil
}

func (f *lastingFence) unlink() { f.change(func() { f.attached = false }) }

func (f *lastingFence) refuses(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

func (f *lastingFence) closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.attached && f.now() >= f.until
}
