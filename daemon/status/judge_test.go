package status

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestVerdictAndExitCode(t *testing.T) {
	for name, want := range map[string]struct {
		verdict Verdict
		exit    int
	}{
		"all-well":      {Held, 0},
		"dual-stack":    {Held, 0},
		"drained":       {Held, 0}, // on purpose, and a healthy standby is left
		"one-gone":      {Degraded, 1},
		"daemon-gone":   {Degraded, 1},
		"last-known":    {Degraded, 1}, // the right that was last seen still lasts
		"elsewhere":     {Degraded, 1},
		"two-masters":   {Degraded, 1},
		"single":        {Degraded, 1},
		"api-failing":   {Degraded, 1},
		"nospace":       {Degraded, 1},
		"conflict":      {Degraded, 1},
		"heartbeats":    {Held, 0},
		"silent-port":   {Held, 0}, // it costs speed
		"stray-address": {Degraded, 1},
		"no-quorum":     {Nobody, 4},
		"implausible":   {Nobody, 4},
		"takeover":      {Nobody, 4},
		"all-drained":   {Nobody, 4},
		"partitioned":   {Unknown, 4},
		"etcd-down":     {Unknown, 4},
		"bootstrapping": {Unknown, 4},
		"unconfigured":  {Unconfigured, 4},
	} {
		scenario, ok := scenarios[name]
		if !ok {
			t.Errorf("no scenario %s", name)
			continue
		}
		d := scenario()
		Judge(d)
		if d.Verdict != want.verdict || ExitCode(d) != want.exit {
			t.Errorf("%s: %s, exit %d; want %s, exit %d", name, d.Verdict, ExitCode(d), want.verdict, want.exit)
		}
		if held := want.exit < 4; d.IsHeld() != held {
			t.Errorf("%s: IsHeld %v", name, d.IsHeld())
		}
	}
}

// TestProblems changes one thing at a time in a healthy cluster.
func TestProblems(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(d *Document)
		want   []string
	}{
		"nothing":           {func(d *Document) {}, nil},
		"another node asks": {seenByHolder, nil},
		"never seen": {func(d *Document) {
			loseN1(d)
			d.Masters[0].LastSeenMS = nil
		}, []string{"n1 was never seen"}},
		"gone, etcd counts it still": {func(d *Document) {
			daemonGone(d)
		}, []string{"havipd on n1 is not heard, though its etcd member runs"}},
		"a member nobody explains": {func(d *Document) {
			d.Etcd.Healthy = 2
		}, []string{"etcd has 2 of 3 members"}},
		"both standbys gone": {func(d *Document) {
			seenByHolder(d)
			loseN1(d)
			d.Masters[2] = d.Masters[0]
			d.Masters[2].Name = "n3"
			d.Etcd.Healthy = 2
		}, []string{"no standby: nobody could take over", "n1 is gone", "n3 is gone"}},
		"a candidate that waits": {func(d *Document) {
			d.Masters[0].Says, d.Masters[0].EtcdDetail = RoleWaiting, "still a learner"
		}, []string{"n1 waits for its etcd member: still a learner"}},
		"a candidate that has only begun": {func(d *Document) {
			d.Masters[0].Healthy, d.Masters[0].APIServer = false, APIReady
		}, []string{"n1 is not healthy yet"}},
		"readiness unknown counts as healthy": {func(d *Document) {
			d.Masters[0].APIServer = APIAlive
		}, nil},
		"the holder is sick": {func(d *Document) {
			d.Masters[1].Healthy, d.Masters[1].APIServer, d.Masters[1].APIServerDetail = false, APIFailing, "refused"
		}, []string{"the API server of n2 fails: refused"}},
		"the address is missing": {func(d *Document) {
			seenByHolder(d)
			d.Address.States[0].Present = false
		}, []string{"198.51.100.166 is not on eth0 of n2, though n2 holds it"}},
		"the link is down": {func(d *Document) {
			seenByHolder(d)
			d.Address.LinkReason = "no carrier"
		}, []string{"eth0 of n2: no carrier"}},
		"the link of a standby is down": {func(d *Document) {
			d.Address.LinkReason = "no carrier"
		}, nil},
		"a leftover that runs out": {func(d *Document) {
			d.Address.States[0].Present, d.Address.States[0].LifetimeLeftMS = true, ms(900)
		}, []string{"198.51.100.166 is on eth0 of n3, which does not hold it"}},
		"releasing still has the address": {func(d *Document) {
			d.Address.States[0].Present, d.Self.Role = true, RoleReleasing
		}, nil},
		"an old conflict": {func(d *Document) {
			conflict(d)
			d.Address.Conflicts[0].AgoMS = (11 * time.Minute).Milliseconds()
		}, nil},
		"every standby drained": {func(d *Document) {
			seenByHolder(d)
			d.Masters[0].Says, d.Masters[2].Says = RoleDrained, RoleDrained
		}, []string{"no standby: nobody could take over"}},
		"the holder on its own right": {func(d *Document) {
			seenByHolder(d)
			d.Etcd.State, d.Etcd.Reason, d.Etcd.SilentMS = EtcdNoQuorum, "", ms(1500)
		}, []string{"the etcd member of n2 has no leader; the VIP is let go when its right ends"}},
	} {
		d := change(tc.change)
		Judge(d)
		want := tc.want
		if want == nil {
			want = []string{}
		}
		if diff := cmp.Diff(want, d.Problems); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got := d.Verdict; (got == Held) != (tc.want == nil) {
			t.Errorf("%s: verdict %s", name, got)
		}
	}
}

// TestNobody checks why, and the one command that the headline shows.
func TestNobody(t *testing.T) {
	free := func(d *Document) {
		nobodyNow(d)
		d.Record = Record{State: RecordFree, TakeoverInMS: ms(200)}
	}
	for name, tc := range map[string]struct {
		change       func(d *Document)
		why, command string
	}{
		"free, a candidate comes": {free, "released by an operator, n1 takes over", "havipctl status --wait 30s"},
		"never held": {func(d *Document) {
			d.Holder, d.LastMove, d.Record = nil, nil, Record{State: RecordAbsent}
		}, "it was never held, n1 takes over", "havipctl status --wait 30s"},
		"released, nobody left": {func(d *Document) {
			free(d)
			d.LastMove = nil
			for i := range d.Masters {
				d.Masters[i].Says = RoleWaiting
			}
			d.Self.Role = RoleWaiting
		}, "it was released, and no candidate is there to take it", "systemctl status havipd kubelet"},
		"the right ran out": {takeover, "n2 stopped renewing, n1 takes over", "havipctl status --wait 30s"},
		"drained":           {allDrained, "havipd on n2 stops, and no master that is left may take it: n1, n2 and n3 are drained", "havipctl undrain"},
		"implausible":       {implausible, "no node obeys the record in etcd: takeover_ms: 3600000, must be 1000 to 60000", "havipctl release"},
		"no space": {func(d *Document) {
			free(d)
			d.Etcd.Alarms = []string{"NOSPACE on n1"}
		}, "etcd refuses writes: NOSPACE on n1", "etcdctl defrag --cluster && etcdctl alarm disarm"},
		"no quorum": {noQuorum, "etcd has no quorum: 2 of 3 members answer without a leader, 2 must see each other", "systemctl start containerd kubelet"},
		"nobody is down, and there is no leader": {func(d *Document) {
			noQuorum(d)
			d.Masters[0].Etcd = MemberNoQuorum
		}, "etcd has no quorum: 3 of 3 members answer without a leader, 2 must see each other", "crictl ps -a --name etcd"},
	} {
		d := change(tc.change)
		Judge(d)
		if d.Verdict != Nobody {
			t.Errorf("%s: %s", name, d.Verdict)
		}
		command := ""
		for _, s := range d.Next {
			if command == "" {
				command = s.Command
			}
		}
		if diff := cmp.Diff([]string{tc.why, tc.command}, []string{d.Reason, command}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRoles(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(d *Document)
		want   string // n1 n2 n3
	}{
		"names decide":                 {func(d *Document) {}, "next, holder, candidate"},
		"priority goes before names":   {func(d *Document) { d.Masters[2].Priority = 101 }, "candidate, holder, next"},
		"health goes before priority":  {func(d *Document) { d.Masters[0].Priority = 900; d.Masters[0].Healthy = false }, "unhealthy, holder, next"},
		"gone":                         {loseN1, "gone, holder, next"},
		"drained":                      {drained, "drained, holder, next"},
		"presence of the holder lags":  {func(d *Document) { d.Masters[1].Says = RoleCandidate }, "next, holder, candidate"},
		"presence lapsed, right lasts": {func(d *Document) { d.Masters[1].Present = false }, "next, holder, candidate"},
		"says holder, is not":          {func(d *Document) { d.Masters[0].Says = RoleHolder }, "releasing, holder, next"},
		"present, says nothing":        {func(d *Document) { d.Masters[0].Says = "" }, "waiting, holder, next"},
		"own role, not what was published": {func(d *Document) {
			d.Self.Role, d.Masters[2].Says = RoleDrained, RoleCandidate
		}, "next, holder, drained"},
		"etcd is silent":   {func(d *Document) { ownEtcdDown(d, 40_000) }, "unknown, unknown, waiting"},
		"its right is out": {takeover, "next, gone, candidate"},
	} {
		d := change(tc.change)
		Judge(d)
		var got []string
		for _, m := range d.Masters {
			got = append(got, string(m.Role))
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRedundancy(t *testing.T) {
	for _, tc := range []struct {
		members, healthy int
		want             string
	}{
		{0, 0, "not known before etcd answers"},
		{1, 1, "1 of 1 member: its failure loses quorum, the API and the VIP"},
		{2, 2, "2 of 2 members: any failure loses quorum, the API and the VIP"},
		{3, 3, "3 of 3 members: any one of them may fail"},
		{3, 2, "2 of 3 members: one more failure loses quorum, the API and the VIP"},
		{3, 1, "1 of 3 members: seen by havip, and etcd has its quorum of 2: others run whose havipd is not heard"},
		{4, 4, "4 of 4 members: any one of them may fail"},
		{5, 5, "5 of 5 members: any 2 of them may fail"},
		{5, 3, "3 of 5 members: one more failure loses quorum, the API and the VIP"},
	} {
		d := change(func(d *Document) { d.Etcd.Members, d.Etcd.Healthy = tc.members, tc.healthy })
		Judge(d)
		if d.Redundancy != tc.want {
			t.Errorf("%d of %d: %q, want %q", tc.healthy, tc.members, d.Redundancy, tc.want)
		}
	}
}

// TestNoQuorumAnywhere: a node may say NOBODY without a quorum only when the
// members it cannot see are too few to have one.
func TestNoQuorumAnywhere(t *testing.T) {
	for _, tc := range []struct {
		members, leaderless int
		want                Verdict
	}{{1, 1, Nobody}, {2, 1, Nobody}, {3, 1, Unknown}, {3, 2, Nobody}, {5, 2, Unknown}, {5, 3, Nobody}, {0, 1, Unknown}} {
		d := change(noQuorum)
		d.Masters = nil
		for range tc.leaderless {
			d.Masters = append(d.Masters, Master{Etcd: MemberNoQuorum})
		}
		d.Etcd.Members = tc.members
		Judge(d)
		if d.Verdict != tc.want {
			t.Errorf("%d of %d without a leader: %s, want %s", tc.leaderless, tc.members, d.Verdict, tc.want)
		}
	}
}

// TestNotReadYet: before the first read of the record nobody is not nobody.
func TestNotReadYet(t *testing.T) {
	d := change(func(d *Document) { d.Holder, d.Record = nil, Record{} })
	Judge(d)
	if diff := cmp.Diff([]string{"UNKNOWN", "n3 has not read the record yet"}, []string{string(d.Verdict), d.Reason}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWarnings(t *testing.T) {
	d := change(func(d *Document) {
		seenByHolder(d)
		d.Holder.RoundTripMS, d.LogDropped, d.Warnings = ms(751), 1, []string{"a fact"}
	})
	Judge(d)
	Judge(d)
	want := []string{"a fact", "renewals are slow: their round trip is above a quarter of hold", "1 log line dropped: journald did not take them in time"}
	if diff := cmp.Diff(want, d.Warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d.Verdict != Held {
		t.Errorf("a warning made it %s", d.Verdict)
	}
	long := change(func(d *Document) { // with heartbeats in force
		seenByHolder(d)
		d.Holder.RoundTripMS, d.Record.HoldMS = ms(751), 13_400
	})
	Judge(long)
	if diff := cmp.Diff(want[1:2], long.Warnings); diff != "" {
		t.Errorf("with a long hold (-want +got):\n%s", diff)
	}
}

// TestMemoryIsMarked: a daemon that forgot to say so does not make a memory a fact.
func TestMemoryIsMarked(t *testing.T) {
	d := change(func(d *Document) {
		d.Etcd.State, d.Etcd.SilentMS = EtcdUnreachable, ms(60_000)
		d.Holder.RightLeftMS = nil
	})
	Judge(d)
	if d.Verdict != Unknown || !d.Holder.LastKnown || d.Holder.Confirmed || d.Holder.AgeMS != 60_000 {
		t.Errorf("%s, holder %+v", d.Verdict, d.Holder)
	}
}

// TestJudgeTwice: judging again, also after a trip through JSON, changes nothing.
func TestJudgeTwice(t *testing.T) {
	for name, scenario := range scenarios {
		d := scenario()
		Judge(d)
		first, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again := &Document{}
		if err := json.Unmarshal(first, again); err != nil {
			t.Fatal(err)
		}
		Judge(again)
		second, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first), string(second)); diff != "" {
			t.Errorf("%s (-once +twice):\n%s", name, diff)
		}
		if strings.Contains(string(first), ":null") {
			t.Errorf("%s: a null in %s", name, first)
		}
	}
}

func TestDigest(t *testing.T) {
	digest := func(f func(d *Document)) string {
		d := change(f)
		Judge(d)
		return d.Digest()
	}
	plain := digest(func(d *Document) {})
	older := digest(func(d *Document) {
		d.Time = d.Time.Add(time.Second)
		d.Holder.RenewedAgoMS, d.Holder.RightLeftMS, d.Masters[0].LastSeenMS = ms(50), ms(2950), ms(10)
	})
	if diff := cmp.Diff(plain, older); diff != "" {
		t.Errorf("a second later (-before +after):\n%s", diff)
	}
	for name, f := range map[string]func(d *Document){"one gone": loseN1, "drained": drained, "slow": func(d *Document) { d.Holder.RoundTripMS = ms(2000) },
		"moved": func(d *Document) { d.LastMove.At = at0316 }, "own pending": func(d *Document) { d.Self.Pending = "handover to n2" }} {
		if digest(f) == plain {
			t.Errorf("%s: the digest is the same", name)
		}
	}
}

// TestGoneWithQuorum: where etcd has a quorum without those that are seen, a master
// that is gone is not lost: nobody is told to put another in its place.
func TestGoneWithQuorum(t *testing.T) {
	d := change(func(d *Document) {
		d.Etcd.Members, d.Etcd.Healthy = 3, 1
		for i := range d.Masters {
			if m := &d.Masters[i]; !m.Self {
				m.Present, m.Etcd = false, MemberUnreachable
			}
		}
	})
	Judge(d)
	for _, s := range d.Next {
		if strings.Contains(s.Command, "--replace") {
			t.Errorf("next %+v, though etcd has a quorum", s)
		}
	}
}
