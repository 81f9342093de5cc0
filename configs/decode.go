package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile bounds the file. A real one has some hundred bytes; the reference,
// comments and all, has less than a tenth of this.
const maxFile = 64 << 10

// maxNesting bounds the dots and braces of a file. The TOML library keeps the
// whole path of every level: 64 KiB of dotted keys or inline tables, one inside
// the other, took it 3 minutes and 40 GB of allocations; 1000 levels take 0.1 s.
const maxNesting = 1000

// Load reads and decodes a file. The error is [Problems], or one of the file
// system, such as fs.ErrNotExist.
func Load(path string) (*Config, error) {
	data, err := readFile(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return Decode(path, data)
}

// readFile reads a file up to one byte more than limit, so that what is too
// long can be told.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// Decode reads a file's content; name is what problems call it. The error is
// always [Problems], with everything that is wrong.
func Decode(name string, data []byte) (*Config, error) {
	d := &decoder{file: name, data: data, config: Default(), nodes: make(map[string]node)}
	if problem, ok := oversize(name, data); ok {
		return nil, Problems{problem}
	}
	var top map[string]toml.Primitive
	md, err := toml.Decode(string(data), &top)
	if err != nil {
		return nil, Problems{syntaxProblem(name, data, err)}
	}
	d.meta = &md
	d.readTop(top)
	d.validate()
	if len(d.problems) > 0 {
		return nil, d.told()
	}
	d.config.places = d.electionPlaces()
	return d.config, nil
}

// A decoder reads one file into a Config and goes on after each problem.
type decoder struct {
	file     string
	data     []byte
	meta     *toml.MetaData
	nodes    map[string]node // all that was read, by dotted path
	problems Problems
	untold   int // problems beyond maxProblems
	config   *Config
}

// A node is a value in the file that has not been given a type yet.
type node struct {
	primitive toml.Primitive
	value     any
}

// report notes a problem of the key with this dotted path.
func (d *decoder) report(path, what, fix string) {
	if len(d.problems) == maxProblems {
		d.untold++ // looking up a place costs a pass over the file
		return
	}
	d.problems = append(d.problems, Problem{Place: d.place(path), Key: path, What: what, Fix: fix})
}

func (d *decoder) warn(path, what, fix string) {
	d.config.Warnings = append(d.config.Warnings, Warning{Place: d.place(path), Key: path, What: what, Fix: fix})
}

func (d *decoder) reporter(path string) reporter {
	return func(what, fix string) { d.report(path, what, fix) }
}

// told returns the problems in the order of the file.
func (d *decoder) told() Problems {
	d.problems.sort()
	if d.untold > 0 {
		d.problems = append(d.problems, Problem{
			Place: Place{File: d.file, Line: 1}, What: fmt.Sprintf("there are %d more problems", d.untold),
			Fix: "see whether this is the right file",
		})
	}
	return d.problems
}

func (d *decoder) readTop(top map[string]toml.Primitive) {
	for _, s := range schema {
		if parent, _, nested := strings.Cut(s.name, "."); nested {
			d.readSection(s, d.children(d.nodes[parent]))
		} else {
			d.readSection(s, top)
		}
	}
	d.refuseUnknown("", top)
}

// readSection reads one section out of the table that contains it.
func (d *decoder) readSection(s section, within map[string]toml.Primitive) {
	primitive, ok := within[s.name[strings.LastIndex(s.name, ".")+1:]]
	if !ok {
		return
	}
	n := d.add(s.name, primitive)
	if _, ok := n.value.(map[string]any); !ok {
		d.report(s.name, "is "+typeName(n.value)+", must be a section", fmt.Sprintf("write [%s] on a line of its own and its keys below", s.name))
		return
	}
	inside := d.children(n)
	if s.entries != nil {
		d.readEntries(s, inside)
		return
	}
	for _, k := range s.keys {
		if primitive, ok := inside[k.name]; ok {
			path := s.name + "." + k.name
			k.read(d.config, d.add(path, primitive).value, d.reporter(path))
		}
	}
	d.refuseUnknown(s.name, inside)
}

func (d *decoder) readEntries(s section, inside map[string]toml.Primitive) {
	for _, name := range slices.Sorted(maps.Keys(inside)) {
		path := entryPath(s.name, name)
		s.entries.read(d.config, name, d.add(path, inside[name]).value, d.reporter(path))
	}
}

// refuseUnknown reports the keys of a table that no row of the schema has.
func (d *decoder) refuseUnknown(section string, inside map[string]toml.Primitive) {
	for _, name := range slices.Sorted(maps.Keys(inside)) {
		path := entryPath(section, name) // quoted where needed: "vip.address" is not vip.address
		if known(path) {
			continue
		}
		n := d.add(path, inside[name])
		d.report(path, unknownWhat(n.value), unknownFix(section, name))
	}
}

// entryPath writes a dotted path whose last part the operator chose.
func entryPath(section, name string) string {
	if section == "" {
		return toml.Key{name}.String()
	}
	return section + "." + toml.Key{name}.String()
}

// add notes a value under its path.
func (d *decoder) add(path string, p toml.Primitive) node {
	n := d.newNode(p)
	d.nodes[path] = n
	return n
}

func (d *decoder) newNode(p toml.Primitive) node {
	n := node{primitive: p}
	_ = d.meta.PrimitiveDecode(p, &n.value) // an empty interface takes any value as it is
	return n
}

// children returns what is in a table, nothing if the node is none.
func (d *decoder) children(n node) map[string]toml.Primitive {
	var inside map[string]toml.Primitive
	if _, ok := n.value.(map[string]any); ok {
		_ = d.meta.PrimitiveDecode(n.primitive, &inside) // a table fits a map
	}
	return inside
}

// set reports whether the file has the key, right or wrong.
func (d *decoder) set(path string) bool {
	_, ok := d.nodes[path]
	return ok
}

func (d *decoder) electionPlaces() map[string]Place {
	places := map[string]Place{"election": d.place("election")}
	for _, name := range []string{"hold", "takeover", "renewal", "retry"} {
		places["election."+name] = d.place("election." + name)
	}
	return places
}

// errPlace makes the TOML library tell the position of a value: it has no other
// way than to fail there.
var errPlace = errors.New("tell the place")

type placeProbe struct{}

func (*placeProbe) UnmarshalTOML(any) error { return errPlace }

// place returns where a key stands, or the nearest that contains it.
func (d *decoder) place(path string) Place {
	for path != "" {
		if n, ok := d.nodes[path]; ok {
			if at := d.nodePlace(n, 8); at.Line > 0 {
				return at
			}
		}
		path = path[:max(0, strings.LastIndex(path, "."))]
	}
	return Place{File: d.file}
}

// nodePlace returns where a value stands. A table that no header opens, as that
// of a dotted key, has no place; its first key is looked for, down to depth.
func (d *decoder) nodePlace(n node, depth int) Place {
	at := Place{File: d.file}
	var pe toml.ParseError
	if err := d.meta.PrimitiveDecode(n.primitive, new(placeProbe)); errors.As(err, &pe) {
		at.Line = pe.Position.Line
	}
	if at.Line > 0 && !isTable(n.value) { // of a table the library tells the end of its header
		at.Column = column(d.data, pe.Position.Start)
	}
	inside := d.children(n)
	if at.Line > 0 || depth == 0 || len(inside) == 0 {
		return at
	}
	first := inside[slices.Min(slices.Collect(maps.Keys(inside)))]
	return d.nodePlace(d.newNode(first), depth-1)
}

// column returns the column of a value whose content begins at the offset. The
// library tells where text begins behind its quote and a list behind its bracket.
func column(data []byte, start int) int {
	start = min(start, len(data))
	if start > 0 && bytes.IndexByte([]byte("\"'["), data[start-1]) >= 0 {
		for quote := data[start-1]; start > 0 && data[start-1] == quote; {
			start--
		}
	}
	return start - bytes.LastIndexByte(data[:start], '\n')
}
