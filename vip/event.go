package vip

import (
	"fmt"
	"net"
	"net/netip"
)

// Event is something that happened to the address or its link: one of
// AddressDeleted, AddressAdded, LinkChanged and Conflict.
type Event interface{ event() }

// AddressDeleted: one of the addresses was removed from a link, by anyone: this
// process, another program, or the kernel when its lifetime ran out.
type AddressDeleted struct {
	Addr netip.Addr
	Link int // index
}

// AddressAdded: one of the addresses appeared on a link, or became permanent or
// ceased to be. A refresh that only changes the lifetime makes no event.
type AddressAdded struct {
	Addr      netip.Addr
	Link      int // index
	Permanent bool
}

// LinkChange says what happened to the link.
type LinkChange string

// What can happen to the link.
const (
	LinkSeen      LinkChange = "seen" // Watch began, or looks again after losing notices
	LinkUp        LinkChange = "up"
	LinkDown      LinkChange = "down"
	LinkNewMAC    LinkChange = "new MAC"
	LinkRecreated LinkChange = "re-created"        // another link now fits the configuration
	LinkGone      LinkChange = "gone"              // no link fits; Link is the last known one
	LinkNotify    LinkChange = "asked to announce" // bond failover, or a migrated virtual machine
)

// LinkChanged carries the link as it is now. Link.Warnings is not filled.
type LinkChanged struct {
	Link Link
	Why  LinkChange
}

// Conflict: a frame claims one of the addresses for a MAC that is none of this
// node's. That is normal while another node is the holder. At most one a second
// comes per address and MAC, and eight a second in all.
type Conflict struct {
	Addr netip.Addr
	MAC  net.HardwareAddr
}

func (AddressDeleted) event() {}
func (AddressAdded) event()   {}
func (LinkChanged) event()    {}
func (Conflict) event()       {}

func (e AddressDeleted) String() string {
	return fmt.Sprintf("%v deleted from link %d", e.Addr, e.Link)
}

func (e AddressAdded) String() string {
	s := ""
	if e.Permanent {
		s = " for ever"
	}
	return fmt.Sprintf("%v added to link %d%s", e.Addr, e.Link, s)
}

func (e LinkChanged) String() string { return fmt.Sprintf("link %s: %s", e.Link.Name, e.Why) }

func (e Conflict) String() string { return fmt.Sprintf("%v claimed by %v", e.Addr, e.MAC) }
