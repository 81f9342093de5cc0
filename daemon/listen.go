package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"havip/daemon/status"
)

// publicConnections bounds how many clients the listener of [metrics] has at
// once. A Prometheus keeps one.
const publicConnections = 16

// publicRetry is the pause after the listener failed.
const publicRetry = 2 * time.Second

// listenOn has an address served that [metrics] names; it is called once.
func (v *vitals) listenOn(address string) { v.listen <- address }

// servePublic serves metrics and health over TCP once there is an address to, and
// until ctx ends. What is wrong with it is logged, shown and tried again: it must
// cost nothing else.
func (f *faces) servePublic(ctx context.Context) error {
	var address string
	select {
	case <-ctx.Done():
		return nil
	case address = <-f.vitals.listen:
	}
	said := ""
	for {
		err := f.servePublicOnce(ctx, address)
		if ctx.Err() != nil {
			return nil
		}
		f.vitals.setDeaf(text(err))
		if text(err) != said {
			said = text(err)
			f.log.Error("nobody can read metrics over the network", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(publicRetry):
		}
	}
}

func (f *faces) servePublicOnce(ctx context.Context, address string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for [metrics]: %w", err)
	}
	l = paced{l}
	f.vitals.setDeaf("")
	f.log.Info("metrics and health are served", "address", l.Addr().String())
	mux := http.NewServeMux()
	f.public(mux)
	srv := &http.Server{
		Handler:     mux,
		ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10,
		// Its own choice would be stderr, which may block; and anybody who connects could fill the log.
		ErrorLog:  slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
		ConnState: refuseMany(publicConnections),
	}
	srv.SetKeepAlivesEnabled(false) // so that who is kept waiting to connect is kept waiting to ask
	stopped := context.AfterFunc(ctx, func() { srv.Close() })
	defer stopped()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve [metrics]: %w", err)
	}
	return nil
}

// publicPace is how far apart connections are taken. The rest wait in the kernel,
// where they cost the loop nothing.
const publicPace = 10 * time.Millisecond

// paced is a listener that takes no more than one connection per publicPace.
type paced struct{ net.Listener }

func (p paced) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err == nil {
		time.Sleep(publicPace)
	}
	return c, err
}

// setDeaf keeps why nobody can connect, "" when they can.
func (v *vitals) setDeaf(why string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.deaf = why
}

func (v *vitals) whyDeaf() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.deaf
}

// complete adds to the facts of the loop what the faces know themselves, and
// draws the conclusions.
func (f *faces) complete(ctx context.Context, d *status.Document) {
	if why := f.vitals.whyDeaf(); why != "" {
		d.Warnings = append(d.Warnings, "metrics cannot be read over the network: "+why)
	}
	f.askMembers(ctx, d)
	status.Judge(d)
}
