package widget

import (
	"strings"

	"wzrdcheckout/internal/checkout"
)

// searchFrom is how many ways to pay there have to be for a search to be offered.
const searchFrom = 9

// groupFrom is how many there have to be for them to be put together by kind; from
// there on the list also scrolls by itself (widget.css).
const groupFrom = 17

// View draws a Model. The same Model always gives the same tree, on the server and in
// the page; rows that did not change are the same nodes.
func View(m *Model) *Node {
	d := &drawing{Model: m}
	d.root()
	return parseTree(string(d.out), m.rows)
}

// drawing writes a tree in the wire's form (node.go), a token a line. Long constants
// with a few values between them are less than half the code of nested calls, and the
// code is what a shopper waits for.
type drawing struct {
	*Model
	writer
	focused bool // a field has autofocus
}

// w writes tokens, or the rest of one.
func (d *drawing) w(s string) *drawing {
	d.writer.w(s)
	return d
}

// n writes a number.
func (d *drawing) n(n int) *drawing { return d.w(digits(int64(n))) }

// v writes a value that came from outside, which must stay on its line.
func (d *drawing) v(s string) *drawing { return d.w(oneLine(s)) }

// t writes a text by its key.
func (d *drawing) t(key string) *drawing { return d.w(d.texts.get(key)) }

// is writes tokens if the condition holds.
func (d *drawing) is(condition bool, s string) *drawing {
	if condition {
		d.w(s)
	}
	return d
}

func (d *drawing) icon(path string) *drawing {
	return d.w("<svg\n@viewBox=0 0 24 24\n@aria-hidden=true\n@class=icon\n<path\n@d=").w(path).w("\n/\n/\n")
}

func (d *drawing) badge(path string) *drawing {
	return d.w("<span\n@class=badge\n").icon(path).w("/\n")
}

func (d *drawing) root() {
	dir := "ltr"
	if d.RTL() {
		dir = "rtl"
	}
	theme := d.o.Theme
	if theme != "light" && theme != "dark" {
		theme = "auto"
	}
	d.w("<div\n@class=wz\n@part=root\n@lang=").w(d.lang).w("\n@dir=").w(dir).w("\n@data-theme=").w(theme).
		w("\n@data-layout=").w(layout(d.o.Layout)).
		w("\n<p\n@class=said\n@role=status\n@data-k=said\n'").w(d.said).w("\n/\n")
	d.body()
	d.w("/")
}

func layout(s string) string {
	if s == "grid" || s == "accordion" {
		return s
	}
	return "list"
}

func (d *drawing) body() {
	switch {
	case d.phase == loading:
		d.w("<div\n@class=wait\n@data-k=wait\n@aria-busy=true\n<p\n@class=said\n'").t("loading").w("\n/\n" + bone + bone + bone + bone + "/\n")
	case d.phase == broken:
		d.status("status", "bad", iconWarn).t(d.problem).w("\n/\n")
		if d.retry {
			if d.problem == "e.ended" {
				d.action("reload")
			} else {
				d.action("retry")
			}
		}
		d.w("/\n")
	case d.payable() && len(d.services) == 0:
		d.status("status", "info", iconCard).t("empty.title").w("\n/\n<p\n@class=text\n'").t("empty.text").w("\n/\n/\n")
	case d.payable(), d.busy() && !d.resent && d.waiting() && len(d.services) > 0:
		d.form()
	default:
		d.state()
	}
}

const bone = "<div\n@class=bone\n/\n"

// status begins a screen with a sign and a title; the title's text comes next.
func (d *drawing) status(key, tone, sign string) *drawing {
	return d.w("<div\n@class=state\n@part=state\n@data-k=").w(key).w("\n@data-tone=").w(tone).w("\n").badge(sign).
		w("<h2\n@class=head2\n@part=title\n@id=state\n@tabindex=-1\n'")
}

func (d *drawing) action(name string) {
	d.w("<button\n@type=button\n@class=pay\n@part=button\n@data-act=").w(name).w("\n@data-k=").w(name).w("\n'").t(name).w("\n/\n")
}

func (m *Model) busy() bool { return m.phase == sending || m.phase == leaving }

func (d *drawing) payURL() *drawing {
	return d.w(d.o.Base).w("/checkout/").v(d.session.ID).w("/pay\n")
}

// form is the list with the chosen service's fields and the button: a real form, which
// works without any script.
func (d *drawing) form() {
	one := len(d.services) == 1
	d.w("<form\n@class=form\n@part=form\n@method=post\n@novalidate\n@data-k=form\n@action=").payURL().
		is(d.busy(), "@aria-busy=true\n")
	if d.session.Status == checkout.StatusFailed && d.phase == ready {
		d.w("<div\n@class=note\n@part=notice\n@data-tone=bad\n@data-k=failure\n").badge(iconWarn).
			w("<div\n@class=words\n<p\n@class=strong\n'").t(d.reason()).w("\n/\n<p\n'").t("another").w("\n/\n/\n/\n")
	}
	d.w("<fieldset\n@class=list\n@data-k=list\n").is(d.busy(), "@disabled\n").is(one, "@data-single\n").
		w("<legend\n@class=title\n@part=title\n'")
	if one {
		d.t("pay_with")
	} else {
		d.t("choose")
	}
	d.w("\n/\n")
	if len(d.services) >= searchFrom { // before an edge listens it only keeps its place
		label := fill(d.texts.get("search"), "count", digits(int64(len(d.services))))
		d.w("<div\n@class=search\n@data-k=search\n<input\n@type=search\n@name=query\n@class=input\n@autocomplete=off\n@spellcheck=false\n@placeholder=").
			w(label).w("\n@aria-label=").w(label).w("\n").is(!d.live, "@disabled\n").is(d.query != "", "@value="+d.query+"\n").w("/\n/\n")
		if d.shown == 0 {
			d.w("<p\n@class=none\n@data-k=none\n'").t("no_match").w("\n/\n")
		}
	}
	d.w("<div\n@class=rows\n@data-k=rows\n")
	group := ""
	for i := range d.services {
		s := &d.services[i]
		if s.group != group && d.fits(i) {
			group = s.group
			d.w("<p\n@class=group\n@part=group\n@data-k=").w(group).w("\n'").t(group).w("\n/\n")
		}
		if s.code == d.chosen || !d.pristine(s) || d.query != "" && !d.fits(i) {
			d.row(i, true)
		} else {
			d.w("&").n(i).w("\n")
		}
	}
	d.w("/\n/\n")
	d.trouble()
	d.clock(d.session.ExpiresAt)
	label := "pay"
	if d.session.Flow == "verify" {
		label = "verify"
	}
	label = fill(d.texts.get(label), "amount", d.total())
	switch d.phase {
	case leaving:
		label = d.texts.get("leaving")
	case sending:
		label = d.texts.get("sending")
	}
	d.button(label)
	d.w("<p\n@class=foot\n@data-k=foot\n").icon(iconLock).w("<span\n@class=safe\n'").t("secure").w("\n/\n")
	d.test()
	d.w("/\n")
	d.phone()
	d.w("/\n")
}

// clock is where the edge writes how much time is left: it has a clock, and what it
// writes changes nothing else.
func (d *drawing) clock(end int64) {
	d.w("<p\n@class=ends\n@part=countdown\n@data-k=ends\n@data-end=").w(digits(end)).w("\n@data-text=").t("ends_in").w("\n/\n")
}

// phone leads to the hosted page on another device. The browser opens it, and fetches
// the picture only then.
func (d *drawing) phone() {
	if d.o.ReadOnly {
		return
	}
	d.w("<details\n@class=phone\n@part=phone\n@data-k=phone\n<summary\n@class=quiet\n'").t("phone").
		w("\n/\n<img\n@loading=lazy\n@width=192\n@height=192\n@alt=").t("phone").w("\n@src=").w(d.o.Base).w("/checkout/").v(d.session.ID).
		w("/qr.svg\n/\n<p\n@class=hint\n'").t("phone_text").w("\n/\n/\n")
}

func (d *drawing) test() {
	if d.session.TestMode {
		d.w("<span\n@class=test\n'").t("test_mode").w("\n/\n")
	}
}

func (d *drawing) button(label string) {
	d.w("<button\n@type=submit\n@class=pay\n@part=button\n@data-k=pay\n").
		is(d.busy(), "@aria-disabled=true\n<span\n@class=spin\n@aria-hidden=true\n/\n").
		w("<span\n@class=label\n@data-k=label\n'").w(label).w("\n/\n/\n")
}

func (d *drawing) trouble() {
	if d.notice != "" {
		d.w("<div\n@class=note\n@part=notice\n@role=alert\n@data-tone=bad\n@data-k=trouble\n").badge(iconWarn).
			w("<p\n@class=words\n'").t(d.notice).w("\n/\n/\n")
	}
}

func (m *Model) reason() string {
	if m.session.Invoice == nil {
		return "r.unknown"
	}
	return reason(m.session.Invoice.Resolution)
}

// pristine tells whether nothing was typed into a service's fields.
func (m *Model) pristine(s *choice) bool {
	for i := range s.fields {
		if len(m.values) > 0 && m.value(FieldName(s.code, s.fields[i].key)) != "" {
			return false
		}
	}
	return true
}

// row is one service: a radio, its label, and what it wants to know. The fields follow
// the radio as its siblings, so that the style sheet alone shows and hides them.
func (d *drawing) row(i int, live bool) {
	s := &d.services[i]
	on := live && s.code == d.chosen
	note := d.limits(s)
	d.w("<div\n@class=row\n@part=method\n@data-k=").v(s.code).w("\n").is(live && !d.fits(i), "@hidden\n").
		w("<input\n@type=radio\n@class=pick\n@name=service\n@value=").v(s.code).w("\n@id=m").n(i).w("\n").is(on, "@checked\n")
	if note != "" {
		d.w("@aria-describedby=m").n(i).w("n\n")
	}
	d.w("/\n<label\n@class=head\n@for=m").n(i).w("\n<span\n@class=logo\n@part=logo\n").icon(s.sign)
	d.logo(s.logo)
	d.w("/\n<span\n@class=name\n@dir=auto\n'").v(s.name).w("\n/\n")
	if s.currency != d.session.Currency {
		d.w("<span\n@class=other\n'").v(s.currency).w("\n/\n")
	}
	if note != "" {
		d.w("<span\n@class=limit\n@id=m").n(i).w("n\n'").v(note).w("\n/\n")
	}
	d.w("/\n<div\n@class=more\n")
	for j := range s.fields {
		d.field(i, j, &s.fields[j], on)
	}
	d.w("<p\n@class=next\n@data-k=next\n'")
	if d.beside() {
		d.t("next_popup")
	} else {
		d.t("next")
	}
	d.w("\n/\n/\n/\n")
}

// beside tells whether the provider's page opens beside this one.
func (m *Model) beside() bool { return m.o.Redirect == "popup" || m.o.Redirect == "tab" }

// limits is shown when the service is paid in another currency: otherwise only services
// that fit the amount are in the list.
func (m *Model) limits(s *choice) string {
	if s.currency == m.session.Currency {
		return ""
	}
	low, high := "", ""
	if s.low != nil && !s.low.IsZero() {
		low = m.money(*s.low, s.currency, 0)
	}
	if s.high != nil {
		high = m.money(*s.high, s.currency, 0)
	}
	key := "limits"
	switch {
	case low == "" && high == "":
		return ""
	case low == "":
		key = "limit_max"
	case high == "":
		key = "limit_min"
	}
	return fill(fill(m.texts.get(key), "min", low), "max", high)
}

// logo draws the method's picture if the BFF serves it; under it, for when the picture
// does not come, lies the sign of its kind.
func (d *drawing) logo(src string) {
	if strings.HasPrefix(src, "/") && !strings.HasPrefix(src, "//") {
		src = d.o.Base + src
	}
	if d.o.Base != "" && strings.HasPrefix(src, d.o.Base+"/") {
		d.w("<img\n@alt\n@loading=lazy\n@decoding=async\n@width=40\n@height=26\n@src=").v(src).w("\n/\n")
	}
}

func fieldID(row, field int) string { return "f" + digits(int64(row)) + "-" + digits(int64(field)) }

func (d *drawing) field(i, j int, f *field, on bool) {
	id, name := fieldID(i, j), FieldName(d.services[i].code, f.key)
	label, hint := f.label, f.hint
	if label == "" {
		label = f.key
	}
	if hint == label {
		hint = ""
	}
	problem := ""
	if on {
		problem = d.problemOf(f.key)
	}
	first := scriptless && problem != "" && !d.live && !d.focused // without script nothing else leads there
	d.focused = d.focused || first
	d.w("<div\n@class=field\n@part=field\n@data-k=").v(f.key).w("\n<label\n@class=caption\n@for=").w(id).w("\n<span\n@dir=auto\n'").v(label).w("\n/\n")
	if !f.required {
		d.w("<span\n@class=maybe\n'").t("optional").w("\n/\n")
	}
	d.w("/\n<input\n@class=input\n@part=input\n@autocapitalize=off\n@spellcheck=false\n@maxlength=255\n@id=").w(id).w("\n@name=").v(name).
		w(keyboard(f.key))
	if f.example != "" {
		d.w("@placeholder=").v(fill(d.texts.get("example"), "text", f.example)).w("\n")
	}
	if v := d.value(name); v != "" {
		d.w("@value=").v(v).w("\n")
	}
	d.is(first, "@autofocus\n").is(f.required, "@aria-required=true\n").is(problem != "", "@aria-invalid=true\n")
	if hint != "" || problem != "" {
		d.w("@aria-describedby=")
		if hint != "" {
			d.w(id).w("h ")
		}
		if problem != "" {
			d.w(id).w("e")
		}
		d.w("\n")
	}
	d.w("/\n")
	if hint != "" {
		d.w("<p\n@class=hint\n@data-k=hint\n@dir=auto\n@id=").w(id).w("h\n'").v(hint).w("\n/\n")
	}
	if problem != "" {
		d.w("<p\n@class=error\n@data-k=error\n@id=").w(id).w("e\n'").w(problem).w("\n/\n")
	}
	d.w("/\n")
}

// keyboard gives the kind of input, the keyboard and what the browser may fill in, by
// the field's key: the vendor's type is always "string".
func keyboard(key string) string {
	kind, mode, complete := "text", "", "off"
	switch key {
	case "email":
		kind, mode, complete = "email", key, key
	case "phone":
		kind, mode, complete = "tel", "tel", "tel"
	default:
		complete, _ = find(completes, key)
		if strings.HasPrefix(complete, "#") {
			mode, complete = "numeric", complete[1:]
		}
		if complete == "" {
			complete = "off"
		}
	}
	if mode != "" {
		mode = "\n@inputmode=" + mode
	}
	return "\n@type=" + kind + mode + "\n@autocomplete=" + complete + "\n"
}

// completes has the autocomplete word of a field's key; # before it means digits.
const completes = `payer_name=name
name=name
full_name=name
payer_full_name=name
payer_first_name=given-name
first_name=given-name
payer_last_name=family-name
last_name=family-name
date_of_birth=bday
payer_zip_code=postal-code
zip_code=postal-code
post_code=postal-code
payer_address=street-address
address=street-address
payer_city=address-level2
city=address-level2
payer_state=address-level1
state=address-level1
payer_country=country
country=country
card_number=#cc-number
blik_code=#one-time-code
account_number=#
cpf_number=#
personal_id=#
installments=#
`

// screen is the name of what a session that can not be paid just now looks like, ""
// while the list is shown.
func (m *Model) screen() string {
	s := m.session.Status
	switch {
	case m.phase == loading || m.phase == broken || m.payable():
		return ""
	case s == checkout.StatusPending && !m.checking && !m.o.ReadOnly:
		if m.away {
			return "elsewhere"
		}
		return "pending"
	case s == checkout.StatusOpen || s == checkout.StatusFailed || s == checkout.StatusExpired || s.Settled():
		return string(s)
	}
	return "checking"
}

func (d *drawing) state() {
	name := d.screen()
	tone, sign := "info", iconBack
	switch name {
	case "paid", "verified":
		tone, sign = "good", iconGood
	case "partially_paid":
		tone, sign = "warn", iconWarn
	case "failed":
		tone, sign = "bad", iconBad
	case "expired", "open":
		sign = iconClock
	case "pending", "checking", "elsewhere":
		tone, sign = "wait", iconWait
	}
	d.status(name, tone, sign).t("state." + name).w("\n/\n<p\n@class=text\n@data-k=text\n'")
	if name == "failed" {
		d.t(d.reason()).w(" ")
	}
	d.t("text." + name).w("\n/\n")
	if d.waiting() {
		end := d.session.ExpiresAt
		if v := d.session.Invoice; v != nil && v.ExpiresAt > 0 {
			end = v.ExpiresAt
		}
		d.clock(end)
	}
	d.facts()
	switch {
	case name == "expired" && d.live && !d.o.Hosted && !d.o.ReadOnly:
		d.action("restart")
	case d.session.Status == checkout.StatusPending && !d.o.ReadOnly && d.session.Invoice != nil:
		d.resume()
	}
	if scriptless && d.waiting() && !d.live && !d.o.ReadOnly { // pages without script do not hear of changes
		d.w("<a\n@class=quiet\n@data-k=again\n@href=").w(d.o.Base).w("/checkout/").v(d.session.ID).w("\n'").t("refresh").w("\n/\n")
	}
	if d.waiting() {
		d.phone()
	}
	d.w("<p\n@class=foot\n@data-k=foot\n")
	d.test()
	d.w("/\n/\n")
}

// resume leads to the open attempt's payment page: a form, so that it works without
// any script too.
func (d *drawing) resume() {
	d.w("<form\n@class=resume\n@method=post\n@data-k=resume\n@action=").payURL().
		w("<input\n@type=hidden\n@name=service\n@value=").v(d.session.Invoice.Service).w("\n/\n")
	d.trouble()
	switch {
	case d.busy():
		d.button(d.texts.get("leaving"))
	case d.away:
		d.button(d.texts.get("open_again"))
	default:
		d.button(d.texts.get("continue"))
	}
	d.w("/\n")
}

// facts are what a shopper wants to see, and keep, of a payment.
func (d *drawing) facts() {
	s := d.session
	d.w("<dl\n@class=facts\n@data-k=facts\n")
	d.fact("amount", d.total())
	if v := s.Invoice; v != nil {
		if s.Status == checkout.StatusPartiallyPaid && v.ProcessedAmount != nil {
			d.fact("received", d.money(*v.ProcessedAmount, v.Currency, s.Digits))
		}
		if (s.Status == checkout.StatusPartiallyRefunded || s.Status == checkout.StatusRefunded) && v.RefundedAmount != nil {
			d.fact("refunded", d.money(*v.RefundedAmount, v.Currency, s.Digits))
		}
		if i := d.index(v.Service); i >= 0 && s.Status.Settled() {
			d.fact("method", d.services[i].name)
		}
	}
	d.fact("reference", s.ReferenceID)
	d.w("/\n")
}

func (d *drawing) fact(key, value string) {
	if value != "" {
		d.w("<div\n@data-k=").w(key).w("\n<dt\n'").t(key).w("\n/\n<dd\n@dir=auto\n'").v(value).w("\n/\n/\n")
	}
}
