package adopt

import (
	"errors"
	"fmt"
	"testing"

	"havip/test/cluster"
	"havip/test/lab"
)

// podText is a manifest of kube-vip's own generator, but for what the stand-in does
// not look at.
const podText = `apiVersion: v1
kind: Pod
metadata:
  name: kube-vip
  namespace: kube-system
spec:
  containers:
  - args:
    - manager
    env:
    - name: vip_arp
      value: "true"
    - name: vip_interface
      value: eth0
    - name: cp_enable
      value: "true"
    - name: svc_enable
      value: "%v"
    - name: address
      value: 198.51.100.166
    image: ghcr.io/kube-vip/kube-vip:v0.9.2
    name: kube-vip
  hostNetwork: true
`

const kubeletUnit = "[Unit]\nDescription=stand-in for the kubelet\n\n" +
	"[Service]\nEnvironment=" + cluster.PartVariable + "=kubelet\nExecStart=" + lab.PartPath + "\nRestart=always\nRestartSec=1\n\n[Install]\nWantedBy=multi-user.target\n"

// withKubeVIP is a cluster whose address the stand-in for kube-vip holds.
func withKubeVIP(t *testing.T, services bool) (*scene, *lab.Node) {
	t.Helper()
	s := open(t, func(n *lab.Node, _ int) error {
		return errors.Join(n.WriteFile(manifest, fmt.Sprintf(podText, services), 0o600), n.WriteFile("/etc/systemd/system/kubelet.service", kubeletUnit, 0o644))
	})
	holder, err := s.l.Holder(s.ctx, patience)
	s.try(err)
	s.holder(holder.Name)
	return s, holder
}

// TestKubeVIP migrates there and back: a kube-vip for the control plane alone, whose
// manifest is moved away, and one that serves Services too, which goes on to.
func TestKubeVIP(t *testing.T) {
	for _, services := range []bool{false, true} {
		t.Run(fmt.Sprintf("services %v", services), func(t *testing.T) {
			s, holder := withKubeVIP(t, services)
			migrateKubeVIP(s, holder, services)
		})
	}
}

func migrateKubeVIP(s *scene, holder *lab.Node, services bool) {
	begin, undo := []string{"havipctl", "adopt", "--begin"}, []string{"havipctl", "adopt", "--undo"}
	others := s.l.Others(holder)
	for _, n := range s.l.Nodes {
		s.says(n, "kube-vip by "+manifest, "havipctl", "adopt")
	}
	for _, n := range others {
		s.quick(s.step("standby "+n.Name, func() { s.on(n, begin...) }))
	}
	s.quick(s.step("holder "+holder.Name, func() { s.says(holder, "is done", begin...) }))
	s.stable(holder)
	look := "test ! -e " + manifest
	if services {
		look = "grep -A1 cp_enable " + manifest + " | grep -q false && grep -A1 svc_enable " + manifest + " | grep -q true"
	}
	for _, n := range s.l.Nodes {
		s.on(n, "sh", "-c", look)
	}
	for _, n := range others {
		s.quick(s.step("kept back "+n.Name, func() { s.says(n, "on "+holder.Name+": havipctl adopt --undo", undo...) }))
	}
	s.quick(s.step("back "+holder.Name, func() { s.says(holder, "as it was", undo...) }))
	for _, n := range others {
		s.quick(s.step("back "+n.Name, func() { s.says(n, "as it was", undo...) }))
	}
	for _, n := range s.l.Nodes {
		s.on(n, "sh", "-c", "grep -A1 cp_enable "+manifest+" | grep -q true && ! systemctl is-active havipd && test ! -e /etc/havip/havip.toml")
	}
	s.holder(holder.Name)
}
