package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// fakeBus is a system bus with a logind on it, for one client.
type fakeBus struct {
	t         *testing.T
	preparing chan bool // what logind says to each question, in order
	asked     chan string

	mu     sync.Mutex
	conn   net.Conn
	serial uint32
}

// bus makes a bus that serves one client, or accepts it and says nothing.
func bus(t *testing.T, mute bool) *fakeBus {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+path)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &fakeBus{t: t, preparing: make(chan bool, 8), asked: make(chan string, 8)}
	go func() {
		conn, err := l.Accept()
		if err != nil || mute {
			return
		}
		b.mu.Lock()
		b.conn = conn
		b.mu.Unlock()
		b.serve(conn)
	}()
	return b
}

func (b *fakeBus) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	for line := ""; line != "BEGIN"; {
		text, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(strings.TrimPrefix(text, "\x00"))
		answer := map[string]string{"AUTH": "REJECTED EXTERNAL", "NEGOTIATE_UNIX_FD": "ERROR", "BEGIN": ""}[line]
		if strings.HasPrefix(line, "AUTH EXTERNAL") {
			answer = "OK 0123456789abcdef0123456789abcdef"
		}
		if answer != "" {
			conn.Write([]byte(answer + "\r\n"))
		}
	}
	for {
		call, err := dbus.DecodeMessage(r)
		if err != nil {
			return
		}
		b.answer(call)
	}
}

func (b *fakeBus) answer(call *dbus.Message) {
	member, _ := call.Headers[dbus.FieldMember].Value().(string)
	reply := map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(call.Serial())}
	switch member {
	case "Hello":
		b.send(dbus.TypeMethodReply, reply, ":1.1")
	case "Get":
		b.asked <- call.Headers[dbus.FieldDestination].Value().(string)
		b.send(dbus.TypeMethodReply, reply, dbus.MakeVariant(<-b.preparing))
	default:
		b.send(dbus.TypeMethodReply, reply)
	}
}

func (b *fakeBus) send(kind dbus.Type, headers map[dbus.HeaderField]dbus.Variant, body ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serial++
	msg := &dbus.Message{Type: kind, Headers: headers, Body: body}
	if len(body) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var out bytes.Buffer
	if err := msg.EncodeTo(&out, binary.LittleEndian); err != nil {
		b.t.Error(err)
		return
	}
	binary.LittleEndian.PutUint32(out.Bytes()[8:], b.serial) // where the library lets nobody set it
	b.conn.Write(out.Bytes())
}

// signal sends what anybody on the bus may send.
func (b *fakeBus) signal(sender string, on bool) {
	b.send(dbus.TypeSignal, map[dbus.HeaderField]dbus.Variant{
		dbus.FieldSender: dbus.MakeVariant(sender), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath(logindPath)),
		dbus.FieldInterface: dbus.MakeVariant(logindInterface), dbus.FieldMember: dbus.MakeVariant(logindNews),
	}, on)
}

func (b *fakeBus) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn.Close()
}

// A signal may come from anybody; that the node goes down, logind itself must say.
func TestShutdownIsWhatLogindSays(t *testing.T) {
	b := bus(t, false)
	l, err := dialLogind(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, step := range []struct {
		signal, truth bool
		want          []bool
	}{
		{true, false, nil}, // a stranger's
		{true, true, []bool{true}},
		{false, true, nil}, // a stranger's
		{true, true, nil},
		{false, false, []bool{false}},
	} {
		b.preparing <- step.truth
		b.signal(":1.66", step.signal)
		if to := <-b.asked; to != logindName {
			t.Errorf("asked %s", to)
		}
		for _, want := range step.want {
			if got := <-l.shutdowns(); got != want {
				t.Errorf("told %v, want %v", got, want)
			}
		}
	}
	select {
	case got := <-l.shutdowns():
		t.Errorf("told %v once more", got)
	default:
	}
	b.hangUp()
	if _, ok := <-l.shutdowns(); ok {
		t.Error("more news after the connection was lost")
	}
}

// A bus that does not answer must not hold up the end of the process.
func TestBusThatSaysNothing(t *testing.T) {
	bus(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := dialLogind(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; err == nil {
		t.Error("connected to a bus that says nothing")
	}
}
