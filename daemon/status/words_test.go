package status

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 0: "0.0 s", 240 * time.Millisecond: "0.2 s", 9990 * time.Millisecond: "10.0 s", 10 * time.Second: "10 s", 119 * time.Second: "119 s",
		4*time.Minute + 12*time.Second: "4 min", 119 * time.Minute: "119 min", 5 * time.Hour: "5 h", 47 * time.Hour: "47 h", 49 * time.Hour: "2 days",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "0 ms", 4 * time.Millisecond: "4 ms", 999 * time.Millisecond: "999 ms", 1500 * time.Millisecond: "1.5 s"} {
		if got := short(d); got != want {
			t.Errorf("short(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestClock(t *testing.T) {
	if got := clock(at0316.Add(-time.Hour), at0316); got != "02:16:21" {
		t.Errorf("the same day: %q", got)
	}
	if got := clock(at0316.Add(-4*time.Hour), at0316); got != "2026-03-01 23:16:21" {
		t.Errorf("the day before: %q", got)
	}
}

func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, []string{""}},
		{"one two three", 7, []string{"one two", "three"}},
		{"a-word-longer-than-the-width b", 5, []string{"a-word-longer-than-the-width", "b"}},
		{"äöü äöü", 7, []string{"äöü äöü"}},
	} {
		if diff := cmp.Diff(tc.want, wrap(tc.text, tc.width)); diff != "" {
			t.Errorf("wrap(%q, %d) (-want +got):\n%s", tc.text, tc.width, diff)
		}
	}
}

func TestTable(t *testing.T) {
	plain := func(_, s string) string { return s }
	rows := [][]cell{{{"NODE", ""}, {"ROLE", ""}}, {{"a-rather-long-name-of-a-node", ""}, {"holder", ""}}, {{"n2", ""}, {"", ""}}}
	want := []string{
		"NODE                          ROLE",
		"a-rather-long-name-of-a-node  holder",
		"n2                            ",
	}
	if diff := cmp.Diff(want, table(rows, 80, plain)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cut := table(rows, 20, plain)
	if diff := cmp.Diff("a-rat…a-node  holder", cut[1]); diff != "" {
		t.Errorf("cut (-want +got):\n%s", diff)
	}
}

func TestCleanJoinedErrors(t *testing.T) {
	if got := clean("no other member\nconnection refused\n"); got != "no other member; connection refused" {
		t.Errorf("%q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("n1 \x1b[2J\u202e\x9b31m\xff")
	f.Fuzz(func(t *testing.T, s string) {
		if got := clean(s); strings.ContainsAny(got, "\x1b\u009b\n\r\u202e\x07") {
			t.Errorf("clean(%q) = %q", s, got)
		}
	})
}
