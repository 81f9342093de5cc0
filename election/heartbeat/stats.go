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
	RoundTrip    time.Duration // of the beat that was

	Error   string // why something last was not sent
	ErrorAt time.Duration
}

// Stats returns the counts of now.
func (w *Wire) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Stats{Trouble: w.trouble, Dropped: w.dropped, Peers: map[uint64]PeerStats{}}
	if w.ring.keys.Known() {
		s.Key = w.ring.keys.ID()
	}
	for id, p := range w.peers {
		s.Peers[id] = p.counts
	}
	return s
}
