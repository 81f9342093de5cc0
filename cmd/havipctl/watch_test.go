package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/daemon/status"
)

// answers is a daemon that says what the test wants, without a socket: with one
// the clock of a bubble would stand still.
type answers struct {
	mu      sync.Mutex // time that goes by orders nothing, says the race detector
	doc     *status.Document
	err     error
	hangs   bool
	history *status.History
	noHist  error
	crash   bool
	looks   int
	reads   int // of the history
}

func (a *answers) Status(ctx context.Context) (*status.Document, error) {
	a.mu.Lock()
	a.looks++
	hangs := a.hangs
	a.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.crash {
		panic("a bug")
	}
	if a.err != nil {
		return nil, fmt.Errorf("ask the daemon at /x: %w", a.err)
	}
	d := *a.doc
	d.Time = time.Now()
	return &d, nil
}

func (a *answers) History(context.Context, time.Time, int) (*status.History, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads++
	return a.history, a.noHist
}

// set changes something that the program under test looks at.
func (a *answers) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// locked is a writer that a test looks into while the program runs.
type locked struct {
	mu *sync.Mutex
	to io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

func document(t *testing.T, name string) *status.Document {
	t.Helper()
	var d status.Document
	readJSON(t, name, &d)
	return &d
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../daemon/status/testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

// watching is a watch under way, on a terminal that is only thought of.
type watching struct {
	*answers
	t        *testing.T
	out      bytes.Buffer
	errs     bytes.Buffer
	term     terminal
	rows     int
	columns  int
	resized  chan os.Signal
	gone     bool
	stills   int // how often typed keys are still, minus how often that was undone
	stop     context.CancelFunc
	done     chan error
	panicked any
}

// startWatch is called in a bubble, whose clock it sets to a moment of the documents.
func startWatch(t *testing.T, drawable bool, set func(w *watching, o *statusOptions)) *watching {
	w := &watching{answers: &answers{doc: document(t, "all-well"), history: &status.History{}}, t: t, rows: 24, columns: 80,
		resized: make(chan os.Signal, 1), done: make(chan error, 1)}
	readJSON(t, "history-moves", w.history)
	f := text
	o := statusOptions{format: &f, interval: time.Second}
	if set != nil {
		set(w, &o)
	}
	c := &cli{out: locked{&w.mu, &w.out}, err: locked{&w.mu, &w.errs}, width: func() (n int) { w.set(func() { n = w.columns }); return n }}
	c.face = face{drawable: drawable, resized: w.resized,
		height: func() (n int) { w.set(func() { n = w.rows }); return n },
		gone:   func() (yes bool) { w.set(func() { yes = w.gone }); return yes },
		still:  func() func() { w.set(func() { w.stills++ }); return func() { w.set(func() { w.stills-- }) } }}
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() {
		defer func() {
			if w.panicked = recover(); w.panicked != nil {
				w.done <- errors.New("panic")
			}
		}()
		w.done <- c.watch(ctx, w.answers, &o)
	}()
	synctest.Wait()
	return w
}

// after lets time go by and returns what the terminal shows then.
func (w *watching) after(d time.Duration) string {
	w.t.Helper()
	time.Sleep(d) // of the bubble
	synctest.Wait()
	return w.shows()
}

func (w *watching) shows() string {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.term.feed(w.out.String()); err != nil {
		w.t.Fatal(err)
	}
	w.out.Reset()
	return strings.Join(w.term.lines, "\n")
}

func (w *watching) end() error {
	w.stop()
	err := <-w.done
	synctest.Wait()
	w.shows()
	return err
}

// terminal understands just what is said to it; anything else is an error.
type terminal struct {
	lines                     []string
	row                       int
	alternate, hidden, nowrap bool
	clears                    int
}

var sequence = regexp.MustCompile(`^\x1b\[(\??[0-9;]*)([A-Za-z])`)

func (t *terminal) feed(s string) error {
	for s != "" {
		m := sequence.FindStringSubmatch(s)
		switch {
		case m == nil && s[0] == '\x1b':
			return fmt.Errorf("not understood: %.20q", s)
		case m == nil:
			end := strings.IndexByte(s, '\x1b')
			if end < 0 {
				end = len(s)
			}
			if !t.alternate || strings.Contains(s[:end], "\n") {
				return fmt.Errorf("text that no page has: %q", s[:end])
			}
			t.lines[t.row] += s[:end]
			s = s[end:]
			continue
		}
		if err := t.obey(m[1], m[2]); err != nil {
			return err
		}
		s = s[len(m[0]):]
	}
	return nil
}

func (t *terminal) obey(arg, what string) error {
	switch arg + what {
	case "?1049h", "?1049l":
		t.alternate = what == "h"
	case "?25h", "?25l":
		t.hidden = what == "l"
	case "?7h", "?7l":
		t.nowrap = what == "l"
	case "2J":
		t.lines = nil
		t.clears++
	case "K":
		t.lines[t.row] = ""
	default:
		row, err := strconv.Atoi(strings.TrimSuffix(arg, ";1"))
		switch {
		case what == "m":
		case what == "H" && err == nil && row > 0:
			t.row = row - 1
			for len(t.lines) < row {
				t.lines = append(t.lines, "")
			}
		default:
			return fmt.Errorf("not understood: %s%s", arg, what)
		}
	}
	return nil
}

func contains(t *testing.T, where, page string, want ...string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(page, s) {
			t.Errorf("%s: no %q in:\n%s", where, s, page)
		}
	}
}

func lacks(t *testing.T, where, page string, no ...string) {
	t.Helper()
	for _, s := range no {
		if strings.Contains(page, s) {
			t.Errorf("%s: %q in:\n%s", where, s, page)
		}
	}
}

// TestScreen: countdowns move between two looks, a change is marked and then not,
// a daemon that is gone is said to be, and is back without a hand.
func TestScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, true, nil)
		contains(t, "at first", w.shows(), "  198.51.100.166   HELD by n2", "right       2.8 s ", "n1 -> n2      up to 4.0 s")
		if !w.term.alternate || !w.term.hidden || !w.term.nowrap || w.stills != 1 {
			t.Errorf("the terminal is not made ready: %+v, keys still: %d", w.term, w.stills)
		}
		contains(t, "between two looks", w.after(700*time.Millisecond), "right       2.2 s ", "lifetime    2.0 s ")
		contains(t, "after a look", w.after(400*time.Millisecond), "right       2.8 s ")
		if w.looks != 2 || w.reads != 1 {
			t.Errorf("%d looks, %d of them at the history", w.looks, w.reads)
		}

		w.set(func() { w.doc = document(t, "one-gone") })
		page := w.after(time.Second)
		contains(t, "changed", page, "> 198.51.100.166   HELD by n2", "\n> n1    gone", "\n  n2    holder")
		if w.reads != 2 {
			t.Errorf("the history was read %d times when something had changed", w.reads)
		}
		lacks(t, "later", w.after(markFor), "\n> ")

		w.set(func() { w.err = status.ErrNoSocket })
		page = w.after(3 * time.Second)
		contains(t, "gone", page, "NO ANSWER from havipd for 3.", ": no socket there\n", "HELD by n2", "countdowns  not known")
		contains(t, "long gone", w.after(60*time.Second), "NO ANSWER from havipd for 63 s: ", "as seen by n3 at ", ", 63 s ago")
		w.set(func() { w.err = nil })
		page = w.after(1200 * time.Millisecond)
		lacks(t, "back", page, "NO ANSWER", "not known while")
		contains(t, "back", page, "right       2.")

		w.set(func() { w.hangs = true })
		contains(t, "hanging", w.after(5*time.Second), "NO ANSWER from havipd for ", "it has been asked, and says nothing")
		if err := w.end(); err != nil || w.term.alternate || w.term.hidden || w.term.nowrap || w.stills != 0 {
			t.Errorf("left with %v, the terminal %+v, keys still: %d", err, w.term, w.stills)
		}
		if w.term.clears != 1 {
			t.Errorf("cleared %d times: that flickers", w.term.clears)
		}
	})
}

// TestScreenWritesLittle: what stays the same is not written again.
func TestScreenWritesLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, true, nil)
		w.shows()
		written := func(d time.Duration) int {
			time.Sleep(d)
			synctest.Wait()
			defer w.shows()
			w.mu.Lock()
			defer w.mu.Unlock()
			return strings.Count(w.out.String(), ";1H")
		}
		if n := written(frameEvery + time.Millisecond); n != 2 {
			t.Errorf("%d lines were written for two countdowns", n)
		}
		w.set(func() {
			d := document(t, "all-well")
			d.Holder.RightLeftMS, d.Holder.RenewedAgoMS, d.Address.States = nil, nil, nil
			w.doc = d
		})
		written(time.Second)
		if n := written(600 * time.Millisecond); n != 0 {
			t.Errorf("nothing counts, and %d lines were written", n)
		}
		_ = w.end()
	})
}

func TestScreenResized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, true, nil)
		w.shows()
		w.set(func() { w.rows, w.columns = 3, 40 })
		w.resized <- os.Interrupt // any signal
		synctest.Wait()
		page := w.shows()
		if n := len(w.term.lines); n != 3 || w.term.clears != 2 || !strings.HasPrefix(page, "  198.51.100.166   HELD by n2") {
			t.Errorf("%d lines, cleared %d times:\n%s", n, w.term.clears, page)
		}
		w.set(func() { w.rows, w.columns = 0, 0 }) // a terminal that does not know
		w.resized <- os.Interrupt
		synctest.Wait()
		contains(t, "size not known", w.shows(), "HELD by n2 on eth0 for", "\n  events ")
		_ = w.end()
	})
}

func TestScreenHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, true, func(w *watching, _ *statusOptions) {
			w.noHist = &status.RefusedError{Status: 404, Failure: status.Failure{Message: "no such path: /v1/history"}}
		})
		contains(t, "an older daemon", w.shows(), "last move   n1 -> n2", "history     not known: no such path: /v1/history")
		w.set(func() { w.noHist = nil })
		contains(t, "later", w.after(historyEvery+time.Second), "FROM -> TO")
		w.set(func() { w.noHist = status.ErrNoAnswer })
		contains(t, "lost again", w.after(historyEvery+time.Second), "FROM -> TO")
		_ = w.end()
	})
}

// TestScreenRestored: however it ends.
func TestScreenRestored(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(w *watching)
		want string
	}{
		"a bug":           {func(w *watching) { w.crash = true }, "panic"},
		"the reader gone": {func(w *watching) { w.gone = true }, ""},
		"no permission":   {func(w *watching) { w.err = status.ErrPermission }, "ask the daemon at /x: permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := startWatch(t, true, nil)
				w.shows()
				w.set(func() { tc.end(w) })
				w.after(2 * time.Second)
				err := w.end()
				if got := errorText(err); got != tc.want {
					t.Errorf("ended with %q, not %q", got, tc.want)
				}
				if w.term.alternate || w.term.hidden || w.term.nowrap || w.stills != 0 {
					t.Errorf("left: %+v, keys still: %d", w.term, w.stills)
				}
				if s := fmt.Sprint(w.panicked); tc.want == "panic" && !(strings.Contains(s, "a bug") && strings.Contains(s, "watch_test.go")) {
					t.Errorf("the panic says too little: %s", s)
				}
			})
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestScreenCannotBeWritten: a terminal that was hung up ends it.
func TestScreenCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cli{out: brokenWriter{}, width: func() int { return 80 }, face: face{drawable: true, height: func() int { return 24 }}}
		f := text
		err := c.watch(t.Context(), &answers{doc: document(t, "all-well")}, &statusOptions{format: &f, interval: time.Second})
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%v", err)
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestNeverThere: a daemon that never answered is an error, and the terminal is
// left alone.
func TestNeverThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, true, func(w *watching, _ *statusOptions) { w.err = status.ErrNoSocket })
		err := <-w.done
		if code := report(io.Discard, err); code != exitNotRunning || w.out.Len() > 0 || w.stills != 0 {
			t.Errorf("exit code %d, written %q, keys still: %d", code, &w.out, w.stills)
		}
	})
}

// TestLines: on a pipe a line for each change, and nothing while nothing changes.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, false, func(_ *watching, o *statusOptions) { o.events = true })
		said := func() []string {
			time.Sleep(3 * time.Second)
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			list := strings.Split(strings.TrimSpace(w.out.String()), "\n")
			w.out.Reset()
			for i, s := range list {
				stamp, text, _ := strings.Cut(s, "  ")
				if _, err := time.Parse(time.RFC3339, stamp); err != nil && s != "" {
					t.Errorf("%q: %v", s, err)
				}
				list[i] = text
			}
			return list
		}
		want := func(list ...string) {
			t.Helper()
			if diff := cmp.Diff(list, said()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		want("HELD by n2 on eth0: 2 healthy standbys, n1 is next",
			"move: n1 -> n2: n1 stopped renewing; nobody held it for about 4.0 s",
			"n1: next, API server ready, etcd follower, havip 1.2.0",
			"n2: holder, API server ready, etcd leader, havip 1.2.0",
			"n3: candidate, API server ready, etcd follower, havip 1.2.0",
			"etcd: 3 of 3 members: any one of them may fail",
			"event: waiting -> candidate: etcd answers",
			"event: n2 took over: n1 stopped renewing")
		want("")
		w.set(func() { w.err = status.ErrBroken })
		want("havipd does not answer: the connection broke")
		want("")
		w.set(func() { w.err = status.ErrNoSocket })
		want("havipd does not answer: no socket there")
		w.set(func() { w.err, w.doc = nil, document(t, "api-failing") })
		list := said()
		if list[0] != "havipd answers again" || !slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, "API server ready -> failing: ") }) {
			t.Errorf("%q", list)
		}
		if err := w.end(); err != nil || w.reads != 0 || w.stills != 0 || w.errs.Len() > 0 {
			t.Errorf("%v, %d reads of the history, keys still: %d, %q", err, w.reads, w.stills, &w.errs)
		}
	})
}
