package faults

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"havip/election"
	"havip/test/cluster"
)

// entry is the record as it was from one revision of etcd on.
type entry struct {
	election.Record
	revision int64
}

// kv is a key's value as etcd's gateway writes it.
type kv struct {
	Value    []byte
	Revision int64 `json:"mod_revision,string"`
}

func (s *scene) entry(kv kv) entry {
	s.Helper()
	rec, err := election.DecodeRecord(string(kv.Value))
	s.try(err)
	return entry{rec, kv.Revision}
}

// record is the record that a node's own member of etcd has. It is not asked
// whether there is a newer one, which takes a quorum.
func (s *scene) record(n *cluster.Node) entry {
	s.Helper()
	var answer struct{ KVs []kv }
	s.askEtcd(n, "kv/range", map[string]any{"key": []byte(recordKey), "serializable": true}, func(d *json.Decoder) {
		s.try(d.Decode(&answer))
	})
	if len(answer.KVs) != 1 {
		s.Fatalf("%s has %d records", n.Name, len(answer.KVs))
	}
	return s.entry(answer.KVs[0])
}

// records are the one of that revision and all since, as a node's own member has
// them.
func (s *scene) records(n *cluster.Node, since int64) (all []entry) {
	s.Helper()
	last := s.record(n).revision
	create := map[string]any{"key": []byte(recordKey), "start_revision": since}
	s.askEtcd(n, "watch", map[string]any{"create_request": create}, func(d *json.Decoder) {
		for len(all) == 0 || all[len(all)-1].revision < last {
			var answer struct {
				Result struct{ Events []struct{ KV kv } }
			}
			s.try(d.Decode(&answer))
			for _, e := range answer.Result.Events {
				all = append(all, s.entry(e.KV))
			}
		}
	})
	return all
}

// askEtcd asks the gateway of a node's member. Its base64 is what []byte is in JSON.
func (s *scene) askEtcd(n *cluster.Node, call string, question any, read func(*json.Decoder)) {
	s.Helper()
	client, err := n.EtcdClient()
	s.try(err)
	defer client.CloseIdleConnections()
	client.Timeout = 10 * time.Second
	body, err := json.Marshal(question)
	s.try(err)
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, "https://127.0.0.1:2379/v3/"+call, strings.NewReader(string(body)))
	s.try(err)
	resp, err := client.Do(req)
	s.try(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.Fatalf("ask %s's etcd for %s: %s", n.Name, call, resp.Status)
	}
	read(json.NewDecoder(resp.Body))
}
