package heartbeat

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testKeys are the bytes 0 to 31, and 32 to 63 before them.
func testKeys() Keys {
	secret := func(from byte) string {
		b := make([]byte, keySize)
		for i := range b {
			b[i] = from + byte(i)
		}
		return string(b)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return Keys{current: key{id: 0x0a0b0c0d, secret: secret(0), created: at}, previous: key{id: 0x01020304, secret: secret(32), created: at}}
}

func testMessage() Message {
	return Message{
		Kind: Ack, Verdict: Promised, From: 0x8e9e05c52164694d, To: 0x91bc3c398fb3c146,
		Life: "4f1c2b3a495867768594a3b2", Epoch: "4f1c2b3a495867768594a3b2-17", Seq: 258, Sent: 1000000, Echo: 999000,
	}
}

func sealed(t testing.TB, m Message, k key) []byte {
	t.Helper()
	var b [Size]byte
	if err := m.encode(&b, newSigner(k)); err != nil {
		t.Fatal(err)
	}
	return b[:]
}

// golden is testMessage signed with testKeys; its last 32 bytes were computed by
// Python's hmac module over the others.
const golden = "68766201" + "0201181b" + "0a0b0c0d" + "00000000" +
	"8e9e05c52164694d" + "91bc3c398fb3c146" + "0000000000000102" + "00000000000f4240" + "00000000000f3e58" +
	"346631633262336134393538363737363835393461336232" + "0000000000000000" +
	"3466316332623361343935383637373638353934613362322d3137" + "000000000000000000000000000000000000000000" +
	"43dc8816efb28cc885cd78c82b6e7c68a1c1bfd4d1252a4e4be59524183bb98e"

// The format is a promise to daemons of other versions: a change here is a new version.
func TestFormat(t *testing.T) {
	got := sealed(t, testMessage(), testKeys().current)
	if diff := cmp.Diff(golden, hex.EncodeToString(got)); diff != "" {
		t.Errorf("datagram (-want +got):\n%s", diff)
	}
	e, reason := open(got)
	if reason != 0 || !e.signed(newSigner(testKeys().current)) {
		t.Fatalf("own datagram: reason %v", reason)
	}
	m, ok := e.read(&Message{})
	if diff := cmp.Diff(testMessage(), m); diff != "" || !ok {
		t.Errorf("content, good %v (-want +got):\n%s", ok, diff)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Message){
		"no kind":                  func(m *Message) { m.Kind = 0 },
		"a kind to come":           func(m *Message) { m.Kind = Kind(kinds) },
		"a verdict to come":        func(m *Message) { m.Verdict = Leaving + 1 },
		"an ack without a verdict": func(m *Message) { m.Verdict = NoVerdict },
		"a beat with one":          func(m *Message) { m.Kind = Beat },
		"no life":                  func(m *Message) { m.Life = "" },
		"a long life":              func(m *Message) { m.Life = strings.Repeat("x", maxLife+1) },
		"a long epoch":             func(m *Message) { m.Epoch = strings.Repeat("x", maxEpoch+1) },
		"no sender":                func(m *Message) { m.From = 0 },
		"no receiver":              func(m *Message) { m.To = 0 },
		"to itself":                func(m *Message) { m.To = m.From },
		"no time":                  func(m *Message) { m.Sent = 0 },
		"an echo of the past":      func(m *Message) { m.Echo = -1 },
	} {
		m := testMessage()
		change(&m)
		var b [Size]byte
		if err := m.encode(&b, newSigner(testKeys().current)); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

// The longest texts fill their fields and touch nothing else.
func TestLongestTexts(t *testing.T) {
	m := testMessage()
	m.Life, m.Epoch = strings.Repeat("l", maxLife), strings.Repeat("e", maxEpoch)
	e, reason := open(sealed(t, m, testKeys().current))
	if reason != 0 {
		t.Fatal(reason)
	}
	got, ok := e.read(&Message{})
	if diff := cmp.Diff(m, got); diff != "" || !ok {
		t.Errorf("content, good %v (-want +got):\n%s", ok, diff)
	}
}

// Who has the key may still write what the format does not allow.
func TestReadRefuses(t *testing.T) {
	good := sealed(t, testMessage(), testKeys().current)
	for name, change := range map[string]func([]byte){
		"kind 0":                 func(b []byte) { b[atKind] = 0 },
		"kind 5":                 func(b []byte) { b[atKind] = byte(kinds) },
		"verdict 4":              func(b []byte) { b[atVerdict] = byte(Leaving + 1) },
		"a life beyond its room": func(b []byte) { b[atLifeLen] = maxLife + 1 },
		"an epoch beyond":        func(b []byte) { b[atEpochLen] = 255 },
		"something in the zeros": func(b []byte) { b[atZero+3] = 1 },
		"something behind life":  func(b []byte) { b[atEpoch-1] = 1 },
		"something behind epoch": func(b []byte) { b[atTag-1] = 1 },
		"a time before the boot": func(b []byte) { b[atSent] = 0x80 },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, ok := envelope(b).read(&Message{}); ok {
			t.Errorf("%s: read", name)
		}
	}
}

// Every bit counts.
func TestEveryBitIsSigned(t *testing.T) {
	good := sealed(t, testMessage(), testKeys().current)
	s := newSigner(testKeys().current)
	for bit := range Size * 8 {
		b := bytes.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		if envelope(b).signed(s) {
			t.Errorf("bit %d of byte %d can be changed", bit%8, bit/8)
		}
	}
}

func FuzzAccept(f *testing.F) {
	good := sealed(f, testMessage(), testKeys().current)
	f.Add(good)
	f.Add(good[:Size-1])
	f.Add(append(bytes.Clone(good), 0))
	f.Add([]byte{})
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := testWire()
		m, reason := w.accept(b)
		switch {
		case reason < 0 || int(reason) >= Reasons:
			t.Errorf("reason %d", reason)
		case reason == 0 && !bytes.Equal(b, good):
			t.Errorf("forged: %+v", m)
		}
		// What the tag protects must hold without it too.
		if len(b) != Size {
			return
		}
		if m, ok := envelope(b).read(&Message{}); ok {
			var again [Size]byte
			if err := m.encode(&again, &signer{id: envelope(b).key(), mac: newSigner(testKeys().current).mac}); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			head := bytes.Clone(b[:atTag])
			copy(head, again[:atKind]) // magic and version were looked at before
			if !bytes.Equal(head, again[:atTag]) {
				t.Errorf("read and written again:\n%x\n%x", head, again[:atTag])
			}
		}
	})
}
