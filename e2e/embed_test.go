package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/app"
)

// What stands in embed_html is enough for the script to begin with: the module is fetched
// once, ahead of it, and the BFF is asked once, later, for what has changed since the
// markup was made.
func TestEmbed_BeginsWithTheMarkup(t *testing.T) {
	t.Parallel()
	var p *program
	var embed string
	address := shopPage(t, func() (string, string) {
		policy, err := app.CSP(p.URL())
		if err != nil {
			t.Error(err)
		}
		lines := []string{"default-src 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"}
		for _, d := range policy.Directives {
			lines = append(lines, d.Name+" "+strings.Join(d.Sources, " "))
		}
		return strings.Join(lines, "; "), embed
	})
	p = startWith(t, func(c *app.DemoConfig) { c.Origins = []string{address} })
	code, s := p.call("POST", "/v1/sessions", map[string]any{"reference_id": "embed-1", "amount": 39, "currency": "EUR", "locale": "uk"})
	if code != http.StatusCreated {
		t.Fatalf("open session: %d %v", code, s)
	}
	embed = s["embed_html"].(string)
	// The shop's page is older than the cart.
	if code, changed := p.call("PATCH", "/v1/sessions/"+s["id"].(string), map[string]any{"amount": 41}); code != http.StatusOK {
		t.Fatalf("change the amount: %d %v", code, changed)
	}
	b := open(t)
	b.visit(address)
	b.await("the widget", `document.querySelector("wzrd-checkout").checkout?.state.step == "ready"`)
	b.await("the amount of now", `deep(".pay").textContent.includes("41,00")`)
	if !evaluate[bool](b, `deep(".wz").lang == "uk" && !document.querySelector("wzrd-checkout template")`) {
		t.Error("the widget is not in the session's language, or what it began with still stands in the page")
	}
	b.await("what the page asks the BFF", `performance.getEntriesByName("`+p.URL()+`/v1/checkout?locale=uk").length > 0`)
	b.never("it asks again", `performance.getEntriesByName("`+p.URL()+`/v1/checkout?locale=uk").length > 2`, time.Second)
	if n := b.requests("GET " + p.URL() + "/widget/v1/widget."); n != 2 { // the style and the module
		t.Errorf("the style and the module took %d requests, want 2", n)
	}
}

// An appearance given to update() takes the place of the one before: what it does not
// name goes back.
func TestUpdate_Appearance(t *testing.T) {
	t.Parallel()
	_, address, _ := embedded(t, "appearance")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(window.one = mount("#pay", { session, layout: "accordion", appearance: { theme: "dark", layout: "grid", variables: { accent: "#ff0000", radius: "3px" } } }), true)`)
	const look = `(() => { const e = document.querySelector("wzrd-checkout"), root = e.shadowRoot.querySelector(".wz"), s = getComputedStyle(e);
		return [root.dataset.theme, root.dataset.layout, s.getPropertyValue("--wzrd-accent"), s.getPropertyValue("--wzrd-radius")].join(" "); })()`
	looks := func(when, want string) {
		t.Helper()
		b.await(when+" to look "+want, look+` == "`+want+`"`)
	}
	b.await("the widget", `one.state.step == "ready"`)
	looks("the widget", "dark grid #ff0000 3px")
	for _, c := range []struct{ change, want string }{
		{`{ locale: "uk" }`, "dark grid #ff0000 3px"},
		{`{ appearance: { theme: "light", variables: { accent: "#00ff00" } } }`, "light accordion #00ff00 "},
		{`{ appearance: { layout: "list" } }`, "auto list  "},
		{`{ appearance: {} }`, "auto accordion  "},
	} {
		evaluate[bool](b, `(one.update(`+c.change+`), true)`)
		looks("after update("+c.change+")", c.want)
	}
	// One attribute says nothing of the others.
	evaluate[bool](b, `(document.querySelector("#pay").innerHTML = '<wzrd-checkout session="' + session + '" theme="dark" layout="grid"></wzrd-checkout>', true)`)
	b.await("the element", `document.querySelector("wzrd-checkout").checkout?.state.step == "ready"`)
	looks("the element", "dark grid  ")
	evaluate[bool](b, `(document.querySelector("wzrd-checkout").removeAttribute("theme"), true)`)
	looks("without the attribute", "auto grid  ")
}

// Browsers that can not make style sheets (Safari before 16.4) get the style by a link.
func TestWithoutConstructableSheets(t *testing.T) {
	t.Parallel()
	var p *program
	var s map[string]any
	address := shopPage(t, func() (string, string) {
		return "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' data: " + p.URL() + " " + strings.Replace(p.URL(), "http", "ws", 1),
			`<script>delete window.CSSStyleSheet</script>` + module(p.URL(), s["token"].(string))
	})
	p = startWith(t, func(c *app.DemoConfig) { c.Origins = []string{address} })
	s = p.openSession("no-sheets")
	b := open(t)
	b.visit(address)
	b.await("the page", "window.mount")
	evaluate[bool](b, `(window.one = mount("#pay", { session, appearance: { variables: { accent: "#ff0000", radius: "3px" } } }), true)`)
	b.await("the style", `one.state.step == "ready" && getComputedStyle(deep(".rows")).borderRadius == "3px" && getComputedStyle(deep(".pay")).backgroundColor == "rgb(255, 0, 0)"`)
	evaluate[bool](b, `(one.update({ appearance: {} }), true)`)
	b.await("the style of before", `getComputedStyle(deep(".rows")).borderRadius == "12px"`)
}

// With its style inside, embed_html is dressed at once where the policy names the style's
// hash, and by the script, once, where it does not.
func TestEmbed_InlineStyle(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{true, false} {
		name := "named"
		if !named {
			name = "not named"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p *program
			var embed string
			address := shopPage(t, func() (string, string) {
				policy, err := app.CSP(p.URL())
				if err == nil && named {
					policy, err = policy.WithInlineStyle()
				}
				if err != nil {
					t.Error(err)
				}
				lines := []string{"default-src 'none'"}
				for _, d := range policy.Directives {
					lines = append(lines, d.Name+" "+strings.Join(d.Sources, " "))
				}
				return strings.Join(lines, "; "), embed
			})
			p = startWith(t, func(c *app.DemoConfig) { c.Origins = []string{address} })
			code, s := p.call("POST", "/v1/sessions?embed_style=inline", map[string]any{"reference_id": "inline-1", "amount": 39, "currency": "EUR"})
			if code != http.StatusCreated {
				t.Fatalf("open session: %d %v", code, s)
			}
			embed = s["embed_html"].(string)
			b := open(t)
			b.visit(address)
			b.await("the widget", `document.querySelector("wzrd-checkout").checkout?.state.step == "ready"`)
			got := evaluate[string](b, `(() => { const r = document.querySelector("wzrd-checkout").shadowRoot; return [!!r.querySelector("style").sheet, r.adoptedStyleSheets[0].cssRules.length > 0, getComputedStyle(deep(".rows")).borderRadius].join(" "); })()`)
			if want := map[bool]string{true: "true false 12px", false: "false true 12px"}[named]; got != want {
				t.Errorf("style of the markup, style of the script, corners = %s, want %s", got, want)
			}
		})
	}
}
