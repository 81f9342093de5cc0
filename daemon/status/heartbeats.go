package status

import (
	"fmt"
	"slices"
)

// unheard is for how long heartbeats may go without an answer before it is worth a
// look: six of the slowest.
const unheard = 3000

// heartbeats says by what the holder serves, and who answers it or hears it.
func (p *page) heartbeats() {
	h := p.doc.Heartbeats
	if h == nil || h.Trouble != "" { // then a warning says why
		return
	}
	text := h.Detection + ", not in force"
	switch {
	case p.doc.byBeats():
		text = h.Detection + ", in force"
	case h.Epoch != "":
		text = h.Detection + ", in force when the holder was last known"
	case h.Plain != "":
		text += ": " + h.Plain
	}
	for _, peer := range h.Peers {
		if said := p.doc.hears(peer); said != "" {
			text += "; " + said
		}
	}
	p.labelled("heartbeats", clean(text))
}

// byBeats reports whether the right of the known holder hangs on heartbeats.
func (d *Document) byBeats() bool {
	return d.Heartbeats != nil && d.Heartbeats.Epoch != "" && d.held()
}

// hears is what a peer's line has to say, "" if it is nothing: who neither holds the
// VIP nor is asked by its holder is silent.
func (d *Document) hears(p HeartbeatPeer) string {
	switch {
	case d.Holder == nil || d.Holder.LastKnown:
		return ""
	case d.Holder.Node == p.Name && p.HeardAgoMS != nil:
		return p.Name + " heard " + short(millis(*p.HeardAgoMS)) + " ago"
	case d.Holder.Node != d.Node || p.AnsweredAgoMS == nil:
		return ""
	case p.UnansweredMS > unheard:
		return p.Name + " silent for " + age(millis(p.UnansweredMS))
	case p.RoundTripUS != nil:
		return fmt.Sprintf("%s in %.1f ms", p.Name, float64(*p.RoundTripUS)/1000)
	}
	return ""
}

// addHeartbeatWarnings says what keeps masters from hearing each other. It costs
// speed alone, so it changes no verdict.
func addHeartbeatWarnings(d *Document) {
	h := d.Heartbeats
	if h == nil {
		return
	}
	if h.Trouble != "" {
		d.warn("heartbeats of the other masters are not heard: " + h.Trouble)
	}
	for _, p := range h.Peers {
		if !d.present(p.Name) {
			continue // that it is gone is said already
		}
		if why := h.unheard(d, p); why != "" {
			d.warn(why)
		}
		if p.Detection != "" && p.Detection != h.Detection {
			d.warn(fmt.Sprintf("%s has election.detection = %q, this node %q: the file must be the same on every master", p.Name, p.Detection, h.Detection))
		}
	}
}

func (d *Document) present(name string) bool {
	return slices.ContainsFunc(d.Masters, func(m Master) bool { return m.Name == name && m.Present })
}

// unheard says why a master that is there does not take part in heartbeats, "" if it
// does.
func (h *Heartbeats) unheard(d *Document, p HeartbeatPeer) string {
	silent := p.UnansweredMS > unheard
	holds := d.Holder != nil && !d.Holder.LastKnown && d.Holder.Node == p.Name
	deaf := holds && h.Trouble == "" && (p.HeardAgoMS == nil || *p.HeardAgoMS > unheard) && heldFor(d) > unheard
	switch {
	case !silent && !deaf:
		return ""
	case p.Detection == "":
		return p.Name + " has no heartbeats: election.detection is off there, or its havip is of another version"
	case silent && p.Error != "":
		return fmt.Sprintf("heartbeats to %s cannot be sent: %s", p.Name, p.Error)
	case silent:
		return fmt.Sprintf("%s does not answer heartbeats: %s", p.Name, h.open())
	}
	return fmt.Sprintf("nothing is heard of %s, which holds the VIP: %s", p.Name, h.open())
}

// open is what mends a firewall.
func (h *Heartbeats) open() string {
	return fmt.Sprintf("UDP %d must be open between the masters (nft insert rule inet filter input udp dport %[1]d accept; docs/heartbeats.md)", h.Port)
}

// heldFor is since when the holder of now is it, as far as the clocks of two nodes
// agree: one that has just begun need not have been heard yet.
func heldFor(d *Document) int64 {
	if d.Holder.Since == nil {
		return 0
	}
	return d.Time.Sub(*d.Holder.Since).Milliseconds()
}
