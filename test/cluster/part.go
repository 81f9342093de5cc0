package cluster

import (
	"fmt"
	"os"
)

// partVariable names, in the environment, the part that a process started by
// the cluster plays instead of its own main.
const partVariable = "HAVIP_CLUSTER_PART"

// parts are the programs that run in processes of their own. They are in the
// same binary, so that a test needs nothing built beforehand.
var parts = map[string]func() error{
	"sampler":   samplerMain,
	"witness":   witnessMain,
	"apiserver": apiserverMain,
}

// RunPart must be the first call of every main and TestMain of a program that
// starts a cluster. In a process that the cluster started it plays that part
// and never returns.
func RunPart() {
	name := os.Getenv(partVariable)
	if name == "" {
		return
	}
	part, ok := parts[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "unknown part %q in %s\n", name, partVariable)
		os.Exit(2)
	}
	if err := part(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// part describes the process that plays the named part.
func part(name string, args ...string) program {
	return program{
		name: name,
		path: "/proc/self/exe",
		args: args,
		env:  []string{partVariable + "=" + name},
	}
}
