package election

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schema is the version of the record this package reads and writes.
const Schema = 1

// The modes of a record.
const (
	ModePlain     = "plain"     // the record alone decides
	ModeHeartbeat = "heartbeat" // the holder also needs acknowledgements of its epoch
)

// Record is the one value in etcd that says who may hold the address. It is
// JSON, so that an operator can read it with etcdctl.
type Record struct {
	Schema     int    `json:"schema"`
	Mode       string `json:"mode"`
	ID         string `json:"id"`             // fresh for every write (rule 1)
	Node       string `json:"node,omitempty"` // the holder; empty: free
	Wait       bool   `json:"wait,omitempty"` // free, but to be waited out like a held record: nobody saw its holder clear the address
	Since      int64  `json:"since_ms"`       // Unix time in ms at which Node's term began; for people, never compared
	Renewal    uint64 `json:"renewal"`        // renewals in this term
	HoldMS     int64  `json:"hold_ms"`        // Timing.Hold of the writer
	TakeoverMS int64  `json:"takeover_ms"`    // Timing.Takeover of the writer: what others must wait
	Offer      string `json:"offer,omitempty"`
	Epoch      *Epoch `json:"epoch,omitempty"` // in ModeHeartbeat
	Move       *Move  `json:"move,omitempty"`  // how Node came to hold the address
}

// Move explains the last change of holder (promise P5).
type Move struct {
	From   string `json:"from,omitempty"`
	To     string `json:"to"`
	AtMS   int64  `json:"at_ms"`   // Unix time in ms, by the writer's clock
	LostMS int64  `json:"lost_ms"` // Unix time in ms of the last sign that From served; 0 if unknown
	Reason string `json:"reason"`
	Chosen string `json:"chosen,omitempty"` // why To; empty when Reason says it
}

// Hold is how long the writer may serve after it sent the record.
func (r Record) Hold() time.Duration { return time.Duration(r.HoldMS) * time.Millisecond }

// Takeover is how long others wait after they last saw the record change.
func (r Record) Takeover() time.Duration { return time.Duration(r.TakeoverMS) * time.Millisecond }

// Free reports whether the record names no holder.
func (r Record) Free() bool { return r.Node == "" }

func (r Record) encode() string {
	b, err := json.Marshal(r)
	if err != nil {
		// A struct of strings and numbers always encodes.
		panic(fmt.Sprintf("encode record: %v", err))
	}
	return string(b)
}

// ErrImplausible marks a record that must not be obeyed: it is reported, and
// only an operator's release replaces it.
var ErrImplausible = errors.New("implausible record")

// DecodeRecord reads a record from its value in etcd. Every error wraps
// ErrImplausible and names the field.
func DecodeRecord(value string) (Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(value), &r); err != nil {
		return Record{}, fmt.Errorf("%w: not a JSON record: %v", ErrImplausible, err)
	}
	return r, r.plausible()
}

func (r Record) plausible() error {
	switch {
	case r.Schema != Schema:
		return fmt.Errorf("%w: schema: %d, this version knows %d", ErrImplausible, r.Schema, Schema)
	case r.Mode != ModePlain && r.Mode != ModeHeartbeat:
		return fmt.Errorf("%w: mode: %q, this version knows %q and %q", ErrImplausible, r.Mode, ModePlain, ModeHeartbeat)
	case (r.Mode == ModeHeartbeat) != (r.Epoch != nil):
		return fmt.Errorf("%w: epoch: belongs to mode %q and to no other, mode is %q", ErrImplausible, ModeHeartbeat, r.Mode)
	case r.ID == "":
		return fmt.Errorf("%w: id: empty", ErrImplausible)
	case r.TakeoverMS < MinTakeover.Milliseconds() || r.TakeoverMS > MaxTakeover.Milliseconds():
		return fmt.Errorf("%w: takeover_ms: %d, must be %d to %d", ErrImplausible, r.TakeoverMS, MinTakeover.Milliseconds(), MaxTakeover.Milliseconds())
	case r.HoldMS <= 0 || r.HoldMS >= r.TakeoverMS:
		return fmt.Errorf("%w: hold_ms: %d, must be above 0 and below takeover_ms %d", ErrImplausible, r.HoldMS, r.TakeoverMS)
	case r.Epoch != nil && (r.Free() || r.Offer != ""):
		return fmt.Errorf("%w: epoch: in a record that is given away", ErrImplausible)
	case r.Epoch != nil:
		return r.Epoch.plausible()
	}
	return nil
}

// An ID is the incarnation of the process that wrote it and a counter, so that
// no two writes ever carry the same one: "4f1c…-17".
func makeID(incarnation string, n uint64) string {
	return incarnation + "-" + strconv.FormatUint(n, 10)
}

func splitID(id string) (incarnation string, n uint64, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(id[i+1:], 10, 64)
	return id[:i], n, err == nil
}
