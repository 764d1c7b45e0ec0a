package e2e_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"wzrdcheckout/internal/app"
)

var pageBlock = regexp.MustCompile("(?ms)^```(html|js|css)[^\n]*\n(.*?)^```$")

// Every html, js and css block of the documents that speak of pages is put into a shop's
// page as it stands, with the address and the token filled in, and has to show the widget
// without a word in the console. What a block speaks of and does not make (token, myRouter)
// is made before it.
func TestDocuments_Pages(t *testing.T) {
	t.Parallel()
	var body atomic.Value
	var p *program
	address := shopPage(t, func() (string, string) {
		return "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' data: " + p.URL() + " " + strings.Replace(p.URL(), "http", "ws", 1), body.Load().(string)
	})
	p = startWith(t, func(c *app.DemoConfig) { c.Origins = []string{address} })
	b := open(t)
	ran := 0
	for _, document := range []string{"../README.md", "../docs/embed.md"} {
		for _, m := range pageBlock.FindAllStringSubmatch(read(t, document), -1) {
			ran++
			language, text := m[1], m[2]
			token := p.openSession(fmt.Sprintf("documents-%d", ran))["token"].(string)
			text = strings.NewReplacer("https://pay.shop.example", p.URL(), `"TOKEN"`, `"`+token+`"`).Replace(text)
			tag := `<script async src="` + p.URL() + `/widget/v1/checkout.js" data-session="` + token + `"></script>`
			before, left := "", strings.Contains(text, "unmount()")
			switch language {
			case "html":
				before = text
			case "css":
				before = "<style>" + text + "</style>" + tag
			case "js":
				need := ""
				if strings.Contains(text, `querySelector("wzrd-checkout")`) || strings.HasPrefix(text, "document.") {
					before = `<wzrd-checkout session="` + token + `"></wzrd-checkout>` + tag
				} else if !strings.Contains(text, "import {") {
					need = `import { mount } from "` + p.URL() + `/widget/v1/checkout.mjs";`
				}
				if strings.HasPrefix(text, "checkout.") {
					need += "\nconst checkout = mount('#pay', { session: token });"
				}
				before += "\n<div id=pay></div><script type=module>\nconst token = '" + token + "', TOKEN = token, newToken = token, showThanks = () => {}, myRouter = {};\n" + need + "\n" + text + "\nwindow.done = true;</script>"
			}
			body.Store(`<script>window.told = []; document.addEventListener("wzrd-error", (e) => told.push(e.detail.code))</script>` + before)
			b.visit(address)
			t.Logf("%s: %s block %d", document, language, ran)
			if language == "js" {
				b.await("the block to end", "window.done")
			}
			if left {
				b.await("the widget to be gone", `!deep("button")`)
			} else {
				b.await("every widget to stand", `(all => all.length && all.every((e) => e.checkout && e.checkout.state.step !== "loading"))([...document.querySelectorAll("wzrd-checkout")])`)
			}
			if told := evaluate[string](b, `told.filter((code) => code != "service_required").join()`); told != "" {
				t.Errorf("%s: the widget told %s of\n%s", document, told, text)
			}
			if language == "css" {
				if got := evaluate[string](b, `getComputedStyle(deep("[part=button]")).letterSpacing + " " + getComputedStyle(deep("[part=button]")).backgroundColor`); got == "" || !strings.Contains(got, "rgb(10, 125, 90)") || strings.HasPrefix(got, "normal") {
					t.Errorf("%s: the looks are %q", document, got)
				}
			}
		}
	}
	if ran < 10 {
		t.Errorf("%d blocks were run, want all", ran)
	}
}
