package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"wzrdcheckout/internal/app"
)

// longCatalogue is the file with WZRDPAY's 228 services for EUR, or where it is not here
// one of the same length.
func longCatalogue(t *testing.T) string {
	t.Helper()
	shared := os.Getenv("WZRDCHECKOUT_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "shared")
	}
	path, err := filepath.Abs(filepath.Join(shared, "data", "openfintech.json"))
	if err == nil {
		if _, err := os.Stat(path); err == nil {
			t.Log("the catalogue is " + path)
			return path
		}
	}
	kinds := []string{"payment_card", "bank_transfer", "online_banking", "digital_wallet", "mobile_payment", "cash_payment", "prepaid_voucher"}
	methods, services := map[string]any{}, map[string]any{}
	for i := range 228 {
		method := fmt.Sprintf("method_%03d", i)
		methods[method] = map[string]any{"code": method, "category": kinds[i%len(kinds)], "name": map[string]string{"en": fmt.Sprintf("%c%c Pay %d", 'A'+i%26, 'a'+i/26, i)}}
		var fields []any
		if i%3 == 0 {
			fields = append(fields, map[string]any{"key": "email", "type": "string", "label": map[string]string{"en": "E-mail"}, "hint": map[string]string{"en": "For the receipt"}, "regexp": "^.+@.+$", "required": true, "position": 1})
		}
		code := method + "_eur_hpp"
		services[code] = map[string]any{"code": code, "method": method, "flow": "hpp", "currency": "EUR", "fields": fields, "amount_min": 0.01, "amount_max": 100000}
	}
	text, err := json.Marshal(map[string]any{"currencies": map[string]any{"EUR": map[string]int{"exponent": 2}}, "methods": methods, "services": map[string]any{"EUR": services}})
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "catalogue.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log("the shared catalogue is not here; this one is made up")
	return path
}

// All that EUR can be paid with, through sandbox and BFF into the page: searched, jumped
// to by typing, chosen and paid.
func TestManyServices(t *testing.T) {
	t.Parallel()
	file := longCatalogue(t)
	var s map[string]any
	var p *program
	address := shopPage(t, func() (string, string) {
		return "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' data: " + p.URL() + " " + strings.Replace(p.URL(), "http", "ws", 1) + "; form-action *", module(p.URL(), s["token"].(string))
	})
	p = startWith(t, func(c *app.DemoConfig) { c.Origins, c.Catalogue = []string{address}, file })
	s = p.openSession("many")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(mount("#pay", { session }), true)`)
	b.await("the widget to take over", live)
	const rows = `[...deep(".rows").querySelectorAll(".row")]`
	n := evaluate[int](b, rows+`.length`)
	t.Logf("%d services", n)
	if n < 200 {
		t.Fatalf("%d services in the list, want more than 200", n)
	}
	press := func(keys string) {
		t.Helper()
		b.do("press keys", chromedp.KeyEvent(keys))
	}

	// The search finds a service in the middle, and it alone stays of those that it is not.
	name := evaluate[string](b, rows+`[`+fmt.Sprint(n/2)+`].querySelector(".name").textContent`)
	evaluate[bool](b, `(deep("input[name=query]").focus(), true)`)
	press(name)
	b.await("the search for "+name, rows+`.some((r) => !r.hidden) && `+rows+`.filter((r) => !r.hidden).length < `+fmt.Sprint(n/4)+` && `+rows+`.some((r) => !r.hidden && r.querySelector(".name").textContent === `+jsonText(t, name)+`)`)
	b.picture("many-search")
	b.fill("input[name=query]", "")
	b.await("all again", rows+`.every((r) => !r.hidden)`)

	// Typing jumps to the last one whose name is nobody else's beginning.
	jump := evaluate[map[string]string](b, `(() => {
		const list = `+rows+`.map((r) => ({ name: r.querySelector(".name").textContent.toLowerCase(), code: r.querySelector("input").value }));
		return list.findLast((a) => /^[a-z0-9]{3}/.test(a.name) && !list.some((o) => o !== a && o.name.startsWith(a.name.slice(0, 12)))) })()`)
	evaluate[bool](b, `(deep("input[name=service]").focus(), true)`)
	press(jump["name"][:min(12, len(jump["name"]))])
	b.await("typing to jump to "+jump["name"], `deep("input[name=service]:checked")?.value == `+jsonText(t, jump["code"]))
	b.await("the row in sight", `(() => { const r = deep(".row:has(:checked)").getBoundingClientRect(), l = deep(".rows").getBoundingClientRect(); return r.top >= l.top - 1 && r.top < l.bottom && r.top < innerHeight })()`)
	before := evaluate[string](b, `deep("input[name=service]:checked").value`)
	press(kb.ArrowUp)
	b.await("the arrow to move", `deep("input[name=service]:checked").value != `+jsonText(t, before))

	// One that asks for nothing is paid.
	plain := evaluate[string](b, rows+`.filter((r) => !r.querySelector(".field")).at(-1).querySelector("input").value`)
	b.click(row(plain))
	b.await("the choice", `deep("wzrd-checkout").checkout.state.service == `+jsonText(t, plain)+` && deep("wzrd-checkout").checkout.state.complete`)
	b.picture("many-chosen")
	b.click(button)
	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	if got := p.theInvoice().Service; got != plain {
		t.Errorf("invoice of %s, want %s", got, plain)
	}
	b.click("#pay")
	p.eventually("the session to be paid", func() bool {
		code, now := p.call("GET", "/v1/sessions/"+s["id"].(string), nil)
		return code == http.StatusOK && now["status"] == "paid"
	})
}

// A currency that nothing can be paid in: a calm screen and a code, no empty form.
func TestNoServices(t *testing.T) {
	t.Parallel()
	var s map[string]any
	var p *program
	address := shopPage(t, func() (string, string) {
		return "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' data: " + p.URL() + " " + strings.Replace(p.URL(), "http", "ws", 1), module(p.URL(), s["token"].(string))
	})
	p = startWith(t, func(c *app.DemoConfig) { c.Origins = []string{address} })
	code, s := p.call("POST", "/v1/sessions", map[string]any{"reference_id": "nothing", "amount": 39, "currency": "GBP"})
	if code != http.StatusCreated {
		t.Fatalf("open session: %d %v", code, s)
	}
	b := open(t, phone)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(mount("#pay", { session }), true)`)
	b.await("the calm screen", `deep(".state .head2")?.textContent == "No way to pay is available" && !deep("form")`)
	b.await("the code", `heard.some((h) => h[0] == "error" && h[1].code == "no_methods" && h[1].message)`)
	b.picture("nothing")
	hosted := open(t, noScript)
	hosted.visit(s["url"].(string))
	hosted.await("the same without script", `deep(".state .head2")?.textContent == "No way to pay is available"`)
}
