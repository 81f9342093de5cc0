package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coreos/go-systemd/v22/login1"

	"havip/election"
)

const (
	// logindRetry is the pause before logind is looked for again. Nodes without
	// it have havip-shutdown.service.
	logindRetry = 30 * time.Second

	// inhibitFor bounds how long a shutdown is delayed. logind itself waits 5 s
	// (logind.conf(5), InhibitDelayMaxSec).
	inhibitFor = 4 * time.Second
)

// logind is one connection to logind.
type logind interface {
	// inhibit delays shutdowns until the lock is closed.
	inhibit() (io.Closer, error)
	// shutdowns delivers true when the node is about to go down and false when
	// it is not after all; it is closed when the connection is lost.
	shutdowns() <-chan bool
	close()
}

// delayShutdown hands the address over before a shutdown takes kubelet, etcd and
// the API server down. A node without logind is no failure.
func (d *daemon) delayShutdown(ctx context.Context, tell func(on bool) <-chan election.Done) error {
	said := ""
	for {
		err := d.followLogind(ctx, tell)
		if ctx.Err() != nil {
			return nil
		}
		if text(err) != said {
			said = text(err)
			d.Log.Info("no delay of shutdowns", "why", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(logindRetry):
		}
	}
}

func (d *daemon) followLogind(ctx context.Context, tell func(on bool) <-chan election.Done) error {
	c, err := d.logind()
	if err != nil {
		return err
	}
	defer c.close()
	for {
		lock, err := c.inhibit()
		if err != nil {
			return err
		}
		err = d.untilCalledOff(ctx, c.shutdowns(), lock, tell)
		lock.Close()
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// untilCalledOff holds the lock until the address is somebody else's, and
// returns when a shutdown was called off.
func (d *daemon) untilCalledOff(ctx context.Context, shutdowns <-chan bool, lock io.Closer, tell func(on bool) <-chan election.Done) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case on, ok := <-shutdowns:
			switch {
			case !ok:
				return errors.New("the connection to the system bus is lost")
			case !on:
				tell(false)
				return nil
			}
			d.handedOver(ctx, tell(true))
			lock.Close()
		}
	}
}

func (d *daemon) handedOver(ctx context.Context, done <-chan election.Done) {
	select {
	case <-ctx.Done():
	case r := <-done:
		d.Log.Info("the node shuts down", "result", r.Message+r.Err)
	case <-time.After(inhibitFor):
		d.Log.Warn("the node shuts down, and the address is not handed over yet")
	}
}

// systemLogind is logind on the system bus.
type systemLogind struct {
	conn *login1.Conn
	news chan bool
}

func dialLogind() (logind, error) {
	conn, err := login1.New()
	if err != nil {
		return nil, fmt.Errorf("connect to the system bus: %w", err)
	}
	l := &systemLogind{conn: conn, news: make(chan bool, 1)}
	signals := conn.Subscribe("PrepareForShutdown")
	go func() {
		defer close(l.news)
		for s := range signals {
			if s.Name != "org.freedesktop.login1.Manager.PrepareForShutdown" || len(s.Body) == 0 {
				continue
			}
			if on, ok := s.Body[0].(bool); ok {
				l.news <- on
			}
		}
	}()
	return l, nil
}

func (l *systemLogind) inhibit() (io.Closer, error) {
	f, err := l.conn.Inhibit("shutdown", "havipd", "hands the virtual IP over first", "delay")
	if err != nil {
		return nil, fmt.Errorf("ask logind to delay shutdowns: %w", err)
	}
	return f, nil
}

func (l *systemLogind) shutdowns() <-chan bool { return l.news }
func (l *systemLogind) close()                 { l.conn.Close() }
