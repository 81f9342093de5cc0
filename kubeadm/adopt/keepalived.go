package adopt

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// instance is a vrrp_instance of keepalived.conf(5).
type instance struct {
	name      string
	link      string
	vmac      bool
	addresses []netip.Addr
}

// keepalivedConfig is what matters here of keepalived's configuration.
type keepalivedConfig struct {
	instances []instance
	servers   bool     // it has virtual servers (IPVS)
	unclear   []string // words in place of addresses: variables
}

// maxIncludes bounds files that include each other.
const maxIncludes = 64

// reader reads a configuration with what it includes.
type reader struct {
	system interface{ Path(...string) string }
	files  int
	blocks []string // that are open, by their first words
	last   []string // words of the line before
	out    keepalivedConfig
}

// readKeepalived reads the file at path, as the node has it.
func readKeepalived(system interface{ Path(...string) string }, path string) (keepalivedConfig, error) {
	r := &reader{system: system}
	err := r.file(path)
	return r.out, err
}

func (r *reader) file(path string) error {
	if r.files++; r.files > maxIncludes {
		return fmt.Errorf("read %s: more than %d files are included", path, maxIncludes)
	}
	data, err := os.ReadFile(r.system.Path(path))
	if err != nil {
		return fmt.Errorf("read keepalived's configuration: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if err := r.line(path, line); err != nil {
			return err
		}
	}
	return nil
}

// line takes comments away (# or ! to the end) and sets braces apart.
func (r *reader) line(path, line string) error {
	if i := strings.IndexAny(line, "!#"); i >= 0 {
		line = line[:i]
	}
	line = strings.NewReplacer("{", "\n{\n", "}", "\n}\n").Replace(line)
	for part := range strings.Lines(line) {
		words := strings.Fields(part)
		switch {
		case len(words) == 0:
		case words[0] == "{":
			r.open()
		case words[0] == "}":
			r.blocks = r.blocks[:max(0, len(r.blocks)-1)]
			r.last = nil
		case len(words) == 2 && slices.Contains(includes, words[0]):
			if err := r.include(path, words[1]); err != nil {
				return err
			}
		default:
			r.words(words)
			r.last = words
		}
	}
	return nil
}

// includes are the directives of keepalived.conf(5) that read other files.
var includes = []string{"include", "includer", "includem", "includew", "includeb", "includea"}

func (r *reader) include(from, pattern string) error {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(filepath.Dir(from), pattern)
	}
	paths, err := filepath.Glob(r.system.Path(pattern))
	if err != nil {
		return fmt.Errorf("read %s: include %s: %w", from, pattern, err)
	}
	root := r.system.Path()
	for _, path := range paths {
		if err := r.file("/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/")); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) open() {
	name := ""
	if len(r.last) > 0 {
		name = r.last[0]
	}
	switch {
	case name == "vrrp_instance" && len(r.last) > 1:
		r.out.instances = append(r.out.instances, instance{name: r.last[1]})
	case strings.HasPrefix(name, "virtual_server"):
		r.out.servers = true
	}
	r.blocks = append(r.blocks, name)
	r.last = nil
}

func (r *reader) words(words []string) {
	if len(r.out.instances) == 0 || !slices.Contains(r.blocks, "vrrp_instance") {
		return
	}
	in := &r.out.instances[len(r.out.instances)-1]
	block := r.blocks[len(r.blocks)-1]
	switch {
	case strings.HasPrefix(block, "virtual_ipaddress"):
		bare, _, _ := strings.Cut(words[0], "/")
		a, err := netip.ParseAddr(bare)
		if err != nil {
			r.out.unclear = append(r.out.unclear, words[0])
			return
		}
		in.addresses = append(in.addresses, a)
		if i := slices.Index(words, "dev"); i >= 0 && i+1 < len(words) {
			in.link = words[i+1]
		}
	case block == "vrrp_instance" && words[0] == "interface" && len(words) > 1:
		if in.link == "" {
			in.link = words[1]
		}
	case block == "vrrp_instance" && words[0] == "use_vmac":
		in.vmac = true
	}
}
