package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"havip/kubeadm"
)

// progress shows the steps of init and join as they go. On a terminal the step
// that runs has one line, drawn again and again, with its time and the last line
// of its log; elsewhere each step has a line when it begins and one when it ends.
type progress struct {
	out   io.Writer
	live  bool
	width func() int

	mu    sync.Mutex
	head  string // of the step that runs: "7/15 certs"
	last  string // line of its log
	began time.Time
	stop  chan struct{}
	done  sync.WaitGroup
}

func (p *progress) Note(text string) { p.say("note: " + text) }

func (p *progress) Skip(s kubeadm.Step) { p.say(s.Name + ": done before") }

func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintln(p.out, text)
}

func (p *progress) Begin(s kubeadm.Step, number, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head, p.last, p.began = fmt.Sprintf("%d/%d %s", number, total, s.Name), s.Text, time.Now()
	if !p.live {
		fmt.Fprintf(p.out, "%s: %s\n", p.head, s.Text)
		return
	}
	p.stop = make(chan struct{})
	p.done.Go(func() { p.tick(p.stop) })
}

// tick draws until the step ends.
func (p *progress) tick(stop <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		p.draw()
		p.mu.Unlock()
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

func (p *progress) draw() {
	line := fmt.Sprintf("%s  %s  %s", p.head, time.Since(p.began).Truncate(time.Second), p.last)
	if runes := []rune(line); p.width() > 0 && len(runes) >= p.width() {
		line = string(runes[:p.width()-1])
	}
	fmt.Fprint(p.out, "\r"+line+"\x1b[K")
}

func (p *progress) clear() {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *progress) Line(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, line)
}

func (p *progress) End(s kubeadm.Step, took time.Duration, err error) {
	if p.stop != nil {
		close(p.stop)
		p.done.Wait()
		p.stop = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	word := "done"
	if err != nil {
		word = "FAILED"
	}
	fmt.Fprintf(p.out, "%s: %s in %s\n", p.head, word, took.Round(100*time.Millisecond))
}
