package vip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// lookAgain is how often a missing link is looked for. Notices bring most links
// back at once; a route that appears makes no notice that Watch listens to.
const lookAgain = time.Second

// lookOften is the same for a link that is there, since a route that moves makes none
// either: to a new bridge, or because the VIP's network comes up after another one.
const lookOften = 10 * time.Second

// noticeBuffer is the netlink receive buffer in bytes: thousands of notices, as
// when a node with hundreds of pods goes down.
const noticeBuffer = 1 << 20

// Watch tells sink what happens to the addresses, to the link, and who else
// claims the addresses on it. It begins with the link (LinkSeen, if there is one)
// and the addresses that are there, so nothing is missed between two Watches.
// sink is called from one goroutine and must not block for long.
//
// It returns nil when ctx is done, and otherwise an error after which it may be
// called again: the socket broke, or a permission is missing.
func (v *VIP) Watch(ctx context.Context, sink func(Event)) error {
	track := newTracker(v.addrs)
	for {
		if err := v.watchOnce(ctx, sink, track); !errors.Is(err, errLost) {
			return err
		}
	}
}

// errLost: the kernel dropped notices. It goes on to until the last of those is read
// that waited then, and says so once. They are older than what a look shows that is
// made meanwhile: only a socket of its own begins anew.
var errLost = errors.New("notices were lost")

// watchOnce watches until notices are lost.
func (v *VIP) watchOnce(ctx context.Context, sink func(Event), track *tracker) error {
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return fmt.Errorf("watch %v: subscribe to netlink: %w", v.addrs, permission(err))
	}
	// Without CAP_NET_ADMIN the buffer stays as it is: lost notices are coped with.
	_ = sock.SetReceiveBufferSize(noticeBuffer, true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, sock.Close)
	defer func() {
		if stop() {
			sock.Close()
		}
	}()
	w := &watch{vip: v, sink: sink, track: track, notices: make(chan notice), claims: make(chan claim), broken: make(chan error)}
	go w.receive(ctx, sock)
	defer w.stopListening()
	if err := w.run(ctx); err != nil {
		return fmt.Errorf("watch %v: %w", v.addrs, err)
	}
	return nil
}

// watch is one run of watchOnce; its goroutine owns all of it.
type watch struct {
	vip     *VIP
	sink    func(Event)
	track   *tracker
	limit   limiter
	notices chan notice
	claims  chan claim
	broken  chan error // a socket cannot be read any more
	deaf    func()     // ends listening on the present link, or nil
}

func (w *watch) run(ctx context.Context) error {
	if err := w.resync(ctx); err != nil {
		return err
	}
	again := time.NewTimer(lookAgain)
	defer again.Stop()
	often := time.NewTicker(lookOften)
	defer often.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err = <-w.broken:
		case n := <-w.notices:
			err = w.notice(ctx, n)
		case c := <-w.claims:
			err = w.claim(c)
		case <-again.C:
			err = w.resolve(ctx)
		case <-often.C:
			err = w.moved(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if w.track.have && w.deaf != nil {
			again.Stop()
		} else {
			again.Reset(lookAgain)
		}
	}
}

// receive reads notices until ctx closes the socket.
func (w *watch) receive(ctx context.Context, sock *nl.NetlinkSocket) {
	for {
		msgs, from, err := sock.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			pass(ctx, w.broken, errLost)
			return
		}
		if err != nil {
			pass(ctx, w.broken, fmt.Errorf("read netlink notices: %w", err))
			return
		}
		if from.Pid != nl.PidKernel {
			continue
		}
		for _, m := range msgs {
			if n, ok := parseNotice(m); ok {
				pass(ctx, w.notices, n)
			}
		}
	}
}

func pass[T any](ctx context.Context, to chan<- T, x T) {
	select {
	case to <- x:
	case <-ctx.Done():
	}
}

func (w *watch) notice(ctx context.Context, n notice) error {
	switch {
	case n.addr != nil:
		if n.addr.gone && w.vip.owns(n.addr.addr) {
			w.vip.last.Store(nil)
		}
		w.tell(w.track.address(*n.addr))
		if !w.track.have {
			return w.resolve(ctx) // an address brings routes
		}
	case n.link != nil:
		events, resolve := w.track.change(*n.link)
		w.tell(events)
		if resolve {
			return w.resolve(ctx)
		}
	}
	return nil
}

// resolve finds the link again and follows it.
func (w *watch) resolve(ctx context.Context) error {
	l, ok, err := w.lookup()
	if err != nil {
		return err
	}
	w.tell(w.track.resolved(l, ok))
	return w.listen(ctx)
}

// moved follows another link if the configuration leads to one by now. That there is
// none is for a notice to tell.
func (w *watch) moved(ctx context.Context) error {
	l, ok, err := w.lookup()
	if !ok || err != nil {
		return nil
	}
	w.tell(w.track.resolved(l, ok))
	return w.listen(ctx)
}

func (w *watch) resync(ctx context.Context) error {
	w.vip.last.Store(nil) // a removal may be among what was lost
	l, ok, err := w.lookup()
	if err != nil {
		return err
	}
	addrs, err := w.vip.kernel.addrs(w.vip.addrs)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	w.tell(w.track.resync(l, ok, addrs))
	return w.listen(ctx)
}

// lookup: absence is no error here, it is what may be watched for.
func (w *watch) lookup() (linkInfo, bool, error) {
	l, err := w.vip.resolve()
	if errors.Is(err, os.ErrNotExist) {
		return linkInfo{}, false, nil
	}
	return l, err == nil, err
}

func (w *watch) tell(events []Event) {
	for _, e := range events {
		if l, ok := e.(LinkChanged); ok && (l.Why == LinkGone || l.Why == LinkRecreated) {
			w.stopListening()
		}
		w.sink(e)
	}
}

func (w *watch) claim(c claim) error {
	if c.probe || !w.limit.allow(w.vip.now(), c.addr, c.mac) {
		return nil
	}
	// Listed afresh, since links come and go; the limit bounds how often.
	own, err := w.vip.ownMACs()
	if err != nil {
		return err
	}
	if !own.has(c) {
		w.sink(Conflict{Addr: c.addr, MAC: c.mac})
	}
	return nil
}

// listen opens the packet sockets on the present link unless they are open.
func (w *watch) listen(ctx context.Context) error {
	if w.deaf != nil || !w.track.have {
		return nil
	}
	l := w.track.link.public()
	if l.MAC == nil {
		w.deaf = func() {} // no Ethernet, nobody to hear
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var wires []*wire
	w.deaf = func() {
		cancel()
		for _, x := range wires {
			_ = x.Close()
		}
	}
	for _, a := range w.vip.addrs {
		x, err := openListener(l, a)
		if errors.Is(err, os.ErrNotExist) {
			w.stopListening() // it vanished this moment; a notice follows
			return nil
		}
		if err != nil {
			w.stopListening()
			return err
		}
		wires = append(wires, x)
		go w.hear(ctx, x, l.Name, a)
	}
	return nil
}

func (w *watch) hear(ctx context.Context, x *wire, link string, a netip.Addr) {
	err := x.listen(ctx, a, listening{probesCount: true}, w.claims)
	if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		pass(ctx, w.broken, fmt.Errorf("read claims of %v on %s: %w", a, link, err))
	}
}

func (w *watch) stopListening() {
	if w.deaf != nil {
		w.deaf()
		w.deaf = nil
	}
}
