package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Difference is one thing that is new from one look to the next.
type Difference struct {
	About string // what a line of the screen is about, such as "master n1"
	Text  string // one line
}

// What lines of the screen are about, beside "master …".
const (
	aboutVerdict = "verdict"
	aboutMove    = "move"
	aboutEtcd    = "etcd"
	aboutAddress = "address"
	aboutPending = "pending"
)

func aboutMaster(name string) string  { return "master " + name }
func aboutProblem(text string) string { return "problem " + text }
func aboutWarning(text string) string { return "warning " + text }
func aboutEvent(e Event) string       { return fmt.Sprintf("event %d %s", e.At.UnixNano(), e.Text) }

// Differences tells how next differs from prev, what matters most first; without
// a prev it tells all of next. What moves by itself, such as an age, is none.
func Differences(prev, next *Document) []Difference {
	c := differences{prev: prev, next: next}
	if prev == nil {
		c.prev = &Document{}
	}
	c.add(aboutVerdict, (*Document).verdictLine)
	c.lastMove()
	for i := range next.Masters {
		c.master(&next.Masters[i])
	}
	c.masterGone()
	c.lists("problem", aboutProblem, c.prev.Problems, next.Problems)
	c.lists("warning", aboutWarning, c.prev.Warnings, next.Warnings)
	c.add(aboutEtcd, func(d *Document) string { return prefixed("etcd: ", d.Redundancy) })
	c.add(aboutAddress, (*Document).addressLine)
	c.add(aboutPending, func(d *Document) string { return prefixed("under way: ", d.Self.Pending) })
	return c.list
}

// differences collects the differences.
type differences struct {
	prev, next *Document
	list       []Difference
}

func (c *differences) tell(about, text string) {
	c.list = append(c.list, Difference{About: about, Text: clean(text)})
}

// add tells what line says of next, if it is something new.
func (c *differences) add(about string, line func(*Document) string) {
	switch text := line(c.next); {
	case text == line(c.prev):
	case text == "":
		c.tell(about, line(c.prev)+": over")
	default:
		c.tell(about, text)
	}
}

func (d *Document) verdictLine() string {
	text := string(d.Verdict)
	if h := d.Holder; h != nil {
		text += " by " + h.Node
		if h.Link != "" {
			text += " on " + h.Link
		}
		if h.LastKnown {
			text += " (last known)"
		}
	}
	reason := d.Reason
	if d.Verdict == Held {
		reason = strings.TrimPrefix(reason, "held; ")
	}
	return text + because(reason)
}

func (c *differences) lastMove() {
	m, old := c.next.LastMove, c.prev.LastMove
	if m == nil || old != nil && m.same(old) {
		return
	}
	text := fmt.Sprintf("move: %s -> %s: %s", orElse(m.From, "nobody"), orElse(m.To, "nobody"), m.Reason)
	if m.GapMS != nil {
		text += "; " + m.gap()
	}
	c.tell(aboutMove, text)
}

// refined is how far the time of a move may be put right afterwards: who sees it
// first goes by its own clock, and by the record's later.
const refined = 5 * time.Second

func (m *LastMove) same(old *LastMove) bool {
	return m.From == old.From && m.To == old.To && m.Reason == old.Reason && m.At.Sub(old.At).Abs() < refined
}

// master tells what is new about one of them; of a master that was not there
// before, everything.
func (c *differences) master(m *Master) {
	i := slices.IndexFunc(c.prev.Masters, func(old Master) bool { return old.Name == m.Name })
	if i < 0 {
		c.tell(aboutMaster(m.Name), fmt.Sprintf("%s: %s, API server %s, etcd %s, havip %s", m.Name, m.Role, m.APIServer, m.Etcd, orElse(m.Version, "not known")))
		return
	}
	old := &c.prev.Masters[i]
	var parts []string
	for _, one := range []struct{ what, from, to string }{
		{"", string(old.Role), string(m.Role)},
		{"API server ", string(old.APIServer), string(m.APIServer) + because(m.APIServerDetail)},
		{"etcd ", string(old.Etcd), string(m.Etcd) + because(m.EtcdDetail)},
		{"havip ", orElse(old.Version, "not known"), orElse(m.Version, "not known")},
	} {
		if bare, _, _ := strings.Cut(one.to, ": "); bare != one.from {
			parts = append(parts, fmt.Sprintf("%s%s -> %s", one.what, one.from, one.to))
		}
	}
	if len(parts) > 0 {
		c.tell(aboutMaster(m.Name), m.Name+": "+strings.Join(parts, ", "))
	}
}

func (c *differences) masterGone() {
	for _, old := range c.prev.Masters {
		if !slices.ContainsFunc(c.next.Masters, func(m Master) bool { return m.Name == old.Name }) {
			c.tell(aboutMaster(old.Name), old.Name+": not in [masters] any more")
		}
	}
}

// lists tells what came and what is over. The first problem is the reason of the
// verdict most of the time, and then told by it.
func (c *differences) lists(what string, about func(string) string, old, now []string) {
	for _, s := range now {
		if !slices.Contains(old, s) && s != c.next.Reason {
			c.tell(about(s), what+": "+s)
		}
	}
	for _, s := range old {
		if !slices.Contains(now, s) {
			c.tell(about(s), what+" over: "+s)
		}
	}
}

// addressLine is what this node's link says that is not a problem already.
func (d *Document) addressLine() string {
	if d.Address.Reasserts == 0 {
		return ""
	}
	return fmt.Sprintf("address: set again %s after others removed it", times(d.Address.Reasserts))
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// NewEvents tells the transitions of this node that prev did not have.
func NewEvents(prev, next *Document) []Difference {
	var list []Difference
	for _, e := range next.Events {
		known := func(old Event) bool { return old.At.Equal(e.At) && old.Text == e.Text }
		if prev == nil || !slices.ContainsFunc(prev.Events, known) {
			list = append(list, Difference{About: aboutEvent(e), Text: clean("event: " + e.Text)})
		}
	}
	return list
}
