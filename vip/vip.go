package vip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrUntouched: Set did not ask the kernel, whatever else is wrong. What was
	// on the link still is, with the lifetime it had.
	ErrUntouched = errors.New("nothing was done")
	// ErrTooLate: there was not enough time left for Set. It is ErrUntouched too.
	ErrTooLate = fmt.Errorf("too late, %w", ErrUntouched)
	// ErrLate: Set took effect, or may have, after its latest moment. The
	// address may be on the link; the caller clears it.
	ErrLate = errors.New("took effect too late, the address may be set")
	// ErrPermanent: after Set the address was on a link for ever or for longer
	// than asked. Its removal was tried; the caller must not lead on it.
	ErrPermanent = errors.New("the address outlives what was asked")
	// ErrUnknown: the kernel did not answer in time, the outcome is unknown.
	ErrUnknown = errors.New("no answer from the kernel, the outcome is unknown")
	// ErrStillThere: Clear read the addresses back and found one.
	ErrStillThere = errors.New("the address is still there")
	// ErrDown: the link is down or has no carrier.
	ErrDown = errors.New("link is down")
)

// Auto as Config.Interface means the link with the route to the first address.
const Auto = "auto"

// Config says which addresses go where.
type Config struct {
	Addresses []netip.Addr // one or two, at most one per family; they move together
	Interface string       // Auto or "", the name of a link, or its MAC address
	Log       *slog.Logger // nil means slog.Default()
}

// VIP is one virtual IP of one or two addresses. Its methods may be called from
// several goroutines. Sets and the last pass of a Clear wait for each other.
type VIP struct {
	addrs []netip.Addr // IPv4 before IPv6
	name  string       // configured name of the link, or ""
	mac   net.HardwareAddr
	log   *slog.Logger

	kernel kernel
	guard  func(at time.Duration) (disarm func() error, err error)
	now    func() time.Duration

	busy   chan struct{} // held while a Set is under way
	fence  atomic.Pointer[func(link int) error]
	chosen atomic.Int64             // index of the link that Auto last resolved to
	spare  atomic.Int32             // a Sparing
	last   atomic.Pointer[linkInfo] // what the last Set put the addresses on, while they are there
}

// New checks the configuration and does no I/O. The error joins everything that
// is wrong.
func New(c Config) (*VIP, error) {
	v := &VIP{log: c.Log, kernel: system{line: &line{}}, guard: killAt, now: Now, busy: make(chan struct{}, 1)}
	if v.log == nil {
		v.log = slog.Default()
	}
	err := errors.Join(v.useAddresses(c.Addresses), v.useInterface(c.Interface))
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Addresses returns the addresses of the VIP, IPv4 before IPv6.
func (v *VIP) Addresses() []netip.Addr { return append([]netip.Addr(nil), v.addrs...) }

// FenceWith lets every Set call f with the index of the link before it asks the
// kernel for anything. Where f fails nothing is set: no address comes to a link that
// should be fenced and is not.
func (v *VIP) FenceWith(f func(link int) error) { v.fence.Store(&f) }

func (v *VIP) useAddresses(addrs []netip.Addr) error {
	if len(addrs) == 0 {
		return errors.New("no address: give one IPv4 address, one IPv6 address or one of each")
	}
	var four, six []netip.Addr
	var errs []error
	for _, a := range addrs {
		if err := checkAddress(a); err != nil {
			errs = append(errs, err)
		}
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	if len(four) > 1 || len(six) > 1 {
		errs = append(errs, fmt.Errorf("addresses %v: at most one per family", addrs))
	}
	v.addrs = append(four, six...)
	return errors.Join(errs...)
}

func checkAddress(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return errors.New("address is not set")
	case a.Is4In6():
		return fmt.Errorf("address %v: write it as IPv4 (%v)", a, a.Unmap())
	case a.Zone() != "":
		return fmt.Errorf("address %v: a zone has no meaning on another node", a)
	case !a.IsGlobalUnicast():
		// Link-local, loopback, multicast, unspecified and broadcast addresses.
		return fmt.Errorf("address %v: not an address that other hosts can reach", a)
	}
	return nil
}

func (v *VIP) useInterface(s string) error {
	if s == "" || s == Auto {
		return nil
	}
	if mac, err := net.ParseMAC(s); err == nil {
		if len(mac) != 6 {
			return fmt.Errorf("interface %q: not an Ethernet address (6 bytes)", s)
		}
		v.mac = mac
		return nil
	}
	// The kernel's own rule for names (dev_valid_name).
	if len(s) > maxName || s == "." || s == ".." || strings.ContainsAny(s, "/: \t\n") {
		return fmt.Errorf("interface %q: neither %q, nor a link's name (at most %d characters, no / : or space), nor a MAC address", s, Auto, maxName)
	}
	v.name = s
	return nil
}

// maxName is IFNAMSIZ without its final NUL; it bounds names and labels.
const maxName = 15
