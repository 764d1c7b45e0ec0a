package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/widget"
)

const amountsFile = "../widget/amounts.txt"

// regions are locales that may write amounts otherwise than their language does. (en-CH and
// en-SE have a decimal sign of their own for a single currency: they write like en.)
var regions = strings.Fields(`ar-AE ar-BH ar-DZ ar-EG ar-IQ ar-JO ar-KW ar-LB ar-LY ar-MA ar-OM ar-QA ar-SA ar-SD ar-TN
	bn-IN da-GL de-AT de-BE de-CH de-IT de-LI de-LU el-CY en-AE en-AU en-BE en-CA en-DE en-GB en-GH en-HK en-IE
	en-IL en-IN en-KE en-MT en-NG en-NL en-NZ en-PH en-PK en-SG en-US en-ZA es-AR es-BO es-CL es-CO es-CR es-DO
	es-EC es-ES es-GT es-MX es-PA es-PE es-PY es-US es-UY es-VE fa-AF fr-BE fr-CA fr-CH fr-DZ fr-LU fr-MA fr-SN fr-TN
	hi-IN hr-BA id-ID it-CH ja-JP ko-KR ms-BN ms-MY ms-SG nb-NO nl-BE nl-NL pl-PL pt-AO pt-BR pt-CH pt-MZ pt-PT ro-MD
	ru-BY ru-KZ ru-MD ru-UA sr-BA sr-Latn sr-Latn-RS sr-ME sr-RS sv-FI sv-SE th-TH tr-CY tr-TR uk-UA ur-IN ur-PK
	uz-Cyrl vi-VN zh-CN zh-HK zh-MO zh-SG zh-TW`)

var decimalsOf = []string{"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF", "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}

// national are the currencies of internal/checkout that browsers know too.
func national(t *testing.T) []string {
	t.Helper()
	list := regexp.MustCompile(`const national = "([A-Z]+)"`).FindStringSubmatch(read(t, "../internal/checkout/currency.go"))
	if list == nil {
		t.Fatal("internal/checkout has no list of national currencies")
	}
	codes := slices.Clone(decimalsOf)
	for i := 0; i+3 <= len(list[1]); i += 3 {
		codes = append(codes, list[1][i:i+3])
	}
	return sorted(codes)
}

// tableOf has the browser write down how it writes amounts (widget/amounts_server.go).
const tableOf = `((languages, regions, codes) => {
	const escape = (s) => s.replace(/[\u00a0\u061c\u200e\u200f\u202f]/g, (c) => "\\u" + c.charCodeAt().toString(16).padStart(4, 0));
	const parts = (locale, currency, n) => new Intl.NumberFormat(locale, { style: "currency", currency, minimumFractionDigits: 2, maximumFractionDigits: 2 }).formatToParts(n);
	const pattern = (locale, currency) => parts(locale, currency, 1).map((p) => ({ integer: "#", decimal: "", fraction: "" })[p.type] ?? p.value).join("");
	const of = (list, type) => list.filter((p) => p.type == type).map((p) => p.value);
	const cells = (locale) => {
		const long = parts(locale, "XZZ", 123456789), other = pattern(locale, "XZZ");
		const least = [4, 5, 6].find((n) => of(parts(locale, "XZZ", 10 ** n - 1), "group").length) - 3;
		const own = codes.map((c) => [c, pattern(locale, c)]).filter(([c, p]) => p != other.replace("XZZ", c));
		return escape([of(long, "decimal")[0], of(long, "group")[0], least, of(long, "integer")[1].length, new Intl.NumberFormat(locale).format(0), other, ...own.map(([c, p]) => c + "=" + p)].join("\t"));
	};
	const out = [["decimals", ...codes.map((c) => [c, new Intl.NumberFormat("en", { style: "currency", currency: c }).resolvedOptions().maximumFractionDigits]).filter(([, n]) => n != 2).map((p) => p.join("="))].join("\t")];
	const have = {};
	for (const l of languages) out.push(l + "\t" + (have[l] = cells(l)));
	for (const l of regions) {
		const own = cells(l);
		if (own != have[l.split("-")[0]]) out.push(l + "\t" + own);
	}
	return out.join("\n") + "\n";
})`

// What the server writes is what the page's Intl makes of it: nothing changes when the
// script takes over. The file says which browser it is from; another one has another
// edition of the world's habits, of which a few may differ.
func TestAmountsBeforeTheScript(t *testing.T) {
	t.Parallel()
	b := open(t)
	version, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`navigator.userAgent.match(/Chrome\/(\d+)/)[1]`))
	if err != nil {
		t.Fatal(err)
	}
	codes := national(t)
	if *update {
		table := evaluate[string](b, tableOf+"("+jsonText(t, widget.Languages())+","+jsonText(t, regions)+","+jsonText(t, codes)+")")
		if err := os.WriteFile(amountsFile, []byte("// Written by e2e/amounts_test.go -update, from Chromium "+version+"'s Intl; see amounts_server.go.\n"+table), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Log("written; run again to check what was built with it")
		return
	}
	head, rest, _ := strings.Cut(read(t, amountsFile), "\n")
	recorded := strings.Contains(head, "Chromium "+version+"'s")
	for _, language := range widget.Languages() {
		if !strings.Contains(rest, "\n"+language+"\t") {
			t.Errorf("amounts.txt has no line for %s (write it with -update)", language)
		}
	}

	money := regexp.MustCompile(`(?s)\n\t(money\(amount.*?\n\t\}),`).FindStringSubmatch(read(t, "../widget/js/_core.js"))
	if money == nil {
		t.Fatal("_core.js has no money()")
	}
	type question struct {
		Amount, Currency string
		Digits           int
		Locale           string
		got              string
	}
	var list []question
	add := func(locale, currency, amount string, digits int) {
		s := checkout.Session{ID: "cs_1", Status: checkout.StatusOpen, Amount: checkout.MustAmount(amount), Currency: currency, Digits: digits}
		list = append(list, question{s.Amount.Format(max(digits, s.Amount.Digits())), currency, max(digits, s.Amount.Digits()), locale, widget.New(widget.Options{Locale: locale}).Loaded(s, nil, nil).Total()})
	}
	locales := append(widget.Languages(), regions...)
	for _, locale := range locales {
		for _, c := range codes {
			add(locale, c, "39", 2)
		}
		for _, c := range []string{"EUR", "USD", "UAH", "JPY", "KWD"} {
			for _, amount := range []string{"0.05", "7", "999.5", "1234.5", "12345.67", "123456", "1234567.891", "123456789"} {
				for _, digits := range []int{0, 2, 3} {
					add(locale, c, amount, digits)
				}
			}
		}
	}
	want := evaluate[[]string](b, `((list) => { const formats = {}, o = {`+money[1]+`}; return list.map((q) => o.money(q.Amount, q.Currency, q.Digits, q.Locale)) })(`+jsonText(t, list)+`)`)
	wrong := 0
	for i, q := range list {
		if q.got == want[i] {
			continue
		}
		if wrong++; recorded && wrong <= 20 {
			t.Errorf("%s %s %s, %d decimals = %q, the browser writes %q", q.Locale, q.Amount, q.Currency, q.Digits, q.got, want[i])
		}
	}
	t.Logf("%d of %d amounts differ; Chromium %s; %s", wrong, len(list), version, head)
	if !recorded && wrong*20 > len(list) {
		t.Errorf("%d of %d amounts differ, more than another edition explains: look at them, then -update", wrong, len(list))
	}
}

// Seen in the page: the server's words are those that stand there when the module has
// taken over, coins that Intl does not know among them.
func TestAmountsAtTakeover(t *testing.T) {
	t.Parallel()
	at := galleryAt(t)
	b := open(t)
	b.expect("Failed to load resource")
	for _, lang := range []string{"en", "de", "uk", "ar", "fr", "pl", "hi", "ja"} {
		for name, parts := range map[string]string{"list": ".pay .label, .limit", "partially_paid": ".facts dd"} {
			b.visit(fmt.Sprintf("%s/nojs/%s?lang=%s&token=%s:%s", at, name, lang, name, lang))
			b.await("the module", live+` && deep("wzrd-checkout").checkout.state.step == "ready"`)
			shown := evaluate[[]string](b, `[...deep("wzrd-checkout").shadowRoot.querySelectorAll("`+parts+`")].map((e) => e.textContent)`)
			evaluate[bool](b, `(window.sent = null, fetch(location.href).then((r) => r.text()).then((s) => window.sent = s), true)`)
			b.await("what the server sends", "window.sent")
			sent := evaluate[string](b, "sent")
			if len(shown) < 2 {
				t.Errorf("%s %s: %q, want amounts", lang, name, shown)
			}
			for _, text := range shown {
				if !strings.Contains(sent, ">"+text+"<") {
					t.Errorf("%s %s: the module writes %q, the server did not", lang, name, text)
				}
			}
		}
	}
}
