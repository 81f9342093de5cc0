package cluster

import (
	"fmt"
	"maps"
	"os"
)

// PartVariable names, in the environment, the part that a process started by
// the cluster plays instead of its own main.
const PartVariable = "HAVIP_CLUSTER_PART"

// parts are the programs that run in processes of their own. They are in the
// same binary, so that a test needs nothing built beforehand.
var parts = map[string]func() error{
	"sampler":   samplerMain,
	"witness":   witnessMain,
	"asker":     askerMain,
	"apiserver": apiserverMain,
}

// RunPart must be the first call of every main and TestMain of a program that
// starts a cluster. In a process that the cluster started it plays that part
// and never returns. A harness built on this one has parts of its own.
func RunPart(more ...map[string]func() error) {
	name := os.Getenv(PartVariable)
	if name == "" {
		return
	}
	for _, m := range more {
		maps.Copy(parts, m)
	}
	part, ok := parts[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "unknown part %q in %s\n", name, PartVariable)
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
		env:  []string{PartVariable + "=" + name},
	}
}
