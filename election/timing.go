package election

import (
	"errors"
	"fmt"
	"time"
)

// Bounds that the timing rules are built on. Each is a measurement or a limit
// of the kernel, not a preference.
const (
	// KernelLateness bounds how long after its lifetime the kernel removes an
	// address. The work that removes addresses leaves at least one second
	// between two rounds, so any other address change in the last second before
	// expiry postpones it; 1.3 s was the worst seen (Linux 6.1 and 6.18).
	KernelLateness = 1300 * time.Millisecond

	// killLateness is what a POSIX timer that kills a frozen process may be
	// late by: 1 to 3 ms were measured, 20 ms are allowed.
	killLateness = 20 * time.Millisecond

	// etcdElectionFactor times etcd's election timeout is the longest an etcd
	// leader change was seen to stall writes (2.2 s at the default 1 s).
	etcdElectionFactor = 2.2

	// roundTripAllowance is kept free inside hold for one slow round trip.
	roundTripAllowance = 200 * time.Millisecond

	// clearAllowance is kept free between the end of a holder's right and the
	// moment another node may begin, for clearing the address.
	clearAllowance = 100 * time.Millisecond

	// DefaultEtcdElection is the election timeout of an etcd member that was
	// not told otherwise; kubeadm's manifest does not.
	DefaultEtcdElection = time.Second

	// MinTakeover and MaxTakeover bound what a plausible record may ask others
	// to wait. A record outside them is reported and never obeyed.
	MinTakeover = time.Second
	MaxTakeover = 60 * time.Second
)

// Timing is how long things take and may take in an election.
type Timing struct {
	Hold     time.Duration // a holder may serve this long after it SENT a renewal that etcd confirmed
	Takeover time.Duration // others wait this long after they last saw the record change
	Renewal  time.Duration // between two renewals
	Retry    time.Duration // before a renewal without an answer is tried again
}

// Detection is how heartbeats are used; zero: not at all.
type Detection struct {
	Beat    time.Duration // between two rounds of beats of the holder
	Promise time.Duration // others do not abandon a holder this long after a beat
	Hold    time.Duration // a holder may serve this long after the SEND of a beat that enough of them acknowledged
}

// StandardDetection finds a dead holder within 1.2 s.
func StandardDetection() Detection { return detection(150*time.Millisecond, 1200*time.Millisecond) }

// FastDetection finds a dead holder within 0.3 s, which asks for masters whose
// daemons are never kept from running for 0.1 s.
func FastDetection() Detection { return detection(120*time.Millisecond, 300*time.Millisecond) }

// detection leaves a tenth of the promise for clearing the address; what is
// frozen is closed by the kernel, exactly on time (rule 12).
func detection(beat, promise time.Duration) Detection {
	return Detection{Beat: beat, Promise: promise, Hold: promise * 9 / 10}
}

// On reports whether there are to be heartbeats.
func (d Detection) On() bool { return d.Promise > 0 }

// beatTiming is that of a record with an epoch, for a plain timing. It is long: a
// dead holder is found by heartbeats, so writes can be few and etcd slow. It rides
// out all that the plain one does.
func beatTiming(plain Timing) Timing {
	t := Timing{Takeover: 15 * time.Second, Renewal: 4 * time.Second, Retry: time.Second}
	t.Hold = time.Duration(clockMargin*float64(t.Takeover)) - KernelLateness - killLateness - clearAllowance
	t.Hold = t.Hold / (100 * time.Millisecond) * (100 * time.Millisecond)
	if need := plain.Hold + t.Renewal - plain.Renewal + t.Retry - plain.Retry; need > t.Hold {
		t.Hold, t.Takeover = need, MinTakeoverFor(need)
	}
	if t.Takeover > MaxTakeover {
		return plain
	}
	return t
}

// DeriveTiming returns the shortest timing that rides out a leader change of an
// etcd whose election timeout is the given one. At etcd's default of 1 s it is
// hold 3.0 s, takeover 4.5 s, renewal 0.4 s, retry 0.2 s.
func DeriveTiming(etcdElection time.Duration) Timing {
	t := Timing{Renewal: 400 * time.Millisecond, Retry: 200 * time.Millisecond}
	t.Hold = ceilTo(t.Renewal+etcdStall(etcdElection)+t.Retry+roundTripAllowance, 100*time.Millisecond)
	t.Takeover = MinTakeoverFor(t.Hold)
	return t
}

// MinTakeoverFor returns the shortest takeover that is safe with the given
// hold, rounded up to 0.1 s: even a clock that runs 1 % fast and a kernel that
// removes the address KernelLateness late leave no instant with two holders.
func MinTakeoverFor(hold time.Duration) time.Duration {
	need := hold + KernelLateness + killLateness + clearAllowance
	return ceilTo(time.Duration(float64(need)/clockMargin), 100*time.Millisecond)
}

// MinHoldFor returns the shortest hold with which a leader change of etcd does
// not move the address.
func (t Timing) MinHoldFor(etcdElection time.Duration) time.Duration {
	return t.Renewal + etcdStall(etcdElection) + t.Retry + roundTripAllowance
}

// CheckSafe reports why two nodes could hold the address at once with this
// timing, or why a record that carries it would be refused by the others.
func (t Timing) CheckSafe() error {
	var errs []error
	if t.Hold <= 0 || t.Renewal <= 0 || t.Retry <= 0 {
		errs = append(errs, fmt.Errorf("hold, renewal and retry must be above 0, are %v, %v and %v", t.Hold, t.Renewal, t.Retry))
	}
	if t.Takeover < MinTakeover || t.Takeover > MaxTakeover {
		errs = append(errs, fmt.Errorf("takeover %v is outside %v to %v", t.Takeover, MinTakeover, MaxTakeover))
	}
	if need := MinTakeoverFor(t.Hold); t.Takeover < need {
		errs = append(errs, fmt.Errorf("takeover %v is too short for hold %v: the kernel may remove the address up to %v late, so takeover must be at least %v",
			t.Takeover, t.Hold, KernelLateness, need))
	}
	return errors.Join(errs...)
}

func etcdStall(election time.Duration) time.Duration {
	return time.Duration(etcdElectionFactor * float64(election))
}

func ceilTo(d, unit time.Duration) time.Duration {
	return (d + unit - 1) / unit * unit
}

// clockMargin is what remains of another node's waiting time when its clock
// runs 1 % faster than ours (promise P1's bound on clock rates).
const clockMargin = 0.99
