package status

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHeartbeatWarnings: what keeps masters from hearing each other is told with
// what mends it, and only while it is so.
func TestHeartbeatWarnings(t *testing.T) {
	const open = "UDP 9478 must be open between the masters (nft insert rule inet filter input udp dport 9478 accept; docs/heartbeats.md)"
	fine := func(name string) HeartbeatPeer {
		return HeartbeatPeer{Name: name, Detection: "fast", HeardAgoMS: ms(40), AnsweredAgoMS: ms(40)}
	}
	for name, tt := range map[string]struct {
		change func(d *Document, n1, n2 *HeartbeatPeer)
		want   []string
	}{
		"well": {func(*Document, *HeartbeatPeer, *HeartbeatPeer) {}, nil},
		"blocked": {func(d *Document, n1, _ *HeartbeatPeer) { n1.UnansweredMS = 3001 },
			[]string{"n1 does not answer heartbeats: " + open}},
		"lost now and then": {func(d *Document, n1, _ *HeartbeatPeer) { n1.UnansweredMS = 2999 }, nil},
		"a peer that is gone": {func(d *Document, n1, _ *HeartbeatPeer) {
			n1.UnansweredMS, d.Masters[0].Present = 60000, false
		}, nil},
		"a peer that is off": {func(d *Document, n1, _ *HeartbeatPeer) { n1.UnansweredMS, n1.Detection = 4000, "" },
			[]string{"n1 has no heartbeats: election.detection is off there, or its havip is of another version"}},
		"refused by the kernel": {func(d *Document, n1, _ *HeartbeatPeer) {
			n1.UnansweredMS, n1.Error = 4000, "send to 198.51.100.162:9478: operation not permitted"
		}, []string{"heartbeats to n1 cannot be sent: send to 198.51.100.162:9478: operation not permitted"}},
		"an old error": {func(d *Document, n1, _ *HeartbeatPeer) { n1.Error = "of yesterday" }, nil},
		"another setting": {func(d *Document, n1, _ *HeartbeatPeer) { n1.Detection = "standard" },
			[]string{`n1 has election.detection = "standard", this node "fast": the file must be the same on every master`}},
		"the holder is not heard": {func(d *Document, _, n2 *HeartbeatPeer) { n2.HeardAgoMS = ms(4000) },
			[]string{"nothing is heard of n2, which holds the VIP: " + open}},
		"the holder was never heard": {func(d *Document, _, n2 *HeartbeatPeer) { n2.HeardAgoMS = nil },
			[]string{"nothing is heard of n2, which holds the VIP: " + open}},
		"the holder has just begun": {func(d *Document, _, n2 *HeartbeatPeer) {
			n2.HeardAgoMS, d.Holder.Since = nil, timeRef(before0316(1e9))
		}, nil},
		"another candidate is not heard": {func(d *Document, n1, _ *HeartbeatPeer) { n1.HeardAgoMS = nil }, nil},
		"a holder of memory": {func(d *Document, _, n2 *HeartbeatPeer) {
			n2.HeardAgoMS, d.Holder.LastKnown, d.Holder.AgeMS = nil, true, 100
		}, nil},
		"this node is deaf": {func(d *Document, _, n2 *HeartbeatPeer) { n2.HeardAgoMS, d.Heartbeats.Trouble = nil, "no address" },
			[]string{"heartbeats of the other masters are not heard: no address"}},
	} {
		d := healthy()
		d.Heartbeats = &Heartbeats{Detection: "fast", Port: 9478, Peers: []HeartbeatPeer{fine("n1"), fine("n2")}}
		tt.change(d, &d.Heartbeats.Peers[0], &d.Heartbeats.Peers[1])
		Judge(d)
		Judge(d)
		if diff := cmp.Diff(tt.want, append([]string(nil), d.Warnings...)); diff != "" {
			t.Errorf("%s: warnings (-want +got):\n%s", name, diff)
		}
		if name == "blocked" && d.Verdict != Held {
			t.Errorf("%s: %s %s", name, d.Verdict, d.Reason)
		}
	}
}
