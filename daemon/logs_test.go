package daemon

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// blockedWriter is a log service that takes nothing.
type blockedWriter struct {
	free    chan struct{}
	written atomic.Int64
}

func (w *blockedWriter) Write(p []byte) (int, error) {
	<-w.free
	w.written.Add(1)
	return len(p), nil
}

func TestLogBufferNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &blockedWriter{free: make(chan struct{})}
		b := NewLogBuffer(w)
		log := slog.New(slog.NewTextHandler(b, nil))
		const lines = 5000
		begin := time.Now()
		for range lines {
			log.Info("line")
			synctest.Wait()
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("blocked for %v", took)
		}
		if got, want := b.Dropped(), int64(lines-logRoom-1); got != want { // one is in the writer's hands
			t.Errorf("%d lines dropped, want %d", got, want)
		}
		b.Close(time.Second)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("Close took %v", took)
		}
		log.Info("after the end") // must not panic
		close(w.free)
		synctest.Wait()
		if got := w.written.Load(); got < logRoom {
			t.Errorf("%d lines written", got)
		}
	})
}

func TestLogBufferWritesAllOnClose(t *testing.T) {
	out := &lines{}
	b := NewLogBuffer(out)
	for i := range 100 {
		fmt.Fprintf(b, "line %d\n", i)
	}
	b.Close(patience)
	if n := strings.Count(out.String(), "\n"); n != 100 || b.Dropped() != 0 {
		t.Errorf("%d lines written, %d dropped", n, b.Dropped())
	}
}
