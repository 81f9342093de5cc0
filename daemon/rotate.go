package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"havip/daemon/status"
	"havip/election/etcd"
	"havip/election/heartbeat"
)

const (
	// rotateAfter is how old a key must be before it may be replaced: a master that
	// is two keys behind is not heard.
	rotateAfter = 15 * time.Second

	// rotateTimeout bounds the transaction; it ends before commandTimeout.
	rotateTimeout = 5 * time.Second
)

// notNow says why a key cannot be replaced as things are.
type notNow string

func (r notNow) Error() string { return string(r) }

// rotate replaces the key by a new one, also one that cannot be read, and says what
// that means. The error may be a notNow.
func (h *heartbeats) rotate(ctx context.Context) (string, error) {
	h.mu.Lock()
	keys, raw, read, bad := h.keys, h.raw, h.read, h.bad
	h.mu.Unlock()
	usable := raw != "" && bad == nil
	switch young := h.clock.Wall().Sub(keys.Created()); { // where clocks differ, a rotation too many costs speed
	case !read:
		return "", notNow("the key has not been read from etcd yet")
	case usable && young >= 0 && young < rotateAfter:
		return "", notNow(fmt.Sprintf("the present key is %d s old, and the masters get %d s to take one up", young/time.Second, rotateAfter/time.Second))
	}
	next := heartbeat.NewKeys(h.clock.Wall())
	if usable {
		next = keys.Rotate(h.clock.Wall())
	}
	if err := h.vault.SetKey(ctx, raw, next.Encode()); err != nil {
		return "", err
	}
	h.log.Info("the key of the heartbeats was rotated", "keys", next)
	said := "heartbeats are signed with the new key " + next.ID()
	if !usable {
		return said + " from now on, and no other is accepted", nil
	}
	return said + " in some seconds; the one before it is accepted until the next rotation", nil
}

// rotateKey answers PathRotate.
func (f *faces) rotateKey(w http.ResponseWriter, r *http.Request) {
	if !readBody(w, r, &struct{}{}) {
		return
	}
	if box, _, _ := f.loop(); box == nil {
		status.WriteFailure(w, http.StatusConflict, notRunning, notRunningHint)
		return
	}
	h := f.heartbeats.Load()
	if h == nil {
		status.WriteFailure(w, http.StatusConflict, "heartbeats are off on this node", "they are on with [election] detection in the config file")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), rotateTimeout)
	defer cancel()
	said, err := h.rotate(ctx)
	var refused notNow
	switch {
	case errors.As(err, &refused):
		status.WriteFailure(w, http.StatusConflict, err.Error(), "try again in a quarter of a minute")
	case errors.Is(err, etcd.ErrChanged):
		status.WriteFailure(w, http.StatusConflict, "the key was changed by somebody else at this moment", "if that was a rotation it is as good; for another one, in a quarter of a minute: havipctl key rotate")
	case err != nil:
		f.log.Warn("rotate the key of the heartbeats", "err", err)
		status.WriteFailure(w, http.StatusGatewayTimeout, "etcd did not confirm it: "+err.Error(), "when etcd answers: havipctl key rotate")
	default:
		status.WriteAnswer(w, status.Change{Schema: status.Schema, Changed: true, Message: said})
	}
}
