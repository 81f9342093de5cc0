package vip

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// announcements runs the announcer for a while in fake time and returns when it
// spoke, in ms.
func announcements(t *testing.T, during time.Duration, script func(trigger chan<- struct{}, owned *atomic.Bool)) (at []int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), during)
		defer cancel()
		trigger, owned := make(chan struct{}), new(atomic.Bool)
		owned.Store(true)
		a := announcer{
			announce: func() error { at = append(at, time.Since(began).Milliseconds()); return nil },
			owned:    owned.Load,
			log:      func(error) {},
		}
		ended := make(chan error)
		go func() { ended <- a.run(ctx, trigger) }()
		script(trigger, owned)
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	return at
}

func TestAnnouncerSchedule(t *testing.T) {
	in := func(d time.Duration) { <-time.After(d) }
	t.Run("one trigger", func(t *testing.T) {
		got := announcements(t, 300*time.Second, func(trigger chan<- struct{}, _ *atomic.Bool) { trigger <- struct{}{} })
		if diff := cmp.Diff([]int64{0, 100, 300, 1100, 2200, 5000}, got[:6]); diff != "" {
			t.Errorf("burst (-want +got):\n%s", diff)
		}
		for i := 6; i < len(got); i++ {
			if gap := got[i] - got[i-1]; gap < 30_000 || gap > 60_000 {
				t.Errorf("round %d came %d ms after the one before", i, gap)
			}
		}
		if n := len(got) - 6; n < 4 || n > 9 {
			t.Errorf("%d rounds in 295 s", n)
		}
	})
	t.Run("a trigger starts again", func(t *testing.T) {
		got := announcements(t, 20*time.Second, func(trigger chan<- struct{}, _ *atomic.Bool) {
			trigger <- struct{}{}
			in(200 * time.Millisecond)
			trigger <- struct{}{}
		})
		if diff := cmp.Diff([]int64{0, 100, 200, 300, 500, 1300, 2400, 5200}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("silent when not owned", func(t *testing.T) {
		got := announcements(t, 200*time.Second, func(trigger chan<- struct{}, owned *atomic.Bool) {
			trigger <- struct{}{}
			in(250 * time.Millisecond)
			owned.Store(false)
		})
		if diff := cmp.Diff([]int64{0, 100}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("speaks without a trigger, for an adopted address", func(t *testing.T) {
		if got := announcements(t, 61*time.Second, func(chan<- struct{}, *atomic.Bool) {}); len(got) == 0 {
			t.Error("silent")
		}
	})
	t.Run("ends with the trigger", func(t *testing.T) {
		announcements(t, time.Second, func(trigger chan<- struct{}, _ *atomic.Bool) { close(trigger) })
	})
}

func TestAnnounceFailuresAreSaidOnce(t *testing.T) {
	var b bytes.Buffer
	v := mustNew(t, Config{Addresses: vips(), Log: slog.New(slog.NewTextHandler(&b, nil))})
	log := v.logAnnounce()
	for _, err := range []error{nil, ErrDown, ErrDown, errors.New("other"), nil, nil} {
		log(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want 3:\n%s", n, b.String())
	}
}

func TestAnnounceOnDownLink(t *testing.T) {
	k := newFake()
	k.ls[1].carrier = false
	if err := k.vip(vip4).Announce(); !errors.Is(err, ErrDown) {
		t.Errorf("error %v", err)
	}
	if _, _, err := k.vip(vip4).Probe(t.Context(), 1, time.Second); !errors.Is(err, ErrDown) {
		t.Errorf("error %v", err)
	}
}
