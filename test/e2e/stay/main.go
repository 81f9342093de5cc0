// Command stay makes the cluster of the end-to-end tests and keeps it until it is
// interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"havip/test/cluster"
	"havip/test/e2e"
	"havip/test/lab"
)

func main() {
	lab.RunPart()
	var s e2e.Setup
	flag.StringVar(&s.Binaries, "binaries", filepath.Join(cluster.CacheDir(), "k8s", "v1.34.4"), "directory with Kubernetes, as test/kubernetes.sh makes it")
	flag.StringVar(&s.Package, "package", "bin/test/e2e", "directory with the package")
	bare := flag.Bool("bare", false, "make no cluster: package and configuration only")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := stay(ctx, s, *bare)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func stay(ctx context.Context, s e2e.Setup, bare bool) (err error) {
	fmt.Println("booting three machines with containerd, kubelet and kubeadm")
	m, err := e2e.New(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.Boot(ctx); err != nil {
		return err
	}
	fmt.Println("installing havip on them")
	if err := e2e.Each(m.Nodes, func(n *lab.Node) error { return m.Install(ctx, n, "") }); err != nil {
		return err
	}
	if !bare {
		if err := makeCluster(ctx, m); err != nil {
			return err
		}
	}
	fmt.Println("\nthe machines are there until Ctrl-C. To enter one:")
	for _, n := range m.Nodes {
		fmt.Printf("  %s  %s  sudo %s bash\n", n.Name, n.Address, n.Enter())
	}
	if !bare {
		fmt.Println("and there: havipctl status --watch; kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes")
	}
	<-ctx.Done()
	fmt.Println("taking all of it down")
	return nil
}

func makeCluster(ctx context.Context, m *e2e.Masters) error {
	first := m.Nodes[0]
	fmt.Printf("havipctl init on %s\n", first.Name)
	o, err := m.Init(ctx, first)
	if err != nil {
		return err
	}
	for _, n := range m.Others(first) {
		fmt.Printf("havipctl join on %s\n", n.Name)
		if err := m.Join(ctx, n, o.Join.Ticket); err != nil {
			return err
		}
	}
	fmt.Printf("\n%s\n", o.Message)
	return nil
}
