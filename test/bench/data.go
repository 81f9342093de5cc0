package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Trial is one fault, once. Times are in milliseconds.
type Trial struct {
	Masters   int     `json:"masters"`
	Contender string  `json:"contender"`
	Fault     string  `json:"fault"`
	Outage    float64 `json:"outage"`         // the longest that clients got no answer while it was broken
	Open      bool    `json:"open,omitempty"` // and no answer came before it was healed
	Heal      float64 `json:"heal"`           // the longest after it was healed, until all was calm
	Nobody    float64 `json:"nobody"`         // the longest that no node had the address while it was broken
	Double    float64 `json:"double"`         // how long more than one node had it, healing included
	Wire      float64 `json:"wire"`           // how long more than one node answered for it on the wire
	Moves     int     `json:"moves"`
	Noise     float64 `json:"noise"`          // the longest between two answers in the quiet second before
	Commit    float64 `json:"commit"`         // what a write to etcd took before, the median of some
	Etcd      float64 `json:"etcd,omitempty"` // until a write sent after the fault was confirmed, where its leader was lost with the holder
	Late      float64 `json:"late"`           // the most that an observer was late
	Load      string  `json:"load"`
	System    string  `json:"system"`
}

// Idle is what a contender costs while nothing happens.
type Idle struct {
	Masters   int     `json:"masters"`
	Contender string  `json:"contender"`
	Holder    float64 `json:"holder"`   // percent of a core, the daemon on the holder
	Standby   float64 `json:"standby"`  // the same, the busiest of the others
	Memory    float64 `json:"memory"`   // MiB resident, the largest
	Packets   float64 `json:"packets"`  // a second on a node's link, both ways, with etcd's own
	Requests  float64 `json:"requests"` // to etcd, a second, all members
	Writes    float64 `json:"writes"`   // in etcd, a second
	Load      string  `json:"load"`
	System    string  `json:"system"`
}

// Data is all that was measured.
type Data struct {
	Trials []Trial
	Idles  []Idle
}

// line is one line of the file.
type line struct {
	Trial *Trial `json:"trial,omitempty"`
	Idle  *Idle  `json:"idle,omitempty"`
}

// Merge returns the older data with what the newer has put in its place: all
// trials of the same fault, contender and number of masters, and likewise idle.
func Merge(older, newer Data) Data {
	m := Data{Trials: slices.Clone(newer.Trials), Idles: slices.Clone(newer.Idles)}
	for _, t := range older.Trials {
		if !slices.ContainsFunc(newer.Trials, func(n Trial) bool {
			return n.Masters == t.Masters && n.Contender == t.Contender && n.Fault == t.Fault
		}) {
			m.Trials = append(m.Trials, t)
		}
	}
	for _, i := range older.Idles {
		if !slices.ContainsFunc(newer.Idles, func(n Idle) bool { return n.Masters == i.Masters && n.Contender == i.Contender }) {
			m.Idles = append(m.Idles, i)
		}
	}
	return m
}

// Encode writes one line per trial.
func (d Data) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for i := range d.Trials {
		if err := e.Encode(line{Trial: &d.Trials[i]}); err != nil {
			return nil, fmt.Errorf("write trial: %w", err)
		}
	}
	for i := range d.Idles {
		if err := e.Encode(line{Idle: &d.Idles[i]}); err != nil {
			return nil, fmt.Errorf("write idle: %w", err)
		}
	}
	return b.Bytes(), nil
}

// Decode reads what Encode wrote.
func Decode(text []byte) (d Data, err error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		var l line
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&l); err != nil {
			return d, fmt.Errorf("read line %d: %w", n, err)
		}
		switch {
		case l.Trial != nil:
			d.Trials = append(d.Trials, *l.Trial)
		case l.Idle != nil:
			d.Idles = append(d.Idles, *l.Idle)
		default:
			return d, fmt.Errorf("read line %d: neither a trial nor idle", n)
		}
	}
	return d, lines.Err()
}

// load reads the data of before; there may be none.
func load(path string) (Data, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Data{}, nil
	}
	if err != nil {
		return Data{}, err
	}
	d, err := Decode(text)
	if err != nil {
		return d, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}
