package daemon

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"testing/synctest"
	"time"

	"havip/election"
	"havip/election/etcd"
	"havip/vip"
)

// soon is after what systemd starts a daemon again that has ended (RestartSec).
const soon = 20 * time.Millisecond

// node is a master on which one daemon follows the other. What the kernel has, the
// fence and what is on the disk outlive them.
type node struct {
	whole  *whole
	name   string
	member uint64
	extra  string // of the config file, from the next start on
	fence  *lastingFence
	shell  *shell
	alive  bool
	down   bool          // systemd is not to start it
	pause  time.Duration // until it is started after its end

	mu     sync.Mutex
	kernel *kernel // as the newest daemon has it
	faulty faulty
}

// faulty is what is wrong on a node. Without anything wrong it is zero.
type faulty struct {
	again    bool          // no fault: systemd is about to start the daemon again when it stops
	gone     bool          // the link is
	full     bool          // the disk is
	busy     time.Duration // how long the kernel takes besides to set an address
	to, from time.Duration // how long a transaction takes to etcd, and its answer back
	lost     bool          // answers to transactions are
	dies     call          // in which it is killed, and then it is over
	after    bool          // when that has taken effect
}

// call is what a daemon can be killed in.
type call int

const (
	inWrite call = iota + 1
	inSet
	inSave
	inDetach
)

// errKilled is what nobody is there to read.
var errKilled = errors.New("killed")

// mortal makes a call of a daemon that may be killed in it.
func (n *node) mortal(s *shell, c call, do func()) error {
	n.mu.Lock()
	dies, after := n.faulty.dies == c, n.faulty.after
	if dies {
		n.faulty.dies = 0
	}
	n.mu.Unlock()
	if !dies {
		do()
		return nil
	}
	if after {
		do()
	}
	s.crash()
	return errKilled
}

func newNode(w *whole, name string, member uint64) *node {
	n := &node{whole: w, name: name, member: member, extra: withHeartbeats}
	n.fence = &lastingFence{node: n}
	n.kernel = &kernel{b: w.bench}
	return n
}

func (n *node) wrong() faulty {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.faulty
}

func (n *node) change(how func(*faulty)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	how(&n.faulty)
}

func (n *node) start() {
	if n.alive {
		return
	}
	n.whole.extra = n.extra
	s := n.whole.bench.shell(n.name)
	s.kernel.until, s.kernel.bits = n.kernel.until, n.kernel.bits
	n.mu.Lock()
	n.kernel, n.faulty.again = s.kernel, false
	n.mu.Unlock()
	s.d.fences = fences{
		open: n.fence.open, left: func(string) bool { return n.fence.left() },
		remove: func(string) error { return n.fence.Close() },
	}
	s.restart = func(context.Context) (bool, error) { return n.wrong().again, nil }
	n.breakable(s)
	n.shell, n.alive, n.pause = s, true, soon
	s.start()
}

// breakable puts what can be wrong between the daemon and its fakes.
func (n *node) breakable(s *shell) {
	write, set, put := s.lock.write, s.addr.set, s.l.keeper.put
	s.lock.write = func(ctx context.Context, expect, value string, elsewhere bool) (result etcd.Result) {
		err := n.mortal(s, inWrite, func() {
			result = n.write(ctx, func() etcd.Result { return write(ctx, expect, value, elsewhere) })
		})
		if err != nil {
			return etcd.Result{Outcome: etcd.Unknown, Err: err}
		}
		return result
	}
	s.addr.set = func(lifetime int, latest time.Duration) (done time.Duration, err error) {
		<-time.After(n.wrong().busy)
		if n.wrong().gone {
			return 0, vip.ErrUntouched
		}
		defer n.whole.judge()
		killed := n.mortal(s, inSet, func() { done, err = set(lifetime, latest) })
		return done, cmp.Or(killed, err)
	}
	s.addr.link = func() (vip.Link, error) {
		if n.wrong().gone {
			return vip.Link{}, errors.New("no such link")
		}
		return eth0, nil
	}
	s.l.keeper.put = func(saved *election.SavedState) (err error) {
		if n.wrong().full {
			return errors.New("no space left on device")
		}
		killed := n.mortal(s, inSave, func() { err = put(saved) })
		return cmp.Or(killed, err)
	}
}

// write is a transaction that may commit after its sender has given up.
func (n *node) write(ctx context.Context, write func() etcd.Result) etcd.Result {
	answer := make(chan etcd.Result, 1)
	go func() {
		wrong := n.wrong()
		<-time.After(time.Millisecond + wrong.to)
		result := write()
		<-time.After(wrong.from)
		if !wrong.lost || result.Outcome != etcd.Committed {
			answer <- result
		}
	}()
	select {
	case result := <-answer:
		return result
	case <-ctx.Done():
		return etcd.Result{Outcome: etcd.Unknown, Err: ctx.Err()}
	}
}

// kill returns when the last calls of the daemon have ended, as the kernel lets a
// process go.
func (n *node) kill() {
	if !n.alive {
		return
	}
	n.shell.crash()
	<-n.shell.done
	synctest.Wait()
	n.alive = false
}

// tend starts a daemon that has ended by itself, as systemd does.
func (n *node) tend() {
	if !n.alive {
		return
	}
	select {
	case err := <-n.shell.done:
		n.alive = false
		n.whole.say("%s: ended (%v)", n.name, err)
		if !n.down {
			n.whole.later(n.pause, n.start)
		}
	default:
	}
}

func (n *node) answers() bool {
	n.mu.Lock()
	k := n.kernel
	n.mu.Unlock()
	return k.has() && !n.fence.closed()
}

// linkGoes takes the link away, and with it the address and the fence.
func (n *node) linkGoes() {
	n.change(func(f *faulty) { f.gone = true })
	n.kernel.mu.Lock()
	n.kernel.until = 0
	n.kernel.mu.Unlock()
	n.fence.unlink()
	n.kernel.happen(vip.LinkChanged{Link: vip.Link{Index: eth0.Index, Name: eth0.Name}, Why: vip.LinkGone})
	n.kernel.happen(vip.AddressDeleted{Addr: testVIP, Link: eth0.Index})
}

func (n *node) linkComes() {
	was := n.wrong().gone
	n.change(func(f *faulty) { f.gone = false })
	if was {
		n.kernel.happen(vip.LinkChanged{Link: eth0, Why: vip.LinkSeen})
	}
}
