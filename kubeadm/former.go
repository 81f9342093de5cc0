package kubeadm

import (
	"context"
	"fmt"
	"strings"
)

// Former is the daemon's answer about the etcd member that this node had before it
// was made anew, or has.
type Former struct {
	Members   []string  // what etcd lists of this node's, each in words
	Removable bool      // there is one, dead, that the others can do without
	Removed   bool      // it was, by this call
	Needed    bool      // those of the others that answer would be no quorum without it
	Findings  []Finding // why it may not be removed
}

// Members is what the runner needs of the daemon to get a dead etcd member out of
// the way. Whether one may go the daemon decides by itself.
type Members interface {
	// Former looks for it, and changes nothing.
	Former(ctx context.Context) (Former, error)

	// RemoveFormer has it removed, if it may be.
	RemoveFormer(ctx context.Context) (Former, error)
}

// FormerError says that a member of this node's is in the way of join.
type FormerError struct{ Former Former }

func (e *FormerError) Error() string {
	text := "etcd still lists the member that this node had before it was made anew: " + strings.Join(e.Former.Members, ", ")
	if e.Former.Removable {
		return text + "; it does not answer and its data is gone, so it can only be removed"
	}
	why := make([]string, len(e.Former.Findings))
	for i, f := range e.Former.Findings {
		why[i] = f.What
	}
	return text + "; it may not be removed: " + strings.Join(why, "; ")
}

func (e *FormerError) hints() []string {
	if e.Former.Removable {
		return []string{
			"take it off etcd's list for good, and join as a new member: havipctl join --replace (the others have their quorum without it, as they have now)",
			"or undo what was done on this node: havipctl reset",
		}
	}
	var list []string
	for _, f := range e.Former.Findings {
		list = append(list, f.Fix)
	}
	return append(list, "then go on: havipctl join --replace")
}

// former sees that no dead member of this node's is in the way, and has it removed
// if that is wanted. kubeadm itself would wait for it for two minutes and give up.
func (r *Runner) former(ctx context.Context) error {
	found, err := r.Members.Former(ctx)
	if err != nil {
		return fmt.Errorf("ask the daemon for the etcd member that this node had: %w", err)
	}
	if len(found.Members) == 0 {
		if r.Replace {
			r.Progress.Note("there is nothing to replace: etcd lists no member of this node's")
		}
		return nil
	}
	if !r.Replace || !found.Removable {
		return &FormerError{found}
	}
	gone, err := r.Members.RemoveFormer(ctx)
	if err != nil {
		return fmt.Errorf("have the daemon remove the etcd member that this node had: %w", err)
	}
	if !gone.Removed && len(gone.Members) > 0 {
		return &FormerError{gone} // something has changed since the look
	}
	r.Progress.Note("removed from etcd: " + strings.Join(found.Members, ", "))
	return nil
}
