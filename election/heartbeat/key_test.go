package heartbeat

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestKeysAreKept(t *testing.T) {
	first := NewKeys(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	second := first.Rotate(time.Date(2026, 2, 2, 3, 4, 5, 6, time.UTC))
	for _, k := range []Keys{first, second} {
		got, err := DecodeKeys(k.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(k) || !got.Created().Equal(k.Created()) {
			t.Errorf("kept %v, got %v", k, got)
		}
	}
	switch {
	case second.ID() == first.ID(), second.current.secret == first.current.secret:
		t.Error("a rotation changes nothing")
	case !second.previous.equal(first.current):
		t.Error("a rotation forgets the key before it")
	case second.Rotate(time.Now()).previous.equal(first.current):
		t.Error("two rotations do not forget the key before them")
	}
}

// TestKeysFormat: what is in etcd outlives this version.
func TestKeysFormat(t *testing.T) {
	const want = `{"schema":1,"current":{"id":"0a0b0c0d","key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","created":"2026-01-02T03:04:05Z"},` +
		`"previous":{"id":"01020304","key":"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=","created":"2026-01-02T03:04:05Z"}}`
	if got := testKeys().Encode(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeKeysRefuses(t *testing.T) {
	good := testKeys().Encode()
	for name, value := range map[string]string{
		"nothing":            "",
		"no JSON":            "secret-secret",
		"another schema":     strings.Replace(good, `"schema":1`, `"schema":2`, 1),
		"no current key":     `{"schema":1}`,
		"a short key":        strings.Replace(good, "AAEC", "", 1),
		"an ID of 0":         strings.Replace(good, "0a0b0c0d", "00000000", 1),
		"an ID of 7 digits":  strings.Replace(good, "0a0b0c0d", "a0b0c0d", 1),
		"an ID that is none": strings.Replace(good, "0a0b0c0d", "0a0b0c0g", 1),
		"one ID for both":    strings.Replace(good, "01020304", "0a0b0c0d", 1),
		"a bad previous":     strings.Replace(good, "ICEi", "", 1),
	} {
		k, err := DecodeKeys(value)
		if err == nil || k.Known() {
			t.Errorf("%s: %v, %v", name, k, err)
			continue
		}
		for _, secret := range []string{"AAEC", "ICEi", "secret-secret"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error tells the value: %v", name, err)
			}
		}
	}
}

func TestKeysAreNeverShown(t *testing.T) {
	k := testKeys()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "keys", k)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "keys", k)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+"\n", k)
		fmt.Fprintf(&log, verb+"\n", &k)
	}
	for _, secret := range []string{k.current.secret, fmt.Sprintf("%q", k.current.secret), fmt.Sprintf("%x", k.current.secret), "AAEC", "[0 1 2"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("shown as %q:\n%s", secret, log.String())
		}
	}
}

// TestRotation: the process that learns of a new key first is heard by those that
// have not yet, and those are heard by it.
func TestRotation(t *testing.T) {
	first := NewKeys(time.Now())
	second := first.Rotate(time.Now())
	var early, late ring
	early.set(first, 0)
	late.set(first, 0)
	early.set(second, time.Second)
	for _, at := range []time.Duration{time.Second, 3 * time.Second} {
		if late.named(early.signer(at).id) == nil {
			t.Errorf("%v: who has the old key does not know what is signed", at)
		}
		if early.named(late.signer(at).id) == nil {
			t.Errorf("%v: who has the new key does not know what is signed", at)
		}
	}
	late.set(second, 4*time.Second)
	for _, r := range []*ring{&early, &late} {
		if got := r.signer(10 * time.Second).id; got != second.current.id {
			t.Errorf("long after a rotation %08x signs", got)
		}
	}
	var fresh ring
	fresh.set(second, 0)
	if fresh.signer(0).id != second.current.id {
		t.Error("who never had the old key signs with it")
	}
	early.set(second, 20*time.Second)
	if early.signer(21*time.Second).id != second.current.id {
		t.Error("hearing of the same keys again is a rotation")
	}
	early.set(Keys{}, 30*time.Second)
	if early.signer(31*time.Second) != nil || early.named(second.current.id) != nil {
		t.Error("a key that is gone is used on")
	}
}

func FuzzDecodeKeys(f *testing.F) {
	f.Add(testKeys().Encode())
	f.Add(`{"schema":1,"current":{"id":"00000001","key":""}}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		k, err := DecodeKeys(value)
		if k.Known() == (err != nil) {
			t.Fatalf("%v and %v", k, err)
		}
		if err != nil {
			return
		}
		if again, err := DecodeKeys(k.Encode()); err != nil || !again.Equal(k) {
			t.Errorf("%v becomes %v, %v", k, again, err)
		}
	})
}
