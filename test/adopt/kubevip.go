package adopt

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"havip/configs"
	"havip/test/cluster"
)

// The image of kube-vip cannot be had where these tests run. What stands in for it
// does what kube-vip does in ARP mode, as far as a migration goes: of all that run
// one leads, by a lease; it has the address, for ever and with a prefix of 32 bits,
// sets it again every three seconds, whatever is there, and removes it when it is
// told to end. The lease is etcdctl's, where kube-vip's is the API server's.

// Parts are programs that a process started as a part plays (cluster.RunPart).
func Parts() map[string]func() error {
	return map[string]func() error{PartKubeVIP: kubeVIPMain, "kubelet": kubeletMain}
}

// PartKubeVIP is the name of the stand-in for kube-vip.
const PartKubeVIP = "kube-vip"

// kubeVIPMain is the stand-in. It is told by the same variables.
func kubeVIPMain() error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	if os.Getenv("cp_enable") != "true" {
		fmt.Println("serves Services only")
		<-told
		return nil
	}
	lock := exec.Command("/usr/local/bin/etcdctl", "--endpoints=https://127.0.0.1:2379", "--cacert="+pki+"/etcd/ca.crt",
		"--cert="+pki+"/apiserver-etcd-client.crt", "--key="+pki+"/apiserver-etcd-client.key", "lock", "--ttl=5", "stand-in")
	lock.Stderr = os.Stderr
	out, err := lock.StdoutPipe()
	if err != nil {
		return err
	}
	if err := lock.Start(); err != nil {
		return err
	}
	leads := make(chan bool, 1)
	go func() {
		leads <- bufio.NewScanner(out).Scan() // it prints the name of its key
	}()
	link, err := netlink.LinkByName(os.Getenv("vip_interface"))
	if err != nil {
		return err
	}
	vip := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(os.Getenv("address")), Mask: net.CIDRMask(32, 32)}}
	holds := false
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-told:
			if holds {
				err = netlink.AddrDel(link, vip)
			}
			return errors.Join(err, lock.Process.Signal(os.Interrupt), lock.Wait())
		case holds = <-leads:
			if !holds {
				return errors.New("no lease")
			}
		case <-tick.C:
			if !holds {
				continue
			}
		}
		if err := netlink.AddrReplace(link, vip); err != nil {
			return err
		}
	}
}

const pki = "/etc/kubernetes/pki"

// kubeletMain stands in for the kubelet: it runs the container of one manifest,
// and starts it anew when the manifest changes, as static pods are.
func kubeletMain() error {
	text := ""
	var pod *exec.Cmd
	for {
		data, err := os.ReadFile(manifest)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if string(data) != text {
			if pod != nil {
				if err := pod.Process.Signal(syscall.SIGTERM); err != nil {
					return err
				}
				fmt.Println("pod ended:", pod.Wait())
				pod = nil
			}
			if text = string(data); text != "" {
				if pod, err = runPod(); err != nil {
					return err
				}
			}
		}
		time.Sleep(time.Second) // the kubelet is no quicker
	}
}

const manifest = "/etc/kubernetes/manifests/kube-vip.yaml"

// runPod starts the container with the variables of the manifest.
func runPod() (*exec.Cmd, error) {
	list, err := configs.ReadPod(manifest)
	if err != nil {
		return nil, err
	}
	pod := exec.Command("/proc/self/exe")
	pod.Env = []string{cluster.PartVariable + "=" + PartKubeVIP}
	for name, value := range list[0].Env {
		pod.Env = append(pod.Env, name+"="+value)
	}
	pod.Stdout, pod.Stderr = os.Stdout, os.Stderr
	return pod, pod.Start()
}
