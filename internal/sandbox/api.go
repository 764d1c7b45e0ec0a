package sandbox

import (
	"crypto/subtle"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answer is what an operation says before the faults of transport.
type answer struct {
	status int
	body   any
	header http.Header
}

// call is one API request on its way through an operation.
type call struct {
	r       *http.Request
	public  bool
	tree    map[string]any // decoded body; nil for a GET
	form    bool
	bad     error // the body was not readable
	plan    plan
	base    string
	id      string
	changed bool // the operation made or changed something
}

// operation is one documented row: where it lives and what it does.
type operation struct {
	name    string
	public  bool
	private bool
	method  string
	do      func(*Server, *call) answer
}

// route finds the operations of a path, by segments after the prefixes.
func route(parts []string) []operation {
	switch {
	case len(parts) == 1 && parts[0] == "payment-prerequest":
		return []operation{{"prerequest", true, true, http.MethodPost, (*Server).prerequest}}
	case len(parts) == 1 && parts[0] == "payment-invoices":
		return []operation{
			{"create", true, true, http.MethodPost, (*Server).create},
			{"list", false, true, http.MethodGet, (*Server).list},
		}
	case len(parts) == 2 && parts[0] == "payment-invoices" && parts[1] == "process":
		return []operation{{"process", true, true, http.MethodPost, (*Server).process}}
	case len(parts) == 2 && parts[0] == "payment-invoices":
		return []operation{{"get", true, true, http.MethodGet, (*Server).get}}
	case len(parts) == 3 && parts[0] == "payment-invoices" && parts[2] == "refund":
		return []operation{{"refund", false, true, http.MethodPost, (*Server).refund}}
	case len(parts) == 1 && parts[0] == "payment-services":
		return []operation{{"services", false, true, http.MethodGet, (*Server).services}}
	case len(parts) == 2 && parts[0] == "payment-services":
		return []operation{{"service", false, true, http.MethodGet, (*Server).service}}
	}
	return nil
}

// serveAPI answers both APIs. path has no prefix of PublicURL and no trailing
// slash.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, path string) {
	public, api := false, "private"
	rest := path
	if t, ok := strings.CutPrefix(rest, "/api/"); ok {
		rest = "/" + t
	}
	if t, ok := strings.CutPrefix(rest, "/public-api/"); ok {
		rest, public, api = "/"+t, true, "public"
	}
	parts := strings.Split(strings.TrimPrefix(rest, "/"), "/")

	var op operation
	var allowed []string
	for _, o := range route(parts) {
		if public && !o.public || !public && !o.private {
			continue
		}
		allowed = append(allowed, o.method)
		if o.method == r.Method {
			op = o
		}
	}
	if op.name == "prerequest" || op.name == "process" {
		public, api = true, "public" // they exist in the public API only, under whichever prefix
	}
	if op.name == "list" && r.URL.Query().Has("filter[reference_id]") {
		op.name = "find"
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if r.Method == http.MethodOptions && len(allowed) > 0 {
		w.Header().Set("Access-Control-Allow-Methods", strings.Join(allowed, ", "))
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(body) > maxBody {
		body, err = nil, errSyntax
	}
	c := &call{r: r, public: public, base: s.baseOf(r), bad: err}
	if len(parts) > 1 {
		c.id = parts[1]
	}
	if r.Method == http.MethodPost && err == nil {
		c.tree, c.form, c.bad = decodeBody(r.Header.Get("Content-Type"), body)
	}
	if op.do == nil {
		a := refuse(http.StatusNotFound, "Not Found")
		if len(allowed) > 0 {
			a = refuse(http.StatusMethodNotAllowed, "Method Not Allowed")
			a.header = http.Header{"Allow": allowed}
		}
		s.record(r, "", api, body, a.status, plan{})
		write(w, a.status, a.header, encodePHP(a.body))
		return
	}
	s.mu.Lock()
	if op.name == "process" { // a browser's own request: the page has to appear
		c.plan = plan{on: map[Fault]bool{}, faults: s.faults}
	} else {
		c.plan = s.rollLocked(op.name, c.subject())
	}
	s.mu.Unlock()
	s.run(w, c, op, api, body)
}

// subject is what the call is about, for the dice.
func (c *call) subject() string {
	if c.tree != nil {
		attrs := c.tree
		if data, _, ok := mapOf(c.tree["data"]); ok && data != nil {
			if a, _, ok := mapOf(data["attributes"]); ok && a != nil {
				attrs = a
			}
		}
		ref, _ := textOf(attrs["reference_id"])
		currency, _ := textOf(attrs["currency"])
		return c.id + " " + ref + " " + currency
	}
	return c.r.URL.Path + "?" + c.r.URL.RawQuery
}

// serverErrors are the 5xx of the vendor's table.
var serverErrors = []int{500, 502, 503, 504}

// run does the operation between the faults that come before and after it.
func (s *Server) run(w http.ResponseWriter, c *call, op operation, api string, body []byte) {
	p := c.plan
	status := 0
	defer func() { s.record(c.r, op.name, api, body, status, p) }()
	reply := func(code int, header http.Header, text []byte) {
		status = code
		write(w, code, header, text)
	}
	if p.has(FaultSlow) {
		limit := p.faults.SlowForMS
		if limit == 0 {
			limit = 2000
		}
		t := time.NewTimer(time.Duration(1+p.rng.IntN(limit)) * time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.r.Context().Done(): // the caller went away: a real service carries on, and so do we
		case <-s.life.Done():
			return
		}
	}
	switch {
	case p.has(FaultTooMany):
		after := max(p.faults.RetryAfter, 1)
		a := refuse(http.StatusTooManyRequests, "Too Many Requests")
		reply(a.status, http.Header{"Retry-After": {strconv.Itoa(after)}}, encodePHP(a.body))
		return
	case p.has(FaultErrorBefore):
		s.brokenAnswer(p, reply)
		return
	case p.has(FaultRedirect):
		to := p.faults.RedirectTo
		if to == "" {
			to = "https://elsewhere.invalid"
		}
		reply(http.StatusTemporaryRedirect, http.Header{"Location": {to + c.r.URL.RequestURI()}}, nil)
		return
	}
	a := op.do(s, c)
	switch {
	case p.has(FaultLostAnswer):
		panic(http.ErrAbortHandler) // net/http closes the connection; the record keeps status 0
	case p.has(FaultErrorAfter):
		s.brokenAnswer(p, reply)
		return
	case p.has(FaultBadRequestAfter) && c.changed:
		reply(http.StatusBadRequest, nil, encodePHP(refuse(http.StatusBadRequest, "Bad Request").body))
		return
	case p.has(FaultHTML):
		code := a.status
		if p.rng.IntN(2) == 0 {
			code = http.StatusOK
		}
		reply(code, http.Header{"Content-Type": {"text/html; charset=utf-8"}}, []byte("<!doctype html><title>Just a moment</title><p>Checking your browser before accessing the site.</p>"))
		return
	case p.has(FaultHuge):
		status = a.status
		size := p.faults.HugeBytes
		if size == 0 {
			size = 100_000_000
		}
		writeHuge(w, a.status, size)
		return
	}
	if a.body == nil {
		reply(a.status, a.header, nil)
		return
	}
	text := encodePHP(misshape(a.body, p))
	if p.has(FaultTruncated) {
		text = text[:len(text)/2]
	}
	reply(a.status, a.header, text)
}

// brokenAnswer is one of the 5xx: JSON from the application, HTML from the
// proxy before it.
func (s *Server) brokenAnswer(p plan, reply func(int, http.Header, []byte)) {
	code := serverErrors[p.rng.IntN(len(serverErrors))]
	if code == http.StatusInternalServerError {
		reply(code, nil, encodePHP(internalError().body))
		return
	}
	reply(code, http.Header{"Content-Type": {"text/html"}},
		fmt.Appendf(nil, "<html><head><title>%d %s</title></head><body><center><h1>%d %s</h1></center></body></html>", code, http.StatusText(code), code, http.StatusText(code)))
}

func write(w http.ResponseWriter, code int, header http.Header, text []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	for k, v := range header {
		h[k] = v
	}
	if len(text) == 0 {
		h.Del("Content-Type")
	}
	w.WriteHeader(code)
	_, _ = w.Write(text) // a caller who went away is no failure of ours
}

// writeHuge streams one JSON string of about size bytes.
func writeHuge(w http.ResponseWriter, code, size int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	chunk := []byte(strings.Repeat("A", 64<<10))
	if _, err := w.Write([]byte(`{"data":"`)); err != nil {
		return
	}
	for size > 0 {
		n, err := w.Write(chunk[:min(size, len(chunk))])
		if err != nil {
			return
		}
		size -= n
	}
	_, _ = w.Write([]byte(`"}`)) // as in write
}

// refuse is the array form of an error.
func refuse(code int, status string) answer {
	return answer{status: code, body: object{"errors": []any{object{"status": status, "code": strconv.Itoa(code)}}}}
}

func internalError() answer {
	return answer{status: http.StatusInternalServerError, body: object{"errors": []any{object{
		"status": "internal_error", "code": "500", "title": "internal_error", "detail": "Internal server error.",
	}}}}
}

func unauthorized() answer { return refuse(http.StatusUnauthorized, "Unauthorized") }
func forbidden() answer    { return refuse(http.StatusForbidden, "Forbidden") }
func notFound() answer     { return refuse(http.StatusNotFound, "Not Found") }

// violations are the fields of a 422 and their Symfony-like messages.
type violations map[string]string

func (v violations) answer() answer {
	o := object{}
	for k, m := range v {
		o[k] = m
	}
	return answer{status: http.StatusUnprocessableEntity, body: object{"errors": o}}
}

// admit checks who is calling. A nil answer lets the call in; test is the mode
// of a public key.
func (s *Server) admit(c *call) (test bool, refusal *answer) {
	no := func(a answer) (bool, *answer) { return false, &a }
	if c.public {
		key, _ := textOf(c.tree["public_key"])
		for _, k := range s.cfg.Credentials.PublicKeys {
			if subtle.ConstantTimeCompare([]byte(k), []byte(key)) == 1 {
				return strings.HasPrefix(k, "pk_test_"), nil
			}
		}
		return no(unauthorized())
	}
	user, password, ok := c.r.BasicAuth()
	same := subtle.ConstantTimeCompare([]byte(user), []byte(s.cfg.Credentials.AccountID)) &
		subtle.ConstantTimeCompare([]byte(password), []byte(s.cfg.Credentials.APIKey))
	if !ok || same != 1 {
		a := unauthorized()
		a.header = http.Header{"Www-Authenticate": {`Basic realm="commerce account"`}}
		return no(a)
	}
	if c.plan.faults.ForbidPrivateAPI {
		return no(forbidden())
	}
	return false, nil
}

// enter is admit for an operation that reads a body. The public key is part of
// the body, so an unreadable one comes first there.
func (s *Server) enter(c *call) (test bool, refusal *answer) {
	if !c.public || c.bad == nil {
		if test, refusal = s.admit(c); refusal != nil {
			return false, refusal
		}
	}
	if c.bad != nil {
		a := badRequest()
		return false, &a
	}
	return test, nil
}

func badRequest() answer { return refuse(http.StatusBadRequest, "Bad Request") }

// prerequest is row 1: the services and methods for a currency.
func (s *Server) prerequest(c *call) answer {
	test, refusal := s.enter(c)
	if refusal != nil {
		return *refusal
	}
	currency, ok := textOf(c.tree["currency"])
	if !ok || currency == "" {
		return violations{"currency": "This value should not be blank."}.answer()
	}
	if _, ok := s.catalogue.currencies[currency]; !ok {
		return violations{"currency": "This value is not a valid currency."}.answer()
	}
	services, methods := object{}, object{}
	for code, sv := range s.catalogue.services[currency] {
		services[code] = sv.view()
		if methods[sv.Method] == nil {
			methods[sv.Method] = s.catalogue.methods[sv.Method].view(c.base)
		}
	}
	return answer{status: http.StatusOK, body: object{"data": object{
		"currency": currency, "test_mode": test, "services": services, "methods": methods,
		"account": object{
			"name": s.cfg.AccountName, "description": s.cfg.AccountName + " only",
			"icon": c.base + "/static/images/default.svg", "website": orNull(s.cfg.MerchantURL),
		},
	}}}
}

// create is rows 2 and 7.
func (s *Server) create(c *call) answer {
	test, refusal := s.enter(c)
	if refusal != nil {
		return *refusal
	}
	if c.public && c.plan.faults.ForbidPublicCreation {
		return forbidden()
	}
	attrs, source := c.tree, "platform_public_api"
	if !c.public {
		source = "merchant_api"
		data, present, ok := mapOf(c.tree["data"])
		if !ok || !present {
			return violations{"data": "This value should not be blank."}.answer()
		}
		if kind, _ := textOf(data["type"]); kind != "payment-invoices" && kind != "payment-invoice" {
			return violations{"data.type": "This value is not valid."}.answer()
		}
		if attrs, present, ok = mapOf(data["attributes"]); !ok || !present {
			return violations{"data.attributes": "This value should not be blank."}.answer()
		}
	}
	inv, earlier, wrong := s.makeInvoice(order{attrs: attrs, form: c.form, public: c.public, test: test, source: source, base: c.base})
	switch {
	case len(wrong) > 0:
		return wrong.answer()
	case earlier != nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		body := object{"data": s.viewLocked(earlier, c, true)}
		if !c.plan.has(FaultConflictBare) {
			body["errors"] = []any{object{"status": "Conflict", "code": "409", "title": "conflict", "detail": "Invoice with this reference_id already exists."}}
		}
		return answer{status: http.StatusConflict, body: body}
	}
	c.changed = true
	s.mu.Lock()
	defer s.mu.Unlock()
	return answer{status: http.StatusCreated, body: object{"data": s.viewLocked(inv, c, true)}}
}

// viewLocked is inv in the shape of the API that was called.
func (s *Server) viewLocked(inv *invoice, c *call, created bool) object {
	if c.public {
		return inv.publicView(created)
	}
	return inv.privateView(viewOptions{withURL: created, newer: c.plan.has(FaultNewerKeys)})
}

// process is row 4: a browser's form that makes the invoice and goes on to it.
func (s *Server) process(c *call) answer {
	a := s.create(c)
	data, _ := a.body.(object)["data"].(object)
	id, _ := data["id"].(string)
	if id == "" {
		return a
	}
	// A reload of the shopper's form finds the invoice of the first time.
	return answer{status: http.StatusFound, header: http.Header{"Location": {c.base + "/redirect/hpp/?cpi=" + url.QueryEscape(id)}}}
}

// get is rows 3 and 8. The public one needs no key.
func (s *Server) get(c *call) answer {
	if !c.public {
		if _, refusal := s.admit(c); refusal != nil {
			return *refusal
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	inv := s.invoices[c.id]
	if inv == nil {
		return notFound()
	}
	s.expireLocked(inv)
	return answer{status: http.StatusOK, body: object{"data": s.viewLocked(inv, c, false)}}
}

// list is rows 9 and 10: newest first, with cursors that are invoice IDs.
func (s *Server) list(c *call) answer {
	if _, refusal := s.admit(c); refusal != nil {
		return *refusal
	}
	q := c.r.URL.Query()
	size, ok := pageNumber(q, "page[size]", 20)
	if !ok || size > 100 {
		return violations{"page.size": "This value should be between 1 and 100."}.answer()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Has("filter[reference_id]") {
		inv := s.byRef[q.Get("filter[reference_id]")]
		if inv == nil {
			return answer{status: http.StatusOK, body: cursorPage(nil, 20, "", "")}
		}
		s.expireLocked(inv)
		view := s.viewLocked(inv, c, false)
		if c.plan.has(FaultSingleObject) {
			return answer{status: http.StatusOK, body: object{"data": view}}
		}
		return answer{status: http.StatusOK, body: cursorPage([]any{view}, 20, "", "")}
	}
	return s.cursorListLocked(c, q, size)
}

// cursorNames are the query names for "older than" and "newer than". The
// vendor documents none, so a client has to follow the links; all are read,
// and the fault cursor_names changes which are written.
var cursorNames = [][2]string{{"page[before]", "page[after]"}, {"before", "after"}, {"cursor[before]", "cursor[after]"}}

func (s *Server) cursorListLocked(c *call, q url.Values, size int) answer {
	rows := slices.Clone(s.order)
	slices.Reverse(rows)
	from, to := 0, min(size, len(rows))
	for _, names := range cursorNames {
		for i, name := range names {
			if !q.Has(name) {
				continue
			}
			at := slices.IndexFunc(rows, func(inv *invoice) bool { return inv.id == q.Get(name) })
			if at < 0 {
				return violations{strings.NewReplacer("[", ".", "]", "").Replace(name): "This value is not valid."}.answer()
			}
			if i == 0 {
				from, to = at+1, min(at+1+size, len(rows))
			} else {
				from, to = max(0, at-size), at
			}
		}
	}
	var views []any
	for _, inv := range rows[from:to] {
		s.expireLocked(inv)
		views = append(views, s.viewLocked(inv, c, false))
	}
	names := cursorNames[0]
	if c.plan.has(FaultCursorNames) {
		names = cursorNames[1+c.plan.rng.IntN(len(cursorNames)-1)]
	}
	link := func(name, id string) string {
		return "/api/payment-invoices?page[size]=" + strconv.Itoa(size) + "&" + name + "=" + id
	}
	prev, next := "", ""
	if from > 0 && len(views) > 0 {
		prev = link(names[1], rows[from].id)
	}
	if to < len(rows) {
		next = link(names[0], rows[to-1].id)
	}
	if c.plan.has(FaultLoopingPages) {
		next = "/api/payment-invoices?" + c.r.URL.RawQuery
	}
	return answer{status: http.StatusOK, body: cursorPage(views, size, prev, next)}
}

// cursorPage is the envelope of a cursor list. As in the sample, after is the
// first row and before the last.
func cursorPage(views []any, size int, prev, next string) object {
	meta := object{"count": len(views), "size": size, "before": nil, "after": nil}
	if len(views) > 0 {
		meta["after"] = views[0].(object)["id"]
		meta["before"] = views[len(views)-1].(object)["id"]
	}
	if views == nil {
		views = []any{}
	}
	return object{"meta": meta, "links": object{"prev": prev, "next": next}, "data": views}
}

func pageNumber(q url.Values, name string, fallback int) (int, bool) {
	if !q.Has(name) {
		return fallback, true
	}
	n, err := strconv.Atoi(q.Get(name))
	return n, err == nil && n >= 1
}

// services is row 5.
func (s *Server) services(c *call) answer {
	if _, refusal := s.admit(c); refusal != nil {
		return *refusal
	}
	q := c.r.URL.Query()
	number, ok1 := pageNumber(q, "page[number]", 1)
	size, ok2 := pageNumber(q, "page[size]", 20)
	if !ok1 || !ok2 || size > 100 {
		return violations{"page": "This value is not valid."}.answer()
	}
	rows := s.catalogue.listed
	pages := (len(rows) + size - 1) / size
	data := []any{}
	if number <= pages {
		for _, row := range rows[(number-1)*size : min(number*size, len(rows))] {
			data = append(data, row.row(s.testAccount()))
		}
	}
	link := func(n int) string {
		return fmt.Sprintf("/api/payment-services?page[number]=%d&page[size]=%d", n, size)
	}
	links := object{"first": link(1), "last": link(pages)}
	if number < pages {
		links["next"] = link(number + 1)
	}
	if number > 1 {
		links["prev"] = link(number - 1)
	}
	if c.plan.has(FaultLoopingPages) {
		links["next"] = link(number)
	}
	return answer{status: http.StatusOK, body: object{
		"meta": object{"total": len(rows), "pages": pages, "page": number}, "links": links, "data": data,
	}}
}

// testAccount tells whether the account has no live keys.
func (s *Server) testAccount() bool { return s.cfg.Credentials.signingKey(false) == "" }

// service is row 6.
func (s *Server) service(c *call) answer {
	if _, refusal := s.admit(c); refusal != nil {
		return *refusal
	}
	row := s.catalogue.byID[c.id]
	if row == nil {
		return notFound()
	}
	return answer{status: http.StatusOK, body: object{"data": row.row(s.testAccount())}}
}

// refund is row 11.
func (s *Server) refund(c *call) answer {
	if _, refusal := s.enter(c); refusal != nil {
		return *refusal
	}
	data, _, ok := mapOf(c.tree["data"])
	attrs, _, ok2 := mapOf(data["attributes"])
	if !ok || !ok2 {
		return badRequest()
	}
	wrong := violations{}
	if kind, _ := textOf(data["type"]); kind != "refund" && kind != "refunds" {
		wrong["data.type"] = "This value is not valid."
	}
	ref, ok := textOf(attrs["reference_id"])
	if !ok || ref == "" {
		wrong["reference_id"] = "This value should not be blank."
	}
	if id, _ := textOf(attrs["invoiceId"]); id != "" && id != c.id {
		wrong["invoiceId"] = "This value is not valid."
	}
	amount, problem := readAmount(attrs["amount"], c.form)
	if problem != "" {
		wrong["amount"] = problem
	}
	description, problem := readText(attrs["description"], 255)
	if problem != "" {
		wrong["description"] = problem
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	inv := s.invoices[c.id]
	if inv == nil {
		return notFound()
	}
	if len(wrong) == 0 {
		left := inv.refundable()
		switch {
		case left == nil:
			wrong["invoiceId"] = "The invoice holds nothing that can be refunded."
		case amount.Cmp(left) > 0:
			wrong["amount"] = "This value should be less than or equal to " + plain(left) + "."
		case digitsOf(amount) > s.catalogue.currencies[inv.currency]:
			wrong["amount"] = "This value is not valid."
		}
	}
	if len(wrong) > 0 {
		return wrong.answer()
	}
	if s.refundRefs[ref] {
		return refuse(http.StatusConflict, "Conflict")
	}
	s.refundRefs[ref] = true
	c.changed = true
	return answer{status: http.StatusCreated, body: object{"data": cloneMap(s.refundLocked(inv, amount, ref, description))}}
}

// readAmount reads a positive amount: a JSON number, or text in a form.
func readAmount(v any, form bool) (amount *big.Rat, problem string) {
	if v == nil || v == "" {
		return nil, "This value should not be blank."
	}
	text, ok := textOf(v)
	if _, isText := v.(string); !ok || isText && !form {
		return nil, "This value should be of type numeric."
	}
	amount, ok = parseAmount(text)
	if !ok {
		return nil, "This value is not valid."
	}
	if amount.Sign() <= 0 {
		return nil, "This value should be greater than 0."
	}
	return amount, ""
}
