package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Sizes of struct inet_diag_req_v2 and inet_diag_msg of linux/inet_diag.h, and
// of struct inet_diag_sockid, which both carry.
const (
	diagRequest = 56
	diagMessage = 72
	diagID      = 48
)

// resetStates are the states whose sockets a peer may still believe in: all but
// LISTEN, which must never be touched, CLOSE, and TIME_WAIT, whose peer is done.
const resetStates = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11

// tcpListen is the state of a listening socket.
const tcpListen = 10

// ResetConnections aborts every TCP connection whose local address is one of the
// VIP's, so that the peers get a reset at once instead of waiting for their own
// timeouts. It must come while the address is still on the link, or the resets
// have no source to leave from. It returns how many were reset; with an error,
// how many until then. Listening sockets are never touched.
func (v *VIP) ResetConnections(ctx context.Context) (int, error) {
	c, err := dial(unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, fmt.Errorf("reset connections of %v: %w", v.addrs, err)
	}
	defer c.close()
	n := 0
	for _, fam := range v.diagFamilies() {
		ids, err := v.sockets(c, fam)
		if err == nil {
			var k int
			k, err = destroy(ctx, c, ids)
			n += k
		}
		if err != nil {
			return n, fmt.Errorf("reset connections of %v: %w", v.addrs, permission(err))
		}
	}
	return n, nil
}

// diagFamilies: an IPv4 VIP is looked for in both (fact 11).
func (v *VIP) diagFamilies() []uint8 {
	if v.addrs[0].Is4() {
		return []uint8{unix.AF_INET, unix.AF_INET6}
	}
	return []uint8{unix.AF_INET6}
}

// sockID is one socket as the kernel names it: addresses, ports, link, cookie.
type sockID struct {
	family uint8
	raw    [diagID]byte
}

// local returns the local address, as IPv4 when it is v4-mapped.
func (s sockID) local() netip.Addr {
	if s.family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(s.raw[4:8]))
	}
	return netip.AddrFrom16([16]byte(s.raw[4:20])).Unmap()
}

// sockets lists the VIP's sockets of one family.
func (v *VIP) sockets(c *conn, fam uint8) ([]sockID, error) {
	req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	req.AddRawData(diagPayload(sockID{family: fam}, resetStates))
	var out []sockID
	err := c.dump(req, nl.SOCK_DIAG_BY_FAMILY, func(m syscall.NetlinkMessage) {
		if s, ok := parseDiag(m.Data); ok && v.owns(s.local()) {
			out = append(out, s)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list TCP sockets: %w", err)
	}
	return out, nil
}

// parseDiag drops listening sockets once more, whatever the kernel was asked for.
func parseDiag(b []byte) (sockID, bool) {
	if len(b) < diagMessage || b[1] == tcpListen {
		return sockID{}, false
	}
	return sockID{family: b[0], raw: [diagID]byte(b[4 : 4+diagID])}, true
}

func diagPayload(s sockID, states uint32) []byte {
	b := make([]byte, diagRequest)
	b[0], b[1] = s.family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], states)
	copy(b[8:], s.raw[:])
	return b
}

// resetBatch is how many sockets go to the kernel in one message: the answers to
// all of them must fit into the socket's receive buffer.
const resetBatch = 64

// destroy names each socket with the cookie it was listed with: a lookup by
// address and port alone falls back to the listener once the connection is gone,
// and takes that (measured).
//
// A socket that the kernel refuses to reset does not keep the others from it.
func destroy(ctx context.Context, c *conn, ids []sockID) (int, error) {
	n := 0
	var refused error
	for batch := range slices.Chunk(ids, resetBatch) {
		if ctx.Err() != nil {
			return n, fmt.Errorf("%d of %d reset: %w", n, len(ids), context.Cause(ctx))
		}
		k, err := destroyBatch(c, batch)
		n += k
		if err != nil && refused == nil {
			refused = fmt.Errorf("destroy sockets: %w", err)
		}
		if errors.Is(err, ErrUnknown) {
			break // the next batch would wait as long
		}
	}
	return n, refused
}

func destroyBatch(c *conn, ids []sockID) (int, error) {
	var b []byte
	var seqs []uint32
	for _, s := range ids {
		req := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
		req.AddRawData(diagPayload(s, 0))
		b, seqs = append(b, req.Serialize()...), append(seqs, req.Seq)
	}
	if err := c.send(b); err != nil {
		return 0, err
	}
	results, err := c.answers(seqs)
	if err != nil {
		return 0, err
	}
	n := 0
	var errs []error
	for _, err := range results {
		switch {
		case err == nil:
			n++
		case !goneMeanwhile(err):
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return n, fmt.Errorf("%d of %d refused, the first: %w", len(errs), len(ids), errs[0])
	}
	return n, nil
}

func goneMeanwhile(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE)
}
