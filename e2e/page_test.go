package e2e_test

import (
	"fmt"
	"html"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/app"
)

// shopPage serves one page of a shop elsewhere, under a Content-Security-Policy.
func shopPage(t *testing.T, page func() (policy, body string)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNoContent) // the browser asks for an icon
			return
		}
		policy, body := page()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = fmt.Fprint(w, "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>Shop</title><body>"+body)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + l.Addr().String()
}

// openSession is the shop's server-side call.
func (p *program) openSession(reference string) map[string]any {
	p.t.Helper()
	code, s := p.call("POST", "/v1/sessions", map[string]any{"reference_id": reference, "amount": 39, "currency": "EUR"})
	if code != http.StatusCreated {
		p.t.Fatalf("open session: %d %v", code, s)
	}
	return s
}

// What bff csp prints is enough for a page that allows nothing else, with Trusted Types,
// by each of the ways to embed.
func TestStrictPolicy(t *testing.T) {
	t.Parallel()
	embed := map[string]func(base string, s map[string]any) string{
		"tag": func(base string, s map[string]any) string {
			return `<div id="pay"></div><script async src="` + base + `/widget/v1/checkout.js" data-session="` + s["token"].(string) + `" data-target="#pay"></script>`
		},
		"element": func(base string, s map[string]any) string {
			return `<wzrd-checkout session="` + s["token"].(string) + `"></wzrd-checkout><script async src="` + base + `/widget/v1/checkout.js"></script>`
		},
		"embed_html": func(_ string, s map[string]any) string { return s["embed_html"].(string) },
		"loader with the list": func(base string, s map[string]any) string {
			return `<div id="pay"></div><script async src="` + base + `/widget/v1/checkout.js?session=` + s["id"].(string) + `" data-target="#pay"></script>`
		},
	}
	for name, body := range embed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p *program
			address := shopPage(t, func() (string, string) {
				policy, err := app.CSP(p.URL())
				if err != nil {
					t.Error(err)
				}
				lines := []string{"default-src 'none'", "base-uri 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"}
				for _, d := range policy.Directives {
					lines = append(lines, d.Name+" "+strings.Join(d.Sources, " "))
				}
				return strings.Join(lines, "; "), body(p.URL(), p.openSession("strict-"+strings.ReplaceAll(name, " ", "-")))
			})
			p = startWith(t, func(c *app.DemoConfig) { c.Origins = []string{address} })
			b := open(t, phone)
			b.visit(address)
			b.await("the payment methods", `shown(`+quoteCall("deep", row(card))+`)`)
			choose(b)
			b.picture("strict-" + strings.ReplaceAll(name, " ", "-"))
			b.click(button)
			b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
		})
	}
}

// Without WebAssembly, which a policy can forbid, the list is still a form that pays.
func TestWithoutWebAssembly(t *testing.T) {
	t.Parallel()
	var p *program
	address := shopPage(t, func() (string, string) {
		s := p.openSession("no-wasm")
		policy := "default-src 'none'; script-src " + p.URL() + "; style-src " + p.URL() + "; img-src " + p.URL() + "; connect-src *; form-action *"
		return policy, `<div id="pay"></div><script async src="` + p.URL() + `/widget/v1/checkout.js" data-session="` + html.EscapeString(s["token"].(string)) + `" data-target="#pay"></script>`
	})
	p = startWith(t, func(c *app.DemoConfig) { c.Origins = []string{address} })
	b := open(t)
	b.expect("WebAssembly") // the browser says that the policy forbids it, and so does the widget
	b.expect("Content Security Policy")
	b.visit(address)
	b.click(row(sepa))
	b.fill(payer, "Olena Demo")
	b.fill(iban, goodIBAN)
	b.picture("no-wasm")
	b.click(button)
	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	if p.theInvoice().Service != sepa {
		t.Errorf("WZRDPAY was asked for %s, want %s", p.theInvoice().Service, sepa)
	}
}

// With JavaScript off the hosted page is a plain form, up to the paid screen.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.openSession("no-script")
	b := open(t, noScript)
	b.visit(s["url"].(string))
	b.click(row(sepa))
	b.fill(payer, "Olena Demo")
	b.fill(iban, "wrong")
	b.click(button)
	b.await("the wrong value to come back marked", `deep('input[name="field.`+sepa+`.iban_number"]')?.getAttribute("aria-invalid") === "true" && deep('input[name="field.`+sepa+`.iban_number"]').value === "wrong"`)
	b.picture("no-script-wrong")
	b.fill(iban, goodIBAN)
	b.click(button)
	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	b.click("#pay")
	b.await("the hosted page to say paid", state("paid"))
	b.picture("no-script-paid")
}

func TestPictures(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := open(t, phone, darkMode)
	b.visit(p.URL() + "/?locale=uk")
	b.await("the widget to take over", live)
	b.picture("phone-dark-list")
	b.click(row(sepa))
	b.click(button)
	b.await("the errors", `deep('.error')`)
	b.picture("phone-dark-errors")
}
