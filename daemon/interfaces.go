package daemon

import (
	"context"
	"net"
	"net/netip"
	"time"

	"havip/election/etcd"
	"havip/vip"
	"havip/vip/fence"
)

// Lock is the record in etcd; *etcd.Store implements it.
type Lock interface {
	// Run delivers what happens until ctx ends. sink never blocks.
	Run(ctx context.Context, sink func(etcd.Event)) error
	// Write replaces the record's value if it is expect; see etcd.Outcome for
	// what may be concluded.
	Write(ctx context.Context, expect, value string, elsewhere bool) etcd.Result
	// Read returns the record by a linearizable read through the local member.
	Read(ctx context.Context) (string, error)
	// Publish replaces this node's presence, some time soon.
	Publish(value string)
	// Call puts the call key.
	Call(ctx context.Context, value string) error
	// Leave removes this node's presence.
	Leave(ctx context.Context) error
}

// Archive is the history in etcd; *etcd.Store implements it.
type Archive interface {
	// Keep adds a value, unless its key is there, and leaves the newest most.
	Keep(ctx context.Context, key, value string, most int) error
	// History reads the newest values; without a quorum what the member has.
	History(ctx context.Context, most int, quorum bool) ([]etcd.Kept, error)
}

// Store is etcd as a loop needs it.
type Store interface {
	Lock
	Archive
	Vault
}

// Address is the virtual IP on this node; *vip.VIP implements it.
type Address interface {
	// Set gives the address a lifetime in whole seconds; the call must not take
	// effect after latest. vip.ErrUntouched means that nothing was done.
	Set(lifetime int, latest time.Duration) (done time.Duration, err error)
	// Clear returns nil only if the address was read back and is on no link.
	Clear(ctx context.Context) error
	// Found lists every link that carries the address.
	Found() ([]vip.Found, error)
	// Spare lets the methods leave alone what has no lifetime, and make room for
	// it: it is another program's. Foreign lists it.
	Spare(how vip.Sparing)
	Foreign() ([]vip.Found, error)
	// FenceWith lets every Set call f with the link before it touches it, and do
	// nothing where f fails.
	FenceWith(f func(link int) error)
	// Link finds the link that the address belongs on.
	Link() (vip.Link, error)
	// Probe asks the link n times, wait apart, whether somebody uses the address
	// or probes for it too.
	Probe(ctx context.Context, n int, wait time.Duration) (mac net.HardwareAddr, answered bool, err error)
	// Passes reports whether a gateway of the link or one of the others on it answers.
	Passes(ctx context.Context, others []netip.Addr, n int, wait time.Duration) (bool, error)
	// Reaches reports whether one of the hosts answers on the address's link.
	Reaches(ctx context.Context, hosts []netip.Addr, n int, wait time.Duration) (bool, vip.Link, error)
	// Used is Probe without counting others' probes.
	Used(ctx context.Context, n int, wait time.Duration) (mac net.HardwareAddr, answered bool, err error)
	// Await asks a host of the link until it answers, and reports whether it did.
	Await(ctx context.Context, host netip.Addr) (bool, error)
	// Watch delivers what happens to the address and its link.
	Watch(ctx context.Context, sink func(vip.Event)) error
	// RunAnnouncer tells the neighbours after every trigger while owned is true.
	RunAnnouncer(ctx context.Context, trigger <-chan struct{}, owned func() bool) error
}

// Fence closes the address to its link at an instant, by the kernel alone;
// *fence.Fence implements it. Set and Tend do not wait for anything.
type Fence interface {
	// Set moves the instant. One that is over closes at once.
	Set(until time.Duration)
	// Until is that instant, also the one that the process before set.
	Until() time.Duration
	// Tend keeps a closed fence from opening by itself, as one that is forgotten does.
	Tend()
	// Attach puts the fence on a link; os.ErrNotExist means that there is no such link.
	Attach(link int) error
	// Detach takes it from every link. It can be attached again.
	Detach() error
	// Close is Detach for good.
	Close() error
}

// Clock is CLOCK_BOOTTIME and the wall clock.
type Clock struct {
	Boot func() time.Duration
	Wall func() time.Time
}

// SystemClock is this machine's.
func SystemClock() Clock { return Clock{Boot: vip.Now, Wall: time.Now} }

var _ Address = (*vip.VIP)(nil)
var _ Fence = (*fence.Fence)(nil)
var _ Store = (*etcd.Store)(nil)
