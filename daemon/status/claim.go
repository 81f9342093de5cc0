package status

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Paths of the claim, by which havipctl init has this node's daemon hold the VIP
// while there is no etcd yet. Both answer [Claim]. POST needs uid 0.
const (
	PathClaim    = "/v1/claim"     // GET; POST with ClaimRequest
	PathClaimEnd = "/v1/claim/end" // POST with ClaimEnd
)

// ForcedClaim begins the reason that a claim by force gives a node for its role.
const ForcedClaim = "claimed the address by force"

// ClaimRequest asks this node's daemon to take the VIP alone, while there is no
// etcd yet. A second request of the same run renews the claim; if the election
// has taken it over, the answer is handed, and nothing changes.
type ClaimRequest struct {
	Run   string `json:"run"`             // names the init that asks, also after a reboot
	Check bool   `json:"check,omitempty"` // only say what would be answered

	// Force claims although this node is part of a cluster, for an hour or until
	// the cluster's etcd has a quorum again: break-glass, with Why on record.
	Force bool   `json:"force,omitempty"`
	Why   string `json:"why,omitempty"`
}

// ClaimEnd gives the claim of a run back: the VIP leaves this node. A claim that
// the election has taken over, or of another run, is left as it is.
type ClaimEnd struct {
	Run string `json:"run"`
}

// ClaimState is what became of a claim.
type ClaimState string

// The states of a claim.
const (
	ClaimNone    ClaimState = "none"    // never asked for, or refused
	ClaimHeld    ClaimState = "held"    // this node has the VIP until the claim is no longer renewed
	ClaimHanded  ClaimState = "handed"  // the election has won its record in etcd; the VIP stayed where it was
	ClaimEnded   ClaimState = "ended"   // given back
	ClaimExpired ClaimState = "expired" // not renewed in time
)

// Claim is how this node's claim stands. A refusal is an answer too (HTTP 200):
// the state is none, and the findings say why.
type Claim struct {
	Schema   int            `json:"schema"`
	State    ClaimState     `json:"state"`
	Run      string         `json:"run,omitempty"`     // whose it is or was; kept until another run asks
	LeftMS   int64          `json:"left_ms,omitempty"` // until it expires, with held
	Findings []ClaimFinding `json:"findings"`          // what was seen: why not, or what is worth to know
}

// ClaimFinding is one thing that was seen before a claim, or before a member of
// etcd is removed.
type ClaimFinding struct {
	Subject string `json:"subject,omitempty"` // "VIP", "link", "n2"
	What    string `json:"what"`              // "198.51.100.166 is answered by 02:00:5e:10:00:01"
	Fix     string `json:"fix,omitempty"`     // what to do about it
	Blocks  bool   `json:"blocks"`            // the claim is refused because of it
}

// claimTime is how long the daemon may look at the wire before it takes the VIP,
// on top of the client's own time: RFC 5227 section 2.1.1 waits up to 1 s, probes
// three times up to 2 s apart and waits 2 s for answers, and the link must have
// been seen to pass frames.
const claimTime = 30 * time.Second

// Claim has this node take the VIP alone for a run, or renews its claim. With
// check nothing changes: the answer says what would be.
func (c *Client) Claim(ctx context.Context, run string, check bool) (*Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout+claimTime)
	defer cancel()
	return c.claim(ctx, http.MethodPost, PathClaim, ClaimRequest{Run: run, Check: check})
}

// ForceClaim has this node take the VIP although it is part of a cluster.
func (c *Client) ForceClaim(ctx context.Context, run, why string) (*Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout+claimTime)
	defer cancel()
	return c.claim(ctx, http.MethodPost, PathClaim, ClaimRequest{Run: run, Force: true, Why: why})
}

// AskClaim tells how the claim stands.
func (c *Client) AskClaim(ctx context.Context) (*Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return c.claim(ctx, http.MethodGet, PathClaim, nil)
}

// EndClaim gives the claim of a run back.
func (c *Client) EndClaim(ctx context.Context, run string) (*Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return c.claim(ctx, http.MethodPost, PathClaimEnd, ClaimEnd{Run: run})
}

func (c *Client) claim(ctx context.Context, method, path string, body any) (*Claim, error) {
	var answer Claim
	if err := c.call(ctx, method, path, body, &answer); err != nil {
		return nil, err
	}
	if answer.Schema != Schema {
		return nil, fmt.Errorf("read claim: %w: %d, not %d", ErrSchema, answer.Schema, Schema)
	}
	return &answer, nil
}
