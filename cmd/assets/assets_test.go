package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"

	"wzrdcheckout/public"
)

// project is a small whole one: each kind of file and of placeholder occurs.
var project = map[string]string{
	"go.mod":                         "module m\n",
	"wasm/main.go":                   "package main\n",
	"widget/model.go":                "package widget\n",
	"widget/model_test.go":           "package widget\n",
	"widget/js/checkout.js":          "(function () {\n\tconst wasm = \"%%asset:widget.wasm%%\", sri = \"%%integrity:widget.wasm%%\", run = \"%%asset:wasm_exec.js%%\";\n%%include:_core.js%%\n\tload(wasm, sri, run, document.currentScript.src);\n})();\n",
	"widget/js/checkout.mjs":         "%%include:_core.js%%\nlet rare = \"%%name:hosted.html%%\";\nexport function mount() { return load(\"%%asset:checkout.js%%\"); }\n",
	"widget/js/checkout.d.ts":        "export function mount(): void;\n",
	"widget/js/_core.js":             "\tfunction load() { const css = \"%%text:widget.css%%\"; return [css, arguments]; }\n",
	"widget/js/widget.css":           ".a::before {\n\tcontent: \"\\2713\";\n\tbackground: url(%%asset:mark.svg%%);\n}\n",
	"widget/js/mark.svg":             "<svg xmlns=\"http://www.w3.org/2000/svg\">\n  <path d=\"M0 0L10 10\"/>\n</svg>\n",
	"widget/js/hosted.html":          "<!doctype html>\n<title>x</title>\n<script src=\"%%asset:checkout.js%%\" integrity=\"%%integrity:checkout.js%%\"></script>\n",
	"widget/js/wasm_exec_tinygo.js":  "never published\n",
	"widget/js/wasm_exec_go.js":      "globalThis.border = true;\n",
	"widget/js/notes.txt":            "never published\n",
	"bin/widget.wasm":                "\x00asm\x01\x00\x00\x00 %%asset:nothing%% is left alone in a binary",
	"bin/wasm_exec.js":               "globalThis.Go = class { run(instance) { return instance; } };\n",
	"internal/checkout/money.go":     "package checkout\n",
	"tools/tinygo/widget.json":       "{}\n",
	"widget/testdata/golden.txt":     "one\n",
	"internal/fields/fields.go":      "package fields\n",
	"internal/fields/fields_test.go": "package fields_test\n",
}

// write lays the project out in a new folder, with changes (an empty text removes).
// The wasm is made a minute after the sources.
func write(t *testing.T, changes map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, files := range []map[string]string{project, changes} {
		for name, text := range files {
			put(t, root, name, text)
		}
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(filepath.Join(root, "bin/widget.wasm"), later, later); err != nil {
		t.Fatal(err)
	}
	return root
}

func put(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if text == "" {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// assets runs the command in root.
func assets(root string, args ...string) (string, error) {
	var out bytes.Buffer
	err := run(append([]string{"-root", root}, args...), &out)
	return out.String(), err
}

func buildArgs(root string) []string {
	return []string{"-wasm", filepath.Join(root, "bin/widget.wasm"), "-wasm-exec", filepath.Join(root, "bin/wasm_exec.js"), "-compiler", "tinygo 0.41.1"}
}

// built writes the project, publishes it and returns its root and manifest.
func built(t *testing.T, changes map[string]string) (string, public.Manifest) {
	t.Helper()
	root := write(t, changes)
	if _, err := assets(root, buildArgs(root)...); err != nil {
		t.Fatalf("build: %v", err)
	}
	m, err := public.Read(os.DirFS(filepath.Join(root, "public")))
	if err != nil {
		t.Fatalf("Read() error = %v", err)
	}
	return root, m
}

func published(t *testing.T, root, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "public", public.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func file(t *testing.T, m public.Manifest, logical string) public.File {
	t.Helper()
	f, ok := m.File(logical)
	if !ok {
		t.Fatalf("File(%s) is not in the manifest", logical)
	}
	return f
}

func TestBuild_Published(t *testing.T) {
	t.Parallel()
	root, m := built(t, nil)
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Logical)
		content := published(t, root, f.Name)
		sum := sha512.Sum384(content)
		if want := "sha384-" + base64.StdEncoding.EncodeToString(sum[:]); f.Integrity != want {
			t.Errorf("%s: integrity = %s, want %s", f.Name, f.Integrity, want)
		}
		gz, err := gzip.NewReader(bytes.NewReader(published(t, root, f.Name+".gz")))
		if err != nil {
			t.Fatalf("%s.gz: %v", f.Name, err)
		}
		for form, r := range map[string]io.Reader{"gz": gz, "br": brotli.NewReader(bytes.NewReader(published(t, root, f.Name+".br")))} {
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s.%s decodes to %q, %v, want %q", f.Name, form, got, err, content)
			}
		}
		sizes := [3]int{len(content), len(published(t, root, f.Name+".gz")), len(published(t, root, f.Name+".br"))}
		if got := [3]int{f.Bytes, f.Gzip, f.Brotli}; got != sizes {
			t.Errorf("%s: sizes = %v, want %v", f.Name, got, sizes)
		}
		stable := slices.Contains([]string{"checkout.js", "checkout.mjs", "checkout.d.ts"}, f.Logical)
		if f.Immutable == stable || (f.Name == f.Logical) != stable {
			t.Errorf("%s: name %s, immutable %v, want the entry points and only them stable", f.Logical, f.Name, f.Immutable)
		}
	}
	want := []string{"checkout.d.ts", "checkout.js", "checkout.mjs", "hosted.html", "mark.svg", "wasm_exec.js", "widget.css", "widget.wasm"}
	if !slices.Equal(names, want) {
		t.Errorf("published = %v, want %v", names, want)
	}
	if got := string(published(t, root, file(t, m, "widget.wasm").Name)); got != project["bin/widget.wasm"] {
		t.Errorf("wasm = %q, want it unchanged", got)
	}
	if f := file(t, m, "widget.wasm"); f.ContentType != "application/wasm" {
		t.Errorf("content type of the wasm = %s", f.ContentType)
	}
	if m.Compiler != "tinygo 0.41.1" {
		t.Errorf("compiler = %q", m.Compiler)
	}
	if got := string(published(t, root, "checkout.d.ts")); got != project["widget/js/checkout.d.ts"] {
		t.Errorf("checkout.d.ts = %q, want it unchanged", got)
	}
}

func TestBuild_Placeholders(t *testing.T) {
	t.Parallel()
	root, m := built(t, nil)
	script := string(published(t, root, "checkout.js"))
	wasm := file(t, m, "widget.wasm")
	for what, want := range map[string]string{
		"asset":            `"` + wasm.Name + `"`,
		"integrity":        wasm.Integrity,
		"asset of text":    "url(" + file(t, m, "mark.svg").Name + ")",
		"escaped text":     `\\2713`,
		"included part":    "arguments",
		"runtime":          file(t, m, "wasm_exec.js").Name,
		"unminified names": "document.currentScript.src",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("%s: checkout.js = %s, want it to contain %s", what, script, want)
		}
	}
	if strings.Contains(script, "%%") || strings.Contains(script, "\n") || len(script) >= len(project["widget/js/checkout.js"])+len(project["widget/js/_core.js"])+200 {
		t.Errorf("checkout.js = %s, want it replaced and minified", script)
	}
	if module := string(published(t, root, "checkout.mjs")); !strings.Contains(module, file(t, m, "hosted.html").Name) {
		t.Errorf("checkout.mjs = %s, want the name of hosted.html", module)
	}
	if page := string(published(t, root, file(t, m, "hosted.html").Name)); !strings.Contains(page, file(t, m, "checkout.js").Integrity) {
		t.Errorf("hosted.html = %s, want the integrity of checkout.js", page)
	}
	if want := []string{"checkout.js", "mark.svg", "wasm_exec.js", "widget.wasm"}; !slices.Equal(m.Page, want) {
		t.Errorf("page = %v, want %v: what checkout.js names, through its parts too", m.Page, want)
	}
	sum := 0
	for _, name := range m.Page {
		sum += file(t, m, name).Brotli
	}
	if m.PageBrotli != sum {
		t.Errorf("page_brotli = %d, want %d", m.PageBrotli, sum)
	}
}

// contents reads a whole folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	tree := os.DirFS(dir)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		all[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBuild_Deterministic(t *testing.T) {
	t.Parallel()
	one, _ := built(t, nil)
	two, _ := built(t, nil)
	if _, err := assets(two, buildArgs(two)...); err != nil { // over an older build
		t.Fatalf("build again: %v", err)
	}
	first, second := contents(t, filepath.Join(one, "public")), contents(t, filepath.Join(two, "public"))
	if len(first) != len(second) {
		t.Errorf("builds have %d and %d files, want the same", len(first), len(second))
	}
	for name, text := range first {
		if second[name] != text {
			t.Errorf("%s differs between two builds of the same sources", name)
		}
	}
}

// TestBuild_OnlyWhatChanged: a change moves the file and what names it, nothing else,
// and the old name is gone.
func TestBuild_OnlyWhatChanged(t *testing.T) {
	t.Parallel()
	root, before := built(t, nil)
	put(t, root, "widget/js/mark.svg", strings.Replace(project["widget/js/mark.svg"], "10", "11", 1))
	if _, err := assets(root, buildArgs(root)...); err != nil {
		t.Fatalf("build again: %v", err)
	}
	after, err := public.Read(os.DirFS(filepath.Join(root, "public")))
	if err != nil {
		t.Fatalf("Read() error = %v", err)
	}
	for _, f := range before.Files {
		changed := file(t, after, f.Logical).Integrity != f.Integrity
		want := slices.Contains([]string{"mark.svg", "widget.css", "checkout.js", "checkout.mjs", "hosted.html"}, f.Logical)
		if changed != want {
			t.Errorf("%s changed = %v, want %v", f.Logical, changed, want)
		}
	}
	old := file(t, before, "mark.svg").Name
	if _, err := os.Stat(filepath.Join(root, "public", public.Dir, old)); !os.IsNotExist(err) {
		t.Errorf("%s still stands after the rebuild (%v)", old, err)
	}
}

func TestBuild_Refused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		changes map[string]string
		want    []string
	}{
		{"unknown source", map[string]string{"widget/js/checkout.js": "let a=\"%%asset:widget.wsam%%\""}, []string{"checkout.js", "%%asset:widget.wsam%%"}},
		{"unknown kind", map[string]string{"widget/js/widget.css": "a{b:url(%%url:mark.svg%%)}"}, []string{"widget.css", "%%url:mark.svg%%"}},
		{"empty name", map[string]string{"widget/js/_core.js": "\"%%asset:%%\""}, []string{"_core.js", "%%asset:%%"}},
		{"part as asset", map[string]string{"widget/js/checkout.js": "let a=\"%%asset:_core.js%%\""}, []string{"checkout.js", "%%asset:_core.js%%"}},
		{"wasm as text", map[string]string{"widget/js/checkout.js": "let a=\"%%text:widget.wasm%%\""}, []string{"checkout.js", "%%text:widget.wasm%%"}},
		{"cycle", map[string]string{"widget/js/_core.js": "%%include:_more.js%%", "widget/js/_more.js": "%%include:_core.js%%"}, []string{"_core.js → _more.js → _core.js"}},
		{"cycle of names", map[string]string{"widget/js/a.js": "f(\"%%asset:b.js%%\")", "widget/js/b.js": "f(\"%%asset:a.js%%\")"}, []string{"a.js → b.js → a.js"}},
		{"syntax error", map[string]string{"widget/js/checkout.mjs": "export function ("}, []string{"minify checkout.mjs"}},
		{"no entry point", map[string]string{"widget/js/checkout.d.ts": ""}, []string{"widget/js/checkout.d.ts"}},
		{"name of a compiled file", map[string]string{"widget/js/wasm_exec.js": "f()"}, []string{"widget/js/wasm_exec.js"}},
		{"no wasm", map[string]string{"bin/wasm_exec.js": ""}, []string{"wasm_exec.js"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := write(t, tc.changes)
			_, err := assets(root, buildArgs(root)...)
			if err == nil {
				t.Fatalf("build error = nil, want one that names %v", tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("build error = %v, want it to name %s", err, want)
				}
			}
			if _, err := os.Stat(filepath.Join(root, "public", public.Dir)); !os.IsNotExist(err) {
				t.Errorf("a refused build left public/%s (%v)", public.Dir, err)
			}
		})
	}
}

func TestBuild_WasmOlderThanSource(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		changed string
		refused bool
	}{
		{"Go source", "widget/model.go", true},
		{"module file", "go.mod", true},
		{"compiler's target", "tools/tinygo/widget.json", true},
		{"script", "widget/js/checkout.js", false},
		{"test", "widget/model_test.go", false},
		{"test data", "widget/testdata/golden.txt", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := write(t, nil)
			later := time.Now().Add(time.Hour)
			if err := os.Chtimes(filepath.Join(root, tc.changed), later, later); err != nil {
				t.Fatal(err)
			}
			_, err := assets(root, buildArgs(root)...)
			if tc.refused && (err == nil || !strings.Contains(err.Error(), tc.changed)) {
				t.Errorf("build error = %v, want one that names %s", err, tc.changed)
			}
			if !tc.refused && err != nil {
				t.Errorf("build error = %v, want none", err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		path string // written to after the build; a "*" is completed to the published name
		want string // in the error; empty: still fits
	}{
		{"nothing changed", "", ""},
		{"test changed", "widget/model_test.go", ""},
		{"test data changed", "widget/testdata/golden.txt", ""},
		{"widget changed", "widget/model.go", "stale: widget changed after the wasm"},
		{"wasm changed", "wasm/main.go", "stale: wasm changed"},
		{"new file", "internal/fields/more.go", "stale: internal/fields changed"},
		{"vocabulary changed", "internal/checkout/money.go", "stale: internal/checkout changed"},
		{"module file changed", "go.mod", "stale: go.mod changed"},
		{"target changed", "tools/tinygo/widget.json", "stale: tools/tinygo changed"},
		{"script changed", "widget/js/checkout.js", "stale: widget/js changed after the published files"},
		{"published wasm changed", "public/widget/v1/widget.*.wasm", "is not the file of the manifest"},
		{"brotli of something else", "public/widget/v1/checkout.js.br", "checkout.js.br"},
		{"gzip of something else", "public/widget/v1/checkout.js.gz", "checkout.js.gz"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root, _ := built(t, nil)
			if tc.path != "" {
				name := tc.path
				if found, err := filepath.Glob(filepath.Join(root, tc.path)); err == nil && len(found) == 1 {
					if name, err = filepath.Rel(root, found[0]); err != nil {
						t.Fatal(err)
					}
				}
				put(t, root, name, "something else\n")
			}
			_, err := assets(root, "-check")
			if tc.want == "" && err != nil {
				t.Errorf("check error = %v, want none", err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("check error = %v, want one that says %q", err, tc.want)
			}
		})
	}
}

func TestCheck_NotBuilt(t *testing.T) {
	t.Parallel()
	_, err := assets(write(t, nil), "-check")
	if err == nil || !strings.Contains(err.Error(), "./build.sh") {
		t.Errorf("check error = %v, want one that says what to run", err)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	root, m := built(t, nil)
	if _, err := assets(root, "-check", "-budget", "1"); err == nil || !strings.Contains(err.Error(), "budget is 1") {
		t.Errorf("check over budget = %v, want an error with the budget", err)
	}
	if out, err := assets(root, "-check", "-budget", "100000"); err != nil || !strings.Contains(out, grouped(m.PageBrotli)) {
		t.Errorf("check under budget = %q, %v, want the bytes and no error", out, err)
	}
	args := append(buildArgs(root), "-budget", "1")
	args[slices.Index(args, "tinygo 0.41.1")] = "go1.26.8"
	if _, err := assets(root, args...); err != nil {
		t.Errorf("standard Go's build over budget = %v, want no error: it is the fallback", err)
	}
	if m, err := public.Read(os.DirFS(filepath.Join(root, "public"))); err != nil {
		t.Error(err)
	} else if got := string(published(t, root, file(t, m, "wasm_exec.js").Name)); !strings.Contains(got, "globalThis.Go") || !strings.Contains(got, "globalThis.border") {
		t.Errorf("runtime of standard Go's build = %s, want Go's own and the border after it", got)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	root := write(t, nil)
	out, err := assets(root, buildArgs(root)...)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	for _, want := range []string{"checkout.mjs\n", "wasm: compiled by tinygo 0.41.1, ", "page: ", " bytes brotli = checkout.js + mark.svg + wasm_exec.js + widget.wasm\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("report = %s, want it to contain %q", out, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 35000: "35,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"no wasm", nil, "-wasm is missing"},
		{"no runtime", []string{"-wasm", "a"}, "-wasm-exec is missing"},
		{"no compiler", []string{"-wasm", "a", "-wasm-exec", "b"}, "-compiler is missing"},
		{"budget", []string{"-check", "-budget", "-1"}, "-budget is negative"},
		{"argument", []string{"-check", "now"}, `"now"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := assets(t.TempDir(), tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("run(%v) error = %v, want %q", tc.args, err, tc.want)
			}
		})
	}
}
