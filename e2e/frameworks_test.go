package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/memory"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"wzrdcheckout/internal/app"
)

// need skips the test where a program is missing, unless the environment variable says
// that it is required: then it fails.
func need(t *testing.T, variable string, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv(variable) == "required" {
			t.Fatalf("%s=required, and there is no %s on the PATH", variable, name)
		}
		t.Skipf("no %s on the PATH; with %s=required this fails", name, variable)
	}
}

// oneNPM keeps installations apart: two cores have enough to do with one.
var oneNPM sync.Mutex

// offline is how npm says that there is no registry to ask.
var offline = regexp.MustCompile(`ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|ETIMEDOUT|ENOTCACHED`)

// npm copies a folder of the repository, and the package beside it, to a place of its
// own, and installs there exactly what the lock file names. It gives the copy's path.
func npm(t *testing.T, folder string) string {
	t.Helper()
	need(t, "CHECKOUT_NODE", "node", "npm")
	root := t.TempDir()
	for _, name := range []string{"npm", folder} {
		if err := copyTree(filepath.Join(root, name), filepath.Join("..", name)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, folder)
	oneNPM.Lock()
	defer oneNPM.Unlock()
	out, err := run(t, dir, nil, "npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
	if err != nil {
		if offline.MatchString(out) && os.Getenv("CHECKOUT_NODE") != "required" {
			t.Skipf("no npm registry to be reached; with CHECKOUT_NODE=required this fails:\n%s", out)
		}
		t.Fatalf("npm ci in %s: %v\n%s", folder, err, out)
	}
	return dir
}

// copyTree copies sources: nothing that was installed or built.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch entry.Name() {
		case "node_modules", "dist", "orders":
			if entry.IsDir() {
				return filepath.SkipDir
			}
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o644)
	})
}

// run runs a command and gives what it printed.
func run(t *testing.T, dir string, environment []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), environment...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// shopFront serves a page's files and, as a shop's server does, POST /session.
type shopFront struct {
	address string
	p       *program
	orders  atomic.Int64
	mu      sync.Mutex
	last    string // id of the session opened last
}

// newShopFront serves the files of dir at /, and the package's at /npm/; change may
// alter the settings of the program behind it.
func newShopFront(t *testing.T, dir string, change func(*app.DemoConfig)) *shopFront {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &shopFront{address: "http://" + l.Addr().String()}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(dir)))
	mux.Handle("GET /npm/", http.StripPrefix("/npm/", http.FileServer(http.Dir("../npm"))))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /session", func(w http.ResponseWriter, _ *http.Request) {
		order := "order-" + strconv.FormatInt(s.orders.Add(1), 10)
		code, opened := s.p.call("POST", "/v1/sessions", map[string]any{
			"reference_id": order, "amount": 39, "currency": "EUR", "metadata": map[string]any{"margin": "not for the shopper"},
		})
		if code != http.StatusCreated {
			t.Errorf("open session: %d %v", code, opened)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		s.mu.Lock()
		s.last = opened["id"].(string)
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"order": order, "base": s.p.URL(), "session": opened["token"]})
	})
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	s.p = startWith(t, func(c *app.DemoConfig) {
		c.Origins = []string{s.address}
		change(c)
	})
	return s
}

func (s *shopFront) session() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// watchMemories lets heap count the memory of every WebAssembly module that is still there.
const watchMemories = `{
	const made = window.wasmMemories = [];
	for (const name of ["instantiate", "instantiateStreaming"]) {
		const real = WebAssembly[name];
		WebAssembly[name] = (...args) => real.apply(WebAssembly, args).then((result) => {
			for (const e of Object.values((result.instance || result).exports)) if (e instanceof WebAssembly.Memory) made.push(new WeakRef(e));
			return result;
		});
	}
}`

// heap is what a page holds after the collectors ran.
type heap struct{ Nodes, Listeners, Script, Module int64 }

func (b *tab) heap() heap {
	b.t.Helper()
	var h heap
	b.do("measure the heap", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		// What one collection finds dead may hold what only the next finds.
		for range 4 {
			if _, err := cdp.Call(ctx, t, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
				return err
			}
		}
		dom, err := cdp.Call(ctx, t, memory.GetDOMCounters, cdp.Empty{})
		if err != nil {
			return err
		}
		script, err := cdp.Call(ctx, t, runtime.GetHeapUsage, cdp.Empty{})
		if err != nil {
			return err
		}
		h.Nodes, h.Listeners, h.Script = dom.Nodes, dom.JsEventListeners, int64(script.UsedSize)
		return nil
	}))
	h.Module = evaluate[int64](b, `wasmMemories.reduce((sum, ref) => sum + (ref.deref()?.buffer.byteLength ?? 0), 0)`)
	return h
}

// forget leaves what was sent so far out of what requests counts.
func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = nil
}

// widgets counts the checkouts of a page, wherever they are.
const widgets = `document.querySelectorAll("wzrd-checkout").length`

// The pages of examples/, built as their users build them, and in the frameworks'
// development mode, in which React runs every effect twice and all of them say what they
// do not like.
func TestFrameworks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"html", "react", "vue", "svelte"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chromium(t)
			dir := "../examples/html" // needs no build
			if name != "html" {
				dir = npm(t, "examples/"+name)
				out, err := run(t, dir, []string{"NODE_ENV=development"}, "npm", "run", "build", "--", "--mode", "development")
				if err != nil {
					t.Fatalf("build: %v\n%s", err, out)
				}
				dir = filepath.Join(dir, "dist")
			}
			s := newShopFront(t, dir, func(*app.DemoConfig) {})
			b := open(t)
			b.do("watch memories", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
				_, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watchMemories})
				return err
			}))
			b.visit(s.address)
			b.await("the payment methods", `shown(`+quoteCall("deep", row(card))+`)`)
			b.await("the widget to take over", live)
			b.picture("framework-" + name)
			once(b, s)
			relocates(b)
			leavesNothing(b)

			b.forget()
			choose(b)
			b.click(button)
			b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
			if inv := s.p.theInvoice(); inv.Service != sepa || inv.ReferenceID != "order-1" {
				t.Errorf("WZRDPAY was asked for %s of %s, want %s of order-1", inv.Service, inv.ReferenceID, sepa)
			}

			b.visit(s.address)
			b.await("the widget to take over", live)
			if code, answer := s.p.call("POST", "/v1/sessions/"+s.session()+"/expire", nil); code != http.StatusOK {
				t.Fatalf("expire: %d %v", code, answer)
			}
			b.await("the page to be told", `deep("#status").textContent === "expired"`)
			if problem := evaluate[string](b, `deep("#problem").textContent`); problem != "" {
				t.Errorf("the page was told of a problem: %s", problem)
			}
		})
	}
}

// once holds that there is one widget, however often the framework ran its effects.
func once(b *tab, s *shopFront) {
	b.t.Helper()
	b.never("there is not exactly one widget", widgets+" !== 1", 500*time.Millisecond)
	for _, text := range []string{"POST " + s.address + "/session", "GET " + s.p.URL() + "/v1/checkout?locale=", ".wasm"} {
		if n := b.requests(text); n != 1 {
			b.t.Errorf("the page sent %d requests %s, want 1", n, text)
		}
	}
}

// relocates changes the language: the same widget speaks it, and keeps what was typed.
func relocates(b *tab) {
	b.t.Helper()
	b.click(row(sepa))
	b.fill(payer, "Olena Demo")
	english := evaluate[string](b, `deep("`+button+`").textContent`)
	evaluate[bool](b, `(window.before = deep("wzrd-checkout"), true)`)
	setLanguage(b, "uk")
	b.await("the other language", `deep(".wz").lang === "uk" && deep("`+button+`").textContent !== `+strconv.Quote(english))
	if !evaluate[bool](b, `window.before === deep("wzrd-checkout")`) {
		b.t.Error("another language made another widget, want the same one")
	}
	if typed := evaluate[string](b, quoteCall("deep", payer)+".value"); typed != "Olena Demo" {
		b.t.Errorf("another language left %q of what was typed", typed)
	}
	setLanguage(b, "en")
	b.await("English again", `deep("`+button+`").textContent === `+strconv.Quote(english))
	evaluate[bool](b, "delete window.before")
}

func setLanguage(b *tab, code string) {
	b.t.Helper()
	evaluate[bool](b, `((e)=>{e.value=`+strconv.Quote(code)+`;e.dispatchEvent(new Event("change",{bubbles:true}));return true})(deep("#language"))`)
}

// leavesNothing takes the widget away and brings it back 50 times.
func leavesNothing(b *tab) {
	b.t.Helper()
	cycle := func(n int) {
		for range n {
			evaluate[bool](b, `(deep("#toggle").click(), true)`)
			b.await("the widget to go", widgets+" === 0")
			evaluate[bool](b, `(deep("#toggle").click(), true)`)
			b.await("the widget to come back", live+" && "+widgets+" === 1")
		}
	}
	cycle(5) // what is made once, and caches, are there by now
	before := b.heap()
	cycle(50)
	after := b.heap()
	b.t.Logf("50 mounts: before %+v, after %+v", before, after)
	// A widget has about 200 nodes and 10 listeners; a leak of one thing a mount is 50.
	if grown := after.Nodes - before.Nodes; grown > 40 {
		b.t.Errorf("50 mounts left %d nodes", grown)
	}
	if grown := after.Listeners - before.Listeners; grown > 20 {
		b.t.Errorf("50 mounts left %d listeners", grown)
	}
	if grown := after.Script - before.Script; grown > 1<<20 {
		b.t.Errorf("50 mounts left %d bytes on the script's heap", grown)
	}
	// The module is started afresh when it has grown by 12 MB (widget/js/_core.js); before
	// that its memory may grow, so this holds that it does not do so without end.
	if after.Module == 0 || after.Module > 32<<20 {
		b.t.Errorf("the module holds %d bytes, want at most 32 MiB, and some", after.Module)
	}
}

// What a flaky network does to the loader: it tries again by itself, and when that does
// not help the page is told, and can try again.
func TestLoaderWithoutABFF(t *testing.T) {
	t.Parallel()
	chromium(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte(`<!doctype html><html lang=en><title>Shop</title><div id=pay></div>
<script type=module src=page.js></script>`), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `import { loadCheckout } from "/npm/index.js";
import { attach } from "/npm/attach.js";
Object.assign(window, { loadCheckout, attach });`
	if err := os.WriteFile(filepath.Join(dir, "page.js"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newShopFront(t, dir, func(*app.DemoConfig) {})

	// In front of the BFF stands somebody who refuses the module as often as told.
	var refuse atomic.Int64
	bff, err := url.Parse(s.p.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(bff)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/checkout.mjs") && refuse.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = front.Serve(l) }()
	t.Cleanup(func() { _ = front.Close() })
	base := strconv.Quote("http://" + l.Addr().String())

	b := open(t)
	b.expect("503") // the browser says so
	b.visit(s.address)
	b.await("the package", "window.attach")
	token := strconv.Quote(s.p.openSession("loader")["token"].(string))

	t.Run("gives up after three tries", func(t *testing.T) {
		refuse.Store(3)
		evaluate[bool](b, `(window.told = [], window.widget = attach(deep("#pay")), widget.set({base: `+base+`, session: `+token+`, onError: (e) => told.push(e)}), true)`)
		b.await("the page to be told", "told.length")
		if told := evaluate[string](b, "JSON.stringify(told.map((e) => [e.code, e.retryable]))"); told != `[["network",true]]` {
			t.Errorf("the page was told %s, want one network error that can be retried", told)
		}
	})
	t.Run("the next call starts anew and gets over one failure", func(t *testing.T) {
		refuse.Store(1)
		evaluate[bool](b, `(widget.set({base: `+base+`, session: `+token+`, onError: (e) => told.push(e)}), true)`)
		b.await("the widget", live)
		if n := evaluate[int](b, "told.length"); n != 1 {
			t.Errorf("the page was told %d times, want no more than the one before", n)
		}
	})
	t.Run("one promise per BFF", func(t *testing.T) {
		if !evaluate[bool](b, `loadCheckout(`+base+`) === loadCheckout(`+base+` + "/")`) {
			t.Error("two calls gave two promises")
		}
		b.await("another BFF to be another module", `(window.both ||= (loadCheckout(`+strconv.Quote(s.p.URL())+`).then(async (m) => window.differ = m.mount !== (await loadCheckout(`+base+`)).mount), true), window.differ)`)
	})
	t.Run("what is no address", func(t *testing.T) {
		for _, wrong := range []string{"undefined", "null", `""`, `"javascript:alert(1)//"`, `"data:text/javascript,export const mount=1"`} {
			evaluate[bool](b, `(window.refused = "", loadCheckout(`+wrong+`).catch((err) => window.refused = err.message), true)`)
			b.await(wrong+" to be refused", `refused.includes("base must be")`)
		}
		evaluate[bool](b, `(told.length = 0, window.other = attach(document.createElement("div")), other.set({base: "javascript:1", session: "x", onError: (e) => told.push(e)}), true)`)
		b.await("the page to be told", `told[0]?.code === "load_failed" && told[0].retryable === false`)
	})
	t.Run("an end before the module is there", func(t *testing.T) {
		evaluate[bool](b, `(widget.end(), true)`)
		b.await("no widget", widgets+" === 0")
		evaluate[bool](b, `(window.widget = attach(deep("#pay")), widget.set({base: `+base+`, session: `+token+`}), widget.end(), true)`)
		b.never("there is a widget", widgets+" !== 0", 500*time.Millisecond)
	})
	t.Run("many props at once", func(t *testing.T) {
		evaluate[bool](b, `(window.widget = attach(deep("#pay")), true)`)
		const sets = `(["de","uk","en","uk"].forEach((locale, i) => widget.set({base: %s, session: %s, locale, hide: [%s], appearance: {variables: i %% 2 ? {radius: "3px"} : {accent: "red"}}, onError: (e) => told.push(e)})), true)`
		b.forget()
		evaluate[bool](b, fmt.Sprintf(sets, base, token, `"none" + i`)) // each would mount anew
		b.await("the last of them", live+` && deep(".wz").lang === "uk" && `+widgets+" === 1")
		if n := b.requests("GET http://" + l.Addr().String() + "/v1/checkout?locale="); n != 1 {
			t.Errorf("four sets of props made %d widgets, want one", n)
		}
		evaluate[bool](b, fmt.Sprintf(sets, base, token, `"none3"`)) // each is an update
		b.await("the last of them", live+` && deep(".wz").lang === "uk" && `+widgets+" === 1")
		style := evaluate[string](b, `deep("wzrd-checkout").shadowRoot.adoptedStyleSheets.map((s) => s.cssRules[0]).find((r) => r?.selectorText === ":host" && r.style[0]?.startsWith("--wzrd-")).style.cssText`)
		if strings.Contains(style, "accent") || !strings.Contains(style, "--wzrd-radius: 3px") {
			t.Errorf("the look is %q, want that of the last props alone", style)
		}
	})
	t.Run("an option that does not exist is told by name", func(t *testing.T) {
		b.expect("unknown option: tehme")
		evaluate[bool](b, `(widget.end(), told.length = 0, window.widget = attach(deep("#pay")), widget.set({base: `+base+`, session: `+token+`, tehme: "dark", onError: (e) => told.push(e)}), true)`)
		b.await("the page to be told", `told[0]?.code === "unknown_option" && told[0].field === "tehme"`)
	})
}

// Nothing of the package, nor the module of the BFF, needs a window to be imported.
func TestPackageOnAServer(t *testing.T) {
	t.Parallel()
	dir := npm(t, "e2e/testdata/node")
	module, err := os.ReadFile("../public/widget/v1/checkout.mjs")
	if err != nil {
		t.Fatalf("the widget is not built: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "checkout.mjs"), module, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, dir, nil, "node", "server.js")
	if err != nil {
		t.Fatalf("node server.js: %v\n%s", err, out)
	}
	if strings.TrimSpace(out) != "all of it" {
		t.Errorf("node server.js prints %q", out)
	}
}

// The package as it would be published: all that its entries name, and no more.
func TestPackageContents(t *testing.T) {
	t.Parallel()
	need(t, "CHECKOUT_NODE", "node", "npm")
	cmd := exec.CommandContext(t.Context(), "npm", "pack", "--dry-run", "--json", "--ignore-scripts", "../npm")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("npm pack: %v\n%s", err, stderr.String())
	}
	var packed []struct {
		Files []struct {
			Path string
			Size int64
		}
	}
	if err := json.Unmarshal(out, &packed); err != nil || len(packed) != 1 {
		t.Fatalf("npm pack says %s: %v", out, err)
	}
	got := map[string]bool{}
	for _, f := range packed[0].Files {
		got[f.Path] = true
	}
	want := []string{"LICENSE", "README.md", "package.json", "attach.js", "attach.d.ts", "checkout.d.ts"}
	var manifest struct {
		Exports map[string]any
	}
	text, err := os.ReadFile("../npm/package.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	for _, entry := range manifest.Exports {
		if files, ok := entry.(map[string]any); ok {
			for _, file := range files {
				want = append(want, strings.TrimPrefix(fmt.Sprint(file), "./"))
			}
		}
	}
	for _, name := range want {
		if !got[name] {
			t.Errorf("the package lacks %s", name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("the package has %s, which nothing names", name)
	}
}

// The lock files pin every package by its hash and name no registry.
func TestLockFiles(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"../examples/html", "../examples/react", "../examples/vue", "../examples/svelte", "../examples/shop-node", "testdata/node"} {
		text, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
		if err != nil {
			t.Error(err)
			continue
		}
		var lock struct {
			Packages map[string]struct{ Version, Resolved, Integrity string }
		}
		if err := json.Unmarshal(text, &lock); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		for name, p := range lock.Packages {
			switch {
			case name == "", strings.HasPrefix(p.Resolved, "file:"):
			case p.Resolved != "" || p.Integrity == "":
				t.Errorf("%s: %s is resolved from %q with hash %q, want no address and a hash", dir, name, p.Resolved, p.Integrity)
			}
		}
		manifest, err := os.ReadFile(filepath.Join(dir, "package.json"))
		if err != nil {
			t.Error(err)
			continue
		}
		var pinned struct{ Dependencies, DevDependencies map[string]string }
		if err := json.Unmarshal(manifest, &pinned); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		for _, list := range []map[string]string{pinned.Dependencies, pinned.DevDependencies} {
			for name, version := range list {
				if !regexp.MustCompile(`^(\d+\.\d+\.\d+|file:.*)$`).MatchString(version) {
					t.Errorf("%s: %s is %q, want one version", dir, name, version)
				}
			}
		}
	}
}
