package status

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClientClaims(t *testing.T) {
	var asked []string
	answer := Claim{Schema: Schema, State: ClaimHeld, Run: "r1", LeftMS: 60000, Findings: []ClaimFinding{{Subject: "n2", What: "port 6443 is silent"}}}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, r.Method+" "+r.URL.Path+" "+string(body))
		WriteAnswer(w, answer)
	})
	for _, call := range []func() (*Claim, error){
		func() (*Claim, error) { return c.Claim(t.Context(), "r1", false) },
		func() (*Claim, error) { return c.Claim(t.Context(), "", true) },
		func() (*Claim, error) { return c.AskClaim(t.Context()) },
		func() (*Claim, error) { return c.EndClaim(t.Context(), "r1") },
	} {
		got, err := call()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&answer, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	want := []string{`POST /v1/claim {"run":"r1"}`, `POST /v1/claim {"run":"","check":true}`, "GET /v1/claim ", `POST /v1/claim/end {"run":"r1"}`}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestClientClaimOfAnotherSchema(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(Claim{Schema: Schema + 1})
	})
	if _, err := c.AskClaim(t.Context()); !errors.Is(err, ErrSchema) {
		t.Errorf("error %v, want ErrSchema", err)
	}
}
