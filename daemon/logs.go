package daemon

import (
	"io"
	"sync/atomic"
	"time"
)

// LogBuffer is a writer that never blocks: lines wait in a bounded buffer for a
// goroutine that writes them, and are dropped and counted when it is full. A
// stalled log service must not cost the VIP.
type LogBuffer struct {
	lines   chan []byte
	closing chan struct{}
	done    chan struct{}
	dropped atomic.Int64
}

// logRoom is how many lines may wait.
const logRoom = 1024

// NewLogBuffer writes to w until Close.
func NewLogBuffer(w io.Writer) *LogBuffer {
	b := &LogBuffer{lines: make(chan []byte, logRoom), closing: make(chan struct{}), done: make(chan struct{})}
	go b.run(w)
	return b
}

// run writes until Close, and then what is still waiting.
func (b *LogBuffer) run(w io.Writer) {
	defer close(b.done)
	for {
		select {
		case line := <-b.lines:
			// Nobody is left to tell when stderr itself is gone.
			_, _ = w.Write(line)
		case <-b.closing:
			for len(b.lines) > 0 {
				_, _ = w.Write(<-b.lines)
			}
			return
		}
	}
}

// Write takes one line. It always succeeds.
func (b *LogBuffer) Write(p []byte) (int, error) {
	line := append([]byte(nil), p...)
	select {
	case b.lines <- line:
	default:
		b.dropped.Add(1)
	}
	return len(p), nil
}

// Dropped counts the lines that were lost.
func (b *LogBuffer) Dropped() int64 { return b.dropped.Load() }

// Close waits until what is buffered is written, at most for limit. It is called
// once; a line that comes later, from a call that outlived the daemon, is lost.
func (b *LogBuffer) Close(limit time.Duration) {
	close(b.closing)
	select {
	case <-b.done:
	case <-time.After(limit):
	}
}
