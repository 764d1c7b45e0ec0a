package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"wzrdcheckout/internal/app"
	"wzrdcheckout/internal/sandbox"
)

// module is a shop's page with mount() at hand and everything that the widget tells in
// window.heard, as [name, detail]. Session is the token.
func module(base, token string) string {
	return `<div id="pay"></div><div id="other"></div><script type="module">
		import { mount } from "` + base + `/widget/v1/checkout.mjs";
		window.heard = [];
		for (const name of ["ready", "change", "submit", "redirect", "status", "error"]) document.addEventListener("wzrd-" + name, (e) => heard.push([name, e.detail]));
		window.mount = mount;
		window.session = "` + token + `";
	</script>`
}

// embedded is a BFF and a shop elsewhere whose page is module.
func embedded(t *testing.T, reference string, quiet ...string) (p *program, address, session string) {
	t.Helper()
	var s map[string]any
	address = shopPage(t, func() (string, string) {
		return "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' data: " + p.URL() + " " + strings.Replace(p.URL(), "http", "ws", 1) + "; form-action *", module(p.URL(), s["token"].(string))
	})
	p = startWith(t, func(c *app.DemoConfig) { c.Origins = []string{address} }, quiet...)
	s = p.openSession(reference)
	return p, address, s["id"].(string)
}

// times counts what the widget told by that name.
func (b *tab) times(name string) int {
	b.t.Helper()
	return evaluate[int](b, `heard.filter((h) => h[0] == "`+name+`").length`)
}

// beside gives the tab that the page opens while f runs.
func (b *tab) beside(f func()) *tab {
	b.t.Helper()
	opened := chromedp.WaitNewTarget(b.ctx, func(i *target.Info) bool { return i.Type == "page" })
	f()
	select {
	case id := <-opened:
		ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithTargetID(id))
		b.t.Cleanup(cancel)
		// The first run owns the tab: it must not have a deadline.
		if err := chromedp.Do(ctx); err != nil {
			b.t.Fatalf("take the new window: %v", err)
		}
		return &tab{t: b.t, ctx: ctx}
	case <-time.After(patience):
		b.t.Fatal("no window was opened")
		return nil
	}
}

// The provider's page opens in the click, the stream brings the outcome, and the way back
// closes the window.
func TestRedirect_Beside(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"popup", "tab"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p, address, _ := embedded(t, "beside-"+mode)
			b := open(t)
			b.visit(address)
			b.await("the page", "window.mount")
			evaluate[bool](b, `(mount("#pay", { session, redirect: "`+mode+`" }), true)`)
			b.await("the widget to take over", live)
			b.click(row(card))
			provider := b.beside(func() { b.click(button) })
			b.await("the widget to say where to go on", state("elsewhere"))
			b.picture("redirect-" + mode)
			provider.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
			if evaluate[bool](provider, "!!window.opener") {
				t.Error("the provider's page can reach the shop's")
			}
			provider.click("#pay")
			b.await("the widget to say paid", state("paid"))
			if evaluate[string](b, "location.origin") != address {
				t.Error("the shop's page went away")
			}
			p.eventually("the window to close", func() bool {
				list, err := chromedp.Targets(b.ctx)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, i := range list {
					if i.Type == "page" {
						n++
					}
				}
				return n == 1
			})
			if n := b.times("redirect"); n != 1 {
				t.Errorf("the page heard of %d redirects, want 1", n)
			}
		})
	}
}

func TestRedirect_BlockedPopup(t *testing.T) {
	t.Parallel()
	_, address, _ := embedded(t, "blocked")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(window.open = () => null, mount("#pay", { session, redirect: "popup" }), true)`)
	b.await("the widget to take over", live)
	b.click(row(card))
	b.click(button)
	b.await("WZRDPAY's page in this window", `location.pathname.includes("hpp")`)
}

func TestRedirect_Manual(t *testing.T) {
	t.Parallel()
	p, address, _ := embedded(t, "manual")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(mount("#pay", { session, redirect: "manual", onRedirect: (d) => window.told = d }), true)`)
	b.await("the widget to take over", live)
	b.click(row(card))
	b.click(button)
	b.await("onRedirect", "window.told")
	told := evaluate[map[string]any](b, "told")
	if told["method"] != "GET" || !strings.Contains(told["url"].(string), "hpp") {
		t.Errorf("onRedirect = %v, want GET and WZRDPAY's page", told)
	}
	b.never("the page goes away", `location.pathname.includes("hpp")`, time.Second)
	if p.theInvoice().Service != card {
		t.Errorf("invoice of %s, want %s", p.theInvoice().Service, card)
	}
}

// The code's address, opened on a phone, pays; the desktop hears it.
func TestPayOnPhone(t *testing.T) {
	t.Parallel()
	p, address, id := embedded(t, "phone")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(mount("#pay", { session }), true)`)
	b.await("the widget to take over", live)
	b.await("the offer", `shown(deep(".phone summary"))`)
	if n := b.requests("qr.svg"); n != 0 {
		t.Errorf("the code was fetched %d times before anybody wanted it", n)
	}
	b.click(".phone summary")
	b.await("the code", `deep(".phone img").complete && deep(".phone img").naturalWidth > 0`)
	if want := p.URL() + "/checkout/" + id + "/qr.svg"; b.requests("GET "+want) != 1 {
		t.Errorf("the code is not at %s", want)
	}
	b.picture("phone-code")
	mobile := open(t, phone)
	mobile.visit(p.URL() + "/checkout/" + id)
	mobile.await("the widget to take over", live)
	if evaluate[bool](mobile, `shown(deep(".phone"))`) {
		t.Error("a phone is offered to pay on a phone")
	}
	mobile.picture("hosted-phone")
	mobile.click(row(card))
	mobile.click(button)
	mobile.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	b.await("the desktop to wait", state("pending"))
	mobile.click("#pay")
	b.await("the desktop to say paid", state("paid"))
	mobile.await("the phone to say paid", state("paid"))
}

// With the keyboard alone: one Tab stop for the list, arrows, typing, Enter; the first
// wrong field gets the focus; what happens is said once.
func TestKeyboardOnly(t *testing.T) {
	t.Parallel()
	p, address, _ := embedded(t, "keyboard")
	b := open(t)
	press := func(keys string) { b.t.Helper(); b.do("press", chromedp.KeyEvent(keys)) }
	at := func(what string) string {
		return `(() => { let e = document.activeElement; while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement; return e && (` + what + `) })()`
	}
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(mount("#pay", { session }), true)`)
	b.await("the widget to take over", live)
	if !evaluate[bool](b, `!!deep("input[name=query]")`) {
		t.Fatal("no search in a list of this length: the journey below would be another")
	}
	press(kb.Tab) // the search
	press(kb.Tab)
	b.await("the focus in the list", at(`e.name == "service"`))
	press("sepa")
	b.await("typing to jump", at(`e.value == "`+sepa+`" && e.checked`))
	press(kb.ArrowDown)
	b.await("the arrow to move", at(`e.name == "service" && e.checked && e.value != "`+sepa+`"`))
	press(kb.ArrowUp)
	b.await("the arrow to move back", at(`e.value == "`+sepa+`" && e.checked`))
	press("\r")
	b.await("the first wrong field to have the focus", at(`e.name.endsWith(".payer_name") && e.getAttribute("aria-invalid") == "true"`))
	if !evaluate[bool](b, `(() => { const r = deep(".error").getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight })()`) {
		t.Error("the error is out of sight")
	}
	press("Olena Demo")
	press(kb.Tab)
	b.await("the next field", at(`e.name.endsWith(".iban_number")`))
	press(goodIBAN)
	evaluate[bool](b, `(window.said = [], new MutationObserver(() => said.push(deep(".said").textContent)).observe(deep(".said"), { childList: true, characterData: true, subtree: true }), true)`)
	press("\r")
	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	if p.theInvoice().Service != sepa {
		t.Errorf("invoice of %s, want %s", p.theInvoice().Service, sepa)
	}
}

// What changes by itself is announced, each change once.
func TestAnnouncedOnce(t *testing.T) {
	t.Parallel()
	p, address, id := embedded(t, "announced")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(mount("#pay", { session }), true)`)
	b.await("the widget to take over", live)
	evaluate[bool](b, `(window.said = [], new MutationObserver(() => said.push(deep(".said").textContent)).observe(deep(".said"), { childList: true, characterData: true, subtree: true }), true)`)
	other := open(t)
	other.visit(p.URL() + "/checkout/" + id)
	other.await("the widget to take over", live)
	other.click(row(card))
	other.click(button)
	other.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	b.await("the widget to wait", state("pending"))
	other.click("#pay")
	b.await("the widget to say paid", state("paid"))
	said := evaluate[[]string](b, "said")
	count := map[string]int{}
	for _, s := range said {
		count[s]++
		if count[s] > 1 {
			t.Errorf("%q was announced more than once: %q", s, said)
		}
	}
	if len(said) == 0 || !strings.HasPrefix(said[len(said)-1], "Payment complete") {
		t.Errorf("announced %q, want the payment's end last", said)
	}
	// A callback that comes again tells the page nothing.
	status := b.times("status")
	if _, err := p.Sandbox().Act(p.theInvoice().ID, sandbox.Action{Name: "status", Status: "processed"}); err != nil {
		t.Fatalf("send the callback again: %v", err)
	}
	b.never("a status is told again", `heard.filter((h) => h[0] == "status").length != `+jsonText(t, status), time.Second)
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// measure counts nodes, listeners and the heap, after the garbage is gone.
func (b *tab) measure() map[string]float64 {
	b.t.Helper()
	out := map[string]float64{}
	b.do("measure", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, performance.Enable, performance.EnableParams{}); err != nil {
			return err
		}
		for range 3 {
			if _, err := cdp.Call(ctx, t, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
				return err
			}
		}
		m, err := cdp.Call(ctx, t, performance.GetMetrics, cdp.Empty{})
		if err != nil {
			return err
		}
		for _, v := range m.Metrics {
			out[v.Name] = v.Value
		}
		return nil
	}))
	return out
}

func TestMountFiftyTimes(t *testing.T) {
	t.Parallel()
	_, address, _ := embedded(t, "fifty")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	round := func(n int) {
		t.Helper()
		evaluate[bool](b, `(window.done = 0, (async () => {
			for (let i = 0; i < `+jsonText(t, n)+`; i++) {
				await new Promise((ready) => { window.checkout = mount("#pay", { session, onReady: ready }); });
				checkout.unmount();
				await new Promise((next) => setTimeout(next));
			}
			done = 1;
		})(), true)`)
		b.await("the rounds", "done")
	}
	round(5)
	before := b.measure()
	round(50)
	after := b.measure()
	if evaluate[int](b, `document.querySelector("#pay").childNodes.length`) != 0 {
		t.Error("unmount() leaves nodes in the page")
	}
	if d := after["Nodes"] - before["Nodes"]; d > 100 {
		t.Errorf("50 times more leave %v nodes", d)
	}
	if d := after["JSEventListeners"] - before["JSEventListeners"]; d > 10 {
		t.Errorf("50 times more leave %v listeners", d)
	}
	if d := after["JSHeapUsedSize"] - before["JSHeapUsedSize"]; d > 1e6 {
		t.Errorf("50 times more leave %v bytes", d)
	}
}

// The module collects no garbage; its memory stays bounded all the same, and what was
// chosen and typed lives through its renewals.
func TestMemoryBounded(t *testing.T) {
	t.Parallel()
	_, address, _ := embedded(t, "memory")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(() => {
		const real = WebAssembly.instantiate;
		window.memories = [];
		WebAssembly.instantiate = async (...a) => { const r = await real(...a); memories.push((r.instance ?? r).exports.memory); return r; };
		window.checkout = mount("#pay", { session });
		return true;
	})()`)
	b.await("the widget to take over", live)
	if !evaluate[bool](b, "memories.length == 1 && !!memories[0]") {
		t.Skip("this build's module keeps its memory to itself: standard Go collects garbage")
	}
	b.click(row(sepa))
	b.fill(payer, "Olena Demo")
	evaluate[bool](b, `(window.rounds = 0, (async () => {
		for (; rounds < 3000; rounds++) {
			checkout.update({ appearance: { theme: rounds % 2 ? "dark" : "light" } });
			if (rounds % 50 == 49) await new Promise((next) => setTimeout(next));
		}
	})(), true)`)
	b.await("3,000 updates", "rounds == 3000")
	most := evaluate[float64](b, "Math.max(...memories.map((m) => m.buffer.byteLength))")
	renewed := evaluate[int](b, "memories.length - 1")
	t.Logf("3,000 updates: at most %.1f MB, the module renewed %d times", most/1e6, renewed)
	if most > 48e6 {
		t.Errorf("the module grew to %.0f bytes", most)
	}
	if !evaluate[bool](b, `deep('`+payer+`').value == "Olena Demo" && checkout.state.service == "`+sepa+`" && deep(".wz").dataset.theme == "dark"`) {
		t.Error("the renewed module lost what was chosen or typed")
	}
	b.fill(iban, "x")
	b.click(button)
	b.await("the renewed module to check", `deep(".error")`)
}

// Two at once, again on the same element, in a shop's own shadow root, markup that is
// swapped under the widget, the script twice, options that do not exist.
func TestPlaces(t *testing.T) {
	t.Parallel()
	p, address, _ := embedded(t, "places")
	second := p.openSession("places-2")["token"].(string)
	b := open(t)
	b.expect("unknown option")
	b.visit(address)
	b.await("the page", "window.mount")

	evaluate[bool](b, `(window.one = mount("#pay", { session }), window.two = mount("#other", { session: "`+second+`", colour: "red", redirect: "sideways" }), true)`)
	b.await("both", `one.state.step == "ready" && two.state.step == "ready"`)
	evaluate[bool](b, `(document.querySelector("#other wzrd-checkout").shadowRoot.querySelector("input[value='`+card+`']").click(), true)`)
	b.await("a choice in one of them", `two.state.service == "`+card+`" && one.state.service == ""`)
	unknown := evaluate[[]string](b, `heard.filter((h) => h[0] == "error" && h[1].code == "unknown_option").map((h) => h[1].field)`)
	if strings.Join(unknown, ",") != "redirect: sideways,colour" && strings.Join(unknown, ",") != "colour,redirect: sideways" {
		t.Errorf("unknown options told = %q, want colour and redirect: sideways", unknown)
	}

	evaluate[bool](b, `(window.old = one, window.one = mount("#pay", { session }), true)`)
	b.await("the second mount on the element", `one.state.step == "ready" && document.querySelectorAll("#pay wzrd-checkout").length == 1`)

	// Turbo and the like swap markup; the element comes and goes with it.
	evaluate[bool](b, `(document.querySelector("#pay").innerHTML = '<wzrd-checkout session="' + session + '"></wzrd-checkout>', true)`)
	b.await("the swapped element", `document.querySelector("#pay wzrd-checkout").checkout?.state.step == "ready"`)
	evaluate[bool](b, `(document.querySelector("#pay").innerHTML = "", true)`)
	evaluate[bool](b, `(window.host = document.querySelector("#pay").attachShadow({ mode: "open" }), host.innerHTML = '<section></section>', window.inner = mount(host.querySelector("section"), { session }), true)`)
	b.await("the one in a shadow root", `inner.state.step == "ready" && host.querySelector("wzrd-checkout").shadowRoot.querySelector("form")`)
	evaluate[bool](b, `(inner.unmount(), true)`)

	evaluate[bool](b, `(window.tags = 0, [1, 2].forEach(() => { const s = document.createElement("script"); s.src = "`+p.URL()+`/widget/v1/checkout.js"; s.onload = () => tags++; document.head.append(s); }), true)`)
	b.await("the script twice", `tags == 2 && WzrdCheckout.mount`)
	if !evaluate[bool](b, `two.state.service == "`+card+`"`) {
		t.Error("the other widget lost its choice")
	}
}

// Back from the provider's page by the browser's own button, with the page out of the
// back-forward cache: the form works again.
func TestBackForwardCache(t *testing.T) {
	t.Parallel()
	_, address, _ := embedded(t, "bfcache")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(mount("#pay", { session }), true)`)
	b.await("the widget to take over", live)
	b.click(row(sepa))
	b.fill(payer, "Olena Demo")
	b.fill(iban, goodIBAN)
	b.click(button)
	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	evaluate[bool](b, `(history.back(), true)`)
	// From the cache the document goes on; else it is loaded anew, and mounts nothing by itself.
	b.await("the shop's page", `location.origin == "`+address+`" && window.mount`)
	if !evaluate[bool](b, `!!deep("wzrd-checkout")`) {
		t.Log("this browser kept no page; mounted anew")
		evaluate[bool](b, `(mount("#pay", { session }), true)`)
	}
	b.await("what is open already, and to be pressed", state("pending")+` && deep("wzrd-checkout").checkout.state.step == "ready"`)
	b.click(button)
	b.await("WZRDPAY's page again", `location.pathname.includes("hpp")`)
}

// The session ends while the shopper reads: a calm screen, and the shop may start again.
func TestEndsWhileReading(t *testing.T) {
	t.Parallel()
	p, address, id := embedded(t, "ends")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(document.addEventListener("wzrd-error", (e) => e.preventDefault()), mount("#pay", { session }), !!(window.same = 1))`)
	b.await("the widget to take over", live)
	b.click(row(card))
	if code, s := p.call("POST", "/v1/sessions/"+id+"/expire", map[string]any{}); code != http.StatusOK {
		t.Fatalf("expire: %d %v", code, s)
	}
	b.await("the widget to say so", state("expired"))
	b.picture("expired")
	b.click(`[data-act="restart"]`)
	b.await("the shop to hear of it", `heard.some((h) => h[0] == "error" && h[1].code == "session_expired")`)
	if !evaluate[bool](b, "window.same === 1") {
		t.Error("the page was loaded again although the shop took over")
	}
}

// Names that attack and patterns that never end.
func TestHostileCatalogue(t *testing.T) {
	t.Parallel()
	at := galleryAt(t)
	b := open(t, phone)
	b.expect("Failed to load resource")
	b.visit(at + "/hostile")
	b.await("the list", live)
	if evaluate[bool](b, `!!deep("img[src=x]") || /[\u202a-\u202e\u2066-\u2069]/.test(deep(".wz").textContent)`) {
		t.Error("a name became markup, or turns the direction of what follows")
	}
	b.visit(at + "/twelve?selected=twelve_eur_hpp")
	b.await("the twelve fields", live+` && deep(".wz").querySelectorAll(".row:has(:checked) .field").length == 12`)
	// (a+)+ against this takes an engine that goes back longer than the universe has.
	b.fill(`input[name="field.twelve_eur_hpp.payer_last_name"]`, strings.Repeat("a", 60)+"!")
	b.fill(`input[name="field.twelve_eur_hpp.email"]`, "[a-")
	b.await("the page to answer", `deep("input[name='field.twelve_eur_hpp.email']").value == "[a-"`)
	for _, key := range []string{"payer_first_name", "phone", "date_of_birth", "payer_city", "payer_zip_code", "account_number", "bic_number"} {
		b.fill(`input[name="field.twelve_eur_hpp.`+key+`"]`, "1")
	}
	b.click(button)
	b.await("what the browser can not judge to be left to the BFF", `location.pathname == "/psp"`)
}

// The countdown follows the BFF's end, not the shopper's clock, and speaks twice at most.
func TestCountdown(t *testing.T) {
	t.Parallel()
	at := galleryAt(t)
	b := open(t)
	b.expect("Failed to load resource")
	b.visit(at + "/soon")
	b.await("the time left", `/^Time left: 14:\d\d$/.test(deep(".ends").textContent)`)
	first := evaluate[string](b, `deep(".ends").textContent`)
	b.await("it to run", `deep(".ends").textContent != `+jsonText(t, first))
	if said := evaluate[string](b, `deep(".said").textContent`); strings.Contains(said, "Time left") {
		t.Errorf("announced %q with 14 minutes left", said)
	}
	b.visit(at + "/last")
	b.await("the last minutes to be announced", `/^Time left: 4:\d\d$/.test(deep(".said").textContent)`)
	once := evaluate[string](b, `deep(".said").textContent`)
	b.await("the clock to run on", `deep(".ends").textContent != `+jsonText(t, once))
	if said := evaluate[string](b, `deep(".said").textContent`); said != once {
		t.Errorf("announced %q, then %q: want it said once", once, said)
	}
	b.visit(at + "/list") // an hour left
	b.await("the list", live)
	b.never("an hour is counted down", `deep(".ends").textContent`, 1500*time.Millisecond)
}

// A shopper's clock that is wrong does not change how much time is left, on a page of
// another origin too.
func TestCountdown_WrongClock(t *testing.T) {
	t.Parallel()
	_, address, _ := embedded(t, "clock")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(Date.now = ((now) => () => now() + 20 * 60e3)(Date.now), mount("#pay", { session, redirect: "manual" }), true)`)
	b.await("the widget to take over", live)
	b.click(row(card))
	b.click(button)
	b.await("the widget to wait", state("pending"))
	b.await("the time left by the BFF's clock", `/^Time left: 5\d:\d\d$/.test(deep(".ends").textContent)`)
}

// 228 methods: the chosen row and its errors are in sight, wherever it stands.
func TestLongList(t *testing.T) {
	t.Parallel()
	at := galleryAt(t)
	b := open(t, phone)
	b.expect("Failed to load resource")
	b.visit(at + "/many")
	b.await("the list", live)
	if n := evaluate[int](b, `deep(".wz").querySelectorAll("input[name=service]").length`); n != 228 {
		t.Fatalf("%d methods, want 228", n)
	}
	inSight := `(() => { const r = deep(".row:has(:checked)").getBoundingClientRect(), l = deep(".rows").getBoundingClientRect(); return r.top >= l.top - 1 && r.bottom <= l.bottom + 1 && r.top >= 0 && r.bottom <= innerHeight + 1 })()`
	b.fill("input[name=query]", "voucher")
	b.await("the search", `deep(".wz").querySelectorAll(".row:not([hidden])").length == 1`)
	b.click(row("voucher_eur_hpp"))
	b.click(button)
	b.await("the error", `deep(".error")`)
	b.await("the row with its error in sight", inSight)
	b.fill("input[name=query]", "")
	b.await("all again", `deep(".wz").querySelectorAll(".row:not([hidden])").length == 228`)
	b.click(row("bank221_eur_hpp"))
	b.await("the last row in sight", inSight)
	took := evaluate[float64](b, `(() => { const t = performance.now(); deep("input[value=bank100_eur_hpp]").click(); return performance.now() - t })()`)
	t.Logf("choosing among 228: %.1f ms until the document is changed", took)
}

// Without JavaScript: no empty place for the search, no sign of a picture that is
// missing, the first wrong field has the focus and is in sight.
func TestNoScriptErrorInSight(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.openSession("no-script-sight")
	b := open(t, noScript, phone)
	b.visit(s["url"].(string))
	b.await("the list", `shown(`+quoteCall("deep", row(card))+`)`)
	if evaluate[bool](b, `!!deep(".search") && deep(".search").getBoundingClientRect().height > 0`) {
		t.Error("a search that can not work has a place")
	}
	if head := evaluate[string](b, `document.querySelector("header.order").innerText`); !strings.Contains(head, "Kobza Lamps") || !strings.Contains(head, "39.00") {
		t.Errorf("the page's head says %q, want the shop and the amount", head)
	}
	b.picture("no-script-list")
	b.click(row(sepa))
	b.fill(payer, "Olena Demo")
	b.fill(iban, "wrong")
	b.click(button)
	b.await("the wrong field", `deep(".error")`)
	b.await("the focus on it, in sight", `(() => { const e = deep('[aria-invalid]'), r = deep(".error").getBoundingClientRect(); return e.getRootNode().activeElement == e && r.top >= 0 && r.bottom <= innerHeight })()`)
	b.picture("no-script-wrong-phone")
}

// Forced colours keep what is chosen apart from what is not; reduced motion keeps still.
func TestSystemSettings(t *testing.T) {
	t.Parallel()
	at := galleryAt(t)
	b := open(t)
	b.expect("Failed to load resource")
	b.do("settings", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "forced-colors", Value: "active"}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	}))
	b.visit(at + "/list?selected=payment_card")
	b.await("the list", live)
	if !evaluate[bool](b, `matchMedia("(forced-colors: active)").matches && getComputedStyle(deep(".pick")).appearance != "none"`) {
		t.Error("with forced colours the radios are not the system's own")
	}
	if w := evaluate[string](b, `getComputedStyle(deep(".pay")).borderTopWidth`); w == "0px" {
		t.Error("with forced colours the button has no edge")
	}
	b.picture("forced-colours")
	b.visit(at + "/loading")
	b.await("the bones", `deep(".bone")`)
	if n := evaluate[int](b, `deep(".bone").getAnimations({ subtree: true }).length`); n != 0 {
		t.Errorf("with reduced motion %d animations run", n)
	}
}

// A logo that is not there is drawn by the BFF: a page without script shows no sign of a
// broken picture.
func TestLogoMissing(t *testing.T) {
	t.Parallel()
	var p *program
	address := shopPage(t, func() (string, string) {
		return "default-src 'none'; img-src " + p.URL(), `<img alt src="` + p.URL() + `/widget/v1/logos/never_heard_of">`
	})
	p = startWith(t, func(c *app.DemoConfig) { c.Origins = []string{address} })
	b := open(t, noScript)
	b.expect("404")
	b.visit(address)
	b.await("a picture", `document.images[0].complete && document.images[0].naturalWidth > 0`)
}
