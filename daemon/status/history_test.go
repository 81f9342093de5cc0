package status

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// ofMoves is a history with an entry of each kind; the crash is the one of the
// status scenarios.
func ofMoves() *History {
	at := func(days int, clock string) time.Time {
		t, err := time.ParseInLocation("15:04:05.000", clock, cet)
		if err != nil {
			panic(err)
		}
		return time.Date(2026, 3, 2-days, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), cet)
	}
	return &History{
		Schema: Schema, Time: at0316, Node: "n3", VIP: addrs("198.51.100.166"), Unreadable: []string{},
		Entries: []HistoryEntry{
			{ID: "1", At: at(9, "10:00:00.000"), Kind: HistoryClaim, To: "n1", Planned: true, By: []string{"n1"},
				Reason: "claimed the address for havipctl init; there is no etcd yet"},
			{ID: "2", At: at(9, "10:01:12.000"), Kind: HistoryTaken, From: "n1", To: "n1", GapMS: ms(0), By: []string{"n1"},
				Reason: "the election took the claim over: there was no record"},
			{ID: "3", At: at(5, "08:00:01.007"), Kind: HistoryHandover, From: "n1", To: "n2", LostAt: timeRef(at(5, "08:00:01.001")), GapMS: ms(6), Planned: true, By: []string{"n2"},
				Reason: "handover by an operator"},
			{ID: "4", At: at(3, "12:00:00.000"), Kind: HistoryDrain, Planned: true, By: []string{"n2"}, Reason: "n2 is to take no part until undrain"},
			{ID: "5", At: at(3, "12:00:00.012"), Kind: HistoryHandover, From: "n2", To: "n1", LostAt: timeRef(at(3, "12:00:00.004")), GapMS: ms(8), Planned: true, By: []string{"n1"},
				Reason: "n2 is drained", Chosen: "n1 ranked first (healthy, priority 100)"},
			{ID: "6", At: at(3, "12:30:00.000"), Kind: HistoryUndrain, Planned: true, By: []string{"n2"}, Reason: "n2 may hold the address again"},
			{ID: "7", At: at(1, "01:00:00.000"), Kind: HistoryRelease, From: "n1", LostAt: timeRef(at(1, "00:59:59.997")), Planned: true, By: []string{"n1"},
				Reason: "havipd on n1 stops"},
			{ID: "8", At: at(1, "01:10:00.000"), Kind: HistoryTaken, To: "n1", LostAt: timeRef(at(1, "00:59:59.997")), GapMS: ms(600_003), By: []string{"n1"}, Planned: true,
				Reason: "the record was free: havipd on n1 stops", Chosen: "nobody else could take it"},
			{ID: "9", At: at(1, "02:00:42.000"), Kind: HistoryResumed, From: "n1", To: "n1", LostAt: timeRef(at(1, "02:00:03.000")), GapMS: ms(39_000), By: []string{"n1"},
				Reason: "n1 let go: etcd confirmed no renewal within 3s"},
			{ID: "10", At: before0316(4*time.Minute + 12*time.Second), Kind: HistoryTakeover, From: "n1", To: "n2", By: []string{"n2", "n1"},
				LostAt: timeRef(before0316(4*time.Minute + 16*time.Second)), GapMS: ms(4020), GapMost: true,
				Reason: "n1 stopped renewing; n1: it was rebooted, and was back 94.0 s later", Chosen: "n2 ranked first (healthy, priority 100)"},
			{ID: "11", At: before0316(time.Minute), Kind: HistoryTakeover, From: "n2", To: "n3", By: []string{"n3"},
				Reason: "n2 stopped renewing", Chosen: "nobody else could take it"},
			{ID: "12", At: before0316(5 * time.Second), Kind: HistoryLost, From: "n3", By: []string{"n3"}, Waiting: true,
				Reason: "etcd confirmed no renewal within 3s"},
		},
	}
}

var histories = map[string]func() *History{
	"history-moves": ofMoves,
	"history-empty": func() *History {
		return &History{Schema: Schema, Time: at0316, Node: "n3", VIP: addrs("198.51.100.166", "2001:db8::166"), Unreadable: []string{}, Entries: []HistoryEntry{}}
	},
	"history-since": func() *History {
		h := ofMoves()
		h.Cut(at0316, 0)
		return h
	},
	"history-troubled": func() *History {
		h := ofMoves()
		h.Cut(time.Time{}, 2)
		h.LastKnown, h.AgeMS, h.Unwritten, h.Dropped = true, ms(40_000), 1, 3
		h.Reason = "read history: no answer from 127.0.0.1:2379 in time"
		h.Unreadable = []string{"by-hand", "x\x1b[31m", "y", "z"}
		return h
	},
	"history-never": func() *History {
		return &History{Schema: Schema, Time: at0316, Node: "n3", VIP: addrs("198.51.100.166"), LastKnown: true, Unreadable: []string{}, Entries: []HistoryEntry{}}
	},
}

func TestHistoryGolden(t *testing.T) {
	for name, make := range histories {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := RenderHistory(&b, make(), Options{Loc: cet, Width: 120}); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", b.Bytes())
			doc, err := json.MarshalIndent(make(), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", append(doc, '\n'))
		})
	}
}

// Every width is kept, whatever the others wrote, and nothing of it reaches the
// terminal as a control sequence.
func TestHistoryWidths(t *testing.T) {
	h := ofMoves()
	h.Entries[3].By = []string{"n2\x1b[2J"}
	h.Entries[4].To = strings.Repeat("a-rather-long-name.", 5)
	h.Entries[9].Reason += strings.Repeat(" and so on", 20) + "\x1b[31m\x07"
	for width := 73; width <= 140; width += 9 {
		var plain, colour bytes.Buffer
		if err := RenderHistory(&plain, h, Options{Loc: cet, Width: width}); err != nil {
			t.Fatal(err)
		}
		if err := RenderHistory(&colour, h, Options{Loc: cet, Width: width, Color: true}); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(plain.String(), "\n") {
			if utf8.RuneCountInString(line) > width {
				t.Errorf("width %d: %q", width, line)
			}
		}
		if strings.ContainsAny(plain.String(), "\x1b\x07") {
			t.Errorf("width %d: control characters in %q", width, plain.String())
		}
		if diff := cmp.Diff(plain.String(), stripColour(colour.String())); diff != "" {
			t.Errorf("colour changes the layout (-plain +coloured):\n%s", diff)
		}
	}
}

func TestParseSince(t *testing.T) {
	for text, want := range map[string]string{
		"24h": "2026-03-01T03:16:21+01:00", "0s": "2026-03-02T03:16:21+01:00", "1h30m": "2026-03-02T01:46:21+01:00",
		"2026-03-01T03:00": "2026-03-01T03:00:00+01:00", "2026-03-01 03:00": "2026-03-01T03:00:00+01:00",
		"2026-03-01": "2026-03-01T00:00:00+01:00", "2026-03-01T03:00:07": "2026-03-01T03:00:07+01:00",
		"2026-03-01T02:00:00Z": "2026-03-01T02:00:00Z", "2026-03-01 03:00:09": "2026-03-01T03:00:09+01:00",
		"": "", "-1h": "", "yesterday": "", "03:00": "", "24": "",
	} {
		got, err := ParseSince(text, at0316, cet)
		if want == "" {
			if err == nil {
				t.Errorf("%q is taken for %v", text, got)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestReadHistory(t *testing.T) {
	tests := []struct {
		query string
		since string
		limit int
		err   string
	}{
		{"", "0001-01-01T00:00:00Z", 0, ""},
		{"since=1h&limit=3", "2026-03-02T01:16:21Z", 3, ""},
		{"since=2026-03-01T03:00:00%2B01:00", "2026-03-01T02:00:00Z", 0, ""},
		{"since=soon", "", 0, `since="soon" is neither`},
		{"limit=-1", "", 0, `limit="-1" is not a number`},
		{"limit=all", "", 0, `limit="all" is not a number`},
	}
	for _, test := range tests {
		q, err := url.ParseQuery(test.query)
		if err != nil {
			t.Fatal(err)
		}
		since, limit, err := ReadHistory(q, at0316)
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %v, want %s", test.query, err, test.err)
			}
		case err != nil || since.UTC().Format(time.RFC3339) != test.since || limit != test.limit:
			t.Errorf("%s: %v, %d, %v", test.query, since, limit, err)
		}
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		since time.Time
		limit int
		first string // ID of the first entry left
		left  int
	}{
		{time.Time{}, 0, "1", 12},
		{time.Time{}, 5, "8", 5},
		{time.Time{}, 50, "1", 12},
		{before0316(time.Hour), 0, "10", 3},
		{before0316(time.Hour), 2, "11", 2},
		{before0316(time.Hour), 9, "10", 3},
		{at0316, 0, "", 0},
	} {
		h := ofMoves()
		h.Cut(test.since, test.limit)
		first := ""
		if len(h.Entries) > 0 {
			first = h.Entries[0].ID
		}
		if first != test.first || len(h.Entries) != test.left || h.Earlier != 12-test.left {
			t.Errorf("since %v, limit %d: first %q of %d, %d before", test.since, test.limit, first, len(h.Entries), h.Earlier)
		}
	}
}
