package vip

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// line is a netlink socket that is kept from one call to the next: opening one
// and closing it again takes three times as many system calls as asking on it.
// It has one user at a time. Sequence numbers do not repeat, so an answer that
// belongs to an earlier request is passed over.
type line struct {
	mu   sync.Mutex
	conn *conn // nil until it is needed, and after trouble
}

// hold returns a socket, and what gives it back after the call with that call's
// error. Who comes while the line is in use gets a socket of their own: a call
// that does not return must not hold up the next one. A nil line keeps nothing.
func (l *line) hold() (c *conn, free func(error), err error) {
	if l == nil || !l.mu.TryLock() {
		c, err = dial(unix.NETLINK_ROUTE)
		if err != nil {
			return nil, nil, err
		}
		return c, func(error) { c.close() }, nil
	}
	if l.conn == nil {
		if l.conn, err = dial(unix.NETLINK_ROUTE); err != nil {
			l.mu.Unlock()
			return nil, nil, err
		}
	}
	return l.conn, l.free, nil
}

// free keeps the socket, unless more than the lookup of something that is not
// there has failed on it.
func (l *line) free(err error) {
	if err != nil && !errors.Is(err, unix.ENODEV) {
		l.conn.close()
		l.conn = nil
	}
	l.mu.Unlock()
}

// on runs f on a socket.
func (l *line) on(f func(*conn) error) error {
	c, free, err := l.hold()
	if err != nil {
		return permission(err)
	}
	err = f(c)
	free(err)
	return permission(err)
}
