package configs

import "go.yaml.in/yaml/v3"

// The manifest is walked as nodes, not decoded into a struct: the YAML library
// compares each key of a struct's mapping with every other one, which took
// minutes on 240 KiB of one key repeated.

// containerNodes returns the containers of a pod manifest.
func containerNodes(doc *yaml.Node) []*yaml.Node {
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil
	}
	return items(child(child(doc.Content[0], "spec"), "containers"))
}

func readContainer(n *yaml.Node) container {
	c := container{
		command: append(texts(child(n, "command")), texts(child(n, "args"))...),
		environ: make(map[string]string),
	}
	for _, e := range items(child(n, "env")) {
		c.environ[text(child(e, "name"))] = text(child(e, "value"))
	}
	return c
}

// child returns the value of a mapping's key, nil if there is none. It takes nil
// and nodes that are no mapping.
func child(n *yaml.Node, key string) *yaml.Node {
	n = target(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// items returns the nodes of a sequence.
func items(n *yaml.Node) []*yaml.Node {
	n = target(n)
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// text returns a scalar as it is written, whatever type YAML gives it.
func text(n *yaml.Node) string {
	n = target(n)
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

func texts(n *yaml.Node) []string {
	var all []string
	for _, item := range items(n) {
		all = append(all, text(item))
	}
	return all
}

// target follows an alias. YAML has no aliases of aliases.
func target(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
