package heartbeat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

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

// hear and speak never wait, so they go past the Go scheduler. It would make ready
// for a call that does: at every beat that costs more than the call.

func hear(fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), err
}

func speak(fd uintptr, b []byte, to netip.AddrPort) error {
	var a unix.RawSockaddrInet6 // the larger one
	_, _, err := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL,
		uintptr(unsafe.Pointer(&a)), fill(&a, to))
	if err != 0 {
		return err
	}
	return nil
}

// fill writes the address as the kernel wants it, and returns its size.
func fill(a *unix.RawSockaddrInet6, to netip.AddrPort) uintptr {
	port := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, to.Port()))
	if !to.Addr().Is4() {
		*a = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: to.Addr().As16()}
		return unix.SizeofSockaddrInet6
	}
	*(*unix.RawSockaddrInet4)(unsafe.Pointer(a)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: to.Addr().As4()}
	return unix.SizeofSockaddrInet4
}
