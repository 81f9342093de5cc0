package vip

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// TestResetConnections: clients learn of the end at once, the listener and
// connections to the node's own address live on.
func TestResetConnections(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vips()...)
	if _, err := v.Set(30, soon()); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "tcp4"} { // dual-stack, and IPv4 only
		t.Run(network, func(t *testing.T) { testReset(t, l, v, network) })
	}
}

func testReset(t *testing.T, l lab, v *VIP, network string) {
	ln, err := net.Listen(network, ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	toVIP := []string{vip4.String()}
	if network == "tcp" {
		toVIP = append(toVIP, vip6.String())
	}
	var clients []net.Conn
	l.inPeer(t, func() error {
		for _, host := range append(toVIP, "198.51.100.162") {
			c, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if err != nil {
				return err
			}
			clients = append(clients, c)
		}
		return nil
	})
	for range clients {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	began := Now()
	n, err := v.ResetConnections(t.Context())
	if err != nil || n != len(toVIP) {
		t.Errorf("%d reset, %v, want %d", n, err, len(toVIP))
	}
	t.Logf("%d reset in %v", n, Now()-began)
	for i, c := range clients {
		defer c.Close()
		toOwn, wait := i == len(toVIP), patience
		if toOwn {
			wait = 200 * time.Millisecond
		}
		_ = c.SetReadDeadline(time.Now().Add(wait))
		_, err := io.ReadAll(c)
		var timeout net.Error
		if alive := errors.As(err, &timeout) && timeout.Timeout(); alive != toOwn {
			t.Errorf("client %d ended with %v", i, err)
		}
	}
	l.inPeer(t, func() error {
		c, err := net.Dial("tcp", net.JoinHostPort(vip4.String(), port))
		if err != nil {
			return fmt.Errorf("the listener is gone: %w", err)
		}
		return c.Close()
	})
}

// TestResetSparesListener: a socket that ended meanwhile must not lead to the
// listener, which is what the kernel's lookup by address would find.
func TestResetSparesListener(t *testing.T) {
	needRoot(t)
	// Go listens with MPTCP where it can; the fallback is seen with plain TCP.
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	ln, err := plain.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	diag, err := dial(4) // NETLINK_SOCK_DIAG
	if err != nil {
		t.Fatal(err)
	}
	defer diag.close()
	v := mustNew(t, Config{Addresses: []netip.Addr{vip4}})
	v.addrs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	ids, err := v.sockets(diag, 2)
	if err != nil || len(ids) != 2 {
		t.Fatalf("%d sockets, %v", len(ids), err)
	}
	// A reset leaves no TIME_WAIT behind that could be found instead.
	_ = c.(*net.TCPConn).SetLinger(0)
	_, _ = c.Close(), s.Close()
	if n, err := destroy(t.Context(), diag, ids); n != 0 || err != nil {
		t.Errorf("%d destroyed, %v", n, err)
	}
	c, err = net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatalf("the listener is gone: %v", err)
	}
	_ = c.Close()
}

// TestClearResets: Clear itself resets, while the address can still be spoken from.
func TestClearResets(t *testing.T) {
	l := newLab(t)
	v := l.vip(t, vip4)
	if _, err := v.Set(30, soon()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	var client net.Conn
	l.inPeer(t, func() (err error) {
		client, err = net.Dial("tcp", net.JoinHostPort(vip4.String(), port))
		return err
	})
	defer client.Close()
	began := Now()
	if err := v.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("cleared in %v", Now()-began)
	_ = client.SetReadDeadline(time.Now().Add(patience))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client was told %v", err)
	}
}
