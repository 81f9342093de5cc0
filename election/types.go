package election

import "time"

// Instant is a reading of CLOCK_BOOTTIME: the time since boot, suspend
// included. The machine is told it and never reads it.
type Instant = time.Duration

// Now is what an event carries beside itself: the instant that decides, and
// the wall clock that people read.
type Now struct {
	Boot Instant
	Wall int64 // Unix time in ms
}

// Role is what this node is in the election.
type Role int

// The roles.
const (
	Waiting   Role = iota // no usable etcd member here, or its record not read yet
	Candidate             // would take the address over
	Holder                // has the record
	Claimant              // serves by a claim, before there is a record
	Drained               // does not want the address: drained by an operator, or the node goes down
	Releasing             // gives the address away
)

func (r Role) String() string {
	return [...]string{"waiting", "candidate", "holder", "claimant", "drained", "releasing"}[r]
}

// Config is fixed for the life of a machine.
type Config struct {
	Node        string
	Incarnation string // random, fresh for every start of the process: the first half of every ID
	Timing      Timing
	Priority    int
	Preempt     time.Duration // 0: never; else a healthy candidate of higher priority gets the address after this long
	Detection   Detection     // zero: the record alone decides
}

// Peer is one node's presence: what it says of itself in its leased key.
type Peer struct {
	Node     string `json:"node"`
	Role     string `json:"role"`
	Priority int    `json:"priority"`
	Healthy  bool   `json:"healthy"`
	Drained  bool   `json:"drained,omitempty"`
	LinkUp   bool   `json:"link_up"`
	Able     bool   `json:"able"`            // its address is clear and its etcd member answers: it may make offers
	Call     string `json:"call,omitempty"`  // the call that Offer answers
	Offer    string `json:"offer,omitempty"` // fresh ID of its readiness to take over (rule 6)

	// Where messages between this node and some other do not arrive, it learns here
	// that the epoch is abandoned.
	Member    string `json:"member,omitempty"`
	Abandoned string `json:"abandoned,omitempty"` // epoch
}

// Call is a holder's question: would To take over? It lies in one leased key.
type Call struct {
	ID   string `json:"id"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Event is something that happened outside the machine.
type Event interface{ event() }

type (
	// Tick says that the instant Machine.Next asked for has come.
	Tick struct{}

	// Observed is the record's value. Live means that this change was seen to
	// happen on a watch without a gap; else it was found by a linearizable read.
	Observed struct {
		Value string // "": the key is absent
		Live  bool
		Read  string // ID of the Read action this answers; "" for what came unasked
	}
	// ReadFailed ends a Read without a value.
	ReadFailed struct{ Read string }

	// Wrote ends a Write.
	Wrote struct {
		ID      string
		Outcome Outcome
		Current string // with Refused: the value that was there
	}

	// Etcd is the state of the way to etcd.
	Etcd struct {
		Local     bool // the local member answers, votes and has a leader
		Elsewhere bool // the local one does not, another member does
		Reason    string
	}

	// Peers is every presence key there is, own included.
	Peers struct{ List []Peer }
	// Called is the call key's content.
	Called struct{ Call Call }

	// Probed ends a Probe. By is who answered; Failed says that the link could not
	// be asked.
	Probed struct {
		ID       string
		Answered bool
		By       string
		Failed   bool
	}
	// AddressFound answers the question that every start asks: is the address
	// still there from an earlier process? Until is the latest instant at which
	// its lifetime ends.
	AddressFound struct {
		Present bool
		Until   Instant
	}
	// AddressSet ends a SetAddress. Before and After are the clock around the
	// call. When it failed the address may be there or not, unless Untouched
	// says that the call was not made.
	AddressSet struct {
		Seq           uint64
		OK, Untouched bool
		Before, After Instant
		Reason        string
	}
	// AddressCleared ends a ClearAddress: OK says that it was read back and is
	// on no link of this node.
	AddressCleared struct {
		Seq    uint64
		OK     bool
		Reason string
	}
	// AddressLost says that somebody else removed the address.
	AddressLost struct{}
	// AddressAppeared says that it came to the link and nobody here asked for it
	// now: by hand, or by a call that a former process left in the kernel.
	AddressAppeared struct{ Until Instant }

	// Saved ends a Save.
	Saved struct {
		Seq uint64
		OK  bool
	}

	// Health is this node's API server, after rise and fall counts.
	Health struct {
		OK     bool
		Reason string
	}
	// Link is the link the address belongs on.
	Link struct {
		Present, Up bool
		Reason      string
	}

	// HandOver, SetDrained, Release and Shutdown are commands; Token comes back
	// in Done.
	HandOver struct {
		Token uint64
		To    string // "": the best candidate
	}
	SetDrained struct {
		Token uint64
		On    bool
	}
	Release struct {
		Token uint64
		Force bool // also when another node's record or an implausible one is there
	}
	// Claim begins or renews a claim: this node serves alone, while there is no
	// etcd yet, for as long as For from now. Whether it may begin is decided before
	// ([ClaimFacts]), by a look at the wire that ended at Looked; 0 only renews.
	// Founding says that it was decided without Force.
	Claim struct {
		Token    uint64
		For      time.Duration
		Looked   Instant
		Founding bool
		Why      string // of a claim that begins
	}
	// Unclaim ends the claim.
	Unclaim struct {
		Token  uint64
		Reason string
	}
	// Shutdown says that the node is about to go down, or after all is not. Until
	// the process ends this node takes no part, as if drained.
	Shutdown struct {
		Token uint64
		On    bool
	}

	// Stop ends the machine. It gives the address away first, unless Restart says
	// that another process of this node follows at once: record, saved state and
	// address are left to it (rule 8).
	Stop struct{ Restart bool }

	// Retime changes the timing from the next write on.
	Retime struct {
		Timing    Timing
		Detection Detection
	}

	// Members are the voting members of etcd by their IDs, and the one of this
	// node; Self is empty while that is not known.
	Members struct {
		Self   string
		Voters []string
	}
	// Heard is a message of another master's daemon, known to be genuine.
	Heard struct{ Message }
	// Fence says whether the kernel closes the address at the instant that
	// SetFence gives (rule 12), and if not, why.
	Fence struct {
		OK     bool
		Reason string
	}
)

// Message is what the daemons tell each other beside etcd. Each may be lost,
// late, doubled and out of order: that costs time, never safety.
type Message struct {
	Kind    Kind
	From    string // etcd member ID
	Epoch   string // of a beat in plain mode, and of its answer: empty
	Seq     uint64 // of the beat; an ack repeats it
	Verdict Verdict
}

// Kind is what a message says.
type Kind uint8

// The kinds.
const (
	Beat      Kind = iota + 1 // "I hold the address": from the holder to the other members
	Ack                       // the answer to a beat
	Challenge                 // "I have abandoned this epoch; do you?"
	Abandoned                 // "I have abandoned this epoch"
)

func (k Kind) String() string { return [...]string{"none", "beat", "ack", "challenge", "abandoned"}[k] }

// Verdict is what an ack says of the epoch.
type Verdict uint8

// The verdicts.
const (
	Promised Verdict = iota + 1 // not abandoned before the promise has passed; in plain mode: heard
	Denied                      // heard, but not supported; in plain mode: could not see an epoch begin
	Leaving                     // promised, by a daemon that is about to end
)

func (v Verdict) String() string { return [...]string{"none", "promised", "denied", "leaving"}[v] }

// Outcome is how a transaction ended.
type Outcome int

// The outcomes. Unknown may have committed, may commit later, or never.
const (
	Unknown   Outcome = iota
	Committed         // compare succeeded, the value is written
	Refused           // compare failed; nothing was written
	NotDone           // provably never applied
)

func (o Outcome) String() string {
	return [...]string{"unknown", "committed", "refused", "not done"}[o]
}

// Action is something the machine wants done. None of them may block the
// machine: each comes back as an event.
type Action interface{ action() }

type (
	// Write is one transaction: if the record's whole value is Expect ("":
	// absent), replace it by Value. Elsewhere allows another member than the
	// local one; only what gives the address away has it.
	Write struct {
		ID, Expect, Value string
		Elsewhere         bool
		Timeout           time.Duration // after which the outcome is Unknown
	}
	// Read asks for one linearizable read through the local member.
	Read struct {
		ID      string
		Timeout time.Duration
	}
	// Probe asks the link whether somebody uses the address.
	Probe struct{ ID string }
	// Publish replaces this node's presence.
	Publish struct{ Peer Peer }
	// Ask puts the call key.
	Ask struct{ Call Call }

	// SetAddress sets or refreshes the address with a lifetime in whole seconds.
	// The call must not take effect after Latest.
	SetAddress struct {
		Seq      uint64
		Lifetime int
		Latest   Instant
	}
	// ClearAddress resets the address's connections, removes it and reads back.
	ClearAddress struct{ Seq uint64 }
	// SetFence lets the kernel take the address's packets until an instant, and
	// close it then by itself; 0 closes it now. It is carried out before any later
	// action, and an old one that comes late does no harm.
	SetFence struct{ Until Instant }
	// Send sends a message to another member's daemon.
	Send struct {
		To string
		Message
	}
	// FindAddress asks for AddressFound.
	FindAddress struct{}
	// Announce says that the address came to the link: neighbours must be told.
	Announce struct{}

	// Save replaces what the next process on this node may adopt; a nil State
	// erases it. Seq 0 wants no answer and may be overtaken by a newer Save.
	Save struct {
		Seq   uint64
		State *SavedState
	}
	// Note is one transition with its one reason.
	Note struct {
		From, To Role
		Reason   string
	}
	// Warn is something an operator should know that is no transition.
	Warn struct{ Text string }
	// Done answers a command.
	Done struct {
		Token   uint64
		Changed bool
		Message string
		Err     string
	}
	// Exit says that the machine has nothing left to let go of.
	Exit struct{}
)

func (Tick) event()            {}
func (Observed) event()        {}
func (ReadFailed) event()      {}
func (Wrote) event()           {}
func (Etcd) event()            {}
func (Peers) event()           {}
func (Called) event()          {}
func (Probed) event()          {}
func (AddressFound) event()    {}
func (AddressSet) event()      {}
func (AddressCleared) event()  {}
func (AddressLost) event()     {}
func (AddressAppeared) event() {}
func (Retime) event()          {}
func (Members) event()         {}
func (Heard) event()           {}
func (Fence) event()           {}
func (Saved) event()           {}
func (Health) event()          {}
func (Link) event()            {}
func (HandOver) event()        {}
func (SetDrained) event()      {}
func (Release) event()         {}
func (Claim) event()           {}
func (Unclaim) event()         {}
func (Shutdown) event()        {}
func (Stop) event()            {}

func (Write) action()        {}
func (Read) action()         {}
func (Probe) action()        {}
func (Publish) action()      {}
func (Ask) action()          {}
func (SetAddress) action()   {}
func (ClearAddress) action() {}
func (SetFence) action()     {}
func (Send) action()         {}
func (FindAddress) action()  {}
func (Announce) action()     {}
func (Save) action()         {}
func (Note) action()         {}
func (Warn) action()         {}
func (Done) action()         {}
func (Exit) action()         {}

// SavedState is what a process leaves for the next one on this boot (rule 8).
type SavedState struct {
	Schema    int     `json:"schema"`
	Node      string  `json:"node"`
	ID        string  `json:"id"`              // of the last confirmed write
	Right     Instant `json:"right"`           // until when the address may be served, unknown writes counted in
	Limit     Instant `json:"limit"`           // by when the kernel must have removed it
	GivenAway bool    `json:"given_away"`      // a write that gives the record away is about to be sent
	Claim     Instant `json:"claim,omitempty"` // without a record: until when a claim lasts

	// Heirs are the incarnations that adopted the record since and may have written
	// it, without one that knew so.
	Heirs []string `json:"heirs,omitempty"`

	// In an epoch, what the next process needs to go on with it. Right counts the
	// acknowledgements of then, Plain counts none.
	Epoch *Epoch  `json:"epoch,omitempty"`
	Begun Instant `json:"begun,omitempty"` // SEND of the write that began it
	Plain Instant `json:"plain,omitempty"`

	// Open is until when the kernel's fence is open by itself, which tells how new
	// the acknowledgements were. The kernel keeps it, not the file.
	Open Instant `json:"-"`
}
