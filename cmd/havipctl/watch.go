package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"havip/daemon/status"
)

const (
	// frameEvery is how often the page counts on between two looks.
	frameEvery = 200 * time.Millisecond
	// markFor is how long a change stays marked.
	markFor = 5 * time.Second
	// patience is how much later than expected an answer may come before the page
	// says that there is none: the daemon answers in milliseconds.
	patience = 2 * time.Second
	// historyEvery is how often the history is read while the status stays the same.
	historyEvery = 10 * time.Second
	// historyTime bounds that: the looks at the status wait for it.
	historyTime = 2 * time.Second
	// historyKept is how many moves the largest page has room for.
	historyKept = 12
)

// face is what stdout is to a page that is drawn again and again. A nil function
// or channel is one that never has anything to say.
type face struct {
	drawable bool             // a terminal that understands how to be drawn over
	height   func() int       // its rows, 0: not known
	resized  <-chan os.Signal // it has another size
	still    func() func()    // keeps typed keys off the page, until the returned function
	gone     func() bool      // nobody reads any more
}

// asker answers a watcher's questions: the daemon.
type asker interface {
	Status(ctx context.Context) (*status.Document, error)
	History(ctx context.Context, since time.Time, limit int) (*status.History, error)
}

// look is what one look at the daemon brought.
type look struct {
	doc       *status.Document
	err       error
	history   *status.History // nil: not asked for, or historyErr
	asked     bool            // for the history
	noHistory error
	crash     string // the stack of a panic, which is to reach the one that puts the terminal back
}

// watch shows the status until it is interrupted, which is how it ends well. A
// daemon that goes away is waited for, unless it was never there.
func (c *cli) watch(ctx context.Context, daemon asker, o *statusOptions) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var v view = &lines{cli: c, options: o}
	var frames <-chan time.Time
	drawn := c.face.drawable && *o.format == text
	if drawn {
		p := &screen{cli: c, interval: o.interval}
		defer p.close()
		v = p
		tick := time.NewTicker(frameEvery)
		defer tick.Stop()
		frames = tick.C
	}
	looks := make(chan look)
	go lookOn(ctx, daemon, o.interval, drawn, looks)
	for first := true; ; {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case l := <-looks:
			if l.crash != "" {
				panic(l.crash)
			}
			if l.err != nil && (first || errors.Is(l.err, status.ErrPermission)) {
				return asked(l.err)
			}
			first = false
			err = v.take(l)
		case <-frames:
			err = v.frame()
		case <-c.face.resized:
			err = v.resize()
		}
		if err != nil {
			return err
		}
		if c.face.gone != nil && c.face.gone() {
			return nil
		}
	}
}

// lookOn looks at the daemon again and again, beside the one who draws: a daemon
// that hangs stops no countdown.
func lookOn(ctx context.Context, daemon asker, every time.Duration, history bool, looks chan<- look) {
	defer func() {
		if r := recover(); r != nil {
			send(ctx, looks, look{crash: fmt.Sprintf("%v\n%s", r, debug.Stack())})
		}
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	digest, read := "", time.Time{}
	for {
		var l look
		l.doc, l.err = daemon.Status(ctx)
		if l.err == nil && history {
			if now := l.doc.Digest(); now != digest || time.Since(read) >= historyEvery {
				digest, read = now, time.Now()
				l.askHistory(ctx, daemon)
			}
		}
		if !send(ctx, looks, l) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (l *look) askHistory(ctx context.Context, daemon asker) {
	ctx, cancel := context.WithTimeout(ctx, historyTime)
	defer cancel()
	l.asked = true
	l.history, l.noHistory = daemon.History(ctx, time.Time{}, historyKept)
}

func send(ctx context.Context, looks chan<- look, l look) bool {
	select {
	case looks <- l:
		return true
	case <-ctx.Done():
		return false
	}
}

// view shows what was seen.
type view interface {
	take(l look) error
	frame() error  // time went by
	resize() error // there is another room for it
}

// why is an error without where it came from: the reader knows whom is asked.
func why(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	return err.Error()
}

// lines tells what changes on a pipe or in a file: a line with its time for each
// change, or a document a line.
type lines struct {
	*cli
	options *statusOptions
	doc     *status.Document
	silent  string // why the daemon does not answer
}

func (v *lines) frame() error  { return nil }
func (v *lines) resize() error { return nil }

func (v *lines) take(l look) error {
	if l.err != nil {
		return v.lost(l.err)
	}
	prev, back := v.doc, v.silent != ""
	v.doc, v.silent = l.doc, ""
	if *v.options.format == jsonText {
		if prev != nil && !back && prev.Digest() == l.doc.Digest() {
			return nil
		}
		b, err := json.Marshal(l.doc)
		if err != nil {
			return fmt.Errorf("encode status: %w", err)
		}
		return v.print(string(b) + "\n")
	}
	var news []status.Difference
	if back {
		news = append(news, status.Difference{Text: "havipd answers again"})
	}
	news = append(news, status.Differences(prev, l.doc)...)
	if v.options.events {
		news = append(news, status.NewEvents(prev, l.doc)...)
	}
	var b strings.Builder
	for _, one := range news {
		b.WriteString(stamped(l.doc.Time, one.Text))
	}
	return v.print(b.String())
}

// lost says once that the daemon has gone, and why.
func (v *lines) lost(err error) error {
	if v.silent == why(err) {
		return nil
	}
	v.silent = why(err)
	if *v.options.format == jsonText { // where documents are read, this is none
		fmt.Fprintln(v.err, "error: "+err.Error())
		return nil
	}
	return v.print(stamped(time.Now(), "havipd does not answer: "+v.silent))
}

func stamped(t time.Time, text string) string {
	return t.Local().Format(time.RFC3339) + "  " + text + "\n"
}
