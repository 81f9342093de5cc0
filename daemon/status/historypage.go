package status

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// leastWhy is the room that the reasons need beside the other columns; with less
// of it each stands below its line.
const leastWhy = 36

// RenderHistory writes the history as text, one line for each entry, the newest
// last: that is where the eye is after the command.
func RenderHistory(w io.Writer, h *History, o Options) error {
	p := newPage(&Document{Time: h.Time, Node: h.Node}, o)
	p.labelled("VIP", joinAddrs(h.VIP)+", "+p.seen())
	p.historyNotes(h)
	if len(h.Entries) > 0 {
		p.blank()
		p.historyTable(h.Entries)
	}
	_, err := io.WriteString(w, p.String())
	return err
}

// historyNotes says what is special about this answer.
func (p *page) historyNotes(h *History) {
	if h.LastKnown {
		text := "last known: etcd has told this node nothing yet"
		if h.AgeMS != nil {
			text = fmt.Sprintf("last known: etcd told this node nothing for %s; what other masters did since may be missing", age(millis(*h.AgeMS)))
		}
		if h.Reason != "" {
			text += " (" + h.Reason + ")"
		}
		p.labelled("note", clean(text))
	}
	if h.Unwritten > 0 {
		p.labelled("note", fmt.Sprintf("%s on this node only, until etcd takes what it writes", entries(h.Unwritten)))
	}
	if h.Dropped > 0 {
		p.labelled("note", fmt.Sprintf("%s lost: etcd took nothing for too long", entries(int(h.Dropped))))
	}
	if n := len(h.Unreadable); n > 0 {
		p.labelled("note", clean(fmt.Sprintf("%s in etcd cannot be read and are left out: %s", entries(n), firstFew(h.Unreadable, 3))))
	}
	switch {
	case len(h.Entries) == 0 && h.Earlier == 0:
		p.labelled("moves", "nothing is recorded yet")
	case len(h.Entries) == 0:
		p.labelled("moves", "none in this time; "+entries(h.Earlier)+" before it")
	case h.Earlier > 0:
		p.labelled("note", entries(h.Earlier)+" before these: havipctl history -n 0")
	}
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func firstFew(list []string, n int) string {
	if len(list) <= n {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:n], ", ") + ", …"
}

func (p *page) historyTable(list []HistoryEntry) {
	rows := [][]cell{headings("WHEN", "FROM -> TO", "NOBODY FOR", "WHY")}
	for _, e := range list {
		rows = append(rows, []cell{{e.At.In(p.opts.Loc).Format("2006-01-02 15:04:05 MST"), ""}, {e.move(), ""}, {e.gap(), e.gapColour()}, {clean(e.why()), ""}})
	}
	widths := columnWidths(rows)
	indent := total(widths[:3]) + 2
	below := p.width-indent < leastWhy
	if below {
		indent = 4
	}
	for i, row := range rows {
		why := wrap(row[3].text, p.width-indent)
		var b strings.Builder
		for j, c := range row[:3] {
			b.WriteString(p.paint(c.colour, c.text))
			b.WriteString(strings.Repeat(" ", widths[j]-utf8.RuneCountInString(c.text)+2))
		}
		if !below {
			b.WriteString(p.paint(row[3].colour, why[0]))
			why = why[1:]
		}
		p.line(b.String())
		for _, s := range why {
			if i == 0 {
				break // the headings need no line of their own for this one
			}
			p.line(strings.Repeat(" ", indent) + s)
		}
	}
}

func (e *HistoryEntry) move() string {
	switch e.Kind {
	case HistoryDrain, HistoryUndrain:
		return shortName(strings.Join(e.By, ", ")) + " " + string(e.Kind) + "ed"
	}
	return shortName(e.From) + " -> " + shortName(e.To)
}

// shortName leaves two names room in one column.
func shortName(name string) string { return cutMiddle(clean(orElse(name, "nobody")), 20) }

// gap says how long nobody had it. What was let go and not taken has no end yet.
func (e *HistoryEntry) gap() string {
	switch {
	case e.Kind == HistoryDrain, e.Kind == HistoryUndrain, e.To == "", e.Kind == HistoryClaim:
		return "-"
	case e.GapMS == nil:
		return "unknown"
	case e.GapMost:
		return "up to " + short(millis(*e.GapMS))
	case *e.GapMS >= 1000:
		return "about " + age(millis(*e.GapMS))
	}
	return short(millis(*e.GapMS))
}

func (e *HistoryEntry) gapColour() string {
	if e.GapMS != nil && *e.GapMS >= 1000 || e.Kind == HistoryLost {
		return yellow
	}
	return ""
}

func (e *HistoryEntry) why() string {
	text := e.Reason
	if e.Planned && e.Kind != HistoryDrain && e.Kind != HistoryUndrain {
		text = "planned: " + text
	}
	if e.Chosen != "" {
		text += "; " + e.Chosen
	}
	return text
}
