package election

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every combination of the facts, against the conditions in words.
func TestClaimRefusals(t *testing.T) {
	for bits := range 1 << 8 {
		on := func(i int) bool { return bits>>i&1 == 1 }
		f := ClaimFacts{Force: on(0), Unfinished: on(1), Member: on(2), Record: on(3), Aside: on(4), Answered: on(5), Passing: on(6), MasterUp: on(7)}
		got := f.Refusals()
		want := map[ClaimRefusal]bool{
			RefusedAside: f.Aside, RefusedRecord: f.Record, RefusedAnswered: f.Answered, RefusedSilence: !f.Passing,
		}
		if !f.Force { // what the operator may overrule, knowing what it risks
			want[RefusedMember] = f.Member && !f.Unfinished
			want[RefusedMasterUp] = f.MasterUp
		}
		n := 0
		for reason, refused := range want {
			if refused {
				n++
			}
			if slices.Contains(got, reason) != refused {
				t.Errorf("%+v: reason %d given: %v, want %v", f, reason, !refused, refused)
			}
		}
		if len(got) != n {
			t.Errorf("%+v: %d reasons %v, want %d", f, len(got), got, n)
		}
		if free := len(got) == 0; free && (f.Answered || f.Record || !f.Passing) {
			t.Errorf("%+v: granted", f)
		}
	}
}

// claiming is a node without etcd that claims the address for ten seconds.
func claiming(t *testing.T) *driver {
	t.Helper()
	d := newDriver(t, testConfig(), nil)
	d.send(Link{Present: true, Up: true})
	d.send(Etcd{Reason: "connection refused"})
	d.run(20 * ms)
	d.send(Claim{Token: 1, For: 10 * sec, Looked: d.now})
	d.run(20 * ms)
	if d.m.role != Claimant || d.until == 0 {
		t.Fatalf("role %v, address until %v, want a claimant with the address", d.m.role, d.until)
	}
	d.take()
	return d
}

func TestClaimIsRenewedAndExpires(t *testing.T) {
	d := claiming(t)
	d.run(5 * sec)
	d.send(Claim{Token: 2, For: 10 * sec})
	d.run(9 * sec)
	got := d.take()
	if n := count(got, "set 2"); n < 8 || n > 14*1000/600 {
		t.Errorf("%d set calls in 14 s, want one each 0.75 s or so", n)
	}
	if diff := cmp.Diff([]string{"done: n1 holds the address by a claim"}, steps(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	d.run(1100 * ms)
	want := []string{"erase", "claimant -> waiting", "clear"}
	if diff := cmp.Diff(want, steps(d.take())); diff != "" || d.until != 0 {
		t.Errorf("the address lives until %v, (-want +got)\n%s", d.until, diff)
	}
}

// The election takes a claim over without the address leaving the link.
func TestClaimIsHandedToTheElection(t *testing.T) {
	d := claiming(t)
	d.send(Etcd{Local: true, Reason: "ready"})
	d.run(8 * sec)
	want := []string{"claimant -> holder"}
	if diff := cmp.Diff(want, steps(d.take())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	d.run(4 * sec) // past the end of the claim
	if d.m.role != Holder || d.until < d.now {
		t.Errorf("role %v, the address lives until %v", d.m.role, d.until)
	}
	d.send(Claim{Token: 3, For: 10 * sec})
	if got := steps(d.take()); !slices.Equal(got, []string{"done: n1 holds the address by election"}) {
		t.Errorf("a claim beside the election: %q", got)
	}
}

// Nobody else has a part in the etcd that a claimant founds, so that an absent
// record is nobody's right. After a claim by force it may be the other members'.
func TestFounderDoesNotWait(t *testing.T) {
	for name, tt := range map[string]struct {
		founding bool
		want     Role
	}{
		"founding": {true, Holder},
		"by force": {false, Claimant},
	} {
		t.Run(name, func(t *testing.T) {
			d := claiming(t)
			d.send(Claim{Token: 2, For: 10 * sec, Founding: tt.founding})
			d.send(Etcd{Local: true, Reason: "ready"})
			d.run(500 * ms)
			if d.m.role != tt.want {
				t.Errorf("role %v, want %v", d.m.role, tt.want)
			}
		})
	}
}

func TestClaimEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		ev   Event
		want []string
	}{
		"given back":          {Unclaim{Token: 2, Reason: "init was cancelled"}, []string{"erase", "claimant -> waiting", "done: the claim is over: init was cancelled", "clear"}},
		"released":            {Release{Token: 2}, []string{"erase", "claimant -> waiting", "done: released", "clear"}},
		"drained":             {SetDrained{Token: 2, On: true}, []string{"done: n1 will not take the address", "erase", "claimant -> drained", "clear"}},
		"another's record":    {Observed{Value: record("n2", 3*sec, 4500*ms).encode()}, []string{"erase", "claimant -> waiting", "clear"}},
		"nonsense":            {Observed{Value: "hello"}, []string{"erase", "claimant -> waiting", "clear"}},
		"stopped":             {Stop{}, []string{"erase", "claimant -> waiting", "clear", "exit"}},
		"restarted: it stays": {Stop{Restart: true}, []string{"exit"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := claiming(t)
			d.send(tt.ev)
			d.run(100 * ms)
			if diff := cmp.Diff(tt.want, steps(d.take())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestClaimIsAdopted(t *testing.T) {
	d := claiming(t)
	d.send(Stop{Restart: true})
	d.run(100 * ms)
	for _, tt := range []struct {
		after Instant
		want  Role
	}{{sec, Claimant}, {11 * sec, Waiting}} {
		next := &driver{t: t, now: d.now + tt.after, rtt: 4 * ms, saved: d.saved, until: d.until}
		m, acts := New(Config{Node: "n1", Incarnation: "b", Timing: d.m.cfg.Timing, Priority: 100}, next.clock(), d.saved, false)
		next.m = m
		next.perform(acts)
		next.send(Link{Present: true, Up: true})
		next.send(Etcd{Reason: "connection refused"})
		next.run(100 * ms)
		if m.role != tt.want || (next.until > next.now) != (tt.want == Claimant) {
			t.Errorf("%v later: role %v, the address until %v", tt.after, m.role, next.until)
		}
	}
}

// Claims are refused where the election or an operator has spoken.
func TestClaimRefusedByTheMachine(t *testing.T) {
	for name, tt := range map[string]struct {
		before Event
		want   string
	}{
		"another's record": {Observed{Value: record("n2", 3*sec, 4500*ms).encode()}, "n2 has the record"},
		"drained":          {SetDrained{On: true}, "takes no part"},
		"going down":       {Shutdown{On: true}, "takes no part"},
	} {
		d := newDriver(t, testConfig(), nil)
		d.send(Link{Present: true, Up: true})
		d.send(tt.before)
		d.take()
		d.send(Claim{Token: 1, For: sec, Looked: d.now})
		d.run(sec)
		if got := fmt.Sprint(d.take()); !strings.Contains(got, "done: error") || !strings.Contains(got, tt.want) || d.until != 0 {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Where there is no record somebody may hold the address by a claim that this
// etcd knows nothing of.
func TestAbsentRecordIsTakenOnlyIfNobodyAnswers(t *testing.T) {
	d := newDriver(t, testConfig(), nil)
	d.answers = true
	d.up()
	d.run(15 * sec)
	if d.etcd != "" || d.until != 0 {
		t.Fatalf("took the address from somebody: %q", d.etcd)
	}
	if n := count(d.take(), "warn: etcd has no record, and 02:00:00:00:00:99 answers"); n != 1 {
		t.Errorf("said %d times who has it, want once", n)
	}
	d.answers = false
	d.run(3500 * ms) // half of takeover to the next look, and the look
	if d.m.role != Holder {
		t.Errorf("role %v after the other one went away, want holder", d.m.role)
	}
}

// A look that could not be made proves nothing, and is made again.
func TestProbeThatFails(t *testing.T) {
	d := newDriver(t, testConfig(), nil)
	d.failProbe = true
	d.up()
	d.run(10 * sec)
	if d.etcd != "" {
		t.Fatal("took the address without a look at the wire")
	}
	d.failProbe = false
	d.run(sec)
	if d.m.role != Holder {
		t.Errorf("role %v, want holder", d.m.role)
	}
}

// Who was frozen for longer than the address lives may come back to a wire on
// which somebody else has looked, found it silent, and claimed.
func TestClaimEndsWithItsAddress(t *testing.T) {
	d := claiming(t)
	d.now += 5 * sec
	d.until = 0
	d.send(Tick{})
	d.run(sec)
	if !strings.Contains(fmt.Sprint(d.acts), "the address was off the link for too long") {
		t.Errorf("no reason: %v", d.acts)
	}
	want := []string{"erase", "claimant -> waiting", "clear"}
	if diff := cmp.Diff(want, steps(d.take())); diff != "" || d.until != 0 {
		t.Errorf("the address lives until %v, (-want +got)\n%s", d.until, diff)
	}
}

// A look at the wire says nothing of what came after it.
func TestOldLookIsNone(t *testing.T) {
	d := newDriver(t, testConfig(), nil)
	d.send(Link{Present: true, Up: true})
	d.run(20 * ms)
	d.send(Claim{Token: 1, For: 10 * sec, Looked: d.now - claimGap})
	d.run(sec)
	if got := d.take(); count(got, "done: error: nothing is claimed, and nobody has just looked") != 1 || d.until != 0 {
		t.Errorf("%q", got)
	}
}
