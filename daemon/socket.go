package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"havip/daemon/status"
)

// connections bounds how many clients the socket has at once: each one costs a
// file descriptor, and without one more the address could not be set.
const connections = 64

// serveRetry is the pause after the socket failed.
const serveRetry = time.Second

type uidKey struct{}

// root lets only uid 0 through, by the credentials the kernel gives the socket.
func (f *faces) root(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if uid, ok := r.Context().Value(uidKey{}).(uint32); !ok || uid != 0 {
			status.WriteFailure(w, http.StatusForbidden, "only root may change anything", "sudo havipctl …")
			return
		}
		next(w, r)
	}
}

func withCredentials(ctx context.Context, c net.Conn) context.Context {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctlErr != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, uidKey{}, cred.Uid)
}

// serve answers on the control socket until ctx ends. What is wrong with the
// socket is logged and tried again: it must not cost the address.
func (f *faces) serve(ctx context.Context, path string) error {
	said := ""
	for {
		err := f.serveOnce(ctx, path)
		if ctx.Err() != nil {
			return nil
		}
		if text(err) != said {
			said = text(err)
			f.log.Error("nobody can ask this daemon", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(serveRetry):
		}
	}
}

func (f *faces) serveOnce(ctx context.Context, path string) error {
	l, err := listen(path)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: f.handler(), ConnContext: withCredentials,
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
		// Its own choice would be stderr, which may block.
		ErrorLog:  slog.NewLogLogger(f.log.Handler(), slog.LevelWarn),
		ConnState: refuseMany(connections),
	}
	stopped := context.AfterFunc(ctx, func() { srv.Close() })
	defer stopped()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", path, err)
	}
	return nil
}

// refuseMany hangs up on those who come while there are enough.
func refuseMany(most int64) func(net.Conn, http.ConnState) {
	var open atomic.Int64
	return func(c net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			if open.Add(1) > most {
				c.Close()
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
}

// listen makes the socket: root and the group havip may open it. A socket that
// is there is one that a dead daemon left, since the run directory is locked.
func listen(path string) (net.Listener, error) {
	switch old, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look for an old socket: %w", err)
	case old.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("listen on %s: it is there and no socket", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove old socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect socket: %w", err)
	}
	if g, err := user.LookupGroup("havip"); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			// Without the group only root can ask, which is safe.
			_ = os.Chown(path, 0, gid)
		}
	}
	return l, nil
}
