package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/vip"
)

// A migration from another program that holds the VIP (docs/migration.md has the
// argument). Nothing of it is in the election: a node is drained until it is its
// turn, and what the other program set is out of the daemon's sight.

func adoptPath(dir string) string { return filepath.Join(dir, status.AdoptFile) }

// loadAdopt returns the stage, none if there is no mark. One that cannot be read
// still keeps the node back.
func loadAdopt(dir string) (status.AdoptMark, error) {
	var m status.AdoptMark
	b, err := os.ReadFile(adoptPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err == nil && !known(m.Stage) {
		err = fmt.Errorf("stage %q is not known", m.Stage)
	}
	if err != nil {
		return status.AdoptMark{Stage: status.AdoptReady}, fmt.Errorf("read %s: %w", adoptPath(dir), err)
	}
	return m, nil
}

func known(s status.AdoptStage) bool {
	return slices.Contains([]status.AdoptStage{status.AdoptReady, status.AdoptWait, status.AdoptTake, status.AdoptBack, status.AdoptGive}, s)
}

// saveAdopt returns when the mark is on the disk: what is allowed after it hangs
// on it.
func saveAdopt(dir string, m status.AdoptMark) error {
	if m.Stage == status.AdoptNone {
		if err := os.Remove(adoptPath(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("erase %s: %w", adoptPath(dir), err)
		}
		return syncDir(dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	if err := replaceFile(adoptPath(dir), m, (*os.File).Sync); err != nil {
		return err
	}
	return syncDir(dir)
}

// keptBack reports whether a stage keeps the node from having the VIP.
func keptBack(s status.AdoptStage) bool {
	return s != status.AdoptNone && s != status.AdoptTake && s != status.AdoptGive
}

// spares is what a stage leaves to the other program.
func spares(s status.AdoptStage) vip.Sparing {
	switch s {
	case status.AdoptNone:
		return vip.SpareNothing
	case status.AdoptGive:
		return vip.SpareRoom
	}
	return vip.SpareFound
}

// Messages to the loop.
type (
	// adoptAsk asks whether a stage may come next, and which is now.
	adoptAsk struct {
		status.AdoptRequest
		answer chan adoptAnswer
	}
	adoptAnswer struct {
		now     status.AdoptStage
		settled bool
		refused string
	}
	// adoptIs says that the mark on the disk is this from now on. left: something
	// without a lifetime is on a link, and is nobody's any more.
	adoptIs struct {
		mark status.AdoptMark
		left bool
	}
)

// adoptFacts is what hangs on whether a stage may come.
type adoptFacts struct {
	now     status.AdoptStage
	self    string
	role    election.Role
	drained bool   // by an operator
	record  string // whom the record names; "" nobody
	etcd    bool   // what is seen there is of now
	serving bool   // the address is on the link, by right
	masters []configs.Master
	here    map[string]presence
	without []string
}

// refuseAdopt says why a stage may not come next, "" if it may. Only one node has
// the right to take at a time: it needs everybody else to wait, and who waits does
// not take.
func refuseAdopt(f adoptFacts, to status.AdoptStage) string {
	from := f.now
	switch {
	case from == to:
		return ""
	case to == status.AdoptWait && from == status.AdoptReady:
		return ""
	case to == status.AdoptTake && from == status.AdoptReady:
		return refuseTake(f)
	case to == status.AdoptGive && from == status.AdoptNone:
		if f.role != election.Holder || !f.serving {
			return f.self + " does not hold the address"
		}
		return others(f, func(p presence) string {
			if p.Drained && keptBack(p.Adopt) { // what an operator has drained is undrained without a look
				return ""
			}
			return " would take the address as soon as it is let go here"
		})
	case to == status.AdoptNone && (from == status.AdoptTake || from == status.AdoptGive):
		if f.role != election.Holder || !f.serving {
			return f.self + " has not taken the address yet"
		}
		return ""
	case to == status.AdoptBack && (from == status.AdoptNone || from == status.AdoptWait || from == status.AdoptReady):
		if f.role == election.Holder || f.role == election.Releasing {
			return f.self + " holds the address"
		}
		return ""
	}
	return fmt.Sprintf("a migration at stage %q does not go on with %q", from, to)
}

func refuseTake(f adoptFacts) string {
	switch {
	case f.drained:
		return f.self + " is drained by an operator"
	case !f.etcd:
		return "etcd does not answer here"
	case f.record != "" && f.record != f.self:
		return f.record + " holds the address by havip already"
	}
	return others(f, func(p presence) string {
		if p.Adopt == status.AdoptWait {
			return ""
		}
		return " has not switched off what held the address"
	})
}

// others joins what is said against the other masters, and against those who take
// part without being among them.
func others(f adoptFacts, against func(presence) string) string {
	names := slices.Collect(maps.Keys(f.here))
	for _, m := range f.masters {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	var missing []string
	for _, name := range slices.Compact(names) {
		if name == f.self || slices.Contains(f.without, name) {
			continue
		}
		p, ok := f.here[name]
		if !ok {
			missing = append(missing, name+" is not there")
		} else if why := against(p); why != "" {
			missing = append(missing, name+why)
		}
	}
	return strings.Join(missing, ", ")
}

func (l *loop) adoptFacts(without []string) adoptFacts {
	v := l.machine.Glance()
	f := adoptFacts{
		now: l.adopt.Stage, self: l.self.Name, role: v.Role, drained: l.drain != nil, etcd: l.etcdAnswers() && v.Known,
		serving: v.Serving && v.Address == "present",
		masters: l.cfg.Masters, here: l.roster.now, without: without,
	}
	if v.Bad != nil {
		f.record = "somebody"
	} else if v.Known && !v.Absent && !v.Record.Free() {
		f.record = v.Record.Node
	}
	return f
}

func (l *loop) adoptAsk(q adoptAsk) {
	q.answer <- adoptAnswer{now: l.adopt.Stage, settled: l.settled(), refused: refuseAdopt(l.adoptFacts(q.Without), q.Stage)}
}

// adoptIs lets a stage take effect that is on the disk.
func (l *loop) adoptIs(e adoptIs) {
	if e.mark.Stage == l.adopt.Stage {
		return
	}
	l.remember(fmt.Sprintf("migration: %q -> %q", l.adopt.Stage, e.mark.Stage))
	l.log.Info("migration", "from", l.adopt.Stage, "to", e.mark.Stage)
	was := l.adopt.Stage
	l.adopt, l.ending = e.mark, false
	l.address.Spare(spares(e.mark.Stage))
	l.fencing.aside.Store(e.mark.Stage != status.AdoptNone)
	l.fencing.look(l.link.Index)
	if e.left && !l.machine.Glance().Serving {
		l.step(election.AddressAppeared{Until: l.clock.Boot() + election.MaxTakeover})
	}
	if keptBack(was) != keptBack(e.mark.Stage) {
		l.step(election.SetDrained{On: keptBack(e.mark.Stage) || l.drain != nil})
	}
	l.publish()
}

// settled reports whether another node has the VIP: the record names it, and it says
// itself that nothing else holds the VIP there any more.
func (l *loop) settled() bool {
	v := l.machine.Glance()
	if !v.Known || v.Absent || v.Bad != nil || v.Record.Free() || v.Record.Node == l.self.Name {
		return false
	}
	p, ok := l.roster.now[v.Record.Node]
	return ok && p.Adopt == status.AdoptNone && p.Role == election.Holder.String()
}

// endWait lets a node take part again that waited for another one to take the VIP.
func (l *loop) endWait() {
	if l.adopt.Stage != status.AdoptWait || l.ending || !l.settled() {
		return
	}
	l.ending = true
	go func() {
		if err := l.waited(); err != nil {
			l.log.Warn("end the migration on this node", "err", err)
		}
	}()
}

// endWait erases the mark beside the loop, unless an operator has asked for
// something else meanwhile. That it stays does no harm: the next start waits for
// the same again, and finds it.
func (f *faces) endWait(box *mailbox, a Address) error {
	f.draining.Lock()
	defer f.draining.Unlock()
	got, err := f.askAdopt(box, status.AdoptRequest{})
	if err != nil || got.now != status.AdoptWait {
		return err
	}
	found, ferr := a.Foreign()
	err = saveAdopt(f.stateDir, status.AdoptMark{})
	box.put(adoptIs{left: ferr != nil || len(found) > 0})
	return err
}

// adopt answers PathAdopt.
func (f *faces) adopt(w http.ResponseWriter, r *http.Request) {
	var req status.AdoptRequest
	if !readBody(w, r, &req) {
		return
	}
	box, address, _ := f.loop()
	switch {
	case req.Stage != status.AdoptNone && !known(req.Stage):
		status.WriteFailure(w, http.StatusBadRequest, fmt.Sprintf("stage %q is not known", req.Stage), "")
		return
	case box == nil:
		status.WriteFailure(w, http.StatusConflict, notRunning, notRunningHint)
		return
	}
	f.draining.Lock()
	defer f.draining.Unlock()
	got, err := f.askAdopt(box, req)
	if err != nil {
		status.WriteFailure(w, http.StatusServiceUnavailable, err.Error(), "journalctl -u havipd")
		return
	}
	if got.refused == "" && req.Stage == status.AdoptNone && got.now != status.AdoptNone {
		got.refused = stillForeign(address)
	}
	if got.refused != "" {
		status.WriteFailure(w, http.StatusConflict, got.refused, "havipctl adopt")
		return
	}
	m := f.mark(req.Stage)
	if err := saveAdopt(f.stateDir, m); err != nil {
		status.WriteFailure(w, http.StatusInternalServerError, err.Error(), "")
		return
	}
	box.put(adoptIs{mark: m})
	if req.Stage == status.AdoptGive {
		if why := makesRoom(r.Context(), address); why != "" {
			status.WriteFailure(w, http.StatusServiceUnavailable, why, "havipctl status")
			return
		}
	}
	status.WriteAnswer(w, status.Change{Schema: status.Schema, Changed: got.now != req.Stage, Message: stageText(req.Stage)})
}

// stillForeign says what is still there of the other program.
func stillForeign(a Address) string {
	found, err := a.Foreign()
	if err != nil {
		return "what is on the links is not known: " + err.Error()
	}
	for _, x := range found {
		return fmt.Sprintf("%v is still there: ip address del %v/%d dev %s", x, x.Addr, x.Bits, x.Link)
	}
	return ""
}

// makesRoom waits until no address of the daemon's own is where another program
// would set it: the next refresh moves it.
func makesRoom(ctx context.Context, a Address) string {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	for {
		found, err := a.Found()
		inWay := err != nil || slices.ContainsFunc(found, func(x vip.Found) bool { return x.Addr.Is4() && x.Bits == x.Addr.BitLen() })
		if !inWay {
			return ""
		}
		select {
		case <-time.After(roomPause):
		case <-ctx.Done():
			return "the address is still where the other program would set it"
		}
	}
}

// roomPause is between two looks of makesRoom.
const roomPause = 50 * time.Millisecond

func stageText(s status.AdoptStage) string {
	return map[status.AdoptStage]string{
		status.AdoptNone:  "the migration is over on this node",
		status.AdoptReady: "havipd runs beside what holds the address",
		status.AdoptWait:  "this node waits until another one has taken the address",
		status.AdoptTake:  "this node takes the address in place",
		status.AdoptBack:  "this node is kept from having the address",
		status.AdoptGive:  "this node has the address, and room for what held it before",
	}[s]
}

func (f *faces) askAdopt(box *mailbox, req status.AdoptRequest) (adoptAnswer, error) {
	q := adoptAsk{AdoptRequest: req, answer: make(chan adoptAnswer, 1)}
	box.put(q)
	select {
	case a := <-q.answer:
		return a, nil
	case <-time.After(commandTimeout):
		return adoptAnswer{}, errors.New("the daemon's loop does not answer")
	}
}

func (f *faces) mark(s status.AdoptStage) status.AdoptMark {
	return status.AdoptMark{Schema: status.Schema, Stage: s, At: f.clock.Wall().UTC().Truncate(time.Second)}
}

// errKeeperOn keeps an operator from a step that would leave the VIP to both.
var errKeeperOn = errors.New("a migration has begun here, and what held the address is still on")

// errAnswered is the same on a node whose own keeper is off.
var errAnswered = errors.New("somebody on the link has the address")

func answered(ctx context.Context, a Address) error {
	mac, used, err := a.Used(ctx, looks, lookPause)
	switch {
	case err != nil:
		return fmt.Errorf("%w, for all that is known: %w", errAnswered, err)
	case used:
		return fmt.Errorf("%w: %v answers; what runs there is to be off first", errAnswered, mac)
	}
	return nil
}

// leaveAdopt ends the waiting of a node, or its being kept back, by an operator's
// word: the way out when the node that was to take the VIP is dead. Nil where there is nothing to end.
func (f *faces) leaveAdopt(ctx context.Context, box *mailbox, a Address) (*adoptIs, error) {
	got, err := f.askAdopt(box, status.AdoptRequest{})
	switch {
	case err != nil, !keptBack(got.now):
		return nil, err
	case got.now == status.AdoptReady:
		return nil, errKeeperOn
	case !got.settled:
		// A record that is free, of a migration before or one undone, is taken without a look.
		if why := stillForeign(a); why != "" {
			return nil, fmt.Errorf("%w: %s", errKeeperOn, why)
		}
		if err := answered(ctx, a); err != nil {
			return nil, err
		}
	}
	found, err := a.Foreign()
	return &adoptIs{left: err != nil || len(found) > 0}, saveAdopt(f.stateDir, status.AdoptMark{})
}
