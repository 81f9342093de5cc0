package heartbeat

import (
	"fmt"
	"testing"
	"time"
)

func TestFresh(t *testing.T) {
	steps := []struct {
		life string
		kind Kind
		sent time.Duration
		want bool
		why  string
	}{
		{"a", Beat, 10, true, "the first"},
		{"a", Beat, 10, false, "doubled"},
		{"a", Beat, 9, false, "overtaken"},
		{"a", Beat, 12, true, "with a gap"},
		{"a", Ack, 11, true, "another kind has an order of its own"},
		{"a", Ack, 11, false, "doubled"},
		{"b", Beat, 3, true, "a new life, whose clock may stand anywhere"},
		{"a", Beat, 12, false, "replayed from the life before"},
		{"b", Beat, 3, false, "and that does not make the new one forgotten"},
		{"b", Beat, 4, true, "the new life goes on"},
	}
	var h history
	for i, s := range steps {
		if got := h.fresh(&Message{Kind: s.kind, Life: s.life, Sent: s.sent}); got != s.want {
			t.Errorf("step %d, %s: %v, want %v", i, s.why, got, s.want)
		}
	}
}

// TestLivesKept: as many lives are remembered as promised, and no more memory is used.
func TestLivesKept(t *testing.T) {
	var h history
	for i := range 3 * livesKept {
		h.fresh(&Message{Kind: Beat, Life: fmt.Sprint(i), Sent: 100})
	}
	if len(h) != livesKept {
		t.Fatalf("%d lives kept, want %d", len(h), livesKept)
	}
	for i := 2 * livesKept; i < 3*livesKept; i++ {
		if h.fresh(&Message{Kind: Beat, Life: fmt.Sprint(i), Sent: 100}) {
			t.Errorf("life %d of %d is forgotten", i, 3*livesKept)
		}
	}
}
