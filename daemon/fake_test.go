package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"havip/election/etcd"
	"havip/vip"
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

// cell is an etcd without members: its clients see every change at once.
type cell struct {
	lock    sync.Mutex
	record  string
	rev     int64
	call    string
	key     string // of the heartbeats
	nodes   map[string]string
	history []etcd.Kept     // the newest first
	keeps   int             // calls of Keep that added something
	mute    map[string]bool // clients that get no answer, and see nothing
	sinks   map[string]func(etcd.Event)
	writing int // calls under way
	most    int // of them at once
}

// fakeLock is a Lock of functions.
type fakeLock struct {
	run     func(context.Context, func(etcd.Event)) error
	write   func(ctx context.Context, expect, value string, elsewhere bool) etcd.Result
	read    func(context.Context) (string, error)
	publish func(string)
	call    func(context.Context, string) error
	leave   func(context.Context) error
	keep    func(ctx context.Context, key, value string, most int) error
	history func(ctx context.Context, most int, quorum bool) ([]etcd.Kept, error)
	setKey  func(ctx context.Context, expect, value string) error
}

func (f *fakeLock) Run(ctx context.Context, sink func(etcd.Event)) error { return f.run(ctx, sink) }
func (f *fakeLock) Write(ctx context.Context, expect, value string, elsewhere bool) etcd.Result {
	return f.write(ctx, expect, value, elsewhere)
}
func (f *fakeLock) Read(ctx context.Context) (string, error)     { return f.read(ctx) }
func (f *fakeLock) Publish(value string)                         { f.publish(value) }
func (f *fakeLock) Call(ctx context.Context, value string) error { return f.call(ctx, value) }
func (f *fakeLock) Leave(ctx context.Context) error              { return f.leave(ctx) }
func (f *fakeLock) Keep(ctx context.Context, key, value string, most int) error {
	return f.keep(ctx, key, value, most)
}
func (f *fakeLock) SetKey(ctx context.Context, expect, value string) error {
	return f.setKey(ctx, expect, value)
}
func (f *fakeLock) History(ctx context.Context, most int, quorum bool) ([]etcd.Kept, error) {
	return f.history(ctx, most, quorum)
}

// ready is the status of a member that is well.
func ready(leader bool) etcd.Status {
	return etcd.Status{State: etcd.Ready, Local: true, Via: "http://127.0.0.1:2379", IsLeader: leader, Version: "3.6.16",
		Members: []etcd.Member{
			{ID: 1, Name: "n1", PeerURLs: []string{"https://198.51.100.162:2380"}},
			{ID: 2, Name: "n2", PeerURLs: []string{"https://198.51.100.163:2380"}},
			{ID: 3, Name: "n3", PeerURLs: []string{"https://198.51.100.164:2380"}},
		}}
}

// client returns the cell as one node has it.
func (c *cell) client(node string) *fakeLock {
	f := &fakeLock{
		publish: func(v string) { c.setNode(node, v) },
		leave:   func(context.Context) error { c.setNode(node, ""); return nil },
	}
	f.run = func(ctx context.Context, sink func(etcd.Event)) error {
		c.follow(node, sink)
		<-ctx.Done()
		c.lock.Lock()
		defer c.lock.Unlock()
		delete(c.sinks, node)
		return nil
	}
	f.write = func(ctx context.Context, expect, value string, _ bool) etcd.Result {
		return c.swap(ctx, node, expect, value)
	}
	f.read = func(ctx context.Context) (string, error) {
		if err := c.answers(ctx, node); err != nil {
			return "", err
		}
		c.lock.Lock()
		defer c.lock.Unlock()
		return c.record, nil
	}
	f.keep = func(ctx context.Context, key, value string, most int) error {
		return c.keep(ctx, node, key, value, most)
	}
	f.history = func(ctx context.Context, most int, _ bool) ([]etcd.Kept, error) {
		if err := c.answers(ctx, node); err != nil {
			return nil, err
		}
		c.lock.Lock()
		defer c.lock.Unlock()
		return slices.Clone(c.history[:min(most, len(c.history))]), nil
	}
	f.setKey = func(ctx context.Context, expect, value string) error {
		if err := c.answers(ctx, node); err != nil {
			return err
		}
		return c.setKey(expect, value)
	}
	f.call = func(ctx context.Context, v string) error {
		if err := c.answers(ctx, node); err != nil {
			return err
		}
		c.lock.Lock()
		defer c.lock.Unlock()
		c.call = v
		c.tell(etcd.Call{Value: v})
		return nil
	}
	return f
}

// follow begins to deliver to a client what happens.
func (c *cell) follow(node string, sink func(etcd.Event)) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.sinks == nil {
		c.sinks = map[string]func(etcd.Event){}
	}
	c.sinks[node] = sink
	sink(etcd.Record{Value: c.record, Rev: c.rev})
	sink(etcd.Nodes{Values: cloned(c.nodes)})
	sink(etcd.Call{Value: c.call})
	sink(etcd.Key{Value: c.key})
	s := ready(node == "n1")
	for _, m := range s.Members {
		if m.Name == node {
			s.Member = m.ID
		}
	}
	sink(s)
}

// answers waits for ever if the client is mute.
func (c *cell) answers(ctx context.Context, node string) error {
	c.lock.Lock()
	mute := c.mute[node]
	c.lock.Unlock()
	if mute {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (c *cell) swap(ctx context.Context, node, expect, value string) etcd.Result {
	c.lock.Lock()
	c.writing++
	c.most = max(c.most, c.writing)
	c.lock.Unlock()
	err := c.answers(ctx, node)
	c.lock.Lock()
	defer c.lock.Unlock()
	c.writing--
	switch {
	case err != nil:
		return etcd.Result{Outcome: etcd.Unknown, Err: err}
	case c.record != expect:
		return etcd.Result{Outcome: etcd.Refused, Current: c.record}
	}
	c.record = value
	c.rev++
	c.tell(etcd.Record{Value: value, Live: true, Rev: c.rev})
	return etcd.Result{Outcome: etcd.Committed}
}

func (c *cell) setKey(expect, value string) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.key != expect {
		return etcd.ErrChanged
	}
	c.key = value
	c.tell(etcd.Key{Value: value})
	return nil
}

func (c *cell) currentKey() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.key
}

// keep adds to the history as etcd does.
func (c *cell) keep(ctx context.Context, node, key, value string, most int) error {
	if err := c.answers(ctx, node); err != nil {
		return err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if slices.ContainsFunc(c.history, func(k etcd.Kept) bool { return k.Key == key }) {
		return nil
	}
	c.rev++
	c.keeps++
	c.history = slices.Insert(c.history, 0, etcd.Kept{Key: key, Value: value, Created: c.rev})
	c.history = c.history[:min(most, len(c.history))]
	return nil
}

func (c *cell) setNode(node, value string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.mute[node] || c.nodes[node] == value {
		return
	}
	c.nodes[node] = value
	if value == "" {
		delete(c.nodes, node)
	}
	c.tell(etcd.Nodes{Values: cloned(c.nodes)})
}

// expire takes away the presence of a node whose lease ran out.
func (c *cell) expire(node string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.nodes, node)
	c.tell(etcd.Nodes{Values: cloned(c.nodes)})
}

func (c *cell) tell(e etcd.Event) {
	for node, sink := range c.sinks {
		if !c.mute[node] {
			sink(e)
		}
	}
}

// silence makes a client mute; the events, if any, are what it is told first.
func (c *cell) silence(node string, events ...etcd.Event) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.mute[node] = true
	if sink := c.sinks[node]; sink != nil {
		for _, e := range events {
			sink(e)
		}
	}
}

// speak lets a mute client be answered again, from a first read on.
func (c *cell) speak(node string) {
	c.lock.Lock()
	delete(c.mute, node)
	sink := c.sinks[node]
	c.lock.Unlock()
	c.follow(node, sink)
}

func (c *cell) current() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.record
}

func cloned(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// fakeAddress is an Address of functions.
type fakeAddress struct {
	set      func(lifetime int, latest time.Duration) (time.Duration, error)
	clear    func(context.Context) error
	found    func() ([]vip.Found, error)
	spare    func(vip.Sparing)
	foreign  func() ([]vip.Found, error)
	link     func() (vip.Link, error)
	answers  func() (net.HardwareAddr, bool) // who answers a probe
	passes   func() (bool, error)
	watch    func(context.Context, func(vip.Event)) error
	fenced   func(link int) error // before every set
	announce func(ctx context.Context, trigger <-chan struct{}, owned func() bool) error
	reaches  func() (bool, error)
	await    func(ctx context.Context, host netip.Addr) (bool, error)
}

func (f *fakeAddress) Set(lifetime int, latest time.Duration) (time.Duration, error) {
	if err := f.fenced(eth0.Index); err != nil {
		return 0, fmt.Errorf("%w: %w", vip.ErrUntouched, err)
	}
	return f.set(lifetime, latest)
}
func (f *fakeAddress) FenceWith(before func(link int) error) { f.fenced = before }
func (f *fakeAddress) Clear(ctx context.Context) error       { return f.clear(ctx) }
func (f *fakeAddress) Found() ([]vip.Found, error)           { return f.found() }
func (f *fakeAddress) Spare(how vip.Sparing)                 { f.spare(how) }
func (f *fakeAddress) Foreign() ([]vip.Found, error)         { return f.foreign() }
func (f *fakeAddress) Link() (vip.Link, error)               { return f.link() }
func (f *fakeAddress) Probe(ctx context.Context, n int, wait time.Duration) (net.HardwareAddr, bool, error) {
	select {
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-time.After(time.Duration(n) * wait):
	}
	mac, answered := f.answers()
	return mac, answered, nil
}
func (f *fakeAddress) Passes(context.Context, []netip.Addr, int, time.Duration) (bool, error) {
	return f.passes()
}
func (f *fakeAddress) Used(ctx context.Context, n int, wait time.Duration) (net.HardwareAddr, bool, error) {
	return f.Probe(ctx, n, wait)
}
func (f *fakeAddress) Watch(ctx context.Context, sink func(vip.Event)) error {
	return f.watch(ctx, sink)
}
func (f *fakeAddress) RunAnnouncer(ctx context.Context, trigger <-chan struct{}, owned func() bool) error {
	return f.announce(ctx, trigger, owned)
}
func (f *fakeAddress) Await(ctx context.Context, host netip.Addr) (bool, error) {
	return f.await(ctx, host)
}

func (f *fakeAddress) Reaches(ctx context.Context, _ []netip.Addr, n int, wait time.Duration) (bool, vip.Link, error) {
	answered, err := f.reaches()
	if !answered && err == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(n) * wait):
		}
	}
	return answered, eth0, err
}

// eth0 is the link that every node has.
var eth0 = vip.Link{Index: 2, Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Up: true}

// setTakes is how long a call that sets the address takes.
const setTakes = time.Millisecond

// kernel is a node's link: it removes the address at the end of its lifetime.
type kernel struct {
	b    *bench
	note func(string) // of what was done, with the time

	mu    sync.Mutex
	until time.Duration // 0: not there
	bits  int
	other bool // somebody else's is there, without a lifetime
	spare vip.Sparing
	sink  func(vip.Event)
}

func (k *kernel) address() *fakeAddress {
	a := &fakeAddress{link: func() (vip.Link, error) { return eth0, nil }}
	a.answers = func() (net.HardwareAddr, bool) { return nil, false }
	a.passes = func() (bool, error) { return true, nil }
	a.spare = func(how vip.Sparing) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.spare = how
	}
	a.foreign = k.foreign
	a.set = func(lifetime int, latest time.Duration) (time.Duration, error) {
		now := k.b.clock().Boot()
		if now > latest {
			return 0, vip.ErrTooLate
		}
		<-time.After(setTakes)
		k.note("set")
		k.mu.Lock()
		defer k.mu.Unlock()
		k.until = now + setTakes + time.Duration(lifetime)*time.Second
		k.bits = 32
		if k.spare == vip.SpareRoom {
			k.bits = 31
		}
		return now + setTakes, nil
	}
	a.clear = func(context.Context) error {
		k.note("clear")
		k.mu.Lock()
		defer k.mu.Unlock()
		k.until = 0
		k.other = k.other && k.spare != vip.SpareNothing
		return nil
	}
	a.found = func() ([]vip.Found, error) {
		if others, _ := k.foreign(); len(others) > 0 && !k.spared() {
			return others, nil
		}
		left := k.left()
		if left <= 0 {
			return nil, nil
		}
		return []vip.Found{{Link: "eth0", LinkIndex: 2, Addr: testVIP, Bits: k.length(), Remaining: int(left / time.Second)}}, nil
	}
	a.watch = func(ctx context.Context, sink func(vip.Event)) error {
		k.mu.Lock()
		k.sink = sink
		k.mu.Unlock()
		sink(vip.LinkChanged{Link: eth0, Why: vip.LinkSeen})
		<-ctx.Done()
		return nil
	}
	a.reaches = func() (bool, error) { return true, nil }
	a.await = func(ctx context.Context, _ netip.Addr) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	a.announce = func(ctx context.Context, trigger <-chan struct{}, owned func() bool) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-trigger:
				if owned() {
					k.note("announce")
				}
			}
		}
	}
	return a
}

func (k *kernel) left() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.until - k.b.clock().Boot()
}

func (k *kernel) foreign() ([]vip.Found, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.other {
		return nil, nil
	}
	return []vip.Found{{Link: "eth0", LinkIndex: 2, Addr: testVIP, Bits: 24, Permanent: true}}, nil
}

func (k *kernel) length() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bits
}

func (k *kernel) spared() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.spare != vip.SpareNothing
}

// keep puts somebody else's address on the link, or takes it away.
func (k *kernel) keep(on bool) {
	k.mu.Lock()
	k.other = on
	k.mu.Unlock()
}

// has reports whether the address is on the link now.
func (k *kernel) has() bool { return k.left() > 0 }

// drop takes the address away as `ip address del` does.
func (k *kernel) drop() {
	k.mu.Lock()
	k.until = 0
	k.mu.Unlock()
	k.happen(vip.AddressDeleted{Addr: testVIP, Link: 2})
}

func (k *kernel) happen(e vip.Event) {
	k.mu.Lock()
	sink := k.sink
	k.mu.Unlock()
	sink(e)
}
