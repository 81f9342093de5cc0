package heartbeat

import (
	"bytes"
	"testing"
	"time"
)

const noon = 5 * time.Second // on the clock of testWire

// testWire is the receiver of testMessage, without sockets.
func testWire() *Wire {
	m := testMessage()
	w := New(Config{Life: "aaaabbbbccccddddeeeeffff", Clock: func() time.Duration { return noon }, Heard: func(Message) {}})
	w.SetMembers(Members{Self: Peer{ID: m.To}, Peers: []Peer{{ID: m.From}}})
	w.SetKeys(testKeys())
	return w
}

func TestAccept(t *testing.T) {
	good := sealed(t, testMessage(), testKeys().current)
	with := func(change func(m *Message)) []byte {
		m := testMessage()
		change(&m)
		return sealed(t, m, testKeys().current)
	}
	stranger := key{id: testKeys().current.id, secret: string(make([]byte, keySize))}
	tests := map[string]struct {
		b    []byte
		want Reason
	}{
		"good":                         {good, 0},
		"with the previous key":        {sealed(t, testMessage(), testKeys().previous), 0},
		"nothing":                      {nil, Short},
		"a byte short":                 {good[:Size-1], Short},
		"the first bytes":              {good[:atVersion], Short},
		"a byte long":                  {append(bytes.Clone(good), 0), Long},
		"another program's":            {bytes.Repeat([]byte("x"), Size), Foreign},
		"another program's, short":     {[]byte("xxx"), Foreign},
		"of the next version":          {append([]byte(magic+"\x02"), make([]byte, 300)...), OtherVersion},
		"of the next version, shorter": {[]byte(magic + "\x02"), OtherVersion},
		"for another":                  {with(func(m *Message) { m.To++ }), Misdirected},
		"reflected":                    {with(func(m *Message) { m.From, m.To = m.To, m.From }), Misdirected},
		"by a stranger":                {with(func(m *Message) { m.From++ }), UnknownSender},
		"with another key":             {sealed(t, testMessage(), key{id: 7, secret: testKeys().current.secret}), UnknownKey},
		"with a secret of its own":     {sealed(t, testMessage(), stranger), Forged},
		"changed":                      {append(append(bytes.Clone(good[:atSeq]), 1), good[atSeq+1:]...), Forged},
		"of its own":                   {own(good), Own},
	}
	for name, test := range tests {
		if _, got := testWire().accept(test.b); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// own makes the receiver the sender too, which encode refuses.
func own(b []byte) []byte {
	b = bytes.Clone(b)
	copy(b[atFrom:atTo], b[atTo:atSeq])
	return b
}

// TestAcceptSigned: what only somebody with the key can get wrong.
func TestAcceptSigned(t *testing.T) {
	w := testWire()
	good := sealed(t, testMessage(), testKeys().current)
	bad := bytes.Clone(good[:atTag])
	bad[atVerdict] = 9
	bad = newSigner(testKeys().current).tag(bad, bad)
	for i, step := range []struct {
		b    []byte
		want Reason
	}{{bad, Malformed}, {good, 0}, {good, Stale}} {
		if _, got := w.accept(step.b); got != step.want {
			t.Errorf("datagram %d: %v, want %v", i, got, step.want)
		}
	}
}

// TestNothingIsKnown: without members or a key nothing is believed.
func TestNothingIsKnown(t *testing.T) {
	good := sealed(t, testMessage(), testKeys().current)
	w := testWire()
	w.SetKeys(Keys{})
	if _, got := w.accept(good); got != UnknownKey {
		t.Errorf("without a key: %v", got)
	}
	w = testWire()
	w.SetMembers(Members{})
	if _, got := w.accept(good); got != Misdirected {
		t.Errorf("without members: %v", got)
	}
}

func TestCounts(t *testing.T) {
	w := testWire()
	var heard []Message
	w.cfg.Heard = func(m Message) { heard = append(heard, m) }
	good := sealed(t, testMessage(), testKeys().current)
	for _, b := range [][]byte{good, good, good[1:], nil, nil} {
		w.take(b)
	}
	s := w.Stats()
	p := s.Peers[testMessage().From]
	want := [Reasons]uint64{Short: 2, Foreign: 1, Stale: 1}
	switch {
	case len(heard) != 1:
		t.Errorf("heard %d", len(heard))
	case s.Dropped != want:
		t.Errorf("dropped %v, want %v", s.Dropped, want)
	case p.Received[Ack] != 1 || p.Heard != noon || p.Acknowledged != noon || p.RoundTrip != noon-testMessage().Echo:
		t.Errorf("of the peer: %+v", p)
	case s.Key != "0a0b0c0d":
		t.Errorf("key %q", s.Key)
	}
}

// A peer that stays keeps what was heard of it: a change of the members must not
// let a replay in.
func TestMembersStay(t *testing.T) {
	w := testWire()
	good := sealed(t, testMessage(), testKeys().current)
	w.take(good)
	w.SetMembers(Members{Self: Peer{ID: testMessage().To}, Peers: []Peer{{ID: 1}, {ID: testMessage().From}}})
	if _, got := w.accept(good); got != Stale {
		t.Errorf("after a change of the members: %v", got)
	}
}

func TestAcceptAllocatesNothing(t *testing.T) {
	w := testWire()
	s := newSigner(testKeys().current)
	m := testMessage()
	var b [Size]byte
	got := testing.AllocsPerRun(100, func() {
		m.Sent++
		if m.encode(&b, s) != nil {
			t.Fatal("not encoded")
		}
		if _, reason := w.accept(b[:]); reason != 0 {
			t.Fatal(reason)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations for a datagram, want none", got)
	}
}

func BenchmarkAccept(b *testing.B) {
	w := testWire()
	s := newSigner(testKeys().current)
	m := testMessage()
	var buf [Size]byte
	for b.Loop() {
		m.Sent++
		_ = m.encode(&buf, s)
		_, _ = w.accept(buf[:])
	}
}

func BenchmarkForged(b *testing.B) {
	w := testWire()
	forged := sealed(b, testMessage(), key{id: testKeys().current.id, secret: string(make([]byte, keySize))})
	for b.Loop() {
		_, _ = w.accept(forged)
	}
}

// TestUnanswered: that a peer is silent shows for as long as it is spoken to.
func TestUnanswered(t *testing.T) {
	now := noon
	w := testWire()
	w.cfg.Clock = func() time.Duration { return now }
	peer := testMessage().From
	ack := testMessage()
	for i, step := range []struct {
		at   time.Duration
		do   func()
		want time.Duration
	}{
		{noon, func() {}, 0},
		{noon + time.Second, func() { w.Send(Message{Kind: Beat, To: peer}) }, 0},
		{noon + 2*time.Second, func() { w.Send(Message{Kind: Beat, To: peer}) }, time.Second},
		{noon + 3*time.Second, func() { ack.Sent++; w.take(sealed(t, ack, testKeys().current)) }, 0},
		{noon + 4*time.Second, func() { w.Send(Message{Kind: Beat, To: peer}) }, 0},
		{noon + 5*time.Second, func() {}, time.Second},
		{noon + 9*time.Second, func() {}, 0},
	} {
		now = step.at
		step.do()
		if got := w.Stats().Peers[peer].Unanswered; got != step.want {
			t.Errorf("step %d: unanswered for %v, want %v", i, got, step.want)
		}
	}
}
