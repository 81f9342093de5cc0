package measure

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	ms := func(values ...float64) (all []time.Duration) {
		for _, v := range values {
			all = append(all, time.Duration(v*float64(time.Millisecond)))
		}
		return all
	}
	for _, tt := range []struct {
		values []time.Duration
		want   string
	}{
		{nil, "-"},
		{ms(4200, 4600, 4000), "4000 / 4200 / 4600"},
		{ms(0, 2.345), "0 / 1.2 / 2.3"},
		{ms(12.4), "12 / 12 / 12"},
	} {
		if got := Spread(tt.values); got != tt.want {
			t.Errorf("Spread(%v) = %q, want %q", tt.values, got, tt.want)
		}
	}
}

func TestCounts(t *testing.T) {
	for want, values := range map[string][]int{"-": nil, "0 / 0 / 7": {7, 0, 0}, "3 / 4 / 4": {4, 3}} {
		if got := Counts(values); got != want {
			t.Errorf("Counts(%v) = %q, want %q", values, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for want, values := range map[string][]int{"": nil, "0": {0, 0}, "1, 2": {2, 1, 1}} {
		if got := Numbers(values); got != want {
			t.Errorf("Numbers(%v) = %q, want %q", values, got, want)
		}
	}
}

func TestLastLines(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a\nb\nc\n", "b\nc"}, {"a\n", "a"}, {"", ""},
	} {
		if got := LastLines(tt.text, 2); got != tt.want {
			t.Errorf("LastLines(%q, 2) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestUnrest(t *testing.T) {
	const calm = `{"masters":[{"name":"n1","present":true,"healthy":true,"says":"holder"},{"name":"n2","present":true,"healthy":true,"says":"candidate"}]}`
	if got := Unrest("n2", "n1", calm); got != "" {
		t.Errorf("Unrest of a calm cluster = %q", got)
	}
	for name, doc := range map[string]string{
		"no JSON":         "error: it does not run",
		"no masters":      `{}`,
		"another holder":  strings.NewReplacer("holder", "candidate", "candidate", "holder").Replace(calm),
		"a master gone":   strings.Replace(calm, `"present":true`, `"present":false`, 1),
		"one not healthy": strings.Replace(calm, `"healthy":true`, `"healthy":false`, 1),
	} {
		if Unrest("n2", "n1", doc) == "" {
			t.Errorf("Unrest with %s = calm", name)
		}
	}
}

// TestProcess reads what can be known of this process itself, and fails for one
// that is not there.
func TestProcess(t *testing.T) {
	ran, err := ProcessorTime(os.Getpid())
	if err != nil || ran <= 0 || ran > time.Hour {
		t.Errorf("ProcessorTime = %v, %v", ran, err)
	}
	mib, err := Resident(os.Getpid())
	if err != nil || mib < 1 || mib > 1000 {
		t.Errorf("Resident = %v MiB, %v", mib, err)
	}
	const nobody = 1 << 30
	if _, err := ProcessorTime(nobody); err == nil {
		t.Error("ProcessorTime of no process = nil error")
	}
	if _, err := Resident(nobody); err == nil {
		t.Error("Resident of no process = nil error")
	}
}
