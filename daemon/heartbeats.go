package daemon

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"havip/configs"
	"havip/election"
	"havip/election/etcd"
	"havip/election/heartbeat"
)

// Wire is the way to the other masters' daemons; *heartbeat.Wire implements it. None
// of its methods but Run waits for anything.
type Wire interface {
	// Run hears until ctx ends.
	Run(ctx context.Context) error
	Send(heartbeat.Message)
	SetKeys(heartbeat.Keys)
	SetMembers(heartbeat.Members)
	Stats() heartbeat.Stats
}

// Vault keeps the key in etcd; *etcd.Store implements it.
type Vault interface {
	// SetKey replaces the key if it is expect; "" is none.
	SetKey(ctx context.Context, expect, value string) error
}

const (
	// resolveTimeout bounds asking for the addresses of members that etcd knows by
	// name, resolveEvery is how often those that had none are asked for again.
	resolveTimeout = 2 * time.Second
	resolveEvery   = 10 * time.Second

	// makeTimeout bounds putting a first key.
	makeTimeout = 2 * time.Second
)

// heartbeats gives the wire what it needs, the members of etcd and the key, and the
// loop what comes from it. Both are kept on the disk, so that a daemon can speak
// before its etcd is up. A nil one is that of a node where they are off.
type heartbeats struct {
	wire    Wire
	vault   Vault
	clock   Clock
	log     *slog.Logger
	put     func(election.Event)
	resolve func(ctx context.Context, name string) ([]netip.Addr, error)
	file    heartbeatStore

	news  chan struct{} // one token: list is another one
	dirty chan struct{} // one token: what the file holds is another

	mu     sync.Mutex
	keys   heartbeat.Keys
	raw    string // the key's value in etcd
	read   bool   // raw is known
	bad    error  // why raw cannot be used
	making bool   // a first key is on its way
	list   roll   // as etcd has it
	known  roll   // with the addresses that the wire has
}

// roll is who there is.
type roll struct {
	self    uint64
	members []rollMember
}

type rollMember struct {
	id        uint64
	name      string
	voter     bool
	hosts     []string // of its peer URLs
	addresses []netip.Addr
}

// newHeartbeats returns nil if they are off.
func (d *daemon) newHeartbeats(cfg *configs.Config, process string, vault Vault, put func(election.Event)) *heartbeats {
	if !cfg.Election.Detection.Heartbeats().On() {
		return nil
	}
	h := &heartbeats{
		vault: vault, clock: d.clock, log: d.Log, put: put, resolve: lookUpHost,
		file: heartbeatStore{dir: d.StateDir, vip: cfg.VIPKey()},
		news: make(chan struct{}, 1), dirty: make(chan struct{}, 1),
	}
	h.wire = d.wire(heartbeat.Config{
		Port: cfg.Election.HeartbeatPort, Interface: cfg.Election.HeartbeatInterface, Never: cfg.VIP.Addresses,
		Life: process, Clock: d.clock.Boot, Heard: h.heard,
	})
	return h
}

func newWire(c heartbeat.Config) Wire { return heartbeat.New(c) }

func lookUpHost(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// load begins with what the process before this one left.
func (h *heartbeats) load() error {
	if h == nil {
		return nil
	}
	keys, r, err := h.file.load()
	if err != nil {
		return err
	}
	h.mu.Lock()
	if keys.Known() {
		h.keys = keys
		h.wire.SetKeys(keys)
	}
	h.mu.Unlock()
	if r.self != 0 {
		h.meet(r)
	}
	return nil
}

// heard passes on what came from another master.
func (h *heartbeats) heard(m heartbeat.Message) {
	h.put(election.Heard{Message: election.Message{
		Kind: kindsIn[m.Kind], From: memberID(m.From), Epoch: m.Epoch, Seq: m.Seq, Verdict: verdictsIn[m.Verdict],
	}})
}

// The wire's numbers are for ever, the election's are not.
var (
	kindsOut = map[election.Kind]heartbeat.Kind{
		election.Beat: heartbeat.Beat, election.Ack: heartbeat.Ack, election.Challenge: heartbeat.Challenge, election.Abandoned: heartbeat.Abandoned,
	}
	verdictsOut = map[election.Verdict]heartbeat.Verdict{
		0: heartbeat.NoVerdict, election.Promised: heartbeat.Promised, election.Denied: heartbeat.Denied, election.Leaving: heartbeat.Leaving,
	}
	kindsIn    = turned(kindsOut)
	verdictsIn = turned(verdictsOut)
)

func turned[A, B comparable](m map[A]B) map[B]A {
	out := map[B]A{}
	for a, b := range m {
		out[b] = a
	}
	return out
}

// send is called by the loop: one datagram is one system call of some microseconds
// that does not wait.
func (h *heartbeats) send(a election.Send) {
	to, err := strconv.ParseUint(a.To, 16, 64)
	if h == nil || err != nil {
		return // as lost
	}
	h.wire.Send(heartbeat.Message{Kind: kindsOut[a.Kind], Verdict: verdictsOut[a.Verdict], To: to, Epoch: a.Epoch, Seq: a.Seq})
}

// status takes in what etcd says of its members.
func (h *heartbeats) status(s etcd.Status) {
	if h == nil {
		return
	}
	ready := s.State == etcd.Ready && s.Local
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := rollOf(s); r.self != 0 && len(r.members) > 0 && !r.sameMembers(h.list) {
		h.list = r
		wake(h.news)
	}
	if ready && h.read && h.raw == "" && !h.making {
		h.making = true
		go h.makeKey()
	}
}

// key takes in the key's value in etcd. While there is none, or none that can be
// read, what was known before is used on.
func (h *heartbeats) key(value string) {
	if h == nil {
		return
	}
	keys, err := heartbeat.DecodeKeys(value)
	h.mu.Lock()
	defer h.mu.Unlock()
	said := text(h.bad)
	h.raw, h.read, h.bad = value, true, nil
	switch {
	case value == "":
	case err != nil:
		if h.bad = err; text(err) != said {
			h.log.Error("the key of the heartbeats cannot be used", "err", err)
		}
	case !keys.Equal(h.keys):
		h.log.Info("the key of the heartbeats is known", "keys", keys)
		h.keys = keys
		h.wire.SetKeys(keys)
		wake(h.dirty)
	}
}

// makeKey puts a first key; that another node's was there first is as good.
func (h *heartbeats) makeKey() {
	ctx, cancel := context.WithTimeout(context.Background(), makeTimeout)
	defer cancel()
	if err := h.vault.SetKey(ctx, "", heartbeat.NewKeys(h.clock.Wall()).Encode()); err != nil {
		h.log.Debug("make a key for the heartbeats", "err", err)
	}
	h.mu.Lock()
	h.making = false
	h.mu.Unlock()
}

// wake leaves a token, which says all that many would.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// follow finds out where the members are, each time they change.
func (h *heartbeats) follow(ctx context.Context) error {
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.news:
		case <-again.C:
		}
		h.mu.Lock()
		r := h.list.clone()
		h.mu.Unlock()
		if !h.locate(ctx, r) {
			again.Reset(resolveEvery)
		}
		h.meet(r)
		wake(h.dirty)
	}
}

// locate fills in the members' addresses, and reports whether all have one.
func (h *heartbeats) locate(ctx context.Context, r roll) bool {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i := range r.members {
		m := &r.members[i]
		wg.Go(func() { m.addresses = h.addressesOf(ctx, m.hosts) })
	}
	wg.Wait()
	all := !slices.ContainsFunc(r.members, func(m rollMember) bool { return len(m.addresses) == 0 })
	h.fallBack(r)
	return all
}

// fallBack leaves a member that cannot be looked up now where it was: at boot the
// names' server may come later than etcd. The disk does not tell the hosts.
func (h *heartbeats) fallBack(r roll) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, m := range r.members {
		before := slices.IndexFunc(h.known.members, func(o rollMember) bool {
			return o.id == m.id && (o.hosts == nil || slices.Equal(o.hosts, m.hosts))
		})
		if len(m.addresses) == 0 && before >= 0 {
			r.members[i].addresses = h.known.members[before].addresses
		}
	}
}

func (h *heartbeats) addressesOf(ctx context.Context, hosts []string) []netip.Addr {
	var list []netip.Addr
	for _, host := range hosts {
		found := []netip.Addr{}
		if a, err := netip.ParseAddr(host); err == nil {
			found = append(found, a)
		} else if found, err = h.resolve(ctx, host); err != nil {
			h.log.Warn("find an etcd member by its peer URL", "host", host, "err", err)
		}
		for _, a := range found {
			list = append(list, a.Unmap().WithZone(""))
		}
	}
	return list
}

// meet tells wire and election who there is.
func (h *heartbeats) meet(r roll) {
	h.mu.Lock()
	h.known = r
	h.mu.Unlock()
	var members heartbeat.Members
	ev := election.Members{Self: memberID(r.self)}
	for _, m := range r.members {
		p := heartbeat.Peer{ID: m.id, Addresses: m.addresses}
		if m.voter {
			ev.Voters = append(ev.Voters, memberID(m.id))
		}
		switch {
		case m.id == r.self:
			members.Self = p
		case m.voter:
			members.Peers = append(members.Peers, p)
		}
	}
	h.wire.SetMembers(members)
	h.put(ev)
}

// keep writes what changes to the disk.
func (h *heartbeats) keep(ctx context.Context) error {
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.dirty:
		}
		h.mu.Lock()
		keys, r := h.keys, h.known
		h.mu.Unlock()
		err := h.file.save(keys, r)
		if text(err) != said {
			if said = text(err); err != nil {
				h.log.Warn("keep the members and the key for the next start", "err", err)
			}
		}
	}
}

// rollOf is sorted by ID. Of the own member nothing is known before etcd has
// answered once.
func rollOf(s etcd.Status) roll {
	r := roll{self: s.Member}
	for _, m := range s.Members {
		one := rollMember{id: m.ID, name: m.Name, voter: !m.Learner}
		for _, u := range m.PeerURLs {
			if parsed, err := url.Parse(u); err == nil && parsed.Hostname() != "" {
				one.hosts = append(one.hosts, parsed.Hostname())
			}
		}
		r.members = append(r.members, one)
	}
	slices.SortFunc(r.members, func(a, b rollMember) int { return strings.Compare(memberID(a.id), memberID(b.id)) })
	return r
}

// sameMembers compares what etcd has.
func (r roll) sameMembers(o roll) bool {
	return r.self == o.self && slices.EqualFunc(r.members, o.members, func(a, b rollMember) bool {
		return a.id == b.id && a.name == b.name && a.voter == b.voter && slices.Equal(a.hosts, b.hosts)
	})
}

func (r roll) clone() roll { return roll{self: r.self, members: slices.Clone(r.members)} }
