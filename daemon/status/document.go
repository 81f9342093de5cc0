package status

import (
	"net/netip"
	"time"
)

// Schema is the number of the document's layout. Fields may be added under the
// same number; it changes when one is removed or means something else.
const Schema = 1

// Document is what GET /v1/status answers. Fields marked "judged" are written
// by [Judge]; everything else is a fact the daemon fills in. Times are wall
// clock for people; ages and remaining times (…_ms) are whole milliseconds at
// the moment Time, taken from CLOCK_BOOTTIME. A nil pointer means not known, and
// is left out of the JSON.
type Document struct {
	Schema      int          `json:"schema"`                 // number of this layout, 1
	Time        time.Time    `json:"time"`                   // when this document was made
	Node        string       `json:"node"`                   // who reports, "" while not configured
	Version     string       `json:"version"`                // havip version of the reporting daemon
	Config      string       `json:"config"`                 // path of the config file in effect
	Configured  bool         `json:"configured"`             // false: the config file has no [vip]
	VIP         []netip.Addr `json:"vip"`                    // one or two addresses that move together
	Verdict     Verdict      `json:"verdict"`                // judged: the one word of the first line
	Reason      string       `json:"reason"`                 // judged: one sentence for the verdict
	NobodySince *time.Time   `json:"nobody_since,omitempty"` // judged: with NOBODY, since when, where known
	Holder      *Holder      `json:"holder,omitempty"`       // who has the right to serve, or had it when last seen; absent: nobody, or never known
	Record      Record       `json:"record"`                 // the election's record in etcd
	Self        Self         `json:"self"`                   // what this node's own election machine does
	LastMove    *LastMove    `json:"last_move,omitempty"`    // the last change of holder known here
	Masters     []Master     `json:"masters"`                // all of [masters], sorted by name
	Etcd        Etcd         `json:"etcd"`                   // etcd as this node sees it
	Address     Address      `json:"address"`                // the VIP on this node's link
	Timing      Timing       `json:"timing"`                 // the timers in effect here; a record with heartbeats has longer ones
	Heartbeats  *Heartbeats  `json:"heartbeats,omitempty"`   // what the masters' daemons hear of each other; absent: detection is off here
	Redundancy  string       `json:"redundancy"`             // judged: what one more failure would cost, one sentence
	Warnings    []string     `json:"warnings"`               // what is worth a look and changes no verdict; some are judged
	Problems    []string     `json:"problems"`               // judged: why the verdict is not HELD, worst first
	Next        []Step       `json:"next"`                   // judged: what to do, first things first
	Events      []Event      `json:"events"`                 // recent transitions on this node, oldest first
	LogDropped  int64        `json:"log_dropped,omitempty"`  // log lines dropped since the daemon's start because stderr was blocked
}

// Verdict is the one word of the first line.
type Verdict string

// The verdicts.
const (
	Held         Verdict = "HELD"         // held, and a healthy standby is ready
	Degraded     Verdict = "DEGRADED"     // held, but something is missing
	Nobody       Verdict = "NOBODY"       // nobody holds it
	Unknown      Verdict = "UNKNOWN"      // this node cannot tell: it takes no part, or etcd does not answer it and the last right it knew of has run out
	Unconfigured Verdict = "UNCONFIGURED" // no [vip] in the config file
)

// Holder is the node that has the right to serve the VIP.
type Holder struct {
	Node         string     `json:"node"`                     // its name in [masters]
	Link         string     `json:"link,omitempty"`           // its network link, where known
	Since        *time.Time `json:"since,omitempty"`          // begin of its term, by the clock of the node that wrote the record
	RightLeftMS  *int64     `json:"right_left_ms,omitempty"`  // until its right ends unless renewed or, on the holder with heartbeats in force, answered; on another node estimated from when the renewal was seen
	RenewedAgoMS *int64     `json:"renewed_ago_ms,omitempty"` // since the last renewal: since it was sent (holder) or seen (others)
	RoundTripMS  *int64     `json:"round_trip_ms,omitempty"`  // of the last confirmed renewal; only the holder knows it
	Confirmed    bool       `json:"confirmed"`                // true: from a record this node sees now, or its own right; false: from memory
	LastKnown    bool       `json:"last_known"`               // true: etcd cannot be asked, this is what was last seen
	AgeMS        int64      `json:"age_ms"`                   // with last_known: since it was last seen
}

// RecordState says what the election's record is.
type RecordState string

// The states of the record.
const (
	RecordUnknown     RecordState = "unknown"     // never read, or etcd does not answer
	RecordHeld        RecordState = "held"        // names a holder
	RecordFree        RecordState = "free"        // released
	RecordAbsent      RecordState = "absent"      // there is none
	RecordImplausible RecordState = "implausible" // there is one that no node obeys; `havipctl release` clears it
)

// Record is the election's record in etcd as this node knows it.
type Record struct {
	State        RecordState `json:"state"`                    // what it is
	Node         string      `json:"node,omitempty"`           // whom it names
	Problem      string      `json:"problem,omitempty"`        // with implausible: what is wrong with it
	UnchangedMS  *int64      `json:"unchanged_ms,omitempty"`   // since this node last saw it change
	TakeoverInMS *int64      `json:"takeover_in_ms,omitempty"` // until this node may take over, were there no change; 0 or less: it may
	HoldMS       int64       `json:"hold_ms,omitempty"`        // how long the record lets its holder serve after a renewal
	TakeoverMS   int64       `json:"takeover_ms,omitempty"`    // how long the record makes the others wait
}

// Role is what a master is in the election.
type Role string

// Roles that a daemon says of itself.
const (
	RoleWaiting   Role = "waiting"   // no usable etcd member on the node yet
	RoleCandidate Role = "candidate" // could take over
	RoleHolder    Role = "holder"
	RoleClaimant  Role = "claimant"  // holds it by a claim, before there is etcd
	RoleReleasing Role = "releasing" // clearing the address to give it away
	RoleDrained   Role = "drained"   // kept out by the operator, or its node goes down
)

// Roles that only [Judge] gives.
const (
	RoleNext      Role = "next"       // the candidate that ranks first
	RoleUnhealthy Role = "unhealthy"  // a candidate that ranks last
	RoleGone      Role = "gone"       // was seen, is not there now
	RoleNeverSeen Role = "never seen" // configured, never seen
	RoleUnknown   Role = "unknown"    // etcd cannot be asked
)

// Self is what this node's own election machine does.
type Self struct {
	Role      Role   `json:"role"`                 // waiting, candidate, holder, claimant, releasing or drained; "" while not configured
	Reason    string `json:"reason,omitempty"`     // of its last transition
	Pending   string `json:"pending,omitempty"`    // an operation under way, such as "handover to n2"
	DrainedBy string `json:"drained_by,omitempty"` // with drained: who asked and when, one sentence

	Adopting AdoptStage `json:"adopting,omitempty"` // in a migration, how far it is here
}

// AdoptStage says how far this node is in a migration from another program that
// holds the VIP. While there is a stage, addresses without a lifetime are that
// program's, and the daemon leaves them alone.
type AdoptStage string

// The stages. A node in any but take and give is kept from having the VIP.
const (
	AdoptReady AdoptStage = "ready" // the daemon runs beside the other program
	AdoptWait  AdoptStage = "wait"  // the other program is off here, and has the VIP on another node
	AdoptTake  AdoptStage = "take"  // the other program has the VIP here, and the daemon takes it in place
	AdoptBack  AdoptStage = "back"  // on the way back: kept from having the VIP until the daemon is stopped
	AdoptGive  AdoptStage = "give"  // on the way back: the daemon has the VIP here, and makes room for the other program
)

// LastMove is a change of holder.
type LastMove struct {
	From    string     `json:"from,omitempty"`    // "" when nobody held it before
	To      string     `json:"to,omitempty"`      // "" when it was let go and nobody has it yet
	At      time.Time  `json:"at"`                // when To got the right (To "": when From let go)
	LostAt  *time.Time `json:"lost_at,omitempty"` // when From was last known to renew or serve
	Reason  string     `json:"reason"`            // one clause without full stop: "n1 stopped renewing"
	Chosen  string     `json:"chosen,omitempty"`  // why To: "n2 ranked first (healthy, priority 100)"
	GapMS   *int64     `json:"gap_ms,omitempty"`  // how long nobody held it, as far as To can tell
	Planned bool       `json:"planned,omitempty"` // handover, drain, stop: asked for
}

// APIServer says how a master's API server is.
type APIServer string

// The states of an API server.
const (
	APIReady   APIServer = "ready"
	APIFailing APIServer = "failing" // APIServerDetail says why
	APIAlive   APIServer = "alive"   // answers 401 or 403: readiness unknown, counts as healthy
	APIOff     APIServer = "off"     // not checked: health.apiserver = "none"
	APIUnknown APIServer = "unknown"
)

// Gateway says whether a master reaches the VIP's own network.
type Gateway string

// What a master hears from the hosts of health.gateway; "" where none is named.
const (
	GatewayAnswers Gateway = "answers" // one of them does
	GatewaySilent  Gateway = "silent"  // none does, GatewayDetail says who; counts as unhealthy
	GatewayUnknown Gateway = "unknown" // they cannot be asked, GatewayDetail says why; counts as healthy
)

// Member says how a master's etcd member is.
type Member string

// The states of an etcd member.
const (
	MemberLeader      Member = "leader"
	MemberFollower    Member = "follower"
	MemberLearner     Member = "learner"
	MemberNoQuorum    Member = "no quorum" // answers, and says that it has no leader
	MemberUnreachable Member = "unreachable"
	MemberNone        Member = "none" // the node is not an etcd member (yet)
	MemberUnknown     Member = "unknown"
)

// Master is one line of the table.
type Master struct {
	Name            string     `json:"name"`                        // as in [masters]
	Address         netip.Addr `json:"address"`                     // as in [masters]
	Self            bool       `json:"self"`                        // the node that reports
	Role            Role       `json:"role"`                        // judged
	Says            Role       `json:"says,omitempty"`              // what its daemon last said of itself; "" if it never was seen
	Present         bool       `json:"present"`                     // its daemon's presence in etcd is there now (always true of self)
	Healthy         bool       `json:"healthy"`                     // its daemon's own verdict on API server and gateway, after rise and fall
	Priority        int        `json:"priority"`                    // 0 to 1000, higher is preferred
	APIServer       APIServer  `json:"api_server"`                  // its API server, as its daemon sees it
	APIServerDetail string     `json:"api_server_detail,omitempty"` // why it fails
	Gateway         Gateway    `json:"gateway,omitempty"`           // what it hears from the hosts of health.gateway; absent: none is named
	GatewayDetail   string     `json:"gateway_detail,omitempty"`    // who is silent, or why nobody can be asked
	Etcd            Member     `json:"etcd"`                        // its etcd member, as this node sees it
	EtcdDetail      string     `json:"etcd_detail,omitempty"`       // why it is unreachable
	LastSeenMS      *int64     `json:"last_seen_ms,omitempty"`      // since its daemon was last known to be there; absent: never
	Version         string     `json:"version,omitempty"`           // of its havip
	Adopting        AdoptStage `json:"adopting,omitempty"`          // in a migration, how far it is there
}

// EtcdState says how etcd is from this node.
type EtcdState string

// The states of etcd.
const (
	EtcdReady         EtcdState = "ready"          // answers with a quorum behind it
	EtcdNotConfigured EtcdState = "not configured" // kubeadm's certificates or the member are not there yet
	EtcdUnreachable   EtcdState = "unreachable"    // the local member does not answer
	EtcdLearner       EtcdState = "learner"        // the local member does not vote yet
	EtcdNoQuorum      EtcdState = "no quorum"      // the local member answers, and has no leader
	EtcdDenied        EtcdState = "denied"         // certificates or etcd's own auth refuse this daemon
	EtcdUnknown       EtcdState = "unknown"        // not asked yet
)

// Etcd is the etcd cluster as this node sees it.
type Etcd struct {
	State         EtcdState    `json:"state"`                    // of the local member
	Reason        string       `json:"reason,omitempty"`         // why it is not ready, one clause
	Elsewhere     bool         `json:"elsewhere,omitempty"`      // the local member is not ready, but another one answers, with quorum; what is shown comes from it
	SilentMS      *int64       `json:"silent_ms,omitempty"`      // since etcd last answered with a quorum behind it; absent: it answers, or never did
	Members       int          `json:"members"`                  // voting members by the last known member list, 0: not known
	Healthy       int          `json:"healthy"`                  // voting members that answer this node and have a leader
	QuorumNeeded  int          `json:"quorum_needed"`            // judged: members/2 + 1
	OneMoreLoses  []string     `json:"one_more_failure_loses"`   // judged: what is lost with the next member: "quorum", "the API", "the VIP"; empty: nothing
	Alarms        []string     `json:"alarms"`                   // raised alarms, "NOSPACE on n2"
	MemberVersion string       `json:"member_version,omitempty"` // etcd version of the local member
	List          []EtcdMember `json:"list"`                     // every member, learners too, by the last known member list
}

// EtcdMember is one line of etcd's member list.
type EtcdMember struct {
	Name       string   `json:"name"`        // "" until it has started once
	ClientURLs []string `json:"client_urls"` // where others reach it, by its own word
	Learner    bool     `json:"learner"`     // it has no vote (yet)
}

// Address is the VIP on this node's link.
type Address struct {
	Link       string         `json:"link,omitempty"`        // the link it would be or is on, "" if none was found
	LinkReason string         `json:"link_reason,omitempty"` // why the link cannot be used: "no carrier"
	States     []AddressState `json:"states"`                // one per VIP address
	Foreign    []string       `json:"foreign,omitempty"`     // in a migration: what the other program has set
	Warnings   []string       `json:"warnings"`              // "outside every prefix of eth0"
	Conflicts  []Conflict     `json:"conflicts"`             // others that claimed a VIP address on the wire
	Reasserts  int64          `json:"reasserts"`             // how often it was set again after others had removed it, since the daemon's start
}

// AddressState is one VIP address on this node, as read back from the kernel.
type AddressState struct {
	Address        netip.Addr `json:"address"`                    // the address
	Present        bool       `json:"present"`                    // whether it is on the link
	LifetimeLeftMS *int64     `json:"lifetime_left_ms,omitempty"` // until the kernel removes it by itself
	Permanent      bool       `json:"permanent,omitempty"`        // without a lifetime: nothing of havip set it so
}

// Conflict is somebody else claiming a VIP address by ARP or neighbour
// advertisement while this node held it.
type Conflict struct {
	Address netip.Addr `json:"address"` // the VIP address
	MAC     string     `json:"mac"`     // who claimed it
	At      time.Time  `json:"at"`      // last time
	AgoMS   int64      `json:"ago_ms"`  // since then
	Count   int64      `json:"count"`   // how often, since the daemon's start
}

// Timing is the timers in effect on this node, in milliseconds.
type Timing struct {
	HoldMS     int64 `json:"hold_ms"`     // a holder may serve this long after it sent a confirmed renewal
	TakeoverMS int64 `json:"takeover_ms"` // others wait this long after they last saw the record change
	RenewalMS  int64 `json:"renewal_ms"`  // between two renewals
	RetryMS    int64 `json:"retry_ms"`    // before a renewal without an answer is tried again
}

// Heartbeats is what passes between the masters' daemons beside etcd.
type Heartbeats struct {
	Detection string          `json:"detection"`         // as in the config file: standard or fast
	Port      int             `json:"port"`              // over UDP
	Key       string          `json:"key,omitempty"`     // name of the key that signs, absent: none is known
	Epoch     string          `json:"epoch,omitempty"`   // the epoch of the record, in which the holder's right hangs on answers; absent: it hangs on etcd alone
	Plain     string          `json:"plain,omitempty"`   // on the holder: why there is no epoch, or none much longer
	Trouble   string          `json:"trouble,omitempty"` // why this node hears nothing
	Peers     []HeartbeatPeer `json:"peers"`             // the other voting members of etcd
	Dropped   []HeartbeatDrop `json:"dropped"`           // what came and was not believed, since the daemon's start
}

// HeartbeatPeer is what passed between this node and one other.
type HeartbeatPeer struct {
	Member        string `json:"member"`                    // its etcd member ID, as etcdctl writes it
	Name          string `json:"name"`                      // its name in [masters], or else in etcd
	Detection     string `json:"detection,omitempty"`       // what its daemon has in its config file; absent: off, or not known
	HeardAgoMS    *int64 `json:"heard_ago_ms,omitempty"`    // since anything was heard of it; absent: never
	AnsweredAgoMS *int64 `json:"answered_ago_ms,omitempty"` // since it answered a beat of this node; absent: never
	UnansweredMS  int64  `json:"unanswered_ms"`             // for how long it has not answered this node's beats; 0: it does, or none are sent
	RoundTripUS   *int64 `json:"round_trip_us,omitempty"`   // of the last beat that it answered, in microseconds
	Sent          int64  `json:"sent"`                      // datagrams to it, since the daemon's start
	Received      int64  `json:"received"`                  // datagrams from it
	Unsent        int64  `json:"unsent"`                    // datagrams to it that were not sent
	Error         string `json:"error,omitempty"`           // why the last one was not; absent: it was
}

// HeartbeatDrop counts datagrams that were dropped for one reason.
type HeartbeatDrop struct {
	Reason string `json:"reason"` // one word of docs/heartbeats.md
	Count  int64  `json:"count"`  // how often
}

// Step is one thing to do.
type Step struct {
	Text    string `json:"text"`              // what and why, one clause
	On      string `json:"on,omitempty"`      // node or nodes to run it on, "" means this one or any
	Command string `json:"command,omitempty"` // to run, where there is one
}

// Event is one transition on this node.
type Event struct {
	At   time.Time `json:"at"`   // when
	Text string    `json:"text"` // one line with its reason
}
