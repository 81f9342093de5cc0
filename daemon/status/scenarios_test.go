package status

import (
	"net/netip"
	"time"
)

// at0316 is the moment of the sketch: 03:16:21 in a zone an hour east of UTC.
var (
	cet    = time.FixedZone("CET", 3600)
	at0316 = time.Date(2026, 3, 2, 3, 16, 21, 0, cet)
)

func ms(n int64) *int64                    { return &n }
func before0316(d time.Duration) time.Time { return at0316.Add(-d) }
func timeRef(t time.Time) *time.Time       { return &t }
func addrs(list ...string) (as []netip.Addr) {
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// healthy is three masters, all well: n2 holds the VIP, n3 reports.
func healthy() *Document {
	return &Document{
		Time: at0316, Node: "n3", Version: "1.2.0", Config: "/etc/havip/havip.toml", Configured: true,
		VIP: addrs("198.51.100.166"),
		Holder: &Holder{Node: "n2", Link: "eth0", Since: timeRef(before0316(4*time.Minute + 12*time.Second)),
			RightLeftMS: ms(2800), RenewedAgoMS: ms(200), Confirmed: true},
		Record: Record{State: RecordHeld, Node: "n2", UnchangedMS: ms(200), TakeoverInMS: ms(4300), HoldMS: 3000, TakeoverMS: 4500},
		Self:   Self{Role: RoleCandidate, Reason: "etcd answers"},
		LastMove: &LastMove{From: "n1", To: "n2", At: before0316(4*time.Minute + 12*time.Second), LostAt: timeRef(before0316(4*time.Minute + 16*time.Second)),
			Reason: "n1 stopped renewing", Chosen: "n2 ranked first (healthy, priority 100)", GapMS: ms(4020)},
		Masters: []Master{master("n1", 162), master("n2", 163), master("n3", 164)},
		Etcd:    Etcd{State: EtcdReady, Members: 3, Healthy: 3, MemberVersion: "3.6.16"},
		Address: Address{Link: "eth0", States: []AddressState{{Address: netip.MustParseAddr("198.51.100.166")}}},
		Timing:  Timing{HoldMS: 3000, TakeoverMS: 4500, RenewalMS: 400, RetryMS: 200},
		Events: []Event{
			{At: before0316(26 * time.Hour), Text: "waiting -> candidate: etcd answers"},
			{At: before0316(4*time.Minute + 12*time.Second), Text: "n2 took over: n1 stopped renewing"},
		},
	}
}

// master is a healthy one; the document's node and holder are n3 and n2.
func master(name string, last byte) Master {
	m := Master{Name: name, Address: netip.AddrFrom4([4]byte{198, 51, 100, last}), Says: RoleCandidate, Present: true, Healthy: true,
		Priority: 100, APIServer: APIReady, Etcd: MemberFollower, LastSeenMS: ms(900), Version: "1.2.0"}
	m.Self = name == "n3"
	if name == "n2" {
		m.Says, m.Etcd = RoleHolder, MemberLeader
	}
	return m
}

func change(f func(d *Document)) *Document {
	d := healthy()
	f(d)
	return d
}

// seenByHolder makes n2 report instead of n3.
func seenByHolder(d *Document) {
	d.Node, d.Self = "n2", Self{Role: RoleHolder, Reason: "n1 stopped renewing"}
	d.Masters[1].Self, d.Masters[2].Self = true, false
	d.Holder.RoundTripMS = ms(4)
	d.Address.States[0].Present, d.Address.States[0].LifetimeLeftMS = true, ms(2600)
}

// loseN1 is the sketch at 03:16: n1 has been dead for four minutes.
func loseN1(d *Document) {
	m := &d.Masters[0]
	m.Present, m.LastSeenMS, m.Healthy = false, ms(256_000), false
	m.APIServer, m.Etcd = APIUnknown, MemberUnreachable
	d.Etcd.Healthy = 2
}

// scenarios are the situations an operator meets, each with a golden text and
// JSON under testdata.
var scenarios = map[string]func() *Document{
	"all-well":      func() *Document { return change(seenByHolder) },
	"one-gone":      func() *Document { return change(loseN1) },
	"daemon-gone":   func() *Document { return change(daemonGone) },
	"no-quorum":     func() *Document { return change(noQuorum) },
	"partitioned":   func() *Document { return change(partitioned) },
	"implausible":   func() *Document { return change(implausible) },
	"takeover":      func() *Document { return change(takeover) },
	"last-known":    func() *Document { return change(func(d *Document) { ownEtcdDown(d, 1200) }) },
	"etcd-down":     func() *Document { return change(func(d *Document) { ownEtcdDown(d, 40_000) }) },
	"elsewhere":     func() *Document { return change(elsewhere) },
	"drained":       func() *Document { return change(drained) },
	"all-drained":   func() *Document { return change(allDrained) },
	"migrating":     func() *Document { return change(migrating) },
	"two-masters":   func() *Document { return change(twoMasters) },
	"single":        func() *Document { return change(single) },
	"dual-stack":    func() *Document { return change(dualStack) },
	"api-failing":   func() *Document { return change(apiFailing) },
	"nospace":       func() *Document { return change(nospace) },
	"cut-off":       func() *Document { return change(cutOff) },
	"gateway-gone":  func() *Document { return change(gatewayGone) },
	"conflict":      func() *Document { return change(conflict) },
	"stray-address": func() *Document { return change(stray) },
	"heartbeats":    func() *Document { return change(heartbeats) },
	"silent-port":   func() *Document { return change(silentPort) },
	"last-drained":  func() *Document { return change(lastDrained) },
	"by-beats":      func() *Document { return change(byBeats) },
	"beats-of-then": func() *Document { return change(beatsOfThen) },
	"unconfigured":  unconfigured,
	"bad-config":    badConfig,
	"bootstrapping": func() *Document { return change(bootstrapping) },
	"claimed":       func() *Document { return change(claimed) },
	"forced":        func() *Document { return change(forced) },
	"all-stopped":   func() *Document { return change(allStopped) },
	"expired":       func() *Document { return change(expired) },
	"upgraded-one":  func() *Document { return change(func(d *Document) { d.Masters[0].Version = "1.3.0" }) },
}

func daemonGone(d *Document) {
	m := &d.Masters[0]
	m.Present, m.LastSeenMS, m.APIServer = false, ms(75_000), APIUnknown
}

// nobodyNow takes the holder's right away; n2 gave it up at 03:12:05.
func nobodyNow(d *Document) {
	d.Holder = nil
	d.LastMove = &LastMove{From: "n2", At: before0316(4*time.Minute + 16*time.Second), Reason: "released by an operator", Planned: true}
}

// noQuorum: n1 is off, n2 and n3 have no leader: the one left is no quorum either.
func noQuorum(d *Document) {
	loseN1(d)
	// A holder that lets go for want of a quorum can tell nobody: this is what etcd said last.
	d.Holder = &Holder{Node: "n2", Link: "eth0", Since: d.Holder.Since, LastKnown: true, AgeMS: 256_000, RenewedAgoMS: ms(256_000), RightLeftMS: ms(-253_000)}
	d.LastMove = &LastMove{From: "n1", To: "n2", At: before0316(26 * time.Hour), Reason: "handover by an operator", GapMS: ms(6), Planned: true}
	for _, i := range []int{1, 2} {
		m := &d.Masters[i]
		m.Etcd, m.APIServer, m.APIServerDetail, m.Healthy = MemberNoQuorum, APIFailing, "no answer within 1 s", false
	}
	d.Masters[1].Present = false
	d.Masters[1].LastSeenMS = ms(251_000)
	d.Record = Record{State: RecordUnknown}
	d.Etcd = Etcd{State: EtcdNoQuorum, Reason: "etcd has no leader: an election is going on, or too few members answer", SilentMS: ms(256_000), Members: 3, Healthy: 0}
}

// partitioned: n3 alone cannot know what the other two do.
func partitioned(d *Document) {
	noQuorum(d)
	d.LastMove = healthy().LastMove
	d.Holder = &Holder{Node: "n2", Link: "eth0", LastKnown: true, AgeMS: 256_000}
	d.Masters[1].Etcd, d.Masters[1].APIServer = MemberUnreachable, APIUnknown
}

// forced: n1 and n2 are gone for good, and an operator has n3 claim the address.
func forced(d *Document) {
	partitioned(d)
	d.Self = Self{Role: RoleClaimant, Reason: ForcedClaim + ": n1 and n2 are gone for good"}
	d.Holder = &Holder{Node: "n3", Link: "eth0", Confirmed: true, RightLeftMS: ms((58 * time.Minute).Milliseconds())}
	d.Address.States[0].Present = true
}

// allStopped: nobody's havipd but that of n3 runs, and n3's own member is dead.
func allStopped(d *Document) {
	elsewhere(d)
	nobodyNow(d)
	d.LastMove = &LastMove{From: "n2", At: before0316(75 * time.Second), Reason: "havipd on n2 stops", Planned: true}
	d.Record = Record{State: RecordFree, UnchangedMS: ms(75_000), HoldMS: 3000, TakeoverMS: 4500}
	for i := range d.Masters[:2] {
		m := &d.Masters[i]
		m.Present, m.LastSeenMS, m.APIServer = false, ms(75_000), APIUnknown
	}
}

// expired: the certificate of n3's etcd member has run out.
func expired(d *Document) {
	ownEtcdDown(d, 40_000)
	d.Etcd.Reason = "TLS with 127.0.0.1:2379: certificate has expired or is not yet valid: " +
		"current time 2026-03-02T02:16:21Z is after 2026-03-01T09:12:44Z"
}

func implausible(d *Document) {
	nobodyNow(d)
	d.LastMove = nil
	d.Record = Record{State: RecordImplausible, Problem: "takeover_ms: 3600000, must be 1000 to 60000"}
	d.Masters[1].Says = RoleCandidate
}

// takeover: n2 has just died, and n1 is about to take over.
func takeover(d *Document) {
	d.Holder.RightLeftMS, d.Holder.RenewedAgoMS = ms(-300), ms(3300)
	d.Record.UnchangedMS, d.Record.TakeoverInMS = ms(3300), ms(1200)
	m := &d.Masters[1]
	m.Present, m.APIServer, m.Etcd, m.Healthy, m.LastSeenMS = false, APIUnknown, MemberUnreachable, false, ms(3300)
	d.Etcd.Healthy = 2
}

func ownEtcdDown(d *Document, age int64) {
	d.Self = Self{Role: RoleWaiting, Reason: "etcd does not answer"}
	d.Holder = &Holder{Node: "n2", Link: "eth0", Since: d.Holder.Since, LastKnown: true, AgeMS: age}
	d.Etcd = Etcd{State: EtcdUnreachable, Reason: "connection refused at 127.0.0.1:2379", SilentMS: ms(age), Members: 3}
	for i := range d.Masters {
		m := &d.Masters[i]
		m.Etcd, m.APIServer, m.LastSeenMS = MemberUnknown, APIUnknown, ms(age)
		if m.Self {
			m.Etcd, m.APIServer, m.APIServerDetail, m.Healthy = MemberUnreachable, APIFailing, "500: etcd failed", false
		}
	}
}

// elsewhere: n3's own member is dead, but another one answers.
func elsewhere(d *Document) {
	d.Self = Self{Role: RoleWaiting, Reason: "etcd does not answer"}
	d.Etcd = Etcd{State: EtcdUnreachable, Reason: "connection refused at 127.0.0.1:2379", Elsewhere: true, Members: 3, Healthy: 2}
	d.Masters[2].Etcd = MemberUnreachable
}

func drained(d *Document) {
	d.Masters[0].Says = RoleDrained
}

func allDrained(d *Document) {
	nobodyNow(d)
	d.LastMove = &LastMove{From: "n2", At: before0316(90 * time.Second), Reason: "havipd on n2 stops", Planned: true}
	d.Record = Record{State: RecordFree, UnchangedMS: ms(90_000), HoldMS: 3000, TakeoverMS: 4500}
	for i := range d.Masters {
		d.Masters[i].Says = RoleDrained
	}
	d.Self = Self{Role: RoleDrained, Reason: "drained", DrainedBy: "root at 03:10:02"}
}

func migrating(d *Document) {
	nobodyNow(d)
	d.Holder, d.LastMove, d.Record = nil, nil, Record{State: RecordAbsent}
	for i, stage := range []AdoptStage{AdoptReady, AdoptWait, AdoptWait} {
		d.Masters[i].Says, d.Masters[i].Adopting = RoleDrained, stage
	}
	d.Self = Self{Role: RoleDrained, Reason: "drained by an operator", DrainedBy: "havipctl adopt at 03:10:02", Adopting: AdoptWait}
}

func twoMasters(d *Document) {
	d.Masters = d.Masters[1:]
	d.Etcd.Members, d.Etcd.Healthy = 2, 2
	d.LastMove = &LastMove{From: "n3", To: "n2", At: before0316(50 * time.Hour), Reason: "handover to n2, asked for by root on n3", Planned: true, GapMS: ms(12)}
	d.Holder.Since = timeRef(before0316(50 * time.Hour))
}

func single(d *Document) {
	seenByHolder(d)
	d.Masters = d.Masters[1:2]
	d.Etcd.Members, d.Etcd.Healthy = 1, 1
	d.LastMove = &LastMove{To: "n2", At: before0316(50 * time.Hour), Reason: "there was no record"}
	d.Holder.Since = timeRef(before0316(50 * time.Hour))
}

func dualStack(d *Document) {
	seenByHolder(d)
	d.VIP = addrs("198.51.100.166", "2001:db8::166")
	d.Address.States = append(d.Address.States, AddressState{Address: d.VIP[1], Present: true, LifetimeLeftMS: ms(2600)})
	d.Address.Warnings = []string{"2001:db8::166 is outside every prefix of eth0: clients need a route to it"}
	d.Address.Reasserts = 2
}

func apiFailing(d *Document) {
	m := &d.Masters[0]
	m.Healthy, m.APIServer, m.APIServerDetail = false, APIFailing, "500: [-]etcd failed"
	m = &d.Masters[2]
	m.Healthy, m.APIServer, m.APIServerDetail = false, APIFailing, "no answer within 1 s"
}

func nospace(d *Document) {
	seenByHolder(d)
	d.Holder.RoundTripMS = ms(1100)
	d.Etcd.Alarms = []string{"NOSPACE on n2"}
}

func conflict(d *Document) {
	seenByHolder(d)
	d.Address.Conflicts = []Conflict{{Address: d.VIP[0], MAC: "02:00:5e:00:53:07", At: before0316(40 * time.Second), AgoMS: 40_000, Count: 3}}
}

// heartbeats: n3 hears n2, which serves by its answer and n1's.
func heartbeats(d *Document) {
	d.Heartbeats = &Heartbeats{
		Detection: "fast", Port: 9478, Key: "0a0b0c0d", Epoch: "4f1c2b3a495867768594a3b2-17",
		Peers: []HeartbeatPeer{
			{Member: "8e9e05c52164694d", Name: "n1", Detection: "fast"},
			{Member: "91bc3c398fb3c146", Name: "n2", Detection: "fast", HeardAgoMS: ms(30), Sent: 5040, Received: 5041},
		},
	}
}

// silentPort: a firewall on n1 drops the heartbeats of n2, which therefore goes by
// the record alone.
func silentPort(d *Document) {
	seenByHolder(d)
	us := int64(210)
	d.Heartbeats = &Heartbeats{
		Detection: "fast", Port: 9478, Key: "0a0b0c0d", Plain: "1 of 2 other members answer heartbeats, 2 must",
		Peers: []HeartbeatPeer{
			{Member: "8e9e05c52164694d", Name: "n1", Detection: "fast", UnansweredMS: 252_000, Sent: 504},
			{Member: "fd422379fda50e48", Name: "n3", Detection: "fast", HeardAgoMS: ms(30), AnsweredAgoMS: ms(30), RoundTripUS: &us, Sent: 504, Received: 504},
		},
	}
}

// lastDrained: the holder is drained like all others, so it keeps the VIP.
func lastDrained(d *Document) {
	seenByHolder(d)
	d.Masters[0].Says, d.Masters[2].Says = RoleDrained, RoleDrained
	d.Self.DrainedBy = "root at 03:10:02"
}

// byBeats: etcd has lost its quorum under a holder that still serves by heartbeats.
func byBeats(d *Document) {
	heartbeats(d)
	seenByHolder(d)
	d.Holder.RightLeftMS, d.Holder.RenewedAgoMS, d.Record.HoldMS = ms(200), ms(8100), 13_400
	d.Etcd = Etcd{State: EtcdNoQuorum, Reason: "etcd has no leader: an election is going on, or too few members answer", SilentMS: ms(7100), Members: 3}
	d.Masters[0].Etcd, d.Masters[1].Etcd, d.Masters[2].Etcd = MemberUnreachable, MemberNoQuorum, MemberUnreachable
}

// beatsOfThen: what n3 knows of an epoch is as old as all else that it knows.
func beatsOfThen(d *Document) {
	heartbeats(d)
	ownEtcdDown(d, 40_000)
}

func stray(d *Document) {
	d.Address.States[0].Present, d.Address.States[0].Permanent = true, true
}

func unconfigured() *Document {
	return &Document{Time: at0316, Version: "1.2.0", Config: "/etc/havip/havip.toml"}
}

// badConfig: the file was edited, and the daemon restarted.
func badConfig() *Document {
	return &Document{
		Time: at0316, Version: "1.2.0", Config: "/etc/havip/havip.toml", Configured: true,
		Self: Self{Role: RoleWaiting, Reason: "the config file has problems"}, Etcd: Etcd{State: EtcdUnknown},
		Warnings: []string{
			`havip.toml:2:10: vip.adress: unknown key; did you mean address?`,
			`havip.toml:9:8: election.hold: "3" has no unit; write "3s" for seconds`,
		},
	}
}

func bootstrapping(d *Document) {
	d.Holder, d.LastMove, d.Record = nil, nil, Record{State: RecordUnknown}
	d.Self = Self{Role: RoleWaiting, Reason: "no etcd member yet"}
	d.Etcd = Etcd{State: EtcdNotConfigured, Reason: "/etc/kubernetes/pki/etcd/ca.crt is not there"}
	for i := range d.Masters {
		m := &d.Masters[i]
		*m = Master{Name: m.Name, Address: m.Address, Self: m.Self, Priority: 100, APIServer: APIUnknown, Etcd: MemberUnknown}
		if m.Self {
			m.Etcd, m.Version = MemberNone, "1.2.0"
		}
	}
}

// claimed: havipctl init runs on n3.
func claimed(d *Document) {
	bootstrapping(d)
	d.Self = Self{Role: RoleClaimant, Reason: "claimed the address; there is no etcd yet"}
	d.Holder = &Holder{Node: "n3", Link: "eth0", Confirmed: true, RightLeftMS: ms(48_000)}
	d.Address.States[0].Present = true
}

// cutOff: the switch port of n1 forwards nothing; n3's links cannot be asked.
func cutOff(d *Document) {
	for i := range d.Masters {
		d.Masters[i].Gateway = GatewayAnswers
	}
	d.Masters[0].Healthy, d.Masters[0].Gateway, d.Masters[0].GatewayDetail = false, GatewaySilent, "no answer from 198.51.100.1 on eth0"
	d.Masters[2].Gateway, d.Masters[2].GatewayDetail = GatewayUnknown, "open packet socket on eth0: no buffer space available"
}

// gatewayGone: nobody hears the gateway.
func gatewayGone(d *Document) {
	for i := range d.Masters {
		m := &d.Masters[i]
		m.Healthy, m.Gateway, m.GatewayDetail = false, GatewaySilent, "no answer from 198.51.100.1 on eth0"
	}
}
