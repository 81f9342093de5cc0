package daemon

import (
	"testing"
	"time"

	"havip/vip"
)

// rung waits for an alarm that rings at that reading of the clock or later; it may
// have rung before once too often.
func rung(t *testing.T, a alarm, at time.Duration) {
	t.Helper()
	end := time.After(20 * time.Second)
	for vip.Now() < at {
		select {
		case <-a.rings():
		case <-end:
			t.Fatalf("does not ring at %v; it is %v", at, vip.Now())
		}
	}
}

func TestKernelAlarm(t *testing.T) {
	a, err := newKernelAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.end()
	now := vip.Now()
	a.set(now+time.Hour, now)
	a.set(now+20*time.Millisecond, now)
	rung(t, a, now+20*time.Millisecond)
	for range 100 { // again and again, also when it has rung unheard
		now = vip.Now()
		a.set(now+time.Millisecond, now)
		rung(t, a, now+time.Millisecond)
	}
	if n := testing.AllocsPerRun(100, func() { a.set(now+time.Hour, now) }); n > 0 {
		t.Errorf("set allocates %v times: the loop does it after each event", n)
	}
	for _, over := range []time.Duration{0, time.Second} {
		for len(a.rings()) > 0 {
			<-a.rings()
		}
		a.set(over, vip.Now())
		select {
		case <-a.rings():
		case <-time.After(20 * time.Second):
			t.Errorf("does not ring at once when set to %v", over)
		}
	}
}

// BenchmarkKernelAlarm is what the loop does after each event.
func BenchmarkKernelAlarm(b *testing.B) {
	a, err := newKernelAlarm()
	if err != nil {
		b.Fatal(err)
	}
	defer a.end()
	b.ReportAllocs()
	for b.Loop() {
		now := vip.Now()
		a.set(now+time.Hour, now)
	}
}
