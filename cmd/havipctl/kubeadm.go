package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"havip/configs"
	"havip/kubeadm"
)

// clusterOptions are the flags of init, join, token and reset.
type clusterOptions struct {
	format  *format
	config  string
	dryRun  bool
	ticket  string
	replace bool
	yes     bool
	wait    time.Duration
	alone   bool // no person sees what is printed: a journal keeps it
}

// clusterCommand makes a command that drives kubeadm.
func (c *cli) clusterCommand(use, short, long string, do func(ctx context.Context, o *clusterOptions) error) (*cobra.Command, *clusterOptions) {
	o := &clusterOptions{}
	cmd := command(use, short, long, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return do(cmd.Context(), o) })
	o.format = formatFlag(cmd)
	cmd.Flags().StringVar(&o.config, "config", configs.DefaultPath, "the config file")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and do nothing")
	return cmd, o
}

func (c *cli) initCommand() *cobra.Command {
	cmd, _ := c.clusterCommand("init", "Make this node the first master of a cluster",
		`init has the daemon of this node take the VIP, drives kubeadm init phase by phase,
and sees that the election has the VIP before any other node can join. It prints
the line that joins a master and the one that joins a worker.

After a crash, a reboot or a failed phase the same command goes on where it was.`,
		func(ctx context.Context, o *clusterOptions) error { return c.cluster(ctx, o, "init") })
	return cmd
}

func (c *cli) joinCommand() *cobra.Command {
	cmd, o := c.clusterCommand("join", "Make this node another master of the cluster at the VIP",
		`join drives kubeadm join phase by phase. Where the cluster is comes from the config
file; what lets a node in, the ticket that init and token print, is read from
stdin or a file, since everybody can read a command line.

After a crash, a reboot or a failed phase the same command goes on where it was,
without a ticket if the last one is still good.

A master that lost its disk still stands on etcd's list of members, which lets
nobody join while one on it is silent. join says which member that is. With
--replace it has it removed, through the members of the other masters: only if it
has this node's name or address, does not answer, has no data here, and all others
are well and have their quorum without it. Otherwise it says what is against it,
and nothing is removed.`,
		func(ctx context.Context, o *clusterOptions) error { return c.cluster(ctx, o, "join") })
	cmd.Example = "  echo TICKET | sudo havipctl join\n  echo TICKET | sudo havipctl join --replace"
	cmd.Flags().BoolVar(&o.replace, "replace", false, "remove the dead etcd member that this node had before it was made anew")
	cmd.Flags().StringVar(&o.ticket, "ticket", "-", "file with the ticket; - is stdin")
	return cmd
}

func (c *cli) bootstrapCommand() *cobra.Command {
	cmd, o := c.clusterCommand("bootstrap", "Do init or join without a hand, as [unattended] says",
		`bootstrap does init on the node that init_node under [unattended] names, and on
the others waits for it and joins, all with secrets that are derived from
secret_file. The unit havip-kubeadm.service runs it.`,
		c.bootstrap)
	cmd.Flags().DurationVar(&o.wait, "wait", 0, "how long to wait for the first master (default: as long as others may join)")
	return cmd
}

func (c *cli) tokenCommand() *cobra.Command {
	cmd, _ := c.clusterCommand("token", "Print new lines that join masters and workers",
		"token makes a new token and a new certificate key, on any master, and prints the line that joins a master and the one that joins a worker.",
		c.token)
	return cmd
}

func (c *cli) resetCommand() *cobra.Command {
	cmd, o := c.clusterCommand("reset", "Undo init or join on this node",
		`reset gives the VIP to another master, has kubeadm remove this node's etcd member
and its own files, and forgets what init and join remember. It asks first.`,
		c.reset)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	return cmd
}

// runner is set up for this node as the config file has it.
func (c *cli) runner(o *clusterOptions) (*kubeadm.Runner, error) {
	cfg, err := configs.Load(o.config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{exitFailed, err, []string{"write one: havipctl config init --help"}}
	}
	if err != nil {
		return nil, err
	}
	warn(c.err, cfg.Warnings)
	if !cfg.Configured() {
		return nil, &failure{exitFailed, fmt.Errorf("%s names no VIP", o.config), []string{"write one: havipctl config init --help"}}
	}
	own, err := c.node.Addresses()
	if err != nil {
		return nil, fmt.Errorf("list this node's addresses: %w", err)
	}
	self, err := cfg.Self(own)
	if err != nil {
		return nil, err
	}
	show := &progress{out: c.err, live: c.errTerminal, width: c.width}
	return &kubeadm.Runner{Config: cfg, Self: self, System: c.node, Claims: claims{c.client()}, Members: claims{c.client()}, Replace: o.replace, Store: kubeadm.Store{Dir: c.state}, Progress: show}, nil
}

func (c *cli) cluster(ctx context.Context, o *clusterOptions, command string) error {
	r, err := c.runner(o)
	if err != nil {
		return err
	}
	if o.dryRun {
		return c.preview(ctx, o, r, command)
	}
	secrets, err := c.secrets(o, r, command)
	if err != nil {
		return err
	}
	return c.carryOut(ctx, o, r, command, secrets)
}

func (c *cli) carryOut(ctx context.Context, o *clusterOptions, r *kubeadm.Runner, command string, secrets *kubeadm.Secrets) error {
	do := r.Init
	if command == "join" {
		do = r.Join
	}
	result, err := do(ctx, secrets)
	if err != nil {
		return c.explain(err)
	}
	if o.alone && result.Secrets != nil {
		// Whoever may read the journal could join, and fetch the keys of the cluster's CA.
		result.Secrets = nil
		result.Message += "; lines that join others by hand: havipctl token"
	}
	c.notes(result.Findings)
	return c.result(o, r.Config, result)
}

// bootstrap does init or join by itself.
func (c *cli) bootstrap(ctx context.Context, o *clusterOptions) error {
	o.alone = true
	r, err := c.runner(o)
	if err != nil {
		return err
	}
	if !r.Config.Unattended.On() {
		return c.result(o, r.Config, kubeadm.Result{Message: "nothing to do: init_node is not set under [unattended]"})
	}
	command := "join"
	if r.Config.Unattended.InitNode == r.Self.Name {
		command = "init"
	}
	if o.dryRun {
		return c.preview(ctx, o, r, command)
	}
	// Once the cluster is there the secret is better deleted, and the unit still
	// runs at each boot.
	done, err := r.Finished()
	if err != nil {
		return err
	}
	if done {
		return c.carryOut(ctx, o, r, command, nil)
	}
	secrets, err := shared(r, command)
	if err != nil {
		return err
	}
	if command == "join" {
		if err := c.awaitCluster(ctx, o, r.Config); err != nil {
			return err
		}
	}
	return c.carryOut(ctx, o, r, command, secrets)
}

// lookEvery is the pause between two looks at whether there is a cluster yet.
const lookEvery = 2 * time.Second

// awaitCluster waits until something answers at the control-plane endpoint. What
// answers there is only believed if its cluster-info is signed with the token.
func (c *cli) awaitCluster(ctx context.Context, o *clusterOptions, cfg *configs.Config) error {
	wait := o.wait
	if wait <= 0 {
		wait = cfg.Unattended.JoinWindow
	}
	host, port := cfg.Endpoint()
	address := net.JoinHostPort(host, strconv.Itoa(port))
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for said := false; ; said = true {
		once, done := context.WithTimeout(limited, lookEvery)
		conn, err := c.node.Dial(once, "tcp", address)
		done()
		if err == nil {
			return conn.Close()
		}
		if !said {
			fmt.Fprintf(c.err, "waiting for %s to make the cluster: nothing answers at %s yet\n", cfg.Unattended.InitNode, address)
		}
		pause := time.NewTimer(lookEvery)
		select {
		case <-pause.C:
		case <-limited.Done():
			pause.Stop()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &failure{exitFailed, fmt.Errorf("no cluster answered at %s within %s: %w", address, wait, err), []string{
				"see what init does on " + cfg.Unattended.InitNode + ": journalctl -u havip-kubeadm",
				"later: havipctl token there, and havipctl join here",
			}}
		}
	}
}

// planned is what a dry run prints as JSON.
type planned struct {
	Schema   int               `json:"schema"`
	Changed  bool              `json:"changed"` // never
	Command  string            `json:"command"`
	Steps    []kubeadm.Step    `json:"steps"`
	Config   string            `json:"config"` // kubeadm's, without secrets
	Findings []kubeadm.Finding `json:"findings"`
}

// preview prints what init or join would do. Exit code 1: it would refuse.
func (c *cli) preview(ctx context.Context, o *clusterOptions, r *kubeadm.Runner, command string) error {
	p, err := r.Preview(ctx, command)
	if err != nil {
		return c.explain(err)
	}
	if *o.format == jsonText {
		err = c.printJSON(planned{Schema: 1, Command: command, Steps: p.Plan.Steps, Config: string(p.Config), Findings: append([]kubeadm.Finding{}, p.Findings...)})
	} else {
		err = c.print(planText(p))
	}
	if err != nil {
		return err
	}
	return c.foresee(p.Findings)
}

// foresee tells what a rehearsal found, and fails if the real run would.
func (c *cli) foresee(findings []kubeadm.Finding) error {
	c.notes(findings)
	if blocking := kubeadm.Blocking(findings); len(blocking) > 0 {
		return c.explain(&kubeadm.BlockedError{Findings: blocking})
	}
	return nil
}

func planText(p kubeadm.Preview) string {
	var b strings.Builder
	for i, s := range p.Plan.Steps {
		fmt.Fprintf(&b, "%2d  %-24s %s\n", i+1, s.Name, s.Text)
		if len(s.Args) > 0 {
			fmt.Fprintf(&b, "      kubeadm %s\n", strings.Join(s.Args, " "))
		}
	}
	if len(p.Config) > 0 {
		fmt.Fprintf(&b, "\n# kubeadm's configuration\n%s", p.Config)
	}
	return b.String()
}

// notes writes what hinders nothing.
func (c *cli) notes(findings []kubeadm.Finding) {
	for _, f := range findings {
		if !f.Blocks {
			fmt.Fprintln(c.err, "warning: "+f.String())
			if f.Fix != "" {
				fmt.Fprintln(c.err, "hint: "+f.Fix)
			}
		}
	}
}

// explain writes what is in the way, or what failed, and ends with exit code 1.
func (c *cli) explain(err error) error {
	var blocked *kubeadm.BlockedError
	var failed *kubeadm.StepError
	switch {
	case errors.As(err, &blocked):
		for _, f := range blocked.Findings {
			fmt.Fprintln(c.err, "error: "+f.String())
			if f.Fix != "" {
				fmt.Fprintln(c.err, "hint: "+f.Fix)
			}
		}
		fmt.Fprintln(c.err, "nothing was done")
		return exitCode(exitFailed)
	case errors.As(err, &failed):
		return c.explainStep(failed)
	case ofDaemon(err):
		return asked(err)
	case errors.Is(err, fs.ErrPermission):
		return &failure{exitCannotAsk, err, []string{"run it as root"}}
	}
	return err
}

func (c *cli) explainStep(f *kubeadm.StepError) error {
	for _, line := range f.Tail {
		fmt.Fprintln(c.err, "  | "+line)
	}
	hints := f.Hints
	if f.Log != "" {
		hints = append([]string{"all it said: " + f.Log}, hints...)
	}
	if errors.Is(f.Err, context.Canceled) {
		return &failure{exitInterrupted, fmt.Errorf("interrupted in step %s", f.Step.Name), hints}
	}
	return &failure{exitFailed, errors.New(f.Error()), hints}
}

// joining is how others join, as JSON.
type joining struct {
	Ticket string `json:"ticket"` // for havipctl join on a master
	Master string `json:"master"` // the whole line
	Worker string `json:"worker"`
}

// outcome is what init, join, token and reset print as JSON.
type outcome struct {
	Schema   int               `json:"schema"`
	Changed  bool              `json:"changed"`
	Message  string            `json:"message"`
	Findings []kubeadm.Finding `json:"findings"`
	Join     *joining          `json:"join,omitempty"`
}

func (c *cli) result(o *clusterOptions, cfg *configs.Config, r kubeadm.Result) error {
	out := outcome{Schema: 1, Changed: r.Changed, Message: r.Message, Findings: append([]kubeadm.Finding{}, r.Findings...)}
	if r.Secrets != nil {
		out.Join = joinLines(cfg, *r.Secrets)
	}
	if *o.format == jsonText {
		return c.printJSON(out)
	}
	return c.print(r.Message + "\n" + joinText(cfg, out.Join))
}

func joinLines(cfg *configs.Config, s kubeadm.Secrets) *joining {
	host, port := cfg.Endpoint()
	ticket := s.Ticket()
	return &joining{
		Ticket: ticket,
		Master: fmt.Sprintf("echo %s | sudo havipctl join", ticket),
		Worker: fmt.Sprintf("sudo kubeadm join %s --token %s --discovery-token-ca-cert-hash %s", net.JoinHostPort(host, strconv.Itoa(port)), s.Token, s.CAHash),
	}
}

func joinText(cfg *configs.Config, j *joining) string {
	if j == nil {
		return ""
	}
	ttl := cfg.Kubeadm.TokenTTL
	if cfg.Unattended.On() {
		ttl = cfg.Unattended.JoinWindow
	}
	text := fmt.Sprintf(`
on each other master, within %s:

  %s

on each worker, within %s:

  %s

new lines, on any master: havipctl token
`, hours(min(ttl, configs.CertificateKeyLifetime)), j.Master, hours(ttl), j.Worker)
	return text
}

// hours writes a time as people say it: 2h, 90m.
func hours(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

func (c *cli) token(ctx context.Context, o *clusterOptions) error {
	r, err := c.runner(o)
	if err != nil {
		return err
	}
	if o.dryRun {
		return c.result(o, r.Config, kubeadm.Result{Message: "token would make a new bootstrap token" + uploads(r.Config)})
	}
	s, err := r.Token(ctx)
	if err != nil {
		return c.explain(err)
	}
	return c.result(o, r.Config, kubeadm.Result{Changed: true, Message: "a new token was made" + uploads(r.Config), Secrets: &s})
}

func uploads(cfg *configs.Config) string {
	if cfg.Kubeadm.UploadCerts {
		return ", and the certificates uploaded under a new key"
	}
	return ""
}

func (c *cli) reset(ctx context.Context, o *clusterOptions) error {
	r, err := c.runner(o)
	if err != nil {
		return err
	}
	if o.dryRun {
		return c.result(o, r.Config, kubeadm.Result{Message: fmt.Sprintf("reset would give the VIP away, and undo what made %s a master", r.Self.Name)})
	}
	if !o.yes {
		question := fmt.Sprintf("reset removes %s (%s) from the cluster, with its etcd data and certificates\n", r.Self.Name, r.Self.Address)
		if err := c.confirm("reset", question); err != nil {
			return err
		}
	}
	result, err := r.Reset(ctx)
	if err != nil {
		return c.explain(err)
	}
	c.notes(result.Findings)
	return c.result(o, r.Config, result)
}
