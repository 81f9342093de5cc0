package etcd

import (
	"fmt"
	"time"
)

// An Event is what Run delivers: Record, WatchLost, Nodes, Call, Key or Status.
type Event interface{ event() }

// Record is the value of the record, at each of its changes and after each
// linearizable read of the whole prefix.
type Record struct {
	Value string // "" means that the key is absent or empty

	// Live says that the change was seen to happen, on a watch that was not
	// interrupted since an earlier Record. Otherwise it was found by a read:
	// the first one, or one after a lost watch, a compaction or a changed
	// cluster.
	Live bool

	Cluster uint64 // ID of the etcd cluster it was seen in
	Rev     int64  // revision of this value; for the order of things, never compared with another store's
}

// WatchLost says that changes may be missed until the next Record, which is
// not live.
type WatchLost struct {
	Err error
}

// Nodes is the presence of all candidates, the whole set after each change.
type Nodes struct {
	Values map[string]string // by node name; the receiver may keep it
}

// Call is the value of the call key after each change and each read of the
// whole prefix; "" means that there is none.
type Call struct {
	Value string
}

// Key is the value of the key that the daemons' own messages are signed with,
// after each change and each read of the whole prefix; "" means that there is none.
// It is a secret, and a Key does not show it when printed.
type Key struct {
	Value string
}

// Format tells how long the value is and no more.
func (k Key) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "a key of %d bytes", len(k.Value)) }

// State says what the local member can be used for.
type State int

const (
	// NotConfigured: the PEM files are missing or unreadable. Before kubeadm
	// has run this is the normal state.
	NotConfigured State = iota
	// Unreachable: the local member does not answer.
	Unreachable
	// Denied: it answers and refuses us, as etcd's authentication demands.
	Denied
	// Learner: it has no vote yet and serves no linearizable read.
	Learner
	// NoLeader: it answers, but the cluster commits nothing.
	NoLeader
	// Alarmed: a NOSPACE or CORRUPT alarm makes the cluster refuse writes.
	Alarmed
	// Ready: it serves linearizable reads, and its keys are followed.
	Ready
)

var stateNames = [...]string{"not configured", "unreachable", "denied", "learner", "no leader", "alarmed", "ready"}

func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "unknown"
	}
	return stateNames[s]
}

// Status is the state of the local member and of its cluster, on each change
// and at least every two seconds (PollReady).
type Status struct {
	State  State
	Reason string // for an operator; "" when Ready

	// Local says that the keys are followed through the local member. Via is
	// the client URL they are followed through, "" while they are not.
	Local bool
	Via   string

	// What follows is of the local member while it answers, and else the last
	// known or, while another member is followed, of the cluster as that one
	// sees it. Zero values mean not known.
	Cluster  uint64
	Member   uint64 // ID of the local member
	Leader   string // name of the leader, its ID in hexadecimal if it has no name yet
	IsLeader bool   // the local member leads
	Learner  bool   // the local member is a learner
	Members  []Member
	Alarms   []string // such as "NOSPACE on n2"
	Version  string   // of the local member

	// RoundTrip of this status call, answered by the local member from memory:
	// it says nothing of the quorum or the disk. 0 when there was no answer.
	RoundTrip time.Duration
}

// Member is a member of the etcd cluster.
type Member struct {
	ID         uint64
	Name       string // "" until it has started once
	ClientURLs []string
	PeerURLs   []string
	Learner    bool
	Leader     bool
}

func (Record) event()    {}
func (WatchLost) event() {}
func (Nodes) event()     {}
func (Call) event()      {}
func (Key) event()       {}
func (Status) event()    {}
