package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"havip/test/cluster"
)

func TestMain(m *testing.M) {
	cluster.RunPart()
	os.Exit(m.Run())
}

// TestTrials plays trials of the plain election on real parts: one that has an
// outage of a known length, one that has two holders, and idle.
func TestTrials(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run sudo make test")
	}
	*plainPath = filepath.Join(t.TempDir(), "plain")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", *plainPath, "./plain").CombinedOutput(); err != nil {
		t.Fatalf("build the plain election: %v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	who := contenders[len(contenders)-1]
	s, err := open(ctx, who, usual, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.c.Close(); err != nil {
			t.Error(err)
		}
	}()
	const (
		// What is to be seen of it, in milliseconds: what was answered before is read a
		// little later.
		long        = 550 * time.Millisecond
		least, most = 500, 5000
	)

	cut := play(t, s, fault{name: "cut", strike: func(s *stage) error {
		if err := s.holder.Mute(); err != nil {
			return err
		}
		return cluster.Pause(s.ctx, long)
	}, heal: unmute, span: long, limit: 0})
	if !cut.Open || cut.Outage < least || cut.Outage > most || cut.Moves != 0 || cut.Nobody != 0 || cut.Double+cut.Wire != 0 {
		t.Errorf("cut off for %v: %+v", long, cut)
	}

	standby := func(s *stage) *cluster.Node { return s.c.Others(s.holder)[0] }
	two := play(t, s, fault{name: "two", strike: func(s *stage) error {
		if err := standby(s).AddVIP(cluster.VIP4); err != nil {
			return err
		}
		return cluster.Pause(s.ctx, long)
	}, heal: func(s *stage) error { return standby(s).DeleteVIP(cluster.VIP4) }, span: long, limit: patience})
	for what, got := range map[string]float64{"kernels": two.Double, "wire": two.Wire} {
		if got < least || got > most {
			t.Errorf("two had the address for %v, the %s say %v ms", long, what, got)
		}
	}

	stopped := play(t, s, faults[0])
	if stopped.Open || stopped.Outage <= 0 || stopped.Moves != 1 || stopped.Double+stopped.Wire != 0 {
		t.Errorf("stopped: %+v", stopped)
	}

	i, err := idle(ctx, who, usual, 0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if i.Memory < 1 || i.Packets <= 0 || i.Requests <= 0 {
		t.Errorf("idle: %+v", i)
	}
}

func TestOutageAfter(t *testing.T) {
	attempts := []cluster.Attempt{{Done: 100, Node: "n1"}, {Done: 700, Node: "n1"}, {Done: 950, Node: "n1"}, {Done: 1000, Node: "n1"}}
	// Of the 600 without an answer 100 were after the fault was healed, at 600.
	if got := outageAfter(attempts, 600, 1000).Length(); got != 250 {
		t.Errorf("outage after the fault was healed: %v, want 250", got)
	}
}

// TestChoose: what is asked for wrongly ends a run before it begins.
func TestChoose(t *testing.T) {
	defer func(a, b, c string) { *which, *who, *scale = a, b, c }(*which, *who, *scale)
	for _, tt := range []struct {
		faults, contenders, scale string
		chosen                    int // -1: refused
	}{
		{"^crash", "havip", "", 2 * 3}, {"", "off", "3,5", len(faults)}, {"nothing", "off", "5", 0},
		{"(", "off", "", -1}, {"", "nobody", "", -1}, {"nothing", "off", "", -1}, {"", "off", "2", -1}, {"", "off", "x", -1},
	} {
		*which, *who, *scale = tt.faults, tt.contenders, tt.scale
		b := &bench{}
		err := b.choose()
		if got := len(b.faults) * len(b.contenders); (err != nil) != (tt.chosen < 0) || err == nil && got != tt.chosen {
			t.Errorf("%+v: %d chosen, %v", tt, got, err)
		}
	}
}

func play(t *testing.T, s *stage, f fault) Trial {
	t.Helper()
	got, err := s.play(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %+v", f.name, got)
	return got
}
