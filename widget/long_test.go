package widget_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/widget"
)

// long is a catalogue of n services of three kinds in turn.
func long(n int) ([]checkout.Service, map[string]checkout.Method) {
	methods := map[string]checkout.Method{}
	var list []checkout.Service
	for i := range n {
		code := fmt.Sprintf("m%d", i)
		methods[code] = checkout.Method{Code: code, Category: []string{"payment_card", "online_banking", "digital_wallet"}[i%3], Name: checkout.Text{"en": "Way " + code}}
		list = append(list, checkout.Service{Code: code + "_eur", Method: code, Currency: "EUR"})
	}
	return list, methods
}

// order is what a list shows, in turn: groups as "#key", services by code.
func order(n *widget.Node) []string {
	var out []string
	for _, m := range regexp.MustCompile(`class="(row|group)"[^>]*? data-k="([^"]*)"(>| hidden)`).FindAllStringSubmatch(widget.HTML(n), -1) {
		switch {
		case m[1] == "group":
			out = append(out, "#"+m[2])
		case m[3] == ">":
			out = append(out, m[2])
		}
	}
	return out
}

func TestView_Groups(t *testing.T) {
	t.Parallel()
	few, fewMethods := long(16)
	many, manyMethods := long(18)
	for _, c := range []struct {
		name     string
		services []checkout.Service
		methods  map[string]checkout.Method
		options  widget.Options
		want     string
	}{
		{"16 keep the merchant's order", few, fewMethods, widget.Options{}, "m0 m1 m2 m3 m4 m5 m6 m7 m8 m9 m10 m11 m12 m13 m14 m15"},
		{"17 and more by kind", many, manyMethods, widget.Options{}, "#g.card m0 m3 m6 m9 m12 m15 #g.bank m1 m4 m7 m10 m13 m16 #g.wallet m2 m5 m8 m11 m14 m17"},
		{
			"first stand above", many, manyMethods,
			widget.Options{First: []string{"m7", "m0_eur"}, Hide: []string{"m3", "m2", "m5", "m8", "m11", "m14", "m17_eur"}},
			"m7 m0 #g.bank m1 m4 m10 m13 m16 #g.card m6 m9 m12 m15",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.options.Base = base
			got := order(widget.View(widget.New(c.options).Loaded(open(), c.services, c.methods)))
			if s := strings.ReplaceAll(strings.Join(got, " "), "_eur", ""); s != c.want {
				t.Errorf("list = %s\nwant   %s", s, c.want)
			}
		})
	}
	t.Run("a search leaves no empty group", func(t *testing.T) {
		t.Parallel()
		m := widget.New(widget.Options{Base: base}).Loaded(open(), many, manyMethods)
		m, _ = widget.Update(m, widget.Event{Kind: "input", Name: "query", Text: "m1"})
		if got, want := order(widget.View(m)), strings.Fields("#g.card m12_eur m15_eur #g.bank m1_eur m10_eur m13_eur m16_eur #g.wallet m11_eur m14_eur m17_eur"); !slices.Equal(got, want) {
			t.Errorf("list = %v, want %v", got, want)
		}
	})
}

// A page that no script takes over puts the shopper at the first wrong field, and at one.
func TestView_Autofocus(t *testing.T) {
	t.Parallel()
	services, methods := catalogue()
	m := widget.New(widget.Options{Base: base}).Loaded(open(), services, methods).Answered("sepa_eur_hpp", nil,
		[]checkout.FieldError{{Field: "iban_number", Code: "required"}, {Field: "payer_name", Code: "required"}})
	html := widget.HTML(widget.View(m))
	if n := strings.Count(html, " autofocus"); n != 1 {
		t.Fatalf("autofocus is there %d times, want once", n)
	}
	if before, _, _ := strings.Cut(html, " autofocus"); !strings.Contains(before[strings.LastIndex(before, "<input"):], "payer_name") {
		t.Errorf("autofocus is not on the first wrong field: %s", html)
	}
}

// The edge counts down to the BFF's end of what is waited for.
func TestView_Clock(t *testing.T) {
	t.Parallel()
	s := open()
	end := func(s checkout.Session) string {
		html := widget.HTML(drawn(s, widget.Options{}))
		if m := regexp.MustCompile(`data-end="(\d+)" data-text="Time left: {time}"`).FindStringSubmatch(html); m != nil {
			return m[1]
		}
		return ""
	}
	s.ExpiresAt = 1234
	if got := end(s); got != "1234" {
		t.Errorf("end of an open session = %q, want its own, 1234", got)
	}
	v := invoice("process_pending", "ok")
	v.ExpiresAt = 2345
	waits := at(checkout.StatusPending, 3, v)
	waits.ExpiresAt = 1234
	if got := end(waits); got != "2345" {
		t.Errorf("end of a pending session = %q, want its invoice's, 2345", got)
	}
	if got := end(at(checkout.StatusPaid, 3, invoice("processed", "ok"))); got != "" {
		t.Errorf("end of a paid session = %q, want none", got)
	}
	m, _ := widget.Update(widget.New(widget.Options{Base: base}).Loaded(s, nil, nil), widget.Event{Kind: "say", Text: "Time left: 1:00"})
	if html := widget.HTML(widget.View(m)); !strings.Contains(html, `role="status" data-k="said">Time left: 1:00<`) {
		t.Errorf("what the edge says is not announced: %s", html)
	}
}

// Some languages have several names.
func TestNegotiate_Aliases(t *testing.T) {
	t.Parallel()
	for wanted, want := range map[string]string{"no": "nb", "nn-NO": "nb", "iw": "he", "IN": "id", "nb": "nb", "xx, no;q=0.5": "nb"} {
		if got := widget.Negotiate(wanted); got != want {
			t.Errorf("Negotiate(%q) = %q, want %q", wanted, got, want)
		}
		m := widget.New(widget.Options{Locale: wanted})
		if !strings.Contains(wanted, ",") && (m.Language() != want || m.RTL() != (want == "he") || widget.Texts(wanted) != widget.Texts(want)) {
			t.Errorf("New(%q) speaks %q, right to left %v, want %q", wanted, m.Language(), m.RTL(), want)
		}
	}
}

// A plural form that a language does not have is its own "other", never English.
func TestCount_OwnForms(t *testing.T) {
	t.Parallel()
	many, methods := long(18)
	for _, form := range []string{"few", "many", "zero", "other"} {
		m := widget.New(widget.Options{Base: base, Locale: "de", Plural: func(string, int) string { return form }}).Loaded(open(), many, methods)
		m, _ = widget.Update(m, widget.Event{Kind: "input", Name: "query", Text: "m1"})
		want := strings.ReplaceAll(widget.T("de", "results.other"), "{count}", "9")
		if html := widget.HTML(widget.View(m)); !strings.Contains(html, ">"+want+"<") {
			t.Errorf("form %s: %q is not announced: %s", form, want, html[:400])
		}
	}
}
