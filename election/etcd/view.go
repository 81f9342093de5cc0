package etcd

import (
	"maps"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// view is the content of the prefix as the events delivered so far have it.
type view struct {
	cfg     *Config
	cluster uint64
	rev     int64 // of the store when the prefix was read
	nodes   map[string]string
	names   []string // of nodes, when others last asked
}

// load begins with a linearizable read of the whole prefix.
func (v *view) load(resp *pb.RangeResponse) []Event {
	v.cluster = resp.Header.GetClusterId()
	v.rev = resp.Header.GetRevision()
	v.nodes = map[string]string{}
	var record, call, secret string
	var rev int64
	for _, kv := range resp.Kvs {
		switch key := string(kv.Key); {
		case key == string(v.cfg.recordKey()):
			record, rev = string(kv.Value), kv.ModRevision
		case key == string(v.cfg.callKey()):
			call = string(kv.Value)
		case key == string(v.cfg.secretKey()):
			secret = string(kv.Value)
		default:
			v.setNode(key, kv.Value, false)
		}
	}
	return []Event{
		Record{Value: record, Cluster: v.cluster, Rev: rev},
		Nodes{Values: maps.Clone(v.nodes)},
		Call{Value: call},
		Key{Value: secret},
	}
}

// apply takes the changes of one watch response, in their order. Changes up to
// the revision of the read are no news: see openWatch.
func (v *view) apply(changes []*mvccpb.Event) []Event {
	var events []Event
	nodes := false
	for _, c := range changes {
		if c.Kv.ModRevision <= v.rev {
			continue
		}
		gone := c.Type == mvccpb.DELETE
		value := string(c.Kv.Value) // a deletion has none
		switch key := string(c.Kv.Key); {
		case key == string(v.cfg.recordKey()):
			events = append(events, Record{Value: value, Live: true, Cluster: v.cluster, Rev: c.Kv.ModRevision})
		case key == string(v.cfg.callKey()):
			events = append(events, Call{Value: value})
		case key == string(v.cfg.secretKey()):
			events = append(events, Key{Value: value})
		default:
			nodes = v.setNode(key, c.Kv.Value, gone) || nodes
		}
	}
	if nodes {
		events = append(events, Nodes{Values: maps.Clone(v.nodes)})
	}
	return events
}

// setNode reports whether the key was a node's presence.
func (v *view) setNode(key string, value []byte, gone bool) bool {
	name, ok := strings.CutPrefix(key, string(v.cfg.nodeKey("")))
	if !ok || name == "" {
		return false
	}
	if gone {
		delete(v.nodes, name)
	} else {
		v.nodes[name] = string(value)
	}
	return true
}

// others says whether other nodes are present than when it was last asked.
func (v *view) others() bool {
	before := v.names
	v.names = slices.Sorted(maps.Keys(v.nodes))
	return !slices.Equal(before, v.names)
}

// own is this node's own presence, if it is there.
func (v *view) own() (value string, there bool) {
	value, there = v.nodes[v.cfg.Node]
	return value, there
}
