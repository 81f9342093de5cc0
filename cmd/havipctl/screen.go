package main

import (
	"fmt"
	"strings"
	"time"

	"havip/daemon/status"
)

// What is said to the terminal (XTerm Control Sequences): the alternate screen
// keeps what the shell had on the normal one; no cursor blinks on the page; a line
// that is too long after all does not push the others down.
const (
	openScreen  = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	closeScreen = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
	clearScreen = "\x1b[2J"
)

// screen is a page that is drawn over in place.
type screen struct {
	*cli
	interval time.Duration
	picture  status.Picture
	since    time.Time            // of the picture
	lost     string               // why the last look brought nothing
	changed  map[string]time.Time // until when a change is marked

	undo  func()   // of the terminal's modes; nil: not open
	shown []string // the lines on the terminal
}

func (s *screen) take(l look) error {
	now := time.Now()
	if l.err != nil {
		s.lost = why(l.err)
		return s.frame()
	}
	prev := s.picture.Doc
	s.lost, s.picture.Doc, s.since = "", l.doc, now
	if prev != nil {
		s.mark(status.Differences(prev, l.doc), now)
		s.mark(status.NewEvents(prev, l.doc), now)
	}
	if l.asked && l.noHistory == nil {
		s.picture.History, s.picture.NoHistory = l.history, ""
	} else if l.asked { // an older one is better than none
		s.picture.NoHistory = why(l.noHistory)
	}
	return s.frame()
}

func (s *screen) mark(list []status.Difference, now time.Time) {
	if s.changed == nil {
		s.changed = map[string]time.Time{}
	}
	for _, d := range list {
		s.changed[d.About] = now.Add(markFor)
	}
}

// frame draws the picture as it is by now.
func (s *screen) frame() error {
	if s.picture.Doc == nil {
		return nil
	}
	now := time.Now()
	p := s.picture
	p.Elapsed, p.Silent = now.Sub(s.since), s.lost
	if p.Silent == "" && p.Elapsed > s.interval+patience {
		p.Silent = "it has been asked, and says nothing"
	}
	p.Changed = map[string]bool{}
	for about, until := range s.changed {
		p.Changed[about] = now.Before(until)
		if !p.Changed[about] {
			delete(s.changed, about)
		}
	}
	columns, rows := orElse(s.width(), 80), orElse(s.face.height(), 24)
	return s.draw(status.RenderScreen(p, status.Options{Color: s.color, Width: columns}, rows))
}

func orElse(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// resize draws everything anew: what a terminal makes of its lines when its size
// changes is its own affair.
func (s *screen) resize() error {
	s.shown = nil
	return s.frame()
}

// draw writes the lines that differ from what is there, all at once.
func (s *screen) draw(page []string) error {
	var b strings.Builder
	if s.undo == nil {
		s.open(&b)
	}
	if s.shown == nil {
		b.WriteString(clearScreen)
	}
	for i := range max(len(page), len(s.shown)) {
		line, old := at(page, i), at(s.shown, i)
		if line != old {
			fmt.Fprintf(&b, "\x1b[%d;1H\x1b[K%s", i+1, line)
		}
	}
	s.shown = page
	if b.Len() == 0 {
		return nil
	}
	return s.print(b.String())
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

func (s *screen) open(b *strings.Builder) {
	s.undo = func() {}
	if s.face.still != nil {
		s.undo = s.face.still()
	}
	b.WriteString(openScreen)
}

// close puts the terminal back. Where it is gone there is nobody to tell.
func (s *screen) close() {
	if s.undo != nil {
		_ = s.print(closeScreen)
		s.undo()
	}
}
