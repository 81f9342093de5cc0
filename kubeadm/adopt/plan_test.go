package adopt

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
	"havip/kubeadm"
)

// standby is a master in order, whose keepalived does not have the VIP.
func standby() Facts {
	return Facts{
		Root: true, Endpoint: Endpoint{Host: "198.51.100.166", Port: 6443}, Member: true,
		Keepers: []Keeper{{Kind: Keepalived, Path: keepalivedPath, Addresses: []netip.Addr{vip4}, Running: true}},
		Masters: []configs.Master{{Name: "n1"}, {Name: "n2"}, {Name: "n3"}}, Self: configs.Master{Name: "n2"},
		ConfigPath: "/etc/havip/havip.toml",
	}
}

// holder is the one that has it; the other two are at these stages.
func holder(n2, n3 string) Facts {
	f := standby()
	f.Self, f.Here = configs.Master{Name: "n1"}, true
	f.Daemon = Standing{Runs: true, Known: true, Stage: stageReady, Members: 3, Masters: []Master{
		{Name: "n2", Present: true, Stage: n2, Drained: n2 != stageOver}, {Name: "n3", Present: true, Stage: n3, Drained: n3 != stageOver}}}
	return f
}

// with adds a journal.
func (f Facts) with(change func(*Journal), steps ...string) Facts {
	f.Journal = &Journal{Node: f.Self.Name, Keeper: f.Keepers[0], Holder: f.Here, Steps: steps}
	if change != nil {
		change(f.Journal)
	}
	return f
}

func touched(j *Journal) { j.Touched = true }

func names(p Plan) string {
	var list []string
	for _, s := range p.Steps {
		list = append(list, s.Name)
	}
	return strings.Join(list, " ")
}

func TestBegin(t *testing.T) {
	const ready, off = "prepare write-config start-havipd await-ready", " stop-keeper await-gone"
	kept := standby()
	kept.ConfigKept = true
	moved := standby() // away, after its keeper had been stopped as the holder's
	for _, tt := range []struct {
		name    string
		f       Facts
		without []string
		steps   string
		then    string
	}{
		{"a standby", standby(), nil, ready + off + " wait", "the one that has the VIP last"},
		{"its file is there", kept, nil, "prepare start-havipd await-ready" + off + " wait", "the one that has the VIP last"},
		{"the holder first", holder("", ""), nil, ready, "First, on n2, n3"},
		{"the holder second", holder(stageWait, stageReady), nil, ready, "First, on n3"},
		{"the holder last", holder(stageWait, stageWait), nil, ready + " take await-holder" + off + " over", "is done"},
		{"one is off for good", holder(stageWait, ""), []string{"n3"}, ready + " take await-holder" + off + " over", "is done"},
		{"cut off while it took", holder("", "").with(nil, doTake), nil, ready + " take await-holder" + off + " over", "is done"},
		{"the holder, cut off later", moved.with(func(j *Journal) { j.Touched, j.Holder = true, true }, doTake, doHolder), nil,
			ready + " take await-holder" + off + " over", "is done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Begin(tt.f, tt.without)
			if got := names(p); got != tt.steps || !strings.Contains(p.Then, tt.then) {
				t.Errorf("steps %q, then %q\nwant  %q, %q", got, p.Then, tt.steps, tt.then)
			}
		})
	}
}

// TestOrder: the standbys' keepers go before the holder's, and the holder's only
// when havipd has the VIP there.
func TestOrder(t *testing.T) {
	p := names(Begin(holder(stageWait, stageWait), nil))
	for _, pair := range [][2]string{{doReady, doTake}, {doTake, doHolder}, {doHolder, doOff}, {doOff, doGone}, {doGone, doOver}} {
		if strings.Index(p, pair[0]) > strings.Index(p, pair[1]) {
			t.Errorf("%s comes after %s in %q", pair[0], pair[1], p)
		}
	}
	for _, stage := range []string{stageOver, stageReady, stageTake, stageBack} {
		if p := names(Begin(holder(stageWait, stage), nil)); strings.Contains(p, doTake) || strings.Contains(p, doOff) {
			t.Errorf("with n3 at %q the holder does %q", stage, p)
		}
	}
}

func TestUndo(t *testing.T) {
	begun := standby()
	begun.Daemon = Standing{Runs: true, Known: true, Stage: stageReady}
	waiting := standby()
	waiting.Daemon = Standing{Runs: true, Known: true, Stage: stageWait}
	free := func(n1, n3 string) Facts { // a standby, and nobody has the record
		f := waiting
		f.Daemon.Stage = stageOver
		f.Daemon.Masters = []Master{
			{Name: "n1", Present: n1 != "gone", Stage: n1, Drained: n1 != stageOver}, {Name: "n3", Present: n3 != "gone", Stage: n3, Drained: n3 != stageOver}}
		return f
	}
	dead := free("gone", stageOver)
	dead.Daemon.Record = "n1"
	lost := free(stageBack, stageOver)
	lost.Masters, lost.Self, lost.MastersNo = nil, configs.Master{}, "no kubectl"
	taken := waiting
	taken.Daemon.Record, taken.Daemon.Stage = "n1", stageOver
	havip := holder("", "")
	havip.Daemon.Holder, havip.Daemon.Record, havip.Daemon.Stage = true, "n1", stageOver
	six := havip
	six.Keepers = []Keeper{{Kind: Keepalived, Addresses: []netip.Addr{vip4, vip6}}}
	taking := havip
	taking.Daemon.Stage = stageTake
	for _, tt := range []struct {
		name    string
		f       Facts
		without []string
		steps   string
		then    string
	}{
		{"nothing begun", standby(), nil, "", ""},
		{"ready", begun.with(nil), nil, "stop-havipd forget restore-files", "as it was"},
		{"the holder took, its keeper runs", holder(stageWait, stageWait).with(nil, doTake), nil, "stop-havipd start-keeper forget restore-files", "as it was"},
		{"waits", waiting.with(touched), nil, "stop-havipd start-keeper forget restore-files", "then the same on the other masters"},
		{"done, n1 has the VIP", taken.with(touched), nil, "keep-back", "on n1: havipctl adopt --undo"},
		{"done, n1 had it and is dead", taken.with(touched), []string{"n1"}, "stop-havipd start-keeper forget restore-files", "as it was"},
		{"done, n1 had it and is dead, n3 would take it", dead.with(touched), []string{"n1"}, "keep-back", "on n3: havipctl adopt --undo"},
		{"done, nobody has it, n3 would take it", free(stageBack, stageOver).with(touched), nil, "keep-back", "on n3: havipctl adopt --undo"},
		{"done, nobody has it, n3 would take it, and the file is gone", lost.with(touched), nil, "keep-back", "on n3: havipctl adopt --undo"},
		{"done, nobody has it, or would take it", free("gone", stageBack).with(touched), nil, "stop-havipd start-keeper forget restore-files", "as it was"},
		{"done, nobody has it, n3 is off for good", free("gone", stageOver).with(touched), []string{"n3"}, "stop-havipd start-keeper forget restore-files", "as it was"},
		{"done, and it has the VIP", havip.with(touched), nil, "give start-keeper await-keeper stop-havipd forget restore-files", "as it was"},
		{"the same with IPv6", six.with(touched), nil, "stop-havipd start-keeper forget restore-files", "as it was"},
		{"the holder took, and its keeper is off", taking.with(touched, doTake), nil, "stop-havipd start-keeper forget restore-files", "as it was"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Undo(tt.f, tt.without)
			if got := names(p); got != tt.steps || !strings.Contains(p.Then, tt.then) {
				t.Errorf("steps %q, then %q\nwant  %q, %q", got, p.Then, tt.steps, tt.then)
			}
		})
	}
}

func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Facts)
		want   []string // of what blocks
	}{
		{"in order", func(*Facts) {}, nil},
		{"not root", func(f *Facts) { f.Root = false }, []string{"user: a migration needs root"}},
		{"no cluster", func(f *Facts) { f.Endpoint = Endpoint{Error: "no"}; f.Keepers = nil }, []string{"endpoint: no"}},
		{"external etcd", func(f *Facts) { f.Member = false }, []string{"etcd: this node has no etcd member (no etcd.yaml among the static pods)"}},
		{"nothing holds it", func(f *Facts) { f.Keepers = nil }, []string{"keeper: neither keepalived nor a kube-vip that holds [] is found here"}},
		{"two hold it", func(f *Facts) { f.Keepers = append(f.Keepers, Keeper{Kind: KubeVIP, Path: "x", Running: true}) },
			[]string{"keeper: there are two: keepalived by /etc/keepalived/keepalived.conf and kube-vip by x"}},
		{"it does not run", func(f *Facts) { f.Keepers[0].Running = false }, []string{"keepalived by /etc/keepalived/keepalived.conf: it does not run"}},
		{"it was stopped by an earlier run", func(f *Facts) { *f = f.with(touched); f.Keepers = nil }, nil},
		{"it does more", func(f *Facts) { f.Keepers[0].Problems = []string{"more"} }, []string{"keepalived by /etc/keepalived/keepalived.conf: more"}},
		{"nobody answers", func(f *Facts) { f.Silent = "refused" }, []string{"endpoint: nobody answers there: refused"}},
		{"its certificate is for others", func(f *Facts) { f.Unnamed = "no SAN" }, []string{"certificate: of the API server on this node: no SAN"}},
		{"no masters", func(f *Facts) { f.MastersNo = "no kubectl" }, []string{"masters: no kubectl"}},
		{"another file", func(f *Facts) { f.ConfigNo = "another VIP" }, []string{"/etc/havip/havip.toml: another VIP"}},
		{"not among the masters", func(f *Facts) { f.SelfNo = "not there" }, []string{"masters: not there"}},
		{"a member more", func(f *Facts) { f.Daemon.Members = 4 }, []string{"masters: etcd has 4 members, and [masters] names 3"}},
		{"havipd runs", func(f *Facts) { f.Daemon.Runs = true }, []string{"havipd: it runs already, without a migration"}},
		{"on the way back", func(f *Facts) { *f = f.with(touched); f.Daemon.Stage = stageBack }, []string{"havipd: this node is on the way back"}},
		{"cut off on the way back", func(f *Facts) { *f = f.with(func(j *Journal) { j.Stopping = true }) }, []string{"havipd: this node is on the way back"}},
		{"Services beside", func(f *Facts) { f.Others = []string{"a kube-vip"} }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := standby()
			tt.change(&f)
			if diff := cmp.Diff(tt.want, blocked(Guard(f))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestGuardUndo(t *testing.T) {
	havip := func(n2, n3 string) Facts {
		f := holder(n2, n3)
		f.Daemon.Holder, f.Daemon.Record, f.Daemon.Stage = true, "n1", stageOver
		return f.with(touched)
	}
	gone := havip(stageBack, stageBack)
	gone.Daemon.Masters = gone.Daemon.Masters[:1]
	drained := havip(stageBack, stageOver)
	drained.Daemon.Masters[1].Drained = true
	spoiled := havip(stageOver, stageBack) // havip.toml, since havipd has read it
	spoiled.Masters, spoiled.Self, spoiled.ConfigNo = nil, configs.Master{}, "line 3"
	blind := standby().with(touched)
	blind.Daemon.Runs = true
	for _, tt := range []struct {
		name    string
		f       Facts
		without []string
		want    []string
	}{
		{"nothing begun", standby(), nil, nil},
		{"the keeper was never touched, and havipd is dead", standby().with(nil), nil, nil},
		{"havipd is dead", standby().with(touched), nil, []string{"havipd: it does not run, so who has the VIP is not known"}},
		{"havipd was stopped by this", standby().with(func(j *Journal) { j.Touched, j.Stopping = true, true }), nil, nil},
		{"took, and havipd is dead", standby().with(nil, doTake), nil, []string{"havipd: it does not run, so who has the VIP is not known"}},
		{"etcd is gone", blind, nil, []string{"etcd: it does not answer here, so who has the VIP is not known"}},
		{"the holder, others take part", havip("", stageBack), nil, []string{"n2: it would take the VIP as soon as it is let go here"}},
		{"the holder, one is gone", gone, nil, []string{"n3: it would take the VIP as soon as it is let go here"}},
		{"the holder, one is off for good", gone, []string{"n3"}, nil},
		{"the holder, one is drained by an operator", drained, nil, []string{"n3: it would take the VIP as soon as it is let go here"}},
		{"the holder, others take part, and the file is spoiled", spoiled, nil, []string{"n2: it would take the VIP as soon as it is let go here"}},
		{"the holder, all kept back", havip(stageBack, stageWait), nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, blocked(GuardUndo(tt.f, tt.without))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func blocked(all []kubeadm.Finding) []string {
	var list []string
	for _, f := range kubeadm.Blocking(all) {
		list = append(list, f.String())
	}
	return list
}
