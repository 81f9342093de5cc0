package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"havip/test/cluster"
)

// Kubernetes builds masters-to-be: machines with containerd, kubelet and kubeadm
// on which no cluster is yet.
type Kubernetes struct {
	Dir     string // with the programs, as test/kubernetes.sh makes it
	Version string // such as v1.34.4

	archive string // of the images
}

// ImageRepository is a name that no network has: images are only imported.
const ImageRepository = "lab.invalid"

// archivePath is where a machine has the images.
const archivePath = "/lab/images.tar"

// host is what kubeadm asks of a machine, and what the documentation's commands
// need besides.
var host = Systemd.With("kubernetes",
	"containerd", "runc", "containernetworking-plugins", "iptables", "conntrack", "ethtool", "socat", "mount", "util-linux", "iputils-arping",
	"curl", "openssl")

// ErrNotBuilt is returned where the programs are missing.
var ErrNotBuilt = errors.New("not built; sudo make e2e builds it (13 to 20 min, once)")

// NewKubernetes finds the programs and makes the images of the control plane
// from them.
func NewKubernetes(ctx context.Context, dir string) (*Kubernetes, error) {
	for _, name := range []string{"kubeadm", "kubectl", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "etcdctl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("find %s in %s: %w", name, dir, ErrNotBuilt)
		}
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "kubeadm"), "version", "-o", "short").Output()
	if err != nil {
		return nil, fmt.Errorf("ask kubeadm for its version: %w", err)
	}
	k := &Kubernetes{Dir: dir, Version: strings.TrimSpace(string(out))}
	images, err := k.images(ctx)
	if err != nil {
		return nil, err
	}
	if k.archive, err = archive(ctx, dir, images); err != nil {
		return nil, fmt.Errorf("make images: %w", err)
	}
	return k, nil
}

// images are what this kubeadm wants, without those of the addons.
func (k *Kubernetes) images(ctx context.Context) ([]containerImage, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(k.Dir, "kubeadm"), "config", "images", "list",
		"--kubernetes-version="+k.Version, "--image-repository="+ImageRepository).Output()
	if err != nil {
		return nil, fmt.Errorf("ask kubeadm for its images: %w", err)
	}
	var all []containerImage
	for name := range strings.FieldsSeq(string(out)) {
		program, _, _ := strings.Cut(filepath.Base(name), ":")
		switch program {
		case "kube-proxy", "coredns": // addons
		case "etcd":
			all = append(all, containerImage{name: name, programs: []string{"etcd", "etcdctl"}})
		default:
			all = append(all, containerImage{name: name, programs: []string{program}})
		}
	}
	return all, nil
}

// Options are what a lab of such machines needs.
func (k *Kubernetes) Options() Options {
	binds := k.Binds("/usr/bin")
	binds[archivePath] = k.archive
	return Options{
		Recipe: host, Binds: binds, HostsPods: true, Prepare: k.prepare,
		Disks: []string{"/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd"},
	}
}

// Binds brings the programs an operator installs into a directory of the machines.
func (k *Kubernetes) Binds(dir string) map[string]string {
	binds := map[string]string{}
	for _, name := range []string{"kubeadm", "kubelet", "kubectl", "etcdctl"} {
		binds[dir+"/"+name] = filepath.Join(k.Dir, name)
	}
	return binds
}

// Images is the archive with what the control plane of this version runs.
func (k *Kubernetes) Images() string { return k.archive }

// prepare writes what the packages of kubelet and kubeadm bring, and how an
// operator sets up a container runtime.
func (k *Kubernetes) prepare(n *Node) error {
	files := map[string]string{
		"/etc/systemd/system/kubelet.service":                   kubeletUnit,
		"/etc/systemd/system/kubelet.service.d/10-kubeadm.conf": KubeletDropIn,
		"/etc/systemd/system/containerd.service.d/lab.conf":     "[Service]\n# There are no modules to load here.\nExecStartPre=\n",
		"/etc/containerd/config.toml":                           fmt.Sprintf(containerdConfig, pauseImage),
		"/etc/cni/net.d/10-lab.conflist":                        cniConfig,
		// As the container runtime does it.
		"/etc/default/kubelet": "KUBELET_EXTRA_ARGS=--cgroup-driver=cgroupfs\n",
	}
	for path, text := range files {
		if err := n.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	wants := n.Path("/etc/systemd/system/multi-user.target.wants")
	return errors.Join(os.MkdirAll(wants, 0o755), os.Symlink("/etc/systemd/system/kubelet.service", filepath.Join(wants, "kubelet.service")))
}

// importTime is enough for three machines at once on a busy computer.
const importTime = 3 * time.Minute

// Import gives the node's container runtime the images of the control plane.
func (k *Kubernetes) Import(ctx context.Context, n *Node) error {
	return ImportImages(ctx, n, archivePath)
}

// ImportImages gives the node's container runtime the images of an archive on it.
func ImportImages(ctx context.Context, n *Node, path string) error {
	err := cluster.Poll(ctx, bootTime, "containerd on "+n.Name, func() bool {
		_, err := n.Exec(ctx, "ctr", "version")
		return err == nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, importTime)
	defer cancel()
	_, err = n.Exec(ctx, "ctr", "-n", "k8s.io", "images", "import", path)
	return err
}

// pauseImage is the first of every pod; containerd is not told by the kubelet
// which one it is.
const pauseImage = ImageRepository + "/pause:lab"

// Restarts as the packages of Kubernetes have it: until kubeadm has written a
// configuration the kubelet ends at once.
const kubeletUnit = `[Unit]
Description=kubelet
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
`

// The variables and files that kubeadm expects (its documentation, "The kubelet
// drop-in file for systemd").
const KubeletDropIn = `[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`

// SystemdCgroup is off: systemd in a container with cgroups of version 1 hears
// nothing when a cgroup becomes empty, so the scopes of pods would keep a
// shutdown waiting for 90 s.
const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%s"
  # No process may be given a lower OOM score where root lacks CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`

// A network of pods that ends at each node: with none a node is never Ready.
// The control plane's own pods use the node's network.
const cniConfig = `{"cniVersion": "0.4.0", "name": "lab", "plugins": [
  {"type": "bridge", "bridge": "cni0", "ipam": {"type": "host-local", "subnet": "203.0.113.0/24"}}
]}
`
