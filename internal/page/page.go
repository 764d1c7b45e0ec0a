// Package page owns the HTML documents of the BFF: the hosted page, the page that a
// provider leads back to, the form for a provider that wants POST, and the markup for a
// shop's own page. It renders the widget's tree and does no I/O.
//
// Scripts are files. So are the styles of what a shop puts into its own page, unless it
// asks for them in the markup; the hosted page has its styles in itself, named by hash in
// its Content-Security-Policy: its first paint waits for no other file. It imports
// checkout and widget.
package page

import (
	"crypto/sha256"
	_ "embed" // the documents' style and script
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/widget"
)

// File is a script of the documents, to be served unchanged for ever: its name
// holds a hash of its content.
type File struct {
	Name        string // "return.0123456789ab.js"
	ContentType string
	Text        []byte
}

//go:embed page.css
var look string

//go:embed close.js
var closing []byte

// Close is the script of the return page.
var Close = file("return", "js", "text/javascript; charset=utf-8", closing)

func file(name, ending, kind string, text []byte) File {
	sum := sha256.Sum256(text)
	return File{Name: name + "." + hex.EncodeToString(sum[:6]) + "." + ending, ContentType: kind, Text: text}
}

// Site is where the documents' parts are: absolute addresses. CSS is the widget's style,
// Script its checkout.js, Close the file above.
type Site struct {
	Base   string // BFF_PUBLIC_URL without a slash at its end
	Live   bool   // live keys: providers are https only
	CSS    string
	Style  string // text of the widget's style, "" = not at hand: the address is used
	Script string
	Module Module
	Close  string
}

// Module is the widget's wasm: its absolute address ("" = it is not built) and its
// subresource integrity.
type Module struct{ URL, Integrity string }

// ahead lets the browser fetch the module while it still fetches the script, which is
// what asks for it: with the same integrity, or it would be fetched twice.
func (m Module) ahead() string {
	if m.URL == "" {
		return ""
	}
	return `<link rel="preload" as="fetch" crossorigin="anonymous" href="` + html.EscapeString(m.URL) + `" integrity="` + html.EscapeString(m.Integrity) + `">`
}

// View is a session and what it can be paid with.
type View struct {
	Session  checkout.Session
	Services []checkout.Service
	Methods  map[string]checkout.Method
	Account  checkout.Account // the merchant, as far as it is known
	ReadOnly bool             // no list, only where the payment stands
}

// Answer is what GET /v1/checkout says, and what stands in the documents for the script
// to begin with. Services and Methods are absent for scope status.
type Answer struct {
	Session  checkout.Session            `json:"session"`
	Services *[]checkout.Service         `json:"services,omitempty"`
	Methods  *map[string]checkout.Method `json:"methods,omitempty"`
	Locale   string                      `json:"locale"`
	Texts    string                      `json:"texts,omitempty"`
	HTML     string                      `json:"html,omitempty"`
}

// Answer is the view in the language and with the markup of d.
func (v View) Answer(d Drawn) Answer {
	a := Answer{Session: v.Session, Locale: d.Locale, Texts: d.Texts, HTML: d.HTML}
	if !v.ReadOnly {
		a.Services, a.Methods = &v.Services, &v.Methods
	}
	return a
}

// data is the answer for a document that has the markup already.
func (v View) data(locale string) string {
	text, err := json.Marshal(v.Answer(Drawn{Locale: locale, Texts: widget.Texts(locale)}))
	if err != nil {
		return "" // the script asks for it
	}
	return string(text)
}

// Drawn is a widget as HTML with the language it is in. Texts is that language's file,
// "" for English, which pages have built in.
type Drawn struct {
	HTML   string
	Locale string
	Texts  string
}

// Draw renders the widget for a page. The language is the first that there are texts in
// of: asked, the session's, and those of an Accept-Language header.
func (s Site) Draw(v View, asked, accepts string) Drawn {
	locale := widget.Negotiate(asked, v.Session.Locale, accepts)
	m := s.model(v, locale, false)
	return Drawn{HTML: widget.HTML(widget.View(m)), Locale: locale, Texts: widget.Texts(locale)}
}

func (s Site) model(v View, locale string, hosted bool) *widget.Model {
	return widget.New(widget.Options{Base: s.Base, Locale: locale, Theme: "auto", Hosted: hosted, ReadOnly: v.ReadOnly}).Loaded(v.Session, v.Services, v.Methods)
}

// Embed is the markup for a shop's own page: the element, with the widget in it when
// drawn is true, and its script. Nothing is inline, unless the shop wants the style in it.
func (s Site) Embed(v View, token string, drawn, inline bool) string {
	locale := widget.Negotiate(v.Session.Locale)
	o := widget.ElementOptions{Token: token, Locale: v.Session.Locale, Theme: "auto", CSS: s.CSS}
	if inline {
		o.Style = s.Style
	}
	if drawn {
		o.HTML, o.Data = widget.HTML(widget.View(s.model(v, locale, false))), v.data(locale)
	} else {
		o.HTML = widget.HTML(widget.View(widget.New(widget.Options{Base: s.Base, Locale: locale, Theme: "auto"})))
	}
	return s.Module.ahead() + widget.Element(o) + `<script async src="` + html.EscapeString(s.Script) + `"></script>`
}

// Back is a form that came back: what was chosen and typed, and what was wrong.
type Back struct {
	Service string
	Values  map[string]string
	Errors  []checkout.FieldError
}

// Hosted is the page of a session, for every browser. Accepts is an Accept-Language
// header, token a pay token for the script.
func (s Site) Hosted(v View, token, asked, accepts string, back *Back) []byte {
	locale := widget.Negotiate(asked, v.Session.Locale, accepts)
	m := s.model(v, locale, true)
	if back != nil {
		m = m.Answered(back.Service, back.Values, back.Errors)
	}
	head := ""
	if st := v.Session.Status; st == checkout.StatusPending || st == checkout.StatusCreating {
		// Without JavaScript nothing else tells that the payment went through.
		head = `<noscript><meta http-equiv="refresh" content="5"></noscript>`
	}
	head += s.Module.ahead() + `<script async src="` + html.EscapeString(s.Script) + `"></script>`
	element := widget.Element(widget.ElementOptions{
		Token: token, Locale: locale, Theme: "auto", Hosted: true, ReadOnly: v.ReadOnly, CSS: s.CSS, Style: s.Style,
		HTML: widget.HTML(widget.View(m)), Data: v.data(locale),
	})
	title := text(locale, "title")
	if v.Account.Name != "" {
		title = html.EscapeString(visible(v.Account.Name)) + " – " + title
	}
	return s.document(m.Language(), m.RTL(), "", title, head, order(v, locale, m.Total())+element)
}

// order says whom and what the payment is for, above the widget. The amount of a payment
// that is over stands among its facts.
func order(v View, locale, total string) string {
	name := text(locale, "title")
	if v.Account.Name != "" {
		name = html.EscapeString(visible(v.Account.Name))
	}
	out := `<header class="order"><h1 dir="auto">` + name + `</h1>`
	if v.Session.Status.Payable() || v.Session.Status == checkout.StatusCreating {
		out += `<p class="total">` + html.EscapeString(total) + `</p>`
	}
	if v.Session.Description != "" {
		out += `<p class="about" dir="auto">` + html.EscapeString(visible(v.Session.Description)) + `</p>`
	}
	return out + `</header>`
}

// visible is a text without the marks that would turn the direction of what follows.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff {
			return -1
		}
		return r
	}, s)
}

// Returned leads on to next, or closes the window that the widget opened.
func (s Site) Returned(next, accepts string) []byte {
	locale := widget.Negotiate(accepts)
	n := html.EscapeString(next)
	head := `<script src="` + html.EscapeString(s.Close) + `"></script>` +
		`<noscript><meta http-equiv="refresh" content="0;url=` + n + `"></noscript>` +
		`<meta http-equiv="refresh" content="2;url=` + n + `">` // the script did not load
	body := `<div class="card"><h1>` + text(locale, "state.checking") + `</h1><a class="button" href="` + n + `">` + text(locale, "continue") + `</a></div>`
	return s.document(locale, rtl(locale), next, text(locale, "title"), head, body)
}

// Forward is the form for a provider that wants POST: one button, nothing hidden but the
// provider's own parameters.
func (s Site) Forward(r checkout.Redirect, accepts string) []byte {
	locale := widget.Negotiate(accepts)
	var b strings.Builder
	b.WriteString(`<div class="card"><h1>` + text(locale, "state.pending") + `</h1><p>` + text(locale, "next") + `</p><form method="post" action="` + html.EscapeString(r.URL) + `">`)
	names := make([]string, 0, len(r.Params))
	for name := range r.Params {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.WriteString(`<input type="hidden" name="` + html.EscapeString(name) + `" value="` + html.EscapeString(r.Params[name]) + `">`)
	}
	b.WriteString(`<button>` + text(locale, "continue") + `</button></form></div>`)
	return s.document(locale, rtl(locale), "", text(locale, "title"), "", b.String())
}

// Message is a page that says one thing: key is one of the widget's texts. Address, if
// any, is where to try again.
func (s Site) Message(key, address, accepts string) []byte {
	locale := widget.Negotiate(accepts)
	body := `<div class="card" role="alert"><h1>` + text(locale, "title") + `</h1><p>` + text(locale, key) + `</p>`
	if address != "" {
		body += `<a class="button" href="` + html.EscapeString(address) + `">` + text(locale, "retry") + `</a>`
	}
	return s.document(locale, rtl(locale), "", text(locale, "title"), "", body+`</div>`)
}

func (s Site) document(lang string, right bool, next, title, head, body string) []byte {
	direction := "ltr"
	if right {
		direction = "rtl"
	}
	open := `<!doctype html><html lang="` + html.EscapeString(lang) + `" dir="` + direction + `"`
	if next != "" {
		open += ` data-next="` + html.EscapeString(next) + `"`
	}
	return []byte(open + `><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex"><title>` + title +
		`</title><style>` + look + `</style>` + head + `</head><body><main>` + body + `</main></body></html>`)
}

// Sign is a picture for a method of a category that has no logo.
func Sign(category string) []byte {
	return []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="24" height="24"><path d="` + widget.Sign(category) +
		`" fill="none" stroke="#5b6270" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/></svg>`)
}

// FormFields takes the fields of one service, by key, out of the hosted page's form.
func FormFields(form url.Values, service string) map[string]string {
	return widget.FormFields(form, service)
}

func text(locale, key string) string { return html.EscapeString(widget.T(locale, key)) }

func rtl(locale string) bool { return widget.New(widget.Options{Locale: locale}).RTL() }

// StyleHash is how a Content-Security-Policy names the text of a style element.
func StyleHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Policy is the Content-Security-Policy of the documents. The shopper's form leads to
// the provider by a redirect, which browsers hold against form-action too, and
// providers are anywhere: so forms may go to any https address.
func (s Site) Policy() string {
	socket := ""
	if u, err := url.Parse(s.Base); err == nil {
		scheme := "wss://"
		if u.Scheme == "http" {
			scheme = "ws://"
		}
		socket = " " + scheme + u.Host // 'self' does not cover sockets in every browser
	}
	forms := "'self' https:"
	if !s.Live {
		forms += " http://localhost:* http://127.0.0.1:*"
	}
	styles := "'self' " + StyleHash(look)
	if s.Style != "" {
		styles += " " + StyleHash(s.Style)
	}
	return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src " + styles + "; img-src 'self' data:; connect-src 'self'" + socket +
		"; form-action " + forms + "; base-uri 'none'; frame-ancestors 'none'"
}
