package status

// Exit codes of `havipctl status`.
const (
	ExitHeld     = 0 // held, and redundant
	ExitDegraded = 1 // held, but something is missing
	ExitNobody   = 4 // nobody holds it, or nobody that this node could know of
)

// ExitCode is the exit code that goes with a judged document. UNKNOWN counts
// as not held: 0 and 1 promise that somebody is known to hold the VIP.
func ExitCode(d *Document) int {
	switch d.Verdict {
	case Held:
		return ExitHeld
	case Degraded:
		return ExitDegraded
	}
	return ExitNobody
}
