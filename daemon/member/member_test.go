package member

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	here  = netip.MustParseAddr("198.51.100.164")
	there = []netip.Addr{netip.MustParseAddr("198.51.100.162"), netip.MustParseAddr("198.51.100.163")}
)

func at(a netip.Addr) []string { return []string{"https://" + netip.AddrPortFrom(a, 2380).String()} }

// rest are other members with a vote; bit i of well says that number i is healthy.
func rest(n, well int) []Peer {
	var list []Peer
	for i := range n {
		p := Peer{ID: uint64(10 + i), Name: fmt.Sprintf("m%d", i), PeerURLs: []string{fmt.Sprintf("https://203.0.113.%d:2380", i+1)}}
		if well>>i&1 == 1 {
			p.Healthy, p.Open, p.Leader = true, true, 10
		}
		list = append(list, p)
	}
	return list
}

func ones(bits int) (n int) {
	for ; bits > 0; bits >>= 1 {
		n += bits & 1
	}
	return n
}

// TestDecide: every combination of whose the member is, how it does, what this node
// has and how the others are, against the conditions in words.
func TestDecide(t *testing.T) {
	names := []string{"n3", "", "n2"}
	places := [][]string{at(here), at(there[1]), {"https://203.0.113.99:2380"}, {"https://n3:2380"}}
	tried, removable := 0, 0
	for bits := range 1 << 6 {
		on := func(i int) bool { return bits>>i&1 == 1 }
		for _, name := range names {
			for place, urls := range places {
				for others := range 5 {
					for well := range 1 << others {
						p := Peer{ID: 3, Name: name, PeerURLs: urls, Learner: on(0), Open: on(1), Healthy: on(2)}
						f := Facts{Name: "n3", Address: here, Others: there, HasData: on(3), Twin: on(5), Peers: append(rest(others, well), p)}
						leads := on(4) && others > 0 && well&1 == 1
						if leads {
							f.Peers[0].Leader = p.ID
						}
						v := f.Decide()
						tried++

						mine := name == "n3" || place == 0
						if unstarted := name == "" && p.Learner; !mine || unstarted {
							if len(v.Former) > 0 || v.Removable() {
								t.Fatalf("%+v: %+v, and that is not this node's", f, v)
							}
							continue
						}
						split := leads && ones(well) > 1
						want := map[Refusal]bool{
							RefusedName: name == "n2", RefusedOtherMaster: place == 1, RefusedData: on(3), RefusedTwin: on(5),
							RefusedAlive: on(1) || on(2) || leads, RefusedLast: others == 0,
							RefusedUnhealthy: ones(well) < others || split, RefusedQuorum: 2*ones(well) <= others,
						}
						compare(t, f, v, want)
						if v.Removable() {
							removable++
							if 2*ones(well) <= others || on(1) || on(2) || on(3) || on(5) {
								t.Errorf("%+v: removable", f)
							}
						}
					}
				}
			}
		}
	}
	// By this node's name at three places, and without a name at its own; each
	// with one to four others that are all well; a learner must have a name.
	if want := 4 * (3*2 + 1); removable != want {
		t.Errorf("%d of %d combinations let a member go, want %d", removable, tried, want)
	}
}

func compare(t *testing.T, f Facts, v Verdict, want map[Refusal]bool) {
	t.Helper()
	n := 0
	for reason, refused := range want {
		if refused {
			n++
		}
		if slices.Contains(v.Against, reason) != refused {
			t.Errorf("%+v: reason %d given: %v, want %v", f, reason, !refused, refused)
		}
	}
	if len(v.Former) != 1 || len(v.Against) != n {
		t.Errorf("%+v: %+v, want %d reasons", f, v, n)
	}
}

// TestSeveral: which of two is meant is not for a program to guess.
func TestSeveral(t *testing.T) {
	f := Facts{Name: "n3", Address: here, Others: there, Peers: append(rest(2, 3),
		Peer{ID: 3, Name: "n3", PeerURLs: []string{"https://203.0.113.99:2380"}}, Peer{ID: 4, PeerURLs: at(here)})}
	v := f.Decide()
	if diff := cmp.Diff([]Refusal{RefusedSeveral}, v.Against); diff != "" || len(v.Former) != 2 || v.Removable() {
		t.Errorf("%+v (-want +got):\n%s", v, diff)
	}
}

// TestNobody: an empty list is no reason to remove anything.
func TestNobody(t *testing.T) {
	if v := (Facts{Name: "n3", Address: here}).Decide(); v.Removable() || len(v.Former) > 0 {
		t.Errorf("%+v", v)
	}
}

// TestWhoCounts: an alarm, or no leader, makes a member unwell; a learner has no
// say, however it is.
func TestWhoCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*Facts)
		want  []Refusal
	}{
		"all well":       {func(*Facts) {}, nil},
		"an alarm":       {func(f *Facts) { f.Peers[1].Healthy = false }, []Refusal{RefusedUnhealthy, RefusedQuorum}},
		"no leader seen": {func(f *Facts) { f.Peers[0].Leader, f.Peers[1].Leader = 0, 0 }, []Refusal{RefusedUnhealthy, RefusedQuorum}},
		"a sick learner": {func(f *Facts) { f.Peers = append(f.Peers, Peer{ID: 5, Name: "n4", Learner: true}) }, nil},
		"only learners":  {func(f *Facts) { f.Peers[0].Learner, f.Peers[1].Learner = true, true }, []Refusal{RefusedLast, RefusedQuorum}},
	} {
		t.Run(name, func(t *testing.T) {
			f := Facts{Name: "n3", Address: here, Others: there, Peers: append(rest(2, 3), Peer{ID: 3, Name: "n3", PeerURLs: at(here)})}
			tt.spoil(&f)
			if diff := cmp.Diff(tt.want, f.Decide().Against); diff != "" {
				t.Errorf("against (-want +got):\n%s", diff)
			}
		})
	}
}
