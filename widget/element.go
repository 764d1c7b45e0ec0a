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
	HTML     string // HTML(View(…))
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
	b.WriteString(`><template shadowrootmode="open"><link rel="stylesheet"`)
	attribute("href", o.CSS)
	b.WriteString(">" + o.HTML + "</template></wzrd-checkout>")
	return b.String()
}
