package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wzrdcheckout/internal/app"
)

const declarations = "../widget/js/checkout.d.ts"

// types is checkout.d.ts, read as far as its own plain style needs.
type types struct {
	t    *testing.T
	text string
}

func readTypes(t *testing.T) types {
	t.Helper()
	return types{t, read(t, declarations)}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	comment = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`)
	quoted  = regexp.MustCompile(`"([^"]+)"`)
	member  = regexp.MustCompile(`^(?:readonly )?"?([\w-]+)"?(\??)(?::|$)`)
)

// union gives the words of a type that is a union of words.
func (d types) union(name string) []string {
	d.t.Helper()
	found := regexp.MustCompile(`(?s)export type ` + name + ` =(.*?);`).FindStringSubmatch(comment.ReplaceAllString(d.text, ""))
	if found == nil {
		d.t.Fatalf("checkout.d.ts has no type %s", name)
	}
	return words(found[1])
}

func words(text string) []string {
	var list []string
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return sorted(list)
}

// members gives the names of an interface's members and which of them may be missing.
// A path leads into a member that is written out: "Checkout", "state".
func (d types) members(path ...string) (names, optional []string) {
	d.t.Helper()
	text := comment.ReplaceAllString(d.text, "")
	for i, name := range path {
		start := regexp.MustCompile(`interface ` + name + `\b[^{]*\{`)
		if i > 0 {
			start = regexp.MustCompile(`(?m)^\t*(?:readonly )?` + name + `\??: \{`)
		}
		at := start.FindStringIndex(text)
		if at == nil {
			d.t.Fatalf("checkout.d.ts has no %v", path)
		}
		text = text[at[1]:]
		depth := 1
		for i, c := range text {
			switch c {
			case '{':
				depth++
			case '}':
				depth--
			}
			if depth == 0 {
				text = text[:i]
				break
			}
		}
	}
	var flat strings.Builder // what stands in no brackets
	depth := 0
	for _, c := range text {
		switch c {
		case '{', '(', '<':
			depth++
		case '}', ')', '>':
			depth--
		default:
			if depth == 0 {
				flat.WriteRune(c)
			}
		}
	}
	for _, line := range strings.FieldsFunc(flat.String(), func(c rune) bool { return c == ';' || c == '\n' }) {
		if m := member.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			names = append(names, m[1])
			if m[2] == "?" {
				optional = append(optional, m[1])
			}
		}
	}
	return sorted(names), sorted(optional)
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if got, want = sorted(got), sorted(want); !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("%s: the types say %v, the code %v", what, got, want)
	}
}

// The words of checkout.d.ts are those that the code knows.
func TestTypesSayWhatTheCodeKnows(t *testing.T) {
	t.Parallel()
	d := readTypes(t)
	core := read(t, "../widget/js/_core.js")

	if read(t, "../npm/checkout.d.ts") != d.text {
		t.Error("npm/checkout.d.ts is not widget/js/checkout.d.ts: cp widget/js/checkout.d.ts npm/")
	}

	t.Run("error codes", func(t *testing.T) {
		codes := constants(t, "../widget", func(name, _ string) bool { return strings.HasPrefix(name, "Code") })
		for _, m := range regexp.MustCompile(`code: "(\w+)"`).FindAllStringSubmatch(core, -1) {
			if !slices.Contains(codes, m[1]) {
				t.Errorf("_core.js tells %s, which is no code of widget/", m[1])
			}
		}
		same(t, "error codes", d.union("ErrorCode"), codes)
	})
	t.Run("statuses", func(t *testing.T) {
		same(t, "statuses", d.union("Status"), constants(t, "../internal/checkout", func(name, kind string) bool { return kind == "Status" && strings.HasPrefix(name, "Status") }))
	})
	t.Run("events", func(t *testing.T) {
		list := regexp.MustCompile(`const names = \[([^\]]*)\]`).FindStringSubmatch(core)
		if list == nil {
			t.Fatal("_core.js has no names of events")
		}
		var events, callbacks []string
		for _, name := range words(list[1]) {
			events = append(events, "wzrd-"+name)
			callbacks = append(callbacks, "on"+strings.ToUpper(name[:1])+name[1:])
		}
		got, _ := d.members("GlobalEventHandlersEventMap")
		same(t, "events", got, events)
		options, _ := d.members("Options")
		same(t, "callbacks", slices.DeleteFunc(options, func(name string) bool { return !strings.HasPrefix(name, "on") }), callbacks)
	})
	t.Run("options", func(t *testing.T) {
		known := cases(t, "../widget/host.go", "options")
		// base comes from the script's own address, hosted from the BFF's own page.
		known = slices.DeleteFunc(known, func(name string) bool { return name == "base" || name == "hosted" })
		options, _ := d.members("Options")
		appearance, _ := d.members("Appearance")
		declared := append(slices.DeleteFunc(options, func(name string) bool { return strings.HasPrefix(name, "on") }), appearance...)
		same(t, "options", declared, known)
	})
	t.Run("variables", func(t *testing.T) {
		var used []string
		for _, m := range regexp.MustCompile(`var\(--wzrd-([a-z-]+)`).FindAllStringSubmatch(read(t, "../widget/js/widget.css"), -1) {
			used = append(used, m[1])
		}
		same(t, "variables", d.union("Variable"), used)
	})
	t.Run("wrappers", func(t *testing.T) {
		options, _ := d.members("Options")
		vue := read(t, "../npm/vue.js")
		for _, name := range options {
			if event, ok := strings.CutPrefix(name, "on"); ok {
				event = strings.ToLower(event)
				if !slices.Contains(words(line(t, vue, "const events")), event) || !strings.Contains(read(t, "../npm/vue.d.ts"), "\t"+event+": ") {
					t.Errorf("the Vue component has no event %s", event)
				}
				if !slices.Contains(words(line(t, read(t, "../npm/attach.js"), "for (const name of [\"Ready\"")), name[2:]) {
					t.Errorf("attach.js does not hand on %s", name)
				}
			} else if !slices.Contains(words(line(t, vue, "const names")), name) || !regexp.MustCompile(`\b`+name+`: (String|Object|Array)`).MatchString(vue) {
				t.Errorf("the Vue component has no prop %s", name)
			}
		}
	})
}

// line is the first line of a text that holds a part.
func line(t *testing.T, text, part string) string {
	t.Helper()
	for l := range strings.Lines(text) {
		if strings.Contains(l, part) {
			return l
		}
	}
	t.Fatalf("no line holds %q", part)
	return ""
}

// constants gives the values of a package's string constants that fit.
func constants(t *testing.T, dir string, fits func(name, kind string) bool) []string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST || strings.HasSuffix(path, "_test.go") {
				continue
			}
			for _, spec := range group.Specs {
				values := spec.(*ast.ValueSpec)
				kind, _ := values.Type.(*ast.Ident)
				for i, name := range values.Names {
					if i >= len(values.Values) || !fits(name.Name, fmt.Sprint(kind)) {
						continue
					}
					if literal, ok := values.Values[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
						value, err := strconv.Unquote(literal.Value)
						if err != nil {
							t.Fatal(err)
						}
						list = append(list, value)
					}
				}
			}
		}
	}
	return sorted(list)
}

// cases gives the words that the switches of a function know.
func cases(t *testing.T, path, function string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, declaration := range file.Decls {
		f, ok := declaration.(*ast.FuncDecl)
		if !ok || f.Name.Name != function {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.CaseClause); ok {
				for _, e := range c.List {
					if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
						value, _ := strconv.Unquote(literal.Value)
						list = append(list, value)
					}
				}
			}
			return true
		})
	}
	if len(list) == 0 {
		t.Fatalf("%s has no function %s with cases", path, function)
	}
	return sorted(list)
}

// What the page is given has the members that the types declare, no more and no less:
// seen from a page that pays.
func TestTypesSayWhatThePageGets(t *testing.T) {
	t.Parallel()
	d := readTypes(t)
	chromium(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"index.html": `<!doctype html><html lang=en><title>Shop</title><div id=pay></div><script type=module src=page.js></script>`,
		"page.js": `window.told = [];
const { base, session } = await (await fetch("/session", { method: "POST" })).json();
const { mount } = await import(base + "/widget/v1/checkout.mjs");
window.begin = (options) => {
	told.length = 0;
	for (const name of ["Ready", "Change", "Submit", "Redirect", "Status", "Error"]) options["on" + name] = (detail) => told.push({ name, detail });
	window.checkout = mount("#pay", { session, ...options });
};`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newShopFront(t, dir, func(*app.DemoConfig) {})
	b := open(t)
	b.expect("unknown option")
	b.visit(s.address)
	b.await("the page", "window.begin")

	// One good value for every option that is declared, and some that are not.
	values := map[string]any{
		"session": nil, "locale": "uk", "appearance": map[string]any{"theme": "dark", "layout": "grid", "variables": map[string]string{"accent": "red"}},
		"layout": "list", "redirect": "manual", "selected": card, "first": []string{sepa}, "hide": []string{"nothing"},
	}
	options, _ := d.members("Options")
	options = slices.DeleteFunc(options, func(name string) bool { return strings.HasPrefix(name, "on") })
	same(t, "the options that this test knows", options, slices.Collect(maps.Keys(values)))
	delete(values, "session")
	begin := func(options map[string]any) {
		t.Helper()
		text, err := json.Marshal(options)
		if err != nil {
			t.Fatal(err)
		}
		evaluate[bool](b, "(begin("+string(text)+"), true)")
		b.await("the widget to take over", live)
	}
	const unknown = `JSON.stringify(told.filter((e) => e.detail.code === "unknown_option").map((e) => e.detail.field).sort())`
	begin(values)
	if got := evaluate[string](b, unknown); got != "[]" {
		t.Errorf("mount() does not know %s, which are declared", got)
	}
	begin(map[string]any{"theme": "dark", "tehme": "dark", "target": "#pay", "appearance": map[string]any{"colour": "red"}})
	if got := evaluate[string](b, unknown); got != `["appearance.colour","target","tehme","theme"]` {
		t.Errorf("mount() names %s, want the four that are not declared", got)
	}

	begin(map[string]any{"redirect": "manual"})
	update := comment.ReplaceAllString(d.text, "")
	update = update[strings.Index(update, "update(change: {")+len("update(change: {"):]
	var updatable []string
	for _, m := range regexp.MustCompile(`(\w+)\?:`).FindAllStringSubmatch(update[:strings.Index(update, "}")], -1) {
		updatable = append(updatable, m[1])
	}
	var refused, known []string
	for name, value := range values {
		text, err := json.Marshal(map[string]any{name: value})
		if err != nil {
			t.Fatal(err)
		}
		evaluate[bool](b, "(told.length = 0, checkout.update("+string(text)+"), true)")
		if evaluate[string](b, unknown) == "[]" {
			known = append(known, name)
		} else {
			refused = append(refused, name)
		}
	}
	known = append(known, "session") // another session is another test's
	same(t, "what update() takes", updatable, known)
	if len(refused) == 0 {
		t.Error("update() refuses nothing")
	}

	// Now a whole journey, for all that is told on the way.
	begin(map[string]any{"redirect": "manual", "nonsense": true})
	b.click(row(sepa))
	b.fill(payer, "Olena Demo")
	b.fill(iban, goodIBAN)
	b.click(button)
	b.await("the redirect", `told.some((e) => e.name === "Redirect") && told.some((e) => e.name === "Status" && e.detail.session.invoice)`)
	var told []struct {
		Name   string
		Detail map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(evaluate[string](b, "JSON.stringify(told)")), &told); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var session map[string]json.RawMessage
	for _, e := range told {
		seen[e.Name] = true
		fits(t, d, e.Detail, e.Name+"Detail")
		if e.Name == "Status" {
			if err := json.Unmarshal(e.Detail["session"], &session); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"Ready", "Change", "Submit", "Redirect", "Status", "Error"} {
		if !seen[name] {
			t.Errorf("on%s was not called", name)
		}
	}
	// What the merchant noted on a session stays with the BFF: the page has an empty place.
	if string(session["metadata"]) != "{}" {
		t.Errorf("the page has the metadata %s", session["metadata"])
	}
	delete(session, "metadata")
	fits(t, d, session, "Session")
	var invoice map[string]json.RawMessage
	var attempts []map[string]json.RawMessage
	if err := json.Unmarshal(session["invoice"], &invoice); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(session["attempts"], &attempts); err != nil || len(attempts) != 1 {
		t.Fatalf("the session has attempts %s, want one: %v", session["attempts"], err)
	}
	fits(t, d, invoice, "Invoice")
	fits(t, d, attempts[0], "Session", "attempts")
	var standing map[string]json.RawMessage
	if err := json.Unmarshal([]byte(evaluate[string](b, "JSON.stringify(checkout.state)")), &standing); err != nil {
		t.Fatal(err)
	}
	fits(t, d, standing, "Checkout", "state")
	methods, _ := d.members("Checkout")
	same(t, "what mount() gives", methods, evaluate[[]string](b, "Object.keys(checkout)"))
}

// fits holds a value to a declared interface.
func fits(t *testing.T, d types, value map[string]json.RawMessage, path ...string) {
	t.Helper()
	names, optional := d.members(path...)
	for name := range value {
		if !slices.Contains(names, name) {
			t.Errorf("%v has %s, which is not declared", path, name)
		}
	}
	for _, name := range names {
		if _, there := value[name]; !there && !slices.Contains(optional, name) {
			t.Errorf("%v lacks %s, which is declared: %v", path, name, slices.Sorted(maps.Keys(value)))
		}
	}
}

var (
	fence   = regexp.MustCompile("(?ms)^```(tsx?)\n(.*?)^```")
	example = regexp.MustCompile(`(?s)@example\n(.*?)(?:\n \* @|\n\s*\*/)`)
)

// stubs are the shop's own functions in the examples.
var stubs = []string{
	"thankYou(): void", "setStatus(status: string): void", "report(what: string): void", "openPage(url: string): void", "newToken(): Promise<string>",
}

// shownFor gives the example of a member of an interface, or of a word of a union.
func (d types) shownFor(block, name string) string {
	d.t.Helper()
	_, text, found := strings.Cut(d.text, block)
	if !found {
		d.t.Fatalf("checkout.d.ts has no %s", block)
	}
	m := regexp.MustCompile(`(?m)^\t*(?:readonly |\| )?"?` + name + `"?[?(:;\n]`).FindStringIndex(text)
	if m == nil {
		d.t.Fatalf("%s has no %s", block, name)
	}
	start := strings.LastIndex(text[:m[0]], "/**")
	if start < 0 || strings.TrimSpace(text[start+strings.Index(text[start:], "*/")+2:m[0]]) != "" {
		d.t.Errorf("%s %s has no comment", block, name)
		return ""
	}
	shown := example.FindStringSubmatch(text[start:m[0]])
	if shown == nil {
		d.t.Errorf("%s %s has no example", block, name)
		return ""
	}
	return regexp.MustCompile(`(?m)^\s*\* ?`).ReplaceAllString(shown[1], "")
}

// Every option, event, method and error code has an example of its own, and each of them
// does in a real page what it says.
func TestTypesExamplesRun(t *testing.T) {
	t.Parallel()
	d := readTypes(t)
	_, address, _ := embedded(t, "examples")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(() => {
		window.ran = (text) => {
			window.called = [], window.failed = "", window.given = null, window.checkout = null;
			window.ends?.abort(), window.ends = new AbortController();
			const own = { addEventListener: (name, f) => window.addEventListener(name, f, { signal: ends.signal }), querySelector: (s) => document.querySelector(s), get body() { return document.querySelector("#pay") } };
			const names = ["thankYou", "setStatus", "report", "openPage"];
			const stubs = names.map((name) => (...a) => void called.push([name, ...a]));
			const place = (target, options) => {
				given = options;
				const real = mount(target, { ...options, onError: (e) => ["unknown_option", "widget_failed"].includes(e.code) ? failed = e.message : options.onError?.(e) });
				return window.checkout = { update: (c) => (called.push(["update"]), real.update(c)), submit: () => real.submit(), unmount: () => real.unmount(), get state() { return real.state } };
			};
			new Function("mount", "token", "document", "newToken", ...names, "return (async () => {" + text + "\n})()")(place, session, own, async () => session, ...stubs).then(() => called.push(["done"]), (err) => failed = String(err));
			return true;
		};
		return true;
	})()`)
	run := func(t *testing.T, text string) {
		t.Helper()
		evaluate[bool](b, "ran("+jsonText(t, text)+")")
		b.await("the example to run:\n"+text, `called.some((c) => c[0] === "done") || failed`)
		if failed := evaluate[string](b, "failed"); failed != "" {
			t.Errorf("%s\n%s", text, failed)
		}
	}
	const made = `called.filter((c) => c[0] !== "done").length`
	settled := func(t *testing.T) { // what mount() itself told is not what is looked for
		t.Helper()
		b.await("the list", `!deep("wzrd-checkout") || `+live)
		evaluate[bool](b, "(called.length = 0, true)")
	}
	about := map[string]string{
		"Ready":    `{ session: { reference_id: "r", currency: "EUR" } }`,
		"Change":   `{ service: "card", complete: true }`,
		"Submit":   `{ service: "card" }`,
		"Redirect": `{ method: "GET", url: "https://psp.example/", params: {} }`,
		"Status":   `{ status: "paid", revision: 2, session: {} }`,
		"Error":    `{ code: "network", message: "m", retryable: true }`,
	}
	options, _ := d.members("Options")
	for _, name := range options {
		text := d.shownFor("export interface Options {", name)
		if !strings.Contains(text, name) {
			t.Errorf("the example of %s does not use it: %s", name, text)
		}
		run(t, text)
		settled(t)
		if failed := evaluate[string](b, "failed"); failed != "" {
			t.Errorf("%s\n%s", text, failed)
		}
		if event, ok := strings.CutPrefix(name, "on"); ok {
			if n := evaluate[int](b, "(given."+name+"("+about[event]+"), "+made+")"); n != 1 {
				t.Errorf("the example of %s does %d things when it is called, want 1: %s", name, n, text)
			}
		}
	}
	for _, name := range []string{"theme", "layout", "variables"} {
		run(t, d.shownFor("export interface Appearance {", name))
		settled(t)
		if !evaluate[bool](b, `given.appearance.`+name+` !== undefined && failed === ""`) {
			t.Errorf("the example of appearance.%s does not set it, or fails: %s", name, evaluate[string](b, "failed"))
		}
	}
	methods, _ := d.members("Checkout")
	for _, name := range methods {
		run(t, d.shownFor("export interface Checkout {", name))
		settled(t)
	}
	run(t, d.shownFor("export interface Checkout {", "export declare function mount"))
	events, _ := d.members("GlobalEventHandlersEventMap")
	for _, name := range events {
		text := d.shownFor("interface GlobalEventHandlersEventMap {", name)
		run(t, text)
		detail := about[strings.ToUpper(name[5:6])+name[6:]]
		n := evaluate[int](b, `(called.length = 0, document.querySelector("#pay").dispatchEvent(new CustomEvent("`+name+`", { detail: `+detail+`, bubbles: true, composed: true, cancelable: true })), `+made+`)`)
		if n != 1 {
			t.Errorf("the example of %s does %d things, want 1: %s", name, n, text)
		}
	}
	for _, code := range d.union("ErrorCode") {
		text := d.shownFor("export type ErrorCode =", code)
		run(t, text)
		settled(t)
		evaluate[bool](b, `(given.onError({ code: "another", message: "m", retryable: false, field: "f" }), true)`)
		if n := evaluate[int](b, made); n != 0 {
			t.Errorf("the example of %s answers another code too: %s", code, text)
		}
		evaluate[bool](b, `(given.onError({ code: "`+code+`", message: "m", retryable: false, field: "f" }), true)`)
		b.await("the example to answer "+code, made+" === 1")
	}
}

// All that the types and the package's README show compiles, and so does what a page
// may write; what it may not write does not.
func TestTypesCompile(t *testing.T) {
	t.Parallel()
	dir := npm(t, "e2e/testdata/node")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("checkout.d.ts", read(t, declarations))
	n := 0
	snippet := func(kind, imports, text string) {
		n++
		write(fmt.Sprintf("shown-%d.%s", n, kind), imports+"declare const token: string; declare function "+strings.Join(stubs, "; declare function ")+";\n"+text+"\nexport {};\n")
	}
	for path, imports := range map[string]string{
		declarations:         `import { mount } from "./checkout.js";`,
		"../npm/index.d.ts":  `import { loadCheckout } from "@wzrdcheckout/widget";`,
		"../npm/react.d.ts":  `import { Checkout } from "@wzrdcheckout/widget/react";`,
		"../npm/vue.d.ts":    "",
		"../npm/svelte.d.ts": "",
	} {
		shown := example.FindAllStringSubmatch(read(t, path), -1)
		if len(shown) == 0 {
			t.Errorf("%s shows no example", path)
		}
		for _, m := range shown {
			text := regexp.MustCompile(`(?m)^\s*\* ?`).ReplaceAllString(m[1], "")
			switch {
			case imports == "": // templates: the frameworks' own compilers, see TestFrameworks
			case strings.HasPrefix(text, "<"):
				snippet("tsx", imports, "void ("+text+");")
			default:
				snippet("ts", imports, text)
			}
		}
	}
	for _, m := range fence.FindAllStringSubmatch(read(t, "../npm/README.md"), -1) {
		snippet(m[1], "", m[2])
	}
	if n < 5 {
		t.Fatalf("%d snippets found, want at least 5", n)
	}
	check := func(args ...string) (string, error) {
		t.Helper()
		return run(t, dir, nil, "node_modules/.bin/tsc", append([]string{"-p", "."}, args...)...)
	}
	if out, err := check(); err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
	if out, err := check("--module", "esnext", "--moduleResolution", "bundler"); err != nil {
		t.Errorf("tsc for a bundler: %v\n%s", err, out)
	}
	write("wrong.ts", `import { mount } from "./checkout.js";
mount("#pay", { session: "token", sesion: "token" });
`)
	out, err := check()
	if err == nil || !strings.Contains(out, "wrong.ts(2,") || bytes.Count([]byte(out), []byte("error TS")) != 1 {
		t.Errorf("tsc of a wrong page: %v %s, want one error in its line 2", err, out)
	}
}
