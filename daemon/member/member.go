package member

import (
	"net/netip"
	"net/url"
	"slices"
)

// Peer is a member of the cluster, as a quorum of it lists it.
type Peer struct {
	ID       uint64
	Name     string // "" until it has started once
	PeerURLs []string
	Learner  bool // it has no vote

	Open    bool   // something accepts connections at one of its addresses
	Healthy bool   // it answers, and has no alarm
	Leader  uint64 // whom it says to lead, 0 if nobody or if it does not answer
}

// Facts are what is known when a node asks for its former member.
type Facts struct {
	Name    string       // of this node
	Address netip.Addr   // where its etcd member is to be
	Others  []netip.Addr // of the other masters
	Twin    bool         // another havipd says that it is this node
	HasData bool         // this node has data of a member, or a member's manifest
	Peers   []Peer
}

// Verdict says what stands on the list of this node's, and what speaks against
// taking it off.
type Verdict struct {
	Former  []Peer // none: nothing is in the way
	Against []Refusal
}

// Removable reports whether there is one former member, and nothing against its
// removal.
func (v Verdict) Removable() bool { return len(v.Former) == 1 && len(v.Against) == 0 }

// Refusal is a reason not to remove a member.
type Refusal int

// The reasons.
const (
	RefusedSeveral     Refusal = iota // more than one could be this node's
	RefusedName                       // what is at this node's address has another name
	RefusedOtherMaster                // what has this node's name is at another master's address
	RefusedData                       // this node has a member's data: it is not lost
	RefusedTwin                       // somebody else is this node, too
	RefusedAlive                      // it answers, it leads, or its ports are open
	RefusedLast                       // no other member has a vote
	RefusedUnhealthy                  // another member that votes is unwell, or they name different leaders
	RefusedQuorum                     // those that are well would be no quorum without it
)

// Decide finds the former member and gives every reason against its removal.
//
// A learner that never started is not in the way: kubeadm, which adds a member
// before it starts it, goes on with one that it finds.
func (f Facts) Decide() Verdict {
	var v Verdict
	var voters []Peer
	for _, p := range f.Peers {
		switch {
		case f.mine(p) && p.Name == "" && p.Learner:
		case f.mine(p):
			v.Former = append(v.Former, p)
		case !p.Learner:
			voters = append(voters, p)
		}
	}
	if len(v.Former) == 0 {
		return v
	}
	healthy := 0
	for _, p := range voters {
		if p.Healthy && p.Leader != 0 {
			healthy++
		}
	}
	some := func(is func(Peer) bool) bool { return slices.ContainsFunc(v.Former, is) }
	for _, c := range []struct {
		against bool
		reason  Refusal
	}{
		{len(v.Former) > 1, RefusedSeveral},
		{some(func(p Peer) bool { return p.Name != "" && p.Name != f.Name }), RefusedName},
		{some(f.otherMaster), RefusedOtherMaster},
		{f.HasData, RefusedData},
		{f.Twin, RefusedTwin},
		{some(f.alive), RefusedAlive},
		{len(voters) == 0, RefusedLast},
		{healthy < len(voters) || !agreed(voters), RefusedUnhealthy},
		{healthy < len(voters)/2+1, RefusedQuorum},
	} {
		if c.against {
			v.Against = append(v.Against, c.reason)
		}
	}
	return v
}

// mine: by its name, or by the address, which is this node's.
func (f Facts) mine(p Peer) bool {
	return p.Name == f.Name || slices.Contains(addresses(p), f.Address)
}

func (f Facts) otherMaster(p Peer) bool {
	return slices.ContainsFunc(addresses(p), func(a netip.Addr) bool { return slices.Contains(f.Others, a) })
}

// alive: its own word, its ports, or the word of another that it leads.
func (f Facts) alive(p Peer) bool {
	return p.Open || p.Healthy || slices.ContainsFunc(f.Peers, func(o Peer) bool { return o.Leader == p.ID })
}

// agreed: all name the same leader.
func agreed(voters []Peer) bool {
	return !slices.ContainsFunc(voters, func(p Peer) bool { return p.Leader != voters[0].Leader })
}

// addresses are those of its peer URLs. A name in one says nothing here: kubeadm
// writes addresses.
func addresses(p Peer) []netip.Addr {
	var list []netip.Addr
	for _, text := range p.PeerURLs {
		u, err := url.Parse(text)
		if err != nil {
			continue
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil {
			list = append(list, a.Unmap())
		}
	}
	return list
}
