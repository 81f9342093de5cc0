package daemon

import (
	"context"
	"net/netip"
	"sync"

	"github.com/google/go-cmp/cmp"

	"havip/election/heartbeat"
)

// ether is a network on which every wire hears the others at once.
type ether struct {
	mu    sync.Mutex
	wires []*fakeWire
	cut   map[uint64]bool // members that neither hear nor are heard
}

// fakeWire is a Wire without sockets.
type fakeWire struct {
	ether   *ether
	cfg     heartbeat.Config
	keys    heartbeat.Keys
	members heartbeat.Members
	sent    []heartbeat.Message
	stats   heartbeat.Stats
}

// cutOff takes a member off the network, or gives it back.
func (e *ether) cutOff(member uint64, on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cut == nil {
		e.cut = map[uint64]bool{}
	}
	e.cut[member] = on
}

func (e *ether) wire(cfg heartbeat.Config) Wire {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &fakeWire{ether: e, cfg: cfg}
	e.wires = append(e.wires, w)
	return w
}

func (w *fakeWire) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (w *fakeWire) SetKeys(k heartbeat.Keys) {
	w.ether.mu.Lock()
	defer w.ether.mu.Unlock()
	w.keys = k
}

func (w *fakeWire) SetMembers(m heartbeat.Members) {
	w.ether.mu.Lock()
	defer w.ether.mu.Unlock()
	w.members = m
}

func (w *fakeWire) Stats() heartbeat.Stats {
	w.ether.mu.Lock()
	defer w.ether.mu.Unlock()
	return w.stats
}

// Send delivers to the newest wire of the member, if both have the same key.
func (w *fakeWire) Send(m heartbeat.Message) {
	e := w.ether
	e.mu.Lock()
	m.From, m.Life = w.members.Self.ID, w.cfg.Life
	w.sent = append(w.sent, m)
	var heard func(heartbeat.Message)
	for _, o := range e.wires {
		if o.members.Self.ID == m.To && o.keys.Known() && o.keys.ID() == w.keys.ID() && !e.cut[m.From] && !e.cut[m.To] {
			heard = o.cfg.Heard
		}
	}
	e.mu.Unlock()
	if heard != nil {
		heard(m)
	}
}

func (e *ether) of(s *shell) *fakeWire { return s.l.heartbeats.wire.(*fakeWire) }

// said counts what a node sent.
func (e *ether) said(s *shell, kind heartbeat.Kind, to uint64) int {
	w := e.of(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, m := range w.sent {
		if m.Kind == kind && m.To == to {
			n++
		}
	}
	return n
}

func (e *ether) keysOf(s *shell) heartbeat.Keys {
	w := e.of(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	return w.keys
}

func (e *ether) membersOf(s *shell) heartbeat.Members {
	w := e.of(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	return w.members
}

func peerAt(id uint64, address string) heartbeat.Peer {
	return heartbeat.Peer{ID: id, Addresses: []netip.Addr{netip.MustParseAddr(address)}}
}

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
