package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"havip/daemon/history"
	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
)

const (
	// historyKept is how many facts etcd keeps: with two or three for the worst
	// moves some months of an ordinary cluster, in less than 100 KiB.
	historyKept = 200

	// historyQueue bounds what waits to be written. Beyond it the oldest is dropped.
	historyQueue = 100

	// ownDelay lets what belongs to a fact of this node's own come in first: the
	// time at which it began, the claim that the election took over.
	ownDelay = 300 * time.Millisecond
	// openDelay is for a successor's first renewal, which says when it began.
	openDelay = 2 * time.Second
	// othersDelay leaves a fact of another node's move to that node.
	othersDelay = 3 * time.Second

	// historyCall bounds one call for the history.
	historyCall = time.Second

	// historyPause is between two exchanges with etcd, and historyBatch bounds what
	// one of them writes: an address that flaps must not keep the members busy.
	historyPause = time.Second
	historyBatch = 20

	historyRetryFirst = time.Second
	historyRetryLast  = 30 * time.Second

	// maxHistoryFile bounds what is read of the file.
	maxHistoryFile = 16 << 20

	// freshFor is how long what etcd told is told again without asking: whoever
	// asks often, the members have something else to do.
	freshFor = 100 * time.Millisecond
)

// historian keeps the history: it gathers facts from the loop, writes them to
// etcd some time soon, and tells what is known. Nothing here holds up the loop
// or hangs on the election; what fails is tried again.
type historian struct {
	archive Archive
	clock   Clock
	log     *slog.Logger
	path    string // of the file in the state directory
	bootID  string
	vip     string
	node    string
	wake    chan struct{}
	save    func(historyFile) error

	mu       sync.Mutex // never held while anything is waited for
	tracker  *history.Tracker
	queue    []queued
	kept     []etcd.Kept // as etcd last told, the newest first
	asked    uint64      // reads begun
	took     uint64      // the newest of them that was answered
	stale    bool        // etcd may have more
	readAt   time.Time   // wall clock; zero: never
	answers  bool        // etcd answers with a quorum
	silence  string      // why it does not
	answered time.Time   // when it last did
	cluster  uint64      // ID of the etcd cluster; 0: not known
	dropped  int64
	unsaved  bool
}

// queued is a fact that is not known to be in etcd.
type queued struct {
	history.Fact
	due time.Duration
}

// historyFile is what a restart must not lose, and what a node without etcd can
// still tell.
type historyFile struct {
	VIP     string         `json:"vip"` // the record's name: another VIP has another history
	BootID  string         `json:"boot_id"`
	Cluster uint64         `json:"cluster,omitempty"`
	Own     string         `json:"own,omitempty"` // this node's term
	Queue   []history.Fact `json:"queue,omitempty"`
	Kept    []etcd.Kept    `json:"kept,omitempty"`
	ReadAt  time.Time      `json:"read_at"`
}

func newHistorian(a Archive, c Clock, log *slog.Logger, stateDir, vip, node string) *historian {
	h := &historian{
		archive: a, clock: c, log: log, path: filepath.Join(stateDir, "history.json"), bootID: bootID(), vip: vip, node: node,
		wake: make(chan struct{}, 1), tracker: history.NewTracker(node, "", false), stale: true,
	}
	h.save = h.write
	return h
}

// load takes in what the process before this one left, once, before the loop runs.
func (h *historian) load() error {
	f, err := os.Open(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHistoryFile))
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	var was historyFile
	if err := json.Unmarshal(b, &was); err != nil {
		return fmt.Errorf("read history %s: %w", h.path, err)
	}
	if was.VIP != h.vip {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tracker = history.NewTracker(h.node, was.Own, was.BootID != h.bootID)
	h.kept, h.readAt, h.answered, h.cluster = was.Kept, was.ReadAt, was.ReadAt, was.Cluster
	for _, fact := range was.Queue {
		h.add(fact, 0)
	}
	return nil
}

// The loop calls these four.

// record takes in what the watch tells of the record.
func (h *historian) record(e etcd.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sawCluster(e.Cluster)
	for _, f := range h.tracker.Record(e.Value, e.Live, e.Rev, h.ms()) {
		h.add(f, h.delay(f))
	}
}

// sawCluster forgets the revisions of what waits when etcd was set up anew, or a
// snapshot of it: there they mean something else. The facts stay true.
func (h *historian) sawCluster(id uint64) {
	if id == 0 || id == h.cluster {
		return
	}
	for i := range h.queue {
		if h.cluster != 0 {
			h.queue[i].Rev = 0
		}
	}
	h.cluster, h.unsaved = id, true
}

// note takes in a change of this node's role.
func (h *historian) note(n election.Note) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f, ok := h.tracker.Note(n, h.ms()); ok {
		h.add(f, h.delay(f))
	}
}

// drained takes in an operator's act on this node.
func (h *historian) drained(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(h.tracker.Drain(on, h.ms()), 0)
}

// etcdAnswers takes in whether etcd answers with a quorum, and if not, why.
func (h *historian) etcdAnswers(yes bool, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if yes {
		h.answered = h.clock.Wall()
	}
	if yes && !h.answers {
		h.stale = true
		h.nudge()
	}
	h.answers, h.silence = yes, why
}

func (h *historian) ms() int64 { return h.clock.Wall().UnixMilli() }

// delay is how long a fact waits for its better witness.
func (h *historian) delay(f history.Fact) time.Duration {
	switch {
	case f.To != h.node && f.From != h.node && f.Rev > 0, f.To != h.node && f.To != "":
		return othersDelay
	case f.Open:
		return openDelay
	}
	return ownDelay
}

// add queues a fact, in place of what was told of the same before.
func (h *historian) add(f history.Fact, delay time.Duration) {
	q := queued{f, h.clock.Boot() + delay}
	if i := slices.IndexFunc(h.queue, func(q queued) bool { return q.ID == f.ID }); i >= 0 {
		h.queue[i] = q
	} else {
		h.queue = append(h.queue, q)
	}
	if n := len(h.queue) - historyQueue; n > 0 {
		h.queue = slices.Delete(h.queue, 0, n)
		h.dropped += int64(n)
	}
	h.stale, h.unsaved = true, true
	h.nudge()
}

func (h *historian) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run writes what is due until ctx ends.
func (h *historian) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	said, retry, notBefore := "", historyRetryFirst, time.Duration(0)
	for {
		h.saveFile(&said)
		wait := max(h.next(), notBefore-h.clock.Boot())
		if wait <= 0 {
			if err := h.exchange(ctx); err != nil {
				h.log.Debug("history", "err", err)
				notBefore = h.clock.Boot() + retry
				retry = min(2*retry, historyRetryLast)
			} else {
				retry, notBefore = historyRetryFirst, h.clock.Boot()+historyPause
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			h.readAtEnd()
			h.saveFile(&said)
			return
		case <-h.wake:
		case <-timer.C:
		}
	}
}

// refresh is between two reads while nothing happens: what an operator did on
// another node shows in no record.
const refresh = 5 * time.Minute

// next is how long there is nothing to ask of etcd.
func (h *historian) next() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.answers:
		return refresh
	case len(h.queue) == 0 && (h.stale || h.clock.Wall().Sub(h.readAt) >= refresh):
		return 0
	}
	wait := refresh
	for _, q := range h.queue {
		wait = min(wait, q.due-h.clock.Boot())
	}
	return wait
}

// exchange reads what etcd has, and adds what is due and missing there. What is
// seen to be there need not wait any more.
func (h *historian) exchange(ctx context.Context) error {
	if err := h.read(ctx); err != nil {
		return err
	}
	wrote := false
	for _, f := range h.due() {
		if err := h.keep(ctx, f); err != nil {
			return err
		}
		wrote = true
	}
	if wrote {
		return h.read(ctx)
	}
	return nil
}

func (h *historian) keep(ctx context.Context, f history.Fact) error {
	ctx, cancel := context.WithTimeout(ctx, historyCall)
	defer cancel()
	return h.archive.Keep(ctx, f.ID, f.Encode(), historyKept)
}

// read asks etcd for all there is.
func (h *historian) read(ctx context.Context) error {
	h.mu.Lock()
	h.stale = false
	h.asked++
	mine, quorum := h.asked, h.answers
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, historyCall)
	defer cancel()
	list, err := h.archive.History(ctx, historyKept, quorum)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.stale = true
		return err
	}
	if mine < h.took {
		return nil // a later one was quicker
	}
	h.took = mine
	h.unsaved = h.unsaved || !slices.Equal(h.kept, list)
	h.kept, h.readAt = list, h.clock.Wall()
	h.queue = slices.DeleteFunc(h.queue, func(q queued) bool {
		return slices.ContainsFunc(list, func(k etcd.Kept) bool { return k.Key == q.ID })
	})
	return nil
}

func (h *historian) due() []history.Fact {
	h.mu.Lock()
	defer h.mu.Unlock()
	var facts []history.Fact
	for _, q := range h.queue {
		if q.due <= h.clock.Boot() && len(facts) < historyBatch {
			facts = append(facts, q.Fact)
		}
	}
	return facts
}

// readAtEnd has the file say until when this node was told.
func (h *historian) readAtEnd() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.answers && !h.stale {
		h.readAt, h.unsaved = h.clock.Wall(), true
	}
}

// saveFile writes the file if there is news. said is the last error.
func (h *historian) saveFile(said *string) {
	h.mu.Lock()
	news := h.unsaved
	h.unsaved = false
	f := historyFile{VIP: h.vip, BootID: h.bootID, Cluster: h.cluster, Own: h.tracker.Own(), Kept: h.kept, ReadAt: h.readAt}
	for _, q := range h.queue {
		f.Queue = append(f.Queue, q.Fact)
	}
	h.mu.Unlock()
	if !news {
		return
	}
	err := h.save(f)
	if text(err) != *said {
		if *said = text(err); err != nil {
			h.log.Warn("keep the history for the next start", "err", err)
		}
	}
}

func (h *historian) write(f historyFile) error {
	if err := os.MkdirAll(filepath.Dir(h.path), 0o755); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	return replaceFile(h.path, f, func(*os.File) error { return nil })
}

// tell is what is known: what etcd says now if it answers in time, and else what
// this node knows without it.
func (h *historian) tell(ctx context.Context) status.History {
	var err error
	if !h.fresh() {
		err = h.read(ctx)
	}
	d, kept, known := h.facts(err)
	for _, k := range kept {
		f, bad := history.Decode(k.Key, k.Value)
		if bad != nil {
			d.Unreadable = append(d.Unreadable, strings.ToValidUTF8(k.Key[:min(len(k.Key), maxKeyShown)], "?"))
			continue
		}
		known = append(known, history.Known{Fact: f})
	}
	d.Entries = history.Entries(known)
	return d
}

// maxKeyShown bounds what is shown of a key that havip did not write.
const maxKeyShown = 100

// fresh reports whether etcd need not be asked again yet: while something waits
// its better witness may have written it meanwhile.
func (h *historian) fresh() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	age := h.clock.Wall().Sub(h.readAt)
	return !h.stale && len(h.queue) == 0 && age >= 0 && age < freshFor
}

// facts is what is known, still to be put together: the loop waits for nobody who
// does that. err is why etcd could not be asked.
func (h *historian) facts(err error) (d status.History, kept []etcd.Kept, waiting []history.Known) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock.Wall()
	d = status.History{
		Schema: status.Schema, Time: now, Node: h.node, Dropped: h.dropped,
		Unreadable: []string{}, LastKnown: err != nil || !h.answers,
	}
	if d.LastKnown {
		d.Reason = cmp.Or(text(err), h.silence)
		if told := h.lastTold(err); !told.IsZero() {
			d.AgeMS = ms(max(now.Sub(told), 0))
		}
	}
	for _, q := range h.queue {
		waiting = append(waiting, history.Known{Fact: q.Fact, Waiting: true})
		if q.due <= h.clock.Boot() {
			d.Unwritten++
		}
	}
	return d, h.kept, waiting // kept is replaced, never changed
}

// lastTold is when etcd last told this node of others: a member without a quorum
// still tells what it has.
func (h *historian) lastTold(err error) time.Time {
	if err != nil {
		return h.readAt
	}
	return h.answered
}
