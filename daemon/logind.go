package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"

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
	c, err := d.logind(ctx)
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

// What logind is called on the system bus (org.freedesktop.login1(5)).
const (
	logindName      = "org.freedesktop.login1"
	logindPath      = "/org/freedesktop/login1"
	logindInterface = logindName + ".Manager"
	logindNews      = "PrepareForShutdown"
)

// systemLogind is logind on the system bus.
type systemLogind struct {
	conn *dbus.Conn
	news chan bool
}

// dialLogind connects. Every call ends with ctx, since a bus that hangs must not
// hold up the end of the process: the connection is closed then.
func dialLogind(ctx context.Context) (logind, error) {
	conn, err := dbus.SystemBusPrivate(dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("connect to the system bus: %w", err)
	}
	l := &systemLogind{conn: conn, news: make(chan bool, 1)}
	if err := l.listen(); err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

func (l *systemLogind) listen() error {
	// By number: a name would have to be looked up.
	err := l.conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))})
	if err == nil {
		err = l.conn.Hello()
	}
	if err != nil {
		return fmt.Errorf("log in to the system bus: %w", err)
	}
	signals := make(chan *dbus.Signal, 16)
	l.conn.Signal(signals)
	err = l.conn.AddMatchSignal(dbus.WithMatchSender(logindName), dbus.WithMatchObjectPath(logindPath),
		dbus.WithMatchInterface(logindInterface), dbus.WithMatchMember(logindNews))
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", logindNews, err)
	}
	go l.follow(signals)
	return nil
}

// follow ends with the connection. A signal is a hint: everybody on the system
// bus may send one of any name, and one that is addressed to this process passes
// the match. What logind itself answers counts.
func (l *systemLogind) follow(signals <-chan *dbus.Signal) {
	defer close(l.news)
	last := false
	for s := range signals {
		if s.Name != logindInterface+"."+logindNews {
			continue
		}
		v, err := l.conn.Object(logindName, logindPath).GetProperty(logindInterface + ".PreparingForShutdown")
		on, ok := v.Value().(bool)
		if err != nil || !ok || on == last {
			continue
		}
		last = on
		select {
		case l.news <- on:
		case <-l.conn.Context().Done():
			return
		}
	}
}

func (l *systemLogind) inhibit() (io.Closer, error) {
	var fd dbus.UnixFD
	err := l.conn.Object(logindName, logindPath).Call(logindInterface+".Inhibit", 0,
		"shutdown", "havipd", "hands the virtual IP over first", "delay").Store(&fd)
	if err != nil {
		return nil, fmt.Errorf("ask logind to delay shutdowns: %w", err)
	}
	return os.NewFile(uintptr(fd), "inhibitor"), nil
}

func (l *systemLogind) shutdowns() <-chan bool { return l.news }
func (l *systemLogind) close()                 { l.conn.Close() }
