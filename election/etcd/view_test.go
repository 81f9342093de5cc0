package etcd

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

var testConfig = Config{Prefix: "/p/", Node: "n1"}

func TestViewLoad(t *testing.T) {
	v := &view{cfg: &testConfig}
	got := v.load(&pb.RangeResponse{
		Header: &pb.ResponseHeader{ClusterId: 7, Revision: 40},
		Kvs: []*mvccpb.KeyValue{
			{Key: []byte("/p/call"), Value: []byte("handover")},
			{Key: []byte("/p/key"), Value: []byte("secret")},
			{Key: []byte("/p/history/1"), Value: []byte("of no concern")},
			{Key: []byte("/p/nodes/"), Value: []byte("no name")},
			{Key: []byte("/p/nodes/n2"), Value: []byte("well")},
			{Key: []byte("/p/record"), Value: []byte("r1"), ModRevision: 38},
		},
	})
	want := []Event{
		Record{Value: "r1", Cluster: 7, Rev: 38},
		Nodes{Values: map[string]string{"n2": "well"}},
		Call{Value: "handover"},
		Key{Value: "secret"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events of a read (-want +got):\n%s", diff)
	}
	if _, there := v.own(); there {
		t.Error("n1 is taken for present")
	}
}

func TestViewApply(t *testing.T) {
	put := func(rev int64, key, value string) *mvccpb.Event {
		return &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: rev}}
	}
	del := func(rev int64, key string) *mvccpb.Event {
		return &mvccpb.Event{Type: mvccpb.DELETE, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}}
	}
	tests := []struct {
		name    string
		changes []*mvccpb.Event
		want    []Event
	}{
		{"nothing", nil, nil},
		{"what the read had", []*mvccpb.Event{put(40, "/p/record", "r0")}, nil},
		{"each value of the record, in order",
			[]*mvccpb.Event{put(41, "/p/record", "r1"), put(42, "/p/record", "r2"), del(43, "/p/record")},
			[]Event{
				Record{Value: "r1", Live: true, Cluster: 7, Rev: 41},
				Record{Value: "r2", Live: true, Cluster: 7, Rev: 42},
				Record{Live: true, Cluster: 7, Rev: 43},
			}},
		{"presence once per response",
			[]*mvccpb.Event{put(41, "/p/nodes/n1", "a"), put(42, "/p/nodes/n3", "b"), del(43, "/p/nodes/n2")},
			[]Event{Nodes{Values: map[string]string{"n1": "a", "n3": "b"}}}},
		{"a call made and gone",
			[]*mvccpb.Event{put(41, "/p/call", "c"), del(42, "/p/call")},
			[]Event{Call{Value: "c"}, Call{}}},
		{"a key made, replaced and gone",
			[]*mvccpb.Event{put(41, "/p/key", "k1"), put(42, "/p/key", "k2"), del(43, "/p/key")},
			[]Event{Key{Value: "k1"}, Key{Value: "k2"}, Key{}}},
		{"other keys", []*mvccpb.Event{put(41, "/p/recorder", "x"), put(42, "/p/nodes", "y")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := &view{cfg: &testConfig, cluster: 7, rev: 40, nodes: map[string]string{"n2": "well"}}
			if diff := cmp.Diff(tt.want, v.apply(tt.changes)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeyIsNotShown(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, Key{Value: "secret"}); got != "a key of 6 bytes" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

func TestViewKeepsItsOwnMap(t *testing.T) {
	v := &view{cfg: &testConfig}
	events := v.load(&pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Key: []byte("/p/nodes/n1"), Value: []byte("a")}}})
	delete(events[1].(Nodes).Values, "n1")
	if _, there := v.own(); !there {
		t.Error("the receiver of an event changed the view")
	}
}

func TestParseAlarms(t *testing.T) {
	got := parseAlarms([]string{
		"etcdserver: no leader",
		"memberID:10276657743932975437 alarm:NOSPACE ",
		"memberID:12  alarm:CORRUPT",
		"alarm:NOSPACE",
		"alarm of a kind nobody knows",
	})
	want := []alarm{{10276657743932975437, "NOSPACE"}, {12, "CORRUPT"}, {0, "NOSPACE"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(alarm{})); diff != "" {
		t.Errorf("alarms (-want +got):\n%s", diff)
	}
}

func TestAssess(t *testing.T) {
	denied := explain("h:1", errors.New("etcdserver: permission denied"))
	well := clusterView{member: 1, leader: 2, members: []Member{{ID: 1, Name: "n1"}, {ID: 2, Name: "n2"}}}
	with := func(change func(*clusterView)) clusterView {
		c := well
		change(&c)
		return c
	}
	tests := []struct {
		name     string
		c        clusterView
		err      error
		local    bool
		troubled error
		want     State
		reason   string
	}{
		{"well", well, nil, true, nil, Ready, ""},
		{"just started", well, nil, false, nil, NoLeader, "etcd answers; its keys were not read yet"},
		{"no file", well, errors.Join(ErrNotConfigured), true, nil, NotConfigured, "etcd is not configured"},
		{"silent", well, errors.New("no answer"), true, nil, Unreachable, "no answer"},
		{"denied status", well, denied, false, nil, Denied, denied.Error()},
		{"denied keys", well, nil, false, denied, Denied, denied.Error()},
		{"learner", with(func(c *clusterView) { c.learner = true }), nil, false, ErrLearner, Learner, "this etcd member is a learner: it has no vote yet"},
		{"no leader", with(func(c *clusterView) { c.leader = 0 }), nil, true, nil, NoLeader, "etcd has no leader: an election is going on, or too few members answer"},
		{"no quorum", well, nil, false, errors.New("timed out"), NoLeader, "etcd answers, but its keys cannot be followed: timed out"},
		{"full", with(func(c *clusterView) { c.alarms = []alarm{{2, "NOSPACE"}} }), nil, true, nil, Alarmed, "NOSPACE alarm on n2: etcd refuses writes until its database is compacted and defragmented and the alarm disarmed"},
		{"corrupt", with(func(c *clusterView) { c.alarms = []alarm{{255, "CORRUPT"}} }), nil, true, nil, Alarmed, "CORRUPT alarm on ff: etcd refuses requests until it is repaired"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, reason := tt.c.assess(tt.err, tt.local, tt.troubled)
			if got != tt.want || reason != tt.reason {
				t.Errorf("assess = %v, %q\nwant     %v, %q", got, reason, tt.want, tt.reason)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	c := clusterView{cluster: 9, member: 1, leader: 1, version: "3.6.16", alarms: []alarm{{2, "NOSPACE"}},
		members: []Member{{ID: 1, Name: "n1"}, {ID: 2, Name: "n2"}}}
	want := Status{Cluster: 9, Member: 1, Leader: "n1", IsLeader: true, Version: "3.6.16", Alarms: []string{"NOSPACE on n2"},
		Members: []Member{{ID: 1, Name: "n1", Leader: true}, {ID: 2, Name: "n2"}}}
	if diff := cmp.Diff(want, c.describe()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if st := (&clusterView{}).describe(); st.IsLeader || st.Leader != "" {
		t.Errorf("an unknown cluster has a leader: %+v", st)
	}
}

func TestOtherURLs(t *testing.T) {
	c := clusterView{member: 1, members: []Member{
		{ID: 1, ClientURLs: []string{"https://198.51.100.1:2379"}},
		{ID: 2, ClientURLs: []string{"http://198.51.100.2:2379", "https://198.51.100.2:2379"}},
		{ID: 3, ClientURLs: []string{"https://198.51.100.3:2379"}, Learner: true},
		{ID: 4},
	}}
	if diff := cmp.Diff([]string{"https://198.51.100.2:2379"}, c.otherURLs(true)); diff != "" {
		t.Errorf("https (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"http://198.51.100.2:2379"}, c.otherURLs(false)); diff != "" {
		t.Errorf("http (-want +got):\n%s", diff)
	}
}
