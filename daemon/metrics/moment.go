package metrics

import (
	"math"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"havip/daemon/status"
)

// moment collects the facts of one snapshot.
type moment struct{ s Snapshot }

// fact is one metric that is read from a snapshot.
type fact struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// read says every value there is; without a document only those that need none.
	read func(s Snapshot, is func(v float64, labels ...string))
}

func gauge(name, help string, labels ...string) fact {
	return fact{desc: prometheus.NewDesc(name, help, labels, nil), kind: prometheus.GaugeValue}
}

func (f fact) from(read func(Snapshot, func(float64, ...string))) fact {
	f.read = read
	return f
}

// of is from for what the document alone says.
func (f fact) of(read func(d *status.Document, is func(float64, ...string))) fact {
	return f.from(func(s Snapshot, is func(float64, ...string)) {
		if s.Document != nil {
			read(s.Document, is)
		}
	})
}

// counted makes it a counter: it only rises, and the daemon counts elsewhere.
func (f fact) counted() fact {
	f.kind = prometheus.CounterValue
	return f
}

var facts = []fact{
	gauge("havip_build_info", "1, with the version of havipd.", "version", "goversion").
		from(func(s Snapshot, is func(float64, ...string)) { is(1, s.Version, runtime.Version()) }),
	gauge("havip_loop_age_seconds", "Since the daemon's loop last moved; it does so twice a second at least. Absent while there is no election here.").
		from(func(s Snapshot, is func(float64, ...string)) {
			if s.LoopAge >= 0 {
				is(s.LoopAge.Seconds())
			}
		}),
	gauge("havip_ready", "1: /readyz answers 200.").
		from(func(s Snapshot, is func(float64, ...string)) {
			ok := true
			for _, c := range s.Checks {
				ok = ok && c.Err == ""
			}
			is(truth(ok))
		}),
	gauge("havip_check_ok", "1: this check of /readyz passes.", "check").
		from(func(s Snapshot, is func(float64, ...string)) {
			for _, c := range s.Checks {
				is(truth(c.Err == ""), c.Name)
			}
		}),
	gauge("havip_configured", "0: the config file has no [vip].").
		of(func(d *status.Document, is func(float64, ...string)) { is(truth(d.Configured)) }),
	gauge("havip_verdict", "1 for the one that `havipctl status` begins with.", "verdict").
		of(func(d *status.Document, is func(float64, ...string)) {
			for _, v := range []status.Verdict{status.Held, status.Degraded, status.Nobody, status.Unknown, status.Unconfigured} {
				is(truth(d.Verdict == v), strings.ToLower(string(v)))
			}
		}),
	gauge("havip_role", "1 for the role of this node's election machine.", "role").
		of(func(d *status.Document, is func(float64, ...string)) {
			for _, r := range []status.Role{status.RoleWaiting, status.RoleCandidate, status.RoleHolder, status.RoleClaimant, status.RoleReleasing, status.RoleDrained} {
				is(truth(d.Self.Role == r), string(r))
			}
		}),
	gauge("havip_problems", "Number of problems that `havipctl status` lists.").
		of(func(d *status.Document, is func(float64, ...string)) { is(float64(len(d.Problems))) }),
	gauge("havip_warnings", "Number of warnings that `havipctl status` lists.").
		of(func(d *status.Document, is func(float64, ...string)) { is(float64(len(d.Warnings))) }),

	gauge("havip_is_holder", "1: this node has the right to serve the VIP.").
		of(func(d *status.Document, is func(float64, ...string)) { is(truth(d.HoldsHere())) }),
	gauge("havip_holder", "1, with the node that is known to hold the VIP.", "holder").
		of(func(d *status.Document, is func(float64, ...string)) {
			if d.IsHeld() && d.Holder != nil {
				is(1, d.Holder.Node)
			}
		}),
	gauge("havip_right_seconds", "Until this node's right to serve ends unless it is renewed; 0 without one.").
		of(func(d *status.Document, is func(float64, ...string)) {
			if d.HoldsHere() {
				is(seconds(*d.Holder.RightLeftMS))
				return
			}
			is(0)
		}),
	gauge("havip_address_present", "1: the address is on a link of this node, as read back from the kernel.", "address").
		of(func(d *status.Document, is func(float64, ...string)) {
			for _, a := range d.Address.States {
				is(truth(a.Present), a.Address.String())
			}
		}),
	gauge("havip_address_lifetime_seconds", "Until the kernel removes the address by itself, in whole seconds; 0 where it is not, +Inf if it never would.", "address").
		of(func(d *status.Document, is func(float64, ...string)) {
			for _, a := range d.Address.States {
				switch {
				case a.Permanent:
					is(math.Inf(1), a.Address.String())
				case a.LifetimeLeftMS != nil:
					is(seconds(*a.LifetimeLeftMS), a.Address.String())
				default:
					is(0, a.Address.String())
				}
			}
		}),
	gauge("havip_address_reasserts_total", "Times that the address was set again after others had removed it.").counted().
		of(func(d *status.Document, is func(float64, ...string)) { is(float64(d.Address.Reasserts)) }),
	gauge("havip_link_up", "1: the VIP's link is there and has a carrier.").
		of(func(d *status.Document, is func(float64, ...string)) {
			is(truth(d.Address.Link != "" && d.Address.LinkReason == ""))
		}),

	gauge("havip_master_present", "1: this node sees the daemon of that master in etcd. Absent while etcd does not answer.", "master").
		of(func(d *status.Document, is func(float64, ...string)) {
			for _, m := range d.Masters {
				if d.EtcdAnswers() {
					is(truth(m.Present), m.Name)
				}
			}
		}),
	gauge("havip_master_healthy", "1: that master says that it is healthy. Absent while it is not present.", "master").
		of(func(d *status.Document, is func(float64, ...string)) {
			for _, m := range d.Masters {
				if m.Present {
					is(truth(m.Healthy), m.Name)
				}
			}
		}),
	gauge("havip_api_server", "1 for the state of this node's API server.", "state").
		of(func(d *status.Document, is func(float64, ...string)) {
			self := own(d)
			for _, a := range []status.APIServer{status.APIReady, status.APIFailing, status.APIAlive, status.APIOff, status.APIUnknown} {
				is(truth(self.APIServer == a), string(a))
			}
		}),
	gauge("havip_gateway", "1 for what this node hears from the hosts of health.gateway. Absent where none is named.", "state").
		of(func(d *status.Document, is func(float64, ...string)) {
			self := own(d)
			for _, g := range []status.Gateway{status.GatewayAnswers, status.GatewaySilent, status.GatewayUnknown} {
				if self.Gateway != "" {
					is(truth(self.Gateway == g), string(g))
				}
			}
		}),

	gauge("havip_etcd", "1 for the state of etcd as this node sees it.", "state").
		of(func(d *status.Document, is func(float64, ...string)) {
			for _, e := range []status.EtcdState{status.EtcdReady, status.EtcdNotConfigured, status.EtcdUnreachable, status.EtcdLearner, status.EtcdNoQuorum, status.EtcdDenied, status.EtcdUnknown} {
				is(truth(d.Etcd.State == e), string(e))
			}
		}),
	gauge("havip_etcd_members", "Voting members of etcd; 0 while that is not known.").
		of(func(d *status.Document, is func(float64, ...string)) { is(float64(d.Etcd.Members)) }),
	gauge("havip_etcd_members_healthy", "Voting members that answer this node and have a leader.").
		of(func(d *status.Document, is func(float64, ...string)) { is(float64(d.Etcd.Healthy)) }),
	gauge("havip_etcd_alarms", "Alarms that etcd raised.").
		of(func(d *status.Document, is func(float64, ...string)) { is(float64(len(d.Etcd.Alarms))) }),

	gauge("havip_heartbeats_in_force", "1: the holder serves by heartbeats, as far as this node knows; 0: by renewals in etcd alone, so that its death is found late.").
		of(func(d *status.Document, is func(float64, ...string)) {
			if d.Heartbeats != nil {
				is(truth(d.Heartbeats.Epoch != ""))
			}
		}),
	gauge("havip_heartbeats_sent_total", "Datagrams sent to the daemon of that master. Heartbeats are absent where [election] detection is off.", "master").counted().
		of(perPeer(func(p status.HeartbeatPeer, is func(float64)) { is(float64(p.Sent)) })),
	gauge("havip_heartbeats_received_total", "Datagrams of that master that were believed.", "master").counted().
		of(perPeer(func(p status.HeartbeatPeer, is func(float64)) { is(float64(p.Received)) })),
	gauge("havip_heartbeats_unsent_total", "Datagrams to that master that the kernel refused, or for which there was no key or address.", "master").counted().
		of(perPeer(func(p status.HeartbeatPeer, is func(float64)) { is(float64(p.Unsent)) })),
	gauge("havip_heartbeats_unanswered_seconds", "For how long that master has not answered the beats of this node; 0 where it does, or none are sent.", "master").
		of(perPeer(func(p status.HeartbeatPeer, is func(float64)) { is(seconds(p.UnansweredMS)) })),
	gauge("havip_heartbeats_round_trip_seconds", "Of the last beat that this master answered. Absent before the first.", "master").
		of(perPeer(func(p status.HeartbeatPeer, is func(float64)) {
			if p.RoundTripUS != nil {
				is(float64(*p.RoundTripUS) / 1e6)
			}
		})),
	gauge("havip_heartbeats_dropped_total", "Datagrams that came and were not believed, by reason (heartbeats.md).", "reason").counted().
		of(func(d *status.Document, is func(float64, ...string)) {
			if d.Heartbeats == nil {
				return
			}
			for _, x := range d.Heartbeats.Dropped {
				is(float64(x.Count), x.Reason)
			}
		}),

	gauge("havip_hold_seconds", "How long a holder may serve after it sent a confirmed renewal, without heartbeats.").
		of(func(d *status.Document, is func(float64, ...string)) { is(seconds(d.Timing.HoldMS)) }),
	gauge("havip_takeover_seconds", "How long the others wait after they last saw the record change, without heartbeats.").
		of(func(d *status.Document, is func(float64, ...string)) { is(seconds(d.Timing.TakeoverMS)) }),
	gauge("havip_log_lines_dropped_total", "Log lines that were dropped because stderr was blocked.").counted().
		of(func(d *status.Document, is func(float64, ...string)) { is(float64(d.LogDropped)) }),
}

// Describe implements prometheus.Collector.
func (m moment) Describe(to chan<- *prometheus.Desc) {
	for _, f := range facts {
		to <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (m moment) Collect(to chan<- prometheus.Metric) {
	for _, f := range facts {
		f.read(m.s, func(v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(f.desc, f.kind, v, labels...)
		})
	}
}

func own(d *status.Document) status.Master {
	for _, m := range d.Masters {
		if m.Self {
			return m
		}
	}
	return status.Master{APIServer: status.APIUnknown}
}

// perPeer reads one value of each other master.
func perPeer(read func(p status.HeartbeatPeer, is func(float64))) func(*status.Document, func(float64, ...string)) {
	return func(d *status.Document, is func(float64, ...string)) {
		if d.Heartbeats == nil {
			return
		}
		for _, p := range d.Heartbeats.Peers {
			read(p, func(v float64) { is(v, p.Name) })
		}
	}
}

func seconds(ms int64) float64 { return float64(ms) / 1000 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
