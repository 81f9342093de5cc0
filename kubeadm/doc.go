// Package kubeadm drives kubeadm init and kubeadm join on this node.
//
// What is to be done is decided by pure functions: [Guard] says what is in the
// way, [RenderInit] and [RenderJoin] write kubeadm's configuration, [PlanInit]
// and [PlanJoin] the steps. [Runner] carries the steps out; it is the only place
// that starts programs. It runs in havipctl, never in the daemon, and asks the
// daemon for the one thing it cannot do itself: that this node alone has the VIP
// while there is no etcd yet (the claim, see [Claims]).
//
// # Order, and why it is safe
//
//  1. The claim: this node has the VIP, by the daemon's word.
//  2. kubeadm's phases until the control plane runs here.
//  3. The daemon's election has won its record in the etcd that runs now. Until
//     then no phase runs that lets another node join: two nodes with a claim and
//     a record each would both have the VIP.
//  4. The other phases.
//
// join has no claim. Once it has certificates, and before anything of this node is
// in the cluster, it has the daemon look for the etcd member that this node had
// before it was made anew (see [Members]).
//
// # How a phase is run
//
// Not by kubeadm init phase NAME but by kubeadm init with all other phases
// skipped: every phase gets the same flags and reads the same file, also the
// phases that a version of kubeadm hides and that cannot be asked for by name.
//
// # After a crash
//
// The journal has a line for each step. The same command goes on with the first
// step that is not done; kubeadm's phases are made to be repeated. Programs that
// a killed run left behind hold the journal's lock, and are waited for.
package kubeadm
