package heartbeat

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Kind is what a datagram is for.
type Kind uint8

// The kinds, as they are on the wire.
const (
	Beat      Kind = 1 + iota // the holder lives
	Ack                       // a peer heard a beat
	Challenge                 // who has abandoned this epoch?
	Abandoned                 // the sender has
)

const kinds = int(Abandoned) + 1

var kindNames = [kinds]string{"", "beat", "ack", "challenge", "abandoned"}

func (k Kind) String() string {
	if k == 0 || int(k) >= kinds {
		return "unknown"
	}
	return kindNames[k]
}

// Verdict is what an acknowledgement says.
type Verdict uint8

// The verdicts, as they are on the wire.
const (
	NoVerdict Verdict = iota // of every other kind
	Promised
	Denied
	Leaving
)

// Message is the content of a datagram.
type Message struct {
	Kind    Kind
	Verdict Verdict
	From    uint64 // etcd member IDs
	To      uint64
	Life    string
	Epoch   string
	Seq     uint64
	Sent    time.Duration // the sender's CLOCK_BOOTTIME
	Echo    time.Duration // the receiver's
}

// Where the fields are; see the package's documentation.
const (
	atVersion   = 3
	atKind      = 4
	atVerdict   = 5
	atLifeLen   = 6
	atEpochLen  = 7
	atKey       = 8
	atZero      = 12
	atFrom      = 16
	atTo        = 24
	atSeq       = 32
	atSent      = 40
	atEcho      = 48
	atLife      = 56
	atEpoch     = 88
	atTag       = 136
	magic       = "hvb"
	version     = 1
	maxLife     = atEpoch - atLife
	maxEpoch    = atTag - atEpoch
	tagSize     = 32
	invalidTime = "a time before the boot"
)

// Size is how long every datagram of this version is.
const Size = atTag + tagSize

// Reason is why a datagram was dropped.
type Reason int

// The reasons, in the order in which they are looked for.
const (
	Short         Reason = 1 + iota // fewer bytes than Size
	Long                            // more
	Foreign                         // no datagram of havip's
	OtherVersion                    // of another version's format
	Malformed                       // a field has what it cannot have
	Misdirected                     // for another member, or this one's ID is not known yet
	Own                             // this member is its sender
	UnknownSender                   // by nobody who has a vote in etcd
	UnknownKey                      // another key, or none is known here
	Forged                          // not made with the key that it names
	Stale                           // not newer than what was heard: doubled, overtaken or replayed
)

// Reasons is one more than the last Reason.
const Reasons = int(Stale) + 1

var reasonNames = [Reasons]string{"", "short", "long", "foreign", "version", "malformed", "misdirected", "own", "sender", "key", "forged", "stale"}

// String returns a word for a metric's label.
func (r Reason) String() string { return reasonNames[r] }

// encode writes the message and signs it.
func (m *Message) encode(b *[Size]byte, k *signer) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("encode %v: %w", m.Kind, err)
	}
	clear(b[:])
	copy(b[:], magic)
	b[atVersion] = version
	b[atKind], b[atVerdict] = byte(m.Kind), byte(m.Verdict)
	b[atLifeLen], b[atEpochLen] = byte(len(m.Life)), byte(len(m.Epoch))
	binary.BigEndian.PutUint32(b[atKey:], k.id)
	binary.BigEndian.PutUint64(b[atFrom:], m.From)
	binary.BigEndian.PutUint64(b[atTo:], m.To)
	binary.BigEndian.PutUint64(b[atSeq:], m.Seq)
	binary.BigEndian.PutUint64(b[atSent:], uint64(m.Sent))
	binary.BigEndian.PutUint64(b[atEcho:], uint64(m.Echo))
	copy(b[atLife:atEpoch], m.Life)
	copy(b[atEpoch:atTag], m.Epoch)
	k.tag(b[:atTag], b[:atTag]) // right behind what it is of
	return nil
}

func (m *Message) check() error {
	switch {
	case m.Kind == 0 || int(m.Kind) >= kinds:
		return fmt.Errorf("kind %d", m.Kind)
	case (m.Verdict != NoVerdict) != (m.Kind == Ack) || m.Verdict > Leaving:
		return fmt.Errorf("verdict %d", m.Verdict)
	case len(m.Life) == 0 || len(m.Life) > maxLife:
		return fmt.Errorf("a life of %d bytes, must be 1 to %d", len(m.Life), maxLife)
	case len(m.Epoch) > maxEpoch:
		return fmt.Errorf("an epoch of %d bytes, more than %d", len(m.Epoch), maxEpoch)
	case m.From == 0 || m.To == 0 || m.From == m.To:
		return fmt.Errorf("from member %x to member %x", m.From, m.To)
	case m.Sent <= 0 || m.Echo < 0:
		return errors.New(invalidTime)
	}
	return nil
}

// An envelope is a datagram of the right size and format of which nothing has
// been believed yet.
type envelope []byte

// open looks whether it can be a datagram of this version.
func open(b []byte) (envelope, Reason) {
	switch {
	case len(b) >= len(magic) && string(b[:len(magic)]) != magic:
		return nil, Foreign
	case len(b) > atVersion && b[atVersion] != version:
		return nil, OtherVersion
	case len(b) < Size:
		return nil, Short
	case len(b) > Size:
		return nil, Long
	}
	return b, 0
}

func (e envelope) key() uint32  { return binary.BigEndian.Uint32(e[atKey:]) }
func (e envelope) from() uint64 { return binary.BigEndian.Uint64(e[atFrom:]) }
func (e envelope) to() uint64   { return binary.BigEndian.Uint64(e[atTo:]) }

// signed reports whether the key made it.
func (e envelope) signed(k *signer) bool {
	return hmac.Equal(k.tag(k.scratch[:0], e[:atTag]), e[atTag:])
}

// read returns the content; texts are those of before where they are the same,
// so that hearing the same peer again costs no memory.
func (e envelope) read(before *Message) (Message, bool) {
	if int(e[atLifeLen]) > maxLife || int(e[atEpochLen]) > maxEpoch {
		return Message{}, false
	}
	life, epoch := e[atLife:atLife+int(e[atLifeLen])], e[atEpoch:atEpoch+int(e[atEpochLen])]
	m := Message{
		Kind: Kind(e[atKind]), Verdict: Verdict(e[atVerdict]), From: e.from(), To: e.to(),
		Life: same(before.Life, life), Epoch: same(before.Epoch, epoch),
		Seq:  binary.BigEndian.Uint64(e[atSeq:]),
		Sent: time.Duration(binary.BigEndian.Uint64(e[atSent:])),
		Echo: time.Duration(binary.BigEndian.Uint64(e[atEcho:])),
	}
	padded := zeros(e[atZero:atFrom]) && zeros(e[atLife+len(life):atEpoch]) && zeros(e[atEpoch+len(epoch):atTag])
	return m, padded && m.check() == nil
}

func same(before string, now []byte) string {
	if before == string(now) {
		return before
	}
	return string(now)
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
