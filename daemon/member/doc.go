// Package member decides whether the etcd member that this node had before it was
// made anew may be removed. It is a pure function over facts: [Facts.Decide].
//
// # Why it has to go
//
// A master that lost its disk comes back under its name while etcd still lists the
// member that it was. That member cannot come back: raft counts on what a member
// has once confirmed, and with an empty disk under the old ID it would have
// forgotten that. kubeadm join does not get past it either (v1.34.4,
// app/util/etcd/etcd.go): check-etcd asks every member on the list and gives up on
// a silent one after two minutes, and etcd-join takes a peer URL that is listed for
// one that it has added itself.
//
// # Why that is safe
//
// Of n members that vote, n/2+1 must answer. With one less never more of the rest
// must: taking a dead member off the list costs the others nothing. What would cost
// them is to lose one that is alive, so a member goes only if it is provably this
// node's, and this node provably has none: its data is not there, nothing listens
// at the member's addresses, and no havipd but this one bears its name. That one
// shows a machine of before that still runs: from here its addresses are silent if
// they are this node's own now, or lie behind a cut. Neither goes any while another member is
// unwell. Such a cluster is to be mended, not changed, and the member that is added
// next could not catch up with it.
package member
