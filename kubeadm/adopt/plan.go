package adopt

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"havip/kubeadm"
)

// The steps. Each can be done again.
const (
	doPrepare = "prepare"       // leave the mark for the daemon
	doConfig  = "write-config"  // havip.toml
	doStart   = "start-havipd"  // beside the keeper
	doReady   = "await-ready"   // the daemon runs, kept back, and sees etcd
	doOff     = "stop-keeper"   // for good, as far as a reboot goes
	doGone    = "await-gone"    // nothing of it runs
	doWait    = "wait"          // say so in etcd
	doTake    = "take"          // the election, with the keeper's address out of sight
	doHolder  = "await-holder"  // the VIP is here by right
	doOver    = "over"          // let the others take part
	doGive    = "give"          // room for what the keeper sets, beside what havipd has
	doKept    = "await-keeper"  // it has set it
	doBack    = "keep-back"     // this node is not to take the VIP
	doStop    = "stop-havipd"   // for good
	doOn      = "start-keeper"  // as it was
	doForget  = "forget"        // the mark
	doRestore = "restore-files" // havip.toml, as it was
)

// Plan is what is done on this node.
type Plan struct {
	Steps []kubeadm.Step `json:"steps"`
	Then  string         `json:"then"` // what comes after it, on this node or another
}

func step(name, text string) kubeadm.Step {
	return kubeadm.Step{Name: name, Kind: kubeadm.Kind(name), Text: text}
}

// Guard returns everything that is in the way of beginning, at once, and what is
// worth to know.
func Guard(f Facts) []kubeadm.Finding {
	var all []kubeadm.Finding
	block := func(subject, what, fix string) {
		all = append(all, kubeadm.Finding{Subject: subject, What: what, Fix: fix, Blocks: true})
	}
	if !f.Root {
		block("user", "a migration needs root", "run it by sudo")
	}
	if f.Endpoint.Error != "" {
		block("endpoint", f.Endpoint.Error, "run it on a master of a kubeadm cluster")
	}
	if !f.Member {
		block("etcd", "this node has no etcd member (no etcd.yaml among the static pods)", "havip elects through the etcd member on each master; external etcd is not served")
	}
	switch {
	case f.Journal != nil && f.Journal.Keeper.Kind != "":
	case f.Endpoint.Error == "" && len(f.Keepers) == 0:
		block("keeper", fmt.Sprintf("neither keepalived nor a kube-vip that holds %v is found here", f.Endpoint.Addresses), "run it on the masters that have one; on one that has none havipd is simply started, after the migration")
	case len(f.Keepers) > 1:
		block("keeper", fmt.Sprintf("there are two: %v and %v", f.Keepers[0], f.Keepers[1]), "switch off the one that does not hold the VIP")
	}
	for _, k := range f.Keepers {
		for _, why := range k.Problems {
			block(k.String(), why, "see docs/migration.md: by hand")
		}
		if !k.Running && f.Journal == nil {
			block(k.String(), "it does not run", "start it, or take it away: nothing is taken over from it")
		}
	}
	if f.Silent != "" {
		block("endpoint", "nobody answers there: "+f.Silent, "a migration begins with a cluster that works")
	}
	if f.Unnamed != "" {
		block("certificate", "of the API server on this node: "+f.Unnamed, "make it anew with the endpoint in it (kubeadm certs, certSANs), before the VIP can come here")
	}
	if f.MastersNo != "" {
		block("masters", f.MastersNo, "name them: --master NAME=ADDRESS, once for each")
	}
	if f.ConfigNo != "" {
		block(f.ConfigPath, f.ConfigNo, "mend the file, or move it away")
	}
	if f.SelfNo != "" {
		block("masters", f.SelfNo, "name them: --master NAME=ADDRESS, once for each")
	}
	if f.Daemon.Members > 0 && f.Daemon.Members != len(f.Masters) {
		block("masters", fmt.Sprintf("etcd has %d members, and [masters] names %d", f.Daemon.Members, len(f.Masters)), "every master must be in the file, on every master")
	}
	if f.Daemon.Runs && f.Daemon.Stage == stageOver && f.Journal == nil {
		block("havipd", "it runs already, without a migration", "where it holds the VIP there is nothing to do; else: systemctl disable --now havipd")
	}
	if f.Daemon.Stage == stageBack || f.Daemon.Stage == stageGive || f.Journal != nil && f.Journal.Stopping {
		block("havipd", "this node is on the way back", "end it first: havipctl adopt --undo")
	}
	for _, other := range f.Others {
		all = append(all, kubeadm.Finding{Subject: "beside", What: other + ": it is left alone"})
	}
	return all
}

// holds reports whether this node is the one that has the VIP by the keeper. What
// was begun as the holder goes on so.
func (f Facts) holds() bool {
	if j := f.Journal; j != nil && j.Touched {
		return j.Holder
	}
	return f.Here
}

// notWaiting are the other masters that have not switched off their keepers.
func (f Facts) notWaiting(without []string) []string {
	var names []string
	for _, m := range f.Masters {
		if m.Name == f.Self.Name || slices.Contains(without, m.Name) {
			continue
		}
		i := slices.IndexFunc(f.Daemon.Masters, func(o Master) bool { return o.Name == m.Name })
		if i < 0 || !f.Daemon.Masters[i].Present || f.Daemon.Masters[i].Stage != stageWait {
			names = append(names, m.Name)
		}
	}
	return names
}

// over reports whether the daemon has ended this node's part: the run before this one
// died before it could write that down.
func (f Facts) over() bool {
	return f.Journal.done(doGone) && f.Daemon.Runs && f.Daemon.Stage == stageOver
}

// Begin plans this node's part. The standbys' keepers go first: were the holder's
// to go before them, one of them would take the VIP in its turn.
func Begin(f Facts, without []string) Plan {
	if f.over() {
		return Plan{[]kubeadm.Step{step(doOver, "havipd is through with it: write that down")}, "the migration is done: havipctl status"}
	}
	// The mark is first: a havipd that is enabled already reads the file at its next start.
	steps := []kubeadm.Step{step(doPrepare, "note that a migration has begun: havipd keeps its hands off")}
	if !f.ConfigKept {
		steps = append(steps, step(doConfig, "write "+f.ConfigPath))
	}
	steps = append(steps,
		step(doStart, "enable and start havipd, beside "+f.keeper().String()),
		step(doReady, "wait until havipd sees etcd, and is kept from taking the VIP"))
	off := []kubeadm.Step{step(doOff, f.keeper().offText()), step(doGone, "see that nothing of it runs any more")}
	if !f.holds() {
		steps = append(append(steps, off...), step(doWait, "tell the others: the VIP is theirs to take"))
		return Plan{steps, "then the same on the other masters, the one that has the VIP last: havipctl adopt --begin"}
	}
	if first := f.notWaiting(without); len(first) > 0 && !f.Journal.done(doTake) {
		return Plan{steps, fmt.Sprintf("this node has the VIP, so it comes last. First, on %s: havipctl adopt --begin; then here again", strings.Join(first, ", "))}
	}
	steps = append(steps,
		step(doTake, "have havipd win the election; it sets the VIP beside the keeper's"),
		step(doHolder, "wait until havipd holds the VIP here"))
	steps = append(append(steps, off...), step(doOver, "let the other masters take part"))
	return Plan{steps, "the migration is done: havipctl status"}
}

func (f Facts) keeper() Keeper {
	switch {
	case f.Journal != nil && f.Journal.Keeper.Kind != "":
		return f.Journal.Keeper
	case len(f.Keepers) > 0:
		return f.Keepers[0]
	}
	return Keeper{}
}

func (k Keeper) offText() string {
	switch {
	case k.Kind == Keepalived:
		return "disable and stop " + unit
	case k.Services:
		return "set cp_enable to false in " + k.Path + "; its Services go on, after a restart of the pod"
	}
	return "move " + k.Path + " away, so that the kubelet ends its pod"
}

// beside reports whether the keeper's address and havipd's can be on the link at
// once: IPv6 addresses cannot.
func (k Keeper) beside() bool {
	return len(k.Addresses) > 0 && !slices.ContainsFunc(k.Addresses, netip.Addr.Is6)
}

func (k Keeper) onText() string {
	if k.Kind == Keepalived {
		return "enable and start " + unit
	}
	return "put " + k.Path + " back as it was"
}

// GuardUndo returns what is in the way of going back.
func GuardUndo(f Facts, without []string) []kubeadm.Finding {
	var all []kubeadm.Finding
	block := func(subject, what, fix string) {
		all = append(all, kubeadm.Finding{Subject: subject, What: what, Fix: fix, Blocks: true})
	}
	if !f.Root {
		block("user", "a migration needs root", "run it by sudo")
	}
	switch d := f.Daemon; {
	case f.Journal == nil || !f.Journal.Touched && !f.Journal.done(doTake):
	case !d.Runs && !f.Journal.Stopping:
		block("havipd", "it does not run, so who has the VIP is not known", "systemctl start havipd")
	case d.Runs && !d.Known:
		block("etcd", "it does not answer here, so who has the VIP is not known", "bring etcd's quorum back first")
	case d.Holder:
		for _, m := range f.taking(without) {
			block(m, "it would take the VIP as soon as it is let go here", "run there first: havipctl adopt --undo")
		}
	}
	return all
}

// taking are the other masters that may take the VIP: all of whom it is not known
// that they are kept back. That an operator has drained one does not count: undrain
// ends it without a look at who has the VIP. The daemon goes by the file as it was when
// it started, which may be gone or spoiled since.
func (f Facts) taking(without []string) []string {
	var names []string
	for _, m := range f.Masters {
		names = append(names, m.Name)
	}
	for _, m := range f.Daemon.Masters {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		i := slices.IndexFunc(f.Daemon.Masters, func(o Master) bool { return o.Name == name })
		return name == f.Self.Name || slices.Contains(without, name) || i >= 0 && f.Daemon.Masters[i].keptBack()
	})
}

// rivals are those of them that are there: on the way back the others have been
// gone since their own part.
func (f Facts) rivals(without []string) []string {
	return slices.DeleteFunc(f.taking(without), func(name string) bool {
		return !slices.ContainsFunc(f.Daemon.Masters, func(m Master) bool { return m.Name == name && m.Present })
	})
}

// Undo plans the way back of this node. A keeper must not be started while havip
// has the VIP on another node, or is about to: such a node is kept back first, and
// goes on when the VIP has been let go.
func Undo(f Facts, without []string) Plan {
	d, j := f.Daemon, f.Journal
	stop := []kubeadm.Step{step(doStop, "stop havipd, and disable it"), step(doForget, "forget the migration")}
	switch {
	case j == nil:
		return Plan{}
	case !j.Touched:
		// The keeper was never touched. Where its address became the daemon's own,
		// the keeper sets it again when it is started anew.
		steps := stop
		if j.done(doTake) {
			steps = []kubeadm.Step{stop[0], step(doOn, "start the keeper anew if its address has gone with havipd"), stop[1]}
		}
		return Plan{append(steps, step(doRestore, "put "+f.ConfigPath+" back as it was")), "this node is as it was"}
	case !d.Holder && d.Record != "" && !slices.Contains(without, d.Record):
		return Plan{[]kubeadm.Step{step(doBack, "keep this node from taking the VIP")},
			fmt.Sprintf("%s has the VIP. When every other master is kept back so, on %s: havipctl adopt --undo; then here again", d.Record, d.Record)}
	case !d.Holder && len(f.rivals(without)) > 0:
		names := strings.Join(f.rivals(without), ", ")
		return Plan{[]kubeadm.Step{step(doBack, "keep this node from taking the VIP")},
			fmt.Sprintf("havipd on %s would take the VIP beside the keeper here. First, on %s: havipctl adopt --undo; then here again", names, names)}
	}
	steps := []kubeadm.Step{stop[0], step(doOn, f.keeper().onText())}
	if d.Holder && d.Stage != stageTake && f.keeper().beside() {
		steps = []kubeadm.Step{step(doGive, "have havipd make room for the keeper's address"), steps[1], step(doKept, "wait until the keeper has set it"), stop[0]}
	}
	steps = append(steps, stop[1], step(doRestore, "put "+f.ConfigPath+" back as it was"))
	return Plan{steps, "this node is as it was; then the same on the other masters: havipctl adopt --undo"}
}

// undo is the name under which the journal has a step of the way back.
func undo(name string) string { return "undo-" + name }
