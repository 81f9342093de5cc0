// Package history knows what is worth keeping of a VIP's life. What one node sees
// of a transition becomes a [Fact], which is one key in etcd; the facts of all
// nodes become the entries that an operator reads.
//
// Facts are only ever added. The node that took the VIP over tells of the move,
// since it knows which record it replaced, and the one that lost it adds a fact
// of its own about the same term once it can: nobody has to change what another
// node wrote, and a write that is repeated after an unknown outcome has the same
// key. What a record says about a move every node can tell, so a move is kept
// also if the node that made it dies at once.
//
// It is pure: it reads no clock and does no I/O.
package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"havip/daemon/status"
	"havip/election"
)

// Schema is the version of the facts this package reads and writes.
const Schema = 1

// Kinds of facts beside the kinds of entries: they only add to another one.
const (
	// Back: the daemon of the node that lost the VIP is there again.
	Back status.HistoryKind = "back"
)

// Fact is what one node knows of one transition. It is JSON, so that an operator
// can read it with etcdctl.
type Fact struct {
	Schema  int                `json:"schema"`
	ID      string             `json:"id"` // its key: the same for the same transition, whoever writes it
	Kind    status.HistoryKind `json:"kind"`
	AtMS    int64              `json:"at_ms"` // Unix time in ms
	From    string             `json:"from,omitempty"`
	To      string             `json:"to,omitempty"`
	LostMS  int64              `json:"lost_ms,omitempty"` // Unix time in ms of the last sign that From served; 0: not known
	Reason  string             `json:"reason"`
	Chosen  string             `json:"chosen,omitempty"`
	Planned bool               `json:"planned,omitempty"`
	By      string             `json:"by"`              // who tells
	Ended   string             `json:"ended,omitempty"` // the term that ended with it, as the fact of its begin is called
	Rev     int64              `json:"rev,omitempty"`   // of the record when By first saw it so; 0: no record tells of it

	// Open: the successor has not yet said when it began. It will in a moment,
	// so such a fact can wait for it.
	Open bool `json:"-"`
}

// Bounds of what is taken from a record, in bytes: anybody who can write to etcd
// can put anything there.
const (
	maxName = 64
	maxText = 400
)

// Encode returns the fact as the value of its key.
func (f Fact) Encode() string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // "n1 -> n2" stays readable
	if err := enc.Encode(f); err != nil {
		return "{}" // strings, numbers and booleans always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Decode reads a fact from its value in etcd.
func Decode(key, value string) (Fact, error) {
	var f Fact
	if err := json.Unmarshal([]byte(value), &f); err != nil {
		return Fact{}, fmt.Errorf("read entry %s: %w", key, err)
	}
	switch {
	case f.Schema != Schema:
		return Fact{}, fmt.Errorf("read entry %s: schema: %d, this version knows %d", key, f.Schema, Schema)
	case f.ID != key:
		return Fact{}, fmt.Errorf("read entry %s: id: %q is another one", key, f.ID)
	case f.Kind == "" || f.By == "" || f.AtMS <= 0:
		return Fact{}, fmt.Errorf("read entry %s: %w", key, errIncomplete)
	}
	return f.bounded(), nil
}

var errIncomplete = errors.New("kind, by or at_ms is missing")

func (f Fact) bounded() Fact {
	f.From, f.To, f.By = cut(f.From, maxName), cut(f.To, maxName), cut(f.By, maxName)
	f.Reason, f.Chosen = cut(f.Reason, maxText), cut(f.Chosen, maxText)
	return f
}

// cut shortens a text to n bytes, between two characters, and leaves nothing in
// it that JSON would make much longer.
func cut(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) <= n {
		return s
	}
	const dots = "…"
	return strings.ToValidUTF8(s[:n-len(dots)], "") + dots
}

// plannedReasons are what the reasons of moves that somebody asked for contain.
var plannedReasons = []string{"handover by an operator", "released by an operator", " is drained", " stops", " shuts down"}

// Planned reports whether a move was asked for, by its reason.
func Planned(reason string) bool {
	for _, p := range plannedReasons {
		if strings.Contains(reason, p) {
			return true
		}
	}
	return false
}

// Reasons of the election's moves that tell how the record was come by; any
// other one is the reason of a node that gave it away.
const (
	reasonStopped  = " stopped renewing"
	reasonUnheard  = " was not heard for "
	reasonFree     = "the record was free: "
	reasonAbsent   = "there was no record"
	reasonRestart  = "its own record again, after a restart"
	reasonReleased = "(released)"
	reasonHanded   = "(handed over to "
)

func kindOf(m election.Move) status.HistoryKind {
	switch {
	case m.To == "":
		return status.HistoryRelease
	case strings.HasPrefix(m.Reason, reasonFree), m.Reason == reasonAbsent:
		return status.HistoryTaken
	case m.From == m.To:
		return status.HistoryResumed
	case FromSilent(m):
		return status.HistoryTakeover
	}
	return status.HistoryHandover
}

// FromSilent reports whether a move took the record from a node that had fallen
// silent: it crashed, or was cut off.
func FromSilent(m election.Move) bool {
	return m.To != "" && m.To != m.From && (m.Reason == m.From+reasonStopped || strings.HasPrefix(m.Reason, m.From+reasonUnheard))
}

// termOf names the term that a record is of, by when it began and for whom. It is
// the same in all its renewals, and for all who see them.
func termOf(r election.Record) string {
	began := r.Since
	if m := r.Move; m != nil && (m.From == m.To || began == 0) {
		began = m.AtMS // got again: Since is that of the term that had lapsed
	}
	return key(began, r.Node)
}

func key(ms int64, node string, what ...string) string {
	if node == "" {
		node = "nobody"
	}
	return strings.Join(append([]string{fmt.Sprintf("%013d", ms), plain(node)}, what...), "-")
}

// plain makes a name fit for a key.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, cut(name, maxName))
}

func (f Fact) at() time.Time { return time.UnixMilli(f.AtMS) }
