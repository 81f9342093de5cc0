package metrics

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"havip/daemon/status"
)

func number(n int64) *int64 { return &n }

// holding is the document of a holder with nothing left out.
func holding() *status.Document {
	d := &status.Document{
		Node: "n1", Configured: true, VIP: []netip.Addr{netip.MustParseAddr("198.51.100.166")},
		Holder: &status.Holder{Node: "n1", RightLeftMS: number(2600), Confirmed: true},
		Record: status.Record{State: status.RecordHeld, Node: "n1"},
		Self:   status.Self{Role: status.RoleHolder},
		Masters: []status.Master{
			{Name: "n1", Self: true, Present: true, Healthy: true, Says: status.RoleHolder, APIServer: status.APIReady, Gateway: status.GatewayAnswers, Etcd: status.MemberLeader, LastSeenMS: number(0)},
			{Name: "n2", Present: true, Healthy: true, Says: status.RoleCandidate, APIServer: status.APIReady, Etcd: status.MemberFollower, LastSeenMS: number(0)},
			{Name: "n3"},
		},
		Etcd: status.Etcd{State: status.EtcdReady, Members: 3, Healthy: 2},
		Address: status.Address{
			Link: "eth0", Reasserts: 2,
			States: []status.AddressState{{Address: netip.MustParseAddr("198.51.100.166"), Present: true, LifetimeLeftMS: number(2000)}},
		},
		Heartbeats: &status.Heartbeats{
			Detection: "fast", Port: 9478, Epoch: "e-1",
			Peers: []status.HeartbeatPeer{
				{Name: "n2", Detection: "fast", Sent: 12, Received: 11, AnsweredAgoMS: number(40), RoundTripUS: number(250)},
				{Name: "n3", Unsent: 3, UnansweredMS: 9500},
			},
			Dropped: []status.HeartbeatDrop{{Reason: "stale", Count: 2}, {Reason: "forged", Count: 1}},
		},
		Timing:     status.Timing{HoldMS: 3000, TakeoverMS: 4500},
		LogDropped: 7,
	}
	status.Judge(d)
	return d
}

// scraped is what Prometheus makes of the text.
func scraped(t *testing.T, m *Metrics, s Snapshot) map[string]*dto.MetricFamily {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(&b)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// full has every metric that there is.
func full(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	m := New("n1", "198.51.100.166")
	m.Transition("holder", "n2 stopped renewing")
	m.Gap(4300*time.Millisecond, false)
	m.Confirmed(4 * time.Millisecond)
	m.Unconfirmed("unknown")
	m.Conflict()
	checks := []Check{{Name: "loop"}, {Name: "etcd", Err: "the local member is unreachable"}}
	return scraped(t, m, Snapshot{Version: "1.2.3", LoopAge: 20 * time.Millisecond, Document: holding(), Checks: checks})
}

// values are the lines of one metric, without the labels that all have.
func values(f *dto.MetricFamily) map[string]float64 {
	got := map[string]float64{}
	for _, m := range f.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			if l.GetName() != "node" && l.GetName() != "vip" {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
		}
		v := m.GetGauge().GetValue() + m.GetCounter().GetValue()
		if h := m.GetHistogram(); h != nil {
			v = h.GetSampleSum()
		}
		got[strings.Join(labels, ",")] = v
	}
	return got
}

func TestScrape(t *testing.T) {
	families := full(t)
	for name, want := range map[string]map[string]float64{
		"havip_is_holder":                  {"": 1},
		"havip_holder":                     {"holder=n1": 1},
		"havip_right_seconds":              {"": 2.6},
		"havip_address_present":            {"address=198.51.100.166": 1},
		"havip_address_lifetime_seconds":   {"address=198.51.100.166": 2},
		"havip_address_reasserts_total":    {"": 2},
		"havip_verdict":                    {"verdict=held": 0, "verdict=degraded": 1, "verdict=nobody": 0, "verdict=unknown": 0, "verdict=unconfigured": 0},
		"havip_master_present":             {"master=n1": 1, "master=n2": 1, "master=n3": 0},
		"havip_master_healthy":             {"master=n1": 1, "master=n2": 1},
		"havip_transitions_total":          {"reason=stopped_renewing,to=holder": 1},
		"havip_terms_total":                {"": 1},
		"havip_gap_seconds":                {"planned=false": 4.3, "planned=true": 0},
		"havip_renewal_round_trip_seconds": {"": 0.004},
		"havip_write_failures_total":       {"outcome=refused": 0, "outcome=not done": 0, "outcome=unknown": 1},
		"havip_conflicts_total":            {"": 1},
		"havip_ready":                      {"": 0},
		"havip_check_ok":                   {"check=loop": 1, "check=etcd": 0},
		"havip_loop_age_seconds":           {"": 0.02},

		"havip_heartbeats_in_force":           {"": 1},
		"havip_heartbeats_sent_total":         {"master=n2": 12, "master=n3": 0},
		"havip_heartbeats_received_total":     {"master=n2": 11, "master=n3": 0},
		"havip_heartbeats_unsent_total":       {"master=n2": 0, "master=n3": 3},
		"havip_heartbeats_unanswered_seconds": {"master=n2": 0, "master=n3": 9.5},
		"havip_heartbeats_round_trip_seconds": {"master=n2": 0.00025},
		"havip_heartbeats_dropped_total":      {"reason=stale": 2, "reason=forged": 1},
		"havip_log_lines_dropped_total":       {"": 7},
		"havip_hold_seconds":                  {"": 3},
	} {
		f := families[name]
		if f == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if diff := cmp.Diff(want, values(f)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

// Whoever does not hold the VIP has no right, and one that never ends is told.
func TestScrapeOfAStandby(t *testing.T) {
	d := holding()
	d.Node, d.Holder.LastKnown = "n2", false
	d.Address.States[0] = status.AddressState{Address: d.VIP[0], Present: true, Permanent: true}
	families := scraped(t, New("n2", "198.51.100.166"), Snapshot{Document: d})
	for name, want := range map[string]float64{"havip_is_holder": 0, "havip_right_seconds": 0} {
		if diff := cmp.Diff(map[string]float64{"": want}, values(families[name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if v := values(families["havip_address_lifetime_seconds"])["address=198.51.100.166"]; v < 1e300 {
		t.Errorf("a permanent address ends in %v s", v)
	}
}

// A daemon whose loop hangs still counts, and says nothing it does not know.
func TestScrapeWithoutDocument(t *testing.T) {
	families := scraped(t, New("n1", "198.51.100.166"), Snapshot{Version: "1.2.3", LoopAge: time.Minute, Checks: []Check{{Name: "loop", Err: "hangs"}}})
	if v := values(families["havip_loop_age_seconds"])[""]; v != 60 {
		t.Errorf("the loop's age is %v", v)
	}
	for _, name := range []string{"havip_is_holder", "havip_verdict", "havip_address_present"} {
		if families[name] != nil {
			t.Errorf("%s is there", name)
		}
	}
}

// TestNames: what promtool check metrics asks for, and what all of ours have.
func TestNames(t *testing.T) {
	for name, f := range full(t) {
		if !strings.HasPrefix(name, "havip_") {
			continue
		}
		counter := f.GetType() == dto.MetricType_COUNTER
		if counter != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, f.GetType())
		}
		if h := f.GetHelp(); h == "" || !strings.HasSuffix(h, ".") {
			t.Errorf("%s: help %q", name, h)
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["node"] != "n1" || labels["vip"] != "198.51.100.166" {
				t.Errorf("%s has the labels %v", name, labels)
			}
		}
	}
}
