package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// What the page's line and processor are like.
const (
	roundTrip = 150 // ms
	kilobits  = 1600
	slowdown  = 4
)

// The ten methods of the pages; the third has a field.
var tenServices = []string{
	"payment_card_usd_hpp", "paypal_usd_hpp", "bank_transfer_usd_hpp", "applepay_usd_hpp", "googlepay_usd_hpp",
	"mobile_money_usd_hpp", "paysafecard_usd_hpp", "privat24_usd_hpp", "bank_transfer_usd_invoice", "test_usd_test",
}

// paintOrder is what bench/paint is asked to do.
type paintOrder struct {
	Chromium  string      `json:"chromium"`
	Rounds    int         `json:"rounds"`
	RoundTrip int         `json:"round_trip"`
	Kilobits  int         `json:"kilobits"`
	Slowdown  int         `json:"slowdown"`
	Pages     []paintPage `json:"pages"`
}

// paintPage is a page; First and Interactive are JavaScript expressions that bench/paint
// looks at in every frame: the element whose being seen counts, and true once the page
// does what it should. Expressions may use q(selector), which looks into the widget too.
type paintPage struct {
	Name        string `json:"name"`
	URL         string `json:"url"`
	First       string `json:"first"`
	Interactive string `json:"interactive"`
	Then        string `json:"then,omitempty"` // an async function, called once the page works, in the last round
}

// painted is one visit, in ms since the navigation began; 0 = not asked.
type painted struct {
	First       float64 `json:"first"`
	Interactive float64 `json:"interactive"`
	Bytes       float64 `json:"bytes"` // on the wire, headers apart
	Requests    float64 `json:"requests"`
	Fetched     []struct {
		Name  string  `json:"name"`
		Began float64 `json:"began"`
		First float64 `json:"first"`
		Ended float64 `json:"ended"`
		Bytes float64 `json:"bytes"`
	} `json:"fetched"`

	Then   map[string][]float64 `json:"then"`   // what Then gave
	Undone string               `json:"undone"` // why it gave nothing
}

func chromium() (string, error) {
	for _, name := range []string{os.Getenv("CHECKOUT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium: install it, or name it in CHECKOUT_CHROMIUM")
}

// site is the shop that has the pages, on an origin of its own.
type site struct {
	url   string
	files map[string]asset
}

type asset struct{ kind, text string }

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := s.files[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Content-Encoding", "br")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(f.text))
}

// openShop starts a shop's site and a bff whose widget it may embed; end ends both.
func (b *bench) openShop(ctx context.Context, wzrd *sandbox.Server, dir string) (shop *site, f *bff, end func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // local and at once
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open shop: %w", err)
	}
	shop = &site{url: "http://" + l.Addr().String(), files: map[string]asset{}}
	server := &http.Server{Handler: shop, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	if f, err = b.startBFF(ctx, bffSettings{wzrd: wzrd, dir: dir, origins: []string{shop.url}}); err != nil {
		_ = server.Close()
		return nil, nil, nil, err
	}
	return shop, f, func() {
		f.kill()
		_ = server.Close()
	}, nil
}

// page adds a page: the same shop around every kind of list.
func (s *site) page(path, headers, list string) {
	text := `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Kobza Lamps</title><meta name="viewport" content="width=device-width,initial-scale=1">` +
		`<style>body{font:16px/1.5 system-ui,sans-serif;max-width:30rem;margin:2rem auto;padding:0 1rem}label{display:block;padding:.75rem;border-bottom:1px solid #ddd}</style>` + headers +
		`</head><body><h1>Your order</h1><p>Lamp “Kobza”, oak and linen: $42.50</p>` + list + `</body></html>`
	s.files[path] = asset{"text/html; charset=utf-8", string(packed([]byte(text)))}
}

const (
	ourFirst = `q('[data-k="payment_card_usd_hpp"] label.head')`
	// A click on the row shows the field, and a wrong value is refused by the page.
	ourInteractive = `(() => {
		const element = document.querySelector("wzrd-checkout"), row = q('[data-k="bank_transfer_usd_hpp"] label.head');
		if (!row || element.checkout?.state?.step !== "ready") return false;
		const field = q('input[name="field.bank_transfer_usd_hpp.account_number"]');
		if (!seen(field)) { row.click(); return false; }
		if (field.getAttribute("aria-invalid") === "true") return true;
		field.focus(); field.value = "!";
		field.dispatchEvent(new InputEvent("input", { bubbles: true, composed: true }));
		field.blur();
		return field.getAttribute("aria-invalid") === "true";
	})()`
	adyenFirst = `document.querySelector("#pay .adyen-checkout__payment-method")`
)

// paint measures in real Chromium over a slow line and a slow processor when the first
// method is seen, and when a click shows a service's field and the field is checked.
func (b *bench) paint(ctx context.Context) error {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{Faults: sandbox.NoFaults()})
	if err != nil {
		return err
	}
	defer stop()
	dir, err := b.dir("paint")
	if err != nil {
		return err
	}
	shop, f, end, err := b.openShop(ctx, wzrd, dir)
	if err != nil {
		return err
	}
	defer end()
	names, err := b.shopPages(ctx, f, shop)
	if err != nil {
		return err
	}

	pages := []paintPage{
		{Name: "static", URL: shop.url + "/static", First: `document.querySelector("#pay label")`},
		{Name: "embed", URL: shop.url + "/embed", First: ourFirst, Interactive: ourInteractive},
		{Name: "inline", URL: shop.url + "/inline", First: ourFirst, Interactive: ourInteractive},
		{Name: "session", URL: shop.url + "/session", First: ourFirst, Interactive: ourInteractive},
		{Name: "tag", URL: shop.url + "/tag", First: ourFirst, Interactive: ourInteractive},
	}
	adyen, noAdyen := b.adyen(ctx)
	if noAdyen == nil {
		shop.page("/adyen", `<link rel="stylesheet" href="/adyen.css">`, `<div id="pay"></div><script type="module" src="/adyen.js"></script>`)
		shop.files["/adyen.js"] = asset{"text/javascript; charset=utf-8", string(packed(adyen.files["adyen.js"]))}
		shop.files["/adyen.css"] = asset{"text/css; charset=utf-8", string(packed(adyen.files["adyen.css"]))}
		pages = append(pages, paintPage{Name: "adyen", URL: shop.url + "/adyen", First: adyenFirst})
	}
	rounds := 9
	if b.short {
		rounds = 2
		pages = slices.DeleteFunc(pages, func(p paintPage) bool { return p.Name == "tag" })
		b.missing("first method seen and interactive, plain script tag", "", errors.New("not with -short"))
	}
	visits, err := b.visit(ctx, rounds, pages)
	if err != nil {
		return err
	}
	if noAdyen == nil && len(visits["adyen"]) == 0 {
		noAdyen = errors.New("the page of Adyen Drop-in could not be measured")
	}
	b.paintRows(visits, names, adyen, noAdyen)
	return nil
}

// visit has bench/paint look at pages; one that could not be measured has a row that says
// why.
func (b *bench) visit(ctx context.Context, rounds int, pages []paintPage) (map[string][]painted, error) {
	browser, err := chromium()
	if err != nil {
		return nil, err
	}
	helper, err := b.built(ctx, "paint")
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(paintOrder{Chromium: browser, Rounds: rounds, RoundTrip: roundTrip, Kilobits: kilobits, Slowdown: slowdown, Pages: pages})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, helper) //nolint:gosec // just built
	cmd.Stdin = strings.NewReader(string(order))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("drive Chromium: %w", err)
	}
	var report struct {
		Visits map[string][]painted `json:"visits"`
		Failed map[string]string    `json:"failed"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return nil, fmt.Errorf("read what Chromium saw: %w", err)
	}
	for _, page := range pages {
		if why := report.Failed[page.Name]; why != "" {
			b.missing("page "+page.Name, "", fmt.Errorf("%.300s", why))
			b.say("%s", why)
			delete(report.Visits, page.Name)
		}
	}
	return report.Visits, nil
}

// tenSession is the body of a session with the ten methods.
func tenSession(shop string) []byte {
	return fmt.Appendf(nil, `{"reference_id":"ten-1","amount":42.50,"currency":"USD","services":["%s"],"return_url":%q,"locale":"en"}`,
		strings.Join(tenServices, `","`), shop+"/thanks")
}

// tenMethods opens it and gives the answer of GET /v1/checkout too.
func (f *bff) tenMethods(ctx context.Context, shop string) (s opened, answer []byte, err error) {
	if s, err = f.session(ctx, tenSession(shop)); err != nil {
		return s, nil, err
	}
	res, text, err := exchange(ctx, http.MethodGet, "http://"+f.public+"/v1/checkout", map[string]string{"Authorization": "Bearer " + s.Token}, nil)
	if err != nil {
		return s, nil, err
	}
	var list struct {
		Services []struct{} `json:"services"`
	}
	if err := json.Unmarshal(text, &list); err != nil || res.StatusCode != http.StatusOK || len(list.Services) != len(tenServices) {
		return s, nil, fmt.Errorf("read checkout: %s: %.300s", res.Status, text)
	}
	return s, text, nil
}

// shopPages makes the pages of the shop, and gives what the rows call ours.
func (b *bench) shopPages(ctx context.Context, f *bff, shop *site) (map[string]string, error) {
	s, text, err := f.tenMethods(ctx, shop.url)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Services []struct {
			Code string `json:"code"`
		} `json:"services"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read checkout: %w", err)
	}
	var list strings.Builder
	list.WriteString(`<form id="pay">`)
	for _, service := range answer.Services {
		fmt.Fprintf(&list, `<label><input type="radio" name="service" value=%q> %s</label>`, service.Code, html.EscapeString(service.Code))
	}
	list.WriteString(`<button>Pay $42.50</button></form>`)
	shop.page("/static", "", list.String())
	shop.page("/embed", "", `<div id="pay">`+s.EmbedHTML+`</div>`)
	res, text, err := exchange(ctx, http.MethodPost, "http://"+f.private+"/v1/sessions?embed_style=inline", shopHeader(), tenSession(shop.url))
	if err != nil {
		return nil, err
	}
	var inline opened
	if err := json.Unmarshal(text, &inline); err != nil || res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("open session again: %s: %.300s", res.Status, text)
	}
	shop.page("/inline", "", `<div id="pay">`+inline.EmbedHTML+`</div>`)
	script := "http://" + f.public + "/widget/v1/checkout.js"
	shop.page("/session", "", `<div id="pay"></div><script async src="`+script+"?session="+s.ID+`" data-target="#pay"></script>`)
	shop.page("/tag", "", `<div id="pay"></div><script async src="`+script+`" data-session="`+s.Token+`" data-target="#pay"></script>`)
	return map[string]string{"embed": "embed_html in the page", "inline": "embed_html with its style inside", "session": "checkout.js?session=…", "tag": "plain script tag"}, nil
}

func (b *bench) paintRows(visits map[string][]painted, names map[string]string, adyen bundle, noAdyen error) {
	line := fmt.Sprintf("%d ms, %.1f Mbit/s, CPU %dx", roundTrip, float64(kilobits)/1000, slowdown)
	compare := func(page, peer string, of, peerOf func(painted) float64) (p pair) {
		for i := range min(len(visits[page]), len(visits[peer])) {
			p.add(of(visits[page][i]), peerOf(visits[peer][i]))
		}
		return p
	}
	first := func(v painted) float64 { return v.First }
	for _, page := range []string{"embed", "inline", "session", "tag"} {
		goal := 0.0
		if page == "embed" || page == "inline" {
			goal = 1.05
		}
		if len(visits[page]) == 0 {
			continue
		}
		p := compare(page, "static", first, first)
		b.below("first method seen, "+names[page]+" ("+line+")", goal, p.ours, p.peer, p.ratios, " ms", "static HTML list of the same 10 methods")
	}
	const peerIs = "Adyen Drop-in's first method"
	if noAdyen != nil {
		b.missing("interactive, to "+peerIs, "≤ 0.75 x", noAdyen)
	}
	for _, page := range []string{"embed", "inline", "session", "tag"} {
		if len(visits[page]) == 0 {
			continue
		}
		what := "interactive, " + names[page]
		if noAdyen != nil {
			p := compare(page, "static", func(v painted) float64 { return v.Interactive }, first)
			b.atMost(what, 0, p.ours, " ms", "")
			continue
		}
		p := compare(page, "adyen", func(v painted) float64 { return v.Interactive }, first)
		goal := 0.0
		if page != "tag" {
			goal = 0.75
		}
		b.below(what, goal, p.ours, p.peer, p.ratios, " ms", peerIs+", "+adyen.version)
	}
	if noAdyen == nil {
		for _, page := range []string{"embed", "inline", "session", "tag"} {
			if len(visits[page]) == 0 {
				continue
			}
			p := compare(page, "adyen", first, first)
			b.below("first method seen, "+names[page]+", to Adyen's", 0, p.ours, p.peer, p.ratios, " ms", peerIs)
		}
	}
	for _, page := range []string{"static", "embed", "inline", "session", "tag", "adyen"} {
		if list := visits[page]; len(list) > 0 {
			v := list[0]
			b.say("%s: first %.0f ms, interactive %.0f ms, %.0f requests, %.0f bytes", page, v.First, v.Interactive, v.Requests, v.Bytes)
			for _, f := range v.Fetched {
				b.say("   %5.0f %5.0f %5.0f ms %6.0f B  %s", f.Began, f.First, f.Ended, f.Bytes, f.Name)
			}
		}
	}
}
