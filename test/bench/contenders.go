package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"havip/test/cluster"
	"havip/test/measure"
)

// contender is one way to keep the virtual address.
type contender struct {
	name  string // as it is asked for
	title string // as it is reported
	// prepare adds what runs on the masters.
	prepare func(*cluster.Options) error
	// restart is how long its service manager waits before it restarts one that
	// ended by itself; below 0: it does not.
	restart time.Duration
	// unrest says what this contender does not have in order, given who has the
	// address; "" when all is.
	unrest func(ctx context.Context, c *cluster.Cluster, holder *cluster.Node) string
}

const (
	tuned = "keepalived-tuned" // what ratios are taken against
	none  = "none"             // etcd alone
)

// havipRestart is RestartSec of havipd's unit; plain gets the same.
const havipRestart = 100 * time.Millisecond

var contenders = []contender{
	{"havip-off", "havip", havip(""), havipRestart, havipUnrest},
	{"havip-standard", "havip standard", havip("standard"), havipRestart, havipUnrest},
	{"havip-fast", "havip fast", havip("fast"), havipRestart, havipUnrest},
	{"keepalived-guide", "keepalived as in kubeadm's guide", keepalived(guideConfig), -1, keepalivedUnrest},
	{tuned, "keepalived tuned", keepalived(tunedConfig), -1, keepalivedUnrest},
	{"plain", "plain election, TTL 5 s", plain, havipRestart, plainUnrest},
}

// nobody is what the cluster costs without any of them.
var nobody = contender{none, "etcd alone", func(o *cluster.Options) error { o.NoDaemon = true; return nil }, -1, nil}

// havip is the daemon of this module with one profile of detection; none is
// named for the default.
func havip(detection string) func(*cluster.Options) error {
	return func(o *cluster.Options) error {
		if detection != "" {
			o.ExtraConfig = fmt.Sprintf("[election]\ndetection = %q", detection)
		}
		return nil
	}
}

func havipUnrest(ctx context.Context, c *cluster.Cluster, holder *cluster.Node) string {
	for _, n := range c.Nodes {
		out, _, _, err := n.Ctl(ctx, "status", "-o", "json")
		if err != nil {
			return err.Error()
		}
		if why := measure.Unrest(n.Name, holder.Name, out); why != "" {
			return why
		}
	}
	return ""
}

// plain is the program in plain/.
func plain(o *cluster.Options) error {
	path, err := filepath.Abs(*plainPath)
	if err == nil {
		_, err = exec.LookPath(path)
	}
	if err != nil {
		return fmt.Errorf("find the plain election: run make bench: %w", err)
	}
	o.Instead = func(n *cluster.Node) (cluster.Program, error) {
		return cluster.Program{Name: "plain", Path: path, Args: []string{
			"-node", n.Name, "-vip", cluster.VIP4.String(), "-pki", n.PKI, "-prefix", plainPrefix,
		}}, nil
	}
	return nil
}

const plainPrefix = "/plain/"

// plainUnrest: every node has a key in the election, and no dead one has.
func plainUnrest(ctx context.Context, c *cluster.Cluster, holder *cluster.Node) string {
	got, err := countKeys(ctx, holder, plainPrefix)
	if err != nil {
		return err.Error()
	}
	if got != len(c.Nodes) {
		return fmt.Sprintf("%d candidates", got)
	}
	return ""
}

// countKeys asks the node's etcd member how many keys begin with the prefix.
func countKeys(ctx context.Context, n *cluster.Node, prefix string) (int, error) {
	end := prefix[:len(prefix)-1] + string(prefix[len(prefix)-1]+1)
	body := fmt.Sprintf(`{"key":%q,"range_end":%q,"count_only":true}`, base64.StdEncoding.EncodeToString([]byte(prefix)), base64.StdEncoding.EncodeToString([]byte(end)))
	client, err := n.EtcdClient()
	if err != nil {
		return 0, err
	}
	defer client.CloseIdleConnections()
	var answer struct {
		Count int `json:"count,string"`
	}
	if err := post(ctx, client, "range", body, &answer); err != nil {
		return 0, fmt.Errorf("count keys: %w", err)
	}
	return answer.Count, nil
}

// post asks the gateway of a node's etcd member.
func post(ctx context.Context, client *http.Client, call, body string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://127.0.0.1:2379/v3/kv/"+call, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
