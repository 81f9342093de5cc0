package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"havip/test/adopt"
	"havip/test/cluster"
	"havip/test/lab"
)

// standInPod is a static pod with the stand-in for kube-vip (see test/adopt: the image
// of kube-vip cannot be had here). Its program is the tests' own, and what that needs
// is the node's; the image is etcd's, which has etcdctl.
const standInPod = `apiVersion: v1
kind: Pod
metadata:
  name: kube-vip
  namespace: kube-system
spec:
  hostNetwork: true
  containers:
  - name: kube-vip
    image: %s
    imagePullPolicy: Never
    command: [/lab/part]
    env:
    - {name: ` + cluster.PartVariable + `, value: ` + adopt.PartKubeVIP + `}
    - name: vip_arp
      value: "true"
    - name: vip_interface
      value: eth0
    - name: cp_enable
      value: "true"
    - name: address
      value: %s
    securityContext:
      capabilities: {add: [NET_ADMIN, NET_RAW]}
    volumeMounts:
    - {name: part, mountPath: /lab/part, readOnly: true}
    - {name: lib, mountPath: /lib, readOnly: true}
    - {name: lib64, mountPath: /lib64, readOnly: true}
    - {name: pki, mountPath: /etc/kubernetes/pki, readOnly: true}
  volumes:
  - {name: part, hostPath: {path: ` + lab.PartPath + `}}
  - {name: lib, hostPath: {path: /usr/lib}}
  - {name: lib64, hostPath: {path: /usr/lib64}}
  - {name: pki, hostPath: {path: /etc/kubernetes/pki}}
`

const standInPath = "/etc/kubernetes/manifests/kube-vip.yaml"

// TestAdopt takes the virtual IP of a real cluster over from a static pod under a
// real kubelet, and gives it back.
func TestAdopt(t *testing.T) {
	s := machines(t, masters)
	n1, n2, n3 := s.Nodes[0], s.Nodes[1], s.Nodes[2]
	s.plainCluster()
	image := strings.TrimSpace(s.on(n1, "sh", "-c", "ctr -n k8s.io images ls -q | grep /etcd:"))
	pod := fmt.Sprintf(standInPod, image, cluster.VIP4)
	for _, n := range s.Nodes { // n1 first: it has the address by hand, and is to lead
		s.on(n, "sh", "-c", "printf %s \"$1\" > "+standInPath, "sh", pod)
		s.try(cluster.Poll(s.ctx, settles, "the pod on "+n.Name, func() bool {
			_, _, code, err := n.Try(s.ctx, "sh", "-c", "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt --cert=/etc/kubernetes/pki/apiserver-etcd-client.crt "+
				"--key=/etc/kubernetes/pki/apiserver-etcd-client.key get --prefix --keys-only stand-in | grep -c stand-in | grep -qx "+n.Name[1:])
			return err == nil && code == 0
		}))
	}
	s.try(Each(s.Nodes, func(n *lab.Node) error {
		_, err := n.Exec(s.ctx, "sh", "-c", "apt-get -qq -y install "+packages+"/havip_*.deb")
		return err
	}))
	s.begin()
	for _, n := range s.Nodes {
		s.on(n, "havipctl", "adopt")
	}
	for _, n := range []*lab.Node{n2, n3, n1} {
		s.part(n, "adopt", "--begin")
	}
	s.try(cluster.Poll(s.ctx, settles, "three healthy masters", func() bool { return s.unrest() == "" }))
	s.ready(masters) // their pods, and no other
	for _, n := range []*lab.Node{n2, n3, n1, n2, n3} {
		s.part(n, "adopt", "--undo")
	}
	for _, n := range s.Nodes {
		if got := s.on(n, "cat", standInPath); got != pod {
			t.Errorf("the manifest on %s is %q", n.Name, got)
		}
	}
	// One that was left over is switched off by hand (docs/runbooks.md, "Two holders").
	runs := func() bool {
		_, _, code, err := n3.Try(s.ctx, "pgrep", "-x", "part")
		return err == nil && code == 0
	}
	s.try(cluster.Poll(s.ctx, settles, "the pod on n3", runs))
	s.on(n3, "mv", "/etc/kubernetes/manifests/kube-vip.yaml", "/root/")
	s.try(cluster.Poll(s.ctx, settles, "the end of the pod on n3", func() bool { return !runs() }))
}

// part runs one command of a migration and says what it cost.
func (s *scene) part(n *lab.Node, args ...string) {
	s.Helper()
	began := cluster.Now()
	s.on(n, append([]string{"havipctl"}, args...)...)
	took := cluster.Now() - began
	s.try(cluster.Pause(s.ctx, 2*time.Second))
	j := s.Sampler.Judge(began, cluster.Now())
	s.Logf("%s %v took %v: without a holder %v, two holders %v; %v", n.Name, args, took, j.LongestNone, j.Double, j.Spans)
	if j.Double != 0 || j.LongestNone > 20*time.Millisecond {
		s.Errorf("%s %v: without a holder %v, two holders %v", n.Name, args, j.LongestNone, j.Double)
	}
}
