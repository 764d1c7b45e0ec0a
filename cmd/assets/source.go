package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/css"
	"github.com/tdewolff/minify/v2/html"
	"github.com/tdewolff/minify/v2/js"
	"github.com/tdewolff/minify/v2/svg"
)

const (
	wasmName     = "widget.wasm"
	wasmExecName = "wasm_exec.js"
	goBorder     = "wasm_exec_go.js" // follows the wasm_exec.js of standard Go
	pageEntry    = "checkout.js"
)

// entryPoints keep their names: shops write them into their pages.
var entryPoints = []string{pageEntry, "checkout.mjs", "checkout.d.ts"}

// kind is how files with one ending are treated.
type kind struct {
	ending      string
	contentType string
	minify      string // media type for the minifier; empty: published as it is
}

// kinds is ordered: the first ending that fits counts.
var kinds = []kind{
	{".d.ts", "application/typescript; charset=utf-8", ""},
	{".js", "text/javascript; charset=utf-8", "text/javascript"},
	{".mjs", "text/javascript; charset=utf-8", "text/javascript"},
	{".css", "text/css; charset=utf-8", "text/css"},
	{".html", "text/html; charset=utf-8", "text/html"},
	{".svg", "image/svg+xml", "image/svg+xml"},
	{".wasm", "application/wasm", ""},
}

func kindOf(name string) (kind, bool) {
	for _, k := range kinds {
		if strings.HasSuffix(name, k.ending) {
			return k, true
		}
	}
	return kind{}, false
}

// asset is one file ready to be published.
type asset struct {
	logical   string
	name      string
	kind      kind
	content   []byte
	integrity string
	refs      map[string]bool // logical names it fetches, those of its parts included
}

// sources holds what was read and, while rendering, what is done.
type sources struct {
	text     map[string][]byte // by logical name, parts included
	done     map[string]*asset
	minifier *minify.M
}

func loadSources(c config) (*sources, error) {
	s := &sources{text: map[string][]byte{}, done: map[string]*asset{}, minifier: newMinifier()}
	dir := filepath.Join(c.root, "widget", "js")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read sources: %w", err)
	}
	paths := map[string]string{wasmName: c.wasm, wasmExecName: c.wasmExec}
	for _, e := range entries {
		name := e.Name()
		if _, known := kindOf(name); !known || e.IsDir() || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "wasm_exec_") {
			continue
		}
		if _, taken := paths[name]; taken {
			return nil, fmt.Errorf("read sources: widget/js/%s has the name of a compiled file", name)
		}
		paths[name] = filepath.Join(dir, name)
	}
	for name, path := range paths {
		if s.text[name], err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("read source: %w", err)
		}
	}
	if !strings.HasPrefix(c.compiler, "tinygo") { // Go's own runtime knows nothing of the widget
		border, err := os.ReadFile(filepath.Join(dir, goBorder))
		if err != nil {
			return nil, fmt.Errorf("read source: %w", err)
		}
		s.text[wasmExecName] = append(s.text[wasmExecName], border...)
	}
	for _, name := range entryPoints {
		if _, ok := s.text[name]; !ok {
			return nil, fmt.Errorf("read sources: the entry point widget/js/%s is missing", name)
		}
	}
	return s, nil
}

func newMinifier() *minify.M {
	m := minify.New()
	// 2020: what browsers without WebAssembly bulk memory would not run is not produced.
	m.Add("text/javascript", &js.Minifier{Version: 2020})
	m.AddFunc("text/css", css.Minify)
	m.Add("text/html", &html.Minifier{KeepDocumentTags: true, KeepEndTags: true})
	m.AddFunc("image/svg+xml", svg.Minify)
	return m
}

// renderAll returns every published asset, sorted by logical name.
func (s *sources) renderAll() ([]*asset, error) {
	var all []*asset
	for _, name := range slices.Sorted(maps.Keys(s.text)) {
		if strings.HasPrefix(name, "_") {
			continue
		}
		a, err := s.render(name, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// render makes one asset; trail is how it was reached, to notice a cycle.
func (s *sources) render(name string, trail []string) (*asset, error) {
	if a, ok := s.done[name]; ok {
		return a, nil
	}
	k, _ := kindOf(name)
	content, refs, err := s.expand(name, k, trail)
	if err != nil {
		return nil, err
	}
	if k.minify != "" {
		if content, err = s.minifier.Bytes(k.minify, content); err != nil {
			return nil, fmt.Errorf("minify %s: %w", name, err)
		}
	}
	sum := sha512.Sum384(content)
	a := &asset{
		logical:   name,
		name:      publishedName(name, k, content),
		kind:      k,
		content:   content,
		integrity: "sha384-" + base64.StdEncoding.EncodeToString(sum[:]),
		refs:      refs,
	}
	s.done[name] = a
	return a, nil
}

func publishedName(name string, k kind, content []byte) string {
	if slices.Contains(entryPoints, name) {
		return name
	}
	sum := sha256.Sum256(content)
	return strings.TrimSuffix(name, k.ending) + "." + hex.EncodeToString(sum[:6]) + k.ending
}

// placeholder matches the name as well when it is empty or odd, so that a slip of
// the pen is an error and not text on a page.
var placeholder = regexp.MustCompile(`%%([a-zA-Z]+):([^%\n]*)%%`)

// expand returns the text of a source with its placeholders replaced, and the
// logical names that the text will fetch.
func (s *sources) expand(name string, k kind, trail []string) ([]byte, map[string]bool, error) {
	if slices.Contains(trail, name) {
		return nil, nil, fmt.Errorf("%s refers to itself: %s", name, strings.Join(append(trail, name), " → "))
	}
	text := s.text[name]
	refs := map[string]bool{}
	if k.contentType == "application/wasm" {
		return text, refs, nil
	}
	trail = append(slices.Clone(trail), name)
	var failed error
	text = placeholder.ReplaceAllFunc(text, func(match []byte) []byte {
		if failed != nil {
			return nil
		}
		parts := placeholder.FindSubmatch(match)
		value, err := s.value(string(parts[1]), string(parts[2]), trail, refs)
		if err != nil {
			failed = fmt.Errorf("%s: %s: %w", name, match, err)
		}
		return value
	})
	return text, refs, failed
}

var (
	errUnknownPlaceholder = errors.New("unknown placeholder, want asset, name, integrity, text or include")
	errUnknownSource      = errors.New("no such source")
	errPart               = errors.New("a part is not published, it can only be included")
	errBinary             = errors.New("is not text")
)

// value is what one placeholder stands for; it adds to refs what the text will fetch.
func (s *sources) value(what, name string, trail []string, refs map[string]bool) ([]byte, error) {
	if !slices.Contains([]string{"asset", "name", "integrity", "text", "include"}, what) {
		return nil, errUnknownPlaceholder
	}
	if _, ok := s.text[name]; !ok {
		return nil, errUnknownSource
	}
	k, _ := kindOf(name)
	if k.contentType == "application/wasm" && (what == "text" || what == "include") {
		return nil, errBinary
	}
	if what == "include" {
		text, more, err := s.expand(name, k, trail)
		maps.Copy(refs, more)
		return bytes.TrimSuffix(text, []byte("\n")), err
	}
	if strings.HasPrefix(name, "_") {
		return nil, errPart
	}
	if what == "asset" || what == "name" {
		if what == "asset" {
			refs[name] = true
		}
		if slices.Contains(entryPoints, name) {
			return []byte(name), nil // known before its content, so two entry points may name each other
		}
	}
	a, err := s.render(name, trail)
	if err != nil {
		return nil, err
	}
	switch what {
	case "asset", "name":
		return []byte(a.name), nil
	case "integrity":
		return []byte(a.integrity), nil
	default:
		maps.Copy(refs, a.refs)
		return quoted(a.content)
	}
}

// quoted escapes text for the inside of a double-quoted JavaScript string.
func quoted(text []byte) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(string(text)); err != nil {
		return nil, err
	}
	return bytes.Trim(b.Bytes(), "\"\n"), nil
}

// page returns, sorted, the logical names that a page with the script tag loads.
func page(assets []*asset) []string {
	refs := map[string]map[string]bool{}
	for _, a := range assets {
		refs[a.logical] = a.refs
	}
	seen := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for ref := range refs[name] {
			visit(ref)
		}
	}
	visit(pageEntry)
	return slices.Sorted(maps.Keys(seen))
}
