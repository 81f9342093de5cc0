package status

import (
	"fmt"
	"strings"
	"time"
)

// ANSI colours; only these, so that every terminal theme stays readable.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
)

func (p *page) paint(colour, text string) string {
	if !p.opts.Color || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (p *page) paintWho(s string) string {
	if rest, ok := strings.CutPrefix(s, string(Held)); ok {
		return p.paint(green, string(Held)) + rest
	}
	return s
}

func (p *page) paintVerdict(s string) string {
	for verdict, colour := range map[Verdict]string{Degraded: yellow, Unknown: red} {
		if rest, ok := strings.CutPrefix(s, string(verdict)); ok {
			return p.paint(colour, string(verdict)) + rest
		}
	}
	return s
}

// masters is the table, one line for each of [masters].
func (p *page) masters() {
	if len(p.doc.Masters) == 0 {
		return
	}
	rows := [][]cell{headings("NODE", "ROLE", "API SERVER", "ETCD", "LAST SEEN", "HAVIP")}
	for i := range p.doc.Masters {
		rows = append(rows, p.row(&p.doc.Masters[i]))
	}
	for _, s := range table(rows, p.width, p.paint) {
		p.line(s)
	}
}

func headings(names ...string) []cell {
	var row []cell
	for _, n := range names {
		row = append(row, cell{n, bold})
	}
	return row
}

func (p *page) row(m *Master) []cell {
	name := clean(m.Name)
	if m.Self {
		name += " *"
	}
	return []cell{
		{name, ""},
		{clean(string(m.Role)), roleColour(m.Role)},
		{clean(string(m.APIServer)), ""},
		{clean(string(m.Etcd)), ""},
		{p.lastSeen(m), ""},
		{orElse(clean(m.Version), "-"), ""},
	}
}

func roleColour(r Role) string {
	switch r {
	case RoleHolder:
		return green
	case RoleGone, RoleNeverSeen, RoleUnhealthy:
		return red
	case RoleDrained, RoleWaiting, RoleReleasing:
		return yellow
	}
	return ""
}

// lastSeen is "now" for a daemon that is there; its presence is refreshed
// every few seconds, which says less than nothing about trouble.
func (p *page) lastSeen(m *Master) string {
	switch {
	case m.Self, m.Present && p.doc.etcdAnswers():
		return "now"
	case m.LastSeenMS == nil:
		return "never"
	}
	return age(millis(*m.LastSeenMS)) + " ago"
}

// problems lists what the headline has not said yet, then the warnings.
func (p *page) problems() {
	rest := p.doc.Problems
	if len(rest) > 0 && rest[0] == p.doc.Reason {
		rest = rest[1:]
	}
	label := "also"
	p.list(label, rest)
	p.list("warning", p.doc.Warnings)
}

// steps is what to do next. A command stands on a line of its own, so that it
// can be copied.
func (p *page) steps() {
	label := "do next"
	for i, s := range p.doc.Next {
		if i == p.oneCommand() {
			continue
		}
		p.labelled(label, clean(s.Text))
		label = ""
		if s.Command != "" && s.On == "" {
			p.line(strings.Repeat(" ", labelWidth) + "  run: " + clean(s.Command))
		} else if s.Command != "" {
			p.command("", s)
		}
	}
}

// command writes a step's command and where to run it, never wrapped.
func (p *page) command(label string, s Step) {
	on, indent := "", ""
	if s.On != "" {
		on = "on " + clean(s.On) + ": "
	}
	if label == "" {
		indent = "  "
	}
	p.line(fmt.Sprintf("%-*s%s%s%s", labelWidth, label, indent, on, clean(s.Command)))
}

// whereToRead names the log around the last move, once something is wrong.
func (p *page) whereToRead() {
	if p.doc.Verdict == Held || p.doc.Verdict == Unconfigured {
		return
	}
	since := p.time.Add(-time.Hour)
	if m := p.doc.LastMove; m != nil && p.time.Sub(m.At) < 24*time.Hour {
		since = m.At.In(p.opts.Loc).Add(-time.Minute)
	}
	p.line("log         journalctl -u havipd --since \"" + since.Format("2006-01-02 15:04") + "\"")
}

func (p *page) events() {
	p.blank()
	var lines []string
	for _, e := range p.doc.Events {
		lines = append(lines, p.clock(e.At)+"  "+e.Text)
	}
	if len(lines) == 0 {
		lines = []string{"none since the daemon's start"}
	}
	p.list("events", lines)
}
