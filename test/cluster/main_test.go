package cluster

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	parts["owner"] = ownerMain
	RunPart()
	os.Exit(m.Run())
}

// ownerMain starts a cluster, names its directory and a process of it, and
// waits to be killed.
func ownerMain() error {
	c, err := Start(context.Background(), Options{NoDaemon: true, Masters: 1})
	if err != nil {
		return err
	}
	fmt.Println(c.dir)
	fmt.Println(c.Nodes[0].etcd.current().pid())
	select {}
}

// needRoot fails, and does not skip: a skipped test would hide that nothing
// was tested.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run sudo make test")
	}
}

// start builds a cluster without daemons and takes it down with the test.
func start(t *testing.T, opts Options) *Cluster {
	t.Helper()
	needRoot(t)
	opts.NoDaemon = true
	begin := Now()
	c, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatalf("start cluster: %v", err)
	}
	t.Cleanup(func() {
		if doubts := c.Sampler.Doubts(); len(doubts) > 0 {
			t.Errorf("sampler doubts: %v", doubts)
		}
		t.Logf("time stamps late by at most %v", c.Sampler.Late(begin, Now()))
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for something, on a busy machine too.
const patience = 30 * time.Second
