package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"havip/daemon/status"
	"havip/kubeadm"
)

// cli is the command line and what it writes to.
type cli struct {
	in       io.Reader
	out, err io.Writer
	asking   bool       // a person can be asked: stdin is a terminal
	color    bool       // colours are used on stdout
	width    func() int // columns of stdout, 0: not known
	face     face       // what stdout is to a page that is drawn again and again

	errTerminal bool // stderr is a terminal

	node  kubeadm.System // what kubeadm is to be run on
	state string         // directory of init's and join's journal

	socket  string
	timeout time.Duration
}

// client asks the daemon that the flags name.
func (c *cli) client() *status.Client {
	client := status.NewClient(c.socket)
	client.Timeout = c.timeout
	return client
}

// run carries one command line out and returns its exit code.
func (c *cli) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var f *failure
	var code exitCode
	if err != nil && !errors.As(err, &f) && !errors.As(err, &code) && !errors.Is(err, context.Canceled) && !ran(cmd) {
		err = usage(cmd, err)
	}
	return report(c.err, err)
}

// usage turns what cobra says of a wrong command line into an error line and a
// hint; it puts its suggestions below the first line.
func usage(cmd *cobra.Command, err error) error {
	text, more, _ := strings.Cut(err.Error(), "\n")
	hints := []string{}
	if _, guess, ok := strings.Cut(more, "Did you mean this?"); ok {
		hints = append(hints, "did you mean: "+cmd.CommandPath()+" "+strings.Join(strings.Fields(guess), ", "))
	}
	return &failure{exitUsage, errors.New(text), append(hints, "see "+cmd.CommandPath()+" --help")}
}

// ranKey marks a command whose arguments were right, so that what it returns
// is no usage error.
const ranKey = "ran"

func ran(cmd *cobra.Command) bool { return cmd.Annotations[ranKey] != "" }

// command makes a command whose arguments cobra checks before do is called.
func command(use, short, long string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Long: long, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		cmd.Annotations = map[string]string{ranKey: "yes"}
		return do(cmd, args)
	}}
}

// noArgs refuses arguments for what they are: cobra takes them for commands.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0])
}

// group makes a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		if guesses := cmd.SuggestionsFor(args[0]); len(guesses) > 0 {
			text += "\n\nDid you mean this?\n" + strings.Join(guesses, "\n")
		}
		return errors.New(text)
	}}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(commands...)
	return cmd
}

func (c *cli) root() *cobra.Command {
	colours := automatic
	root := &cobra.Command{
		Use:   "havipctl",
		Short: "Ask and steer the daemon that holds the control plane's virtual IP",
		Long: `havipctl asks the havip daemon of this node who holds the control plane's
virtual IP (VIP), moves it, makes and extends a cluster by kubeadm, and writes and
checks the config file.

Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, 3 the
daemon does not run or hangs, 5 permission denied or its answer not understood.
"havipctl status" adds: 1 held but degraded, 4 nobody is known to hold the VIP.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if c.timeout <= 0 {
				return usageError("give a time such as 10s", "--timeout must be above 0")
			}
			c.color = colours.on(c.color)
			return nil
		},
	}
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetVersionTemplate("havipctl {{.Version}}\n")
	root.PersistentFlags().StringVar(&c.socket, "socket", status.SocketPath, "socket of the daemon")
	root.PersistentFlags().DurationVar(&c.timeout, "timeout", status.DefaultTimeout, "how long the daemon may take to answer")
	root.PersistentFlags().Var(&colours, "color", "whether to use colours; auto: on a terminal, unless NO_COLOR is set or TERM is dumb")
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{string(automatic), string(always), string(never)}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(c.statusCommand(), c.historyCommand(), c.handoverCommand(), c.drainCommand(), c.undrainCommand(), c.releaseCommand(), c.claimCommand(), c.checkCommand(),
		c.initCommand(), c.joinCommand(), c.adoptCommand(), c.bootstrapCommand(), c.tokenCommand(), c.resetCommand(), c.configCommand(), c.keyCommand(), c.debugCommand(), c.versionCommand())
	return root
}

// format is the flag -o.
type format string

const (
	text     format = "text"
	jsonText format = "json"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "text|json" }
func (f *format) Set(s string) error {
	if s != string(text) && s != string(jsonText) {
		return fmt.Errorf("must be text or json")
	}
	*f = format(s)
	return nil
}

// colouring is the flag --color.
type colouring string

const (
	automatic colouring = "auto"
	always    colouring = "always"
	never     colouring = "never"
)

func (w *colouring) String() string { return string(*w) }
func (w *colouring) Type() string   { return "auto|always|never" }
func (w *colouring) Set(s string) error {
	switch colouring(s) {
	case automatic, always, never:
		*w = colouring(s)
		return nil
	}
	return fmt.Errorf("must be auto, always or never")
}

// on says whether there are colours, found being what suits stdout.
func (w colouring) on(found bool) bool { return w == always || w == automatic && found }

// formatFlag adds -o to a command.
func formatFlag(cmd *cobra.Command) *format {
	f := text
	cmd.Flags().VarP(&f, "output", "o", "how to print")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return &f
}

// printJSON writes v as indented JSON.
func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func (c *cli) print(s string) error {
	if _, err := io.WriteString(c.out, s); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
