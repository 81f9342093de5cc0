package kubeadm

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// programs are the binaries that the tests need.
var programs = []string{"kubeadm", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "etcd"}

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

// The nodes and the VIP (RFC 5737), and the gateway at the other end of the link.
const (
	vip     = "198.51.100.166"
	n1      = "198.51.100.162"
	n2      = "198.51.100.163"
	gateway = "198.51.100.1"
	router6 = "2001:db8::1" // RFC 3849
	link    = "here"
)

// prepare makes the link that the nodes are on. Its other end is in a namespace
// of its own, so that somebody answers there.
func prepare() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	other := exec.Command("/bin/sleep", "infinity") // ends with the process namespace
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := other.Start(); err != nil {
		return err
	}
	pid := strconv.Itoa(other.Process.Pid)
	there := "nsenter --net --target " + pid + " ip "
	for _, line := range []string{
		"ip link set lo up", "ip link add " + link + " type veth peer name there", "ip link set there netns " + pid,
		there + "addr add " + gateway + "/24 dev there", there + "addr add " + router6 + "/64 dev there nodad", there + "link set there up",
		"ip link set " + link + " up", "ip addr add " + n1 + "/24 dev " + link,
		"ip route add default via " + gateway + " dev " + link, // kubeadm looks for the link that has it
	} {
		if err := run(line); err != nil {
			return err
		}
	}
	return nil
}

func run(line string) error {
	fields := strings.Fields(line)
	if out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}

// address sets an address for the time of a test.
func address(t *testing.T, a string, flags ...string) {
	t.Helper()
	if err := run("ip addr add " + a + " dev " + link + " " + strings.Join(flags, " ")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run("ip addr del " + a + " dev " + link); err != nil {
			t.Error(err)
		}
	})
}
