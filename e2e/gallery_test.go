package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// galleryAt builds and runs the gallery of states (widget/testdata/gallery): the real
// widget over answers that never change.
func galleryAt(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gallery")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./widget/testdata/gallery")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build gallery: %v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), path, "-listen", "127.0.0.1:0")
	run.Dir = ".."
	said, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Wait() }) // t.Context() is over by then, which ends it
	line, err := bufio.NewReader(said).ReadString('\n')
	_, address, ok := strings.Cut(strings.TrimSpace(line), "gallery on ")
	if err != nil || !ok {
		t.Fatalf("gallery says %q, %v", line, err)
	}
	return address
}

// axeVersion is the pinned axe-core; it is fetched once a run, by npm, and not kept.
const axeVersion = "4.14.1"

// axeSource is the text of axe-core. axe gives it; Without Node the test is skipped, unless
// CHECKOUT_NODE=required, which CI sets: then it fails.
var axeSource = sync.OnceValues(func() (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "wzrdcheckout-axe-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "axe-core@"+axeVersion)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	return string(text), err
})

func axe(t *testing.T) string {
	t.Helper()
	source, err := axeSource()
	if err != nil {
		if os.Getenv("CHECKOUT_NODE") == "required" {
			t.Fatalf("axe-core: %v", err)
		}
		t.Skipf("axe-core needs npm: %v", err)
	}
	return source
}

// flaw is what axe found.
type flaw struct {
	Rule  string   `json:"rule"`
	Nodes []string `json:"nodes"`
}

// audit runs axe over the page; each rule that is broken is an error.
func (b *tab) audit(source, what string) {
	b.t.Helper()
	for _, f := range b.flaws(source, `rules: { "page-has-heading-one": { enabled: false } }`) {
		b.t.Errorf("%s: %s: %s", what, f.Rule, strings.Join(f.Nodes, "\n\t"))
	}
}

// auditColours holds only to the rules that a theme can break.
func (b *tab) auditColours(source, what string) {
	b.t.Helper()
	for _, f := range b.flaws(source, `runOnly: ["color-contrast", "link-in-text-block"]`) {
		b.t.Errorf("%s: %s: %s", what, f.Rule, strings.Join(f.Nodes, "\n\t"))
	}
}

func (b *tab) flaws(source, rules string) []flaw {
	b.t.Helper()
	if !evaluate[bool](b, "!!window.axe") {
		evaluate[bool](b, "(()=>{"+source+"\n;return typeof axe.run == 'function'})()")
	}
	evaluate[bool](b, `(window.found = null, axe.run(document, { resultTypes: ["violations"], `+rules+` }).then(
		(r) => window.found = r.violations.map((v) => ({ rule: v.id, nodes: v.nodes.map((n) => n.target.flat().join(" ") + ": " + n.any.concat(n.all, n.none).map((c) => c.message).join("; ")) })),
		(err) => window.found = [{ rule: String(err), nodes: [] }]), true)`)
	b.await("axe", "window.found")
	return evaluate[[]flaw](b, "window.found")
}

// screen makes the tab a phone or a desktop.
func (b *tab) screen(width, height int64, mobile bool) {
	b.t.Helper()
	b.do("resize", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: mobile})
		return err
	}))
}

// box is where a part stands, in CSS pixels from the widget's own corner.
type box struct {
	Name string  `json:"name"`
	X    float64 `json:"x"`
	W    float64 `json:"w"`
	H    float64 `json:"h"`
}

// boxes measures the parts that fill their line: their place does not depend on which
// fonts a machine has, their height does a little.
const boxes = `(() => {
	const root = deep(".wz"), at = root.getBoundingClientRect();
	return [...root.querySelectorAll(".note, .group, .row, .input, .pay, .state, .facts, .wait")].filter(shown).slice(0, 40).map((e) => {
		const r = e.getBoundingClientRect();
		return { name: e.classList[0] + (e.dataset.k ? " " + e.dataset.k : e.id ? " " + e.id : ""), x: Math.round(r.x - at.x), w: Math.round(r.width), h: Math.round(r.height) };
	});
})()`

// faults are what must never be, whatever the fonts: sideways scrolling, text or controls
// that leave the screen, targets too small to hit (WCAG 2.2, 2.5.8).
const faults = `(() => {
	const out = [], wide = document.documentElement.clientWidth;
	if (document.documentElement.scrollWidth > wide) out.push("scrolls sideways: " + document.documentElement.scrollWidth + " > " + wide);
	for (const e of deep(".wz").querySelectorAll("*")) {
		const r = e.getBoundingClientRect();
		if (r.width && !e.closest(".said, svg") && (r.right > wide + 1 || r.left < -1)) out.push(e.className + " leaves the screen: " + r.left + " to " + r.right);
		if (shown(e) && e.matches("button, summary, .head, .input, a") && (r.height < 24 || r.width < 24)) out.push(e.className + " is too small: " + r.width + " x " + r.height);
	}
	return out;
})()`

// view is one of the gallery's states, and what a shopper does there before it is
// looked at.
type view struct {
	name, session string // of the golden; of the gallery, "" = the same
	options       string // more options of mount()
	do            string
	until         string
	lists         bool // shows a list: looked at in the other layouts too
}

func pick(service string) string {
	return `deep("input[name=service][value='` + service + `']").click()`
}

func write(selector, text string) string {
	return `(deep("` + selector + `").value = "` + text + `", deep("` + selector + `").dispatchEvent(new Event("input", { bubbles: true })))`
}

const press = `deep("button.pay").click()`

var views = []view{
	{name: "loading", until: `deep(".bone")`},
	{name: "list", do: pick("sepa_eur_hpp") + ", " + press, until: `deep(".error")`, lists: true},
	{name: "live", lists: true},
	{name: "many", lists: true},
	{name: "eleven", do: pick("bank4_eur_hpp"), lists: true},
	{name: "no-match", session: "eleven", do: write("input[name=query]", "zzz"), until: `deep(".none")`, lists: true},
	{name: "one", do: press, until: `deep(".error")`, lists: true},
	{name: "sending", session: "live", do: pick("blik_eur_hpp") + ", " + write("input[name='field.blik_eur_hpp.blik_code']", "123456") + ", " + press, until: `deep(".form[aria-busy]")`, lists: true},
	{name: "refused", session: "live", do: pick("voucher_eur_hpp") + ", " + write("input[name='field.voucher_eur_hpp.token']", "X1") + ", " + press, until: `deep(".error")`},
	{name: "unavailable", session: "live", do: pick("wallet_eur_hpp") + ", " + press, until: `deep("[role=alert]")`},
	{name: "elsewhere", session: "live", options: `, redirect: "popup", selected: "payment_card"`, do: `window.open = () => ({ location: { replace() {} }, close() {} }), ` + press, until: state("elsewhere")},
	{name: "phone", session: "live", do: `deep("details.phone").open = true`},
	{name: "soon"},
	{name: "last"},
	{name: "twelve", do: pick("twelve_eur_hpp") + ", " + press, until: `deep(".error")`, lists: true},
	{name: "hostile", lists: true},
	{name: "empty"},
	{name: "failed", lists: true},
	{name: "failed-return"},
	{name: "creating"},
	{name: "pending"},
	{name: "checking"},
	{name: "paid"},
	{name: "verified"},
	{name: "partially_paid"},
	{name: "expired"},
	{name: "refunding"},
	{name: "refunded"},
	{name: "charged_back"},
	{name: "broken"},
	{name: "ended"},
}

// still stops what moves, and takes away what differs from second to second.
const still = `(() => {
	const sheet = new CSSStyleSheet();
	sheet.replaceSync("*, ::before, ::after { animation: none !important; transition: none !important; caret-color: transparent !important } .ends { display: none !important }");
	const shadow = deep("wzrd-checkout").shadowRoot;
	shadow.adoptedStyleSheets = [...shadow.adoptedStyleSheets, sheet];
	scrollTo(0, 0);
	return true;
})()`

// pictured is true once every picture that is in sight came, or did not.
const pictured = `[...deep("wzrd-checkout").shadowRoot.querySelectorAll("img")].every((i) => i.hidden || i.naturalWidth || !i.checkVisibility() ||
	i.getBoundingClientRect().top > Math.min(innerHeight, deep(".rows")?.getBoundingClientRect().bottom ?? 1e9))`

func theme(name string) string {
	return `(deep(".wz").dataset.theme = document.body.className = "` + name + `", true)`
}

// The audit below can fail: a fault that is put into the shadow root is found there.
func TestGallery_AuditFinds(t *testing.T) {
	t.Parallel()
	at, source := galleryAt(t), axe(t)
	b := open(t)
	b.expect("Failed to load resource")
	b.visit(at + "/list")
	b.await("the list", live)
	evaluate[bool](b, `(deep("label.head").removeAttribute("for"), deep(".title").style.color = "#ddd", true)`)
	found := map[string]bool{}
	for _, f := range b.flaws(source, `rules: {}`) {
		found[f.Rule] = true
	}
	if !found["label"] || !found["color-contrast"] {
		t.Errorf("axe found %v, want label and color-contrast", found)
	}
}

// Every state, in four languages, light and dark, on a phone and a desktop, in every
// layout: axe finds nothing, nothing leaves the screen, and every part stands where it
// stood. Boxes are the golden on every machine; pictures are compared too where the
// browser draws text as the one did that they were taken with (pictures_test.go).
func TestGallery(t *testing.T) {
	t.Parallel()
	at, source := galleryAt(t), axe(t)
	for _, c := range []struct {
		name, lang, layout string
		themes             []string
		width, height      int64
		pictures           bool
	}{
		{"desktop-en", "en", "", []string{"light", "dark"}, 1120, 900, true},
		{"phone-ar", "ar", "", []string{"dark", "light"}, 390, 844, true},
		{"phone-uk", "uk", "", []string{"light", "dark"}, 390, 844, true},
		{"desktop-de", "de", "", []string{"dark", "light"}, 1120, 900, true},
		{"narrow-de", "de", "", []string{"light"}, 320, 640, false},
		{"desktop-en-grid", "en", "grid", []string{"light"}, 1120, 900, true},
		{"phone-ar-grid", "ar", "grid", []string{"dark"}, 390, 844, false},
		{"phone-en-accordion", "en", "accordion", []string{"dark"}, 390, 844, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := open(t, sameText)
			b.expect("Failed to load resource")
			b.screen(c.width, c.height, c.width < 600)
			b.visit(fmt.Sprintf("%s/live?lang=%s", at, c.lang))
			b.await("the first list", live)
			got := map[string][]box{}
			var shown []view
			album := newAlbum(b, c.name)
			for _, v := range views {
				if c.layout != "" && !v.lists || v.name == "phone" && c.width < 600 {
					continue
				}
				shown = append(shown, v)
				if v.session == "" {
					v.session = v.name
				}
				evaluate[bool](b, fmt.Sprintf(`(WzrdCheckout.mount("#pay", { session: "%s:%s", layout: "%s", appearance: { theme: "%s" }%s }), %s)`, v.session, c.lang, c.layout, c.themes[0], v.options, theme(c.themes[0])))
				if v.name != "loading" {
					b.await(v.name, live)
				}
				if v.do != "" {
					evaluate[bool](b, "("+v.do+", true)")
				}
				if v.until != "" {
					b.await(v.name, v.until)
				}
				for _, f := range evaluate[[]string](b, faults) {
					t.Errorf("%s: %s", v.name, f)
				}
				got[v.name] = evaluate[[]box](b, boxes)
				evaluate[bool](b, still)
				b.await("the pictures", pictured)
				for i, name := range c.themes {
					evaluate[bool](b, theme(name))
					what := v.name + ", " + name
					switch {
					case i == 0:
						b.audit(source, what)
					case v.name != "many": // 228 times the colours of a row
						b.auditColours(source, what)
					}
					if c.pictures {
						album.page(name, v.name)
					}
					b.picture("gallery-" + c.name + "-" + name + "-" + v.name)
				}
			}
			compareLayout(t, filepath.Join("testdata", "layout", c.name+".json"), shown, got)
			album.compare()
		})
	}
}

func compareLayout(t *testing.T, path string, shown []view, got map[string][]box) {
	t.Helper()
	if *update {
		var out strings.Builder
		out.WriteString("{\n")
		for i, v := range shown {
			name := v.name
			text, err := json.Marshal(got[name])
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%q: %s", name, strings.ReplaceAll(string(text), "},{", "},\n {"))
			if i < len(shown)-1 {
				out.WriteString(",")
			}
			out.WriteString("\n")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(out.String()+"}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	var want map[string][]box
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, v := range shown {
		name := v.name
		if len(got[name]) != len(want[name]) {
			t.Errorf("%s has the parts %v, want %v", name, got[name], want[name])
			continue
		}
		for i, g := range got[name] {
			w := want[name][i]
			tall := math.Max(52, w.H*0.35) // a text may take two lines more in another font
			if g.Name != w.Name || math.Abs(g.X-w.X) > 2 || math.Abs(g.W-w.W) > 2 || math.Abs(g.H-w.H) > tall {
				t.Errorf("%s: %+v, want %+v", name, g, w)
			}
		}
	}
}
