package sim

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/election"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// stories are failovers that a reviewer can read: fixed delays, exact clocks,
// one thing at a time.
var stories = []struct {
	name string
	play func(*World)
}{
	{"crash", func(w *World) {
		w.run(8 * sec)
		w.fault("n1 loses power")
		w.nodes[0].powerOff()
		w.run(15 * sec)
		w.nodes[0].powerOn()
		w.run(22 * sec)
	}},
	{"handover", func(w *World) {
		w.run(8 * sec)
		w.fault("an operator hands the address over")
		w.nodes[0].step(election.HandOver{Token: 1, To: "n3"})
		w.run(10 * sec)
	}},
	{"stop", func(w *World) {
		w.run(8 * sec)
		w.fault("the daemon of n1 is stopped")
		w.nodes[0].step(election.Stop{})
		w.run(10 * sec)
	}},
	{"release", func(w *World) {
		w.run(8 * sec)
		w.fault("the holder is told to release")
		w.nodes[0].step(election.Release{Token: 1})
		w.run(10 * sec)
	}},
	{"restart", func(w *World) {
		w.run(8 * sec)
		w.fault("the daemon of n1 is killed and started again after 0.5 s")
		w.nodes[0].kill("SIGKILL")
		w.after(500*ms, w.nodes[0].start)
		w.run(12 * sec)
	}},
	{"plannedrestart", func(w *World) {
		w.run(8 * sec)
		w.fault("the daemon of n1 is restarted, the next one runs after 0.5 s")
		w.nodes[0].restart(500 * ms)
		w.run(12 * sec)
	}},
	{"shutdown", func(w *World) {
		w.run(8 * sec)
		w.fault("n1 shuts down")
		w.nodes[0].step(election.Shutdown{Token: 1, On: true})
		w.after(sec, func() { w.nodes[0].step(election.Stop{}) })
		w.run(10 * sec)
	}},
	{"killed", func(w *World) {
		w.run(8 * sec)
		w.fault("the daemon of n1 is killed and stays dead")
		w.nodes[0].kill("SIGKILL")
		w.run(15 * sec)
	}},
	{"partition", func(w *World) {
		w.run(8 * sec)
		w.fault("n1 is cut off")
		w.nodes[0].cut = true
		w.tellEtcd()
		w.run(16 * sec)
		w.fault("the cut heals")
		w.nodes[0].cut = false
		w.tellEtcd()
		w.nodes[0].rewatch(300 * ms)
		w.run(19 * sec)
	}},
	{"leaderchange", func(w *World) {
		w.run(8 * sec)
		w.fault("etcd has no leader for 2.2 s")
		w.etcd.leaderless = true
		w.after(2200*ms, func() { w.etcd.leaderless = false })
		w.run(14 * sec)
	}},
	{"quorumlost", func(w *World) {
		w.run(8 * sec)
		w.fault("etcd has no quorum for 6 s")
		w.etcd.down = true
		w.tellEtcd()
		w.after(6*sec, func() { w.etcd.down = false; w.tellEtcd() })
		w.run(19 * sec)
	}},
	{"frozen", func(w *World) {
		w.run(8 * sec)
		w.fault("the daemon of n1 is stopped by SIGSTOP for 10 s")
		w.nodes[0].frozen = true
		w.after(10*sec, w.nodes[0].thaw)
		w.run(20 * sec)
	}},
	{"unhealthy", func(w *World) {
		w.run(8 * sec)
		w.fault("the API server of n1 fails")
		w.nodes[0].healthy = false
		w.nodes[0].step(election.Health{Reason: "no answer in 1 s"})
		w.run(10 * sec)
	}},
	{"drain", func(w *World) {
		w.run(8 * sec)
		w.fault("n1 is drained")
		w.nodes[0].drained = true
		w.nodes[0].step(election.SetDrained{Token: 1, On: true})
		w.run(10 * sec)
	}},
	{"memberdies", func(w *World) {
		w.run(8 * sec)
		w.fault("the etcd member of n1 dies")
		w.nodes[0].member = false
		w.tellEtcd()
		w.run(12 * sec)
	}},
	{"deleted", func(w *World) {
		w.run(8 * sec)
		w.fault("somebody deletes the address")
		w.nodes[0].deleteAddress()
		w.run(9 * sec)
	}},
}

// beatStories are the same with heartbeats, in nodes that promise the standard
// 1.2 s, or are fast.
var beatStories = []struct {
	name   string
	detect election.Detection
	play   func(*World)
}{
	{"beatcrash", election.FastDetection(), func(w *World) {
		w.run(14 * sec)
		w.fault("n1 loses power")
		w.nodes[0].powerOff()
		w.run(17 * sec)
	}},
	{"beatfrozen", election.StandardDetection(), func(w *World) {
		w.run(14 * sec)
		w.fault("the daemon of n1 is stopped by SIGSTOP for 5 s")
		w.nodes[0].frozen = true
		w.after(5*sec, w.nodes[0].thaw)
		w.run(21 * sec)
	}},
	{"beatpartition", election.FastDetection(), func(w *World) {
		w.run(14 * sec)
		w.fault("n1 is cut off")
		w.nodes[0].cut = true
		w.run(17 * sec)
	}},
	{"beatstandby", election.FastDetection(), func(w *World) {
		w.run(14 * sec)
		w.fault("the daemon of n2, a standby, is killed and started again after 2 s")
		w.nodes[1].kill("SIGKILL")
		w.after(2*sec, w.nodes[1].start)
		w.run(30 * sec)
	}},
	{"beatrestart", election.StandardDetection(), func(w *World) {
		w.run(14 * sec)
		w.fault("the daemon of n1 is restarted, the next one runs after 0.5 s")
		w.nodes[0].restart(500 * ms)
		w.run(22 * sec)
	}},
	{"beathandover", election.StandardDetection(), func(w *World) {
		w.run(14 * sec)
		w.fault("an operator hands the address over")
		w.nodes[0].step(election.HandOver{Token: 1, To: "n3"})
		w.run(22 * sec)
	}},
	{"beatquorumlost", election.StandardDetection(), func(w *World) {
		w.run(14 * sec)
		w.fault("etcd has no quorum for 8 s")
		w.etcd.down = true
		w.tellEtcd()
		w.after(8*sec, func() { w.etcd.down = false; w.tellEtcd() })
		w.run(25 * sec)
	}},
}

// TestTranscripts compares each story with its golden transcript.
func TestTranscripts(t *testing.T) {
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(nil, 3, func(int) election.Timing { return election.DeriveTiming(election.DefaultEtcdElection) })
			transcribe(t, s.name, w, s.play)
		})
	}
	for _, s := range beatStories {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(nil, 3, func(int) election.Timing { return election.DeriveTiming(election.DefaultEtcdElection) })
			w.beats = true
			w.withMembers(3)
			for _, n := range w.nodes {
				n.setDetection(s.detect)
			}
			transcribe(t, s.name, w, s.play)
		})
	}
}

func transcribe(t *testing.T, name string, w *World, play func(*World)) {
	t.Helper()
	var b strings.Builder
	w.calm = true
	w.log = func(line string) { b.WriteString(line + "\n") }
	w.startAll()
	play(w)
	for _, v := range w.bad {
		t.Error(v)
	}
	golden(t, filepath.Join("testdata", name+".txt"), b.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./election/sim -run TestTranscripts -update writes it)", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}
