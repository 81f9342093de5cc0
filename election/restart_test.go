package election

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// restarting is a holder that was told that another process follows.
func restarting(t *testing.T) *driver {
	t.Helper()
	d := holding(t)
	d.peer(fit("n2"))
	return d
}

// What a restart leaves must carry the next process: the record, the newest
// saved state, and an address that lives for two seconds more.
func TestRestartLeavesEverything(t *testing.T) {
	for name, age := range map[string]Instant{"between two renewals": 200 * ms, "right before one": 399 * ms, "during one": 402 * ms} {
		t.Run(name, func(t *testing.T) {
			d := restarting(t)
			d.run(d.m.term.sent + age - d.now)
			d.send(Stop{Restart: true})
			d.run(100 * ms)
			if !d.exited {
				t.Fatal("no exit")
			}
			if got := steps(d.take()); count(got, "clear")+count(got, "erase")+count(got, "ask") > 0 {
				t.Errorf("gave something up: %q", got)
			}
			if left := d.until - d.now; left < 1800*ms {
				t.Errorf("the address lives for %v more, want 2 s less the time since", left)
			}
			rec, err := DecodeRecord(d.etcd)
			if err != nil || d.saved == nil || d.saved.ID != rec.ID || d.saved.GivenAway {
				t.Errorf("saved %+v, the record is %s (%v)", d.saved, d.etcd, err)
			}
			next := newDriver(t, Config{Node: "n1", Incarnation: "b", Timing: d.m.cfg.Timing, Priority: 100}, d.saved)
			next.now, next.etcd, next.until = d.now, d.etcd, d.until
			next.up()
			next.run(sec)
			if got := next.take(); next.m.role != Holder || count(got, "clear") > 0 {
				t.Errorf("the next process is %v after %q", next.m.role, got)
			}
		})
	}
}

// An address that is on its way out already is given away, whoever follows.
func TestRestartWhileLeaving(t *testing.T) {
	d := restarting(t)
	d.noClear = true
	d.send(HandOver{Token: 1})
	d.offer()
	d.run(20 * ms)
	if d.m.role != Releasing {
		t.Fatalf("role %v, want releasing", d.m.role)
	}
	d.send(Stop{Restart: true})
	d.noClear = false
	d.run(300 * ms)
	want := []string{"ask n2", "holder -> releasing", "clear", "warn: clear the address: not permitted", "clear", "save given away", "write for n2", "done: handed over to n2", "erase", "releasing -> candidate", "exit"}
	if diff := cmp.Diff(want, steps(d.take())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A handover that only asked so far is called off.
func TestRestartWhileAsking(t *testing.T) {
	d := restarting(t)
	d.send(HandOver{Token: 1})
	d.send(Stop{Restart: true})
	d.run(100 * ms)
	want := []string{"ask n2", "done: error: havipd on n1 is being restarted", "exit"}
	if diff := cmp.Diff(want, steps(d.take())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Commands that come during a restart are refused, or they would begin what
// the next process cannot finish.
func TestCommandsWhileRestarting(t *testing.T) {
	d := restarting(t)
	d.hold = true
	d.run(d.m.term.sent + 402*ms - d.now) // a renewal is under way, so that the exit waits
	d.send(Stop{Restart: true})
	d.send(HandOver{Token: 1})
	d.send(Release{Token: 2})
	d.run(restartBudget)
	want := []string{"done: error: havipd on n1 is being restarted", "done: error: havipd on n1 is being restarted", "exit"}
	if diff := cmp.Diff(want, steps(d.take())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// With times so short that a set call with the usual slack is worth nothing, the
// one that is left is made.
func TestRestartWithShortTimes(t *testing.T) {
	d := newDriver(t, Config{Node: "n1", Incarnation: "a", Timing: Timing{Hold: 1500 * ms, Takeover: MinTakeoverFor(1500 * ms), Renewal: 400 * ms, Retry: 200 * ms}}, nil)
	d.up()
	d.run(6 * sec)
	d.run(d.m.term.sent + 350*ms - d.now)
	if d.m.role != Holder {
		t.Fatalf("role %v, want holder", d.m.role)
	}
	d.until = d.now + 300*ms
	d.m.addr.from, d.m.addr.until = d.until-earlyExpiry, d.until
	d.send(Stop{Restart: true})
	d.run(100 * ms)
	if left := d.until - d.now; !d.exited || left < 800*ms {
		t.Errorf("exit: %v, the address lives for %v more", d.exited, left)
	}
}

// A candidate has nothing to leave, and goes at once.
func TestRestartOfCandidate(t *testing.T) {
	d := ready(t, record("n2", 3*sec, 4500*ms).encode())
	d.take()
	d.send(Stop{Restart: true})
	if !d.exited {
		t.Error("no exit at once")
	}
}

// A takeover that is under way is waited for: without what it saves, the next
// process would take its own record for a stranger's.
func TestRestartDuringTakeover(t *testing.T) {
	d := ready(t, "")
	d.rtt = 100 * ms
	for d.m.flyingWrites() == 0 {
		d.run(10 * ms)
	}
	d.send(Stop{Restart: true})
	d.run(restartBudget)
	if rec, err := DecodeRecord(d.etcd); err != nil || rec.Node != "n1" || d.saved == nil || d.saved.ID != rec.ID {
		t.Errorf("saved %+v, the record is %s (%v)", d.saved, d.etcd, err)
	}
	if !d.exited {
		t.Error("no exit")
	}
}

// Until the node goes down it takes no part, whatever becomes free.
func TestShutdownTakesNoPart(t *testing.T) {
	d := ready(t, "")
	d.send(Shutdown{Token: 1, On: true})
	d.run(10 * sec)
	if d.m.role != Drained || d.m.able() {
		t.Errorf("role %v, able %v, want drained and not able", d.m.role, d.m.able())
	}
	d.send(Shutdown{Token: 2})
	d.run(10 * sec)
	if d.m.role != Holder {
		t.Errorf("role %v after the shutdown was called off, want holder", d.m.role)
	}
}

// What comes to this node while it restarts is set, and so is what goes
// missing: the next process needs a while.
func TestRestartSetsTheAddress(t *testing.T) {
	t.Run("handed over meanwhile", func(t *testing.T) {
		d := ready(t, record("n2", 3*sec, 4500*ms).encode())
		d.send(Called{Call: Call{ID: "call-1", From: "n2", To: "n1"}})
		rec := record("n1", 3*sec, 4500*ms)
		rec.Offer = d.m.offer.id
		d.send(Stop{Restart: true})
		d.put(rec.encode())
		d.run(100 * ms)
		if left := d.until - d.now; !d.exited || left < 1800*ms {
			t.Errorf("exit: %v, the address lives for %v more", d.exited, left)
		}
		if rec, err := DecodeRecord(d.etcd); err != nil || rec.Offer != "" || d.saved == nil || d.saved.ID != rec.ID {
			t.Errorf("saved %+v, the record is %s (%v)", d.saved, d.etcd, err)
		}
	})
	t.Run("removed by somebody", func(t *testing.T) {
		d := restarting(t)
		d.hold = true
		d.run(d.m.term.sent + 402*ms - d.now) // a renewal is under way, so that the exit waits
		d.send(Stop{Restart: true})
		d.run(10 * ms)
		d.until = 0
		d.send(AddressLost{})
		d.run(restartBudget)
		if left := d.until - d.now; !d.exited || left < sec {
			t.Errorf("exit: %v, the address lives for %v more", d.exited, left)
		}
	})
}

// An address without a right is not left to the next process.
func TestRestartClearsALeftover(t *testing.T) {
	d := restarting(t)
	d.noClear = true
	d.put(record("n2", 3*sec, 4500*ms).encode())
	d.run(300 * ms)
	for d.m.addr.op != opNone {
		d.run(ms)
	}
	if d.m.role != Candidate || d.until < d.now {
		t.Fatalf("role %v, the address lives until %v, want a candidate that cannot clear", d.m.role, d.until)
	}
	d.send(Stop{Restart: true})
	d.noClear = false
	d.run(restartBudget)
	if d.until != 0 || !d.exited {
		t.Errorf("exit: %v, the address lives until %v", d.exited, d.until)
	}
}

// An offer that nobody used must not keep a holder, which does not renew any
// more, from exiting until its right runs out.
func TestRestartAfterAnOfferForNothing(t *testing.T) {
	d := ready(t, record("n2", 3*sec, 4500*ms).encode())
	d.send(Called{Call: Call{ID: "call-1", From: "n2", To: "n1"}})
	if d.m.offer.id == "" {
		t.Fatal("no offer")
	}
	free := record("", 3*sec, 4500*ms)
	free.ID = "n2-2"
	d.put(free.encode())
	d.run(100 * ms)
	if d.m.role != Holder || d.until == 0 {
		t.Fatalf("role %v, want a holder", d.m.role)
	}
	d.send(Stop{Restart: true})
	d.run(restartBudget)
	if !d.exited {
		t.Errorf("no exit within %v", restartBudget)
	}
}

// A node that goes down restarts nothing, whichever word comes first.
func TestRestartOfANodeThatGoesDown(t *testing.T) {
	want := []string{"ask n2", "holder -> releasing", "clear", "save given away", "write for n2", "done: handed over to n2", "erase", "releasing -> drained", "exit"}
	for name, events := range map[string][]Event{
		"shutdown first": {Shutdown{Token: 1, On: true}, Stop{Restart: true}},
		"restart first":  {Stop{Restart: true}, Shutdown{Token: 1, On: true}},
	} {
		t.Run(name, func(t *testing.T) {
			d := restarting(t)
			d.rtt = 100 * ms
			d.run(d.m.term.sent + 402*ms - d.now) // a renewal is under way, so that the exit waits
			for _, ev := range events {
				d.send(ev)
			}
			if d.asked() {
				d.offer()
			}
			d.run(sec)
			if diff := cmp.Diff(want, steps(d.take())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
