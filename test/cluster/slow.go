package cluster

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// slowPort is where a node's delaying proxy listens.
const slowPort = "127.0.0.1:12379"

// slowProxy sits between a daemon and its etcd member and hands on whatever
// the daemon sends only after a delay, so that each round trip takes that much
// longer. It delays, it does not throttle: many requests may be under way.
type slowProxy struct {
	listener net.Listener
	delay    atomic.Int64 // time.Duration
	target   func() (net.Conn, error)
}

// newSlowProxy serves until the listener is closed.
func newSlowProxy(l net.Listener, target func() (net.Conn, error)) *slowProxy {
	p := &slowProxy{listener: l, target: target}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	return p
}

func (p *slowProxy) setDelay(d time.Duration) { p.delay.Store(int64(d)) }

func (p *slowProxy) serve(client net.Conn) {
	defer client.Close()
	server, err := p.target()
	if err != nil {
		return // the client sees its connection close, as with a dead member
	}
	defer server.Close()
	go func() {
		defer client.Close()
		_, _ = io.Copy(client, server) // ends with either connection
	}()
	p.forward(server, client)
}

// chunk is what was read at once, and when it may go on.
type chunk struct {
	data []byte
	due  time.Time
}

func (p *slowProxy) forward(to io.Writer, from io.Reader) {
	chunks := make(chan chunk, 1024)
	go func() {
		defer close(chunks)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 {
				chunks <- chunk{buf[:n], time.Now().Add(time.Duration(p.delay.Load()))}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range chunks {
		if wait := time.Until(c.due); wait > 0 {
			time.Sleep(wait)
		}
		if _, err := to.Write(c.data); err != nil {
			go drain(chunks)
			return
		}
	}
}

func drain(chunks <-chan chunk) {
	for range chunks {
	}
}
