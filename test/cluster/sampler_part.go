package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dumpEvery is how often the sampler asks each kernel for all its addresses
// and compares them with what the notifications said.
const dumpEvery = 100 * time.Millisecond

// toldWithin is how much later than its list a kernel may tell of a change. It
// tells of a new IPv6 address from a work queue, 14 ms later where four busy loops
// had two processors (Linux 6.18).
const toldWithin = time.Second

// sampler is the process that watches the kernels. One thread does everything,
// so that one reading of the clock can stand for all that is in the sockets.
//
// It reads commands on stdin: "watch LIFE PATH" for a network namespace, "drop
// LIFE" to leave it. It writes on stdout, one a line: "watching LIFE", "event
// AT LIFE WHAT LINK ADDR VALID", "doubt AT LIFE TEXT", "late AT NANOSECONDS".
type sampler struct {
	vips  []netip.Addr
	out   *bufio.Writer
	nets  []*watched
	input []byte
	next  time.Duration // time of the next dump
	buf   []byte        // for what is received; used by one call at a time
}

// watched is one network namespace under observation.
type watched struct {
	life   string
	events int // socket with the notifications
	dump   int // socket for questions
	has    map[place]bool
	early  map[place]early // differences that its list showed before it told of them
}

// early is a change that is in the kernel's list and not yet in a notification.
type early struct {
	what  Change
	since time.Duration // of the dump that showed it
}

func newWatched(life string) *watched {
	return &watched{life: life, has: map[place]bool{}, early: map[place]early{}}
}

// samplerMain runs the sampler; its arguments are the virtual addresses.
func samplerMain() error {
	runtime.LockOSThread()
	// A collection waits for threads that have no such priority: fewer of them.
	debug.SetGCPercent(1000)
	// Real-time priority keeps the time stamps honest on a busy machine. Where
	// it is not allowed the "late" figure tells.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	s := &sampler{out: bufio.NewWriter(os.Stdout), next: Now() + dumpEvery, buf: make([]byte, 1<<16)}
	for _, arg := range os.Args[1:] {
		a, err := netip.ParseAddr(arg)
		if err != nil {
			return fmt.Errorf("read virtual address: %w", err)
		}
		s.vips = append(s.vips, a)
	}
	for {
		if err := s.round(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := s.out.Flush(); err != nil {
			return err
		}
	}
}

// round waits for something to read, or for the next dump, and deals with it.
func (s *sampler) round() error {
	fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}}
	for _, w := range s.nets {
		fds = append(fds, unix.PollFd{Fd: int32(w.events), Events: unix.POLLIN})
	}
	timeout := max(0, int((s.next-Now())/time.Millisecond)+1)
	if _, err := unix.Poll(fds, timeout); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for the kernel: %w", err)
	}
	s.readAll(Now())
	if now := Now(); now >= s.next {
		// A dump that begins late tells how late a time stamp may be. Up to 1 ms
		// of it is poll's own rounding.
		fmt.Fprintf(s.out, "late %d %d\n", now, now-s.next)
		s.next = now + dumpEvery
		s.dumpAll()
	}
	if fds[0].Revents != 0 {
		return s.command()
	}
	return nil
}

// readAll empties every socket, not only those that were ready, until a whole
// pass finds nothing: an address that went away before another came is then
// never given a later time than the one that came.
func (s *sampler) readAll(at time.Duration) {
	for again := true; again; {
		again = false
		for _, w := range s.nets {
			again = s.readEvents(w, at) || again
		}
	}
}

func (s *sampler) readEvents(w *watched, at time.Duration) (some bool) {
	for {
		n, _, err := unix.Recvfrom(w.events, s.buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return some
		}
		if err != nil {
			s.doubt(w, "read notifications: "+err.Error())
			return some
		}
		some = true
		s.messages(w, s.buf[:n], func(e Event) { s.told(w, at, e) })
	}
}

func (s *sampler) messages(w *watched, data []byte, f func(Event)) (done bool) {
	msgs, err := syscall.ParseNetlinkMessage(data)
	if err != nil {
		s.doubt(w, "parse: "+err.Error())
	}
	for _, m := range msgs {
		if m.Header.Type == syscall.NLMSG_DONE || m.Header.Type == syscall.NLMSG_ERROR {
			return true
		}
		e, ok, err := parseAddr(m)
		if err != nil {
			s.doubt(w, err.Error())
		}
		if ok && slices.Contains(s.vips, e.Addr) {
			f(e)
		}
	}
	return false
}

// told deals with a notification. The kernel never tells that an IPv6 address came
// which went before the work queue had its turn: that it went says enough.
func (s *sampler) told(w *watched, at time.Duration, e Event) {
	p := e.place()
	if found, ok := w.early[p]; ok {
		if found.what == Removed && e.What == Added {
			s.missed(w, p, found)
		}
		delete(w.early, p)
	}
	s.note(w, at, e)
}

func (s *sampler) note(w *watched, at time.Duration, e Event) {
	p := e.place()
	if e.What == Added {
		w.has[p] = true
	} else {
		delete(w.has, p)
	}
	fmt.Fprintf(s.out, "event %d %s %s %d %s %d\n", at, w.life, e.What, e.Link, netip.PrefixFrom(e.Addr, e.Bits), e.Valid)
}

func (s *sampler) doubt(w *watched, text string) {
	fmt.Fprintf(s.out, "doubt %d %s %s\n", Now(), w.life, text)
}

func (s *sampler) dumpAll() {
	for _, w := range s.nets {
		found, err := s.list(w)
		if err != nil {
			s.doubt(w, err.Error())
			continue
		}
		at := Now()
		if s.readEvents(w, at) {
			continue // something changed meanwhile: the next dump compares
		}
		s.compare(w, at, found)
	}
}

// compare takes the kernel's list for the truth at once, and says what the kernel
// has still not told of.
func (s *sampler) compare(w *watched, at time.Duration, found map[place]Event) {
	for p, e := range found {
		if !w.has[p] {
			w.early[p] = early{Added, at}
			s.note(w, at, e)
		}
	}
	for p := range w.has {
		if _, ok := found[p]; !ok {
			w.early[p] = early{Removed, at}
			s.note(w, at, Event{What: Removed, Link: p.link, Addr: p.addr, Bits: p.bits})
		}
	}
	for p, e := range w.early {
		if at-e.since >= toldWithin {
			s.missed(w, p, e)
			delete(w.early, p)
		}
	}
}

func (s *sampler) missed(w *watched, p place, e early) {
	s.doubt(w, fmt.Sprintf("missed that %s was %s", p.addr, e.what))
}

func (s *sampler) list(w *watched) (map[place]Event, error) {
	req := make([]byte, syscall.NLMSG_HDRLEN+4) // header and struct rtgenmsg, padded; AF_UNSPEC
	putHeader(req, syscall.RTM_GETADDR, syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	if err := unix.Sendto(w.dump, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("ask for addresses: %w", err)
	}
	found := map[place]Event{}
	for {
		n, _, err := unix.Recvfrom(w.dump, s.buf, 0)
		if err != nil {
			return nil, fmt.Errorf("read addresses: %w", err)
		}
		if s.messages(w, s.buf[:n], func(e Event) { found[e.place()] = e }) {
			return found, nil
		}
	}
}

func (s *sampler) command() error {
	buf := make([]byte, 4096)
	n, err := unix.Read(0, buf)
	if err != nil {
		return fmt.Errorf("read commands: %w", err)
	}
	if n == 0 {
		return io.EOF
	}
	s.input = append(s.input, buf[:n]...)
	for {
		line, rest, ok := strings.Cut(string(s.input), "\n")
		if !ok {
			return nil
		}
		s.input = []byte(rest)
		if err := s.obey(strings.Fields(line)); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
}

func (s *sampler) obey(words []string) error {
	switch {
	case len(words) == 3 && words[0] == "watch":
		return s.watch(words[1], words[2])
	case len(words) == 2 && words[0] == "drop":
		s.drop(words[1])
		return nil
	}
	return errors.New("unknown command")
}

func (s *sampler) watch(life, path string) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	w := newWatched(life)
	if w.events, err = routeSocket(unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR); err != nil {
		return err
	}
	if w.dump, err = routeSocket(0); err != nil {
		return err
	}
	s.nets = append(s.nets, w)
	fmt.Fprintf(s.out, "watching %s\n", life)
	return nil
}

func (s *sampler) drop(life string) {
	s.nets = slices.DeleteFunc(s.nets, func(w *watched) bool {
		if w.life != life {
			return false
		}
		unix.Close(w.events)
		unix.Close(w.dump)
		return true
	})
}

// routeSocket opens an rtnetlink socket in the thread's namespace, where it
// stays when the thread goes elsewhere.
func routeSocket(groups uint32) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind netlink socket: %w", err)
	}
	// No answer would otherwise stop the sampler for ever.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("limit netlink socket: %w", err)
	}
	return fd, nil
}

// parseSample reads one "event" line of the sampler, without the word itself.
func parseSample(words []string) (e Event, err error) {
	if len(words) != 6 {
		return e, fmt.Errorf("read sample: %d words, want 6", len(words))
	}
	at, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return e, fmt.Errorf("read time of sample: %w", err)
	}
	link, err := strconv.Atoi(words[3])
	if err != nil {
		return e, fmt.Errorf("read link of sample: %w", err)
	}
	addr, err := netip.ParsePrefix(words[4])
	if err != nil {
		return e, fmt.Errorf("read address of sample: %w", err)
	}
	valid, err := strconv.ParseUint(words[5], 10, 32)
	if err != nil {
		return e, fmt.Errorf("read lifetime of sample: %w", err)
	}
	return Event{
		At: time.Duration(at), Node: words[1], What: Change(words[2]), Link: link, Addr: addr.Addr(), Bits: addr.Bits(), Valid: uint32(valid),
	}, nil
}
