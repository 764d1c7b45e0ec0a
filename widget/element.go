//go:build !js

package widget

import "strings"

// ElementOptions describe a <wzrd-checkout> that arrives with its content.
type ElementOptions struct {
	Token    string // the session's token, "" for none
	Locale   string
	Theme    string
	Layout   string
	Hosted   bool
	ReadOnly bool
	CSS      string // address of widget.css
	Style    string // its text instead, to stand in the page itself: the first paint waits for nothing
	HTML     string // HTML(View(…))
	Data     string // the answer of GET /v1/checkout as encoding/json writes it, without < and &; "" for none
}

// Element writes the custom element with its shadow root declared in the markup: the
// list is in the page before any script runs, and works if none ever does.
func Element(o ElementOptions) string {
	var b strings.Builder
	b.WriteString("<wzrd-checkout")
	attribute := func(name, value string) {
		if value != "" {
			b.WriteString(" " + name + `="`)
			writeText(&b, value)
			b.WriteByte('"')
		}
	}
	attribute("session", o.Token)
	attribute("locale", o.Locale)
	attribute("theme", o.Theme)
	attribute("layout", o.Layout)
	if o.Hosted {
		b.WriteString(" hosted")
	}
	b.WriteString(`><template shadowrootmode="open">`)
	if o.Style != "" {
		b.WriteString("<style>" + o.Style + "</style>")
	} else {
		b.WriteString(`<link rel="stylesheet"`)
		attribute("href", o.CSS)
		b.WriteByte('>')
	}
	b.WriteString(o.HTML + "</template>")
	if o.Data != "" {
		// Not rendered, not run, no business of a policy; the script takes it away.
		b.WriteString("<template>" + o.Data + "</template>")
	}
	b.WriteString("</wzrd-checkout>")
	return b.String()
}
