package election

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// driver is one machine with an etcd, a kernel and a disk that do what the test
// says: at once and with success unless a hook or a delay is set.
type driver struct {
	t    *testing.T
	m    *Machine
	now  Instant
	etcd string // the record

	rtt       time.Duration // of a transaction
	hold      bool          // writes are kept back
	noSet     bool          // set calls are kept back
	noClear   bool          // clear calls fail
	noSave    bool          // saves fail
	noDisk    bool          // saves do not come back
	failSet   bool          // set calls fail
	silent    bool          // commits are not shown on the watch
	answers   bool          // somebody answers probes for the address
	failProbe bool          // the link cannot be asked

	later  []timed
	acts   []Action // everything emitted since the last take
	writes []Write  // kept back
	sets   []SetAddress
	until  Instant // kernel: when the address goes; 0: not there
	saved  *SavedState
	peers  []Peer
	exited bool
}

type timed struct {
	at Instant
	ev Event
	do func() Event // run at that time, if not nil
}

func testConfig() Config {
	return Config{Node: "n1", Incarnation: "a", Timing: DeriveTiming(DefaultEtcdElection), Priority: 100}
}

func newDriver(t *testing.T, cfg Config, saved *SavedState) *driver {
	t.Helper()
	d := &driver{t: t, now: 100 * sec, rtt: 4 * ms, saved: saved}
	m, acts := New(cfg, d.clock(), saved, false)
	d.m = m
	d.perform(acts)
	return d
}

// ready is a driver whose node is a candidate that sees the given record.
func ready(t *testing.T, record string) *driver {
	t.Helper()
	d := newDriver(t, testConfig(), nil)
	d.etcd = record
	d.up()
	return d
}

func (d *driver) up() {
	d.send(Link{Present: true, Up: true})
	d.send(Etcd{Local: true, Reason: "ready"})
	d.run(20 * ms)
}

// holding is a driver whose node holds the address.
func holding(t *testing.T) *driver {
	t.Helper()
	d := ready(t, "")
	d.run(6 * sec)
	if d.m.role != Holder || d.until == 0 {
		t.Fatalf("role %v, address until %v, want a holder with the address", d.m.role, d.until)
	}
	d.take()
	return d
}

func (d *driver) clock() Now { return Now{Boot: d.now, Wall: int64(d.now / ms)} }

func (d *driver) send(ev Event) { d.perform(d.m.Step(d.clock(), ev)) }

func (d *driver) after(wait time.Duration, ev Event) {
	d.later = append(d.later, timed{at: d.now + wait, ev: ev})
}

// run lets time pass: events that are due, and the ticks the machine asks for.
func (d *driver) run(wait time.Duration) {
	end := d.now + wait
	for range 100_000 {
		i := -1
		for j, l := range d.later {
			if l.at <= end && (i < 0 || l.at < d.later[i].at) {
				i = j
			}
		}
		next := d.m.Next()
		switch {
		case i >= 0 && d.later[i].at <= next:
			l := d.later[i]
			d.later = append(d.later[:i:i], d.later[i+1:]...)
			d.now = max(d.now, l.at)
			ev := l.ev
			if l.do != nil {
				ev = l.do()
			}
			if ev != nil {
				d.send(ev)
			}
		case next <= end:
			d.now = max(d.now, next)
			d.send(Tick{})
		default:
			d.now = end
			return
		}
	}
	d.t.Fatalf("the machine turns in a loop at %v", d.now)
}

func (d *driver) perform(acts []Action) {
	d.acts = append(d.acts, acts...)
	for _, a := range acts {
		switch a := a.(type) {
		case Write:
			d.write(a)
		case Read:
			d.later = append(d.later, timed{at: d.now + d.rtt, do: func() Event { return Observed{Value: d.etcd, Read: a.ID} }})
		case FindAddress:
			d.later = append(d.later, timed{at: d.now + ms, do: func() Event { return AddressFound{Present: d.until > d.now, Until: d.until} }})
		case Probe:
			d.after(400*ms, Probed{ID: a.ID, Answered: d.answers, By: "02:00:00:00:00:99", Failed: d.failProbe})
		case SetAddress:
			d.sets = append(d.sets, a)
			switch {
			case d.failSet:
				d.after(ms, AddressSet{Seq: a.Seq, Before: d.now, After: d.now + ms, Reason: "not permitted"})
			case !d.noSet:
				d.until = d.now + seconds(a.Lifetime)
				d.after(ms, AddressSet{Seq: a.Seq, OK: true, Before: d.now, After: d.now + ms})
			}
		case ClearAddress:
			if !d.noClear {
				d.until = 0
			}
			d.after(ms, AddressCleared{Seq: a.Seq, OK: !d.noClear, Reason: "not permitted"})
		case Save:
			d.save(a)
		case Exit:
			d.exited = true
		}
	}
}

func (d *driver) save(a Save) {
	if !d.noSave {
		d.saved = a.State
	}
	if a.Seq != 0 && !d.noDisk {
		d.after(ms, Saved{Seq: a.Seq, OK: !d.noSave})
	}
}

func (d *driver) write(a Write) {
	if d.hold {
		d.writes = append(d.writes, a)
		d.after(a.Timeout, Wrote{ID: a.ID, Outcome: Unknown})
		return
	}
	d.later = append(d.later, timed{at: d.now + d.rtt/2, do: func() Event { d.apply(a); return nil }})
}

func (d *driver) apply(a Write) {
	ev := Wrote{ID: a.ID, Outcome: Refused, Current: d.etcd}
	if d.etcd == a.Expect {
		d.etcd = a.Value
		ev = Wrote{ID: a.ID, Outcome: Committed}
		if !d.silent {
			d.after(d.rtt/2, Observed{Value: a.Value, Live: true})
		}
	}
	d.after(d.rtt/2, ev)
}

// put is somebody else's write.
func (d *driver) put(value string) {
	d.etcd = value
	d.send(Observed{Value: value, Live: true})
}

// peer makes another candidate appear that answers every call with an offer.
func (d *driver) peer(p Peer) {
	d.peers = append(d.peers, p)
	d.send(Peers{List: d.peers})
}

// offer answers the last call.
func (d *driver) offer() {
	d.t.Helper()
	for i := len(d.acts) - 1; i >= 0; i-- {
		if a, ok := d.acts[i].(Ask); ok {
			for j := range d.peers {
				if d.peers[j].Node == a.Call.To {
					d.peers[j].Call, d.peers[j].Offer = a.Call.ID, "offer-1"
				}
			}
			d.send(Peers{List: d.peers})
			return
		}
	}
	d.t.Fatal("nobody was asked")
}

// asked: was somebody asked for an offer since the last take?
func (d *driver) asked() bool {
	return slices.ContainsFunc(d.acts, func(a Action) bool { _, ok := a.(Ask); return ok })
}

// take returns what was emitted since the last take, one word each.
func (d *driver) take() []string {
	var words []string
	for _, a := range d.acts {
		if w := word(a); w != "" {
			words = append(words, w)
		}
	}
	d.acts = nil
	return words
}

func word(a Action) string {
	switch a := a.(type) {
	case Write:
		r, _ := DecodeRecord(a.Value)
		switch {
		case r.Wait:
			return "write free, wait"
		case r.Free():
			return "write free"
		case r.Offer != "":
			return "write for " + r.Node
		}
		return "write"
	case Read:
		return "read"
	case Ask:
		return "ask " + a.Call.To
	case SetAddress:
		return fmt.Sprintf("set %d", a.Lifetime)
	case ClearAddress:
		return "clear"
	case FindAddress:
		return "find"
	case Announce:
		return "announce"
	case Save:
		switch {
		case a.State == nil:
			return "erase"
		case a.State.GivenAway:
			return "save given away"
		}
		return "keep"
	case Note:
		return fmt.Sprintf("%v -> %v", a.From, a.To)
	case Done:
		if a.Err != "" {
			return "done: error: " + a.Err
		}
		return "done: " + a.Message
	case Warn:
		return "warn: " + a.Text
	case Exit:
		return "exit"
	}
	return ""
}

func count(words []string, word string) int {
	n := 0
	for _, w := range words {
		if strings.HasPrefix(w, word) {
			n++
		}
	}
	return n
}

// record is another node's.
func record(node string, hold, takeover time.Duration) Record {
	return Record{
		Schema: Schema, Mode: ModePlain, ID: node + "-1", Node: node,
		HoldMS: hold.Milliseconds(), TakeoverMS: takeover.Milliseconds(),
	}
}

func fit(node string) Peer {
	return Peer{Node: node, Role: "candidate", Priority: 100, Healthy: true, LinkUp: true, Able: true}
}
