package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"

	"wzrdcheckout/internal/sandbox"
)

// counts are how long the lists of methods are; 228 are what one currency of the
// vendor's catalogue has.
var counts = []int{10, 50, 228}

// manyUpdates is how often the page is changed to see its memory.
const manyUpdates = 1000

// inMany is what is done in the page with 228 methods, over the same slow processor: a
// method is chosen and the frame that shows it handed over, 20 times; then 1,000 updates
// (a method chosen, or a letter typed), and the memory of the module before and after.
const inMany = `async () => {
	const root = document.querySelector("wzrd-checkout").shadowRoot;
	const click = (n) => root.querySelector('[data-k="bench' + n + '_eur_hpp"] label.head').click();
	const chosen = (n) => root.querySelector("input[name=service]:checked").value === "bench" + n + "_eur_hpp";
	const shown = () => new Promise((done) => requestAnimationFrame(() => { const c = new MessageChannel(); c.port1.onmessage = done; c.port2.postMessage(0); }));
	const bytes = () => paintMemories.length ? paintMemories[paintMemories.length - 1].buffer.byteLength : 0;
	const out = { choose: [], changed: [], memory: [] };
	for (let i = 0; i < 20; i++) {
		const n = (i * 97) % 228 + 1;
		await new Promise((next) => setTimeout(next, 100));
		const began = performance.now();
		click(n);
		out.changed.push(performance.now() - began);
		await shown();
		out.choose.push(performance.now() - began);
		if (!chosen(n)) throw new Error("method " + n + " was clicked and is not chosen");
	}
	const update = (i) => {
		if (i % 2) return click(i % 228 + 1);
		click(3);
		const field = root.querySelector('input[name="field.bench3_eur_hpp.account_number"]');
		field.value = String(i);
		field.dispatchEvent(new InputEvent("input", { bubbles: true, composed: true }));
	};
	out.memory.push(bytes());
	const until = performance.now() + 60e3; // a slow machine gets fewer done, and says how many
	for (let i = 0; i < UPDATES && performance.now() < until; i++) {
		update(i);
		out.memory.push(bytes());
		if (i % 10 == 9) await new Promise((next) => setTimeout(next));
	}
	out.instances = [paintMemories.length];
	return out;
}`

// many measures how the page grows with the number of methods: when the first is seen and
// when it works, beside a static list of as many; and what a long list costs in the page.
func (b *bench) many(ctx context.Context) error {
	dir, err := b.dir("many")
	if err != nil {
		return err
	}
	longest := counts[len(counts)-1]
	catalogue := filepath.Join(dir, "catalogue.json")
	if err := os.WriteFile(catalogue, manyMethods(longest), 0o600); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{Faults: sandbox.NoFaults(), Catalogue: catalogue})
	if err != nil {
		return err
	}
	defer stop()
	shop, f, end, err := b.openShop(ctx, wzrd, dir)
	if err != nil {
		return err
	}
	defer end()

	var pages []paintPage
	for _, n := range counts {
		list, err := b.manyPage(ctx, f, shop, n)
		if err != nil {
			return err
		}
		pages = append(pages, list...)
	}
	pages[len(pages)-1].Then = strings.ReplaceAll(inMany, "UPDATES", fmt.Sprint(manyUpdates))
	rounds := 3
	if b.short {
		rounds, pages = 1, pages[len(pages)-2:]
	}
	visits, err := b.visit(ctx, rounds, pages)
	if err != nil {
		return err
	}
	b.manyRows(visits)
	return b.inManyRows(visits[fmt.Sprintf("embed-%d", longest)])
}

// manyMethods is a catalogue of n methods for EUR; the third has a field.
func manyMethods(n int) []byte {
	type object = map[string]any
	methods, services := object{}, object{}
	for i := 1; i <= n; i++ {
		method := fmt.Sprintf("bench%d", i)
		code := method + "_eur_hpp"
		methods[method] = object{"code": method, "category": "bank_transfer", "name": object{"en": fmt.Sprintf("Bank of the Street No. %d", i)}}
		fields := []object{}
		if i == 3 {
			fields = append(fields, object{
				"key": "account_number", "type": "input", "label": object{"en": "Account number"}, "hint": object{"en": "Letters and digits"},
				"regexp": `/^[A-Z0-9]{4,34}$/`, "required": true, "position": 1,
			})
		}
		services[code] = object{"code": code, "method": method, "flow": "hpp", "currency": "EUR", "fields": fields, "amount_min": 0.01, "amount_max": 100_000}
	}
	text, err := json.Marshal(object{"currencies": object{"EUR": object{"exponent": 2}}, "methods": methods, "services": object{"EUR": services}})
	if err != nil {
		panic(err) // maps of text and numbers
	}
	return text
}

// manyPage opens a session with the first n methods and makes its page and the static one.
func (b *bench) manyPage(ctx context.Context, f *bff, shop *site, n int) ([]paintPage, error) {
	codes := make([]string, n)
	var list strings.Builder
	list.WriteString(`<form id="pay">`)
	for i := range codes {
		codes[i] = fmt.Sprintf("bench%d_eur_hpp", i+1)
		fmt.Fprintf(&list, `<label><input type="radio" name="service" value=%q> %s</label>`, codes[i], html.EscapeString(fmt.Sprintf("Bank of the Street No. %d", i+1)))
	}
	list.WriteString(`<button>Pay €42.50</button></form>`)
	services, err := json.Marshal(codes)
	if err != nil {
		return nil, err
	}
	body := fmt.Appendf(nil, `{"reference_id":"many-%d","amount":42.50,"currency":"EUR","services":%s,"return_url":%q,"locale":"en"}`, n, services, shop.url+"/thanks")
	s, err := f.session(ctx, body)
	if err != nil {
		return nil, err
	}
	if rows := strings.Count(s.EmbedHTML, `data-k="bench`); rows != n {
		return nil, fmt.Errorf("the page of %d methods has %d", n, rows)
	}
	plain, ours := fmt.Sprintf("/static-%d", n), fmt.Sprintf("/embed-%d", n)
	shop.page(plain, "", list.String())
	shop.page(ours, "", `<div id="pay">`+s.EmbedHTML+`</div>`)
	return []paintPage{
		{Name: plain[1:], URL: shop.url + plain, First: `document.querySelector("#pay label")`},
		{
			Name: ours[1:], URL: shop.url + ours, First: `q('[data-k="bench1_eur_hpp"] label.head')`,
			Interactive: strings.ReplaceAll(ourInteractive, "bank_transfer_usd_hpp", "bench3_eur_hpp"),
		},
	}, nil
}

func (b *bench) manyRows(visits map[string][]painted) {
	curves := []curve{
		{Name: "interactive", Kind: "second"},
		{Name: "first method seen", Kind: "ours"},
		{Name: "first method of a static HTML list", Kind: "peer"},
	}
	for _, n := range counts {
		plain, ours := visits[fmt.Sprintf("static-%d", n)], visits[fmt.Sprintf("embed-%d", n)]
		var first, works pair
		for i := range min(len(plain), len(ours)) {
			first.add(ours[i].First, plain[i].First)
			works.add(ours[i].Interactive, plain[i].First)
		}
		if len(first.ours) == 0 {
			b.missing(fmt.Sprintf("first method seen, %d methods", n), "", errors.New("not with -short, or see the row of its page"))
			continue
		}
		b.below(fmt.Sprintf("first method seen, %d methods, embed_html", n), 0, first.ours, first.peer, first.ratios, " ms", "static HTML list of as many")
		b.below(fmt.Sprintf("interactive, %d methods, embed_html", n), 0, works.ours, works.peer, works.ratios, " ms", "the static list's first method")
		for i, v := range []float64{median(works.ours), median(first.ours), median(first.peer)} {
			curves[i].with(float64(n), v)
		}
	}
	if len(curves[0].Points) > 1 {
		b.plots = append(b.plots, plot{"services", fmt.Sprintf("Time to the first method and to a working list, by the number of methods (%d ms, %.1f Mbit/s, CPU %dx)", roundTrip, float64(kilobits)/1000, slowdown), []panel{
			{X: "methods in the list", Y: "ms from the navigation", Rows: curves},
		}})
	}
}

// inManyRows are the rows of what was done in the page with the longest list.
func (b *bench) inManyRows(visits []painted) error {
	var did map[string][]float64
	why := "the page could not be measured"
	for _, v := range visits {
		if v.Then != nil {
			did = v.Then
		}
		why = cmp.Or(v.Undone, why)
	}
	if len(did["choose"]) == 0 || len(did["memory"]) < 4 || len(did["instances"]) != 1 {
		return fmt.Errorf("what was to be done in the page with 228 methods: %s", why)
	}
	b.atMost("a method of 228 chosen, until the frame that shows it has been handed over (CPU 4x)", 50, did["choose"], " ms",
		fmt.Sprintf("the document is changed after %s ms; the rest is the browser's", number(median(did["changed"]))))
	// The module collects no garbage and is started afresh when it has grown, so flat is
	// that its highest does not rise.
	memory := did["memory"]
	half := len(memory) / 2
	first, second := most(memory[:half])/1e6, most(memory[half:])/1e6
	b.must(fmt.Sprintf("module's memory after %s updates (228 methods), highest", thousands(len(memory)-1)), "flat: ≤ 1.05 x",
		number(second)+" MB", fmt.Sprintf("%s MB in the first half of them; lowest %s MB, %s instances of the module", number(first), number(least(memory)/1e6), number(did["instances"][0])), second <= 1.05*first)
	b.table.rows[len(b.table.rows)-1].ratio = fmt.Sprintf("%.2f", second/first)
	return nil
}
