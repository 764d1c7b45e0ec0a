package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// read gives a document of this folder.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section is the text below a heading, up to the next one of its rank or above.
func section(t *testing.T, name, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut("\n"+read(t, name), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no %q", name, heading)
	}
	rank, _, _ := strings.Cut(heading, " ")
	for r := len(rank); r > 1; r-- {
		rest, _, _ = strings.Cut(rest, "\n"+strings.Repeat("#", r)+" ")
	}
	return rest
}

// sources parses every Go file of the program, tests and doubles left out.
func sources(t *testing.T, visit func(path string, file *ast.File)) {
	t.Helper()
	for _, dir := range []string{"../internal", "../cmd/bff", "../public"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || d.Name() == "sandbox" || d.Name() == "demo"):
				return filepath.SkipDir
			case !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				visit(filepath.ToSlash(path), file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// named is the last word of a type's name: "Error" for *checkout.Error.
func named(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// problemCodes finds every code that a problem document can carry, and where.
func problemCodes(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	word := regexp.MustCompile(`^[a-z0-9_]+$`)
	sources(t, func(path string, file *ast.File) {
		add := func(e ast.Expr) {
			if s, ok := literal(e); ok && word.MatchString(s) {
				found[s] = path
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				switch name := named(n.Type); {
				case name == "Error", name == "UpstreamError", name == "edge":
					for _, e := range n.Elts {
						if kv, ok := e.(*ast.KeyValueExpr); ok && (named(kv.Key) == "Code" || named(kv.Key) == "code") {
							add(kv.Value)
						}
					}
				case name == "code" && strings.HasSuffix(path, "wzrd/codes.go"): // one row of wzrd's table
					add(n.Elts[3])
				}
				if list, ok := n.Type.(*ast.ArrayType); ok {
					for _, e := range n.Elts {
						row, ok := e.(*ast.CompositeLit)
						if !ok || row.Type != nil {
							continue
						}
						switch _, inline := list.Elt.(*ast.StructType); {
						case named(list.Elt) == "code": // wzrd's table
							add(row.Elts[3])
						case inline && strings.HasSuffix(path, "httpapi/problem.go"): // kinds
							add(row.Elts[2])
						}
					}
				}
			case *ast.CallExpr:
				if named(n.Fun) == "conflict" && len(n.Args) == 3 {
					add(n.Args[1])
				}
			case *ast.ValueSpec:
				if strings.HasSuffix(path, "wzrd/codes.go") && len(n.Values) == 1 {
					add(n.Values[0])
				}
			}
			return true
		})
	})
	if len(found) < 60 {
		t.Fatalf("found %d codes, which are too few: the search is wrong", len(found))
	}
	return found
}

var firstCell = regexp.MustCompile("(?m)^\\| `([^`|]+)`(?:, `([^`|]+)`)*")

// firsts are the words in code quotes of the first column of the tables in a text.
func firsts(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		if !firstCell.MatchString(line) {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			all = append(all, m[1])
		}
	}
	return all
}

// TestServer_Codes holds the table of problem codes to the source, both ways.
func TestServer_Codes(t *testing.T) {
	t.Parallel()
	found := problemCodes(t)
	listed := firsts(section(t, "server.md", "## Every error"))
	for _, code := range slices.Sorted(maps.Keys(found)) {
		if !slices.Contains(listed, code) {
			t.Errorf("%s can be answered with %q, which server.md does not list", found[code], code)
		}
	}
	for i, code := range listed {
		if found[code] == "" {
			t.Errorf("server.md lists %q, which nothing answers", code)
		}
		if slices.Contains(listed[:i], code) {
			t.Errorf("server.md lists %q twice", code)
		}
	}
}

// TestSettings holds settings.md to what `bff serve --help` prints, both ways; cmd/bff
// holds that text to the program.
func TestSettings(t *testing.T) {
	t.Parallel()
	type setting struct{ flag, fallback string }
	program := map[string]setting{}
	help := read(t, "../cmd/bff/testdata/serve.txt")
	for _, m := range regexp.MustCompile(`(?m)^  --(\S+)=\S+  \[(\S+)\]\n +(.*)$`).FindAllStringSubmatch(help, -1) {
		s := setting{flag: m[1]}
		if _, rest, ok := strings.Cut(m[3], "(default "); ok {
			s.fallback, _, _ = strings.Cut(rest, ")")
		}
		program[m[2]] = s
	}
	if len(program) < 40 {
		t.Fatalf("serve.txt has %d settings", len(program))
	}
	listed := map[string]bool{}
	for line := range strings.Lines(read(t, "settings.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		name := strings.Trim(strings.TrimSpace(cells[0]), "`")
		if !strings.HasPrefix(name, "BFF_") && !strings.HasPrefix(name, "WZRD_") {
			continue
		}
		if len(cells) != 5 {
			t.Errorf("%s: the row has %d columns, want 5", name, len(cells))
			continue
		}
		s, ok := program[name]
		if !ok || listed[name] {
			t.Errorf("settings.md lists %s, which bff does not know, or twice", name)
		}
		listed[name] = true
		if want := "--" + s.flag; !strings.Contains(cells[1], "`"+want+"`") {
			t.Errorf("%s: the flag is %s, settings.md says %s", name, want, cells[1])
		}
		if s.fallback != "" && !strings.Contains(cells[3], strings.TrimSuffix(s.fallback, ".")) && !strings.HasPrefix(s.fallback, "derived") && !strings.HasPrefix(s.fallback, "made") {
			t.Errorf("%s: the default is %s, settings.md says %s", name, s.fallback, cells[3])
		}
		_, secret := program[name+"_FILE"]
		if said := strings.Contains(cells[2], "**Secret.**"); said != secret {
			t.Errorf("%s: secret is %v, settings.md says %v", name, secret, said)
		}
	}
	for name := range program {
		if !listed[name] && !listed[strings.TrimSuffix(name, "_FILE")] {
			t.Errorf("settings.md does not list %s", name)
		}
	}
}

// TestTroubleshooting: each text that it explains stands in the source, or in what the
// system says when it is provoked. "…" stands for anything.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	var texts []string
	sources(t, func(_ string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if s, ok := literal(n); ok {
					texts = append(texts, s)
				}
			case *ast.CallExpr: // v.add("SETTING", "text"): Validate joins the two
				if named(n.Fun) == "add" && len(n.Args) >= 2 {
					setting, _ := literal(n.Args[0])
					said, _ := literal(n.Args[1])
					texts = append(texts, setting+": "+said)
				}
			}
			return true
		})
	})
	texts = append(texts, provoked(t)...)
	for i, s := range texts { // what is filled in could be anything
		texts[i] = regexp.MustCompile(`%[a-zA-Z]`).ReplaceAllString(s, "…")
	}
	headings := regexp.MustCompile("(?m)^### `([^`]+)`").FindAllStringSubmatch(read(t, "troubleshooting.md"), -1)
	if len(headings) < 25 {
		t.Errorf("troubleshooting.md explains %d texts", len(headings))
	}
	for _, h := range headings {
		for part := range strings.SplitSeq(h[1], "…") {
			part = strings.Trim(part, ` "`)
			if len(part) < 4 {
				continue
			}
			if !slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, part) }) {
				t.Errorf("troubleshooting.md explains %q; nothing says %q", h[1], part)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks: every relative link of the documents leads to a file, and every anchor to a heading.
func TestLinks(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	documents = append(documents, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md")
	for _, name := range documents {
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := filepath.Join(filepath.Dir(name), target)
			if target == "" {
				path = name
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %s leads nowhere", name, m[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(path, ".md") && !slices.Contains(anchors(read(t, path)), anchor) {
				t.Errorf("%s: %s has no such heading", name, m[1])
			}
		}
	}
}

// anchors are the headings of a document as a link names them.
func anchors(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		all = append(all, strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// TestReadme_Numbers: the page's budget in the README is the one that the build holds, and the
// comparison's claim about the peer is what was measured last.
func TestReadme_Numbers(t *testing.T) {
	t.Parallel()
	budget := regexp.MustCompile(`(?m)^readonly page_budget=(\d+)$`).FindStringSubmatch(read(t, "../build.sh"))
	if budget == nil {
		t.Fatal("build.sh has no page_budget")
	}
	n, err := strconv.Atoi(budget[1])
	if err != nil {
		t.Fatal(err)
	}
	if said := strconv.Itoa(n/1000) + "," + budget[1][len(budget[1])-3:] + " at most"; !strings.Contains(read(t, "../README.md"), said) {
		t.Errorf("the README does not say %q", said)
	}
	row := regexp.MustCompile(`(?m)^\| .*Adyen Drop-in from npm.*\| ([0-9.]+)k B \| ([0-9.]+)k B `).FindStringSubmatch(read(t, "benchmarks.md"))
	if row == nil {
		return // that run could not fetch the peer, and says so
	}
	ours, err1 := strconv.ParseFloat(row[1], 64)
	theirs, err2 := strconv.ParseFloat(row[2], 64)
	if err1 != nil || err2 != nil || theirs < 2*ours {
		t.Errorf("the README says more than twice; measured %s and %s", row[1], row[2])
	}
}
