package kubeadm

import (
	"errors"
	"fmt"
	"slices"
)

// hintsFor prefers what an error itself knows.
func hintsFor(err error, command string, s Step) []string {
	var former *FormerError
	if errors.As(err, &former) {
		return former.hints()
	}
	return hints(command, s)
}

// hints say what to try after a failed step.
func hints(command string, s Step) []string {
	var list []string
	if command == joinPhases.command && s.Name == "kubelet-start" {
		list = append(list, "if it says that a node of this name is there and Ready, from before: wait a minute until it is not Ready, or on a master: kubectl delete node NAME")
	}
	if command == joinPhases.command && s.Kind == KindPhase && s.Name != phasePrepare { // each phase asks the cluster by it again
		list = append(list, "if it could not validate the identity of the API server, the token has expired: run havipctl token on a master, and join with the new ticket")
	}
	switch {
	case s.Kind == KindClaim:
		list = append(list, "see who has the VIP: havipctl status")
	case s.Kind == KindFormer, s.Name == "check-etcd":
		list = append(list, "every etcd member on the list must answer: see how they are by havipctl status on another master")
	case s.Kind == KindHanded:
		list = append(list, "see what keeps the election from it: havipctl status", "and the daemon's log: journalctl -u havipd -n 50")
	case s.Name == phasePreflight:
		list = append(list, "mend what kubeadm names above; what may stay so goes into ignore_preflight_errors under [kubeadm]")
	case slices.Contains([]string{"kubelet-start", phaseWait, "kubelet-wait-bootstrap", phaseEtcdJoin}, s.Name):
		list = append(list, "see why the kubelet or a static pod does not run: journalctl -u kubelet -n 50, crictl ps -a")
	case s.Name == phasePrepare:
		list = append(list, "the token or the certificates may have expired: run havipctl token on a master, and join with the new ticket")
	case command == "token" || s.Name == phaseUploadCerts || s.Name == phaseToken || s.Name == "upload-config" || s.Name == "addon":
		list = append(list, "see whether the API server answers at the VIP: havipctl status")
	}
	switch command {
	case initPhases.command, joinPhases.command:
		list = append(list, fmt.Sprintf("go on from this step: havipctl %s", command), "or undo what was done: havipctl reset")
	default:
		list = append(list, fmt.Sprintf("try again: havipctl %s", command))
	}
	return list
}
