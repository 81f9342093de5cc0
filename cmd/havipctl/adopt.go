package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"havip/configs"
	"havip/daemon/status"
	"havip/kubeadm"
	"havip/kubeadm/adopt"
)

// adoptOptions are the flags of adopt.
type adoptOptions struct {
	format      *format
	config      string
	begin, undo bool
	masters     []string
	link        string
	without     []string
}

func (c *cli) adoptCommand() *cobra.Command {
	o := &adoptOptions{}
	cmd := command("adopt", "Take the VIP of a running cluster over from keepalived or kube-vip",
		`adopt finds what holds the VIP on this master, and shows what it would do, what is
in the way, the config file it would write and the way back. It changes nothing
without --begin or --undo.

With --begin it does this node's part. It is run on one master after another, the
one that has the VIP last: there havipd takes the VIP in place, and only then what
held it is switched off. --undo goes back, on one master after another; it says
where. The same command goes on after a crash. docs/migration.md has the whole
order, and why no two nodes ever have the VIP.`,
		noArgs, func(cmd *cobra.Command, _ []string) error { return c.adopt(cmd.Context(), o) })
	cmd.Example = "  sudo havipctl adopt\n  sudo havipctl adopt --begin"
	o.format = formatFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.config, "config", configs.DefaultPath, "the config file")
	f.BoolVar(&o.begin, "begin", false, "do this node's part")
	f.BoolVar(&o.undo, "undo", false, "go back")
	f.StringSliceVar(&o.masters, "master", nil, "a master as NAME=ADDRESS, once for each (default: those that kubectl lists)")
	f.StringVar(&o.link, "interface", "", "link of the VIP, for the config file (default: the one with the route to it)")
	f.StringSliceVar(&o.without, "without", nil, "a master that is off, and on which nothing will come back that holds the VIP")
	cmd.MarkFlagsMutuallyExclusive("begin", "undo")
	return cmd
}

func (c *cli) adopt(ctx context.Context, o *adoptOptions) error {
	var masters []configs.Master
	for _, s := range o.masters {
		name, addr, ok := strings.Cut(s, "=")
		a, err := netip.ParseAddr(addr)
		if !ok || err != nil || name == "" {
			return usageError("havipctl adopt --master n1=198.51.100.162 --master n2=…", "--master %s: not NAME=ADDRESS", s)
		}
		masters = append(masters, configs.Master{Name: name, Address: a})
	}
	r := c.adopter(o, masters)
	switch {
	case o.begin:
		return c.adopted(o)(r.Begin(ctx))
	case o.undo:
		return c.adopted(o)(r.Undo(ctx))
	}
	p, err := r.Preview(ctx)
	if err != nil {
		return c.explain(err)
	}
	return c.showAdoption(o, p)
}

func (c *cli) adopter(o *adoptOptions, masters []configs.Master) *adopt.Runner {
	show := &progress{out: c.err, live: c.errTerminal, width: c.width}
	state := filepath.Dir(c.state) // of the daemon too
	return &adopt.Runner{
		System: c.node, Daemon: adoption{c.client(), state}, Services: kubeadm.Systemd{}, Store: kubeadm.Store{Dir: filepath.Join(state, "adopt")},
		Kubectl: func(ctx context.Context, args ...string) (string, error) {
			return kubeadm.Ask(ctx, "kubectl", args...)
		},
		Progress: show, ConfigPath: o.config, Masters: masters, Link: o.link, Without: o.without,
	}
}

func (c *cli) adopted(o *adoptOptions) func(adopt.Result, error) error {
	return func(result adopt.Result, err error) error {
		if err != nil {
			return c.explain(err)
		}
		c.notes(result.Findings)
		if *o.format == jsonText {
			return c.printJSON(outcome{Schema: 1, Changed: result.Changed, Message: result.Message, Findings: append([]kubeadm.Finding{}, result.Findings...)})
		}
		return c.print(result.Message + "\n")
	}
}

// rehearsed is what adopt prints as JSON.
type rehearsed struct {
	Schema   int               `json:"schema"`
	Changed  bool              `json:"changed"` // never
	Node     string            `json:"node"`
	Holder   bool              `json:"holder"` // this node has the VIP now
	Keepers  []adopt.Keeper    `json:"keepers"`
	Beside   []string          `json:"beside"` // left as it is
	Steps    []kubeadm.Step    `json:"steps"`
	Then     string            `json:"then"`
	Path     string            `json:"path"`
	Config   string            `json:"config"`
	Findings []kubeadm.Finding `json:"findings"`
}

// showAdoption prints what would be done. Exit code 1: something is in the way.
func (c *cli) showAdoption(o *adoptOptions, p adopt.Preview) error {
	f := p.Facts
	if j := f.Journal; j != nil && j.Finished != nil {
		return c.adopted(o)(adopt.Result{Message: fmt.Sprintf("nothing to do: %s has had its part since %s; the way back: havipctl adopt --undo", j.Node, j.Finished.Format(time.RFC3339))}, nil)
	}
	var err error
	if *o.format == jsonText {
		err = c.printJSON(rehearsed{
			Schema: 1, Node: f.Self.Name, Holder: f.Here, Keepers: append([]adopt.Keeper{}, f.Keepers...), Beside: append([]string{}, f.Others...),
			Steps: append([]kubeadm.Step{}, p.Plan.Steps...), Then: p.Plan.Then, Path: f.ConfigPath, Config: string(f.Config), Findings: append([]kubeadm.Finding{}, p.Findings...),
		})
	} else {
		err = c.print(adoptionText(p))
	}
	if err != nil {
		return err
	}
	return c.foresee(p.Findings)
}

func adoptionText(p adopt.Preview) string {
	var b strings.Builder
	f := p.Facts
	for _, k := range f.Keepers {
		state := "does not run"
		if k.Running {
			state = "runs"
		}
		fmt.Fprintf(&b, "found   %s: %v, %s\n", k, k.Addresses, state)
	}
	for _, other := range f.Others {
		fmt.Fprintf(&b, "found   %s: left alone\n", other)
	}
	if f.Endpoint.Error == "" {
		where := "not on this node"
		if f.Here {
			where = "on this node"
		}
		fmt.Fprintf(&b, "VIP     %s, %s\n", f.Endpoint.Host, where)
	}
	if len(p.Plan.Steps) == 0 {
		return b.String()
	}
	b.WriteString("\nhavipctl adopt --begin would here:\n")
	for i, s := range p.Plan.Steps {
		fmt.Fprintf(&b, "%2d  %-14s %s\n", i+1, s.Name, s.Text)
	}
	fmt.Fprintf(&b, "%s\n\nthe way back: havipctl adopt --undo\n", p.Plan.Then)
	if !f.ConfigKept {
		fmt.Fprintf(&b, "\n# %s\n%s", f.ConfigPath, f.Config)
	}
	return b.String()
}

// adoption asks the daemon of this node for what a migration needs of it.
type adoption struct {
	client *status.Client
	state  string // the daemon's directory
}

func (a adoption) Standing(ctx context.Context) (adopt.Standing, error) {
	d, err := a.client.Status(ctx)
	switch {
	case status.NotRunning(err):
		return adopt.Standing{}, nil
	case err != nil:
		return adopt.Standing{}, err
	case !d.Configured:
		return adopt.Standing{}, nil
	}
	s := adopt.Standing{
		Runs: true, Stage: string(d.Self.Adopting), Members: d.Etcd.Members,
		Holder: d.Self.Role == status.RoleHolder || d.Self.Role == status.RoleReleasing,
		Known:  d.Record.State != status.RecordUnknown, Foreign: len(d.Address.Foreign) > 0,
	}
	if d.Record.State == status.RecordHeld || d.Record.State == status.RecordImplausible {
		s.Record = d.Record.Node
	}
	for _, m := range d.Masters {
		if !m.Self {
			s.Masters = append(s.Masters, adopt.Master{Name: m.Name, Present: m.Present, Stage: string(m.Adopting), Drained: m.Says == status.RoleDrained})
		}
	}
	return s, nil
}

func (a adoption) mark() string { return filepath.Join(a.state, status.AdoptFile) }

func (a adoption) Prepare() error {
	if _, err := os.Stat(a.mark()); err == nil {
		return nil // of a run before this one, and the daemon may be further
	}
	text := fmt.Sprintf("{\"schema\": %d, \"stage\": %q, \"at\": %q}\n", status.Schema, status.AdoptReady, time.Now().UTC().Format(time.RFC3339))
	return kubeadm.Store{Dir: a.state}.Write(a.mark(), []byte(text))
}

func (a adoption) Forget() error {
	if err := os.Remove(a.mark()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (a adoption) Adopt(ctx context.Context, stage string, without []string) error {
	_, err := a.client.Adopt(ctx, status.AdoptRequest{Stage: status.AdoptStage(stage), Without: slices.Clone(without)})
	return err
}
