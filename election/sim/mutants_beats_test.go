package sim

// The kinds of schedules that most mutants below are found in.
const (
	beatChaos  = "heartbeats"
	beatEdges  = "heartbeats: edges of epochs"
	beatFights = "heartbeats: fights over an epoch"
)

// beatMutants are those of the rules of heartbeats.
var beatMutants = []mutant{
	{"a right counts from when the answer to a beat arrives", []edit{
		{"beat.go", "m.acknowledged(e.From, sent.at)", "m.acknowledged(e.From, m.now.Boot)"},
	}, beatFights},
	{"one acknowledgement less is enough", []edit{
		{"epoch.go", "need := e.Acks - 1", "need := e.Acks - 2"},
	}, beatEdges},
	{"the record's own hold is enough in an epoch", []edit{
		{"term.go", "r := min(m.plainRight(), m.borneRight(t.rec, t.sent))", "r := m.plainRight()\n\t_ = t"},
		{"term.go", "l = min(l, m.borneLimit(m.term.rec, m.term.sent))", "_ = l"},
	}, beatEdges},
	{"what nobody vouches for is denied only by word", []edit{
		{"beat.go", "if e.Verdict != Denied && e.Epoch != \"\" &&", "if e.Epoch != \"\" &&"},
	}, beatFights},
	{"an epoch that may have begun unnoticed does not bind", []edit{
		{"term.go", "r = min(r, m.borneRight(w.rec, w.sent))", "_ = w"},
		{"term.go", "l = min(l, m.borneLimit(w.rec, w.sent))", "_ = w"},
	}, "heartbeats: an epoch begins unnoticed"},
	{"an epoch does not bind while the plain record after it is under way", []edit{
		{"term.go", "r := min(m.plainRight(), m.borneRight(t.rec, t.sent))", "r := m.plainRight()\n\tif len(m.writes) == 0 {\n\t\tr = min(r, m.borneRight(t.rec, t.sent))\n\t}"},
		{"term.go", "l = min(l, m.borneLimit(m.term.rec, m.term.sent))", "if len(m.writes) == 0 {\n\t\tl = min(l, m.borneLimit(m.term.rec, m.term.sent))\n\t}"},
	}, beatEdges},
	{"the first hold counts from the confirmation", []edit{
		{"term.go", "*b = bearing{epoch: is.ID, begun: sent}", "*b = bearing{epoch: is.ID, begun: m.now.Boot}"},
	}, beatEdges},
	{"a process that starts supports the epoch it finds", []edit{
		{"abandon.go", "first: m.now.Boot, refused: first,", "first: m.now.Boot, refused: first && false,"},
	}, beatFights},
	{"an abandoned epoch is supported again", []edit{
		{"abandon.go", "e.epoch.ID != msg.Epoch || e.abandoned:", "e.epoch.ID != msg.Epoch:"},
	}, beatFights},
	{"an epoch is abandoned although its holder is heard", []edit{
		{"abandon.go", "max(e.first+e.epoch.firstPromise(), e.beat+e.epoch.Promise())", "e.first+e.epoch.firstPromise()"},
	}, beatFights},
	{"an epoch that has just begun is abandoned like an old one", []edit{
		{"abandon.go", "max(e.first+e.epoch.firstPromise(), e.beat+e.epoch.Promise())", "max(e.first, e.beat)+e.epoch.Promise()"},
	}, beatEdges},
	{"whoever is not heard of is taken for abandoning", []edit{
		{"abandon.go", "n >= e.epoch.Abandonments()", "n >= e.epoch.Abandonments()-1"},
	}, beatFights},
	{"members of today abandon for those of the epoch", []edit{
		{"abandon.go", "for _, id := range e.epoch.Members {\n\t\tif e.gaveUp[id] {", "for id := range e.gaveUp {\n\t\tif e.gaveUp[id] {"},
	}, beatFights},
	{"a candidate counts by the members that it knows", []edit{
		{"abandon.go", "for _, id := range e.epoch.Members {\n\t\tif e.gaveUp[id] {", "for _, id := range m.members.Voters {\n\t\tif e.gaveUp[id] {"},
		{"abandon.go", "n >= e.epoch.Abandonments()", "n >= newEpoch(\"\", m.members.Voters, m.cfg.Detection, m.cfg.Timing).Abandonments()"},
	}, beatFights},
	{"any record is taken over once an epoch before it is dead", []edit{
		{"abandon.go", "return m.epoch.dead, m.epoch.dead != 0 && m.inSight()", "return m.epoch.dead, m.epoch.dead != 0"},
		{"abandon.go", "_, ok := m.abandonedInSight()\n\treturn ok", "return m.epoch.dead != 0 && m.inSight()"},
	}, beatFights},
	{"what was abandoned before counts for the epoch of now", []edit{
		{"abandon.go", "if e := &m.epoch; e.epoch != nil && e.epoch.ID == msg.Epoch {\n\t\te.gaveUp[msg.From] = true", "if e := &m.epoch; e.epoch != nil {\n\t\te.gaveUp[msg.From] = true"},
		{"abandon.go", "if e.epoch == nil || e.epoch.ID != msg.Epoch {\n\t\treturn // asked", "if e.epoch == nil {\n\t\treturn // asked"},
	}, "heartbeats: echoes of an epoch"},
	// Each of these alone is guarded by the others.
	{"a right that has ended comes back with the next answer", []edit{
		{"term.go", "m.leave.step >= stepGive) || !m.reached(m.right()) {", "m.leave.step >= stepGive) || !m.reached(m.term.right) {"},
		{"epoch.go", "|| m.now.Boot >= m.right() || !slices.Contains", "|| !slices.Contains"},
		{"beat.go", "(t.confirmed && m.cfg.Detection.On() || t.bearing.epoch != \"\") &&\n\t\tm.now.Boot < m.right()", "(t.confirmed && m.cfg.Detection.On() || t.bearing.epoch != \"\")"},
		{"beat.go", "\tm.ownBeat(epoch)\n", "\t_ = m.ownBeat\n"},
		{"abandon.go", "m.term != nil || m.members.Self", "m.term != nil && m.now.Boot < m.right() || m.members.Self"},
	}, beatFights},
	{"a renewal that is confirmed late revives its epoch", []edit{
		{"term.go", "m.now.Boot >= w.sent+w.rec.Hold() || !m.bears(w) {", "m.now.Boot >= w.sent+w.rec.Hold() {"},
	}, beatFights},
	{"the fence stays open", []edit{
		{"fence.go", "m.emit(SetFence{Until: until})", "m.emit(SetFence{Until: max(until, m.now.Boot + 10*time.Second)})"},
	}, "heartbeats: frozen holder"},
	{"the fence closes with the record", []edit{
		{"term.go", "l = min(l, m.borneLimit(m.term.rec, m.term.sent))", "_ = l"},
	}, "heartbeats: frozen holder"},
	{"an epoch needs no fence", []edit{
		{"beat.go", "case !m.fence.OK && !m.kept():\n\t\treturn \"no fence: \" + m.fence.Reason\n\tcase !m.sameMembers(e.Members):", "case !m.sameMembers(e.Members):"},
		{"beat.go", "case !m.fence.OK:\n\t\treturn \"no fence: \" + m.fence.Reason\n\tcase !slices", "case !slices"},
		{"fence.go", "if !m.fence.OK {\n\t\tl =", "if false {\n\t\tl ="},
	}, beatChaos},
	{"without a fence the address lives as long in an epoch", []edit{
		{"fence.go", "if !m.fence.OK {\n\t\tl =", "if false {\n\t\tl ="},
	}, beatFights},
	{"an epoch goes on with too few members", []edit{
		{"beat.go", "if n < e.peers() {\n\t\treturn fmt.Sprintf(\"%d of %d other members acknowledge", "if n < 0 {\n\t\treturn fmt.Sprintf(\"%d of %d other members acknowledge"},
	}, "heartbeats: blocked port"},
	{"an epoch needs no members beside those that bear it", []edit{
		{"epoch.go", "return max(e.Acks, e.Abandonments())", "return e.Acks - 1"},
	}, "heartbeats: blocked port"},
	{"an epoch is kept by a daemon that is restarted", []edit{
		{"beat.go", "case m.restart:\n\t\treturn \"havipd is being restarted\"\n\tcase e.PromiseMS", "case e.PromiseMS"},
		{"leave.go", "&& !m.unrenewed() && !m.inEpoch())", "&& !m.unrenewed())"},
	}, "heartbeats: restart"},
	{"a late beat is a promise again", []edit{
		{"abandon.go", "case msg.Seq <= e.seq:", "case false:"},
	}, "heartbeats: crash"},
	{"takeovers that can succeed no more keep the next one back", []edit{
		{"candidate.go", "w.flying && w.expect == raw", "w.flying"},
	}, "heartbeats: crash with etcd's leader"},
	{"a handover keeps the epoch", []edit{
		{"leave.go", "rec.Since, rec.Renewal = m.now.Wall, 0\n\tif l.offer", "rec.Since, rec.Renewal = m.now.Wall, 0\n\trec.Mode, rec.Epoch = m.term.rec.Mode, m.term.rec.Epoch\n\tif l.offer"},
	}, "heartbeats: handover"},
	{"the next process goes on with the epoch that it reads", []edit{
		{"saved.go", "m.found(s.raw, s.rec)\n", "m.term.raw, m.term.rec = s.raw, s.rec\n\tif e := s.rec.Epoch; e != nil {\n\t\tm.term.confirmed, m.term.right, m.term.limit = true, m.now.Boot+s.rec.Hold(), m.now.Boot+s.rec.Hold()\n\t\tm.bear(nil, e, m.now.Boot)\n\t}\n"},
		{"saved.go", "if s.Epoch != nil {\n\t\tm.term.rec", "if false {\n\t\tm.term.rec"},
	}, beatEdges},
	{"the next process takes the fence for as old as the acknowledgements", []edit{
		{"saved.go", "s.Open-margin(e.Promise())", "s.Open"},
	}, beatFights},
	{"the next process goes on when the right of the one before is over", []edit{
		{"saved.go", "s.Open-margin(e.Promise())", "max(s.Open, 1) - margin(e.Promise()) + 2*e.Promise()"},
	}, beatFights},
	{"the next process does not count on for its beats", []edit{
		{"machine.go", "beats{seq: uint64(now.Boot), heard", "beats{heard"},
	}, "heartbeats: kill"},
	{"the next process does not say that it may write", []edit{
		{"saved.go", "c.Heirs = append(slices.Clone(s.Heirs), m.cfg.Incarnation)", "c.Heirs = slices.Clone(s.Heirs)"},
	}, "heartbeats: kill"},
	{"the next process sets the address before etcd has confirmed the record", []edit{
		{"address.go", "(m.term != nil && !m.term.confirmed) ||", "(m.term != nil && !m.term.confirmed && m.term.bearing.epoch == \"\") ||"},
	}, "heartbeats: killed with an old state"},
	{"a set call that counts on a fence is made without one", []edit{
		{"sim/fence.go", "case f.counted:", "case false:"},
	}, "heartbeats: killed on the way"},
	{"a fence that cannot be attached again is taken away at once", []edit{
		{"sim/fence.go", "if n.w.now < n.fence.busy {\n\t\tn.deliver(", "if n.w.now < n.fence.busy {\n\t\tn.fence.attached = false\n\t\tn.changed(\"unfenced\", \"\")\n\t\tn.deliver("},
	}, "heartbeats: killed on the way"},
	{"the next process bears the epoch without the address", []edit{
		{"machine.go", "\t\tm.forsake()\n", ""},
	}, "heartbeats: kill without etcd"},
	{"a daemon that leaves does not wait for what it promised", []edit{
		{"leave.go", "&& !m.offered() && !m.relied())", "&& !m.offered())"},
	}, "heartbeats: upgrade with a slow etcd"},
}
