package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"havip/daemon/status"
	"havip/election"
	"havip/vip/fence"
)

// FenceDir is where the fence is kept when nobody says otherwise.
const FenceDir = fence.Dir

// RemoveFence takes away whatever fence any havipd of this node left in dir. From one
// that runs it would take what its address counts on, and what the one after it needs
// to know which programs on the link are its own.
func RemoveFence(runDir, dir string) error {
	if _, err := os.Stat(runDir); err == nil { // else none does, and it need not be made
		lock, err := lockDir(runDir)
		if err != nil {
			return err
		}
		defer lock.Close()
	}
	return fence.Remove(dir)
}

// fences is where they come from.
type fences struct {
	open   func(dir string, addrs []netip.Addr, until time.Duration) (Fence, error)
	left   func(dir string) bool // may there be one of an earlier process?
	remove func(dir string) error
}

func systemFences() fences {
	return fences{
		open: func(dir string, addrs []netip.Addr, until time.Duration) (Fence, error) {
			return fence.Open(dir, addrs, until)
		},
		left: fence.Left, remove: fence.Remove,
	}
}

// fenceAside is why a node has no fence while the VIP is taken over from another
// program: it would close the address that is that one's.
const fenceAside = "a migration from another program is under way"

// fencing keeps the fence on the link of the address, and the machine told whether
// it is there.
type fencing struct {
	fence   Fence // nil: there is none
	address Address
	put     func(election.Event)
	log     *slog.Logger
	remove  func() error // without a fence: removes what an earlier process left

	off   bool
	aside atomic.Bool
	links chan int // the newest one

	mu      sync.Mutex
	lifted  bool // nothing of it is on a link
	counted bool // a set call that is under way may count on it
	told    election.Fence
}

// newFencing takes over the fence that the process before left. One that there was
// none of is open until the instant given.
func (d *daemon) newFencing(l *loop, a Address, until time.Duration) *fencing {
	f := &fencing{
		address: a, put: func(ev election.Event) { l.box.put(ev) }, log: d.Log,
		remove: func() error { return d.fences.remove(d.FenceDir) },
		off:    !l.cfg.Election.Detection.Heartbeats().On(), links: make(chan int, 1),
	}
	f.aside.Store(l.adopt.Stage != status.AdoptNone)
	if f.off {
		f.lifted = !d.fences.left(d.FenceDir)
	} else {
		opened, err := d.fences.open(d.FenceDir, l.cfg.VIP.Addresses, until)
		if err != nil {
			f.tell(err.Error())
		} else {
			f.fence = opened
		}
		if why := f.unwanted(); why != "" {
			f.tell(why) // nobody else does while what is on the link is needed
		}
	}
	a.FenceWith(f.before)
	return f
}

// set and tend are the loop's, and wait for nothing.
func (f *fencing) set(until time.Duration) {
	if f.fence != nil {
		f.fence.Set(until)
	}
}

// until is 0 without a fence.
func (f *fencing) until() time.Duration {
	if f.fence == nil {
		return 0
	}
	return f.fence.Until()
}

func (f *fencing) tend() {
	if f.fence != nil {
		f.fence.Tend()
	}
}

// look has a link fenced, soon. It is the loop's, too.
func (f *fencing) look(link int) {
	select {
	case <-f.links:
	default:
	}
	f.links <- link
}

// run fences links until ctx ends.
func (f *fencing) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case link := <-f.links:
			if (f.unwanted() != "" || f.fence == nil) && f.needed() {
				continue
			}
			if err := f.check(link); err != nil {
				f.log.Debug("fence the link", "err", err)
			}
		}
	}
}

// unwanted is why this node is to have no fence, "" if it is to have one.
func (f *fencing) unwanted() string {
	switch {
	case f.off:
		return "heartbeats are off"
	case f.aside.Load():
		return fenceAside
	}
	return ""
}

// needed: an address that is left of an earlier term may have nothing else that
// keeps it from answering.
func (f *fencing) needed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.lifted && f.there()
}

func (f *fencing) there() bool {
	found, err := f.address.Found()
	return err != nil || len(found) > 0
}

// before is called before the address is set on a link. An error keeps it from that:
// the machine reckoned with a fence, and does so no more when it asks again.
func (f *fencing) before(link int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if why := f.unwanted(); why != "" && f.counted {
		f.counted = false
		f.tell(why)
		return errors.New(why)
	}
	err := f.attach(link)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	if f.counted {
		f.counted = false
		return err
	}
	f.lift()
	return nil
}

// check has a link fenced whatever is on it. A part of the fence that stays would
// close, and nobody would open it; but what keeps an address from answering whose
// lifetime was chosen with a fence stays until the address is set without one.
func (f *fencing) check(link int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.attach(link)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !f.counted && !f.there() {
		f.lift()
	}
	return err
}

// attach also tells the machine. What takes the place of a link that is gone is
// fenced before the address comes to it.
func (f *fencing) attach(link int) error {
	if why := f.unwanted(); why != "" || f.fence == nil {
		f.lift()
		if f.aside.Load() {
			f.tell(why)
		}
		return nil
	}
	err := f.fence.Attach(link)
	switch {
	case err == nil:
		f.lifted, f.counted = false, true
		f.tell("")
	case !errors.Is(err, os.ErrNotExist):
		f.tell(err.Error())
	}
	return err
}

// lift takes the fence away.
func (f *fencing) lift() {
	if f.lifted {
		return
	}
	lift := f.remove
	if f.fence != nil {
		lift = f.fence.Detach
	}
	if err := lift(); err != nil {
		f.log.Warn("remove the fence: what it closes stays closed for a minute and a half", "err", err)
		return
	}
	f.lifted = true
}

// tell tells the machine why there is no fence, "" if there is one.
func (f *fencing) tell(why string) {
	now := election.Fence{OK: why == "", Reason: why}
	if now == f.told {
		return
	}
	f.told = now
	f.put(now)
	f.log.Info("fence", "attached", now.OK, "reason", why)
}

// end is for a process that nobody follows, when the address is gone.
func (f *fencing) end() {
	var err error
	if f.fence != nil {
		err = f.fence.Close()
	} else {
		err = f.remove()
	}
	if err != nil {
		f.log.Warn("remove the fence", "err", err)
	}
}
