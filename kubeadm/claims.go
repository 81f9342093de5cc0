package kubeadm

import (
	"context"
	"time"
)

// ClaimState is what became of this node's claim to the VIP.
type ClaimState string

// The states of a claim.
const (
	ClaimNone    ClaimState = "none"    // never asked for, or refused
	ClaimHeld    ClaimState = "held"    // this node has the VIP, until it is no longer renewed
	ClaimHanded  ClaimState = "handed"  // the election in etcd has its record: the claim is over, the VIP stayed
	ClaimEnded   ClaimState = "ended"   // given back
	ClaimExpired ClaimState = "expired" // not renewed in time
)

// Claim is the daemon's answer about the claim.
type Claim struct {
	State ClaimState
	Run   string        // who has it: the run that asked
	Left  time.Duration // until it expires, if it is held

	// Findings say why it was refused, or what was seen that hinders nothing.
	Findings []Finding
}

// Claims is what the runner needs of the daemon on this node.
type Claims interface {
	// Check says whether a claim would be granted, and changes nothing.
	Check(ctx context.Context, run string) (Claim, error)

	// Claim takes the VIP for this run, or renews what this run has. Refused is no
	// error, and no more is that the election has it from this run already: the
	// state says so.
	Claim(ctx context.Context, run string) (Claim, error)

	// Ask tells how the claim stands.
	Ask(ctx context.Context) (Claim, error)

	// End gives the claim of this run back: the VIP leaves this node.
	End(ctx context.Context, run string) error

	// LetGo hands the VIP to another master, or lets it go if there is none.
	LetGo(ctx context.Context) error
}
