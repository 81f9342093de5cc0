package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"havip/election"
	"havip/election/etcd"
)

// perform starts what the machine wants done. Nothing here waits.
func (l *loop) perform(acts []election.Action) {
	for _, a := range acts {
		switch a := a.(type) {
		case election.Write:
			go l.write(a)
		case election.Read:
			go l.read(a)
		case election.Probe:
			go l.probe(a)
		case election.Ask:
			go l.ask(a.Call)
		case election.Send:
			l.heartbeats.send(a)
		case election.Publish:
			l.mine = a.Peer
			l.publish()
		case election.SetAddress, election.ClearAddress, election.FindAddress:
			l.order(a)
		case election.SetFence:
			l.fencing.set(a.Until)
		case election.Announce:
			l.tellNeighbours()
		case election.Save:
			l.keeper.save(a)
		case election.Note:
			l.count(a)
			l.log.Info("transition", "from", a.From.String(), "to", a.To.String(), "reason", a.Reason)
			l.remember(fmt.Sprintf("%s -> %s: %s", a.From, a.To, a.Reason))
			l.history.note(a)
			if a.To == election.Holder {
				go l.elected()
			}
		case election.Warn:
			l.log.Warn(a.Text)
			l.remember(a.Text)
		case election.Done:
			if answer := l.waiting[a.Token]; answer != nil {
				delete(l.waiting, a.Token)
				answer(a)
			}
		case election.Exit:
			l.stop()
		}
	}
}

// count counts a transition, and how long nobody had the address before it came
// here.
func (l *loop) count(n election.Note) {
	l.meter.Transition(n.To.String(), n.Reason)
	v := l.machine.Glance()
	if n.To != election.Holder || v.Adopting {
		return
	}
	if m := lastMove(v.Record); m != nil && m.GapMS != nil {
		l.meter.Gap(time.Duration(*m.GapMS)*time.Millisecond, m.Planned)
	}
}

// order queues a call into the kernel. The machine never has more under way
// than there is room for; were it otherwise, the watchdog would end us.
func (l *loop) order(a election.Action) {
	select {
	case l.caller.orders <- a:
	default:
		l.log.Error("too many calls into the kernel are waiting", "call", fmt.Sprintf("%T", a))
	}
}

func (l *loop) write(a election.Write) {
	ctx, cancel := context.WithTimeout(context.Background(), a.Timeout)
	defer cancel()
	start := l.clock.Boot()
	r := l.lock.Write(ctx, a.Expect, a.Value, a.Elsewhere)
	if r.Err != nil {
		l.log.Debug("write", "id", a.ID, "outcome", r.Outcome, "err", r.Err)
	}
	wrote := election.Wrote{ID: a.ID, Outcome: outcome(r.Outcome), Current: r.Current}
	if r.Outcome == etcd.Committed {
		took := l.clock.Boot() - start
		l.meter.Confirmed(took)
		l.box.put(tripIs{took}, wrote)
		return
	}
	l.meter.Unconfirmed(wrote.Outcome.String())
	l.box.put(wrote)
}

func outcome(o etcd.Outcome) election.Outcome {
	switch o {
	case etcd.Committed:
		return election.Committed
	case etcd.Refused:
		return election.Refused
	case etcd.NotSent, etcd.Failed:
		return election.NotDone
	default:
		return election.Unknown
	}
}

func (l *loop) read(a election.Read) {
	ctx, cancel := context.WithTimeout(context.Background(), a.Timeout)
	defer cancel()
	value, err := l.lock.Read(ctx)
	if err != nil {
		l.log.Debug("read", "err", err)
		l.box.put(election.ReadFailed{Read: a.ID})
		return
	}
	l.box.put(election.Observed{Value: value, Read: a.ID})
}

// A look at the wire before an absent record is taken: the shortened form of RFC
// 5227 section 2.1.1, since whoever holds the address answers within milliseconds.
const (
	looks     = 2
	lookPause = 200 * time.Millisecond
)

func (l *loop) probe(a election.Probe) {
	ctx, cancel := context.WithTimeout(context.Background(), looks*lookPause+time.Second)
	defer cancel()
	mac, answered, err := l.address.Used(ctx, looks, lookPause)
	if err != nil {
		l.log.Debug("probe", "err", err)
	}
	l.box.put(election.Probed{ID: a.ID, Answered: answered, By: mac.String(), Failed: err != nil})
}

// askTimeout bounds putting the call key; the machine waits for the offer itself.
const askTimeout = time.Second

func (l *loop) ask(c election.Call) {
	b, err := json.Marshal(c)
	if err != nil {
		return // three strings always encode
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	if err := l.lock.Call(ctx, string(b)); err != nil {
		l.log.Warn("ask for an offer", "to", c.To, "err", err)
	}
}
