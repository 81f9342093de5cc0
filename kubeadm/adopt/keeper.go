package adopt

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"havip/configs"
	"havip/kubeadm"
)

// Kind is the program that holds the VIP.
type Kind string

// The programs.
const (
	Keepalived Kind = "keepalived"
	KubeVIP    Kind = "kube-vip"
)

// Keeper is a program that holds the VIP on this node, or would.
type Keeper struct {
	Kind      Kind         `json:"kind"`
	Path      string       `json:"path"` // its configuration or manifest
	Link      string       `json:"link,omitempty"`
	Addresses []netip.Addr `json:"addresses"`
	Services  bool         `json:"services,omitempty"` // a kube-vip that serves Services too: that half stays
	Running   bool         `json:"running"`
	Problems  []string     `json:"problems,omitempty"` // why it is not taken over from by a program
}

func (k Keeper) String() string { return fmt.Sprintf("%s by %s", k.Kind, k.Path) }

// unit is the service that runs keepalived.
const unit = "keepalived.service"

// keepalivedPath is where its unit has its configuration, and Debian's and Red
// Hat's condition for starting it.
const keepalivedPath = "/etc/keepalived/keepalived.conf"

// manifests is where the kubelet of a kubeadm node looks for static pods.
const manifests = "etc/kubernetes/manifests"

// findKeepers looks for programs that hold one of these addresses. Others are
// programs of the same kind that are left as they are.
func findKeepers(s kubeadm.System, addresses []netip.Addr) (keepers []Keeper, others []string) {
	if k, ok := findKeepalived(s, addresses); ok {
		keepers = append(keepers, k)
	}
	paths, _ := filepath.Glob(s.Path(manifests, "[^.]*")) // the pattern is right
	for _, path := range paths {
		pod, err := configs.ReadPod(path)
		if err != nil {
			continue // no pod of kube-vip's
		}
		for _, one := range pod {
			switch v := kubeadm.ParseKubeVIP(one); {
			case v.ControlPlane && overlap(v.Addresses, addresses):
				keepers = append(keepers, kubeVIPKeeper(v, s.Inside(path), kubeVIPRuns(s, addresses)))
			case v.Services && !v.ControlPlane:
				others = append(others, "kube-vip by "+s.Inside(path)+" serves Services only")
			}
		}
	}
	if len(keepers) == 0 && kubeVIPRuns(s, addresses) {
		keepers = append(keepers, Keeper{Kind: KubeVIP, Addresses: addresses, Running: true, Problems: []string{
			"it runs, and not by a static pod: take it out of the cluster by hand (a DaemonSet?)"}})
	}
	return keepers, others
}

func overlap(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(x netip.Addr) bool { return slices.Contains(b, x) })
}

func findKeepalived(s kubeadm.System, addresses []netip.Addr) (Keeper, bool) {
	c, err := readKeepalived(s, keepalivedPath)
	k := Keeper{Kind: Keepalived, Path: keepalivedPath, Running: s.Running("keepalived")}
	switch {
	case errors.Is(err, fs.ErrNotExist) && !k.Running:
		return k, false
	case err != nil:
		k.Addresses, k.Problems = addresses, []string{err.Error()}
		return k, true
	}
	var more []string
	for _, in := range c.instances {
		if !overlap(in.addresses, addresses) {
			more = append(more, "vrrp_instance "+in.name)
			continue
		}
		k.Addresses, k.Link = in.addresses, in.link
		if in.vmac {
			k.Problems = append(k.Problems, "use_vmac: the VIP has a MAC address of its own, on a link of its own")
		}
	}
	if c.servers {
		more = append(more, "virtual servers")
	}
	if len(more) > 0 && k.Addresses != nil {
		k.Problems = append(k.Problems, "it has more to do than to hold the VIP: "+strings.Join(more, ", "))
	}
	if k.Addresses == nil && len(c.unclear) > 0 {
		k.Addresses = addresses
		k.Problems = append(k.Problems, "which addresses it holds is not to be read: "+strings.Join(c.unclear, ", "))
	}
	k.Problems = append(k.Problems, families(k.Addresses)...)
	return k, k.Addresses != nil
}

// families: a VIP has one address, or one of each family.
func families(list []netip.Addr) []string {
	four := 0
	for _, a := range list {
		if a.Is4() {
			four++
		}
	}
	if four > 1 || len(list)-four > 1 {
		return []string{fmt.Sprintf("it holds other addresses beside the VIP: %v", list)}
	}
	return nil
}

func kubeVIPKeeper(v kubeadm.KubeVIP, path string, running bool) Keeper {
	k := Keeper{Kind: KubeVIP, Path: path, Link: v.Link, Addresses: v.Addresses, Services: v.Services, Running: running}
	if !v.ARP {
		k.Problems = append(k.Problems, "it is not in ARP mode: the VIP is a route that it announces, and not on this link alone")
	}
	k.Problems = append(k.Problems, families(v.Addresses)...)
	return k
}

// kubeVIPRuns looks for a process that is told what a kube-vip is told that holds
// one of the addresses: a container's processes are the node's too.
func kubeVIPRuns(s kubeadm.System, addresses []netip.Addr) bool {
	dirs, _ := filepath.Glob(s.Path("proc/[0-9]*"))
	for _, dir := range dirs {
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		v := kubeadm.ParseKubeVIP(configs.Container{Env: variables(environ), Flags: flags(line)})
		if v.ControlPlane && overlap(v.Addresses, addresses) {
			return true
		}
	}
	return false
}

func variables(environ []byte) map[string]string {
	all := map[string]string{}
	for entry := range strings.SplitSeq(string(environ), "\x00") {
		if name, value, ok := strings.Cut(entry, "="); ok {
			all[name] = value
		}
	}
	return all
}

func flags(line []byte) map[string]string {
	all := map[string]string{}
	words := strings.Split(string(line), "\x00")
	for i, word := range words {
		bare, ok := strings.CutPrefix(word, "--")
		if !ok {
			continue
		}
		name, value, joined := strings.Cut(bare, "=")
		if !joined {
			value = "true"
			if i+1 < len(words) && words[i+1] != "" && !strings.HasPrefix(words[i+1], "-") {
				value = words[i+1]
			}
		}
		all[name] = value
	}
	return all
}
