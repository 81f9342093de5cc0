package measure

import (
	"encoding/json"
	"fmt"

	"havip/daemon/status"
)

// Unrest says what a node's daemon does not yet find in order, given who holds
// the address; "" when all is. statusJSON is what `havipctl status -o json`
// printed there.
func Unrest(node, holder, statusJSON string) string {
	var doc status.Document
	if err := json.Unmarshal([]byte(statusJSON), &doc); err != nil {
		return fmt.Sprintf("status of %s: %v", node, err)
	}
	if len(doc.Masters) == 0 {
		return fmt.Sprintf("%s knows of no masters", node)
	}
	for _, m := range doc.Masters {
		want := status.RoleCandidate
		if m.Name == holder {
			want = status.RoleHolder
		}
		if !m.Present || !m.Healthy || m.Says != want {
			return fmt.Sprintf("%s sees %s as %q, present %v, healthy %v", node, m.Name, m.Says, m.Present, m.Healthy)
		}
	}
	return ""
}
