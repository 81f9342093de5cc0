package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Page is one file of the documentation.
type Page struct {
	Path  string // below the root of the module
	Lines []string
}

// Pages reads everything that an operator reads, README.md first.
func Pages(root string) ([]Page, error) {
	paths, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		return nil, fmt.Errorf("look for pages: %w", err)
	}
	slices.Sort(paths)
	var pages []Page
	for _, path := range append([]string{filepath.Join(root, "README.md")}, paths...) {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read page: %w", err)
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return nil, fmt.Errorf("name page: %w", err)
		}
		pages = append(pages, Page{Path: filepath.ToSlash(below), Lines: strings.Split(string(b), "\n")})
	}
	return pages, nil
}

// Chunk is lines of a code block without an empty one among them.
type Chunk struct {
	Page  string
	Line  int // of the first line, from 1
	Lines []string
}

// place is for messages.
func (c Chunk) place() string { return fmt.Sprintf("%s:%d", c.Page, c.Line) }

// foreign are fences that hold no command.
var foreign = []string{"toml", "yaml", "json", "text"}

// Chunks returns the code of a page in pieces: indented by four spaces or fenced.
// The status texts, which tests copy from golden files, are left out.
func (p Page) Chunks() []Chunk {
	var all []Chunk
	var open *Chunk
	end := func() {
		if open != nil {
			all = append(all, *open)
			open = nil
		}
	}
	fence, copied := "", false
	for i, line := range p.Lines {
		lang, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && fence == "":
			end()
			fence = "```" + lang
			continue
		case isFence:
			end()
			fence = ""
			continue
		case strings.HasPrefix(line, "<!-- status: "):
			copied = true
		case line == "<!-- end of status -->":
			copied = false
		}
		code, indented := strings.CutPrefix(line, "    ")
		if fence != "" {
			code, indented = line, !slices.Contains(foreign, strings.TrimPrefix(fence, "```"))
		}
		if copied || !indented || strings.TrimSpace(code) == "" {
			end()
			continue
		}
		if open == nil {
			open = &Chunk{Page: p.Path, Line: i + 1}
		}
		open.Lines = append(open.Lines, code)
	}
	end()
	return all
}

// Inline returns the code within sentences and tables that begins with the name
// of a program.
func (p Page) Inline(program string) []Line {
	var all []Line
	fenced, copied := false, false
	for i, line := range p.Lines {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case strings.HasPrefix(line, "<!-- status: "):
			copied = true
		case line == "<!-- end of status -->":
			copied = false
		}
		if fenced || copied || strings.HasPrefix(line, "    ") {
			continue
		}
		for _, m := range span.FindAllStringSubmatch(line, -1) {
			text := strings.TrimPrefix(m[1], "sudo ")
			if strings.HasPrefix(text, program+" ") {
				all = append(all, Line{Page: p.Path, Number: i + 1, Text: text})
			}
		}
	}
	return all
}

var span = regexp.MustCompile("`([^`]+)`")
