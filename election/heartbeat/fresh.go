package heartbeat

import "time"

// livesKept is how many lives of one sender are remembered: as many restarts of
// it as nobody makes between two rotations of the key by accident.
const livesKept = 16

// history is what was heard of one sender, the life that spoke last first.
type history []past

type past struct {
	life   string
	newest [kinds]time.Duration // when the newest of each kind was sent
}

// fresh reports whether the message is newer than all of its kind from its life,
// and remembers it.
func (h *history) fresh(m *Message) bool {
	p := h.find(m.Life)
	if m.Sent <= p.newest[m.Kind] {
		return false
	}
	p.newest[m.Kind] = m.Sent
	h.promote(*p)
	return true
}

func (h history) find(life string) *past {
	for i := range h {
		if h[i].life == life {
			return &h[i]
		}
	}
	return &past{life: life}
}

// promote puts a life before the others; the one that was silent longest is
// forgotten when there are too many.
func (h *history) promote(p past) {
	for i, o := range *h {
		if o.life == p.life {
			copy((*h)[1:i+1], (*h)[:i])
			(*h)[0] = p
			return
		}
	}
	if len(*h) < livesKept {
		*h = append(*h, past{})
	}
	copy((*h)[1:], *h)
	(*h)[0] = p
}
