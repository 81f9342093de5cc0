package heartbeat

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"strconv"
	"time"
)

const (
	keySchema = 1
	keySize   = 32 // bytes; RFC 2104 section 3: no fewer than the hash has
)

// Keys is what datagrams are signed and accepted with. It is kept as JSON in etcd,
// and a copy on each master's disk. It never shows its secrets when printed.
type Keys struct {
	current, previous key // previous may be none
}

type key struct {
	id      uint32
	secret  string
	created time.Time
}

// keysFile is how Keys are stored.
type keysFile struct {
	Schema   int      `json:"schema"`
	Current  *keyFile `json:"current"`
	Previous *keyFile `json:"previous,omitempty"`
}

type keyFile struct {
	ID      string    `json:"id"`
	Key     []byte    `json:"key"` // base64 in JSON
	Created time.Time `json:"created"`
}

// NewKeys makes a first key.
func NewKeys(now time.Time) Keys { return Keys{current: newKey(now, 0)} }

// Rotate makes a new key; datagrams signed with the present one are still
// accepted until the next rotation.
func (k Keys) Rotate(now time.Time) Keys {
	return Keys{current: newKey(now, k.current.id), previous: k.current}
}

func newKey(now time.Time, but uint32) key {
	var b [4 + keySize]byte
	for {
		rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
		if id := binary.BigEndian.Uint32(b[:]); id != 0 && id != but {
			return key{id: id, secret: string(b[4:]), created: now.UTC().Truncate(time.Second)}
		}
	}
}

// Known reports whether there is a key at all.
func (k Keys) Known() bool { return k.current.id != 0 }

// ID returns the name of the key that signs, which is no secret.
func (k Keys) ID() string { return k.current.name() }

// Created is when that key was made, by the clock of who made it.
func (k Keys) Created() time.Time { return k.current.created }

// Equal reports whether both sign and accept the same.
func (k Keys) Equal(o Keys) bool { return k.current.equal(o.current) && k.previous.equal(o.previous) }

func (k key) equal(o key) bool { return k.id == o.id && k.secret == o.secret }

func (k key) name() string { return fmt.Sprintf("%08x", k.id) }

// String returns the names of the keys alone.
func (k Keys) String() string {
	switch {
	case !k.Known():
		return "no key"
	case k.previous.id == 0:
		return "key " + k.ID()
	}
	return "key " + k.ID() + " after " + k.previous.name()
}

// Format keeps the secrets out of every verb, %#v too.
func (k Keys) Format(s fmt.State, _ rune) { fmt.Fprint(s, k.String()) }

// LogValue keeps them out of the log.
func (k Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Encode writes the keys as they are kept, secrets and all.
func (k Keys) Encode() string {
	f := keysFile{Schema: keySchema, Current: k.current.file()}
	if k.previous.id != 0 {
		f.Previous = k.previous.file()
	}
	b, err := json.Marshal(f)
	if err != nil {
		// The year of a clock that is read has four digits, and the rest always encodes.
		panic(fmt.Sprintf("encode keys: %v", err))
	}
	return string(b)
}

func (k key) file() *keyFile {
	return &keyFile{ID: k.name(), Key: []byte(k.secret), Created: k.created}
}

// ErrNoKey means that there is no key.
var ErrNoKey = errors.New("there is no key")

// DecodeKeys reads what Encode wrote. No error has a part of the value in it.
func DecodeKeys(value string) (Keys, error) {
	if value == "" {
		return Keys{}, ErrNoKey
	}
	var f keysFile
	if json.Unmarshal([]byte(value), &f) != nil {
		return Keys{}, errors.New("decode keys: not the JSON of a key")
	}
	if f.Schema != keySchema {
		return Keys{}, fmt.Errorf("decode keys: schema: %d, this version knows %d", f.Schema, keySchema)
	}
	current, err := f.Current.key()
	if err != nil {
		return Keys{}, fmt.Errorf("decode keys: current: %w", err)
	}
	if f.Previous == nil {
		return Keys{current: current}, nil
	}
	previous, err := f.Previous.key()
	if err != nil {
		return Keys{}, fmt.Errorf("decode keys: previous: %w", err)
	}
	if previous.id == current.id {
		return Keys{}, fmt.Errorf("decode keys: both are called %s", current.name())
	}
	return Keys{current: current, previous: previous}, nil
}

func (f *keyFile) key() (key, error) {
	if f == nil {
		return key{}, ErrNoKey
	}
	id, err := strconv.ParseUint(f.ID, 16, 32)
	if err != nil || id == 0 || len(f.ID) != 8 {
		return key{}, errors.New("id: must be eight hexadecimal digits")
	}
	if len(f.Key) != keySize {
		return key{}, fmt.Errorf("key: has %d bytes, must have %d", len(f.Key), keySize)
	}
	return key{id: uint32(id), secret: string(f.Key), created: f.Created}, nil
}

// signer signs with one key. It is not for two goroutines at once.
type signer struct {
	id      uint32
	mac     hash.Hash
	scratch [tagSize]byte
}

func newSigner(k key) *signer {
	if k.id == 0 {
		return nil
	}
	return &signer{id: k.id, mac: hmac.New(sha256.New, []byte(k.secret))}
}

// tag appends the tag of b to dst.
func (s *signer) tag(dst, b []byte) []byte {
	s.mac.Reset()
	s.mac.Write(b)
	return s.mac.Sum(dst)
}

// signAnew is for how long a process that has learned of a rotation goes on to sign
// with the key before it: what it hears of within milliseconds, another may hear of
// only when etcd answers there again.
const signAnew = 5 * time.Second

// ring is the keys of a process that signs and accepts.
type ring struct {
	keys              Keys
	current, previous *signer       // nil: none
	anew              time.Duration // until when previous signs, on the clock of the caller
}

func (r *ring) set(k Keys, now time.Duration) {
	if k.Equal(r.keys) {
		return
	}
	anew := time.Duration(0)
	if r.current != nil && k.previous.equal(r.keys.current) {
		anew = now + signAnew
	}
	*r = ring{keys: k, current: newSigner(k.current), previous: newSigner(k.previous), anew: anew}
}

// signer returns what signs now, nil without a key.
func (r *ring) signer(now time.Duration) *signer {
	if now < r.anew {
		return r.previous
	}
	return r.current
}

// named returns the key of that ID, or nil.
func (r *ring) named(id uint32) *signer {
	for _, s := range []*signer{r.current, r.previous} {
		if s != nil && s.id == id {
			return s
		}
	}
	return nil
}
