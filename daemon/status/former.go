package status

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// PathFormer is about the etcd member that this node had before it was made anew,
// which havipctl join finds in its way. GET looks for it, POST has it removed from
// etcd's list; both answer [Former]. POST needs uid 0. havipctl reset asks by GET
// whether the others can do without the one that this node has.
const PathFormer = "/v1/former-member"

// Former is what was found. That there is none, or that it may not be removed, is
// an answer too (HTTP 200). POST looks again, and goes by that alone.
type Former struct {
	Schema    int            `json:"schema"`
	Members   []FormerMember `json:"members"`   // what etcd lists of this node's; more than one: none is removed
	Removable bool           `json:"removable"` // there is one, and nothing against its removal
	Removed   bool           `json:"removed"`   // it was, by this call
	Needed    bool           `json:"needed"`    // those of the others that answer would be no quorum without it
	Findings  []ClaimFinding `json:"findings"`  // why it may not be removed; empty with none
}

// FormerMember is a member of this node's that stands on etcd's list.
type FormerMember struct {
	ID       string   `json:"id"` // as etcdctl writes it
	Name     string   `json:"name,omitempty"`
	PeerURLs []string `json:"peer_urls"`
}

// formerTime is how long the daemon may take to ask every member, and to have one
// removed, on top of the client's own time.
const formerTime = 30 * time.Second

// Former looks for the member that this node had, and changes nothing.
func (c *Client) Former(ctx context.Context) (*Former, error) {
	return c.former(ctx, http.MethodGet, nil)
}

// RemoveFormer has it removed, if that is safe.
func (c *Client) RemoveFormer(ctx context.Context) (*Former, error) {
	return c.former(ctx, http.MethodPost, struct{}{})
}

func (c *Client) former(ctx context.Context, method string, body any) (*Former, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout+formerTime)
	defer cancel()
	var answer Former
	if err := c.call(ctx, method, PathFormer, body, &answer); err != nil {
		return nil, err
	}
	if answer.Schema != Schema {
		return nil, fmt.Errorf("read former member: %w: %d, not %d", ErrSchema, answer.Schema, Schema)
	}
	return &answer, nil
}
