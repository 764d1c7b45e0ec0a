package page_test

import (
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/page"
)

var site = page.Site{
	Module: page.Module{URL: "https://pay.example/widget/v1/widget.wasm", Integrity: "sha384-abc+/="},
	Base:   "https://pay.example", CSS: "https://pay.example/widget/v1/widget.css", Script: "https://pay.example/widget/v1/checkout.js",
	Style: ".wz{color:red}", Close: "https://pay.example/widget/v1/" + page.Close.Name,
}

const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>`

func view(status checkout.Status) page.View {
	v := page.View{
		Session: checkout.Session{ID: "cs_1", Status: status, Revision: 1, Amount: checkout.MustAmount("10"), Currency: "EUR", Digits: 2, Description: hostile, ExpiresAt: 4_000_000_000, CreatedAt: 1},
		Services: []checkout.Service{{Code: "card_eur", Method: "card", Currency: "EUR", Fields: []checkout.Field{
			{Key: "phone", Label: checkout.Text{"en": hostile}, Hint: checkout.Text{"en": hostile}, Example: hostile, Required: true},
		}}},
		Methods: map[string]checkout.Method{"card": {Code: "card", Name: checkout.Text{"en": hostile}, Logo: "https://pay.example/widget/v1/logos/card"}},
	}
	if status != checkout.StatusOpen {
		v.Session.Invoice = &checkout.Invoice{ID: "cpi_1", Service: "card_eur", Status: hostile, Resolution: hostile, Amount: v.Session.Amount, Currency: "EUR"}
	}
	return v
}

// sound checks that a document is well formed, and that nothing in it runs or styles by
// itself: no inline script or handler, no style that the policy does not name.
func sound(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	open := ""
	for {
		token, err := d.Token()
		if token == nil {
			if err.Error() != "EOF" {
				t.Errorf("document is not well formed: %v\n%s", err, text)
			}
			return
		}
		switch e := token.(type) {
		case xml.StartElement:
			open = e.Name.Local
			for _, a := range e.Attr {
				name := strings.ToLower(a.Name.Local)
				if strings.HasPrefix(name, "on") || name == "style" || strings.HasPrefix(a.Value, "javascript:") {
					t.Errorf("<%s> has %s=%q", open, name, a.Value)
				}
			}
			if open == "iframe" {
				t.Errorf("document has <%s>", open)
			}
		case xml.CharData:
			if open == "style" && !strings.Contains(site.Policy(), page.StyleHash(string(e))) {
				t.Errorf("style that the policy does not name: %s", e)
			}
			if open == "script" && strings.TrimSpace(string(e)) != "" {
				t.Errorf("inline script: %s", e)
			}
		case xml.EndElement:
			open = ""
		}
	}
}

func TestHosted_EveryState(t *testing.T) {
	t.Parallel()
	for _, status := range []checkout.Status{
		checkout.StatusOpen, checkout.StatusCreating, checkout.StatusPending, checkout.StatusPaid, checkout.StatusPartiallyPaid, checkout.StatusFailed,
		checkout.StatusExpired, checkout.StatusVerified, checkout.StatusRefunding, checkout.StatusRefunded, checkout.StatusPartiallyRefunded, checkout.StatusChargedBack,
	} {
		t.Run(string(status), func(t *testing.T) {
			t.Parallel()
			text := string(site.Hosted(view(status), "token", "", "uk;q=0.9, en;q=0.1", nil))
			sound(t, text)
			if !strings.HasPrefix(text, `<!doctype html><html lang="uk" dir="ltr">`) || !strings.Contains(text, site.Script) {
				t.Errorf("Hosted(%s) = %s", status, text)
			}
			waits := status == checkout.StatusPending || status == checkout.StatusCreating
			if strings.Contains(text, "http-equiv") != waits {
				t.Errorf("Hosted(%s) refreshes: %v, want %v", status, !waits, waits)
			}
			if strings.Contains(text, `type="radio"`) != status.Payable() {
				t.Errorf("Hosted(%s) shows the list: %v, want %v", status, !status.Payable(), status.Payable())
			}
		})
	}
}

func TestHosted_Answer(t *testing.T) {
	t.Parallel()
	text := string(site.Hosted(view(checkout.StatusOpen), "token", "en", "", &page.Back{
		Service: "card_eur", Values: map[string]string{"phone": hostile}, Errors: []checkout.FieldError{{Field: "phone", Code: "pattern", Message: hostile}},
	}))
	sound(t, text)
	for _, want := range []string{"checked", "aria-invalid", "alert(1)"} {
		if !strings.Contains(text, want) {
			t.Errorf("Hosted() has no %s: %s", want, text)
		}
	}
}

// What the documents carry for the script is the answer of GET /v1/checkout, and no
// value in it can end the element that it stands in.
func TestDocuments_Data(t *testing.T) {
	t.Parallel()
	v := view(checkout.StatusOpen)
	v.Session.Locale = "uk"
	readOnly := v
	readOnly.ReadOnly = true
	for _, c := range []struct {
		name, text string
		services   int
	}{
		{"embed", site.Embed(v, "token", true, false), 1},
		{"hosted", string(site.Hosted(v, "token", "", "", nil)), 1},
		{"hosted, read only", string(site.Hosted(readOnly, "token", "", "", nil)), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, rest, ok := strings.Cut(c.text, "</template><template>")
			data, _, closed := strings.Cut(rest, "</template></wzrd-checkout>")
			if !ok || !closed || strings.ContainsAny(data, "<>&") {
				t.Fatalf("data = %q in %s", data, c.text)
			}
			var got page.Answer
			if err := json.Unmarshal([]byte(data), &got); err != nil {
				t.Fatalf("data = %s: %v", data, err)
			}
			services := 0
			if got.Services != nil {
				services = len(*got.Services)
			}
			if got.Session.ID != v.Session.ID || got.Locale != "uk" || got.Texts == "" || got.HTML != "" || services != c.services {
				t.Errorf("data = %s, want the session, %d services and Ukrainian texts", data, c.services)
			}
			if want := `<link rel="preload" as="fetch" crossorigin="anonymous" href="https://pay.example/widget/v1/widget.wasm" integrity="sha384-abc+/=">`; !strings.Contains(c.text, want) {
				t.Errorf("no %s in %s", want, c.text)
			}
		})
	}
	if text := site.Embed(v, "token", true, false); strings.Contains(text, "<style") || !strings.Contains(text, `<link rel="stylesheet" href="`+site.CSS+`">`) {
		t.Errorf("embed = %s, want its style in a file", text)
	}
	if text := site.Embed(v, "token", true, true); !strings.Contains(text, `<template shadowrootmode="open"><style>`+site.Style+`</style>`) || strings.Contains(text, "stylesheet") {
		t.Errorf("embed with its style inside = %s", text)
	}
	if text := (page.Site{Script: site.Script}).Embed(v, "token", false, false); strings.Contains(text, "preload") || strings.Contains(text, "<template>") {
		t.Errorf("a widget that is not built = %s, want nothing fetched ahead", text)
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"forward", string(site.Forward(checkout.Redirect{Method: "POST", URL: "https://p.example/?a=1&b=" + hostile, Params: map[string]string{"b": hostile, hostile: "2"}}, "en")), []string{`<form method="post" action="https://p.example/?a=1&amp;b=`, "<button>"}},
		{"returned", string(site.Returned("https://shop.example/?a=1&t="+hostile, "uk")), []string{`lang="uk"`, `data-next="https://shop.example/?a=1&amp;t=`, `http-equiv="refresh"`, page.Close.Name}},
		{"message", string(site.Message("e.access", "https://pay.example/"+hostile, "")), []string{`role="alert"`, "Go back to the shop"}},
		{"embed", site.Embed(view(checkout.StatusOpen), `tok"en`, true, false), []string{`session="tok`, `shadowrootmode="open"`, site.Script, `type="radio"`}},
		{"embed without a list", site.Embed(view(checkout.StatusOpen), "token", false, false), []string{`session="token"`, site.Script}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sound(t, c.text)
			for _, want := range c.want {
				if !strings.Contains(c.text, want) {
					t.Errorf("%s has no %s: %s", c.name, want, c.text)
				}
			}
			if strings.Contains(c.text, "<script>") || strings.Contains(c.text, "<img src=x") {
				t.Errorf("%s lets markup in: %s", c.name, c.text)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	live := site
	live.Live = true
	if got := live.Policy(); strings.Contains(got, "http:") || !strings.Contains(got, "wss://pay.example") || strings.Contains(got, "unsafe-inline") {
		t.Errorf("Policy() with live keys = %s", got)
	}
	if got := site.Policy(); !strings.Contains(got, "http://127.0.0.1:*") {
		t.Errorf("Policy() with test keys = %s, want the sandbox as a form's target", got)
	}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	v := view(checkout.StatusOpen)
	for _, c := range []struct{ asked, session, accepts, want string }{
		{"", "", "", "en"}, {"", "", "uk-UA,uk;q=0.8", "uk"}, {"", "ru", "uk", "ru"}, {"uk", "ru", "en", "uk"}, {"tlh", "", "xx", "en"},
	} {
		v.Session.Locale = c.session
		if got := site.Draw(v, c.asked, c.accepts); got.Locale != c.want || !strings.Contains(got.HTML, `lang="`+c.want+`"`) || (got.Texts == "") != (c.want == "en") {
			t.Errorf("Draw(%q, %q, %q) = %s with %d bytes of texts, want %s", c.asked, c.session, c.accepts, got.Locale, len(got.Texts), c.want)
		}
	}
	v.ReadOnly = true
	if got := site.Draw(v, "", ""); strings.Contains(got.HTML, `type="radio"`) {
		t.Errorf("Draw(read only) shows the list: %s", got.HTML)
	}
}
