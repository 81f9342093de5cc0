package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Found is one of the VIP's addresses on one link of this node.
type Found struct {
	Link      string // "" when the link vanished meanwhile
	LinkIndex int
	Addr      netip.Addr
	Bits      int    // prefix length; Set makes 32 or 128, but see Spare
	Label     string // IPv4 only
	Remaining int    // remaining valid lifetime in whole seconds; 0 when permanent
	Permanent bool
	Failed    bool // IPv6: duplicate address detection has failed for it, so that it answers nobody
}

func (f Found) prefix() netip.Prefix { return netip.PrefixFrom(f.Addr, f.Bits) }

// String is like "198.51.100.166/32 on eth0 (3 s left)".
func (f Found) String() string {
	left := strconv.Itoa(f.Remaining) + " s left"
	if f.Permanent {
		left = "permanent"
	}
	link := f.Link
	if link == "" {
		link = "link " + strconv.Itoa(f.LinkIndex)
	}
	return fmt.Sprintf("%v on %s (%s)", f.prefix(), link, left)
}

// Found returns every link of this namespace that carries one of the addresses,
// whoever put it there and with whatever prefix length; but see Spare.
func (v *VIP) Found() ([]Found, error) {
	found, err := v.find()
	for i, f := range found {
		found[i] = v.named(f)
	}
	return found, err
}

// find is Found without the names of the links, which take a question each.
func (v *VIP) find() ([]Found, error) {
	all, err := v.findAll()
	if v.sparing() != SpareNothing {
		all = slices.DeleteFunc(all, func(f Found) bool { return f.Permanent })
	}
	return all, err
}

// Spare makes all methods leave alone what has no lifetime: while this node takes
// the VIP over from another program, that is the other program's. Nothing that Set
// makes is without one. An IPv4 address that Set makes stands beside the other
// program's, with another prefix length. IPv6 addresses that differ in that alone
// are the same to the kernel: Set gives such a one a lifetime, and from then on it
// is this process's.
func (v *VIP) Spare(how Sparing) { v.spare.Store(int32(how)) }

// Sparing is how much room another program is given.
type Sparing int32

// What Spare takes.
const (
	SpareNothing Sparing = iota // what has no lifetime is nobody's
	SpareFound                  // what is there is left alone
	SpareRoom                   // and if nothing is there yet, its place is kept free for it
)

func (v *VIP) sparing() Sparing { return Sparing(v.spare.Load()) }

// Foreign returns the addresses without a lifetime: those that Spare spares.
func (v *VIP) Foreign() ([]Found, error) {
	all, err := v.findAll()
	all = slices.DeleteFunc(all, func(f Found) bool { return !f.Permanent })
	for i, f := range all {
		all[i] = v.named(f)
	}
	return all, err
}

func (v *VIP) findAll() ([]Found, error) {
	as, err := v.kernel.addrs(v.addrs)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var out []Found
	for _, a := range as {
		if v.owns(a.prefix.Addr()) {
			out = append(out, Found{LinkIndex: a.index, Addr: a.prefix.Addr(), Bits: a.prefix.Bits(), Label: a.label, Remaining: a.seconds, Permanent: a.permanent, Failed: a.failed})
		}
	}
	return out, nil
}

func (v *VIP) named(f Found) Found {
	if l, err := v.kernel.linkByIndex(f.LinkIndex); err == nil {
		f.Link = l.name
	}
	return f
}

func (v *VIP) owns(a netip.Addr) bool {
	for _, own := range v.addrs {
		if own == a {
			return true
		}
	}
	return false
}

const (
	// resetBudget bounds the connection reset before a clear. Every millisecond
	// of it is one in which nobody else may serve.
	resetBudget = 50 * time.Millisecond
	// clearTries bounds a clear against a program that puts the address back.
	clearTries = 3
)

// Clear removes the addresses from every link of this namespace, whoever put
// them there (but see Spare), after it reset their TCP connections (for 50 ms at most; that
// never prevents the clear). nil means that they were read back and are gone and
// that no Set is under way which could bring them back. It is idempotent.
//
// A ctx that is already done does not stop Clear from trying; it only stops it
// from waiting for a Set that is still under way. Errors: ErrStillThere,
// ErrUnknown, ctx's error, or the kernel's refusal with the address and link.
func (v *VIP) Clear(ctx context.Context) error {
	if err := v.clear(ctx); err != nil {
		return fmt.Errorf("clear %v: %w", v.addrs, err)
	}
	return nil
}

func (v *VIP) clear(ctx context.Context) error {
	defer v.last.Store(nil)
	select {
	case v.busy <- struct{}{}:
	default:
		// A Set that does not return must not keep the address up. What it may
		// still do after this pass, the second one finds.
		first := v.clearNow(ctx)
		select {
		case v.busy <- struct{}{}:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("a set is still under way: %w", context.Cause(ctx)), first)
		}
	}
	defer func() { <-v.busy }()
	return v.clearNow(ctx)
}

func (v *VIP) clearNow(ctx context.Context) error {
	found, err := v.Found()
	if err != nil || len(found) == 0 {
		return err
	}
	if !v.goesOn() {
		v.resetBriefly(ctx)
	}
	var last error
	for range clearTries {
		last = v.removeAll(found)
		if found, err = v.Found(); err != nil {
			return errors.Join(fmt.Errorf("read back: %w", err), last)
		}
		if len(found) == 0 {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%s: %w", list(found), ErrStillThere), last)
}

// goesOn reports whether this node serves the VIP after a clear, by another
// program's address.
func (v *VIP) goesOn() bool {
	if v.sparing() == SpareNothing {
		return false
	}
	others, err := v.Foreign()
	return err == nil && len(others) > 0
}

func (v *VIP) removeAll(found []Found) error {
	var errs []error
	for _, f := range found {
		if err := v.kernel.remove(f.LinkIndex, f.prefix()); err != nil {
			errs = append(errs, fmt.Errorf("remove %v: %w", f, err))
		}
	}
	return errors.Join(errs...)
}

// resetBriefly runs beside, because even a kernel that does not answer the
// socket dump must not delay the clear beyond the budget.
func (v *VIP) resetBriefly(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resetBudget)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.resetTwice(ctx)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// resetTwice: the first pass takes 20 to 40 ms for 1000 connections (measured),
// and who was reset early in it is connected again before its end. What connects
// during the second pass hangs until the next holder resets it.
func (v *VIP) resetTwice(ctx context.Context) {
	for range 2 {
		n, err := v.ResetConnections(ctx)
		if err != nil {
			v.log.Warn("connections to the VIP not all reset, their clients notice later", "reset", n, "err", err)
			return
		}
		if n == 0 {
			return
		}
	}
}

func list(found []Found) string {
	s := make([]string, len(found))
	for i, f := range found {
		s[i] = f.String()
	}
	return strings.Join(s, ", ")
}
