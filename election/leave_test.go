package election

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// steps leaves out what goes on all the time: renewals, refreshes, reads.
func steps(words []string) []string {
	return slices.DeleteFunc(words, func(w string) bool {
		return w == "write" || w == "keep" || w == "read" || w == "announce" || strings.HasPrefix(w, "set ")
	})
}

// The order of giving the address away is the heart of promise P1: nothing is
// sent before the address is confirmed to be gone and the mark is saved.
func TestLeaveOrder(t *testing.T) {
	toPeer := []string{"ask n2", "holder -> releasing", "clear", "save given away", "write for n2"}
	gone := func(first []string, last ...string) []string { return append(slices.Clone(first), last...) }
	for _, tt := range []struct {
		name string
		peer bool
		ev   Event
		want []string
	}{
		{"stop with a successor", true, Stop{}, gone(toPeer, "erase", "releasing -> candidate", "exit")},
		{"stop alone", false, Stop{}, []string{"holder -> releasing", "clear", "save given away", "write free", "erase", "releasing -> candidate", "exit"}},
		{"handover", true, HandOver{Token: 1}, gone(toPeer, "done: handed over to n2", "erase", "releasing -> candidate")},
		{"handover alone", false, HandOver{Token: 1}, []string{"done: error: no other master can take the address over now"}},
		{"handover to itself", true, HandOver{Token: 1, To: "n1"}, []string{"done: n1 holds the address already"}},
		{"handover to a stranger", true, HandOver{Token: 1, To: "n9"}, []string{"done: error: n9 is not there: no daemon of that name is connected to etcd"}},
		{"drain", true, SetDrained{Token: 2, On: true}, gone([]string{"done: n1 hands the address over as soon as another master can take it"}, gone(toPeer, "erase", "releasing -> drained")...)},
		{"drain alone", false, SetDrained{Token: 2, On: true}, []string{"done: n1 hands the address over as soon as another master can take it"}},
		{"drain off", true, SetDrained{Token: 2}, []string{"done: not drained"}},
		{"shutdown", true, Shutdown{Token: 4, On: true}, gone(toPeer, "done: handed over to n2", "erase", "releasing -> drained")},
		{"shutdown alone", false, Shutdown{Token: 4, On: true}, []string{"done: error: no other master can take the address over now"}},
		{"shutdown called off", true, Shutdown{Token: 4}, []string{"done: n1 may hold the address again"}},
		{"restart", true, Stop{Restart: true}, []string{"exit"}},
		{"release", true, Release{Token: 3}, []string{"holder -> releasing", "clear", "save given away", "write free", "done: released", "erase", "releasing -> candidate"}},
		{"link down", true, Link{Present: true, Reason: "no carrier"}, gone(toPeer, "erase", "releasing -> candidate")},
		{"link down alone", false, Link{Present: true, Reason: "no carrier"}, []string{}},
		{"API server down", true, Health{Reason: "no answer"}, gone(toPeer, "erase", "releasing -> candidate")},
		{"etcd member down", true, Etcd{Elsewhere: true, Reason: "refused"}, gone(toPeer, "erase", "releasing -> waiting")},
		{"etcd without quorum", true, Etcd{Reason: "no leader"}, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := holding(t)
			if tt.peer {
				d.peer(fit("n2"))
			}
			d.send(tt.ev)
			if d.asked() {
				d.offer()
			}
			d.run(300 * ms)
			if diff := cmp.Diff(tt.want, steps(d.take())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Without an answer the next one is asked; a command that finds nobody says so,
// a stop goes on all the same, and no step lasts for ever.
func TestLeaveTimeouts(t *testing.T) {
	for _, tt := range []struct {
		name string
		prep func(*driver)
		ev   Event
		want []string
	}{
		{"nobody answers a handover", func(*driver) {}, HandOver{Token: 1},
			[]string{"ask n2", "ask n3", "done: error: nobody made an offer to take the address over"}},
		{"nobody answers a stop", func(*driver) {}, Stop{},
			[]string{"ask n2", "ask n3", "holder -> releasing", "clear", "save given away", "write free", "erase", "releasing -> candidate", "exit"}},
		{"the mark cannot be saved", func(d *driver) { d.noSave = true }, Release{Token: 3},
			[]string{"holder -> releasing", "clear", "save given away", "done: error: the state could not be saved; the record runs out by itself", "erase", "releasing -> candidate"}},
		{"etcd does not answer", func(d *driver) { d.hold = true }, Release{Token: 3}, nil},
		{"the address cannot be cleared", func(d *driver) { d.noClear = true }, Release{Token: 3}, nil},
		{"the disk does not answer", func(d *driver) { d.noDisk = true }, Release{Token: 3}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := holding(t)
			d.peer(fit("n2"))
			d.peer(fit("n3"))
			tt.prep(d)
			d.send(tt.ev)
			d.run(7 * sec)
			words := steps(d.take())
			if d.m.role == Releasing {
				t.Errorf("still releasing after 7 s")
			}
			if tt.want == nil && count(words, "done: ") != 1 {
				t.Errorf("the command has no answer: %q", words)
			}
			if tt.want == nil {
				return
			}
			if diff := cmp.Diff(tt.want, words[:min(len(words), len(tt.want))]); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A failed save must not make the node give away and take again in a loop.
func TestFailedSaveBacksOff(t *testing.T) {
	d := holding(t)
	d.peer(fit("n2"))
	d.noSave = true
	d.send(Health{Reason: "no answer"})
	for range 40 {
		if d.asked() {
			d.offer()
		}
		d.run(100 * ms)
	}
	if n := count(d.take(), "holder -> releasing"); n > 1 {
		t.Errorf("%d tries to leave within 4 s, want 1", n)
	}
}

// A stop that cannot clear ends all the same: the kernel's lifetime is the rest.
func TestStopEnds(t *testing.T) {
	d := holding(t)
	d.noClear = true
	d.send(Stop{})
	d.send(Stop{})
	d.run(stopBudget + sec)
	if !d.exited {
		t.Error("no exit within the budget")
	}
	if got := steps(d.take()); count(got, "write f") > 0 {
		t.Errorf("gave away without clearing: %q", got)
	}
	d.send(Tick{})
	if len(d.acts) > 0 {
		t.Errorf("acts after exit: %v", d.acts)
	}
}

func TestPreemption(t *testing.T) {
	d := ready(t, "")
	d.m.cfg.Preempt = 2 * sec
	d.run(6 * sec)
	better := fit("n2")
	better.Priority = 200
	d.peer(better)
	d.take()
	d.run(1900 * ms)
	if got := steps(d.take()); len(got) > 0 {
		t.Errorf("before the delay: %q", got)
	}
	d.run(200 * ms)
	d.offer()
	d.run(100 * ms)
	want := []string{"ask n2", "holder -> releasing", "clear", "save given away", "write for n2", "erase", "releasing -> candidate"}
	if diff := cmp.Diff(want, steps(d.take())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A holder whose set calls fail serves nobody and gives the record away.
func TestHolderThatCannotSet(t *testing.T) {
	d := holding(t)
	d.peer(fit("n2"))
	d.failSet, d.until = true, 0
	d.send(AddressLost{})
	d.run(1500 * ms)
	d.offer()
	d.run(100 * ms)
	got := d.take()
	if count(got, "write for n2") != 1 {
		t.Errorf("did not hand over: %q", got)
	}
	if n := count(got, "set "); n > 12 {
		t.Errorf("%d set calls in 1.5 s", n)
	}
}

// Who waits for the node to go down waits for a leave that is under way too,
// and any successor will do then.
func TestShutdownWhileLeaving(t *testing.T) {
	d := holding(t)
	d.peer(fit("n2"))
	d.peer(fit("n3"))
	d.send(HandOver{Token: 1, To: "n3"})
	d.send(Shutdown{Token: 2, On: true})
	d.run(askTimeout)
	d.offer()
	d.run(100 * ms)
	want := []string{"ask n3", "ask n2", "holder -> releasing", "clear", "save given away", "write for n2", "done: handed over to n2", "done: handed over to n2", "erase", "releasing -> drained"}
	if diff := cmp.Diff(want, steps(d.take())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
