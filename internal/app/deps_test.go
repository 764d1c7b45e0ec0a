package app_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "wzrdcheckout/"

// arrows is the drawing of docs/architecture.md: what each package may import of this
// module. A package that is not here, or an import that is not allowed, fails the test.
var arrows = map[string][]string{
	"internal/checkout": {},
	"internal/fields":   {"internal/checkout"},
	"widget":            {"internal/checkout", "internal/fields"},
	"wasm":              {"widget"},
	"public":            {},

	"internal/wzrd":     {"internal/checkout"},
	"internal/session":  {"internal/checkout", "internal/fields"},
	"internal/callback": {"internal/checkout"},
	"internal/broker":   {"internal/checkout"},
	"internal/push":     {"internal/checkout"},
	"internal/webhook":  {"internal/checkout"},
	"internal/metrics":  {},
	"internal/markup":   {},
	"internal/ops":      {"internal/checkout", "internal/markup"},
	"internal/page":     {"internal/checkout", "widget"},
	"internal/httpapi":  {"internal/checkout", "internal/fields", "internal/page"},
	"internal/sandbox":  {},
	"internal/demo":     {"internal/markup"},
	"docs":              {},

	"internal/app": {
		"docs", "internal/broker", "internal/callback", "internal/checkout", "internal/demo", "internal/fields",
		"internal/httpapi", "internal/metrics", "internal/ops", "internal/page", "internal/push",
		"internal/sandbox", "internal/session", "internal/webhook", "internal/wzrd", "public", "widget",
	},
	"cmd/bff":    {"internal/app"},
	"cmd/assets": {"public"},
}

// light names what the page's packages may import of the standard library, with the
// reason to leave everything else out: bytes in the widget (measured, brotli, TinyGo).
var light = map[string]string{
	"fmt": "60 kB", "encoding/json": "82 kB", "regexp": "53 kB", "net/url": "51 kB", "reflect": "part of fmt and json",
	"time": "6 kB; now arrives as an event", "math/big": "13 kB", "unicode": "28 kB of tables", "net/http": "2.7 MB",
	"sync": "nothing runs beside anything in the page",
}

// tools tells whether a package only measures, tries or shows the program: it may import
// anything, and nothing imports it.
func tools(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return first == "bench" || first == "soak" || first == "examples" || strings.Contains(name, "/testdata/")
}

// dead names what may not be in bff at all. Each looks up methods by name through reflect,
// and one such use makes the linker keep every method of every type: 3.0 MB in November
// 2026. `go build -ldflags='-s -w -dumpdep' ./cmd/bff 2>&1 | grep ReflectMethod` names the
// user of a binary that has grown. See docs/decisions/0008-binary-size.md.
var dead = []string{"text/template", "html/template", "github.com/alecthomas/kong"}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func list(t *testing.T, env ...string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Standard", module+"...")
	cmd.Dir = "../.."
	cmd.Env = append(cmd.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(out); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("go list: %v", err)
	}
	return all
}

func TestArrows(t *testing.T) {
	t.Parallel()
	packages := append(list(t), list(t, "GOOS=js", "GOARCH=wasm")...)
	seen := map[string]bool{}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		seen[name] = true
		if tools(name) {
			continue
		}
		allowed, known := arrows[name]
		if !known {
			t.Errorf("%s is not in the drawing of the imports: add it to arrows and to docs/architecture.md", name)
			continue
		}
		for _, imported := range p.Imports {
			of, own := strings.CutPrefix(imported, module)
			if own && !slices.Contains(allowed, of) {
				t.Errorf("%s imports %s: the arrows point one way", name, of)
			}
		}
	}
	for name := range arrows {
		if !seen[name] {
			t.Errorf("%s is in the drawing, and is no package", name)
		}
	}
}

func TestOneOwner(t *testing.T) {
	t.Parallel()
	owners := map[string][]string{}
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if tools(name) {
			continue
		}
		for _, imported := range p.Imports {
			first, _, _ := strings.Cut(imported, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(imported, "golang.org/x/") {
				continue
			}
			parts := strings.SplitN(imported, "/", 4)
			of := strings.Join(parts[:min(3, len(parts))], "/")
			if !slices.Contains(owners[of], name) {
				owners[of] = append(owners[of], name)
			}
		}
	}
	if len(owners) == 0 {
		t.Fatal("go list found no third-party module: the test looks at nothing")
	}
	for of, names := range owners {
		if len(names) > 1 {
			t.Errorf("%s is imported by %s: a third-party module has one owner", of, strings.Join(names, " and "))
		}
	}
}

func TestLightPackages(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if name != "internal/checkout" && name != "internal/fields" && name != "widget" {
			continue
		}
		for _, imported := range p.Imports {
			if why, heavy := light[imported]; heavy {
				t.Errorf("%s imports %s, which costs the page: %s", name, imported, why)
			}
		}
	}
}

func TestNoMethodsByName(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/bff")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := strings.Fields(string(out))
	if !slices.Contains(packages, module+"internal/app") {
		t.Fatal("go list does not list internal/app: the test looks at nothing")
	}
	for _, p := range packages {
		if slices.Contains(dead, p) {
			t.Errorf("bff links %s, which keeps 3 MB of methods that nobody calls", p)
		}
	}
}
