package daemon

import "sync"

// mailbox holds what waits for the loop. Putting never blocks, so that nobody
// who reports something can be held up by the loop, or the loop by them.
type mailbox struct {
	mu     sync.Mutex
	events []any
	ready  chan struct{} // holds one token while there may be events
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

// put leaves events that belong together, so that they wake the loop once.
func (b *mailbox) put(events ...any) {
	b.mu.Lock()
	b.events = append(b.events, events...)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

func (b *mailbox) take() []any {
	b.mu.Lock()
	defer b.mu.Unlock()
	events := b.events
	b.events = nil
	return events
}
