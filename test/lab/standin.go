package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"havip/test/cluster"
)

// StandIn builds masters without Kubernetes: a real etcd member, and programs
// that stand in for the container runtime, the kubelet and the API server.
type StandIn struct {
	Etcd string // path here
	pki  *cluster.PKI
}

// NewStandIn finds etcd and makes the certificates that the masters share.
func NewStandIn() (*StandIn, error) {
	etcd, err := cluster.Tool("etcd")
	if err != nil {
		return nil, err
	}
	pki, err := cluster.NewPKI()
	if err != nil {
		return nil, err
	}
	return &StandIn{etcd, pki}, nil
}

// etcdPath is where a machine has etcd.
const etcdPath = "/usr/local/bin/etcd"

// Options are what a lab of such masters needs.
func (s *StandIn) Options() Options {
	return Options{Binds: map[string]string{etcdPath: s.Etcd}, Prepare: s.prepare}
}

// prepare writes what kubeadm leaves on a master, and the units.
func (s *StandIn) prepare(n *Node) error {
	if err := s.pki.Install(n.PKI, n.Seat); err != nil {
		return err
	}
	kubernetes := n.Path("/etc/kubernetes")
	if err := os.CopyFS(filepath.Join(kubernetes, "pki"), os.DirFS(n.PKI)); err != nil {
		return fmt.Errorf("copy certificates: %w", err)
	}
	if err := protectKeys(filepath.Join(kubernetes, "pki")); err != nil {
		return err
	}
	m := cluster.Master{
		Name: n.Name, Address: n.Address, PKI: "/etc/kubernetes/pki", Data: "/var/lib/etcd", All: n.lab.Seats(),
	}
	if err := m.WriteManifests(filepath.Join(kubernetes, "manifests")); err != nil {
		return err
	}
	var errs []error
	for name, text := range units(m) {
		errs = append(errs, n.WriteFile("/etc/systemd/system/"+name, text, 0o644))
		wants := n.Path("/etc/systemd/system/multi-user.target.wants")
		errs = append(errs, os.MkdirAll(wants, 0o755), os.Symlink("/etc/systemd/system/"+name, filepath.Join(wants, name)))
	}
	return errors.Join(errs...)
}

// protectKeys gives keys the mode that kubeadm gives them: a copy has the
// umask's.
func protectKeys(dir string) error {
	keys, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil {
		return err
	}
	below, err := filepath.Glob(filepath.Join(dir, "etcd", "*.key"))
	if err != nil {
		return err
	}
	for _, k := range append(keys, below...) {
		if err := os.Chmod(k, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// units are the services of a master. As with real ones the kubelet, after the
// runtime, is what starts the pods; and a shutdown stops kubelet and runtime
// in order, but no pod: containers are not units with a place in that order
// (runc makes their scopes with DefaultDependencies=no), they run until
// systemd, at the very end, kills what is left.
func units(m cluster.Master) map[string]string {
	return map[string]string{
		"containerd.service": service("stand-in for the container runtime", "/bin/sleep infinity", "After=network.target"),
		"kubelet.service":    service("stand-in for the kubelet", "/bin/sleep infinity", "After=containerd.service network-online.target"),
		"etcd.service":       pod("etcd", etcdPath+" "+strings.Join(m.EtcdFlags(), " ")),
		"kube-apiserver.service": pod("stand-in for the API server",
			strings.Join([]string{PartPath, m.Name, m.PKI + "/apiserver.crt", m.PKI + "/apiserver.key"}, " "),
			"Environment="+cluster.PartVariable+"=apiserver"),
	}
}

func service(description, command, order string) string {
	return fmt.Sprintf("[Unit]\nDescription=%s\n%s\n\n[Service]\nExecStart=%s\nRestart=always\nRestartSec=1\n\n[Install]\nWantedBy=multi-user.target\n",
		description, order, command)
}

func pod(description, command string, settings ...string) string {
	return fmt.Sprintf("[Unit]\nDescription=%s\nDefaultDependencies=no\nAfter=sysinit.target kubelet.service\n\n"+
		"[Service]\nExecStart=%s\n%s\nRestart=always\nRestartSec=1\n", description, command, strings.Join(settings, "\n"))
}
