package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
)

func TestBeforeEtcdWasAsked(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n1.lock.run = func(ctx context.Context, _ func(etcd.Event)) error { <-ctx.Done(); return nil }
		n1.start()
		b.pass(time.Millisecond)
		d := n1.document()
		if d.Etcd.State != status.EtcdUnknown || masterOf(d, "n1").Etcd != status.MemberUnknown {
			t.Errorf("etcd %s, own member %s", d.Etcd.State, masterOf(d, "n1").Etcd)
		}
		if m := masterOf(d, "n2"); m.LastSeenMS != nil || m.Role != status.RoleUnknown {
			t.Errorf("n2 is %+v", m)
		}
	})
}

func TestEtcdStates(t *testing.T) {
	const here, there = "http://127.0.0.1:2379", "http://198.51.100.163:2379"
	tests := map[string]struct {
		told    etcd.Status
		state   status.EtcdState
		member  status.Member
		answers bool
	}{
		"ready":                      {etcd.Status{State: etcd.Ready, Local: true, Via: here}, status.EtcdReady, status.MemberFollower, true},
		"the leader":                 {etcd.Status{State: etcd.Ready, Local: true, Via: here, IsLeader: true}, status.EtcdReady, status.MemberLeader, true},
		"no files":                   {etcd.Status{State: etcd.NotConfigured}, status.EtcdNotConfigured, status.MemberNone, false},
		"down":                       {etcd.Status{State: etcd.Unreachable}, status.EtcdUnreachable, status.MemberUnreachable, false},
		"down, another serves":       {etcd.Status{State: etcd.Unreachable, Via: there}, status.EtcdUnreachable, status.MemberUnreachable, true},
		"no leader":                  {etcd.Status{State: etcd.NoLeader}, status.EtcdNoQuorum, status.MemberNoQuorum, false},
		"no leader, the watch lasts": {etcd.Status{State: etcd.NoLeader, Local: true, Via: here}, status.EtcdNoQuorum, status.MemberNoQuorum, false},
		"a learner":                  {etcd.Status{State: etcd.Learner, Learner: true}, status.EtcdLearner, status.MemberLearner, false},
		"denied":                     {etcd.Status{State: etcd.Denied}, status.EtcdDenied, status.MemberUnknown, false},
		"full":                       {etcd.Status{State: etcd.Alarmed, Local: true, Via: here, Alarms: []string{"NOSPACE on n2"}}, status.EtcdReady, status.MemberFollower, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := &loop{etcdNow: test.told, asked: true, answered: time.Second}
			e := l.etcdFacts(3 * time.Second)
			if e.State != test.state || l.memberState() != test.member || l.etcdAnswers() != test.answers {
				t.Errorf("%s, %s, answers: %v", e.State, l.memberState(), l.etcdAnswers())
			}
			if (e.SilentMS == nil) != test.answers || e.SilentMS != nil && *e.SilentMS != 2000 {
				t.Errorf("silent for %v", e.SilentMS)
			}
			if e.Elsewhere != (test.told.Via == there) || !cmp.Equal(e.Alarms, test.told.Alarms) {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestEtcdMembers(t *testing.T) {
	l := &loop{asked: true, etcdNow: etcd.Status{State: etcd.Ready, Members: []etcd.Member{
		{ID: 1, Name: "n1", ClientURLs: []string{"https://198.51.100.162:2379"}}, {ID: 9, Learner: true},
	}}}
	e := l.etcdFacts(0)
	want := []status.EtcdMember{{Name: "n1", ClientURLs: []string{"https://198.51.100.162:2379"}}, {ClientURLs: []string{}, Learner: true}}
	if diff := cmp.Diff(want, e.List); diff != "" || e.Members != 1 {
		t.Errorf("%d voting members, list (-want +got):\n%s", e.Members, diff)
	}
}

// While etcd is silent the document says what is remembered, and no more.
func TestDocumentWhileEtcdIsSilent(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.shell("n1").start()
		n2 := b.shell("n2").start()
		b.until(first + 3*renewal + 100*time.Millisecond)
		b.silence("n2", etcd.Status{State: etcd.Unreachable, Reason: "connection refused", Members: ready(false).Members})
		b.pass(2 * time.Second)
		d := n2.document()
		h := d.Holder
		if h == nil || h.Node != "n1" || h.Confirmed || !h.LastKnown || h.AgeMS != 2100 || *h.RightLeftMS != 900 {
			t.Errorf("holder %+v", h)
		}
		if d.Record.State != status.RecordUnknown || d.Record.Node != "n1" || *d.Record.UnchangedMS != 2100 || d.Verdict != status.Degraded {
			t.Errorf("record %+v, verdict %s", d.Record, d.Verdict)
		}
		m := masterOf(d, "n1")
		if m.Present || m.Says != status.RoleHolder || m.LastSeenMS == nil || m.APIServer != status.APIUnknown {
			t.Errorf("n1 is %+v", m)
		}
		b.pass(time.Minute)
		d = n2.document()
		if d.Verdict != status.Unknown || *d.Etcd.SilentMS < 60000 || *masterOf(d, "n1").LastSeenMS != *d.Etcd.SilentMS {
			t.Errorf("%s, silent for %d ms, n1 last seen %d ms ago", d.Verdict, *d.Etcd.SilentMS, *masterOf(d, "n1").LastSeenMS)
		}
	})
}

func TestRoster(t *testing.T) {
	value := func(node, role string) string {
		return presence{Peer: election.Peer{Node: node, Role: role}, Version: "1.2.3"}.encode()
	}
	var r roster
	peers := r.update(map[string]string{
		"n1": value("n1", "holder"), "n2": value("n2", "candidate"),
		"n3": "{", "n4": value("n1", "holder"), "n5": "", // nonsense, somebody else's name, nothing
	}, time.Second, time.Second)
	if got := fmt.Sprint(peers); len(peers) != 2 || peers[0].Node != "n1" || peers[1].Node != "n2" {
		t.Errorf("peers %s", got)
	}
	r.update(map[string]string{"n1": value("n1", "holder"), "n2": value("n2", "waiting")}, 5*time.Second, 5*time.Second)
	want := map[string]time.Duration{"n1": time.Second, "n2": 5 * time.Second}
	if diff := cmp.Diff(want, r.changed); diff != "" {
		t.Errorf("changed at (-want +got):\n%s", diff)
	}
	// After an hour without etcd n2 is not there: it was last seen an hour ago.
	r.update(map[string]string{"n1": value("n1", "holder")}, 3605*time.Second, 6*time.Second)
	if got := r.last["n2"]; got.at != 6*time.Second || got.Version != "1.2.3" || got.Role != "waiting" {
		t.Errorf("n2 was last seen as %+v", got)
	}
	if _, here := r.now["n2"]; here || r.last["n1"].at != 6*time.Second {
		t.Errorf("now %v, last %v", r.now, r.last)
	}
}

func TestLastSure(t *testing.T) {
	l := &loop{answered: 10 * time.Second}
	for now, want := range map[time.Duration]time.Duration{
		11 * time.Second: 11 * time.Second, // status calls are two seconds apart
		14 * time.Second: 14 * time.Second,
		time.Hour:        10 * time.Second,
	} {
		if got := l.lastSure(now); got != want {
			t.Errorf("at %v: %v, want %v", now, got, want)
		}
	}
}

func TestTwinsAndStrangers(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.pass(time.Second)
		tell := func(values map[string]string) []string {
			n1.l.box.put(etcd.Nodes{Values: values})
			b.pass(time.Millisecond)
			return n1.document().Warnings
		}
		if w := tell(map[string]string{"n1": n1.nodes["n1"]}); len(w) != 0 {
			t.Errorf("warnings %q", w)
		}
		before := strings.Replace(n1.nodes["n1"], n1.l.process, "another process", 1)
		if w := tell(map[string]string{"n1": before}); len(w) != 0 {
			t.Errorf("its own former process: %q", w)
		}
		twin := strings.Replace(before, "198.51.100.162", "198.51.100.199", 1)
		if w := tell(map[string]string{"n1": twin}); len(w) != 1 || !strings.Contains(w[0], "the node at 198.51.100.199 has the name n1 too") {
			t.Errorf("a twin: %q", w)
		}
		stranger := presence{Peer: election.Peer{Node: "n9"}}.encode()
		if w := tell(map[string]string{"n9": stranger}); len(w) != 1 || !strings.HasPrefix(w[0], "n9 takes part and is not in [masters]") {
			t.Errorf("a stranger: %q", w)
		}
	})
}

func TestLastMove(t *testing.T) {
	if lastMove(election.Record{}) != nil {
		t.Error("a move out of nothing")
	}
	tests := map[string]struct {
		move    election.Move
		gap     int64 // -1: not known
		planned bool
	}{
		"a crash":                   {election.Move{From: "n1", To: "n2", LostMS: 1000, AtMS: 5500, Reason: "n1 stopped renewing", Chosen: "n2 ranked first"}, 4500, false},
		"a handover":                {election.Move{From: "n1", To: "n2", LostMS: 1000, AtMS: 1004, Reason: "handover by an operator"}, 4, true},
		"a drain":                   {election.Move{From: "n1", To: "n2", LostMS: 1000, AtMS: 1004, Reason: "n1 is drained"}, 4, true},
		"a stop":                    {election.Move{From: "n1", To: "n2", LostMS: 1000, AtMS: 1004, Reason: "havipd on n1 stops"}, 4, true},
		"a free record":             {election.Move{From: "n1", LostMS: 1000, AtMS: 1000, Reason: "released by an operator"}, -1, true},
		"taken after it was free":   {election.Move{From: "n1", To: "n2", LostMS: 1000, AtMS: 1500, Reason: "the record was free: havipd on n1 stops"}, 500, true},
		"the first one ever":        {election.Move{To: "n1", AtMS: 1500, Reason: "there was no record"}, -1, false},
		"clocks that do not agree":  {election.Move{From: "n1", To: "n2", LostMS: 9000, AtMS: 1500, Reason: "API server of n1: hangs"}, -1, false},
		"a sick node's API server":  {election.Move{From: "n1", To: "n2", LostMS: 1000, AtMS: 1004, Reason: "API server of n1: no answer"}, 4, false},
		"its own after a restart":   {election.Move{From: "n1", To: "n1", LostMS: 1000, AtMS: 3000, Reason: "its own record again, after a restart"}, 2000, false},
		"a link that went":          {election.Move{From: "n1", To: "n2", LostMS: 1000, AtMS: 1004, Reason: "link of n1: no carrier on eth0"}, 4, false},
		"a member that was stopped": {election.Move{From: "n1", To: "n2", LostMS: 1000, AtMS: 1004, Reason: "etcd member of n1: connection refused"}, 4, false},
	}
	for name, test := range tests {
		m := lastMove(election.Record{Move: &test.move})
		gap := int64(-1)
		if m.GapMS != nil {
			gap = *m.GapMS
		}
		if gap != test.gap || m.Planned != test.planned || m.From != test.move.From || m.To != test.move.To || m.Chosen != test.move.Chosen || m.At.UnixMilli() != test.move.AtMS {
			t.Errorf("%s: %+v, gap %d", name, m, gap)
		}
	}
}

func TestRetimeAndItsWarnings(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.pass(time.Second)
		replace(t, n1.l.cfg.Etcd.Manifest, []byte(`apiVersion: v1
kind: Pod
spec:
  containers:
  - name: etcd
    command: [etcd, --election-timeout=5000, --heartbeat-interval=500]
`))
		b.pass(timersEvery)
		d := n1.document()
		want := election.DeriveTiming(5 * time.Second)
		if d.Timing.HoldMS != want.Hold.Milliseconds() || d.Timing.TakeoverMS != want.Takeover.Milliseconds() {
			t.Errorf("timing %+v, want %+v", d.Timing, want)
		}
		if len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "heartbeat") {
			t.Errorf("warnings %q", d.Warnings)
		}
		replace(t, n1.l.cfg.Etcd.Manifest, []byte(`half wri`)) // the old timing stays
		b.pass(timersEvery)
		if again := n1.document(); !cmp.Equal(again.Timing, d.Timing) {
			t.Errorf("timing %+v of half a file", again.Timing)
		}
		n1.l.box.put(timersNote{err: errors.New("does not fit")})
		b.pass(time.Millisecond)
		if w := n1.document().Warnings; !cmp.Equal(w, []string{"does not fit"}) {
			t.Errorf("warnings %q", w)
		}
		n1.l.box.put(timersNote{warnings: []configs.Warning{}})
		b.pass(time.Millisecond)
		if w := n1.document().Warnings; len(w) != 0 {
			t.Errorf("warnings %q", w)
		}
	})
}

func TestAskAMember(t *testing.T) {
	// A documentation address is nobody's: silence, or a router that says so.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if m, why := dialMember(ctx, "127.0.0.1"); m != status.MemberUnreachable || why == "" {
		t.Errorf("%s, %q", m, why)
	}
	l, err := net.Listen("tcp", "127.0.0.53:"+memberPort)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if m, why := dialMember(t.Context(), "127.0.0.53"); m != status.MemberUnknown || !strings.HasPrefix(why, "accepts connections") {
		t.Errorf("%s, %q", m, why)
	}
	l.Close()
	if m, why := dialMember(t.Context(), "127.0.0.53"); m != status.MemberUnreachable || why != "connection refused" {
		t.Errorf("%s, %q", m, why)
	}
}

// TestWhatAMemberSays: a master that says nothing itself is judged by its etcd member,
// asked where that is reached.
func TestWhatAMemberSays(t *testing.T) {
	n2 := configs.Master{Name: "n2", Address: netip.MustParseAddr("203.0.113.2")}
	cfg := &configs.Config{Masters: []configs.Master{n2}}
	cfg.Etcd.Endpoint = "https://127.0.0.1:2379"
	cfg.Kubeadm.Advertise = map[string]netip.Addr{"n2": netip.MustParseAddr("198.51.100.163")}
	const url = "https://198.51.100.163:2379"
	for name, tc := range map[string]struct {
		says etcd.Listed
		want status.Member
	}{
		"leads":         {etcd.Listed{Member: etcd.Member{Leader: true}, LeaderID: 1}, status.MemberLeader},
		"follows":       {etcd.Listed{LeaderID: 1}, status.MemberFollower},
		"has no vote":   {etcd.Listed{Member: etcd.Member{Learner: true}, LeaderID: 1}, status.MemberLearner},
		"has no leader": {etcd.Listed{}, status.MemberNoQuorum},
		"hangs":         {etcd.Listed{Err: errSilent}, status.MemberUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			tc.says.ClientURLs = []string{url}
			f := &faces{cfg: cfg, cluster: &fakeCluster{list: []etcd.Listed{tc.says}}, ask: func(_ context.Context, host string) (status.Member, string) {
				if host != "198.51.100.163" {
					t.Errorf("asked at %s", host)
				}
				return status.MemberUnknown, "accepts connections"
			}}
			d := status.Document{Masters: []status.Master{{Name: "n2", Address: n2.Address, Etcd: status.MemberUnknown}}}
			f.askMembers(t.Context(), &d)
			well := 0
			if tc.want == status.MemberLeader || tc.want == status.MemberFollower {
				well = 1
			}
			if got := d.Masters[0].Etcd; got != tc.want || d.Etcd.Healthy != well {
				t.Errorf("%s, %d healthy, want %s, %d", got, d.Etcd.Healthy, tc.want, well)
			}
		})
	}
}

func TestEventsAreBounded(t *testing.T) {
	l := &loop{clock: SystemClock()}
	for i := range 3 * eventsKept {
		l.remember(fmt.Sprint(i))
	}
	if len(l.events) != eventsKept || l.events[eventsKept-1].Text != fmt.Sprint(3*eventsKept-1) {
		t.Errorf("%d events, the last %q", len(l.events), l.events[len(l.events)-1].Text)
	}
}
