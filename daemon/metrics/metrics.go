package metrics

import (
	"fmt"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"havip/daemon/status"
)

// ContentType is of what Write writes.
const ContentType = string(expfmt.FmtText)

// Snapshot is what a scrape shows of the moment.
type Snapshot struct {
	Version  string
	LoopAge  time.Duration    // since the loop last moved; below 0: there is none
	Document *status.Document // judged; nil: the loop did not answer
	Checks   []Check          // of /readyz
}

// Check is one line of /healthz or /readyz.
type Check struct {
	Name string
	Err  string // why it fails; "": it does not
	Note string // what a person wants to know beside that
}

// Metrics counts what happens. Its methods do not wait for anything and may be
// called from any goroutine.
type Metrics struct {
	node, vip string
	registry  *prometheus.Registry

	transitions *prometheus.CounterVec
	terms       prometheus.Counter
	gaps        *prometheus.HistogramVec
	trips       prometheus.Histogram
	failures    *prometheus.CounterVec
	conflicts   prometheus.Counter
}

// New counts for one node and one VIP; both are "" while neither is known.
func New(node, vip string) *Metrics {
	m := &Metrics{node: node, vip: vip, registry: prometheus.NewRegistry()}
	m.transitions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "havip_transitions_total", Help: "Changes of this node's role, by the new role and the kind of reason.",
	}, []string{"to", "reason"})
	m.terms = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "havip_terms_total", Help: "How often this node got the VIP. A restart that keeps it is none.",
	})
	m.gaps = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "havip_gap_seconds", Help: "How long nobody held the VIP before this node got it, as far as it can tell.",
		Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 4, 5, 6, 10, 30, 60},
	}, []string{"planned"})
	m.trips = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "havip_renewal_round_trip_seconds", Help: "From sending a write of the record to etcd's confirmation: renewals, and a few takeovers and handovers.",
		// The alert is on a quarter of hold: 0.75 s with etcd's own timers.
		Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2, 3},
	})
	m.failures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "havip_write_failures_total", Help: "Writes of the record that etcd did not confirm, by outcome.",
	}, []string{"outcome"})
	m.conflicts = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "havip_conflicts_total", Help: "Times that another machine claimed the VIP on the wire while this node held it.",
	})
	// What is there from the beginning can be seen to rise from zero.
	for _, planned := range []string{"true", "false"} {
		m.gaps.WithLabelValues(planned)
	}
	for _, o := range outcomes {
		m.failures.WithLabelValues(o)
	}
	m.labelled(m.registry).MustRegister(m.transitions, m.terms, m.gaps, m.trips, m.failures, m.conflicts)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// labelled says of whom the metrics are: those of three masters are looked at
// together, and of several clusters side by side.
func (m *Metrics) labelled(r prometheus.Registerer) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"node": m.node, "vip": m.vip}, r)
}

// outcomes of a write that is not confirmed.
var outcomes = []string{"refused", "not done", "unknown"}

// Transition counts a change of this node's role.
func (m *Metrics) Transition(to, reason string) {
	kind := Kind(reason)
	if to == string(status.RoleClaimant) && kind == KindOther {
		kind = KindClaim // its reason is the run that asked
	}
	m.transitions.WithLabelValues(to, kind).Inc()
	if to == string(status.RoleHolder) && kind != KindRestart {
		m.terms.Inc()
	}
}

// Gap is how long nobody held the VIP before this node got it.
func (m *Metrics) Gap(d time.Duration, planned bool) {
	m.gaps.WithLabelValues(fmt.Sprint(planned)).Observe(d.Seconds())
}

// Confirmed is a write that etcd confirmed, and how long that took.
func (m *Metrics) Confirmed(took time.Duration) { m.trips.Observe(took.Seconds()) }

// Unconfirmed is a write that ended otherwise.
func (m *Metrics) Unconfirmed(outcome string) { m.failures.WithLabelValues(outcome).Inc() }

// Conflict is another machine's claim of the VIP.
func (m *Metrics) Conflict() { m.conflicts.Inc() }

// Write writes all metrics in Prometheus's text format.
func (m *Metrics) Write(w io.Writer, s Snapshot) error {
	now := prometheus.NewRegistry()
	if err := m.labelled(now).Register(moment{s}); err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	families, err := prometheus.Gatherers{m.registry, now}.Gather()
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	enc := expfmt.NewEncoder(w, expfmt.FmtText)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	return nil
}
