package heartbeat

import "time"

// Stats is what passed since the start.
type Stats struct {
	Trouble string // why nothing can be heard; "" if it can
	Key     string // ID of the key that signs; "" without one
	Dropped [Reasons]uint64
	Peers   map[uint64]PeerStats
}

// PeerStats is what passed between this node and one peer.
type PeerStats struct {
	Sent, Received [kinds]uint64 // by kind
	Unsent         uint64        // the kernel refused it, or there was no key or no way

	Heard        time.Duration // when something was last heard, on CLOCK_BOOTTIME; 0: never
	Acknowledged time.Duration // when an own beat last was; 0: never
	Unanswered   time.Duration // for how long beats have gone to it without an answer; 0: they are answered, or none goes
	RoundTrip    time.Duration // of the beat that was

	Error string // why the last one was not sent; "" if it was
}

// Stats returns the counts of now.
func (w *Wire) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Stats{Trouble: w.trouble, Dropped: w.dropped, Peers: map[uint64]PeerStats{}}
	if w.ring.keys.Known() {
		s.Key = w.ring.keys.ID()
	}
	now := w.cfg.Clock()
	for id, p := range w.peers {
		c := p.counts
		if p.asked > 0 && now-p.spoken < speaking {
			c.Unanswered = now - p.asked
		}
		s.Peers[id] = c
	}
	return s
}

// speaking is how long after its last beat a node may still be said to send them: they
// are half a second apart at most.
const speaking = 2 * time.Second
