package status

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Options say how a document is rendered.
type Options struct {
	Color  bool           // with ANSI colours
	Width  int            // columns, 0 means 100; never below 60
	Loc    *time.Location // for times of day, nil means local time
	Now    time.Time      // when it is shown; zero means when it was made. A document older than 5 s says so
	Events bool           // list the recent transitions too
}

const (
	labelWidth = 12 // "last move" and its three spaces
	staleAfter = 5 * time.Second
)

// Render writes a judged document as text: who holds the VIP, the last move,
// the masters, what one more failure costs, what to do.
func Render(w io.Writer, d *Document, o Options) error {
	p := newPage(d, o)
	p.headline()
	if d.Configured {
		p.blank()
		p.lastMove()
		p.holder()
		p.address()
		p.blank()
		p.masters()
		p.blank()
		p.labelled("etcd", clean(p.doc.Redundancy))
		p.heartbeats()
		p.problems()
	}
	p.steps()
	p.whereToRead()
	if o.Events {
		p.events()
	}
	_, err := io.WriteString(w, p.String())
	return err
}

// page collects the lines of one rendering.
type page struct {
	strings.Builder
	doc   *Document
	opts  Options
	width int
	time  time.Time // for which it is drawn, in the wanted zone
	said  time.Time // when the daemon said it
}

func newPage(d *Document, o Options) *page {
	if o.Width == 0 {
		o.Width = 100
	}
	if o.Loc == nil {
		o.Loc = time.Local
	}
	return &page{doc: d, opts: o, width: max(o.Width, 60), time: d.Time.In(o.Loc), said: d.Time}
}

func (p *page) line(s string) { p.WriteString(strings.TrimRight(s, " ") + "\n") }

func (p *page) blank() {
	if !strings.HasSuffix(p.String(), "\n\n") {
		p.WriteByte('\n')
	}
}

// labelled writes a label and its text, wrapped beside it; without a label it
// goes on below the one before.
func (p *page) labelled(label, text string) {
	for i, s := range wrap(text, p.width-labelWidth) {
		if i > 0 {
			label = ""
		}
		p.line(fmt.Sprintf("%-*s%s", labelWidth, label, s))
	}
}

func (p *page) clock(t time.Time) string { return clock(t.In(p.opts.Loc), p.time) }

// headline is the first lines: the addresses one below the other, and beside
// them who holds them, the verdict and who says so.
func (p *page) headline() {
	switch p.doc.Verdict {
	case Nobody:
		p.headNobody()
		return
	case Unconfigured:
		p.line(p.paint(red, string(Unconfigured)) + ": " + clean(p.doc.Reason))
		p.labelled("seen", strings.TrimPrefix(p.seen(), "seen "))
		return
	}
	column := 0
	for _, a := range p.doc.VIP {
		column = max(column, len(a.String())+3)
	}
	text := p.beside(p.who(), p.verdict(), p.width-column)
	text = append(text, wrap("as "+p.seen(), p.width-column)...)
	for i := 0; i < max(len(text), len(p.doc.VIP)); i++ {
		p.line(fmt.Sprintf("%-*s%s", column, p.vip(i), at(text, i)))
	}
}

// beside puts the verdict to the right of the holder where there is room, and
// below otherwise.
func (p *page) beside(left, right string, width int) []string {
	n := utf8.RuneCountInString(left)
	pad := max(4, 36-n)
	if right != "" && n+pad+utf8.RuneCountInString(right) <= width {
		return []string{p.paintWho(left) + strings.Repeat(" ", pad) + p.paintVerdict(right)}
	}
	lines := wrap(left, width)
	if right != "" {
		lines = append(lines, wrap(right, width)...)
	}
	for i, s := range lines {
		lines[i] = p.paintVerdict(p.paintWho(s))
	}
	return lines
}

func (p *page) headNobody() {
	since := ""
	if t := p.doc.NobodySince; t != nil {
		since = " since " + p.clock(*t) + " (" + age(p.time.Sub(*t)) + ")"
	}
	p.line(p.paint(red, string(Nobody)) + " holds " + joinAddrs(p.doc.VIP) + since)
	p.labelled("why", clean(p.doc.Reason))
	if i := p.oneCommand(); i >= 0 {
		s := p.doc.Next[i]
		p.command("run", s)
		p.labelled("", clean(s.Text))
	}
	p.labelled("seen", strings.TrimPrefix(p.seen(), "seen "))
}

// oneCommand is the index of the step that the headline of NOBODY shows: the
// first with a command; -1 for none.
func (p *page) oneCommand() int {
	if p.doc.Verdict != Nobody {
		return -1
	}
	for i, s := range p.doc.Next {
		if s.Command != "" {
			return i
		}
	}
	return -1
}

func (p *page) vip(i int) string {
	if i >= len(p.doc.VIP) {
		return ""
	}
	return p.doc.VIP[i].String()
}

func at(list []string, i int) string {
	if i >= len(list) {
		return ""
	}
	return list[i]
}

// who names the holder: what is only remembered never reads like what is known.
func (p *page) who() string {
	h := p.doc.Holder
	switch {
	case h == nil:
		return "holder not known"
	case h.LastKnown:
		return fmt.Sprintf("%s (last known, %s ago)", clean(h.Node), age(millis(h.AgeMS)))
	}
	s := "HELD by " + clean(h.Node)
	if h.Link != "" {
		s += " on " + clean(h.Link)
	}
	if h.Since != nil {
		s += " for " + age(p.doc.Time.Sub(*h.Since))
	}
	return s
}

func (p *page) verdict() string {
	if p.doc.Verdict == Held {
		return ""
	}
	return clean(string(p.doc.Verdict) + ": " + p.doc.Reason)
}

func (p *page) seen() string {
	s := "seen by " + orElse(clean(p.doc.Node), "this node") + " at " + p.clock(p.said) + p.time.Format(" MST")
	if old := p.opts.Now.Sub(p.said); !p.opts.Now.IsZero() && old > staleAfter {
		s += ", " + age(old) + " ago"
	}
	return s
}

func (p *page) lastMove() {
	m := p.doc.LastMove
	if m == nil {
		return
	}
	text := fmt.Sprintf("%s -> %s at %s: %s", orElse(m.From, "nobody"), orElse(m.To, "nobody"), p.clock(m.At), m.Reason)
	if m.LostAt != nil && !m.Planned {
		text += ", last at " + p.clock(*m.LostAt)
	}
	p.labelled("last move", clean(text))
	var more []string
	if m.GapMS != nil {
		more = append(more, m.gap())
	}
	if m.Chosen != "" {
		more = append(more, m.Chosen)
	}
	if len(more) > 0 {
		p.labelled("", clean(strings.Join(more, "; ")))
	}
}

// gap says how long nobody held it, where that is known.
func (m *LastMove) gap() string {
	about := "about "
	if *m.GapMS < 1000 {
		about = ""
	}
	return "nobody held it for " + about + short(millis(*m.GapMS))
}

// holder says how well the holder's right is kept up.
func (p *page) holder() {
	h := p.doc.Holder
	if h == nil || h.LastKnown || p.doc.Verdict == Nobody {
		return
	}
	var parts []string
	if h.RenewedAgoMS != nil {
		parts = append(parts, "renewed "+age(millis(*h.RenewedAgoMS))+" ago")
	}
	if h.RoundTripMS != nil {
		parts = append(parts, "round trip "+short(millis(*h.RoundTripMS)))
	}
	if h.RightLeftMS != nil {
		parts = append(parts, "right ends in "+age(millis(*h.RightLeftMS))+" "+p.doc.unless())
	}
	if len(parts) > 0 {
		p.labelled("holder", strings.Join(parts, ", "))
	}
}

// unless is what the right of the holder hangs on.
func (d *Document) unless() string {
	switch {
	case !d.byBeats():
		return "unless renewed"
	case d.Holder.Node == d.Node:
		return "unless heartbeats are answered"
	}
	return "unless renewed, sooner without heartbeats"
}

// address speaks of this node's link only when there is something to say.
func (p *page) address() {
	a := p.doc.Address
	var list []string
	if a.LinkReason != "" {
		list = append(list, orElse(a.Link, "link")+": "+a.LinkReason)
	}
	list = append(list, a.Warnings...)
	if a.Reasserts > 0 {
		list = append(list, fmt.Sprintf("set again %s after others removed it", times(a.Reasserts)))
	}
	for _, c := range a.Conflicts {
		list = append(list, fmt.Sprintf("%s claimed %s %s, last %s ago", c.MAC, c.Address, times(c.Count), age(millis(c.AgoMS))))
	}
	p.list("address", list)
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// list writes lines under one label.
func (p *page) list(label string, lines []string) {
	for i, s := range lines {
		if i > 0 {
			label = ""
		}
		p.labelled(label, clean(s))
	}
}
