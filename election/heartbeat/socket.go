package heartbeat

import (
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepare sets a socket up before it is bound. That a datagram comes quickly
// helps; only the link that was asked for is a must.
func (w *Wire) prepare(own netip.Addr, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if own.Is4() {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, class)
		} else {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class)
		}
		// After the class, from which the kernel derives a priority of its own.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, priority)
		if w.cfg.Interface != "" {
			failed = unix.BindToDevice(int(fd), w.cfg.Interface)
		}
	})
	if err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("bind to link %s: %w", w.cfg.Interface, failed)
	}
	return nil
}
