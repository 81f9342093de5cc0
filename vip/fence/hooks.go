package fence

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// direction is what a program looks at: what a link receives or what it sends.
type direction struct {
	name   string // of its program, and of the file that keeps it
	tc     string // its name for tc(8)
	tcx    uint32 // its hook (enum bpf_attach_type, linux/bpf.h)
	clsact uint32 // its hook at a clsact qdisc (linux/pkt_sched.h)
}

var (
	inward  = direction{"in", "ingress", unix.BPF_TCX_INGRESS, clsactIngress}
	outward = direction{"out", "egress", unix.BPF_TCX_EGRESS, clsactEgress}
)

// hooks are a way to have programs see what passes a link.
type hooks interface {
	// at lists what is at a link's hook, in the order in which it runs.
	at(link int, d direction) ([]hooked, error)
	// attach puts a program before all others if it can. That it is there already is
	// no error. A link that is not there is os.ErrNotExist.
	attach(p program, link int, d direction) error
	// detach takes a program away. That it was not there is no error.
	detach(p program, link int, d direction) error
}

// hooked is a program or something else that decides on packets.
type hooked struct {
	id   uint32 // of the program; 0: it is none
	what string // for people
}

func has(all []hooked, id uint32) bool {
	return slices.ContainsFunc(all, func(h hooked) bool { return h.id == id })
}

// systemHooks are those of this kernel: tcx, and where there are none those of
// clsact, whose filters are older.
var systemHooks = func() hooks {
	const loopback = 1 // in every network namespace
	if _, err := (tcx{}).at(loopback, inward); errors.Is(err, unix.EINVAL) {
		return clsact{}
	}
	return tcx{}
}

// detachEverywhere takes a program from every link: its file does not tell where
// it is.
func detachEverywhere(h hooks, p program, d direction) error {
	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, l := range links {
		there, err := h.at(l.Index, d)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil && has(there, p.id) {
			err = h.detach(p, l.Index, d)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("detach from %s: %w", l.Name, err))
		}
	}
	return errors.Join(errs...)
}

// tcx are the hooks of Linux 6.6 and newer.
type tcx struct{}

func (tcx) at(link int, d direction) ([]hooked, error) {
	for room := uint32(16); ; room *= 2 {
		ids := make([]uint32, room)
		x := query{link: uint32(link), hook: d.tcx, ids: unsafe.Pointer(&ids[0]), count: room}
		_, err := bpf(unix.BPF_PROG_QUERY, &x)
		switch {
		case errors.Is(err, unix.ENOSPC):
			continue
		case errors.Is(err, unix.ENODEV):
			return nil, os.ErrNotExist
		case err != nil:
			return nil, explain(err)
		}
		var all []hooked
		for _, id := range ids[:x.count] {
			all = append(all, hooked{id, fmt.Sprintf("BPF program %d (bpftool prog show id %d)", id, id)})
		}
		return all, nil
	}
}

func (tcx) attach(p program, link int, d direction) error {
	_, err := bpf(unix.BPF_PROG_ATTACH, &attach{link: uint32(link), fd: uint32(p.fd), hook: d.tcx, flags: unix.BPF_F_BEFORE})
	switch {
	case errors.Is(err, unix.EEXIST):
		return nil
	case errors.Is(err, unix.ENODEV):
		return os.ErrNotExist
	}
	return explain(err)
}

func (tcx) detach(p program, link int, d direction) error {
	_, err := bpf(unix.BPF_PROG_DETACH, &attach{link: uint32(link), fd: uint32(p.fd), hook: d.tcx})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return explain(err)
}
