package widget

import (
	"strings"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/fields"
)

// Event is something that happened. Now is the page's clock in milliseconds, Random any
// number from 0 to 2^31-1; they come with every event because the widget has neither.
//
//	load      Code, Body     the first answer to GET /v1/checkout (0 = no answer)
//	choose    Name           a radio; Name is the service code
//	input     Name, Text     what now stands in a field; "query" is the search
//	blur      Name           a field was left
//	submit                   the button, Enter, or submit() of the host
//	act       Name           another button: retry, continue, restart, reload
//	answer    Name, Code, Body   to the fetch of that name: load, pay, poll, check
//	opened                   the socket stands
//	frame     Body           a message of the socket
//	closed    Code           the socket ended, or could not be opened
//	timer     Name           a timer ran out: line, news, leave
//	online, visible, hidden, show    the network, the tab, the page (from the back-forward cache) came or went
//	say       Text           what the edge wants to be heard: how much time is left
//	update    Body           options of update(): session, locale, appearance
type Event struct {
	Kind   string
	Name   string
	Text   string
	Code   int
	Body   *Value
	Now    int64
	Random int
}

// Effect is something the edge is to do: a verb and its arguments, one a line.
//
//	fetch name method path key body   Authorization is added; a second fetch of a name ends the first
//	abort name
//	socket path · send text · hang    one socket at a time; hang closes it without an event
//	timer name ms                     set again or, with -1, taken back
//	window mode                       open the popup or tab now, while the click is being handled
//	redirect mode method url params   go there: GET, or a form with params (JSON)
//	shut                              close the window that is not needed
//	host name detail                  tell the host: ready, change, submit, redirect, status, error
//	state detail                      what the host reads in .state
//	focus id · reload · restart detail
type Effect string

// Codes of the errors that the host hears; the list is closed and documented in
// checkout.d.ts.
const (
	CodeNetwork   = "network"             // no answer from the BFF
	CodeLoad      = "load_failed"         // the BFF answered, but not with a session
	CodeToken     = "session_invalid"     // the token is not valid, or not allowed to pay
	CodeEnded     = "session_expired"     // the token or the session has ended
	CodeOrigin    = "origin_not_allowed"  // the page's origin is not in BFF_ALLOWED_ORIGINS
	CodeNoMethods = "no_methods"          // nothing to pay with
	CodeRequired  = "service_required"    // submitted without a choice
	CodeField     = "field_invalid"       // field names the first wrong one
	CodeService   = "service_unavailable" // the chosen service can not be used any more
	CodeBusy      = "payment_in_progress" // another attempt is under way
	CodeLimited   = "rate_limited"        // too many tries
	CodePayment   = "payment_failed"      // the payment could not be started
	CodeRedirect  = "redirect_invalid"    // the BFF named an address that no browser should go to
	CodeOption    = "unknown_option"      // mount() or update() got an option that does not exist
	CodeWidget    = "widget_failed"       // the module could not run; the plain form goes on working
)

const (
	newsAfter  = 10_000 // ms without news until the page asks by itself
	leaveAfter = 8_000  // ms until a redirect that did not happen is given up
)

// Update is what an event makes of a Model, and what is to be done about it. It changes
// nothing by itself.
func Update(m *Model, ev Event) (*Model, []Effect) {
	u := step(m, &ev)
	if len(u.out) == 0 {
		return &u.Model, nil
	}
	var effects []Effect
	for _, e := range strings.Split(string(u.out[1:]), opRecord) {
		effects = append(effects, Effect(e))
	}
	return &u.Model, effects
}

func step(m *Model, ev *Event) *update {
	u := &update{Model: *m, ev: ev}
	u.run()
	u.settle(m)
	return u
}

// update is a Model on its way to the next one. Effects are written into out, each
// after an opRecord.
type update struct {
	Model
	writer
	ev *Event
}

// do begins an effect; its further words follow after line breaks.
func (u *update) do(s string) *writer { return u.w(opRecord).w(s) }

func (u *update) run() {
	ev := u.ev
	switch ev.Kind {
	case "load":
		u.live = true
		u.loaded()
		u.connect()
	case "answer":
		u.answer()
	case "choose":
		if u.phase == ready && u.index(ev.Name) >= 0 && u.chosen != ev.Name {
			u.chosen, u.errs, u.notice = ev.Name, nil, ""
		}
	case "input":
		u.input()
	case "blur":
		if u.value(ev.Name) != "" {
			u.recheck(ev.Name, true)
		}
	case "submit":
		u.submit()
	case "act":
		u.act()
	case "update":
		u.options()
	case "say":
		u.said = ev.Text
	case "timer":
		switch ev.Name {
		case "line":
			u.lineTimer()
		case "news":
			if u.waiting() {
				u.checking = true
				u.ask()
			}
		case "leave":
			if u.phase == leaving {
				u.phase = ready
			}
		}
	case "opened", "frame", "closed", "online", "visible", "hidden", "show":
		if ev.Kind == "show" && u.phase == leaving {
			u.phase = ready
		}
		u.socket()
	}
}

// settle does what follows from the difference between the Model before and after,
// whatever made it: so everything is told once.
func (u *update) settle(old *Model) {
	if u.phase != loading && u.phase != broken {
		u.news(old)
	}
	if now := u.snapshot(); now != u.told.state {
		u.told.state = now
		u.do("state\n").w(now)
	}
}

func (u *update) news(old *Model) {
	s := u.session
	if !u.told.ready {
		u.told.ready = true
		u.told.status = checkout.StatusOpen
		u.do(`host
ready
{"session":`).w(u.raw).w("}")
		if u.payable() && len(u.services) == 0 {
			u.fail(CodeNoMethods, "empty.text", false, "")
		}
	}
	if s.Status != u.told.status {
		u.told.status = s.Status
		u.do(`host
status
{"status":`).q(string(s.Status)).w(`,"revision":`).n(s.Revision).w(`,"session":`).w(u.raw).w("}")
		over := s.Status.Settled() || s.Status == checkout.StatusExpired
		if over || s.Status == checkout.StatusFailed {
			u.away = false
		}
		if u.phase == leaving && !u.waiting() || u.phase == sending && over {
			u.phase = ready
			u.do("shut")
			u.do("timer\nleave\n-1")
		}
	}
	moved := s.Status != old.session.Status
	if moved {
		u.checking = false
		if s.Status == checkout.StatusFailed {
			u.said = u.texts.get("state.failed") + " " + u.texts.get(u.reason())
			u.attempt, u.notice, u.errs = "", "", nil
			if old.waiting() && !u.o.ReadOnly {
				u.load()
			}
		} else if t := u.screen(); t != "" && u.phase == ready {
			u.said = u.texts.get("state."+t) + " " + u.texts.get("text."+t)
		}
	}
	switch {
	case u.waiting() && (s.Revision != old.session.Revision || u.ev.Kind == "timer" && u.ev.Name == "news"):
		u.do("timer\nnews\n").n(newsAfter)
	case !u.waiting() && old.waiting():
		u.do("timer\nnews\n-1")
	}
	if old.told.ready && old.session.ID == s.ID && u.payable() && (old.session.Amount != s.Amount || old.session.Currency != s.Currency) && u.ev.Name != "load" {
		u.load() // another amount may fit other services
	}
	service, complete := u.complete()
	if u.payable() && (service != u.told.service || complete != u.told.complete) {
		u.told.service, u.told.complete = service, complete
		u.do(`host
change
{"service":`).q(service).w(`,"complete":`).b(complete).w("}")
	}
}

// snapshot is what the host reads in .state.
func (m *Model) snapshot() string {
	u := &writer{}
	u.w(`{"step":"`).w([...]string{"loading", "error", "ready", "sending", "redirecting"}[m.phase]).
		w(`","status":`).q(string(m.session.Status)).w(`,"revision":`).n(m.session.Revision).
		w(`,"service":`).q(m.told.service).w(`,"complete":`).b(m.told.complete).w(`,"session":`)
	if m.raw == "" {
		u.w("null}")
	} else {
		u.w(m.raw).w("}")
	}
	return string(u.out)
}

// complete tells which service is chosen and whether its fields are all right.
func (m *Model) complete() (service string, ok bool) {
	s := m.service()
	if s == nil || !m.payable() {
		return "", false
	}
	_, errs := m.check(s)
	return s.code, len(errs) == 0
}

// check holds what was typed to the service's fields. body is what is right as the
// members of a JSON object, in the order of the fields, so that a retry sends the same
// bytes.
func (m *Model) check(s *choice) (body string, errs []checkout.FieldError) {
	w := &writer{}
	for i := range s.fields {
		value, problem := m.one(s, i)
		if problem != nil {
			errs = append(errs, *problem)
		}
		if value != "" {
			if len(w.out) > 0 {
				w.w(",")
			}
			w.q(s.fields[i].key).w(":").q(value)
		}
	}
	return string(w.out), errs
}

// one holds what was typed into one field to its rules.
func (m *Model) one(s *choice, i int) (value string, problem *checkout.FieldError) {
	f := &s.fields[i]
	return fields.One(checkout.Field{Key: f.key, Regexp: f.regexp, Required: f.required}, m.value(FieldName(s.code, f.key)), m.o.Matcher)
}

// fail tells the host of an error; text is the key of its message, field the key of the
// field it is about, "" for none.
func (u *update) fail(code, text string, retryable bool, field string) {
	u.hostError(code, u.texts.get(text), retryable, field)
}

func (u *update) hostError(code, message string, retryable bool, field string) {
	u.do(`host
error
{"code":"`).w(code).w(`","message":`).q(message).w(`,"retryable":`).b(retryable)
	if field != "" {
		u.w(`,"field":`).q(field)
	}
	u.w("}")
}

func (u *update) load() {
	u.do("fetch\nload\nGET\n/v1/checkout")
	if u.o.Locale != "" {
		u.w("?locale=").w(plain(u.o.Locale))
	}
}

// plain keeps the letters, digits and hyphens of s.
func plain(s string) string {
	w := &writer{}
	for i := range len(s) {
		if c := s[i]; c == '-' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' {
			w.w(s[i : i+1])
		}
	}
	return string(w.out)
}

// loaded takes the answer to GET /v1/checkout.
func (u *update) loaded() {
	b := u.ev.Body
	if u.ev.Code != 200 || b.Get("session").Get("id").String() == "" {
		if u.phase == ready || u.phase == sending || u.phase == leaving {
			return // what is on the screen still holds
		}
		u.phase = broken
		switch {
		case u.ev.Code == 0:
			u.broke(CodeNetwork, "e.network", true)
		case u.ev.Code == 401 && b.Get("code").String() == "token_expired", u.ev.Code == 410:
			u.broke(CodeEnded, "e.ended", true)
		case u.ev.Code == 401 || u.ev.Code == 403 || u.ev.Code == 404:
			u.broke(CodeToken, "e.access", false)
		default:
			u.broke(CodeLoad, "e.load", true)
		}
		return
	}
	if l := b.Get("locale").String(); l != "" {
		u.speak(l, b.Get("texts").String())
	}
	o := *u.o
	o.ReadOnly = !b.Get("services").is('[')
	u.o = &o
	s := session(b.Get("session"))
	if u.session.ID == s.ID && !newer(u.session, s) && u.session.Revision != s.Revision {
		s = u.session // a frame overtook this answer
	} else {
		u.raw = b.Get("session").Raw()
	}
	before := u.phase
	u.offer, u.names = b.Get("services").Raw(), b.Get("methods").Raw()
	u.arrive(s, choices(b.Get("services"), b.Get("methods"), u.lang))
	if before == sending || before == leaving {
		u.phase = before
	}
}

func (u *update) broke(code, text string, retryable bool) {
	u.phase, u.problem = broken, text
	u.retry = retryable
	u.said = u.texts.get(text)
	u.fail(code, text, retryable, "")
}

// newer tells whether b may take the place of a: a later revision, and never from money
// that moved back to a payment that has not happened.
func newer(a, b *checkout.Session) bool {
	return b.Revision > a.Revision && (!a.Status.Settled() || b.Status.Settled())
}

// take shows a session that the BFF sent, if it is news.
func (u *update) take(v *Value) bool {
	s := session(v)
	if s.ID == "" || s.ID != u.session.ID || !newer(u.session, s) {
		return false
	}
	u.session, u.raw = s, v.Raw()
	return true
}

func (u *update) input() {
	ev := u.ev
	if ev.Name == "query" {
		u.search(ev.Text)
		u.said = u.texts.get("no_match")
		if u.shown > 0 {
			u.said = u.count(u.shown)
		}
		return
	}
	if !strings.HasPrefix(ev.Name, "field.") {
		return
	}
	u.typed(ev.Name, ev.Text)
	u.recheck(ev.Name, false)
}

// count says how many ways to pay there are, in the language's plural form.
func (m *Model) count(n int) string {
	form := "other"
	if m.o.Plural != nil {
		form = m.o.Plural(m.locale(), n)
	}
	s := m.texts.get("results." + form)
	if s == "" {
		s = m.texts.get("results.other")
	}
	return fill(s, "count", digits(int64(n)))
}

// recheck checks one field of the chosen service again. While it is typed in, an error
// only goes away; once it is left, one may come.
func (u *update) recheck(name string, left bool) {
	s := u.service()
	if s == nil {
		return
	}
	for i := range s.fields {
		key := s.fields[i].key
		if FieldName(s.code, key) != name {
			continue
		}
		_, problem := u.one(s, i)
		errs := make([]checkout.FieldError, 0, len(u.errs)+1)
		had := false
		for _, e := range u.errs {
			if e.Field != key {
				errs = append(errs, e)
			} else if problem != nil {
				had = true
				errs = append(errs, *problem)
			}
		}
		if problem != nil && left && !had {
			errs = append(errs, *problem)
		}
		u.errs = errs
		if len(errs) == 0 && u.notice == "e.fields" {
			u.notice = ""
		}
	}
}

func (m *Model) problemOf(key string) string {
	for _, e := range m.errs {
		if e.Field == key {
			if s := m.texts.get("e." + e.Code); s != "" {
				return s
			}
			return m.texts.get("e.invalid")
		}
	}
	return ""
}

// submit starts the payment: once, whatever is clicked.
func (u *update) submit() {
	if u.phase != ready || !u.payable() {
		return
	}
	u.notice = ""
	s := u.service()
	if s == nil {
		u.notice = "e.service_required"
		u.fail(CodeRequired, u.notice, true, "")
		if len(u.services) > 0 {
			u.do("focus\nm0")
		}
		return
	}
	u.resent = false
	body, errs := u.check(s)
	u.errs = errs
	if len(errs) > 0 {
		u.wrong()
		return
	}
	u.do(`host
submit
{"service":`).q(s.code).w("}")
	u.send(s.code, body)
}

// wrong shows the form's errors and puts the shopper at the first.
func (u *update) wrong() {
	u.notice = "e.fields"
	s := u.service()
	for i := range s.fields {
		for _, e := range u.errs {
			if e.Field == s.fields[i].key {
				u.fail(CodeField, "e.fields", true, e.Field)
				u.do("focus\n").w(fieldID(u.index(s.code), i))
				return
			}
		}
	}
}

// send asks the BFF to pay. The idempotency key stays the same while the same attempt
// gets no answer.
func (u *update) send(service, values string) {
	if u.beside() {
		u.do("window\n").w(u.o.Redirect)
	}
	body := string((&writer{}).w(`{"service":`).q(service).w(`,"fields":{`).w(values).w("}}").out)
	if u.attempt == "" || body != u.sent {
		u.attempt = "w" + digits(u.ev.Now) + "-" + digits(int64(u.ev.Random))
	}
	u.sent = body
	u.phase = sending
	u.said = u.texts.get("sending")
	u.do("fetch\npay\nPOST\n/v1/checkout/invoice\n").w(u.attempt).w("\n").w(u.sent)
}

func (u *update) act() {
	switch u.ev.Name {
	case "retry":
		if u.phase == broken {
			u.phase = loading
			u.load()
		} else {
			u.submit()
		}
	case "continue":
		if u.phase == ready && u.session.Status == checkout.StatusPending && !u.o.ReadOnly && u.session.Invoice != nil {
			u.resent = true
			u.send(u.session.Invoice.Service, "")
		}
	case "restart":
		u.do(`restart
{"code":"` + CodeEnded + `","message":`).q(u.texts.get("text.expired")).w(`,"retryable":true}`)
	case "reload":
		u.do("reload")
	}
}

func (u *update) answer() {
	ev := u.ev
	switch ev.Name {
	case "load":
		u.loaded()
		if u.phase == ready && u.line.state == lineOff && !u.line.stopped {
			u.connect()
		}
	case "pay":
		if u.phase == sending {
			u.paid()
		}
	case "poll", "check":
		u.polled()
	}
}

// paid takes the answer to POST /v1/checkout/invoice.
func (u *update) paid() {
	code, b := u.ev.Code, u.ev.Body
	u.phase = ready
	if code != 0 && code < 500 {
		u.attempt = ""
	}
	u.take(b.Get("session"))
	r := b.Get("redirect")
	if (code == 200 || code == 201) && !u.session.Status.Settled() {
		u.redirect(r)
		return
	}
	u.do("shut")
	if code == 200 || code == 201 {
		return
	}
	problem := b.Get("code").String()
	if u.waiting() {
		// Another attempt is under way, or ours was made and only its answer was lost.
		u.fail(CodeBusy, "e.busy", true, "")
		return
	}
	switch {
	case code == 0:
		u.trouble(CodeNetwork, "e.network", true)
	case code == 401 || code == 403 || code == 404 || code == 410 || problem == "session_expired":
		u.ended(code, problem)
	case code == 409:
		u.trouble(CodeBusy, "e.busy", true)
	case code == 422:
		u.refused(problems(b.Get("errors")))
		switch {
		case len(u.errs) > 0:
			u.wrong()
		case u.notice == "e.service":
			u.trouble(CodeService, u.notice, false)
			u.load()
		default:
			u.trouble(CodePayment, "e.failed", b.Get("retryable").Bool())
		}
	case code == 429:
		u.trouble(CodeLimited, "e.limited", true)
	default:
		u.trouble(CodePayment, "e.failed", b.Get("retryable").Bool())
	}
}

// trouble shows a problem above the form.
func (u *update) trouble(code, text string, retryable bool) {
	u.notice = text
	u.fail(code, text, retryable, "")
}

// ended takes the form away when the token is of no more use; where the payment stands
// is still shown.
func (u *update) ended(status int, problem string) {
	u.line.stopped = true
	if u.phase == loading || !u.payable() {
		return
	}
	if status == 401 && problem != "token_expired" || status == 403 || status == 404 {
		u.broke(CodeToken, "e.access", false)
		return
	}
	u.broke(CodeEnded, "e.ended", true)
}

func problems(v *Value) []checkout.FieldError {
	var errs []checkout.FieldError
	for i, name := range v.Keys() {
		e := v.Index(i)
		errs = append(errs, checkout.FieldError{Field: name, Code: e.Get("code").String(), Message: e.Get("message").String()})
	}
	return errs
}

// redirect sends the shopper to the provider, once per answer.
func (u *update) redirect(r *Value) {
	url, method, params := oneLine(r.Get("url").String()), r.Get("method").String(), r.Get("params").Raw()
	if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		u.do("shut")
		u.trouble(CodeRedirect, "e.failed", false)
		return
	}
	if method != "POST" {
		method = "GET"
	}
	if params == "" || params[0] != '{' {
		params = "{}"
	}
	u.do(`host
redirect
{"method":"`).w(method).w(`","url":`).q(url).w(`,"params":`).w(params).w("}")
	if u.o.Redirect == "manual" {
		return
	}
	u.do("redirect\n").w(u.o.Redirect).w("\n").w(method).w("\n").w(url).w("\n").w(params)
	if u.beside() {
		u.away = true
		return
	}
	u.phase = leaving
	u.said = u.texts.get("leaving")
	u.do("timer\nleave\n").n(leaveAfter)
}

// options takes what update() was given.
func (u *update) options() {
	o := *u.o
	u.o = &o
	b := u.ev.Body
	for i, key := range b.Keys() {
		v := b.Index(i)
		switch key {
		case "locale":
			u.o.Locale = v.String()
			u.load()
		case "session":
			if v.String() != "" {
				u.line = line{}
				u.o.Token = v.String()
				u.do("hang")
				u.do("abort\npoll")
				u.do("abort\npay")
				u.do("shut")
				fresh := New(*u.o)
				fresh.lang, fresh.texts, fresh.live = u.lang, u.texts, true
				fresh.values, fresh.chosen = u.values, u.chosen
				u.Model = *fresh
				u.load()
			}
		case "appearance":
			u.appearance(v)
		default:
			u.unknown(key)
		}
	}
}

func (u *update) appearance(v *Value) {
	for i, key := range v.Keys() {
		switch key {
		case "theme":
			u.o.Theme = v.Index(i).String()
		case "layout":
			u.o.Layout = v.Index(i).String()
		case "variables": // the edge's own
		default:
			u.unknown("appearance." + key)
		}
	}
}

func (u *update) unknown(key string) {
	u.hostError(CodeOption, "unknown option: "+key, false, key)
}
