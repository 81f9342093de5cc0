package status

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// screens are what a watcher has before it, each with a golden page.
var screens = map[string]struct {
	picture       func() Picture
	width, height int
}{
	"holder":       {func() Picture { return shot("all-well", 0) }, 80, 24},
	"between":      {func() Picture { return shot("all-well", 700*time.Millisecond) }, 80, 24},
	"candidate":    {func() Picture { return shot("takeover", 0) }, 100, 40},
	"trouble":      {func() Picture { return marked(shot("one-gone", 0), "verdict", "master n1", "move") }, 100, 30},
	"small":        {func() Picture { return marked(shot("one-gone", 0), "master n1") }, 70, 9},
	"tiny":         {func() Picture { return shot("one-gone", 0) }, 40, 3},
	"nobody":       {func() Picture { return shot("no-quorum", 0) }, 80, 24},
	"unconfigured": {func() Picture { return shot("unconfigured", 0) }, 80, 24},
	"dual-stack":   {func() Picture { return shot("dual-stack", 0) }, 80, 24},
	"silent": {func() Picture {
		p := shot("all-well", 12*time.Second)
		p.Silent = "ask the daemon at /run/havip/havipd.sock: no socket there"
		return p
	}, 80, 24},
	"no-history": {func() Picture {
		p := shot("all-well", 0)
		p.History, p.NoHistory = nil, "no such path: /v1/history"
		return p
	}, 80, 24},
}

func shot(scenario string, elapsed time.Duration) Picture {
	d := scenarios[scenario]()
	Judge(d)
	return Picture{Doc: d, Elapsed: elapsed, History: ofMoves(), Changed: map[string]bool{}}
}

func marked(p Picture, about ...string) Picture {
	for _, a := range about {
		p.Changed[a] = true
	}
	return p
}

func TestScreenGolden(t *testing.T) {
	for name, s := range screens {
		t.Run(name, func(t *testing.T) {
			lines := RenderScreen(s.picture(), Options{Loc: cet, Width: s.width}, s.height)
			golden(t, "screen-"+name+".txt", []byte(strings.Join(lines, "\n")+"\n"))
		})
	}
}

// TestScreenFits: no size and no scenario makes a line too long or one too many,
// with colours neither, and the first line is always who has it.
func TestScreenFits(t *testing.T) {
	for name := range scenarios {
		plain := RenderScreen(shot(name, 0), Options{Loc: cet, Width: 100}, 60)
		for _, size := range [][2]int{{1, 1}, {20, 2}, {60, 5}, {80, 12}, {80, 24}, {132, 20}, {200, 60}} {
			for _, colour := range []bool{false, true} {
				lines := RenderScreen(shot(name, 300*time.Millisecond), Options{Loc: cet, Width: size[0], Color: colour}, size[1])
				if len(lines) > size[1] || len(lines) == 0 {
					t.Errorf("%s: %d lines of %d", name, len(lines), size[1])
				}
				for _, line := range lines {
					if n := visible(line); n > size[0] {
						t.Errorf("%s at %v: line of %d columns: %q", name, size, n, line)
					}
					if strings.Contains(line, "\x1b[3") && !strings.Contains(line, "\x1b[0m") {
						t.Errorf("%s at %v: a colour is left on: %q", name, size, line)
					}
				}
				if head, want := stripColour(lines[0]), plain[0]; size[0] >= 60 && !strings.HasPrefix(want, strings.TrimRight(head[:min(20, len(head))], " …")) {
					t.Errorf("%s at %v begins with %q, not as %q", name, size, head, want)
				}
			}
		}
	}
}

// TestScreenColour: colour changes nothing but the colour.
func TestScreenColour(t *testing.T) {
	for name, s := range screens {
		plain := RenderScreen(s.picture(), Options{Loc: cet, Width: s.width}, s.height)
		colour := RenderScreen(s.picture(), Options{Loc: cet, Width: s.width, Color: true}, s.height)
		if diff := cmp.Diff(strings.Join(plain, "\n"), stripColour(strings.Join(colour, "\n"))); diff != "" {
			t.Errorf("%s (-plain +coloured):\n%s", name, diff)
		}
	}
}

// TestScreenHostile: nothing from elsewhere reaches the terminal as a control
// sequence.
func TestScreenHostile(t *testing.T) {
	const evil = "\x1b[2Jx\r\u009b31m\u202e"
	p := shot("one-gone", 0)
	p.Silent, p.NoHistory = evil, evil
	d := p.Doc
	d.Node, d.Holder.Node, d.Masters[0].Name, d.Redundancy, d.Address.Link, d.Self.Pending = evil, evil, evil, evil, evil, evil
	d.Problems, d.Warnings, d.Events = []string{evil}, []string{evil}, []Event{{At: at0316, Text: evil}}
	for i := range p.History.Entries {
		e := &p.History.Entries[i]
		e.From, e.To, e.Reason, e.By = evil, evil, evil, []string{evil}
	}
	for _, silent := range []string{"", evil} {
		p.Silent = silent
		for _, line := range RenderScreen(p, Options{Loc: cet, Width: 100}, 60) {
			if line != clean(line) {
				t.Errorf("%q", line)
			}
		}
	}
	for _, c := range append(Differences(nil, d), NewEvents(nil, d)...) {
		if c.Text != clean(c.Text) {
			t.Errorf("%q", c.Text)
		}
	}
}

// steady are the fields in milliseconds that do not move with time: settings,
// and measurements of the past.
var steady = []string{"Holder.RoundTripMS", "Holder.AgeMS", "Record.HoldMS", "Record.TakeoverMS", "LastMove.GapMS",
	"Timing.HoldMS", "Timing.TakeoverMS", "Timing.RenewalMS", "Timing.RetryMS"}

// TestLater: every age and every time left moves, the settings stay, and the
// document it was made from is left alone.
func TestLater(t *testing.T) {
	d := change(seenByHolder)
	d.Etcd.SilentMS = ms(10)
	d.Address.Conflicts = []Conflict{{AgoMS: 10}}
	before, later := milliseconds(d), milliseconds(d.Later(5*time.Millisecond))
	for path, n := range before {
		field := strings.Join(strings.Split(path, ".")[:2], ".")
		moved := later[path] != n
		if moved == slices.Contains(steady, field) {
			t.Errorf("%s: %d, then %d", path, n, later[path])
		}
	}
	if diff := cmp.Diff(before, milliseconds(d)); diff != "" {
		t.Errorf("the document itself changed (-before +after):\n%s", diff)
	}
	if got := d.Later(4 * time.Second); *got.Holder.RightLeftMS != -1200 || *got.Holder.RenewedAgoMS != 4200 || *got.Record.TakeoverInMS != 300 {
		t.Errorf("after 4 s: %+v, %+v", got.Holder, got.Record)
	}
	d.Holder.LastKnown = true
	if got := d.Later(time.Second).Holder.AgeMS; got != 1000 {
		t.Errorf("what is only remembered is %d ms old after a second", got)
	}
}

// milliseconds are all fields of a document whose names end in MS.
func milliseconds(d *Document) map[string]int64 {
	out := map[string]int64{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(path, v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s.%d", path, i), v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					walk(strings.TrimPrefix(path+"."+f.Name, "."), v.Field(i))
				}
			}
		case reflect.Int64:
			if strings.HasSuffix(path, "MS") {
				out[path] = v.Int()
			}
		}
	}
	walk("", reflect.ValueOf(*d))
	return out
}

func TestDifferences(t *testing.T) {
	judged := func(name string) *Document {
		d := scenarios[name]()
		Judge(d)
		return d
	}
	for name, tc := range map[string]struct {
		prev, next *Document
		want       []string
	}{
		"first look": {nil, judged("all-well"), []string{
			"verdict | HELD by n2 on eth0: 2 healthy standbys, n1 is next",
			"move | move: n1 -> n2: n1 stopped renewing; nobody held it for about 4.0 s",
			"master n1 | n1: next, API server ready, etcd follower, havip 1.2.0",
			"master n2 | n2: holder, API server ready, etcd leader, havip 1.2.0",
			"master n3 | n3: candidate, API server ready, etcd follower, havip 1.2.0",
			"etcd | etcd: 3 of 3 members: any one of them may fail",
		}},
		"nothing":                 {judged("all-well"), judged("all-well"), nil},
		"only older":              {judged("all-well"), judged("all-well").Later(time.Minute), nil},
		"a move's time put right": {judged("all-well"), movedLater(judged("all-well"), time.Second), nil},
		"the same move again": {judged("all-well"), movedLater(judged("all-well"), time.Minute), []string{
			"move | move: n1 -> n2: n1 stopped renewing; nobody held it for about 4.0 s",
		}},
		"one gone": {change(func(d *Document) { Judge(d) }), judged("one-gone"), []string{
			"verdict | DEGRADED by n2 on eth0: n1 is gone",
			"master n1 | n1: next -> gone, API server ready -> unknown, etcd follower -> unreachable",
			"master n3 | n3: candidate -> next",
			"etcd | etcd: 2 of 3 members: one more failure loses quorum, the API and the VIP",
		}},
		"and back": {judged("one-gone"), change(func(d *Document) { Judge(d) }), []string{
			"verdict | HELD by n2 on eth0: 2 healthy standbys, n1 is next",
			"master n1 | n1: gone -> next, API server unknown -> ready, etcd unreachable -> follower",
			"master n3 | n3: next -> candidate",
			"problem n1 is gone | problem over: n1 is gone",
			"etcd | etcd: 3 of 3 members: any one of them may fail",
		}},
		"a smaller config": {&Document{Masters: []Master{{Name: "n9"}}, Self: Self{Pending: "handover to n9"}}, &Document{}, []string{
			"master n9 | n9: not in [masters] any more",
			"pending | under way: handover to n9: over",
		}},
	} {
		var got []string
		for _, d := range Differences(tc.prev, tc.next) {
			got = append(got, d.About+" | "+d.Text)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func movedLater(d *Document, by time.Duration) *Document {
	d.LastMove.At = d.LastMove.At.Add(by)
	return d
}

func TestNewEvents(t *testing.T) {
	old, now := healthy(), healthy()
	if n := len(NewEvents(nil, now)); n != 2 {
		t.Errorf("%d at the first look", n)
	}
	now.Events = append(now.Events[1:], Event{At: at0316, Text: "n1 has it"})
	got := NewEvents(old, now)
	if len(got) != 1 || got[0].Text != "event: n1 has it" {
		t.Errorf("%v", got)
	}
}
