package vip

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// answerTimeout bounds waiting for the kernel's answer on a netlink socket. It
// does not bound the kernel's work, which is done inside sendmsg (fact 4).
const answerTimeout = 2 * time.Second

// answerSize holds what the kernel hands out in one piece: netlink_recvmsg lets
// a dump fill 32 KiB at most.
const answerSize = 32 << 10

var (
	// errInterrupted: the list changed while it was read, so that it may lack
	// what was there all the time.
	errInterrupted = errors.New("what was listed changed meanwhile")
	errNoAnswer    = errors.New("the kernel confirmed the question without an answer")
)

// conn is a netlink socket of its own for requests whose send and answer must be
// told apart; the library's does both in one call. Its buffer is used again:
// messages are good until the next one is read.
type conn struct {
	fd  int
	buf []byte
}

func dial(protocol int) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	c := &conn{fd: fd, buf: make([]byte, answerSize)}
	tv := unix.NsecToTimeval(int64(answerTimeout))
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		c.close()
		return nil, fmt.Errorf("set up netlink socket: %w", err)
	}
	return c, nil
}

func (c *conn) close() { _ = unix.Close(c.fd) }

// send returns when the kernel has handled the request. EINTR cannot mean that
// it has: the kernel handles it after the last point where it may be interrupted.
func (c *conn) send(b []byte) error {
	for {
		err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (c *conn) receive() ([]syscall.NetlinkMessage, error) {
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return nil, ErrUnknown
		}
		if err != nil {
			return nil, err
		}
		// Any process may send to a netlink socket; only port 0 is the kernel.
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != nl.PidKernel {
			continue
		}
		return syscall.ParseNetlinkMessage(c.buf[:n])
	}
}

// answers reads one acknowledgement for each of the sequence numbers and returns
// their errors in the same order, nil for success.
func (c *conn) answers(seqs []uint32) ([]error, error) {
	at := make(map[uint32]int, len(seqs))
	for i, s := range seqs {
		at[s] = i
	}
	errs := make([]error, len(seqs))
	for len(at) > 0 {
		msgs, err := c.receive()
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			i, mine := at[m.Header.Seq]
			if !mine || m.Header.Type != unix.NLMSG_ERROR {
				continue
			}
			errs[i] = ackError(m.Data)
			delete(at, m.Header.Seq)
		}
	}
	return errs, nil
}

// dump sends a request and passes each answer of the wanted type. Only after nil
// were these all.
func (c *conn) dump(req *nl.NetlinkRequest, want uint16, each func(syscall.NetlinkMessage)) error {
	if err := c.send(req.Serialize()); err != nil {
		return err
	}
	interrupted := false
	for {
		msgs, err := c.receive()
		if err != nil {
			return err
		}
		for _, m := range msgs {
			if m.Header.Seq != req.Seq {
				continue
			}
			interrupted = interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Header.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if err := ackError(m.Data); err != nil || !interrupted {
					return err
				}
				return errInterrupted
			case want:
				each(m)
			}
		}
	}
}

// get sends a request that has one answer of the wanted type, and returns it.
func (c *conn) get(req *nl.NetlinkRequest, want uint16) (syscall.NetlinkMessage, error) {
	if err := c.send(req.Serialize()); err != nil {
		return syscall.NetlinkMessage{}, err
	}
	for {
		msgs, err := c.receive()
		if err != nil {
			return syscall.NetlinkMessage{}, err
		}
		for _, m := range msgs {
			switch {
			case m.Header.Seq != req.Seq:
			case m.Header.Type == want:
				return m, nil
			case m.Header.Type == unix.NLMSG_ERROR:
				if err = ackError(m.Data); err == nil {
					err = errNoAnswer
				}
				return syscall.NetlinkMessage{}, err
			}
		}
	}
}

// ackError reads the error number at the head of an acknowledgement.
func ackError(b []byte) error {
	if len(b) < 4 {
		return nil
	}
	if errno := int32(nl.NativeEndian().Uint32(b[:4])); errno != 0 {
		return syscall.Errno(-errno)
	}
	return nil
}
