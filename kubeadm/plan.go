package kubeadm

import (
	"fmt"
	"slices"
	"strings"

	"havip/configs"
)

// Kind says what a step is.
type Kind string

// The kinds of steps.
const (
	KindClaim  Kind = "claim"  // the daemon takes the VIP for this node alone
	KindPhase  Kind = "phase"  // phases of kubeadm
	KindHanded Kind = "handed" // the daemon's election has won its record
	KindFormer Kind = "former" // no dead etcd member of this node's is in the way
)

// Step is one thing to do. Its name is unique within a plan.
type Step struct {
	Name   string   `json:"name"`
	Kind   Kind     `json:"kind"`
	Phases []string `json:"phases,omitempty"` // of kubeadm that it runs
	Args   []string `json:"args,omitempty"`   // kubeadm's command line
	Text   string   `json:"text"`             // what it does, for people
}

// Plan is what init or join does on this node.
type Plan struct {
	Command string `json:"command"`
	Steps   []Step `json:"steps"`
}

// Names of the steps that are not kubeadm's.
const (
	stepClaim  = "claim"
	stepHanded = "handed-to-election"
	stepFormer = "former-member"
)

// PlanInit plans kubeadm init with the phases that this kubeadm lists. file is
// where its configuration will be.
func PlanInit(c *configs.Config, listed []Phase, file string) (Plan, error) {
	all := initPhases.complete(listed)
	if err := safeOrder(all); err != nil {
		return Plan{}, err
	}
	if err := checkSkips(all, c.Kubeadm.SkipPhases); err != nil {
		return Plan{}, err
	}
	more := []string{"--skip-token-print", "--skip-certificate-key-print"}
	if c.Kubeadm.UploadCerts {
		more = append(more, "--upload-certs")
	}
	steps := []Step{{Name: stepClaim, Kind: KindClaim, Text: "have the daemon take the VIP for this node"}}
	for _, group := range initPhases.groups(all, c.Kubeadm.SkipPhases, phaseWait) {
		steps = append(steps, phaseStep(initPhases, all, group, c.Kubeadm.SkipPhases, file, more))
		if slices.Contains(group, phaseWait) {
			steps = append(steps, Step{Name: stepHanded, Kind: KindHanded, Text: "wait until the election in the new etcd member has the VIP"})
		}
	}
	return Plan{Command: initPhases.command, Steps: steps}, nil
}

// PlanJoin plans kubeadm join of a master.
func PlanJoin(c *configs.Config, listed []Phase, file string) (Plan, error) {
	all := joinPhases.complete(listed)
	var skips []string
	for _, skip := range c.Kubeadm.SkipPhases {
		if checkSkips(all, []string{skip}) == nil {
			skips = append(skips, skip) // most are init's
		}
	}
	var steps []Step
	for _, group := range joinPhases.groups(all, skips, phasePrepare) {
		steps = append(steps, phaseStep(joinPhases, all, group, skips, file, nil))
		if slices.Contains(group, phasePrepare) {
			// From here on there are certificates to ask etcd with, and nothing of
			// this node is in the cluster yet.
			steps = append(steps, Step{Name: stepFormer, Kind: KindFormer, Text: "see that no dead etcd member of this node's is in the way"})
		}
	}
	return Plan{Command: joinPhases.command, Steps: steps}, nil
}

// done reports whether a step needs no run any more. A claim is over when the
// election has the VIP. Once this node's etcd member may have been added, it is no
// former one that is on the list.
func (p Plan) done(s Step, j *Journal) bool {
	switch s.Kind {
	case KindClaim:
		return j.Done(stepHanded)
	case KindFormer:
		return j.Done(s.Name) || slices.ContainsFunc(p.Steps, func(s Step) bool {
			_, begun := j.Step(s.Name)
			return begun && (slices.Contains(s.Phases, phaseEtcdJoin) || slices.Contains(s.Phases, phaseMasterJoin))
		})
	}
	return j.Done(s.Name)
}

// lettingIn names the steps of init that put the secrets into the cluster.
func (p Plan) lettingIn() []string {
	var list []string
	for _, s := range p.Steps {
		if slices.Contains(s.Phases, phaseUploadCerts) || slices.Contains(s.Phases, phaseToken) {
			list = append(list, s.Name)
		}
	}
	return list
}

// safeOrder sees that no other node can join before the election has its record:
// the two phases that let them in must come after the control plane runs.
func safeOrder(all []Phase) error {
	wait := indexPhase(all, phaseWait)
	if wait < 0 {
		return fmt.Errorf("plan init: this kubeadm lists no phase kubelet-start, so when etcd runs is not known: %s", strings.Join(names(all), ", "))
	}
	for _, name := range []string{phaseUploadCerts, phaseToken} {
		if i := indexPhase(all, name); i >= 0 && i < wait {
			return fmt.Errorf("plan init: this kubeadm runs %s before %s: others could join before the VIP is safe", name, phaseWait)
		}
	}
	return nil
}

// phaseStep is the step that runs these phases and no other.
func phaseStep(set phaseSet, all []Phase, run, skips []string, file string, more []string) Step {
	var skipped []string
	for _, p := range all {
		if !slices.Contains(run, p.Name) {
			skipped = append(skipped, p.Name)
		}
	}
	for _, skip := range skips {
		if name, _, nested := strings.Cut(skip, "/"); nested && slices.Contains(run, name) {
			skipped = append(skipped, skip)
		}
	}
	args := append([]string{set.command, "--config=" + file}, more...)
	if len(skipped) > 0 {
		args = append(args, "--skip-phases="+strings.Join(skipped, ","))
	}
	return Step{Name: run[0], Kind: KindPhase, Phases: run, Args: args, Text: phaseText(run)}
}

// phaseTexts says what phases do, for people who wait.
var phaseTexts = map[string]string{
	phasePreflight:           "kubeadm's own checks, and pull images",
	"certs":                  "make certificates",
	"kubeconfig":             "write kubeconfig files",
	"etcd":                   "write etcd's manifest",
	"control-plane":          "write the control plane's manifests",
	"kubelet-start":          "configure and start the kubelet",
	phaseWait:                "wait for the control plane",
	"upload-config":          "store the configuration in the cluster",
	phaseUploadCerts:         "store the certificates, encrypted, for other masters",
	"mark-control-plane":     "label and taint this node",
	phaseToken:               "make the token that lets nodes join",
	"kubelet-finalize":       "let the kubelet renew its certificate",
	"addon":                  "install CoreDNS and kube-proxy",
	phasePrepare:             "fetch certificates, write the control plane's manifests",
	"check-etcd":             "see that the cluster's etcd is healthy",
	phaseEtcdJoin:            "add this node's etcd member",
	"kubelet-wait-bootstrap": "wait for the kubelet's certificate",
	phaseMasterJoin:          "label and taint this node",
}

func phaseText(run []string) string {
	var texts []string
	for _, name := range run {
		text, ok := phaseTexts[name]
		if !ok {
			return "run " + strings.Join(run, ", ")
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}
