package election

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestImplausible(t *testing.T) {
	good := record("n2", 3*sec, 4500*ms)
	for _, tt := range []struct {
		name  string
		value string
		field string
	}{
		{"not JSON", "hello", "not a JSON record"},
		{"a list", "[]", "not a JSON record"},
		{"null", "null", "schema"},
		{"wrong type", `{"schema":1,"hold_ms":"3s"}`, "hold_ms"},
		{"too large", `{"schema":1,"takeover_ms":99999999999999999999}`, "takeover_ms"},
		{"text after it", good.encode() + "x", "after"},
		{"a brace after it", good.encode() + "}", "after"},
		{"a bracket after it", good.encode() + "]garbage", "after"},
		{"two of them", good.encode() + good.encode(), "after"},
		{"schema", change(good, func(r *Record) { r.Schema = 2 }), "schema"},
		{"mode", change(good, func(r *Record) { r.Mode = "heartbeat" }), "mode"},
		{"no id", change(good, func(r *Record) { r.ID = "" }), "id"},
		{"takeover too short", change(good, func(r *Record) { r.TakeoverMS = 999 }), "takeover_ms"},
		{"takeover too long", change(good, func(r *Record) { r.TakeoverMS = 60_001 }), "takeover_ms"},
		{"no hold", change(good, func(r *Record) { r.HoldMS = 0 }), "hold_ms"},
		{"an epoch in a plain record", change(inEpoch(nil), func(r *Record) { r.Mode = ModePlain }), "epoch"},
		{"an epoch that is given away", change(inEpoch(nil), func(r *Record) { r.Offer = "x" }), "epoch"},
		{"an epoch without id", inEpoch(func(e *Epoch) { e.ID = "" }).encode(), "epoch.id"},
		{"a member twice", inEpoch(func(e *Epoch) { e.Members[1] = "c" }).encode(), "epoch.members"},
		{"no acks", inEpoch(func(e *Epoch) { e.Acks = 0 }).encode(), "epoch.acks"},
		{"more acks than members", inEpoch(func(e *Epoch) { e.Acks = 4 }).encode(), "epoch.acks"},
		{"hold too near the promise", inEpoch(func(e *Epoch) { e.HoldMS = 1199 }).encode(), "epoch.hold_ms"},
		{"first hold too near the promise", inEpoch(func(e *Epoch) { e.FirstHoldMS = 4499 }).encode(), "epoch.first_hold_ms"},
		{"first promise below the promise", inEpoch(func(e *Epoch) { e.FirstPromiseMS, e.FirstHoldMS = 1100, 100 }).encode(), "epoch.first_promise_ms"},
		{"first promise too long", inEpoch(func(e *Epoch) { e.FirstPromiseMS = 60_001 }).encode(), "epoch.first_promise_ms"},
		{"hold above takeover", change(good, func(r *Record) { r.HoldMS = 4500 }), "hold_ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := DecodeRecord(tt.value)
			if !errors.Is(err, ErrImplausible) || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("error %v, want one that names %q", err, tt.field)
			}
		})
	}
	if got, err := DecodeRecord(good.encode() + "\n"); err != nil || got != good {
		t.Errorf("got %+v, %v, want the record", got, err)
	}
	if _, err := DecodeRecord(inEpoch(nil).encode()); err != nil {
		t.Errorf("a record with an epoch: %v", err)
	}
}

// inEpoch is another node's record in heartbeat mode.
func inEpoch(do func(*Epoch)) Record {
	r := record("n2", 13400*ms, 15*sec)
	r.Mode, r.Epoch = ModeHeartbeat, newEpoch("n2-1", []string{"a", "b", "c"}, StandardDetection(), DeriveTiming(DefaultEtcdElection))
	if do != nil {
		do(r.Epoch)
	}
	return r
}

func change(r Record, do func(*Record)) string {
	do(&r)
	return r.encode()
}

// fields are what an error may name beside text that is no JSON at all.
var fields = []string{"schema", "mode", "id", "node", "wait", "since_ms", "renewal", "hold_ms", "takeover_ms", "offer", "move", "epoch", "not a JSON record", "after the JSON"}

func FuzzDecodeRecord(f *testing.F) {
	good := record("n2", 3*sec, 4500*ms)
	f.Add(good.encode())
	f.Add(good.encode() + "}")
	f.Add(`{"schema":1,"mode":"plain","id":"a-1","move":{"to":3}}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		r, err := DecodeRecord(value)
		if err == nil {
			if r.Hold() <= 0 || r.Hold() >= r.Takeover() || r.Takeover() > MaxTakeover {
				t.Errorf("accepted %+v", r)
			}
			again, err := DecodeRecord(r.encode())
			if err != nil || again.ID == "" {
				t.Errorf("does not decode again: %v", err)
			}
			return
		}
		if !errors.Is(err, ErrImplausible) {
			t.Errorf("%v does not wrap ErrImplausible", err)
		}
		for _, name := range fields {
			if strings.Contains(err.Error(), name) {
				return
			}
		}
		t.Errorf("%v names no field", err)
	})
}

func TestIDs(t *testing.T) {
	for id, want := range map[string]bool{"a-1": true, "a-b-17": true, "-3": true, "a": false, "a-": false, "a-x": false, "a--1": true} {
		if _, _, ok := splitID(id); ok != want {
			t.Errorf("splitID(%q) ok %v, want %v", id, ok, want)
		}
	}
}

func TestTiming(t *testing.T) {
	want := Timing{Hold: 3 * sec, Takeover: 4500 * ms, Renewal: 400 * ms, Retry: 200 * ms}
	if got := DeriveTiming(DefaultEtcdElection); got != want {
		t.Errorf("derived %+v, want %+v", got, want)
	}
	for election := 100 * ms; election <= 25*sec; election += 100 * ms {
		got := DeriveTiming(election)
		if err := got.CheckSafe(); err != nil {
			t.Errorf("election timeout %v: %v", election, err)
		}
		if got.Hold < got.MinHoldFor(election) {
			t.Errorf("election timeout %v: hold %v is below %v", election, got.Hold, got.MinHoldFor(election))
		}
		long := beatTiming(got)
		if err := long.CheckSafe(); err != nil || long.Takeover < got.Takeover {
			t.Errorf("election timeout %v: %+v in an epoch: %v", election, long, err)
		}
		if long.Hold < long.MinHoldFor(election) {
			t.Errorf("election timeout %v: hold %v in an epoch is below %v", election, long.Hold, long.MinHoldFor(election))
		}
	}
	if got := beatTiming(want); got.Hold != 13400*ms || got.Takeover != 15*sec {
		t.Errorf("%+v in an epoch, want hold 13.4 s and takeover 15 s", got)
	}
	for name, bad := range map[string]Timing{
		"above 0":   {Takeover: 4500 * ms},
		"too short": {Hold: 3 * sec, Takeover: 4400 * ms, Renewal: 1, Retry: 1},
		"outside":   {Hold: 60 * sec, Takeover: 70 * sec, Renewal: 1, Retry: 1},
	} {
		if err := bad.CheckSafe(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: error %v, want one with %q", bad, err, name)
		}
	}
	if time.Duration(clockMargin*float64(want.Takeover)) < want.Hold+KernelLateness+killLateness+clearAllowance {
		t.Error("the default timing leaves no room")
	}
}
