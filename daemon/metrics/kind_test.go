package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestKind(t *testing.T) {
	for reason, want := range map[string]string{
		"n1 stopped renewing":                                                 KindStoppedRenewing,
		"n1 was not heard for 250ms":                                          KindUnheard,
		"too few masters acknowledged within 225ms":                           KindUnanswered,
		"n1 handed it over: handover by an operator":                          KindOperator,
		"n1 handed it over: havipd on n1 stops":                               KindStop,
		"n1 handed it over: n1 shuts down":                                    KindShutdown,
		"n1 handed it over: link of n1: no carrier":                           KindLink,
		"API server of n1: answers 500":                                       KindAPIServer,
		"API server of n1: etcd member of n2 is drained":                      KindAPIServer,
		"API server of n1: out of reach: no answer from 198.51.100.1 on eth0": KindGateway,
		"the record was free: released by an operator on n2":                  KindOperator,
		"the record was free: n1 is drained (released)":                       KindDrain,
		"the record was overwritten: implausible":                             KindRecord,
		"n1 is drained (handed over to n2)":                                   KindDrain,
		"its own record again, after a restart":                               KindRestart,
		"something that nobody foresaw":                                       KindOther,
		"":                                                                    KindOther,
	} {
		if got := Kind(reason); got != want {
			t.Errorf("%q is of kind %s, want %s", reason, got, want)
		}
	}
}

// TestEveryReasonHasAKind reads the election's source: a reason that is new or
// reworded there must not silently become "other".
func TestEveryReasonHasAKind(t *testing.T) {
	files, err := filepath.Glob("../../election/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range reasons(tree) {
			found++
			if Kind(text) == KindOther {
				t.Errorf("%s: the reason %q is of no kind", filepath.Base(file), text)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d reasons found in the election", found)
	}
}

// reasons are the texts that are given to what changes the role, or kept as the
// reason of a move. Verbs stand for a name: of a node, as most do.
func reasons(tree *ast.File) []string {
	var texts []string
	add := func(e ast.Expr) {
		text := strings.NewReplacer("%s", "n1", "%v", "n1").Replace(textOf(e))
		if strings.Trim(unwrapped(text), "n1 ()") != "" { // else it is another one's
			texts = append(texts, text)
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || len(n.Args) == 0 {
				return true
			}
			switch sel.Sel.Name {
			case "become", "lose", "toIdle", "endClaim":
				add(n.Args[len(n.Args)-1])
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if sel, ok := left.(*ast.SelectorExpr); ok && strings.EqualFold(sel.Sel.Name, "reason") && i < len(n.Rhs) {
					add(n.Rhs[i])
				}
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "reason" {
				add(n.Value)
			}
		}
		return true
	})
	return texts
}

// textOf puts together the literals of an expression, with n1 for everything else.
func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if err != nil {
			return ""
		}
		return s
	case *ast.BinaryExpr:
		return textOf(e.X) + textOf(e.Y)
	case *ast.CallExpr:
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sprintf" {
			return textOf(e.Args[0])
		}
	}
	return "n1"
}
