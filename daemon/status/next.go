package status

import (
	"fmt"
	"strings"
	"time"
)

// nextSteps lists what to do, first things first. With NOBODY the first step
// has a command, except where waiting is all there is to do.
func nextSteps(d *Document) []Step {
	steps := []Step{}
	switch d.Verdict {
	case Unconfigured:
		return unconfiguredSteps(d)
	case Nobody:
		steps = append(steps, nobodySteps(d)...)
	case Unknown:
		steps = append(steps, unknownSteps(d)...)
	case Degraded:
		if d.Self.Role == RoleClaimant {
			steps = append(steps, claimSteps(d)...)
		}
	}
	steps = append(steps, addressSteps(d)...)
	steps = append(steps, alarmSteps(d)...)
	steps = append(steps, ownEtcdSteps(d)...)
	for i := range d.Masters {
		steps = append(steps, masterSteps(d, &d.Masters[i])...)
	}
	steps = append(steps, conflictSteps(d)...)
	return dedupe(append(steps, sizeSteps(d)...))
}

func unconfiguredSteps(d *Document) []Step {
	file := orElse(d.Config, "/etc/havip/havip.toml")
	return []Step{
		{Text: "write the config, the same file for every master (--master once for each of them)",
			Command: "havipctl config init --vip ADDRESS --master NAME=ADDRESS -f " + file},
		{Text: "then let the daemon read it", Command: "systemctl restart havipd"},
	}
}

func nobodySteps(d *Document) []Step {
	switch {
	case d.Record.State == RecordImplausible:
		return []Step{{Text: "clear the record; the masters then elect anew", Command: "havipctl release"}}
	case !d.etcdAnswers():
		return []Step{startEtcdStep(d)}
	case len(d.Etcd.Alarms) > 0:
		return nil
	case d.migrating():
		return []Step{{Text: "go on with the migration, the master that has the VIP last", On: "each master", Command: "havipctl adopt"}}
	case d.firstInRank() != nil:
		return []Step{{Text: "wait for it" + within(d), Command: "havipctl status --wait 30s"}}
	case len(d.withRole(RoleDrained)) > 0:
		return []Step{{Text: "let a drained master serve again", On: strings.Join(d.withRole(RoleDrained), " or "), Command: "havipctl undrain"}}
	}
	return []Step{{Text: "see why no daemon is ready to take over", On: "each master", Command: "systemctl status havipd kubelet"}}
}

func within(d *Document) string {
	if ms := d.Record.TakeoverInMS; ms != nil && *ms > 0 {
		return ", about " + age(time.Duration(*ms)*time.Millisecond)
	}
	return ""
}

// startEtcdStep names the masters whose members are missing: kubelet starts
// them, as static pods.
func startEtcdStep(d *Document) Step {
	silent := d.silentOthers()
	if len(silent) == 0 {
		return Step{Text: "no member is down: see in its log why etcd elects no leader; TCP 2380 must be open between the masters", Command: "crictl ps -a --name etcd"}
	}
	return Step{Text: fmt.Sprintf("bring etcd members back until %d of %d run", d.Etcd.QuorumNeeded, d.Etcd.Members),
		On: and(silent), Command: "systemctl start containerd kubelet"}
}

func unknownSteps(d *Document) []Step {
	var others []string
	for _, m := range d.Masters {
		if !m.Self {
			others = append(others, m.Name)
		}
	}
	switch {
	case d.noElection():
		return noElectionSteps(d, others)
	case d.etcdAnswers():
		return []Step{{Text: "look again in a moment", Command: "havipctl status --wait 30s"}}
	case d.Etcd.State == EtcdNotConfigured:
		return []Step{
			{Text: "make a cluster: on its first master", Command: "sudo havipctl init"},
			{Text: "or join one, with the line that init or token prints", Command: "sudo havipctl join"},
		}
	case len(others) == 0:
		return nil
	case d.Etcd.State == EtcdNoQuorum:
		return []Step{{Text: "ask the others, if they run", On: strings.Join(others, " or "), Command: "havipctl status"}, startEtcdStep(d)}
	}
	return []Step{{Text: "ask a master whose etcd answers", On: strings.Join(others, " or "), Command: "havipctl status"}}
}

// noElectionSteps: what is wrong stands in the warnings, each with its place and fix.
func noElectionSteps(d *Document, others []string) []Step {
	if len(d.Warnings) == 0 {
		return []Step{{Text: "look again in a moment", Command: "havipctl status --wait 30s"}}
	}
	steps := []Step{{Text: "mend what the warnings say, then let havipd read " + orElse(d.Config, "the config file") + " anew", Command: "systemctl restart havipd"}}
	if len(others) > 0 {
		steps = append(steps, Step{Text: "who holds the VIP another master can tell", On: strings.Join(others, " or "), Command: "havipctl status"})
	}
	return steps
}

func claimSteps(d *Document) []Step {
	if !d.claimedByForce() {
		return []Step{{Text: "let havipctl init come to its end; the election takes the VIP over when etcd runs"}}
	}
	return []Step{
		startEtcdStep(d),
		{Text: "the election takes the VIP over when etcd has a quorum; to give it back before that", Command: "havipctl release"},
	}
}

func addressSteps(d *Document) []Step {
	var steps []Step
	for _, s := range d.Address.States {
		if s.Present && (s.Permanent || d.strayHere(s)) && d.Address.Link != "" {
			steps = append(steps, Step{Text: "find what set the address, and remove it", On: d.Node,
				Command: fmt.Sprintf("ip address del %s/%d dev %s", s.Address, s.Address.BitLen(), d.Address.Link)})
		}
	}
	return steps
}

func alarmSteps(d *Document) []Step {
	for _, a := range d.Etcd.Alarms {
		if strings.Contains(a, "NOSPACE") {
			return []Step{{Text: "etcd is full: make room, then lift the alarm", Command: "etcdctl defrag --cluster && etcdctl alarm disarm"}}
		}
	}
	if len(d.Etcd.Alarms) > 0 {
		return []Step{{Text: "look into the alarm before lifting it", Command: "etcdctl alarm list"}}
	}
	return nil
}

func ownEtcdSteps(d *Document) []Step {
	switch d.Etcd.State {
	case EtcdUnreachable:
		if strings.Contains(d.Etcd.Reason, "certificate has expired") {
			return []Step{{Text: "renew the certificates of " + d.Node + ", and start its static pods anew", On: d.Node, Command: "kubeadm certs renew all"}}
		}
		return []Step{{Text: "see why the etcd member of " + d.Node + " is not well", On: d.Node, Command: "crictl ps -a --name etcd"}}
	case EtcdNoQuorum: // else it is said already, or init waits for it
		if d.Verdict == Degraded && d.Self.Role != RoleClaimant {
			return []Step{startEtcdStep(d)}
		}
	case EtcdDenied:
		return []Step{{Text: "compare the certificates in the config with those of etcd", On: d.Node, Command: "havipctl config show"}}
	}
	return nil
}

func masterSteps(d *Document, m *Master) []Step {
	switch m.Role {
	case RoleGone:
		return goneSteps(d, m)
	case RoleNeverSeen:
		return []Step{{Text: m.Name + " was never seen: install and start havipd there", On: m.Name, Command: "systemctl enable --now havipd"}}
	case RoleWaiting:
		if d.etcdAnswers() {
			return []Step{{Text: "see why the etcd member of " + m.Name + " is not well", On: m.Name, Command: "crictl ps -a --name etcd"}}
		}
	case RoleDrained:
		if d.Verdict == Nobody { // said already, as the one command
			return nil
		}
		if m.Adopting != AdoptNone {
			return []Step{{Text: m.Name + " is in a migration: go on with it, or back", On: m.Name, Command: "havipctl adopt"}}
		}
		return []Step{{Text: m.Name + " is drained: when its maintenance is over", On: m.Name, Command: "havipctl undrain"}}
	case RoleUnhealthy, RoleHolder:
		var steps []Step
		if m.Self && m.Role == RoleHolder && d.Self.DrainedBy != "" {
			steps = append(steps, Step{Text: m.Name + " is drained, and has the VIP until another master can take it: when its maintenance is over", On: m.Name, Command: "havipctl undrain"})
		}
		if !m.Healthy && d.etcdAnswers() {
			steps = append(steps, healthSteps(d, m)...)
		}
		return steps
	}
	return nil
}

func healthSteps(d *Document, m *Master) []Step {
	var steps []Step
	if m.APIServer == APIFailing {
		steps = append(steps, Step{Text: "see why the API server of " + m.Name + " fails", On: m.Name, Command: "crictl ps -a --name kube-apiserver"})
	}
	switch {
	case m.Gateway != GatewaySilent:
	case d.allCutOff():
		steps = append(steps, Step{Text: "see why no master hears the hosts of health.gateway: they, or the VIP's network, are down; the VIP stays where it is meanwhile"})
	default:
		steps = append(steps, Step{Text: "check the cable, switch port and VLAN of the VIP's link there: it has a carrier, and nobody answers", On: m.Name,
			Command: "ip -s link; ip neighbour"})
	}
	return steps
}

func goneSteps(d *Document, m *Master) []Step {
	if m.etcdAlive() {
		return []Step{{Text: "start havipd there, if it does not run for another VIP; its etcd member runs, so the node does", On: m.Name, Command: "systemctl start havipd"}}
	}
	if d.othersUntold() && m.Etcd != MemberNone {
		return []Step{{Text: "see whether havipd of " + m.Name + " runs, and for this VIP: etcd has a quorum, so its node may be well", On: m.Name, Command: "havipctl status"}}
	}
	return []Step{
		{Text: m.Name + " answers neither havip nor etcd: check its power and cable"},
		{Text: "if its disk is lost: install it anew under its name, and join it again", On: m.Name, Command: "havipctl join --replace"},
	}
}

func conflictSteps(d *Document) []Step {
	if len(conflictProblems(d)) == 0 {
		return nil
	}
	return []Step{{Text: "find the machine with that MAC: another host or program uses the VIP", Command: "ip neighbour"}}
}

// sizeSteps speaks of what is built in, once nothing is broken.
func sizeSteps(d *Document) []Step {
	if d.Verdict != Degraded || !d.etcdAnswers() || len(d.Masters) == 0 || len(d.Masters) > 2 {
		return nil
	}
	if d.Etcd.Healthy < d.Etcd.Members {
		return nil
	}
	return []Step{{Text: "three masters survive the loss of one: join more and name them in [masters]"}}
}

func dedupe(steps []Step) []Step {
	seen := map[Step]bool{}
	out := []Step{}
	for _, s := range steps {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
