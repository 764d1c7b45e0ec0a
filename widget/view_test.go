package widget_test

import (
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/widget"
)

// pretty puts every tag on a line of its own, for people who read the goldens.
func pretty(html string) string { return strings.ReplaceAll(html, "><", ">\n<") + "\n" }

func TestView(t *testing.T) {
	t.Parallel()
	part := invoice("partially_processed", "ok")
	part.ProcessedAmount = ptr("100")
	back := invoice("refunded", "ok")
	back.RefundedAmount = ptr("123.45")
	test := open()
	test.TestMode = true
	verify := open()
	verify.Flow = "verify"
	for _, c := range []struct {
		name    string
		session checkout.Session
		options widget.Options
	}{
		{"open", open(), widget.Options{}},
		{"open-uk", open(), widget.Options{Locale: "uk-UA"}},
		{"open-ar", open(), widget.Options{Locale: "ar", Theme: "dark", Layout: "grid"}},
		{"open-test", test, widget.Options{Redirect: "popup", First: []string{"usdt"}, Hide: []string{"sepa"}}},
		{"open-verify", verify, widget.Options{Selected: "sepa"}},
		{"open-readonly", open(), widget.Options{ReadOnly: true}},
		{"creating", at(checkout.StatusCreating, 2, nil), widget.Options{}},
		{"pending", at(checkout.StatusPending, 3, invoice("process_pending", "ok")), widget.Options{}},
		{"pending-readonly", at(checkout.StatusPending, 3, invoice("process_pending", "ok")), widget.Options{ReadOnly: true}},
		{"paid", at(checkout.StatusPaid, 4, invoice("processed", "ok")), widget.Options{}},
		{"verified", at(checkout.StatusVerified, 4, invoice("verified", "ok")), widget.Options{}},
		{"partially_paid", at(checkout.StatusPartiallyPaid, 4, part), widget.Options{}},
		{"failed", at(checkout.StatusFailed, 4, invoice("process_failed", "insufficient_funds")), widget.Options{}},
		{"failed-readonly", at(checkout.StatusFailed, 4, invoice("process_failed", "never_heard_of")), widget.Options{ReadOnly: true}},
		{"expired", at(checkout.StatusExpired, 4, nil), widget.Options{}},
		{"refunding", at(checkout.StatusRefunding, 4, invoice("refunding", "ok")), widget.Options{}},
		{"refunded", at(checkout.StatusRefunded, 5, back), widget.Options{}},
		{"partially_refunded", at(checkout.StatusPartiallyRefunded, 5, back), widget.Options{}},
		{"charged_back", at(checkout.StatusChargedBack, 6, invoice("charged_back", "ok")), widget.Options{}},
		{"unknown", at("never_heard_of", 6, nil), widget.Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			golden(t, "view/"+c.name+".html", pretty(widget.HTML(drawn(c.session, c.options))))
		})
	}
	t.Run("empty", func(t *testing.T) {
		t.Parallel()
		golden(t, "view/empty.html", pretty(widget.HTML(widget.View(widget.New(widget.Options{Base: base}).Loaded(open(), nil, nil)))))
	})
	t.Run("loading", func(t *testing.T) {
		t.Parallel()
		golden(t, "view/loading.html", pretty(widget.HTML(widget.View(widget.New(widget.Options{Base: base})))))
	})
	t.Run("answered", func(t *testing.T) {
		t.Parallel()
		services, methods := catalogue()
		m := widget.New(widget.Options{Base: base}).Loaded(open(), services, methods).Answered("sepa_eur_hpp",
			map[string]string{"payer_name": `Ada "<b>" & Co`}, []checkout.FieldError{{Field: "fields.iban_number", Code: "required"}})
		golden(t, "view/answered.html", pretty(widget.HTML(widget.View(m))))
	})
}

// What WZRDPAY and the shopper write is text wherever it stands.
func TestHTML_Hostile(t *testing.T) {
	t.Parallel()
	const evil = "\"'><script>alert(1)</script>\n</div>\x00\x1e"
	s := open()
	s.ID, s.ReferenceID = evil, evil
	services := []checkout.Service{{Code: evil, Method: evil, Currency: evil, Fields: []checkout.Field{{Key: evil, Label: checkout.Text{"en": evil}, Hint: checkout.Text{"en": evil + "2"}, Example: evil}}}}
	methods := map[string]checkout.Method{evil: {Name: checkout.Text{"en": evil}, Category: evil, Logo: "/" + evil}}
	m := widget.New(widget.Options{Base: base, Locale: evil}).Loaded(s, services, methods).Answered(evil, map[string]string{evil: evil}, []checkout.FieldError{{Field: evil, Code: evil}})
	tree := widget.View(m)
	if tree == nil {
		t.Fatal("View() = nil, want a tree")
	}
	html := widget.HTML(tree)
	if strings.Contains(html, "<script") || strings.ContainsAny(html, "\n\x00\x1e") {
		t.Errorf("HTML(View()) = %q, want no markup and no control characters of others", html)
	}
	back := widget.ParseTree(wire(html))
	if back == nil || !equal(back, tree) {
		t.Error("the loader reads another tree than was written")
	}
	for _, logo := range []string{"https://evil.example/x.png", "//evil.example/x.png", "javascript:alert(1)", base + ".evil.example/x.png"} {
		methods[evil] = checkout.Method{Logo: logo}
		if html := widget.HTML(widget.View(widget.New(widget.Options{Base: base}).Loaded(s, services, methods))); strings.Contains(html, "decoding=") {
			t.Errorf("a logo at %q is drawn, want only those of the BFF", logo)
		}
	}
}

// The page's own drawing of an answer is the one the server sent with it: taking over is
// no change.
func TestHost_TakesOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		session checkout.Session
		want    string
	}{
		{"open", open(), ""},
		{"pending", at(checkout.StatusPending, 3, invoice("process_pending", "ok")), "x6\n"}, // the link for pages without script
		{"paid", at(checkout.StatusPaid, 4, invoice("processed", "ok")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := widget.NewHost(browser)
			h.Dispatch("1\nmount\n0\n0\n\n0\n" + `{"base":"` + base + `"}` + "\n" + wire(widget.HTML(drawn(c.session, widget.Options{}))))
			out := h.Dispatch("1\nload\n0\n0\n\n200\n" + answer(t, c.session))
			ops := ""
			for _, command := range strings.Split(out, "\x1e") {
				if rest, ok := strings.CutPrefix(command, "patch\n"); ok {
					ops = rest
				}
			}
			// What is announced is not drawn by the server.
			if i := strings.Index(ops, "+0\n'"); i >= 0 {
				ops = ops[:strings.LastIndex(ops[:i], ">0\n")] + ops[i+strings.Index(ops[i:], "^\n")+2:]
			}
			if c.want == "" && ops != "" || c.want != "" && !strings.Contains(ops, c.want) {
				t.Errorf("taking over %s patches %q, want %q", c.name, ops, c.want)
			}
		})
	}
}

// What was chosen and typed before the module was there stays.
func TestHost_KeepsWhatWasTyped(t *testing.T) {
	t.Parallel()
	html := widget.HTML(drawn(open(), widget.Options{}))
	html = strings.Replace(html, `value="sepa_eur_hpp" id="m1"`, `value="sepa_eur_hpp" id="m1" checked`, 1)
	html = strings.Replace(html, `name="field.sepa_eur_hpp.payer_name"`, `name="field.sepa_eur_hpp.payer_name" value="Ada"`, 1)
	h := widget.NewHost(browser)
	h.Dispatch("1\nmount\n0\n0\n\n0\n" + `{"base":"` + base + `"}` + "\n" + wire(html))
	out := h.Dispatch("1\nload\n0\n0\n\n200\n" + answer(t, open()))
	if strings.Contains(out, "\x1epatch\n") {
		t.Errorf("taking over patches %q, want nothing", out)
	}
	if want := `{"service":"sepa_eur_hpp","complete":false}`; !strings.Contains(out, want) {
		t.Errorf("taking over tells %q, want the change %s", out, want)
	}
}

func TestElement(t *testing.T) {
	t.Parallel()
	got := widget.Element(widget.ElementOptions{Token: `a"b`, Locale: "uk", Hosted: true, CSS: "/w.css", HTML: "<div></div>"})
	want := `<wzrd-checkout session="a&#34;b" locale="uk" hosted><template shadowrootmode="open"><link rel="stylesheet" href="/w.css"><div></div></template></wzrd-checkout>`
	if got != want {
		t.Errorf("Element() = %s, want %s", got, want)
	}
}

func TestFormFields(t *testing.T) {
	t.Parallel()
	got := widget.FormFields(map[string][]string{"service": {"a"}, widget.FieldName("a", "x.y"): {"1", "2"}, widget.FieldName("ab", "x"): {"3"}, "field.a.z": {}}, "a")
	if len(got) != 1 || got["x.y"] != "1" {
		t.Errorf("FormFields() = %v, want map[x.y:1]", got)
	}
}
