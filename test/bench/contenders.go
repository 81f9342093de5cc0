package main

import (
	"context"
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
	unrest unrest
	etcd   bool // it decides in etcd
	// alone: it promises that no two nodes ever answer for the address.
	alone bool
}

type unrest func(ctx context.Context, c *cluster.Cluster, holder *cluster.Node) string

const (
	tuned = "keepalived-tuned" // what ratios are taken against
	none  = "none"             // etcd alone
)

// havipRestart is RestartSec of havipd's unit; plain gets the same.
const havipRestart = 20 * time.Millisecond

var contenders = []contender{
	{name: "havip-off", title: "havip off", prepare: havip("off"), restart: havipRestart, unrest: havipUnrest("plain"), etcd: true, alone: true},
	{name: "havip-standard", title: "havip standard", prepare: havip("standard"), restart: havipRestart, unrest: havipUnrest("heartbeat"), etcd: true, alone: true},
	{name: "havip-fast", title: "havip fast", prepare: havip("fast"), restart: havipRestart, unrest: havipUnrest("heartbeat"), etcd: true, alone: true},
	{name: "keepalived-guide", title: "keepalived as in kubeadm's guide", prepare: keepalived(guideConfig), restart: -1, unrest: keepalivedUnrest},
	{name: tuned, title: "keepalived tuned", prepare: keepalived(tunedConfig), restart: -1, unrest: keepalivedUnrest},
	{name: "plain", title: "plain election, TTL 5 s", prepare: plain, restart: havipRestart, unrest: plainUnrest, etcd: true},
}

// nobody is what the cluster costs without any of them.
var nobody = contender{name: none, title: "etcd alone", prepare: func(o *cluster.Options) error { o.NoDaemon = true; return nil }}

// havip is the daemon of this module with one way of detection.
func havip(detection string) func(*cluster.Options) error {
	return func(o *cluster.Options) error {
		o.ExtraConfig = fmt.Sprintf("[election]\ndetection = %q", detection)
		return nil
	}
}

// havipUnrest: every daemon sees all masters well, and the record is in the mode
// that the detection is for.
func havipUnrest(mode string) unrest {
	var young youth
	return func(ctx context.Context, c *cluster.Cluster, holder *cluster.Node) string {
		for _, n := range c.Nodes {
			out, _, _, err := n.Ctl(ctx, "status", "-o", "json")
			if err != nil {
				return err.Error()
			}
			if why := measure.Unrest(n.Name, holder.Name, out); why != "" {
				return why
			}
		}
		keys, err := readKeys(ctx, holder, "/havip/v1/")
		if err != nil {
			return err.Error()
		}
		return young.wrongMode(keys, mode, time.Now())
	}
}

// youth is since when the record's epoch is there: in its first seconds its holder
// is replaced no sooner than in plain mode.
type youth struct {
	epoch string
	since time.Time
}

func (y *youth) wrongMode(keys map[string]string, want string, now time.Time) string {
	for key, value := range keys {
		if !strings.HasSuffix(key, "/record") {
			continue
		}
		var record struct {
			Mode  string `json:"mode"`
			Epoch struct {
				ID           string `json:"id"`
				FirstPromise int64  `json:"first_promise_ms"`
			} `json:"epoch"`
		}
		if err := json.Unmarshal([]byte(value), &record); err != nil {
			return fmt.Sprintf("read record: %v", err)
		}
		if record.Mode != want {
			return fmt.Sprintf("the record is in mode %q, not %q", record.Mode, want)
		}
		if record.Epoch.ID != y.epoch {
			y.epoch, y.since = record.Epoch.ID, now
		}
		if first := time.Duration(record.Epoch.FirstPromise) * time.Millisecond; now.Sub(y.since) < first {
			return fmt.Sprintf("the epoch is younger than %v", first)
		}
		return ""
	}
	return "no record"
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
	keys, err := readKeys(ctx, holder, plainPrefix)
	if err != nil {
		return err.Error()
	}
	if len(keys) != len(c.Nodes) {
		return fmt.Sprintf("%d candidates", len(keys))
	}
	return ""
}

// readKeys asks the node's etcd member for what is below the prefix.
func readKeys(ctx context.Context, n *cluster.Node, prefix string) (map[string]string, error) {
	client, err := n.EtcdClient()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	end := prefix[:len(prefix)-1] + string(prefix[len(prefix)-1]+1)
	body, err := json.Marshal(map[string][]byte{"key": []byte(prefix), "range_end": []byte(end)})
	if err != nil {
		return nil, err
	}
	// The gateway's base64 is what []byte is in JSON.
	var answer struct {
		KVs []struct{ Key, Value []byte }
	}
	if err := post(ctx, client, "range", string(body), &answer); err != nil {
		return nil, fmt.Errorf("read %s: %w", prefix, err)
	}
	keys := map[string]string{}
	for _, kv := range answer.KVs {
		keys[string(kv.Key)] = string(kv.Value)
	}
	return keys, nil
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
