package sandbox

import (
	_ "embed"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed assets/sandbox.css
var styleSheet []byte

// detail is a line of a page's table.
type detail struct{ Name, Value string }

// pageData is what the hosted page shows.
type pageData struct {
	Lang, Prefix, Title string
	Merchant            string
	Invoice             string
	Amount, Currency    string
	ServiceAmount       string
	Description         string
	Method, Service     string
	Logo                string
	Details             []detail
	Fields              []detail
	Left                string // time until the end, e.g. "29 min"
	Refresh             int    // seconds until the page should look again
	State               string // choose, card, challenge, done
	Outcome             string
	Status, Resolution  string
	Problem             string
	Return              string
	Partly              bool
	Attempts, Limit     int
	Offers              []offer
	Hidden              []detail
	Public, Private     string
	Counts              []detail
}

// offer is one service on the page where the shopper chooses.
type offer struct {
	Code, Method, Logo string
	Fields             []field
	Values             map[string]string
}

func (s *Server) serveStatic(w http.ResponseWriter, r *http.Request, path string) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	var body []byte
	kind := "image/svg+xml"
	parts := strings.Split(strings.TrimPrefix(path, "/static/"), "/")
	switch {
	case len(parts) == 1 && parts[0] == "sandbox.css":
		body, kind = styleSheet, "text/css; charset=utf-8"
	case len(parts) == 2 && parts[0] == "images" && parts[1] == "default.svg":
		body = (&method{Code: "account", Name: map[string]string{"en": s.cfg.AccountName}}).picture(true)
	case len(parts) == 3 && parts[0] == "payment_methods":
		if m := s.catalogue.methods[parts[1]]; m != nil && (parts[2] == "logo.svg" || parts[2] == "icon.svg") {
			body = m.picture(parts[2] == "icon.svg")
		}
	}
	if body == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body) // a caller who went away is no failure of ours
}

// showPage writes a page under a policy without scripts.
func (s *Server) showPage(w http.ResponseWriter, code int, body func(*document, pageData), data pageData) {
	data.Prefix = s.prefix
	if data.Lang == "" {
		data.Lang = "en"
	}
	data.Merchant = s.cfg.AccountName
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// No form-action: browsers apply it to the redirects after a form, which
	// lead to the merchant and wherever the merchant sends on.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if data.Refresh > 0 {
		h.Set("Refresh", strconv.Itoa(data.Refresh)+"; url="+s.prefix+"/redirect/hpp/?cpi="+data.Invoice)
	}
	w.WriteHeader(code)
	_, _ = io.WriteString(w, page(data, body)) // as in serveStatic
}

func (s *Server) serveIndex(w http.ResponseWriter, r *http.Request) {
	base := s.baseOf(r)
	var counts []detail
	for op, n := range s.Counts() {
		counts = append(counts, detail{op, strconv.Itoa(n)})
	}
	slices.SortFunc(counts, func(a, b detail) int { return strings.Compare(a.Name, b.Name) })
	s.showPage(w, http.StatusOK, writeIndex, pageData{
		Title: "WZRDPAY sandbox", Public: base + "/public-api", Private: base + "/api", Counts: counts,
	})
}

// locale is the page's language: what was asked for, else what the browser
// prefers, else English.
func locale(r *http.Request, asked string) string {
	for _, l := range append([]string{asked}, strings.Split(r.Header.Get("Accept-Language"), ",")...) {
		l = strings.ToLower(strings.TrimSpace(l))
		for _, known := range []string{"en", "uk", "ru"} {
			if l == known || strings.HasPrefix(l, known+"-") || strings.HasPrefix(l, known+";") {
				return known
			}
		}
	}
	return "en"
}

// servePage is row 12 and what follows from it: the hosted page.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, path string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	params, err := decodeForm(r.URL.RawQuery)
	var body []byte
	if err == nil && r.Method == http.MethodPost {
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		var posted map[string]any
		if err == nil {
			posted, _, err = decodeBody(r.Header.Get("Content-Type"), body)
		}
		for k, v := range posted {
			params[k] = v
		}
	}
	rec := &statusKeeper{ResponseWriter: w, status: http.StatusOK}
	defer func() { s.record(r, "page", "page", withoutCard(params, body), rec.status, plan{}) }()
	if err != nil {
		s.showPage(rec, http.StatusBadRequest, writeMessage, pageData{Title: "Bad request", Problem: "The request could not be read."})
		return
	}
	text := func(k string) string {
		t, _ := textOf(params[k])
		return t
	}
	cpi := text("cpi")
	s.mu.Lock()
	if sid, ok := strings.CutPrefix(path, "/hpp/"); ok {
		if inv := s.bySID[sid]; inv != nil {
			cpi = inv.id
		} else {
			cpi = "unknown"
		}
	}
	inv := s.invoices[cpi]
	if inv != nil {
		s.expireLocked(inv)
	}
	s.mu.Unlock()
	switch {
	case inv != nil && r.Method == http.MethodPost && text("action") != "":
		s.actOnPage(rec, r, inv, text)
	case inv != nil:
		s.showInvoice(rec, r, inv, text("locale"))
	case cpi == "" && (text("public_key") != ""):
		s.startOnPage(rec, r, params, text)
	default:
		s.showPage(rec, http.StatusNotFound, writeMessage, pageData{Title: "No such payment", Problem: "This payment does not exist, or the sandbox was restarted since: it keeps nothing."})
	}
}

// statusKeeper remembers the status for the history.
type statusKeeper struct {
	http.ResponseWriter
	status int
}

func (k *statusKeeper) WriteHeader(code int) {
	k.status = code
	k.ResponseWriter.WriteHeader(code)
}

// withoutCard is a page's form for the history: card data never stays.
func withoutCard(params map[string]any, body []byte) []byte {
	if len(body) == 0 {
		return nil
	}
	q := url.Values{}
	for k, v := range params {
		t, ok := textOf(v)
		switch {
		case k == "number" || k == "cvv" || k == "holder" || k == "expiry":
			q.Set(k, "[redacted]")
		case ok:
			q.Set(k, t)
		default:
			q.Set(k, "[nested]")
		}
	}
	return []byte(q.Encode())
}

// goBack sends the shopper to the merchant, or to the page that shows the
// result when the merchant named no address.
func (s *Server) goBack(w http.ResponseWriter, inv *invoice, to string) {
	if to == "" {
		to = s.prefix + "/redirect/hpp/?cpi=" + url.QueryEscape(inv.id)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// showInvoice shows the state of an invoice. The test method has nothing to
// ask: its field resolves it as soon as the shopper arrives.
func (s *Server) showInvoice(w http.ResponseWriter, r *http.Request, inv *invoice, lang string) {
	prefetch := strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") || r.Method == http.MethodHead
	s.mu.Lock()
	if inv.service.Flow == "test" && inv.pending() && !prefetch {
		inv.clientIP = clientIP(r)
		switch inv.fields["status"] {
		case "success":
			s.payLocked(inv, nil)
		case "pending":
		case "fail":
			s.failLocked(inv, "declined")
		default: // the pattern lets any word through; the provider does not
			s.failLocked(inv, "invalid_details")
		}
		if to := inv.returnTo(); to != "" || !inv.pending() {
			s.mu.Unlock()
			s.goBack(w, inv, to)
			return
		}
	}
	lang = locale(r, lang)
	data := s.pageOfLocked(inv, lang)
	s.mu.Unlock()
	s.showPage(w, http.StatusOK, writePay, data)
}

func (s *Server) pageOfLocked(inv *invoice, lang string) pageData {
	m := s.catalogue.methods[inv.service.Method]
	d := pageData{
		Lang: lang, Title: "Pay " + s.cfg.AccountName, Invoice: inv.id, Amount: s.printAmount(inv.amount, inv.currency), Currency: inv.currency,
		Method: m.label(lang), Service: inv.service.Code, Logo: s.prefix + "/static/payment_methods/" + url.PathEscape(m.Code) + "/icon.svg",
		State: "choose", Problem: inv.note, Outcome: inv.outcome(), Status: inv.status, Resolution: inv.resolution, Return: inv.returnTo(),
		Partly: inv.options["allow_partially"] == true, Attempts: inv.attempts, Limit: s.cfg.AttemptsLimit,
	}
	if inv.description != nil {
		d.Description = *inv.description
	}
	if inv.service.Currency != inv.currency {
		d.ServiceAmount = plain(inv.serviceAmount) + " " + inv.service.Currency
	}
	for _, f := range inv.service.Fields {
		if v := inv.fields[f.Key]; v != "" {
			name := f.Label[lang]
			if name == "" {
				name = f.Key
			}
			d.Fields = append(d.Fields, detail{name, v})
		}
	}
	switch {
	case !inv.pending():
		d.State = "done"
		return d
	case inv.challenge != nil:
		d.State = "challenge"
	case m.Category == "payment_card":
		d.State = "card"
	case inv.service.Flow == "invoice" || inv.service.Flow == "transfer" || m.Category == "bank_transfer":
		d.Details = []detail{
			{"Beneficiary", "Sandbox Payments Ltd"},
			{"Account", "XX00SANDBOX" + inv.serial},
			{"Purpose", "Invoice " + inv.serial},
			{"Amount", d.Amount + " " + inv.currency},
		}
	}
	left := inv.expires.Sub(s.now())
	d.Left = printLeft(left)
	d.Refresh = int(min(left, time.Minute)/time.Second) + 1
	if d.State == "card" || d.State == "challenge" {
		d.Refresh = int(left/time.Second) + 1 // never wipe a half-filled form before the end
	}
	return d
}

func printLeft(d time.Duration) string {
	switch {
	case d >= 2*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	case d >= time.Minute:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return strconv.Itoa(max(0, int(d/time.Second))) + " s"
}

// printAmount writes an amount with its currency's digits.
func (s *Server) printAmount(r *big.Rat, currency string) string {
	places := s.catalogue.currencies[currency]
	if n := digitsOf(r); n > places {
		return plain(r)
	}
	return fixed(r, places)
}

func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// actOnPage is a pressed button. Pressing twice, or after the end, only leads
// on to where the outcome leads.
func (s *Server) actOnPage(w http.ResponseWriter, r *http.Request, inv *invoice, text func(string) string) {
	problem := ""
	s.mu.Lock()
	if inv.pending() {
		inv.clientIP = clientIP(r)
		switch action := text("action"); action {
		case "pay":
			if inv.card == nil && s.catalogue.methods[inv.service.Method].Category == "payment_card" {
				inv.card, _ = readCard(testCards[1].Number, "12/77", "123", "", s.now())
			}
			s.payLocked(inv, nil)
		case "partial":
			half := new(big.Rat).Mul(inv.amount, big.NewRat(1, 2))
			half.SetString(fixed(half, s.catalogue.currencies[inv.currency]))
			s.payLocked(inv, half)
		case "fail":
			resolution := text("resolution")
			if !slices.Contains(failResolutions, resolution) {
				resolution = "declined"
			}
			s.failLocked(inv, resolution)
		case "pending": // leave it as it is
		case "card":
			problem = s.useCardLocked(inv, text)
		case "confirm", "refuse":
			problem = s.challengeLocked(inv, action == "confirm")
		default:
			problem = "Unknown action."
		}
	}
	inv.note = problem
	to := inv.returnTo()
	if problem != "" || inv.challenge != nil {
		to = "" // the payment page goes on
	}
	s.mu.Unlock()
	s.goBack(w, inv, to)
}

// useCardLocked is the card form. A non-empty answer keeps the shopper on the
// page.
func (s *Server) useCardLocked(inv *invoice, text func(string) string) (problem string) {
	card, problem := readCard(text("number"), text("expiry"), text("cvv"), text("holder"), s.now())
	if problem != "" {
		return problem
	}
	inv.card = card
	if card.test != nil && card.test.ThreeDS && card.result != "pending" && card.result != "card_expired" {
		inv.challenge = card
		return ""
	}
	return s.finishCardLocked(inv, card)
}

// challengeLocked is the answer of the 3-D Secure page.
func (s *Server) challengeLocked(inv *invoice, confirmed bool) string {
	card := inv.challenge
	if card == nil {
		return "There is nothing to confirm."
	}
	inv.challenge = nil
	if !confirmed {
		refused := *card
		refused.result = "client_auth_failed"
		card = &refused
	}
	return s.finishCardLocked(inv, card)
}

func (s *Server) finishCardLocked(inv *invoice, card *usedCard) string {
	switch card.result {
	case "ok":
		s.payLocked(inv, nil)
		return ""
	case "pending":
		if card.test != nil && card.test.ThreeDS {
			s.setStatusLocked(inv, "process_pending", "auth_3ds_required")
		}
		return ""
	}
	// The invoice stays pending while the shopper may try another card.
	if inv.attempts++; inv.attempts >= s.cfg.AttemptsLimit {
		s.failLocked(inv, card.result)
		return ""
	}
	return "The card was refused: " + card.result + ". Try another card."
}

// startOnPage is the hosted page without an invoice: with a service it makes
// one and goes on, without it shows the list to choose from.
func (s *Server) startOnPage(w http.ResponseWriter, r *http.Request, params map[string]any, text func(string) string) {
	c := &call{r: r, public: true, tree: params, form: true, base: s.baseOf(r)}
	s.mu.Lock()
	c.plan = plan{faults: s.faults}
	s.mu.Unlock()
	test, refusal := s.admit(c)
	if refusal != nil || c.plan.faults.ForbidPublicCreation {
		s.showPage(w, http.StatusForbidden, writeMessage, pageData{Title: "Not possible", Problem: "This account does not take payments here: the public key is wrong, or creation through the public API is forbidden."})
		return
	}
	wrong := violations{}
	if text("service") != "" {
		inv, earlier, bad := s.makeInvoice(order{attrs: params, form: true, public: true, test: test, source: "platform_public_api", base: c.base, client: clientIP(r), hosted: true})
		if len(bad) == 0 {
			if inv == nil {
				inv = earlier
			}
			s.goBack(w, inv, s.prefix+"/redirect/hpp/?cpi="+url.QueryEscape(inv.id))
			return
		}
		wrong = bad
	}
	currency := text("currency")
	lang := locale(r, text("locale"))
	amount, problem := readAmount(params["amount"], true)
	switch {
	case len(s.catalogue.services[currency]) == 0:
		problem = "currency: there are no payment methods for it."
	case problem != "":
		problem = "amount: " + problem
	default:
		var lines []string
		for k, m := range wrong {
			lines = append(lines, k+": "+m)
		}
		slices.Sort(lines)
		problem = strings.Join(lines, " ")
	}
	if amount == nil || len(s.catalogue.services[currency]) == 0 {
		s.showPage(w, http.StatusUnprocessableEntity, writeMessage, pageData{Lang: lang, Title: "Not possible", Problem: problem})
		return
	}
	data := pageData{
		Lang: lang, Title: "Choose how to pay", Amount: s.printAmount(amount, currency), Currency: currency,
		Description: text("description"), Problem: problem,
	}
	values, _, _ := mapOf(params["service_fields"])
	typed := map[string]string{}
	for k, v := range values {
		typed[k], _ = textOf(v)
	}
	for _, sv := range s.catalogue.services[currency] {
		m := s.catalogue.methods[sv.Method]
		outside := sv.Currency == currency && (amount.Cmp(sv.min) < 0 || amount.Cmp(sv.max) > 0)
		if m.Hide != nil && *m.Hide || outside {
			continue
		}
		data.Offers = append(data.Offers, offer{
			Code: sv.Code, Method: m.label(lang), Fields: sv.Fields, Values: typed,
			Logo: s.prefix + "/static/payment_methods/" + url.PathEscape(m.Code) + "/icon.svg",
		})
	}
	slices.SortFunc(data.Offers, func(a, b offer) int { return strings.Compare(a.Code, b.Code) })
	delete(params, "service")
	delete(params, "service_fields")
	data.Hidden = flatten("", params)
	code := http.StatusOK
	if len(wrong) > 0 {
		code = http.StatusUnprocessableEntity
	}
	s.showPage(w, code, writeOffers, data)
}

// flatten writes a decoded form back as bracket keys, sorted.
func flatten(prefix string, m map[string]any) []detail {
	var out []detail
	for k, v := range m {
		name := k
		if prefix != "" {
			name = prefix + "[" + k + "]"
		}
		if sub, ok := v.(map[string]any); ok {
			out = append(out, flatten(name, sub)...)
			continue
		}
		text, _ := textOf(v)
		out = append(out, detail{name, text})
	}
	slices.SortFunc(out, func(a, b detail) int { return strings.Compare(a.Name, b.Name) })
	return out
}
