package status

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// PathHistory is what became of the VIP: GET, answers [History]. Its query is
// ?since=…&limit=…: no older entries than since, a time in RFC 3339 or a Go
// duration back from now, and of these the newest limit; without them all.
const (
	PathHistory = "/v1/history"
	QuerySince  = "since"
	QueryLimit  = "limit"
)

// History is what GET /v1/history answers. Each time is by the clock of the node
// that the entry names as its writer; the order is that in which etcd had it.
type History struct {
	Schema     int            `json:"schema"`           // number of this layout, 1
	Time       time.Time      `json:"time"`             // when this answer was made
	Node       string         `json:"node"`             // who reports
	VIP        []netip.Addr   `json:"vip"`              // one or two addresses that move together
	LastKnown  bool           `json:"last_known"`       // true: etcd does not answer with a quorum, this is what the node knows without it
	AgeMS      *int64         `json:"age_ms,omitempty"` // with last_known: since etcd last told; entries of other nodes may be missing from then on; absent: it never did
	Reason     string         `json:"reason,omitempty"` // with last_known: why etcd does not answer
	Earlier    int            `json:"earlier"`          // how many older entries there are that were not asked for
	Unwritten  int            `json:"unwritten"`        // how many entries this node could not write to etcd yet; it tries again
	Dropped    int64          `json:"dropped"`          // how many this node gave up since its daemon's start, because too many waited
	Unreadable []string       `json:"unreadable"`       // keys of the history in etcd whose value this version cannot read
	Entries    []HistoryEntry `json:"entries"`          // oldest first
}

// HistoryKind says what an entry of the history is about.
type HistoryKind string

// The kinds of entries.
const (
	HistoryTakeover HistoryKind = "takeover"  // from stopped renewing, and to took the record
	HistoryHandover HistoryKind = "handover"  // from gave it to to
	HistoryRelease  HistoryKind = "release"   // from let go and nobody was there to give it to; to is absent
	HistoryTaken    HistoryKind = "taken"     // the record was free or absent, and to took it
	HistoryResumed  HistoryKind = "resumed"   // the right of from had run out, and it got the same record again; to is the same
	HistoryLost     HistoryKind = "lost"      // from had to let go, and who had it next is not known, or nobody had; to is absent
	HistoryClaim    HistoryKind = "claim"     // to holds it by a claim, without etcd
	HistoryClaimEnd HistoryKind = "claim end" // the claim of from ended, and the election did not take it over
	HistoryDrain    HistoryKind = "drain"     // an operator drained the node by; no move by itself
	HistoryUndrain  HistoryKind = "undrain"   // and ended that
)

// HistoryEntry is one transition, put together from what all nodes wrote of it.
type HistoryEntry struct {
	ID      string      `json:"id"`                 // key of the entry; the same for ever
	At      time.Time   `json:"at"`                 // when to got the right, or from let go
	Kind    HistoryKind `json:"kind"`               // what happened
	From    string      `json:"from,omitempty"`     // who had it; absent: nobody
	To      string      `json:"to,omitempty"`       // who got it; absent: nobody
	Reason  string      `json:"reason"`             // why, without full stop
	Chosen  string      `json:"chosen,omitempty"`   // why to, and no other
	Planned bool        `json:"planned"`            // somebody asked for it
	LostAt  *time.Time  `json:"lost_at,omitempty"`  // when from let go; if only others can tell: when they last saw it renew
	GapMS   *int64      `json:"gap_ms,omitempty"`   // how long nobody held it, from lost_at to at; absent: not known, or does not apply
	GapMost bool        `json:"gap_most,omitempty"` // gap_ms is the most it can have been: from did not say when it let go, and may have served for up to hold after lost_at
	By      []string    `json:"by"`                 // the nodes that wrote of it
	Waiting bool        `json:"waiting,omitempty"`  // not in etcd yet
}

// Cut leaves out what is older than since, and of the rest all but the newest
// limit; a zero value cuts nothing.
func (h *History) Cut(since time.Time, limit int) {
	all := len(h.Entries)
	first := 0
	for first < all && !since.IsZero() && h.Entries[first].At.Before(since) {
		first++
	}
	if limit > 0 {
		first = max(first, all-limit)
	}
	h.Entries = h.Entries[first:]
	h.Earlier += first
}

// ReadHistory reads the query of [PathHistory].
func ReadHistory(q url.Values, now time.Time) (since time.Time, limit int, err error) {
	if s := q.Get(QuerySince); s != "" {
		if since, err = ParseSince(s, now, time.UTC); err != nil {
			return since, 0, fmt.Errorf("read query: %s=%w", QuerySince, err)
		}
	}
	if s := q.Get(QueryLimit); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 0 {
			return since, 0, fmt.Errorf("read query: %s=%q is not a number such as 20", QueryLimit, s)
		}
	}
	return since, limit, nil
}

// sinceLayouts are the times that ParseSince takes, those without a zone in the
// caller's.
var sinceLayouts = []string{
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02",
}

// ParseSince reads a time, or a duration back from now.
func ParseSince(s string, now time.Time, loc *time.Location) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range sinceLayouts {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration such as 24h nor a time such as 2026-11-25T03:00", s)
}

// History fetches the entries since a time, the newest limit of them; zero
// values ask for all.
func (c *Client) History(ctx context.Context, since time.Time, limit int) (*History, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	q := url.Values{}
	if !since.IsZero() {
		q.Set(QuerySince, since.Format(time.RFC3339Nano))
	}
	if limit > 0 {
		q.Set(QueryLimit, strconv.Itoa(limit))
	}
	var h History
	if err := c.call(ctx, http.MethodGet, PathHistory+"?"+q.Encode(), nil, &h); err != nil {
		return nil, err
	}
	if h.Schema != Schema {
		return nil, fmt.Errorf("read history: %w: %d, not %d", ErrSchema, h.Schema, Schema)
	}
	return &h, nil
}
