package configs

import (
	"fmt"
	"time"

	"havip/election"
)

const (
	// minHold is the shortest hold that works with the kernel's lifetimes, which
	// are whole seconds: with less, not even one second fits between a renewal
	// and the moment by which the address must be gone.
	minHold = time.Second

	// slowRoundTrip is how long etcd may take to confirm a renewal without the
	// kernel's lifetimes becoming too coarse for the times that are set.
	slowRoundTrip = 300 * time.Millisecond

	// setMargin is what the election keeps free around a call that sets the
	// address: 120 ms for the call, 20 ms for the timer that ends a frozen one.
	setMargin = 140 * time.Millisecond

	// step is what derived and suggested times are rounded to.
	step = 100 * time.Millisecond

	// defaultHeartbeat is the heartbeat interval of an etcd member that was not
	// told otherwise.
	defaultHeartbeat = 100 * time.Millisecond
)

var (
	minTakeover = election.MinTakeoverFor(minHold)
	maxHold     = longestHold(election.MaxTakeover)
)

// EtcdTimers are the timers of the local etcd member. A zero time means etcd's
// default.
type EtcdTimers struct {
	ElectionTimeout time.Duration
	Heartbeat       time.Duration
	Found           bool // there is a manifest
}

func (e EtcdTimers) orDefaults() EtcdTimers {
	if e.ElectionTimeout <= 0 {
		e.ElectionTimeout = election.DefaultEtcdElection
	}
	if e.Heartbeat <= 0 {
		e.Heartbeat = defaultHeartbeat
	}
	return e
}

// Timing returns the times of the election: what the file sets, the rest derived
// from etcd's timers. The error is [Problems] and means that the VIP must not be
// led with them; warnings do not hinder.
func (c *Config) Timing(etcd EtcdTimers) (election.Timing, []Warning, error) {
	etcd = etcd.orDefaults()
	t := c.fill(etcd)
	if problems := c.refuse(t, etcd); len(problems) > 0 {
		return election.Timing{}, nil, problems
	}
	return t, c.timingWarnings(t, etcd), nil
}

// fill derives what the file does not set.
func (c *Config) fill(etcd EtcdTimers) election.Timing {
	e := c.Election
	t := election.DeriveTiming(etcd.ElectionTimeout)
	t.Renewal = orElse(e.Renewal, t.Renewal)
	t.Retry = orElse(e.Retry, t.Retry)
	derived := ceil(t.MinHoldFor(etcd.ElectionTimeout))
	t.Hold = orElse(e.Hold, min(max(derived, minHold), maxHold))
	t.Takeover = orElse(e.Takeover, election.MinTakeoverFor(t.Hold))
	return t
}

// unsafeTimes returns the problems that can be told without knowing etcd's
// timers: nothing is derived from them once hold is set.
func (c *Config) unsafeTimes() Problems {
	if c.Election.Hold == 0 {
		return nil
	}
	etcd := EtcdTimers{}.orDefaults()
	return c.refuse(c.fill(etcd), etcd)
}

// refuse returns why these times must not be used.
func (c *Config) refuse(t election.Timing, etcd EtcdTimers) Problems {
	var problems Problems
	note := func(key, what, fix string) {
		problems = append(problems, Problem{Place: c.places[key], Key: key, What: what, Fix: fix})
	}
	if once := t.Renewal + t.Retry; once >= t.Hold {
		note(c.firstSet("hold", "renewal", "retry"),
			fmt.Sprintf("hold %s leaves no time to try a second time after renewal %s and retry %s: one lost request would lose the VIP",
				durationText(t.Hold), durationText(t.Renewal), durationText(t.Retry)),
			fmt.Sprintf("set hold above %q, or the other two lower", durationText(once)))
	}
	if need := election.MinTakeoverFor(t.Hold); t.Takeover < need {
		note(c.firstSet("takeover", "hold"), c.tooShort(t, etcd), shortFix(t, need))
	}
	if err := t.CheckSafe(); err != nil && len(problems) == 0 {
		note("election", err.Error(), "remove hold and takeover to have them derived")
	}
	return problems
}

func (c *Config) tooShort(t election.Timing, etcd EtcdTimers) string {
	origin := ""
	if c.Election.Hold == 0 {
		origin = fmt.Sprintf(" (derived from etcd's election timeout of %s)", durationText(etcd.ElectionTimeout))
	}
	return fmt.Sprintf("takeover %s is too short for hold %s%s: two nodes could have the VIP, since the kernel may remove it %s late and clocks may differ by 1 %%",
		durationText(t.Takeover), durationText(t.Hold), origin, durationText(election.KernelLateness))
}

func shortFix(t election.Timing, need time.Duration) string {
	fix := fmt.Sprintf("set takeover to at least %q", durationText(need))
	if need > election.MaxTakeover {
		fix = "set takeover higher"
	}
	if fits := longestHold(t.Takeover); fits >= minHold {
		fix += fmt.Sprintf(", or hold to at most %q", durationText(fits))
	}
	return fix
}

// timingWarnings tells what is safe, but moves the VIP or loads etcd needlessly.
func (c *Config) timingWarnings(t election.Timing, etcd EtcdTimers) []Warning {
	var warnings []Warning
	warn := func(key, what, fix string) {
		warnings = append(warnings, Warning{Place: c.places[key], Key: key, What: what, Fix: fix})
	}
	if need := ceil(t.MinHoldFor(etcd.ElectionTimeout)); t.Hold < need {
		warn("election.hold",
			fmt.Sprintf("%s is shorter than the %s that a leader change of etcd may take with its election timeout of %s: every etcd leader change would move the VIP",
				durationText(t.Hold), durationText(need), durationText(etcd.ElectionTimeout)),
			c.calmFix(need))
	}
	if room := lifetimeRoom(t.Takeover); room < slowRoundTrip {
		warn(c.firstSet("takeover", "hold"),
			fmt.Sprintf("with takeover %s the VIP leaves the link whenever etcd takes more than %s to confirm a renewal: the kernel counts lifetimes in whole seconds",
				durationText(t.Takeover), durationText(room.Round(time.Millisecond))),
			fmt.Sprintf("set takeover to at least %q", durationText(roomyTakeover())))
	}
	if t.Renewal < etcd.Heartbeat {
		warn("election.renewal",
			fmt.Sprintf("%s is shorter than etcd's heartbeat interval of %s, which tells how slow this network is", durationText(t.Renewal), durationText(etcd.Heartbeat)),
			fmt.Sprintf("set it to at least %q", durationText(etcd.Heartbeat)))
	}
	return warnings
}

// lifetimeRoom returns how late after it was sent a renewal may be confirmed so
// that a lifetime of one second still ends before another node may begin.
func lifetimeRoom(takeover time.Duration) time.Duration {
	return takeover - takeover/100 - election.KernelLateness - setMargin - time.Second
}

// roomyTakeover returns the shortest takeover, in steps, that leaves room for a
// slow round trip.
func roomyTakeover() time.Duration {
	takeover := minTakeover
	for lifetimeRoom(takeover) < slowRoundTrip {
		takeover += step
	}
	return takeover
}

// calmFix says how to get a hold that outlasts etcd's leader changes.
func (c *Config) calmFix(need time.Duration) string {
	if need > maxHold {
		return fmt.Sprintf("lower etcd's election timeout: no hold above %s is possible", durationText(maxHold))
	}
	if c.Election.Takeover == 0 {
		return fmt.Sprintf("set it to at least %q, or remove it to have it derived", durationText(need))
	}
	return fmt.Sprintf("set it to at least %q and takeover to at least %q, or remove both to have them derived",
		durationText(need), durationText(election.MinTakeoverFor(need)))
}

// firstSet returns the path of the first of these times that the file sets, of
// the first of all if it sets none.
func (c *Config) firstSet(names ...string) string {
	e := c.Election
	values := map[string]time.Duration{"hold": e.Hold, "takeover": e.Takeover, "renewal": e.Renewal, "retry": e.Retry}
	for _, name := range names {
		if values[name] > 0 {
			return "election." + name
		}
	}
	return "election." + names[0]
}

// longestHold returns the longest hold, in steps, that this takeover is safe
// with; zero or less if there is none.
func longestHold(takeover time.Duration) time.Duration {
	hold := takeover / step * step
	for hold > 0 && election.MinTakeoverFor(hold) > takeover {
		hold -= step
	}
	return hold
}

func orElse(d, fallback time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return fallback
}

func ceil(d time.Duration) time.Duration { return (d + step - 1) / step * step }
