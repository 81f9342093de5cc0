package kubeadm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// maxOverlay bounds the overlay file; all that kubeadm has to say is far less.
const maxOverlay = 256 << 10

// ReadOverlay returns the content of kubeadm.overlay, nothing if there is none.
func ReadOverlay(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read kubeadm.overlay: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxOverlay+1))
	if err != nil {
		return nil, fmt.Errorf("read kubeadm.overlay: %w", err)
	}
	if len(data) > maxOverlay {
		return nil, fmt.Errorf("read kubeadm.overlay: %s has more than %d bytes", path, maxOverlay)
	}
	return data, nil
}

// overlay merges the documents of a YAML stream into those of the same apiVersion
// and kind, and adds those of another kind, except of the two kubeadm kinds that
// belong to the other command: one overlay serves init and join.
func overlay(docs []*yaml.Node, data []byte) ([]*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		body := doc.Content[0]
		if body.Kind == yaml.ScalarNode && body.Tag == "!!null" {
			continue // an empty document
		}
		if hasAlias(body) {
			return nil, fmt.Errorf("line %d: anchors and aliases are not supported", body.Line)
		}
		docs, err = overlayOne(docs, body)
		if err != nil {
			return nil, err
		}
	}
}

func overlayOne(docs []*yaml.Node, body *yaml.Node) ([]*yaml.Node, error) {
	version, kind := scalar(body, "apiVersion"), scalar(body, "kind")
	if version == "" || kind == "" {
		return nil, fmt.Errorf("line %d: each document needs apiVersion and kind", body.Line)
	}
	for _, doc := range docs {
		if scalar(doc, "kind") != kind {
			continue
		}
		if scalar(doc, "apiVersion") != version {
			return nil, fmt.Errorf("line %d: %s is of %s, must be of %s", body.Line, kind, version, scalar(doc, "apiVersion"))
		}
		merge(doc, body)
		return docs, nil
	}
	if otherCommand(docs, kind) {
		return docs, nil
	}
	return append(docs, body), nil
}

// otherCommand reports whether kubeadm would refuse the kind beside what is
// there: join reads no cluster configuration, init no join configuration.
func otherCommand(docs []*yaml.Node, kind string) bool {
	joins := scalar(docs[0], "kind") == "JoinConfiguration"
	switch kind {
	case "JoinConfiguration":
		return !joins
	case "InitConfiguration", "ClusterConfiguration", "KubeletConfiguration", "KubeProxyConfiguration":
		return joins
	}
	return false
}

// merge writes the keys of one mapping over another; mappings are merged, all
// else is replaced.
func merge(into, from *yaml.Node) {
	for i := 0; i+1 < len(from.Content); i += 2 {
		key, value := from.Content[i], from.Content[i+1]
		old := child(into, key.Value)
		switch {
		case old == nil:
			into.Content = append(into.Content, key, value)
		case old.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
			merge(old, value)
		default:
			*old = *value
		}
	}
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func scalar(n *yaml.Node, key string) string {
	c := child(n, key)
	if c == nil || c.Kind != yaml.ScalarNode {
		return ""
	}
	return c.Value
}

func hasAlias(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return true
	}
	for _, c := range n.Content {
		if hasAlias(c) {
			return true
		}
	}
	return false
}
