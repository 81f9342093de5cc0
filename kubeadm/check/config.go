package check

var configLooks = []Look{
	{
		Name: "config", When: Always, Free: true,
		About: "the config file can be used",
		Why:   "havipd holds nothing without it, and refuses a file that has a problem",
		Fix:   "edit it as said; havipctl config check tells the same",
		judge: judgeConfig,
	}, {
		Name: "self", When: Always,
		About: "this node is one of [masters]",
		Why:   "a node finds its own name, address and priority there, by an address that it has; the file is the same on every master",
		Fix:   "correct the node's address, or its line in [masters], on every master",
		judge: judgeSelf,
	},
}

func judgeConfig(f *Facts, r *reporter) {
	for _, p := range f.Config.Problems {
		r.error("", p, "")
	}
	for _, w := range f.Config.Warnings {
		r.warn("", w, "")
	}
}

func judgeSelf(f *Facts, r *reporter) {
	if f.Config.SelfSays != "" {
		r.error("", f.Config.SelfSays, "")
	}
}
