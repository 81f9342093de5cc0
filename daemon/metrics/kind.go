package metrics

import "strings"

// The kinds of reasons. The reasons themselves are free text with names and
// causes in it, of which a label must not be made.
const (
	KindStoppedRenewing = "stopped_renewing" // the holder before crashed, or was cut off
	KindUnheard         = "unheard"          // the same, found by heartbeats
	KindUnanswered      = "unanswered"       // too few masters answered the holder's heartbeats until the right ran out
	KindOperator        = "operator"         // havipctl handover, release
	KindDrain           = "drain"
	KindStop            = "stop"     // of havipd
	KindShutdown        = "shutdown" // of the node
	KindRestart         = "restart"  // the process before left it, nothing moved
	KindAPIServer       = "api_server"
	KindGateway         = "gateway"
	KindEtcd            = "etcd"
	KindLink            = "link"
	KindAddress         = "address"    // the kernel does not take it
	KindPriority        = "priority"   // preemption
	KindUnrenewed       = "no_renewal" // etcd confirmed nothing until the right ran out
	KindNoRecord        = "no_record"  // there was none, so nobody held it before
	KindRecord          = "record"     // somebody else changed or deleted it
	KindClaim           = "claim"
	KindDisk            = "disk"
	KindOther           = "other"
)

// wrappers stand before the reason that they hand on.
var wrappers = []string{"the record was free: ", "the record was released: ", " handed it over: "}

// kinds are tried in turn: what a text begins with first, since causes at its end
// come from elsewhere.
var kinds = []struct {
	begins, has, kind string
}{
	{begins: "API server of ", has: ": " + OutOfReach, kind: KindGateway},
	{begins: "API server of ", kind: KindAPIServer},
	{begins: "etcd member of ", kind: KindEtcd},
	{begins: "no usable etcd member ", kind: KindEtcd},
	{begins: "the local etcd member ", kind: KindEtcd},
	{begins: "the record is not read yet", kind: KindEtcd},
	{begins: "etcd confirmed no renewal ", kind: KindUnrenewed},
	{begins: "its own record again, after a restart", kind: KindRestart},
	{begins: "its own record again", kind: KindUnrenewed},
	{begins: "adopting ", kind: KindRestart},
	{begins: "nothing to adopt", kind: KindRestart},
	{begins: "link of ", kind: KindLink},
	{begins: "there was no record", kind: KindNoRecord},
	{begins: "the record was ", kind: KindRecord},
	{begins: "gave up: the state ", kind: KindDisk},
	{begins: "too few masters acknowledged ", kind: KindUnanswered},
	{begins: "handover by an operator", kind: KindOperator},
	{begins: "released by an operator", kind: KindOperator},
	{begins: "drained by an operator", kind: KindDrain},
	{begins: "the claim ", kind: KindClaim},
	{begins: "the address was ", kind: KindClaim}, // off the link when it had to be renewed
	{has: " takes no part any more", kind: KindClaim},
	{begins: "havipd stops", kind: KindStop},
	{begins: "havipd on ", kind: KindStop},
	{has: " cannot set the address", kind: KindAddress},
	{has: " was not heard for ", kind: KindUnheard},
	{has: " stopped renewing", kind: KindStoppedRenewing},
	{has: " is drained", kind: KindDrain},
	{has: " shuts down", kind: KindShutdown},
	{has: " has a higher priority", kind: KindPriority},
	{has: " has the record", kind: KindRecord},
}

// OutOfReach begins the reason of a node whose API server works and that is cut
// off from the VIP's clients.
const OutOfReach = "out of reach: "

// Kind tells what kind of reason the text of a transition is.
func Kind(reason string) string {
	reason = unwrapped(reason)
	for _, k := range kinds {
		if strings.HasPrefix(reason, k.begins) && strings.Contains(reason, k.has) {
			return k.kind
		}
	}
	return KindOther
}

// unwrapped is the reason that another one hands on.
func unwrapped(reason string) string {
	for _, w := range wrappers {
		if _, inner, found := strings.Cut(reason, w); found {
			return unwrapped(inner)
		}
	}
	return reason
}
