package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"havip/configs"
	"havip/daemon/member"
	"havip/daemon/status"
	"havip/election/etcd"
)

// Cluster is etcd's list of members, through those of other nodes.
type Cluster interface {
	// Look asks one member what it is, and whom it names leader.
	Look(ctx context.Context, urls []string) (etcd.Listed, error)

	// Roll lists the members as a quorum has them, each with how it is.
	Roll(ctx context.Context, urls []string) ([]etcd.Listed, error)

	// Presence is what the havipd of a node publishes, "" where none does.
	Presence(ctx context.Context, urls []string, node string) (string, error)

	// RemoveMember takes one off the list; one that is not on it is no error.
	RemoveMember(ctx context.Context, urls []string, id uint64) error
}

func (f *faces) setCluster(c Cluster, process string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cluster, f.process = c, process
}

// formerLook answers GET.
func (f *faces) formerLook(w http.ResponseWriter, r *http.Request) { f.former(w, r, false) }

// formerRemove answers POST. Nothing that the caller says or has seen counts, only
// what is seen now.
func (f *faces) formerRemove(w http.ResponseWriter, r *http.Request) {
	if !readBody(w, r, &struct{}{}) {
		return
	}
	f.former(w, r, true)
}

// former lets one request at a time look, and remove.
func (f *faces) former(w http.ResponseWriter, r *http.Request, remove bool) {
	if box, _, _ := f.loop(); box == nil {
		status.WriteFailure(w, http.StatusConflict, notRunning, notRunningHint)
		return
	}
	f.removing.Lock()
	defer f.removing.Unlock()
	f.mu.Lock()
	cluster, process, cfg, self := f.cluster, f.process, f.cfg, f.self
	f.mu.Unlock()
	urls := memberURLs(cfg, self)
	list, err := cluster.Roll(r.Context(), urls)
	if err != nil {
		status.WriteFailure(w, http.StatusServiceUnavailable, err.Error(), "etcd on the other masters must answer with a quorum: see havipctl status there")
		return
	}
	published, err := cluster.Presence(r.Context(), urls, self.Name)
	if err != nil {
		status.WriteFailure(w, http.StatusServiceUnavailable, err.Error(), "etcd on the other masters must answer with a quorum: see havipctl status there")
		return
	}
	facts := f.formerFacts(r.Context(), cfg, self, list)
	facts.Twin = published != "" && !publishedBy(published, process)
	verdict := facts.Decide()
	answer := formerAnswer(verdict, list)
	if remove && verdict.Removable() {
		gone := verdict.Former[0]
		if err := cluster.RemoveMember(r.Context(), urls, gone.ID); err != nil {
			status.WriteFailure(w, http.StatusServiceUnavailable, err.Error(), "ask again: what is gone already is not removed twice")
			return
		}
		f.log.Warn("the etcd member that this node had was removed from the cluster", "id", memberID(gone.ID), "name", gone.Name, "peers", gone.PeerURLs)
		answer.Removed = true
	}
	status.WriteAnswer(w, answer)
}

// publishedBy reports whether a presence is that of a process. One that cannot be
// read is somebody else's.
func publishedBy(text, process string) bool {
	var p presence
	return json.Unmarshal([]byte(text), &p) == nil && p.Process == process
}

// memberURLs are the client URLs of the other masters' members, as kubeadm writes
// them.
func memberURLs(cfg *configs.Config, self configs.Master) []string {
	var urls []string
	for _, m := range cfg.Masters {
		if m.Name != self.Name {
			urls = append(urls, memberURL(cfg, m))
		}
	}
	return urls
}

func memberURL(cfg *configs.Config, m configs.Master) string {
	scheme, _, _ := strings.Cut(cfg.Etcd.Endpoint, "://")
	return scheme + "://" + net.JoinHostPort(cfg.Advertise(m).String(), memberPort)
}

// formerFacts adds to the list what can be seen from this node.
func (f *faces) formerFacts(ctx context.Context, cfg *configs.Config, self configs.Master, list []etcd.Listed) member.Facts {
	facts := member.Facts{Name: self.Name, Address: cfg.Advertise(self), HasData: there(f.etcdData) || there(cfg.Etcd.Manifest)}
	for _, m := range cfg.Masters {
		if m.Name != self.Name {
			facts.Others = append(facts.Others, cfg.Advertise(m))
		}
	}
	facts.Peers = make([]member.Peer, len(list))
	var wg sync.WaitGroup
	for i, m := range list {
		wg.Go(func() {
			facts.Peers[i] = member.Peer{
				ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, Learner: m.Learner, Healthy: m.Err == nil, Leader: m.LeaderID,
				Open: m.Err == nil || f.anyOpen(ctx, slices.Concat(m.PeerURLs, m.ClientURLs)),
			}
		})
	}
	wg.Wait()
	return facts
}

// anyOpen reports whether somebody accepts connections at one of the URLs.
func (f *faces) anyOpen(ctx context.Context, urls []string) bool {
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			return true // where it is cannot be asked
		}
		if open, _ := f.knock(ctx, u.Host); open {
			return true
		}
	}
	return false
}

// memberID is how etcdctl writes it.
func memberID(id uint64) string { return fmt.Sprintf("%x", id) }

func formerAnswer(v member.Verdict, list []etcd.Listed) status.Former {
	answer := status.Former{
		Schema: status.Schema, Removable: v.Removable(), Members: []status.FormerMember{}, Findings: []status.ClaimFinding{}, Needed: needed(v, list),
	}
	for _, p := range v.Former {
		answer.Members = append(answer.Members, status.FormerMember{ID: memberID(p.ID), Name: p.Name, PeerURLs: append([]string{}, p.PeerURLs...)})
	}
	for _, why := range v.Against {
		finding := againstRemoval[why]
		finding.Blocks = true
		if why == member.RefusedUnhealthy {
			finding.What += unwell(v, list)
		}
		answer.Findings = append(answer.Findings, finding)
	}
	return answer
}

// needed reports whether those of the others that answer would be no quorum without
// this node's member. An alarm, which every member tells of, is none of it: that a
// member is corrupt is a reason to give it up.
func needed(v member.Verdict, list []etcd.Listed) bool {
	others, answer := 0, 0
	for _, m := range list {
		if m.Learner || slices.ContainsFunc(v.Former, func(p member.Peer) bool { return p.ID == m.ID }) {
			continue
		}
		others++
		if m.LeaderID != 0 {
			answer++
		}
	}
	return len(v.Former) > 0 && others > 0 && answer < others/2+1
}

// againstRemoval puts a refusal into words.
var againstRemoval = map[member.Refusal]status.ClaimFinding{
	member.RefusedSeveral:     {Subject: "etcd", What: "more than one member could be this node's", Fix: "see which is dead, on another master: etcdctl member list; remove it there: etcdctl member remove ID"},
	member.RefusedName:        {Subject: "etcd", What: "the member at this node's address has another name", Fix: "correct [masters], or if the name was changed, on another master: etcdctl member remove ID"},
	member.RefusedOtherMaster: {Subject: "etcd", What: "the member of this node's name is at the address of another master", Fix: "correct [masters]"},
	member.RefusedData:        {Subject: "etcd", What: "this node has a member's data or manifest, so that member is not lost", Fix: "if it is to be given up: havipctl reset"},
	member.RefusedTwin:        {Subject: "masters", What: "a havipd of this node's name runs beside this one: the machine of before may still be on", Fix: "switch that machine off, wait ten seconds, and ask again"},
	member.RefusedAlive:       {Subject: "etcd", What: "the member is alive: it leads, it answers, or something listens at its address", Fix: "see what runs there"},
	member.RefusedLast:        {Subject: "etcd", What: "no other member has a vote: it is the last one", Fix: "restore etcd from a snapshot"},
	member.RefusedUnhealthy:   {Subject: "etcd", What: "another member is not well", Fix: "mend it first: havipctl status on another master"},
	member.RefusedQuorum:      {Subject: "etcd", What: "the members that are well would be no quorum without it", Fix: "bring the others up first: havipctl status on another master"},
}

// unwell names those that are not, and why.
func unwell(v member.Verdict, list []etcd.Listed) string {
	var words []string
	for _, m := range list {
		former := false
		for _, p := range v.Former {
			former = former || p.ID == m.ID
		}
		if !former && !m.Learner && m.Err != nil {
			words = append(words, fmt.Sprintf("%s (%v)", m.Name, m.Err))
		}
	}
	if len(words) == 0 {
		return ": they do not agree on a leader"
	}
	return ": " + strings.Join(words, ", ")
}
