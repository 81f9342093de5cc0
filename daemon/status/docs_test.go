package status

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	socketDoc   = "../../docs/socket.md"
	fieldsBegin = "<!-- fields: written by go test ./daemon/status -update -->\n"
	fieldsEnd   = "<!-- end of fields -->\n"
)

// TestSocketDoc: the field by field part of docs/socket.md is the comments of
// document.go and history.go, and every path and query of the API is named in the prose.
func TestSocketDoc(t *testing.T) {
	page, err := os.ReadFile(socketDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte(fieldsBegin))
	old, after, ok2 := bytes.Cut(rest, []byte(fieldsEnd))
	if !ok || !ok2 {
		t.Fatalf("%s: no marks around the fields", socketDoc)
	}
	want := fieldDoc(t)
	if *update {
		page = []byte(string(before) + fieldsBegin + want + fieldsEnd + string(after))
		if err := os.WriteFile(socketDoc, page, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, string(old)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", socketDoc, diff)
	}
	for _, s := range []string{SocketPath, PathStatus, PathHistory, PathHandover, PathDrain, PathUndrain, PathRelease, PathRotate, PathFormer,
		QueryWait + "=" + WaitHeld, QueryTimeout + "=", QuerySince + "=", QueryLimit + "=", fmt.Sprintf("schema number is %d", Schema)} {
		if !bytes.Contains(before, []byte(s)) {
			t.Errorf("%s does not speak of %s", socketDoc, s)
		}
	}
	for _, v := range []any{HandoverRequest{}, ReleaseRequest{}, Change{}, Failure{}, Former{}, FormerMember{}} {
		for _, name := range jsonNames(reflect.TypeOf(v)) {
			if !bytes.Contains(before, []byte("`"+name+"`")) {
				t.Errorf("%s does not speak of the field %s of %T", socketDoc, name, v)
			}
		}
	}
}

func jsonNames(typ reflect.Type) []string {
	var names []string
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// fieldDoc writes one table for each type of the documents, in their order.
func fieldDoc(t *testing.T) string {
	return fieldsOf(t, "document.go") + fieldsOf(t, "history.go") + "\n"
}

func fieldsOf(t *testing.T, name string) string {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	values := constants(t, file)
	var b strings.Builder
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		spec := gen.Specs[0].(*ast.TypeSpec)
		if st, ok := spec.Type.(*ast.StructType); ok {
			fmt.Fprintf(&b, "\n### %s\n\n| field | type | meaning |\n|---|---|---|\n", spec.Name.Name)
			for _, f := range st.Fields.List {
				b.WriteString(fieldRow(t, f, values))
			}
		}
	}
	return b.String()
}

func fieldRow(t *testing.T, f *ast.Field, values map[string]string) string {
	tag, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		t.Fatal(err)
	}
	name, option, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
	typ, enum := typeName(f.Type)
	text := strings.TrimSpace(f.Comment.Text())
	if text == "" {
		t.Errorf("field %s has no comment", name)
	}
	if option == "omitempty" {
		typ += ", optional"
	}
	return fmt.Sprintf("| `%s` | %s | %s%s |\n", name, typ, strings.ReplaceAll(text, "|", `\|`), values[enum])
}

// typeName is how a Go type reads in JSON; the second result is its name in Go.
func typeName(e ast.Expr) (string, string) {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.ArrayType:
		s, name := typeName(e.Elt)
		return "list of " + s, name
	case *ast.SelectorExpr:
		switch e.Sel.Name {
		case "Time":
			return "time (RFC 3339)", ""
		case "Addr":
			return "IP address", ""
		}
		return e.Sel.Name, ""
	case *ast.Ident:
		switch e.Name {
		case "string", "bool":
			return e.Name, ""
		case "int", "int64":
			return "integer", ""
		case "Verdict", "RecordState", "Role", "APIServer", "Gateway", "Member", "EtcdState", "AdoptStage", "HistoryKind":
			return "string", e.Name
		}
		return "[" + e.Name + "](#" + strings.ToLower(e.Name) + ")", e.Name
	}
	return fmt.Sprintf("%T", e), ""
}

// constants lists the values of each type of string, with their comments.
func constants(t *testing.T, file *ast.File) map[string]string {
	lists := map[string]string{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, s := range gen.Specs {
			spec := s.(*ast.ValueSpec)
			ident, ok := spec.Type.(*ast.Ident)
			if !ok {
				continue
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			entry := "<br>`" + value + "`"
			if c := strings.TrimSpace(spec.Comment.Text()); c != "" {
				entry += ": " + c
			}
			lists[ident.Name] += entry
		}
	}
	return lists
}
