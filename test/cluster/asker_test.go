package cluster

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadAnswer(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 198, 51, 100, 162}
	answer := ARPRequest(mac, VIP4, asking(VIP4, 7))
	answer[21] = 2 // a reply
	got, slot, ok := readAnswer(answer, VIP4)
	if !ok || slot != 7 || got.String() != mac.String() {
		t.Errorf("readAnswer = %v, %d, %v, want %v, 7, true", got, slot, ok, mac)
	}
	for name, frame := range map[string][]byte{
		"a question":          ARPRequest(mac, VIP4, asking(VIP4, 7)),
		"of another address":  change(answer, 31, 162),
		"to somebody else":    change(answer, 41, 200),
		"no ARP":              change(answer, 13, 0),
		"one byte less":       answer[:arpSize-1],
		"behind the last one": change(answer, 41, askFrom+askRing),
	} {
		if _, _, ok := readAnswer(frame, VIP4); ok {
			t.Errorf("readAnswer of a frame that is %s = true", name)
		}
	}
}

func change(f []byte, at int, to byte) []byte {
	f = slices.Clone(f)
	f[at] = to
	return f
}

// TestAskerJudges: the lines of the process become a judgement that can tell two
// holders from one.
func TestAskerJudges(t *testing.T) {
	a := &Asker{vip: VIP4, nodes: map[string]string{"aa": "n1", "bb": "n2"}}
	for _, line := range []string{
		"answer 0 aa", "answer 1000 aa,bb", "answer 6000 bb", "answer 9000 ", "answer 20000 cc", "upto 30000 7",
	} {
		if err := a.line(line); err != nil {
			t.Fatal(err)
		}
	}
	j, late, err := a.Judge(t.Context(), 500, 30000)
	if err != nil {
		t.Fatal(err)
	}
	want := []Holding{
		{[]string{"n1"}, 500, 1000}, {[]string{"n1", "n2"}, 1000, 6000}, {[]string{"n2"}, 6000, 9000}, {nil, 9000, 20000}, {[]string{"cc"}, 20000, 30000},
	}
	if diff := cmp.Diff(want, j.Spans); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if j.Double != 5000 || late != 7 {
		t.Errorf("two for %v, late by %v, want 5000 and 7", j.Double, late)
	}
	for _, bad := range []string{"", "answer", "answer x aa", "upto 1", "upto 1 x", "what 1 2"} {
		if err := a.line(bad); err == nil {
			t.Errorf("line %q = nil error", bad)
		}
	}
}

func TestAskerSeesWhoAnswers(t *testing.T) {
	c := start(t, Options{Masters: 2})
	must(t, c.StartAsker())
	n1, n2 := c.Nodes[0], c.Nodes[1]
	begin := Now()
	waitAnswers := func(want ...string) time.Duration {
		t.Helper()
		must(t, Poll(t.Context(), patience, "other answers", func() bool { return slices.Equal(c.Asker.Holders(), want) }))
		return Now()
	}
	must(t, n1.AddVIP(VIP4))
	waitAnswers("n1")
	must(t, n2.AddVIP(VIP4))
	waitAnswers("n1", "n2")
	must(t, Pause(t.Context(), ms(100)))
	// One that is cut off has the address still, and nobody sees it.
	must(t, n1.Mute())
	alone := waitAnswers("n2")
	must(t, n2.DeleteVIP(VIP4))
	end := waitAnswers()

	j, late, err := c.Asker.Judge(t.Context(), begin, end)
	must(t, err)
	if j.Double < ms(90) || j.Double > alone-begin {
		t.Errorf("two answered for %v, want 100ms and more: %v", j.Double, j.Spans)
	}
	must(t, c.Sampler.Wait(t.Context(), patience, "n1 alone by the kernels", func(h []string) bool { return slices.Equal(h, []string{"n1"}) }))
	t.Logf("%v; late by at most %v", j.Spans, late)
}
