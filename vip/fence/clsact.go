package fence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// clsact are the hooks of a qdisc of that name, and the BPF filters at them: what
// there is before Linux 6.6. Filters run by preference, and of one preference the
// newest first. One that returns TC_ACT_UNSPEC, which is TCX_NEXT by another name,
// leaves the decision to the next (net/sched/cls_bpf.c).
//
// The qdisc is left when the fence goes: it does nothing by itself, and whoever
// takes it away takes everybody's filters with it.
type clsact struct{}

// Handles of the qdisc, and what its filters have for a parent (linux/pkt_sched.h:
// TC_H_CLSACT, TC_H_MIN_INGRESS, TC_H_MIN_EGRESS).
const (
	clsactHandle  = 0xffff0000
	clsactParent  = 0xfffffff1
	clsactIngress = 0xfffffff2
	clsactEgress  = 0xfffffff3
)

const (
	// firstPreference comes before all others. Cilium's filters have it too.
	firstPreference = 1

	// firstHandle and those after it are far from the small numbers that others
	// replace filters by.
	firstHandle = 0x68610000

	kindBPF = "bpf"
)

// filter is one at a hook.
type filter struct {
	handle, info uint32 // info: preference and protocol
	kind         string
	id           uint32 // of its program
}

func (c clsact) at(link int, d direction) ([]hooked, error) {
	filters, err := c.filters(link, d)
	var all []hooked
	for _, f := range filters {
		what := fmt.Sprintf("the filter %#x of kind %s with preference %d (%s)", f.handle, f.kind, f.info>>16, d.look())
		all = append(all, hooked{f.id, what})
	}
	return all, err
}

// look shows what is at a hook.
func (d direction) look() string { return "tc filter show dev LINK " + d.tc }

// filters lists those that packets come to first; those of other chains are only
// asked when one of these says so.
func (clsact) filters(link int, d direction) ([]filter, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETTFILTER, unix.NLM_F_DUMP)
	req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(link), Parent: d.clsact})
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWTFILTER)
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", explain(err))
	}
	var all []filter
	for _, a := range answers {
		f, ok, err := readFilter(a)
		if err != nil {
			return nil, fmt.Errorf("list filters: %w", err)
		}
		if ok {
			all = append(all, f)
		}
	}
	return all, nil
}

// readFilter reports false for what is none: before the filters of one preference
// the kernel tells of their kind.
func readFilter(answer []byte) (f filter, ok bool, err error) {
	if len(answer) < nl.SizeofTcMsg {
		return f, false, errors.New("the kernel's answer is too short")
	}
	head := nl.DeserializeTcMsg(answer)
	attrs, err := nl.ParseRouteAttr(answer[nl.SizeofTcMsg:])
	if err != nil {
		return f, false, err
	}
	f.handle, f.info = head.Handle, head.Info
	chain, options := uint32(0), false
	for _, a := range attrs {
		switch a.Attr.Type & nl.NLA_TYPE_MASK {
		case nl.TCA_KIND:
			f.kind = unix.ByteSliceToString(a.Value)
		case nl.TCA_CHAIN:
			chain = number(a)
		case nl.TCA_OPTIONS:
			options = true
			if f.id, err = programOf(a.Value); err != nil {
				return f, false, err
			}
		}
	}
	if f.kind != kindBPF {
		f.id = 0 // the same numbers mean something else there
	}
	return f, options && chain == 0, nil
}

func programOf(options []byte) (id uint32, err error) {
	attrs, err := nl.ParseRouteAttr(options)
	for _, a := range attrs {
		if a.Attr.Type&nl.NLA_TYPE_MASK == nl.TCA_BPF_ID {
			id = number(a)
		}
	}
	return id, err
}

func number(a syscall.NetlinkRouteAttr) uint32 {
	if len(a.Value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(a.Value)
}

func (c clsact) attach(p program, link int, d direction) error {
	if err := c.qdisc(link); err != nil {
		return err
	}
	there, err := c.filters(link, d)
	if err != nil {
		return err
	}
	handle := uint32(firstHandle)
	for slices.ContainsFunc(there, func(f filter) bool { return f.handle == handle }) {
		handle++
	}
	if err := c.add(p, link, d, handle); err != nil {
		return err
	}
	// Where it was before it may have been behind others. It goes only now: there is
	// no moment without it.
	var errs []error
	for _, f := range there {
		if f.id == p.id {
			errs = append(errs, c.remove(f, link, d))
		}
	}
	return errors.Join(errs...)
}

// qdisc makes it; that it is there is no error.
func (clsact) qdisc(link int) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_ACK)
	req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(link), Handle: clsactHandle, Parent: clsactParent})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("clsact")))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENODEV):
		return os.ErrNotExist
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("make a clsact qdisc: %w: is another one in its place (tc qdisc show dev LINK ingress)?", err)
	}
	return fmt.Errorf("make a clsact qdisc: %w", explainOld(err))
}

func (clsact) add(p program, link int, d direction, handle uint32) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	every := uint32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(link), Handle: handle, Parent: d.clsact, Info: firstPreference<<16 | every})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(kindBPF)))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_BPF_FD, nl.Uint32Attr(uint32(p.fd)))
	options.AddRtAttr(nl.TCA_BPF_NAME, nl.ZeroTerminated("havip_"+d.name))
	options.AddRtAttr(nl.TCA_BPF_FLAGS, nl.Uint32Attr(nl.TCA_BPF_FLAG_ACT_DIRECT))
	options.AddRtAttr(nl.TCA_BPF_FLAGS_GEN, nl.Uint32Attr(nl.TCA_CLS_FLAGS_SKIP_HW)) // a network card has another clock
	req.AddData(options)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	switch {
	case errors.Is(err, unix.ENODEV):
		return os.ErrNotExist
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: has somebody filters with preference %d for another protocol or of another kind (%s)?", err, firstPreference, d.look())
	}
	return explainOld(err)
}

func (c clsact) detach(p program, link int, d direction) error {
	there, err := c.filters(link, d)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range there {
		if f.id == p.id {
			errs = append(errs, c.remove(f, link, d))
		}
	}
	return errors.Join(errs...)
}

// remove takes a filter away; that somebody did before is no error.
func (clsact) remove(f filter, link int, d direction) error {
	req := nl.NewNetlinkRequest(unix.RTM_DELTFILTER, unix.NLM_F_ACK)
	req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(link), Handle: f.handle, Parent: d.clsact, Info: f.info})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(f.kind)))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return explain(err)
}

// explainOld names what an old kernel needs instead of tcx.
func explainOld(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: this kernel has no tcx hooks, which came with Linux 6.6, and lacks CONFIG_NET_SCH_INGRESS or CONFIG_NET_CLS_BPF", err)
	}
	return explain(err)
}
