package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
	"havip/election/heartbeat"
)

const withHeartbeats = "[election]\ndetection = \"fast\"\n"

// TestHeartbeats: the nodes make one key, know each other, and the holder is
// answered.
func TestHeartbeats(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.extra = withHeartbeats
		n1, n2, n3 := b.shell("n1").start(), b.shell("n2").start(), b.shell("n3").start()
		b.pass(20 * time.Second)
		if b.holder() != "n1" {
			t.Fatalf("%s holds it", b.holder())
		}
		want := heartbeat.Members{Self: peerAt(2, "198.51.100.163"), Peers: []heartbeat.Peer{peerAt(1, "198.51.100.162"), peerAt(3, "198.51.100.164")}}
		if diff := cmp.Diff(want, b.ether.membersOf(n2), sameAddr); diff != "" {
			t.Errorf("members on n2 (-want +got):\n%s", diff)
		}
		keys, err := heartbeat.DecodeKeys(b.currentKey())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*shell{n1, n2, n3} {
			if !b.ether.keysOf(s).Equal(keys) {
				t.Errorf("%s has %v, etcd %v", s.name, b.ether.keysOf(s), keys)
			}
		}
		for id, s := range map[uint64]*shell{2: n2, 3: n3} {
			beats, acks := b.ether.said(n1, heartbeat.Beat, id), b.ether.said(s, heartbeat.Ack, 1)
			if beats < 15 || acks != beats || b.ether.said(s, heartbeat.Beat, 1) > 0 {
				t.Errorf("%d beats to %s, %d acknowledgements, %d beats of its own", beats, s.name, acks, b.ether.said(s, heartbeat.Beat, 1))
			}
		}
	})
}

// TestHeardAgain: whoever was cut off beside a master that is heard again may have the
// old holder's MAC.
func TestHeardAgain(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.extra = withHeartbeats
		for _, name := range []string{"n1", "n2", "n3"} {
			b.shell(name).start()
		}
		b.pass(20 * time.Second)
		before := len(b.times("n1", "announce"))
		b.ether.cutOff(2, true)
		b.pass(2 * time.Second)
		if got := len(b.times("n1", "announce")) - before; got != 0 {
			t.Fatalf("announced %d times while n2 is silent", got)
		}
		b.ether.cutOff(2, false)
		b.pass(2 * time.Second)
		if got := len(b.times("n1", "announce")) - before; got != 1 {
			t.Errorf("announced %d times when n2 was heard again, want once", got)
		}
		if got := b.times("n2", "announce"); len(got) > 0 {
			t.Errorf("the standby announced at %v", got)
		}
	})
}

// TestHeartbeatsOff: nothing is sent, heard, made or kept.
func TestHeartbeatsOff(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.pass(20 * time.Second)
		n1.l.box.put(election.Heard{Message: election.Message{Kind: election.Beat, From: "2"}})
		b.pass(time.Second)
		if len(b.ether.wires) > 0 || b.currentKey() != "" || b.holder() != "n1" {
			t.Errorf("%d wires, key %q, holder %s", len(b.ether.wires), b.currentKey(), b.holder())
		}
		if _, err := os.Stat(filepath.Join(n1.d.StateDir, "heartbeats.json")); err == nil {
			t.Error("there is a file")
		}
	})
}

// TestHeartbeatsBeforeEtcd: a daemon that starts before its etcd knows the others and
// the key from the disk, which nobody else can read.
func TestHeartbeatsBeforeEtcd(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.extra = withHeartbeats
		n1 := b.shell("n1").start()
		b.pass(20 * time.Second)
		keys, members := b.ether.keysOf(n1), b.ether.membersOf(n1)
		info, err := os.Stat(filepath.Join(n1.d.StateDir, "heartbeats.json"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("file: %v, %v", info, err)
		}
		n1.crash()
		b.pass(time.Second)
		b.silence("n1")
		again := b.shell("n1")
		again.lock.run = func(ctx context.Context, _ func(etcd.Event)) error { <-ctx.Done(); return nil }
		again.start()
		b.pass(time.Second)
		if got := b.ether.keysOf(again); !keys.Known() || !got.Equal(keys) {
			t.Errorf("%v, before %v", got, keys)
		}
		if diff := cmp.Diff(members, b.ether.membersOf(again), sameAddr); diff != "" || members.Self.ID != 1 {
			t.Errorf("members (-before +after):\n%s", diff)
		}
	})
}

// TestHeartbeatFile: what cannot be used is said without the key, and does not hinder.
func TestHeartbeatFile(t *testing.T) {
	keys := heartbeat.NewKeys(time.Now())
	r := roll{self: 0xab, members: []rollMember{
		{id: 0xab, name: "n1", voter: true, addresses: []netip.Addr{testVIP}}, {id: 0xcd, name: "n2", addresses: []netip.Addr{netip.MustParseAddr("2001:db8::1")}},
	}}
	s := heartbeatStore{dir: filepath.Join(t.TempDir(), "state"), vip: "v"}
	if err := s.save(keys, r); err != nil {
		t.Fatal(err)
	}
	gotKeys, got, err := s.load()
	if diff := cmp.Diff(r, got, cmp.AllowUnexported(roll{}, rollMember{}), sameAddr); diff != "" || err != nil || !gotKeys.Equal(keys) {
		t.Errorf("kept %v, got %v, %v (-want +got):\n%s", keys, gotKeys, err, diff)
	}
	if k, r, err := (heartbeatStore{dir: s.dir, vip: "w"}).load(); k.Known() || r.self != 0 || err != nil {
		t.Errorf("of another VIP: %v %v %v", k, r, err)
	}
	whole, err := os.ReadFile(s.path())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"cut":        string(whole[:len(whole)/2]),
		"a bad key":  `{"schema":1,"vip":"v","keys":{"schema":1,"current":{"id":"00000001","key":"c2VjcmV0"}}}`,
		"a bad self": `{"schema":1,"vip":"v","self":"n1"}`,
		"a bad id":   `{"schema":1,"vip":"v","self":"1","members":[{"id":"n1"}]}`,
	} {
		if err := os.WriteFile(s.path(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, r, err := s.load()
		if err == nil || k.Known() || r.self != 0 {
			t.Errorf("%s: %v %v %v", name, k, r, err)
		}
		if err != nil && (strings.Contains(err.Error(), "c2Vj") || strings.Contains(err.Error(), secretOf(t, keys)[:6])) {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
}

// secretOf is the current key as it is written down.
func secretOf(t *testing.T, k heartbeat.Keys) string {
	t.Helper()
	var f struct {
		Current struct {
			Key string `json:"key"`
		} `json:"current"`
	}
	if err := json.Unmarshal([]byte(k.Encode()), &f); err != nil {
		t.Fatal(err)
	}
	return f.Current.Key
}

// TestMembersByName: etcd may know its members by name; names are asked for beside
// the loop, and again while they are not known.
func TestMembersByName(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.extra = withHeartbeats
		s := b.shell("n1")
		var known atomic.Bool
		s.l.heartbeats.resolve = func(ctx context.Context, name string) ([]netip.Addr, error) {
			if name == "n2.example.org" && known.Load() {
				return []netip.Addr{netip.MustParseAddr("::ffff:198.51.100.163")}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s.start()
		b.pass(5 * time.Second)
		st := ready(true)
		st.Member = 1
		st.Members[1].PeerURLs = []string{"https://n2.example.org:2380"}
		st.Members[2].Learner = true
		b.tellOne("n1", st)
		b.pass(resolveTimeout + time.Second)
		want := heartbeat.Members{Self: peerAt(1, "198.51.100.162"), Peers: []heartbeat.Peer{{ID: 2}}}
		if diff := cmp.Diff(want, b.ether.membersOf(s), sameAddr); diff != "" {
			t.Errorf("before the name is known (-want +got):\n%s", diff)
		}
		known.Store(true)
		b.pass(resolveEvery)
		want.Peers = []heartbeat.Peer{peerAt(2, "198.51.100.163")}
		if diff := cmp.Diff(want, b.ether.membersOf(s), sameAddr); diff != "" {
			t.Errorf("after (-want +got):\n%s", diff)
		}
		known.Store(false)
		st.Members[2].Learner = false
		b.tellOne("n1", st)
		b.pass(resolveTimeout + time.Second)
		want.Peers = append(want.Peers, peerAt(3, "198.51.100.164"))
		if diff := cmp.Diff(want, b.ether.membersOf(s), sameAddr); diff != "" {
			t.Errorf("when the name cannot be looked up any more (-want +got):\n%s", diff)
		}
		if b.holder() != "n1" {
			t.Errorf("%s holds it", b.holder())
		}
	})
}

// TestMembersOfTheDisk: at boot a name is often asked for before anybody answers. One
// that was moved is not where it was.
func TestMembersOfTheDisk(t *testing.T) {
	was := []netip.Addr{netip.MustParseAddr("198.51.100.163")}
	for name, tt := range map[string]struct {
		known []string
		want  []netip.Addr
	}{"from the disk": {nil, was}, "moved": {[]string{"198.51.100.163"}, nil}} {
		h := &heartbeats{known: roll{members: []rollMember{{id: 2, hosts: tt.known, addresses: was}}}}
		r := roll{members: []rollMember{{id: 2, hosts: []string{"n2.example.org"}}, {id: 3}}}
		h.fallBack(r)
		if diff := cmp.Diff(tt.want, r.members[0].addresses, sameAddr); diff != "" || r.members[1].addresses != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, r.members[1].addresses, diff)
		}
	}
}

// tellOne delivers an event to one client.
func (c *cell) tellOne(node string, e etcd.Event) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.sinks[node](e)
}

// TestKeyIsBroken: a key that cannot be used costs heartbeats and nothing else.
func TestKeyIsBroken(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.extra = withHeartbeats
		b.cell.key = "not a key"
		n1, n2 := b.shell("n1").start(), b.shell("n2").start()
		b.pass(20 * time.Second)
		if b.holder() != "n1" || b.ether.keysOf(n1).Known() || b.currentKey() != "not a key" {
			t.Errorf("holder %s, %v, in etcd %q", b.holder(), b.ether.keysOf(n1), b.currentKey())
		}
		if got := n1.document().Heartbeats.Trouble; got != "decode keys: not the JSON of a key: havipctl key rotate" {
			t.Errorf("trouble %q", got)
		}
		if got := strings.Count(n1.logged.String(), "the key of the heartbeats cannot be used"); got != 1 {
			t.Errorf("said %d times:\n%s", got, n1.logged)
		}
		b.setKey("not a key", "")
		b.pass(3 * time.Second) // the next status
		b.tellOne("n2", ready(false))
		b.pass(time.Second)
		if !b.ether.keysOf(n2).Known() || !b.ether.keysOf(n1).Equal(b.ether.keysOf(n2)) {
			t.Errorf("after it was deleted: %v, %v", b.ether.keysOf(n1), b.ether.keysOf(n2))
		}
	})
}

// TestHeartbeatFacts: the status tells who is heard, by the masters' names.
func TestHeartbeatFacts(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.extra = withHeartbeats
		n1 := b.shell("n1").start()
		b.extra = "[election]\ndetection = \"standard\"\n"
		b.shell("n2").start()
		b.pass(10 * time.Second)
		st := ready(true)
		st.Member, st.Members[1].Name, st.Members[2].PeerURLs = 1, "etcd-2", nil
		b.tellOne("n1", st)
		b.pass(time.Second)
		now := n1.d.clock.Boot()
		w := b.ether.of(n1)
		b.ether.mu.Lock()
		w.stats = heartbeat.Stats{
			Trouble: "no address", Key: "0a0b0c0d", Dropped: [heartbeat.Reasons]uint64{heartbeat.Stale: 3},
			Peers: map[uint64]heartbeat.PeerStats{
				2: {Sent: [5]uint64{0, 4, 1}, Received: [5]uint64{0, 2, 3}, Heard: now - time.Second, Acknowledged: now - 2*time.Second, RoundTrip: 250 * time.Microsecond},
				3: {Unsent: 7, Error: "no way", Unanswered: 1500 * time.Millisecond},
			},
		}
		b.ether.mu.Unlock()
		d := n1.document()
		us := int64(250)
		want := &status.Heartbeats{
			Detection: "fast", Port: 9478, Key: "0a0b0c0d", Plain: d.Heartbeats.Plain, Trouble: "no address",
			Peers: []status.HeartbeatPeer{
				{Member: "2", Name: "n2", Detection: "standard", HeardAgoMS: ms(time.Second), AnsweredAgoMS: ms(2 * time.Second), RoundTripUS: &us, Sent: 5, Received: 5},
				{Member: "3", Name: "n3", UnansweredMS: 1500, Unsent: 7, Error: "no way"},
			},
			Dropped: []status.HeartbeatDrop{{Reason: "stale", Count: 3}},
		}
		if diff := cmp.Diff(want, d.Heartbeats); diff != "" || want.Plain == "" {
			t.Errorf("heartbeats (-want +got):\n%s", diff)
		}
		if !slices.Contains(d.Warnings, `n2 has election.detection = "standard", this node "fast": the file must be the same on every master`) {
			t.Errorf("warnings %q", d.Warnings)
		}
		b.setKey(b.currentKey(), "broken")
		b.pass(time.Second)
		if got := n1.document().Heartbeats.Trouble; got != "no address" {
			t.Errorf("with a key of before: %q", got)
		}
	})
}

// TestMasterOfAMember: a member is known by where etcd is reached, or by its name.
func TestMasterOfAMember(t *testing.T) {
	addr := netip.MustParseAddr
	cfg := &configs.Config{Masters: []configs.Master{{Name: "n1", Address: addr("203.0.113.1")}, {Name: "n2", Address: addr("203.0.113.2")}}}
	cfg.Kubeadm.Advertise = map[string]netip.Addr{"n2": addr("198.51.100.163")}
	l := &loop{cfg: cfg}
	for at, want := range map[string]string{"203.0.113.1": "n1", "198.51.100.163": "n2", "203.0.113.2": "etcd-7"} {
		if got := l.masterOf(rollMember{name: "etcd-7", addresses: []netip.Addr{addr(at)}}); got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
}

// TestRotateKey: one command on one node gives all a new key; two at once are refused.
func TestRotateKey(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.extra = withHeartbeats
		n1, n2 := b.shell("n1").start(), b.shell("n2").start()
		rotate := func() (int, string) {
			code, body := n2.ask(http.MethodPost, status.PathRotate, "")
			return code, string(body)
		}
		b.pass(2 * time.Second)
		if code, body := rotate(); code != http.StatusConflict || !strings.Contains(body, "get 15 s to take one up") {
			t.Errorf("a young key: %d %s", code, body)
		}
		b.pass(rotateAfter)
		first := b.ether.keysOf(n1)
		code, body := rotate()
		b.pass(time.Second)
		second := b.ether.keysOf(n1)
		if code != http.StatusOK || !strings.Contains(body, second.ID()+" in some seconds; the one before it is accepted") || second.ID() == first.ID() || !b.ether.keysOf(n2).Equal(second) {
			t.Errorf("%d %s: before %v, after %v and %v", code, body, first, second, b.ether.keysOf(n2))
		}
		if got := second.String(); got != "key "+second.ID()+" after "+first.ID() {
			t.Errorf("after a rotation: %s", got)
		}
		b.setKey(b.currentKey(), "broken by hand")
		b.pass(time.Millisecond)
		if code, body := rotate(); code != http.StatusOK || !strings.Contains(body, "no other is accepted") {
			t.Errorf("a broken key: %d %s", code, body)
		}
		b.pass(rotateAfter)
		n2.l.heartbeats.mu.Lock()
		n2.l.heartbeats.raw = "not what is there"
		n2.l.heartbeats.mu.Unlock()
		if code, body := rotate(); code != http.StatusConflict || !strings.Contains(body, "at this moment") {
			t.Errorf("somebody else's at the same time: %d %s", code, body)
		}
		b.silence("n2")
		if code, body := rotate(); code != http.StatusGatewayTimeout {
			t.Errorf("without etcd: %d %s", code, body)
		}
		for _, s := range []*shell{n1, n2} {
			_, doc := s.ask(http.MethodGet, status.PathStatus, "")
			for _, k := range []heartbeat.Keys{first, second, b.ether.keysOf(n1)} {
				if secret := secretOf(t, k); strings.Contains(s.logged.String(), secret) || strings.Contains(string(doc), secret) || strings.Contains(body, secret) {
					t.Errorf("%s tells the key", s.name)
				}
			}
		}
	})
}

func TestRotateKeyRefused(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.pass(2 * time.Second)
		if code, body := n1.ask(http.MethodPost, status.PathRotate, ""); code != http.StatusConflict || !strings.Contains(string(body), "heartbeats are off") {
			t.Errorf("off: %d %s", code, body)
		}
		if code, _ := n1.ask(http.MethodPost, status.PathRotate, `{"key": "mine"}`); code != http.StatusBadRequest {
			t.Errorf("with a key in it: %d", code)
		}
		w := httptest.NewRecorder()
		n1.d.faces.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, status.PathRotate, nil))
		if w.Code != http.StatusForbidden {
			t.Errorf("somebody who is not root: %d", w.Code)
		}
	})
}
