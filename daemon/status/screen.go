package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Picture is what a screen shows: what was last known, and what became of it.
type Picture struct {
	Doc       *Document
	Elapsed   time.Duration   // since the daemon gave Doc
	Silent    string          // why the daemon does not answer now; "" while it does
	History   *History        // nil: not known
	NoHistory string          // why it is not known
	Changed   map[string]bool // what changed lately, by [Difference.About]
}

// gutter is where a changed line is marked.
const gutter = 2

// roomy is the height from which on sections have a blank line between them: a
// terminal that nobody enlarged has 24 lines.
const roomy = 20

// RenderScreen draws a picture with at most height lines of at most Options.Width
// columns. Between two looks it counts on by itself. Where there is too little
// room, what matters least is left out.
func RenderScreen(p Picture, o Options, height int) []string {
	s := newScreen(p, o, height)
	s.section(0, s.silence)
	s.gap()
	s.section(1, func() { s.part(aboutVerdict, s.headline) })
	if s.doc.Configured {
		s.gap()
		s.section(4, s.countdowns)
		s.gap()
		s.section(2, s.roster)
		s.gap()
		s.section(7, func() { s.part(aboutEtcd, func() { s.labelled("etcd", clean(s.doc.Redundancy)) }) })
		s.section(7, s.heartbeats)
		s.section(3, s.troubles)
		s.section(8, s.remarks)
	}
	s.section(3, func() { s.part("", s.steps) })
	if s.doc.Configured {
		s.gap()
		s.section(5, s.lastMoves)
		s.gap()
		s.section(9, s.transitions)
	}
	return s.fit()
}

// screenLine is one line and what it is about.
type screenLine struct{ text, about string }

// section is lines that stand together. Of two that do not both fit, the one of
// the lower rank stays.
type section struct {
	rank  int
	lines []screenLine
	gap   bool // a blank line before it
}

type screen struct {
	*page
	picture  Picture
	height   int
	sections []section
	now      section // that is drawn
	blank    bool    // wanted before the next one
}

func newScreen(p Picture, o Options, height int) *screen {
	shown := p.Doc
	if p.Silent == "" {
		shown = p.Doc.Later(p.Elapsed)
	}
	full := o.Width
	o.Now = p.Doc.Time.Add(p.Elapsed)
	o.Width -= gutter
	s := &screen{page: newPage(shown, o), picture: p, height: max(height, 1)}
	s.said, s.opts.Width = p.Doc.Time, full
	return s
}

func (s *screen) gap() { s.blank = true }

// section draws one, unless there is nothing in it.
func (s *screen) section(rank int, draw func()) {
	s.now = section{rank: rank, gap: s.blank && s.height >= roomy}
	draw()
	if len(s.now.lines) > 0 {
		s.sections = append(s.sections, s.now)
		s.blank = false
	}
}

// part draws lines that are about one thing.
func (s *screen) part(about string, draw func()) {
	s.Reset()
	draw()
	for line := range strings.Lines(s.String()) {
		s.now.lines = append(s.now.lines, screenLine{strings.TrimSuffix(line, "\n"), about})
	}
	s.Reset()
}

func (s *screen) put(about, text string) {
	s.now.lines = append(s.now.lines, screenLine{text, about})
}

// silence says that the picture is an old one.
func (s *screen) silence() {
	if s.picture.Silent == "" {
		return
	}
	s.put("", s.paint(red, "NO ANSWER")+" from havipd for "+age(s.picture.Elapsed)+": "+clean(s.picture.Silent))
	s.put("", "below is what it last said; asking goes on")
}

// countdowns show what runs out unless somebody sees to it. What a silent daemon
// has done since is not known, so nothing is counted.
func (s *screen) countdowns() {
	d, total := s.doc, s.doc.Record.TakeoverMS
	if total == 0 {
		total = d.Timing.TakeoverMS
	}
	if s.picture.Silent != "" {
		s.put("", fmt.Sprintf("%-*s%s", labelWidth, "countdowns", "not known while havipd does not answer"))
		return
	}
	if h := d.Holder; h != nil && !h.LastKnown && h.RightLeftMS != nil && d.Verdict != Nobody {
		total := d.holdMS()
		if d.byBeats() && h.Node == d.Node {
			total = *h.RightLeftMS // each answer begins it anew
		}
		s.countdown("right", *h.RightLeftMS, total, s.rightOf(h))
	}
	if left := d.Record.TakeoverInMS; left != nil && d.Self.Role == RoleCandidate {
		text := "then " + d.Node + " may take over, were there no renewal"
		switch {
		case *left <= 0:
			text = d.Node + " may take over"
		case d.byBeats():
			text += "; sooner without heartbeats"
		}
		s.countdown("takeover", *left, total, text)
	}
	for _, a := range d.Address.States {
		if a.Present && a.LifetimeLeftMS != nil {
			s.countdown("lifetime", *a.LifetimeLeftMS, total, fmt.Sprintf("%s on %s, by the kernel", a.Address, d.Address.Link))
		}
	}
}

func (s *screen) rightOf(h *Holder) string {
	text := "for " + h.Node
	switch {
	case *h.RightLeftMS <= 0:
		text = "ended for " + h.Node + ", unless it renewed"
	case s.doc.byBeats() && h.Node == s.doc.Node:
		text += " unless heartbeats are answered"
	}
	if h.RenewedAgoMS != nil {
		text += ", renewed " + age(millis(*h.RenewedAgoMS)) + " ago"
	}
	if h.RoundTripMS != nil {
		text += " in " + short(millis(*h.RoundTripMS))
	}
	return text
}

// cells is how long a bar is.
const cells = 10

func (s *screen) countdown(label string, left, total int64, text string) {
	full := 0
	if total > 0 {
		full = int(min(max((left*cells+total-1)/total, 0), cells))
	}
	colour := green
	switch {
	case full <= cells/5:
		colour = red
	case full <= cells/2:
		colour = yellow
	}
	bar := s.paint(colour, strings.Repeat("#", full)) + strings.Repeat(".", cells-full)
	s.put("", fmt.Sprintf("%-*s%-6s [%s]  %s", labelWidth, label, age(millis(left)), bar, clean(text)))
}

// roster is the table of masters, each line about its own.
func (s *screen) roster() {
	s.part("", s.masters)
	for i := range s.now.lines {
		if i > 0 {
			s.now.lines[i].about = aboutMaster(s.doc.Masters[i-1].Name)
		}
	}
}

func (s *screen) troubles() {
	list := s.doc.Problems
	if len(list) > 0 && list[0] == s.doc.Reason {
		list = list[1:]
	}
	s.each("also", list, aboutProblem)
}

func (s *screen) remarks() {
	s.each("warning", s.doc.Warnings, aboutWarning)
	s.part(aboutAddress, s.address)
	if s.doc.Self.Pending != "" {
		s.part(aboutPending, func() { s.labelled("under way", clean(s.doc.Self.Pending)) })
	}
}

func (s *screen) each(label string, list []string, about func(string) string) {
	for _, text := range list {
		s.part(about(text), func() { s.labelled(label, clean(text)) })
		label = ""
	}
}

// newest is how many moves and transitions are shown: with more room, more.
func (s *screen) newest() int { return min(max((s.height-16)/2, 1), 12) }

// lastMoves are those of the history, the newest first; without one the last
// move that the status knows.
func (s *screen) lastMoves() {
	h := s.picture.History
	if h == nil || len(h.Entries) == 0 {
		s.part(aboutMove, s.lastMove)
		if s.picture.NoHistory != "" {
			s.put("", fmt.Sprintf("%-*s%s", labelWidth, "history", "not known: "+clean(s.picture.NoHistory)))
		}
		return
	}
	moved := "MOVED"
	if h.LastKnown {
		moved = "MOVED (last known)"
	}
	rows := [][]cell{headings(moved, "FROM -> TO", "NOBODY FOR", "WHY")}
	for _, e := range slices.Backward(h.Entries) {
		if len(rows) > s.newest() {
			break
		}
		rows = append(rows, []cell{{s.clock(e.At), ""}, {e.move(), ""}, {e.gap(), e.gapColour()}, {clean(e.why()), ""}})
	}
	widths := columnWidths(rows)
	for i := range rows { // the reasons are cut, not the times
		why := &rows[i][3]
		why.text = cutEnd(why.text, max(s.width-total(widths[:3])-2, 8))
	}
	about := ""
	for _, line := range table(rows, s.width, s.paint) {
		s.put(about, line)
		switch about {
		case "":
			about = aboutMove
		default:
			about = "earlier"
		}
	}
}

// transitions are this node's own, the newest first.
func (s *screen) transitions() {
	label := "events"
	for i, e := range slices.Backward(s.doc.Events) {
		if len(s.doc.Events)-i > s.newest() {
			return
		}
		s.put(aboutEvent(e), fmt.Sprintf("%-*s%s  %s", labelWidth, label, s.clock(e.At), clean(e.Text)))
		label = ""
	}
}

// fit leaves out what there is no room for: the sections of the highest rank,
// and the end of the one that fits in part.
func (s *screen) fit() []string {
	order := make([]int, len(s.sections))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return s.sections[a].rank - s.sections[b].rank })
	room := s.height
	for _, i := range order {
		one := &s.sections[i]
		if one.gap {
			room--
		}
		keep := min(len(one.lines), max(room, 0))
		one.lines = one.lines[:keep]
		room -= keep
	}
	var out []string
	for _, one := range s.sections {
		if one.gap && len(one.lines) > 0 && len(out) > 0 {
			out = append(out, "")
		}
		for _, l := range one.lines {
			out = append(out, s.marked(l))
		}
	}
	return out
}

// marked puts the mark of what changed lately before a line.
func (s *screen) marked(l screenLine) string {
	mark := "  "
	if l.about != "" && s.picture.Changed[l.about] {
		mark = s.paint(yellow, ">") + " "
	}
	return strings.TrimRight(clip(mark+l.text, s.opts.Width), " ")
}

func cutEnd(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

// clip cuts a line of a page at width columns. The colours in it take no room,
// and none is left on.
func clip(line string, width int) string {
	if visible(line) <= width {
		return line
	}
	var b strings.Builder
	n, escape, coloured := 0, false, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			escape, coloured = true, true
		case escape:
			escape = r != 'm'
		case n == width-1:
			b.WriteString("…")
			if coloured {
				b.WriteString("\x1b[0m")
			}
			return b.String()
		default:
			n++
		}
		b.WriteRune(r)
	}
	return b.String()
}

// visible is how many columns a line takes.
func visible(line string) int {
	n, escape := 0, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}
