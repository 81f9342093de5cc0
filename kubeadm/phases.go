package kubeadm

import (
	"fmt"
	"slices"
	"strings"
)

// Names of phases that the plan has to know.
const (
	phasePreflight   = "preflight"
	phaseWait        = "wait-control-plane"
	phaseUploadCerts = "upload-certs"
	phaseToken       = "bootstrap-token"
	phaseShow        = "show-join-command"
	phasePrepare     = "control-plane-prepare"
	phaseEtcdJoin    = "etcd-join"          // adds the etcd member
	phaseMasterJoin  = "control-plane-join" // does so without ControlPlaneKubeletLocalMode
)

// phaseSet is what is known of the phases of one kubeadm command.
type phaseSet struct {
	command string
	known   []string

	// hidden are phases that some versions run but do not list: init's
	// wait-control-plane up to 1.33, join's check-etcd in all of 1.31 to 1.35,
	// etcd-join up to 1.33 and kubelet-wait-bootstrap up to 1.34.
	hidden []hiddenPhase

	// never are phases that only print what havipctl prints itself.
	never []string

	// follow are phases that cannot be run alone. From 1.34 on join's
	// wait-control-plane no longer reads the cluster's configuration, and join
	// itself panics at its end if no phase did (cmd/join.go reads
	// data.initCfg.Etcd): so it is run together with the phase before it.
	follow []string
}

type hiddenPhase struct{ name, after string }

var initPhases = phaseSet{
	command: "init",
	known: []string{phasePreflight, "certs", "kubeconfig", "etcd", "control-plane", "kubelet-start", phaseWait, "upload-config",
		phaseUploadCerts, "mark-control-plane", phaseToken, "kubelet-finalize", "addon", phaseShow},
	hidden: []hiddenPhase{{phaseWait, "kubelet-start"}},
	never:  []string{phaseShow},
}

var joinPhases = phaseSet{
	command: "join",
	known:   []string{phasePreflight, phasePrepare, "check-etcd", "kubelet-start", phaseEtcdJoin, "kubelet-wait-bootstrap", phaseMasterJoin, phaseWait},
	hidden:  []hiddenPhase{{"check-etcd", phasePrepare}, {phaseEtcdJoin, "kubelet-start"}, {"kubelet-wait-bootstrap", phaseEtcdJoin}},
	follow:  []string{phaseWait},
}

// A Phase is a top-level phase with the names of those below it.
type Phase struct {
	Name string
	Sub  []string
}

// ParsePhases reads the phases out of kubeadm's help for a command, in the order
// in which it runs them.
func ParsePhases(command, help string) ([]Phase, error) {
	_, after, ok := strings.Cut(help, "command executes the following phases:")
	_, after, fenced := strings.Cut(after, "```")
	list, _, closed := strings.Cut(after, "```")
	if !ok || !fenced || !closed {
		return nil, fmt.Errorf("read kubeadm %s --help: no list of phases in it", command)
	}
	var phases []Phase
	for line := range strings.SplitSeq(list, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		sub, isSub := strings.CutPrefix(fields[0], "/")
		if !isSub {
			phases = append(phases, Phase{Name: fields[0]})
			continue
		}
		if len(phases) == 0 {
			return nil, fmt.Errorf("read kubeadm %s --help: %q belongs to no phase", command, fields[0])
		}
		last := &phases[len(phases)-1]
		last.Sub = append(last.Sub, sub)
	}
	if len(phases) == 0 {
		return nil, fmt.Errorf("read kubeadm %s --help: the list of phases is empty", command)
	}
	return phases, nil
}

// complete puts the hidden phases into the list.
func (s phaseSet) complete(listed []Phase) []Phase {
	all := slices.Clone(listed)
	for _, h := range s.hidden {
		at := indexPhase(all, h.after)
		if indexPhase(all, h.name) < 0 && at >= 0 {
			all = slices.Insert(all, at+1, Phase{Name: h.name})
		}
	}
	return all
}

func indexPhase(phases []Phase, name string) int {
	return slices.IndexFunc(phases, func(p Phase) bool { return p.Name == name })
}

func names(phases []Phase) []string {
	list := make([]string, len(phases))
	for i, p := range phases {
		list[i] = p.Name
	}
	return list
}

// groups returns which phases are run together: each by itself, except that from
// a phase that havip does not know all the rest is one group, as kubeadm alone
// knows what belongs together there. No group goes beyond the barrier.
func (s phaseSet) groups(all []Phase, skips []string, barrier string) [][]string {
	var groups [][]string
	unknown := false
	for _, p := range all {
		if slices.Contains(s.never, p.Name) || slices.Contains(skips, p.Name) {
			continue
		}
		last := len(groups) - 1
		if unknown || last >= 0 && slices.Contains(s.follow, p.Name) {
			groups[last] = append(groups[last], p.Name)
		} else {
			groups = append(groups, []string{p.Name})
			unknown = !slices.Contains(s.known, p.Name)
		}
		if p.Name == barrier {
			unknown = false
		}
	}
	return groups
}

// checkSkips sees that this kubeadm has every phase that is to be skipped.
func checkSkips(all []Phase, skips []string) error {
	for _, skip := range skips {
		name, sub, nested := strings.Cut(skip, "/")
		i := indexPhase(all, name)
		if i < 0 || nested && !slices.Contains(all[i].Sub, sub) {
			return fmt.Errorf("kubeadm.skip_phases: this kubeadm has no phase %s", skip)
		}
	}
	return nil
}
