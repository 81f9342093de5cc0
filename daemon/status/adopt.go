package status

import (
	"context"
	"time"
)

// PathAdopt is the path by which havipctl adopt moves this node's part in a
// migration on: POST with AdoptRequest, answers Change. It needs uid 0.
const PathAdopt = "/v1/adopt"

// AdoptNone is no migration, or its end.
const AdoptNone AdoptStage = ""

// AdoptFile, in the daemon's state directory, has AdoptMark: it outlives restarts
// and reboots. havipctl writes it before it starts the daemon for the first time.
const AdoptFile = "adopt.json"

// AdoptMark is what AdoptFile holds.
type AdoptMark struct {
	Schema int        `json:"schema"`
	Stage  AdoptStage `json:"stage"`
	At     time.Time  `json:"at"`
}

// AdoptRequest asks for a stage: wait after ready, take after ready, back after
// wait or where there is none, give where there is none, "" after take or give.
// Others are refused.
type AdoptRequest struct {
	Stage AdoptStage `json:"stage"`

	// Without are masters of which the operator says that nothing on them holds
	// the VIP, or will: take and give do not ask for their word.
	Without []string `json:"without,omitempty"`
}

// Adopt moves this node's part in a migration on.
func (c *Client) Adopt(ctx context.Context, req AdoptRequest) (*Change, error) {
	return c.change(ctx, PathAdopt, req)
}
