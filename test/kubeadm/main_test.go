package kubeadm

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// programs are the binaries that the tests need.
var programs = []string{"kubeadm", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}

var binaries = flag.String("binaries", "", "directory with "+fmt.Sprint(programs))

const envInside = "HAVIP_TEST_INSIDE"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := usable(); err != nil {
		fmt.Fprintf(os.Stderr, "test/kubeadm did NOT run: %v\nrun it by: sudo make kubeadm-test\n", err)
		os.Exit(1)
	}
	if os.Getenv(envInside) == "" {
		os.Exit(inside())
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the namespaces:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func usable() error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	if *binaries == "" {
		return errors.New("-binaries names no directory")
	}
	for _, name := range programs {
		if _, err := os.Stat(filepath.Join(*binaries, name)); err != nil {
			return err
		}
	}
	return nil
}

// inside runs this test again in namespaces of its own: what it mounts and which
// addresses it sets ends with it, however it ends.
func inside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), envInside+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	var exit *exec.ExitError
	switch err := cmd.Run(); {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// The nodes and the VIP, all on one link of the namespace (RFC 5737).
const (
	vip = "198.51.100.166"
	n1  = "198.51.100.162"
	n2  = "198.51.100.163"
)

func prepare() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	lines := []string{"link set lo up", "link add here type veth peer name there", "link set here up", "link set there up"}
	for _, a := range []string{n1 + "/24", n2 + "/24", vip + "/32"} {
		lines = append(lines, "addr add "+a+" dev here")
	}
	// kubeadm looks for the link with the default route.
	lines = append(lines, "route add default via 198.51.100.1 dev here")
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}
