package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// secretName is how a key or a flag ends whose value nobody else is to see.
var secretName = regexp.MustCompile(`(?i)` + secretWord + `s?$`)

// pod returns a static pod's manifest without the values of variables and headers,
// of what is named like a secret, and without comments. One that cannot be read is
// left out as a whole.
func pod(data []byte) ([]byte, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("it cannot be read as YAML, so secrets in it cannot be told") // the error quotes the file
		}
		if err := hide(&doc); err != nil {
			return nil, err
		}
		if err := enc.Encode(&doc); err != nil {
			return nil, fmt.Errorf("write it again: %w", err)
		}
	}
	return out.Bytes(), enc.Close()
}

func hide(n *yaml.Node) error {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	switch n.Kind {
	case yaml.AliasNode:
		return errors.New("it uses aliases, so what stands where cannot be told")
	case yaml.MappingNode:
		return hideValues(n.Content)
	case yaml.SequenceNode:
		hideArguments(n.Content)
	}
	for _, child := range n.Content {
		if err := hide(child); err != nil {
			return err
		}
	}
	return nil
}

func hideValues(pairs []*yaml.Node) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		key, value := pairs[i], pairs[i+1]
		switch {
		case key.Value == "value", key.Value == "data", key.Value == "stringData", secretName.MatchString(key.Value),
			strings.HasSuffix(key.Value, "last-applied-configuration"):
			*value = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: redacted}
		}
		for _, n := range []*yaml.Node{key, value} {
			if err := hide(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// hideArguments looks at a command's arguments: --token=x, and --token, x.
func hideArguments(list []*yaml.Node) {
	for i, n := range list {
		name, _, set := strings.Cut(n.Value, "=")
		switch {
		case n.Kind != yaml.ScalarNode || !strings.HasPrefix(n.Value, "-") || !secretName.MatchString(name):
		case set:
			n.Value, n.Style = name+"="+redacted, 0
		case i+1 < len(list) && list[i+1].Kind == yaml.ScalarNode && !strings.HasPrefix(list[i+1].Value, "-"):
			list[i+1].Value, list[i+1].Style = redacted, 0
		}
	}
}
