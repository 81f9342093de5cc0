package kubeadm

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestTell(t *testing.T) {
	for name, tc := range map[string]struct {
		program []string
		want    string
		err     string
	}{
		"what it says":        {[]string{"echo", "a"}, "a\n", ""},
		"also when it fails":  {[]string{"sh", "-c", "echo a; echo b >&2; exit 3"}, "a\n", "sh: exit status 3: b"},
		"is not there":        {[]string{"no-such-program"}, "", "no-such-program is not installed (not in PATH)"},
		"in plain words":      {[]string{"sh", "-c", "echo $LC_ALL"}, "C\n", ""},
		"a stdin with no end": {[]string{"cat"}, "", ""},
	} {
		got, err := Tell(t.Context(), tc.program[0], tc.program[1:]...)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if string(got) != tc.want || text != tc.err {
			t.Errorf("%s: %q, %q", name, got, text)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Tell(ctx, "sleep", "60"); err == nil {
		t.Error("a program that has no time left ran")
	}
}

// TestWithin: a unit that does not stop is killed by systemd after 90 s, and that is
// waited for, longer than for a program that is asked something.
func TestWithin(t *testing.T) {
	if _, err := within(t.Context(), time.Millisecond, "sleep", "60"); err == nil {
		t.Error("a program that had no time left ran")
	}
	if said, err := within(t.Context(), time.Hour, "echo", "a"); said != "a\n" || err != nil {
		t.Errorf("%q, %v", said, err)
	}
	if jobTime <= 90*time.Second {
		t.Errorf("systemctl has %v", jobTime)
	}
}

// TestTail: the end is kept, from the begin of a line on.
func TestTail(t *testing.T) {
	for name, tc := range map[string]struct {
		writes []string
		want   string
	}{
		"all":             {[]string{"a\n", "b\n"}, "a\nb\n"},
		"just fits":       {[]string{"12345678", "\n"}, "12345678\n"},
		"too long":        {[]string{"12345678\n", "abc\ndef\n"}, "abc\ndef\n"},
		"much too long":   {[]string{strings.Repeat("123\n", 100), "abc\n"}, "123\nabc\n"},
		"no line at all":  {[]string{strings.Repeat("x", 100)}, strings.Repeat("x", 10)},
		"many small ones": {strings.SplitAfter(strings.Repeat("ab\n", 50), "b"), "ab\nab\nab\n"},
	} {
		k := &tail{limit: 10}
		for _, s := range tc.writes {
			if n, err := k.Write([]byte(s)); n != len(s) || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
		}
		if got := string(k.bytes()); got != tc.want {
			t.Errorf("%s: %q, not %q", name, got, tc.want)
		}
	}
}
