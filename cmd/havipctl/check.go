package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"havip/configs"
	"havip/daemon/status"
	"havip/kubeadm"
	"havip/kubeadm/check"
)

func (c *cli) checkCommand() *cobra.Command {
	var f *format
	config, all := "", false
	cmd := command("check", "Look for what is wrong with this node, before and after a cluster is made",
		`check looks at this node and its surroundings and tells everything at once that is
wrong, or will be at the next failure: what, why it matters, and the command or
edit that mends it. It changes nothing. Without the daemon, or without root, it
makes the looks that are left and names those that it could not make.

Exit codes: 0 nothing is wrong, though there may be warnings; 1 at least one error.`,
		noArgs, func(cmd *cobra.Command, _ []string) error { return c.check(cmd.Context(), config, all, *f) })
	f = formatFlag(cmd)
	cmd.Flags().StringVar(&config, "config", configs.DefaultPath, "the config file")
	cmd.Flags().BoolVar(&all, "all", false, "list also the looks that found nothing wrong")
	return cmd
}

func (c *cli) check(ctx context.Context, config string, all bool, f format) error {
	r := c.looks(ctx, config)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var err error
	if f == jsonText {
		err = c.printJSON(r)
	} else {
		err = c.print(c.checkText(r, all))
	}
	if err == nil && r.Errors > 0 {
		return exitCode(exitFailed)
	}
	return err
}

// looks makes them all.
func (c *cli) looks(ctx context.Context, config string) check.Report {
	journal, err := kubeadm.Store{Dir: c.state}.Load()
	begun := err == nil && journal != nil && journal.Finished == nil && journal.Touched() // unreadable: it has not begun for us
	return check.Judge(check.Gather(ctx, check.Node{System: c.node, Daemon: c.daemonFacts, Begun: begun}, config))
}

// statusTime bounds the daemon's answer; it has the document at hand.
const statusTime = 2 * time.Second

// daemonFacts asks the daemon for what only it can see.
func (c *cli) daemonFacts(ctx context.Context, joined bool) check.Daemon {
	client := c.client()
	client.Timeout = min(c.timeout, statusTime)
	defer client.Close()
	d, err := client.Status(ctx)
	if err != nil {
		return check.Daemon{Error: err.Error(), Stopped: status.NotRunning(err), Denied: errors.Is(err, status.ErrPermission)}
	}
	out := factsOf(d)
	// Where etcd can be asked the election says who has the VIP.
	if !joined && d.Configured && d.Self.Role == status.RoleWaiting && d.Etcd.State != status.EtcdReady {
		out.Probed = true
		claim, err := client.Claim(ctx, "", true)
		if err != nil {
			out.ProbeError = err.Error()
			return out
		}
		for _, f := range claim.Findings {
			out.Probe = append(out.Probe, kubeadm.Finding(f))
		}
	}
	return out
}

func factsOf(d *status.Document) check.Daemon {
	out := check.Daemon{
		Configured: d.Configured, VIP: d.VIP, Warnings: d.Warnings, Verdict: string(d.Verdict), Reason: d.Reason, Role: string(d.Self.Role), Link: d.Address.Link, LinkReason: d.Address.LinkReason,
		Etcd: check.Etcd{State: string(d.Etcd.State), Alarms: d.Etcd.Alarms},
	}
	if d.Holder != nil && d.IsHeld() && !d.Holder.LastKnown {
		out.Holder = d.Holder.Node
	}
	for _, s := range d.Address.States {
		out.Addresses = append(out.Addresses, check.Address{Address: s.Address, Present: s.Present, Permanent: s.Permanent})
	}
	for _, x := range d.Address.Conflicts {
		out.Conflicts = append(out.Conflicts, check.Conflict{Address: x.Address, MAC: x.MAC, Ago: time.Duration(x.AgoMS) * time.Millisecond, Count: x.Count})
	}
	for _, m := range d.Etcd.List {
		out.Etcd.Members = append(out.Etcd.Members, check.Member(m))
	}
	return out
}

// checkText writes the worst first. What could not be looked at has a line for
// each reason.
func (c *cli) checkText(r check.Report, all bool) string {
	w := checkPage{width: 100, color: c.color}
	if n := c.width(); n > 0 {
		w.width = max(min(n, w.width), 60)
	}
	for _, f := range r.Findings {
		if f.Level == check.LevelError || f.Level == check.LevelWarning {
			w.finding(f)
		}
	}
	w.unseen(r.Findings)
	if all {
		for _, f := range r.Findings {
			if f.Level == check.LevelOK {
				w.labelled("ok", f.Look+": "+f.What)
			}
		}
	}
	return w.String() + checkSum(r, all)
}

// checkSum is the last line: how it stands altogether.
func checkSum(r check.Report, all bool) string {
	parts := []string{counted(r.Errors, "error"), counted(r.Warnings, "warning")}
	fine := counted(r.Fine, "look") + " found nothing wrong"
	if !all {
		fine += " (--all lists them)"
	}
	parts = append(parts, fine)
	if r.Unseen > 0 {
		parts = append(parts, fmt.Sprintf("%d could not be made", r.Unseen))
	}
	return strings.Join(parts, ", ") + "\n"
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type checkPage struct {
	strings.Builder
	width int
	color bool
}

const checkLabel = 10 // "not seen" and its two spaces

func (p *checkPage) finding(f check.Finding) {
	subject := ""
	if f.Subject != "" {
		subject = f.Subject + ": "
	}
	p.labelled(string(f.Level), subject+f.What)
	p.labelled("  why", f.Why)
	p.command("  do", f.Fix)
	p.WriteByte('\n')
}

// labelled writes text beside a label, wrapped.
func (p *checkPage) labelled(label, text string) {
	if text == "" {
		return
	}
	for i, line := range status.Wrap(status.Clean(text), p.width-checkLabel) {
		if i > 0 {
			label = ""
		}
		p.line(label, line)
	}
}

// command writes what may be copied: on one line, whatever its length.
func (p *checkPage) command(label, text string) {
	if text != "" {
		p.line(label, status.Clean(text))
	}
}

func (p *checkPage) line(label, text string) {
	colour := map[string]string{string(check.LevelError): "31", string(check.LevelWarning): "33", string(check.LevelOK): "32"}[label]
	padding := strings.Repeat(" ", checkLabel-len(label))
	if p.color && colour != "" {
		label = "\x1b[" + colour + "m" + label + "\x1b[0m"
	}
	p.WriteString(label + padding + text + "\n")
}

func (p *checkPage) unseen(all []check.Finding) {
	var reasons []string
	looks := make(map[string][]string)
	for _, f := range all {
		if f.Level != check.LevelUnseen {
			continue
		}
		if looks[f.What] == nil {
			reasons = append(reasons, f.What)
		}
		looks[f.What] = append(looks[f.What], f.Look)
	}
	for _, why := range reasons {
		p.labelled("not seen", strings.Join(looks[why], ", ")+": "+why)
	}
	if len(reasons) > 0 {
		p.WriteByte('\n')
	}
}
