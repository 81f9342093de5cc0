package daemon

import (
	"context"
	"slices"
	"sync"

	"havip/election/etcd"
)

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
