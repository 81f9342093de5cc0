package vip

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
)

// Link is the link that carries the VIP, or would.
type Link struct {
	Index    int
	Name     string
	MAC      net.HardwareAddr // nil when it has no Ethernet address
	Up       bool             // up, with carrier, and its operational state lets frames pass
	Warnings []string         // what is allowed, but may not be meant
}

// Link finds the link afresh, so that one that was re-created is found again.
// Errors name what was looked for and what to do; absence is os.ErrNotExist.
//
// With Auto the link stays the one chosen before as long as the VIP is on this
// node, even if the routes change: the VIP must not end up on two links.
func (v *VIP) Link() (Link, error) {
	li, err := v.resolve()
	if err != nil {
		return Link{}, err
	}
	out := li.public()
	out.Warnings, err = v.warnings(li)
	return out, err
}

func (v *VIP) resolve() (linkInfo, error) {
	switch {
	case v.name != "":
		return v.resolveName()
	case v.mac != nil:
		return v.resolveMAC()
	}
	return v.resolveRoute()
}

func (v *VIP) resolveName() (linkInfo, error) {
	li, err := v.kernel.linkByName(v.name)
	if errors.Is(err, os.ErrNotExist) {
		return li, fmt.Errorf("find link %q: no such interface (%s): %w", v.name, v.candidates(), err)
	}
	if err != nil {
		return li, fmt.Errorf("find link %q: %w", v.name, err)
	}
	return li, nil
}

func (v *VIP) resolveMAC() (linkInfo, error) {
	ls, err := v.kernel.links()
	if err != nil {
		return linkInfo{}, fmt.Errorf("find link with MAC %v: %w", v.mac, err)
	}
	// The lookup only serves to choose among several; its failure is not ours.
	route, _ := v.routeIndex()
	li, err := chooseByMAC(ls, v.mac, route)
	if err != nil {
		return li, fmt.Errorf("find link with MAC %v: %w", v.mac, err)
	}
	return li, nil
}

// chooseByMAC leaves out ports of a bridge or bond, which share its address and
// must not carry the VIP; among links that remain (a link and its VLANs share
// one too) it takes the one with the route to the VIP.
func chooseByMAC(ls []linkInfo, mac net.HardwareAddr, route int) (linkInfo, error) {
	var hits []linkInfo
	for _, l := range ls {
		if bytes.Equal(l.mac, mac) && portOf(l, ls) == "" {
			hits = append(hits, l)
		}
	}
	for _, l := range hits {
		if len(hits) == 1 || l.index == route {
			return l, nil
		}
	}
	if len(hits) == 0 {
		return linkInfo{}, fmt.Errorf("no such interface (this node has %s): %w", names(ls), os.ErrNotExist)
	}
	return linkInfo{}, fmt.Errorf("%s share it and none has the route to the VIP: name the link instead", names(hits))
}

// portOf returns the name of the master that makes an address on l useless. A
// VRF is a master too, but its links keep their addresses.
func portOf(l linkInfo, ls []linkInfo) string {
	if l.master == 0 {
		return ""
	}
	for _, m := range ls {
		if m.index == l.master && m.kind != "vrf" {
			return m.name
		}
	}
	return ""
}

func (v *VIP) resolveRoute() (linkInfo, error) {
	a := v.addrs[0]
	index, err := v.routeIndex()
	if errors.Is(err, os.ErrNotExist) {
		return linkInfo{}, fmt.Errorf("find the link with the route to %v: no route to it (%s): set the interface by name, or give the node an address in its network: %w", a, v.candidates(), err)
	}
	if err != nil {
		return linkInfo{}, fmt.Errorf("find the link with the route to %v: %w", a, err)
	}
	li, err := v.kernel.linkByIndex(index)
	if err != nil {
		return li, fmt.Errorf("find the link with the route to %v: link %d: %w", a, index, err)
	}
	v.chosen.Store(int64(index))
	return li, nil
}

// routeIndex returns the link that frames to the first address leave by. Once
// the address is on this node the lookup only answers "local".
func (v *VIP) routeIndex() (int, error) {
	r, err := v.kernel.routeTo(v.addrs[0])
	if err != nil {
		return 0, err
	}
	if !r.local {
		return r.index, nil
	}
	if index := int(v.chosen.Load()); index != 0 {
		if _, err := v.kernel.linkByIndex(index); err == nil {
			return index, nil
		}
	}
	rs, err := v.kernel.mainRoutes(v.addrs[0])
	if err != nil {
		return 0, err
	}
	return longestMatch(rs, v.addrs[0])
}

// longestMatch is the kernel's choice without the local table: longest prefix,
// then lowest metric.
func longestMatch(rs []routeInfo, a netip.Addr) (int, error) {
	best := -1
	for i, r := range rs {
		if !r.dst.Contains(a) {
			continue
		}
		if best < 0 || r.dst.Bits() > rs[best].dst.Bits() ||
			r.dst.Bits() == rs[best].dst.Bits() && r.metric < rs[best].metric {
			best = i
		}
	}
	if best < 0 {
		return 0, os.ErrNotExist
	}
	return rs[best].index, nil
}

func (v *VIP) candidates() string {
	ls, err := v.kernel.links()
	if err != nil {
		return "its links cannot be listed: " + err.Error()
	}
	return "this node has " + names(ls)
}

// names lists links for an error message; a master may have hundreds for its pods.
func names(ls []linkInfo) string {
	const most = 8
	var out []string
	for i, l := range ls {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(ls)-most))
			break
		}
		out = append(out, l.name)
	}
	return strings.Join(out, ", ")
}
