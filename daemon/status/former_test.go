package status

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClientFormer(t *testing.T) {
	var asked []string
	answer := Former{
		Schema: Schema, Members: []FormerMember{{ID: "a3", Name: "n3", PeerURLs: []string{"https://198.51.100.164:2380"}}},
		Findings: []ClaimFinding{{Subject: "etcd", What: "another member is not well: n2", Fix: "mend it first", Blocks: true}},
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, r.Method+" "+r.URL.Path+" "+string(body))
		WriteAnswer(w, answer)
	})
	for _, call := range []func() (*Former, error){
		func() (*Former, error) { return c.Former(t.Context()) },
		func() (*Former, error) { return c.RemoveFormer(t.Context()) },
	} {
		got, err := call()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&answer, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{"GET /v1/former-member ", "POST /v1/former-member {}"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	answer.Schema++
	if _, err := c.Former(t.Context()); !errors.Is(err, ErrSchema) {
		t.Errorf("error %v, want ErrSchema", err)
	}
}
