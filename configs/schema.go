package configs

import (
	"time"

	"havip/election"
)

// Bounds of the times. The upper ones of hold and takeover are what other
// masters accept in a record; see timing.go for the lower ones.
const (
	minRenewal  = 100 * time.Millisecond // each renewal is a write with an fsync on every member
	maxRenewal  = 30 * time.Second
	minRetry    = 50 * time.Millisecond
	maxRetry    = 10 * time.Second
	minInterval = 100 * time.Millisecond // of a health check
	maxInterval = time.Minute
	maxPreempt  = 24 * time.Hour
	maxCount    = 100 // of rise and fall
	maxPriority = 1000
)

// schema is every section and key, in the order of the reference.
var schema = []section{
	{
		name: "vip",
		doc:  "The virtual IP. Without an address the daemon runs, says so and holds nothing.",
		keys: []key{
			addressKey("address", "The address, or one IPv4 and one IPv6 address that move together. It is set as /32 (IPv6: /128). Its family need not be that of the masters."),
			interfaceKey("interface", "The link that carries the VIP. auto takes the link with the route to it."),
		},
	},
	{
		name: "masters",
		doc:  "Every control plane node: its name in Kubernetes, and its own address. A node finds itself here by its address, so the file is the same everywhere. Use 1, 3 or 5: with an even number etcd survives no more failures than with one less.",
		entries: &entries{
			takes: "IP address",
			read:  readMaster, show: showMasters, example: exampleConfig,
		},
	},
	{
		name: "etcd",
		doc:  "The etcd member on this node. The election goes through it; through another one the VIP is only given away.",
		keys: []key{
			textKey("endpoint", "http or https URL with a port", "Client URL of this node's own member. Where the masters have IPv6 addresses the default is https://[::1]:2379, since kubeadm has etcd listen there. With an http URL, ca, cert and key are not used.",
				func(c *Config) *string { return &c.Etcd.Endpoint }, parseEndpoint),
			pathKey("ca", "Certificates that sign the member's own. Read again for each new connection, as are the next two.",
				func(c *Config) *string { return &c.Etcd.CA }),
			pathKey("cert", "Client certificate to show to the member; goes with key.",
				func(c *Config) *string { return &c.Etcd.Cert }),
			pathKey("key", "Private key of the client certificate.",
				func(c *Config) *string { return &c.Etcd.Key }),
			pathKey("manifest", "The member's static pod manifest. Its --election-timeout and --heartbeat-interval decide the times of [election] that are not set here.",
				func(c *Config) *string { return &c.Etcd.Manifest }),
		},
	},
	{
		name: "election",
		doc:  "How long things take and may take. What is not set is derived from etcd's own timers; what is set is checked against the rest.",
		keys: []key{
			timeKey("hold", "A holder may serve this long after it sent a renewal that etcd confirmed. It should outlast a change of etcd's leader, or each of these moves the VIP.",
				minHold, maxHold, func(e *Election) *time.Duration { return &e.Hold }, func(t election.Timing) time.Duration { return t.Hold }),
			timeKey("takeover", "The others wait this long after they last saw a renewal. It must outlast hold by what the kernel and the clocks may be late.",
				minTakeover, election.MaxTakeover, func(e *Election) *time.Duration { return &e.Takeover }, func(t election.Timing) time.Duration { return t.Takeover }),
			timeKey("renewal", "Time between two renewals; each is one small write to etcd.",
				minRenewal, maxRenewal, func(e *Election) *time.Duration { return &e.Renewal }, func(t election.Timing) time.Duration { return t.Renewal }),
			timeKey("retry", "Time until a renewal without an answer is tried again.",
				minRetry, maxRetry, func(e *Election) *time.Duration { return &e.Retry }, func(t election.Timing) time.Duration { return t.Retry }),
			detectionKey("detection", "How the others find out that the holder is dead. off: by its record in etcd alone, after takeover. standard and fast: the masters' daemons also hear each other, and find it within about 1.2 s or 0.3 s; the record then changes less often. fast is for masters whose daemons are never kept from running for 0.1 s. Both need three masters and Linux 5.8. See heartbeats.md."),
			countKey("heartbeat_port", "The UDP port at which the daemons hear each other, the same on every master; it must be open between them.", minPort, 65535,
				func(c *Config) *int { return &c.Election.HeartbeatPort }),
			heartbeatInterfaceKey("heartbeat_interface", "The link that heartbeats must come and go by. They go between the addresses that etcd's members have for each other."),
			preemptKey("preempt", "Whether a healthy master of strictly higher priority gets the VIP from a healthy holder, and after how long."),
		},
	},
	{
		name: "election.priority",
		doc:  "Who is preferred among equally healthy masters. The higher number wins, then the name.",
		entries: &entries{
			takes: "number, 0 to 1000", deflt: "100",
			read: readPriority, show: showPriorities, example: exampleConfig,
		},
	},
	{
		name: "health",
		doc:  "The checks of this node's own API server and of the VIP's own network. A holder whose check fails hands over if another master is healthy.",
		keys: []key{
			textKey("apiserver", `"auto", "none" or https URL with a port`, "What to ask. auto asks /readyz at the advertise address and port in the API server's manifest; none counts this node as healthy always. A URL without a path gets /readyz.",
				func(c *Config) *string { return &c.Health.APIServer }, parseAPIServer),
			pathKey("manifest", "The API server's static pod manifest, for auto.",
				func(c *Config) *string { return &c.Health.Manifest }),
			pathKey("ca", "Certificates that sign the API server's own.",
				func(c *Config) *string { return &c.Health.CA }),
			durationKey("interval", "Time from one check to the next. When the API server ends its connection, as one that dies does, a check comes at once.", minInterval, maxInterval,
				func(c *Config) *time.Duration { return &c.Health.Interval }),
			durationKey("timeout", "A check without an answer by then has failed. Without etcd's quorum an API server hangs instead of saying so.", minInterval, maxInterval,
				func(c *Config) *time.Duration { return &c.Health.Timeout }),
			gatewayKey("gateway", "Hosts on the VIP's link, such as its gateway, of which one must answer ARP (IPv6: neighbour discovery), each interval. For masters whose etcd is on another network than the VIP: a switch that dies silently there leaves the election content and the VIP out of reach. Name at least two hosts, or one that never goes alone. This node's own address is left out."),
			countKey("rise", "Checks in a row that must succeed before an unhealthy node counts as healthy.", 1, maxCount,
				func(c *Config) *int { return &c.Health.Rise }),
			countKey("fall", "Checks in a row that must fail before a healthy node counts as unhealthy.", 1, maxCount,
				func(c *Config) *int { return &c.Health.Fall }),
		},
	},
	{
		name: "metrics",
		doc:  "Prometheus metrics at /metrics, and /healthz and /readyz, over HTTP without TLS or passwords, for reading alone. The control socket has them always.",
		keys: []key{
			listenKey("listen", "Where to listen. self is the node's own address in [masters], so that the file is the same everywhere; without a host it is every address. Whoever can connect can read names, addresses and states: let the firewall say who."),
		},
	},
	kubeadmSection,
	advertiseSection,
	unattendedSection,
}

// timeKey is a key of [election] that has no constant default in the code: the
// election derives it from etcd's timers, though some come out the same always.
func timeKey(name, doc string, low, high time.Duration, field func(*Election) *time.Duration, derived func(election.Timing) time.Duration) key {
	k := durationKey(name, doc, low, high, func(c *Config) *time.Duration { return field(&c.Election) })
	usual := derived(election.DeriveTiming(election.DefaultEtcdElection))
	k.example = literal(durationText(usual))
	k.derived = k.example
	if derived(election.DeriveTiming(2*election.DefaultEtcdElection)) != usual {
		k.derived = "derived: " + k.example + " with etcd's own defaults"
	}
	return k
}
