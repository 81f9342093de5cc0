package etcd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// PollReady is between two status calls while all is well.
	PollReady = 2 * time.Second
	// PollTroubled is between two while it is not.
	PollTroubled = 500 * time.Millisecond
	// membersEvery is between two reads of the member list.
	membersEvery = 10 * time.Second
)

// clusterView is what is known of the cluster.
type clusterView struct {
	cluster uint64
	member  uint64 // the local one
	leader  uint64
	learner bool // the local one
	members []Member
	alarms  []alarm
	version string
}

type alarm struct {
	member uint64
	name   string // NOSPACE, CORRUPT
}

// watchStatus reports the local member's state until ctx ends.
func (s *Store) watchStatus(ctx context.Context, emit func(Event)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var listed time.Duration // on the clock of now; 0: never
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.kick:
		}
		took, err := s.probe(ctx, &listed)
		if ctx.Err() != nil {
			return nil
		}
		st := s.status(took, err)
		emit(st)
		if st.State == Ready {
			timer.Reset(PollReady)
		} else {
			timer.Reset(PollTroubled)
		}
	}
}

// probe asks the local member for its state, and while it does not answer the
// followed one for the cluster's.
func (s *Store) probe(ctx context.Context, listed *time.Duration) (took time.Duration, err error) {
	l, err := s.localLink()
	if err != nil {
		return 0, err
	}
	resp, took, err := s.askStatus(ctx, l)
	local := err == nil
	if err != nil {
		err = s.diagnose(err)
		if l = s.detourLink(); l == nil {
			return 0, err
		}
		var otherErr error
		if resp, _, otherErr = s.askStatus(ctx, l); otherErr != nil {
			return 0, err
		}
	}
	s.noteStatus(resp, local)
	if *listed == 0 || now()-*listed >= membersEvery || !s.knowsLeader() || s.toRelist() {
		if s.listMembers(ctx, l) == nil {
			*listed = now()
		}
	}
	if !local {
		return 0, err
	}
	return took, nil
}

// askStatus makes one status call. A connection on which it goes unanswered,
// and everything else too, is replaced.
func (s *Store) askStatus(ctx context.Context, l *link) (*pb.StatusResponse, time.Duration, error) {
	var resp *pb.StatusResponse
	begin := now()
	sent, err := l.call(ctx, s.cfg.CallTimeout, func(ctx context.Context) (err error) {
		resp, err = l.maintenance().Status(ctx, &pb.StatusRequest{})
		return err
	})
	if sent && timedOut(err) && l.silentFor(s.cfg.CallTimeout) {
		s.drop(l, err)
	}
	return resp, now() - begin, err
}

func timedOut(err error) bool {
	var ce *callError
	return errors.As(err, &ce) && status.Code(ce.err) == codes.DeadlineExceeded
}

// diagnose prefers what is wrong with the files to what came of it.
func (s *Store) diagnose(err error) error {
	if s.files == nil {
		return err
	}
	if _, bad := s.files.config(); bad != nil {
		return bad
	}
	return err
}

// detourLink returns the link to another member that is followed, or nil.
func (s *Store) detourLink() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.following == s.local {
		return nil
	}
	return s.following
}

func (s *Store) noteStatus(resp *pb.StatusResponse, local bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.cluster
	c.cluster, c.leader, c.alarms = resp.Header.GetClusterId(), resp.Leader, parseAlarms(resp.Errors)
	if local {
		c.member, c.learner, c.version = resp.Header.GetMemberId(), resp.IsLearner, resp.Version
	}
}

// alarmPattern reads an alarm as a status response has it, a message in the
// text format of protobuf, whose spacing is not fixed.
var alarmPattern = regexp.MustCompile(`^\s*(?:memberID:\s*(\d+)\s+)?alarm:\s*([A-Z]+)\s*$`)

func parseAlarms(texts []string) []alarm {
	var alarms []alarm
	for _, text := range texts {
		if m := alarmPattern.FindStringSubmatch(text); m != nil {
			id, _ := strconv.ParseUint(m[1], 10, 64) // 0 if it is left out
			alarms = append(alarms, alarm{member: id, name: m[2]})
		}
	}
	return alarms
}

// listMembers reads the member list as the member has it, without a quorum.
func (s *Store) listMembers(ctx context.Context, l *link) error {
	var resp *pb.MemberListResponse
	_, err := l.call(ctx, s.cfg.CallTimeout, func(ctx context.Context) (err error) {
		resp, err = l.cluster().MemberList(ctx, &pb.MemberListRequest{Linearizable: false})
		return err
	})
	if err != nil {
		return fmt.Errorf("list members: %w", err)
	}
	var members []Member
	for _, m := range resp.Members {
		members = append(members, Member{ID: m.ID, Name: m.Name, ClientURLs: m.ClientURLs, PeerURLs: m.PeerURLs, Learner: m.IsLearner})
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	s.mu.Lock()
	s.cluster.members = members
	s.mu.Unlock()
	return nil
}

// joined asks for the member list anew: whose daemon comes or goes may have come to
// etcd or left it too.
func (s *Store) joined() {
	s.mu.Lock()
	s.relist = true
	s.mu.Unlock()
	s.wakeStatus()
}

func (s *Store) toRelist() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.relist
	s.relist = false
	return was
}

func (s *Store) knowsLeader() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.cluster
	return c.leader == 0 || slices.ContainsFunc(c.members, func(m Member) bool { return m.ID == c.leader })
}

// status puts together what is known; err is that of the last status call.
func (s *Store) status(took time.Duration, err error) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.cluster.describe()
	if err == nil {
		st.RoundTrip = took
	}
	if s.following != nil {
		st.Via = s.following.url
		st.Local = s.following == s.local
	}
	st.State, st.Reason = s.cluster.assess(err, st.Local, s.troubled)
	return st
}

func (c *clusterView) describe() Status {
	st := Status{
		Cluster: c.cluster, Member: c.member, Version: c.version, Learner: c.learner,
		IsLeader: c.leader != 0 && c.leader == c.member,
		Members:  slices.Clone(c.members),
	}
	if c.leader != 0 {
		st.Leader = c.name(c.leader)
	}
	for i := range st.Members {
		st.Members[i].Leader = st.Members[i].ID == c.leader
	}
	for _, a := range c.alarms {
		st.Alarms = append(st.Alarms, a.name+" on "+c.name(a.member))
	}
	return st
}

// assess says what the local member can be used for. err is that of the last
// status call, local whether the keys are followed through it, and troubled
// why they are not.
func (c *clusterView) assess(err error, local bool, troubled error) (State, string) {
	switch {
	case err != nil:
		return stateOf(err), err.Error()
	case c.learner:
		return Learner, "this etcd member is a learner: it has no vote yet"
	case len(c.alarms) > 0:
		return Alarmed, c.alarmed()
	case c.leader == 0:
		return NoLeader, "etcd has no leader: an election is going on, or too few members answer"
	case local:
		return Ready, ""
	case troubled == nil:
		return NoLeader, "etcd answers; its keys were not read yet"
	case errors.Is(troubled, ErrDenied):
		return Denied, troubled.Error()
	}
	return NoLeader, "etcd answers, but its keys cannot be followed: " + troubled.Error()
}

func stateOf(err error) State {
	switch {
	case errors.Is(err, ErrNotConfigured):
		return NotConfigured
	case errors.Is(err, ErrDenied):
		return Denied
	case errors.Is(err, ErrLearner):
		return Learner
	}
	return Unreachable
}

func (c *clusterView) alarmed() string {
	a := c.alarms[0]
	if a.name == "NOSPACE" {
		return fmt.Sprintf("NOSPACE alarm on %s: etcd refuses writes until its database is compacted and defragmented and the alarm disarmed", c.name(a.member))
	}
	return fmt.Sprintf("%s alarm on %s: etcd refuses requests until it is repaired", a.name, c.name(a.member))
}

func (c *clusterView) name(id uint64) string {
	for _, m := range c.members {
		if m.ID == id && m.Name != "" {
			return m.Name
		}
	}
	return strconv.FormatUint(id, 16)
}

// otherURLs are the client URLs of the other members that have a vote.
func (c *clusterView) otherURLs(tls bool) []string {
	scheme := "http://"
	if tls {
		scheme = "https://"
	}
	var urls []string
	for _, m := range c.members {
		if m.ID == c.member || m.Learner {
			continue
		}
		for _, u := range m.ClientURLs {
			if strings.HasPrefix(u, scheme) {
				urls = append(urls, u)
			}
		}
	}
	return urls
}
