package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostsPods is the argument that tells a machine's first program to suit a
// kubelet.
const hostsPods = "pods"

// wished are the settings that a kubelet insists on (its --protect-kernel-defaults
// names them). They belong to the kernel that all machines share.
var wished = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// gateway is the router of a machine's network. Nobody is there; but kubeadm
// and kubelet look for a default route.
var gateway = net.IPv4(198, 51, 100, 1)

// suitKubelet is what a host of pods has more than a container.
func suitKubelet() error {
	for name, value := range wished {
		if err := pretend(name, value); err != nil {
			return err
		}
	}
	// The kubelet reads of out-of-memory kills there.
	if err := unix.Mknod("/dev/kmsg", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 11))); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make /dev/kmsg: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("let packets be forwarded: %w", err)
	}
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find link eth0: %w", err)
	}
	if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway}); err != nil {
		return fmt.Errorf("set default route: %w", err)
	}
	return nil
}

// pretend shows a value in the place of the kernel's own, which stays.
func pretend(name, value string) error {
	const dir = "/run/lab"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(dir, strings.ReplaceAll(name, "/", "."))
	if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show another %s: %w", name, err)
	}
	return nil
}
