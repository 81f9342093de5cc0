package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// guardMargin is how much time must be left for Set to begin. With less, a
// healthy process that the machine makes wait for a moment would be killed by
// its own guard; a busy machine's ordinary delays are 15 to 35 ms, the usual one
// from check to call is below 0.1 ms.
const guardMargin = 10 * time.Millisecond

// Set puts the addresses on the link, or refreshes them, for lifetime whole
// seconds. latest is the latest reading of Now at which the call may take effect:
// a process that is stopped past it before the kernel was asked is killed.
// done is the clock after the kernel was asked; it is 0 when it was not.
//
// Errors: ErrUntouched when the kernel was not asked, among them ErrTooLate (less
// than 10 ms left before latest). With any other error the addresses may be set,
// and the caller clears: ErrLate, ErrPermanent, ErrUnknown, or a refusal that
// names the address and the cause.
func (v *VIP) Set(lifetime int, latest time.Duration) (done time.Duration, err error) {
	if lifetime < 1 {
		return 0, fmt.Errorf("set %v: lifetime %d s, must be at least 1 s: %w", v.addrs, lifetime, ErrUntouched)
	}
	v.busy <- struct{}{}
	defer func() { <-v.busy }()

	// Resolving asks the kernel for links, which waits for the RTNL mutex: who
	// held it for long is done before the clock is looked at.
	link, err := v.target()
	if err != nil {
		return 0, fmt.Errorf("set %v: %w: %w", v.addrs, ErrUntouched, err)
	}
	todo, err := v.assignments(link, lifetime)
	if err != nil {
		return 0, fmt.Errorf("set %v: %w: %w", v.addrs, ErrUntouched, err)
	}
	if f := v.fence.Load(); f != nil {
		if err := (*f)(link.index); err != nil {
			return 0, fmt.Errorf("set %v on %s: %w: %w", v.addrs, link.name, ErrUntouched, err)
		}
	}
	done, err = v.apply(todo, latest)
	if err == nil {
		err = v.readBack(todo, lifetime)
	}
	if err != nil {
		return done, fmt.Errorf("set %v on %s: %w", v.addrs, link.name, err)
	}
	v.last.Store(&link)
	return done, nil
}

// target is the link for a Set. A mere refresh only looks whether the link that
// the addresses are on is still what it was. A name costs no more to look up.
//
// Whatever is wrong with a Set, the next one looks everything up again.
func (v *VIP) target() (linkInfo, error) {
	if last := v.last.Swap(nil); last != nil && v.name == "" {
		if l, err := v.kernel.linkByIndex(last.index); err == nil && l.same(*last) {
			return l, nil
		}
	}
	return v.resolve()
}

// apply asks the kernel under the guard.
func (v *VIP) apply(todo []assignment, latest time.Duration) (time.Duration, error) {
	ch, err := v.kernel.prepare(todo)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUntouched, err)
	}
	defer ch.close()

	if left := latest - v.now(); left < guardMargin {
		return 0, fmt.Errorf("%v left: %w", left, ErrTooLate)
	}
	disarm, err := v.guard(latest)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUntouched, err)
	}
	var disarmErr error
	err = ch.apply(func() { disarmErr = disarm() })
	done := v.now()
	if done >= latest {
		err = errors.Join(fmt.Errorf("%v after the latest moment: %w", done-latest, ErrLate), err)
	}
	return done, errors.Join(err, disarmErr)
}

// assignments says what goes on the link.
func (v *VIP) assignments(link linkInfo, lifetime int) ([]assignment, error) {
	var out []assignment
	for _, a := range v.addrs {
		bits, err := v.bits(a)
		if err != nil {
			return nil, err
		}
		as := assignment{index: link.index, addr: a, bits: bits, valid: lifetime}
		if a.Is4() {
			as.label, as.preferred = labelFor(link.name), lifetime
		}
		// IPv6 stays at preferred 0: a deprecated address still answers, but is
		// not chosen as a source (fact 7). For IPv4 it would change nothing.
		out = append(out, as)
	}
	return out, nil
}

// besides is the prefix length of an IPv4 address that stands beside another
// program's /32, so that it is not the same to the kernel and does not go with it.
const besides = 31

// bits is the prefix length of an address.
func (v *VIP) bits(a netip.Addr) (int, error) {
	switch how := v.sparing(); {
	case how == SpareNothing || a.Is6(): // IPv6 addresses that differ in it alone are one
		return a.BitLen(), nil
	case how == SpareRoom:
		return besides, nil
	}
	all, err := v.findAll()
	for _, f := range all {
		if f.Permanent && f.Addr == a && f.Bits == a.BitLen() {
			return besides, err
		}
	}
	return a.BitLen(), err
}

// labelFor marks an IPv4 address as havip's. A label must begin with the link's
// name for ifconfig(8) and iproute2, and has 15 characters at most.
func labelFor(name string) string {
	const mark = ":havip"
	room := maxName - len(name)
	if room < 2 { // a lone colon says nothing
		return name
	}
	return name + mark[:min(room, len(mark))]
}

var errDuplicate = errors.New("duplicate address detection has failed for it, so that it answers nobody: removed, to be set anew")

// readBack looks for an address that would outlive what was asked, on any link, or
// that answers nobody, and tries to delete it.
func (v *VIP) readBack(done []assignment, lifetime int) error {
	found, err := v.find()
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	var errs []error
	seen := make(map[netip.Addr]bool)
	for _, f := range found {
		seen[f.Addr] = true
		if over(f, done) {
			if err := v.kernel.remove(f.LinkIndex, f.prefix()); err != nil {
				errs = append(errs, fmt.Errorf("remove %v: %w", f, err))
			}
			continue
		}
		if !f.Permanent && f.Remaining <= lifetime && !f.Failed {
			continue
		}
		// A refresh leaves a failed address as it is.
		why := ErrPermanent
		if f.Failed {
			why = errDuplicate
		}
		f = v.named(f)
		errs = append(errs, fmt.Errorf("%v: %w", f, why))
		if err := v.kernel.remove(f.LinkIndex, f.prefix()); err != nil {
			errs = append(errs, fmt.Errorf("remove %v: %w", f, err))
		}
	}
	for _, a := range v.addrs {
		if !seen[a] {
			errs = append(errs, fmt.Errorf("%v: set, but not found when read back", a))
		}
	}
	return errors.Join(errs...)
}

// over reports whether an address of this process's is replaced by one of another
// prefix length.
func over(f Found, done []assignment) bool {
	return !f.Permanent && (f.Bits == besides || f.Bits == f.Addr.BitLen()) &&
		slices.ContainsFunc(done, func(a assignment) bool {
			return a.addr == f.Addr && a.addr.Is4() && a.bits != f.Bits && (a.bits == besides || f.Bits == besides)
		})
}
