package cluster

import (
	"bufio"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// forgetNeighbours empties the client's ARP cache: an address that is moved by
// hand is not announced.
func (c *Cluster) forgetNeighbours(t *testing.T) {
	t.Helper()
	must(t, c.client.do(func() error {
		all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, n := range all {
			if !n.IP.Equal(VIP4.AsSlice()) && !n.IP.Equal(VIP6.AsSlice()) {
				continue
			}
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
		return nil
	}))
}

func TestObserversSeeAMoveByHand(t *testing.T) {
	c := start(t, Options{})
	must(t, c.StartWitness())
	n1, n2 := c.Nodes[0], c.Nodes[1]
	begin := Now()
	must(t, n1.AddVIP(VIP4))
	if _, err := c.Sampler.WaitHolder(t.Context(), patience, "n1"); err != nil {
		t.Fatal(err)
	}
	must(t, c.Witness.WaitAnswer(t.Context(), patience, Now(), "n1"))

	moving := Now()
	must(t, n1.DeleteVIP(VIP4))
	// The gap is to stand out among those of a busy machine.
	must(t, Poll(t.Context(), patience, "clients to be cut off", func() bool {
		return c.Witness.Outage(moving, Now()).Length() > 2*witnessPatience
	}))
	must(t, n2.AddVIP(VIP4))
	c.forgetNeighbours(t)
	if _, err := c.Sampler.WaitHolder(t.Context(), patience, "n2"); err != nil {
		t.Fatal(err)
	}
	must(t, c.Witness.WaitAnswer(t.Context(), patience, Now(), "n2"))

	j := c.Sampler.Judge(begin, Now())
	if j.Double != 0 {
		t.Errorf("Double = %v, want 0: %v", j.Double, j.Doubles)
	}
	if len(j.Moves) != 1 || j.Moves[0].From != "n1" || j.Moves[0].To != "n2" {
		t.Errorf("Moves = %v, want one from n1 to n2", j.Moves)
	}
	if len(j.Permanent) != 2 {
		t.Errorf("Permanent = %v, want the two additions by hand", j.Permanent)
	}
	if o := c.Witness.Outage(moving, Now()); o.Before != "n1" || o.After != "n2" {
		t.Errorf("Outage = %+v, want from n1 to n2", o)
	}
}

func TestSamplerSeesTwoHolders(t *testing.T) {
	c := start(t, Options{Masters: 2, IPv6: true})
	n1, n2 := c.Nodes[0], c.Nodes[1]
	begin := Now()
	must(t, n1.AddVIP(VIP4))
	must(t, n2.AddVIP(VIP6))
	must(t, c.Sampler.Wait(t.Context(), patience, "two holders", func(h []string) bool { return len(h) == 2 }))
	must(t, Pause(t.Context(), ms(20)))
	must(t, n1.DeleteVIP(VIP4))
	must(t, c.Sampler.Wait(t.Context(), patience, "n2 alone", func(h []string) bool { return slices.Equal(h, []string{"n2"}) }))
	j := c.Sampler.Judge(begin, Now())
	if j.Double < ms(20) || j.Double > ms(1000) {
		t.Errorf("Double = %v, want a little over 20ms", j.Double)
	}
	// The kernel removes an address whose lifetime ends, and the sampler sees it.
	added := Now()
	must(t, n1.ns.do(func() error {
		link, err := netlink.LinkByName(linkName)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(VIP4, 32)), ValidLft: 1, PreferedLft: 1})
	}))
	must(t, c.Sampler.Wait(t.Context(), patience, "n1's address to come", func(h []string) bool { return len(h) == 2 }))
	must(t, c.Sampler.Wait(t.Context(), patience, "n1's address to expire", func(h []string) bool { return len(h) == 1 }))
	if lived := Now() - added; lived < ms(900) {
		t.Errorf("address with a lifetime of 1 s lived %v", lived)
	}
	if j := c.Sampler.Judge(added, Now()); len(j.Permanent) != 0 {
		t.Errorf("Permanent = %v, want none", j.Permanent)
	}
}

func TestSilencePartsAndHeals(t *testing.T) {
	c := start(t, Options{})
	must(t, c.StartWitness())
	n1 := c.Nodes[0]
	must(t, n1.AddVIP(VIP4))
	must(t, c.Witness.WaitAnswer(t.Context(), patience, Now(), "n1"))
	for _, fault := range []struct {
		name      string
		cut, heal func() error
		carrier   bool
	}{
		{"mute", n1.Mute, n1.Unmute, true},
		{"cable", n1.PullCable, n1.PlugCable, false},
	} {
		t.Run(fault.name, func(t *testing.T) {
			must(t, fault.cut())
			cut := Now()
			must(t, Poll(t.Context(), patience, "clients to be cut off", func() bool {
				return c.Witness.Outage(cut, Now()).Length() > 2*witnessPatience
			}))
			if up := n1.carrier(t); up != fault.carrier {
				t.Errorf("carrier = %v, want %v", up, fault.carrier)
			}
			if h := c.Sampler.Holders(); !slices.Equal(h, []string{"n1"}) {
				t.Errorf("Holders = %v, want [n1]: a node that is cut off still counts", h)
			}
			must(t, fault.heal())
			c.forgetNeighbours(t)
			must(t, c.Witness.WaitAnswer(t.Context(), patience, Now(), "n1"))
		})
	}
}

func (n *Node) carrier(t *testing.T) (up bool) {
	t.Helper()
	must(t, n.ns.do(func() error {
		link, err := netlink.LinkByName(linkName)
		if err == nil {
			up = link.Attrs().OperState == netlink.OperUp
		}
		return err
	}))
	return up
}

func TestPowerCut(t *testing.T) {
	c := start(t, Options{})
	ctx := t.Context()
	n3 := c.Nodes[2]
	must(t, c.MoveEtcdLeader(ctx, n3))
	must(t, n3.AddVIP(VIP4))
	if _, err := c.Sampler.WaitHolder(ctx, patience, "n3"); err != nil {
		t.Fatal(err)
	}
	must(t, writeFile(n3.socket(), []byte("left over"), 0o600))
	pid := n3.etcd.current().pid()

	must(t, n3.PowerOff())
	if h := c.Sampler.Holders(); len(h) != 0 {
		t.Errorf("Holders = %v after the power cut, want none", h)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("etcd of the node without power is there: kill 0 = %v", err)
	}
	must(t, Poll(ctx, patience, "another etcd leader", func() bool {
		leader, err := c.EtcdLeader(ctx)
		return err == nil && leader != n3
	}))

	must(t, c.PowerOn(ctx, n3))
	if h := c.Sampler.Holders(); len(h) != 0 {
		t.Errorf("Holders = %v after power on, want none", h)
	}
	if _, err := os.Stat(n3.socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("/run survived the power cut: stat = %v", err)
	}
	if _, err := n3.EtcdMetric(ctx, "etcd_server_proposals_committed_total"); err != nil {
		t.Error(err)
	}
}

func TestKilledEtcdComesBack(t *testing.T) {
	c := start(t, Options{})
	leader, err := c.EtcdLeader(t.Context())
	must(t, err)
	must(t, leader.KillEtcd())
	if leader.EtcdHealthy(t.Context()) {
		t.Error("killed member is healthy")
	}
	must(t, c.WaitEtcd(t.Context(), patience, c.Others(leader)...))
	must(t, leader.StartEtcd())
	must(t, c.WaitEtcd(t.Context(), patience, c.Nodes...))
}

func TestTwoClustersAtOnce(t *testing.T) {
	a := start(t, Options{Masters: 1})
	b := start(t, Options{Masters: 1})
	must(t, a.Nodes[0].AddVIP(VIP4))
	if _, err := a.Sampler.WaitHolder(t.Context(), patience, "n1"); err != nil {
		t.Fatal(err)
	}
	if h := b.Sampler.Holders(); len(h) != 0 {
		t.Errorf("Holders of the other cluster = %v, want none", h)
	}
}

func TestKilledOwnerLeavesNothing(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), PartVariable+"=owner")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	var said []string
	for len(said) < 2 && lines.Scan() {
		said = append(said, lines.Text())
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // says that it was killed
	if len(said) != 2 {
		t.Fatalf("owner said %q, want a directory and a process", said)
	}
	must(t, Poll(t.Context(), patience, "etcd to go with its owner", func() bool {
		// The kernel's reaper may take a moment over the corpse.
		stat, err := os.ReadFile("/proc/" + said[1] + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}))
	if _, err := os.Stat(said[0]); err != nil {
		t.Fatalf("look at what the owner left: %v", err)
	}
	must(t, removeLeftovers())
	if _, err := os.Stat(said[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leftover directory after removeLeftovers: stat = %v, want none", err)
	}
}

func TestAddressesOfFiveMasters(t *testing.T) {
	c := &Cluster{dir: t.TempDir(), Stage: &Stage{VIPs: []netip.Addr{VIP4, VIP6}}}
	var got []string
	for i := range 5 {
		n := c.newNode(i)
		got = append(got, n.Name+" "+n.Address.String()+" "+n.Address6.String())
	}
	want := []string{
		"n1 198.51.100.162 2001:db8::162", "n2 198.51.100.163 2001:db8::163", "n3 198.51.100.164 2001:db8::164",
		"n4 198.51.100.165 2001:db8::165", "n5 198.51.100.167 2001:db8::167",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

func TestMachineIsUntouched(t *testing.T) {
	needRoot(t)
	before := links(t)
	c := start(t, Options{Masters: 1})
	if diff := cmp.Diff(before, links(t)); diff != "" {
		t.Errorf("links of the machine (-before +with a cluster):\n%s", diff)
	}
	must(t, c.Close())
	if diff := cmp.Diff(before, links(t)); diff != "" {
		t.Errorf("links of the machine (-before +after):\n%s", diff)
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory after Close: stat = %v, want none", err)
	}
	if got := c.Nodes[0].ns.do(func() error { return nil }); !errors.Is(got, errNamespaceClosed) {
		t.Errorf("work in a closed namespace = %v, want %v", got, errNamespaceClosed)
	}
	if c.Nodes[0].etcdRunning() {
		t.Error("etcd runs after Close")
	}
}

func links(t *testing.T) (names []string) {
	t.Helper()
	all, err := netlink.LinkList()
	must(t, err)
	for _, l := range all {
		names = append(names, l.Attrs().Name)
	}
	return names
}
