package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/page"
)

// How long the work behind a request may take.
const (
	readTime    = 15 * time.Second
	payTime     = 40 * time.Second // session: 10 s for another's attempt and 25 s for its own
	refreshTime = 5 * time.Second
	pollTime    = 25 * time.Second // the longest wait a page may ask for
	readyTime   = 3 * time.Second
	checkTime   = 5 * time.Second // a poll this short is a page that checks, not one that waits
)

// authenticate gives the claims of the request's session token.
func (a *API) authenticate(r *http.Request) (Claims, error) {
	token := bearer(r)
	if token == "" {
		return Claims{}, errNoToken
	}
	return a.claims(token)
}

func (a *API) claims(token string) (Claims, error) {
	now := a.cfg.Now().Unix()
	if c, ok := a.tokens.get(token); ok && now < c.ExpiresAt {
		return c, nil
	}
	if len(token) > 4096 {
		return Claims{}, &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_invalid", Detail: "the session token is not valid"}
	}
	c, err := a.cfg.Checkout.Authenticate(token)
	if err != nil {
		return Claims{}, err
	}
	a.tokens.put(token, c)
	return c, nil
}

func (a *API) getCheckout(w http.ResponseWriter, r *http.Request) {
	c, err := a.authenticate(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	found, err := a.checkout(r, c.SessionID, c.Scope)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	found.write(w, r)
}

// checkout gives the encoded answer of GET /v1/checkout, from memory when neither the
// session nor its services changed.
func (a *API) checkout(r *http.Request, sessionID, scope string) (*answer, error) {
	key := answerKey{session: sessionID, scope: scope, language: r.Header.Get("Accept-Language")}
	if r.URL.RawQuery != "" {
		key.locale = r.URL.Query().Get("locale")
	}
	if len(key.language) > 256 || len(key.locale) > 64 {
		key.language, key.locale = "", ""
	}
	versions, now := a.cfg.Versions, a.cfg.Now().Unix()
	if versions == nil {
		return a.render(r.Context(), key)
	}
	session, err := versions.SessionVersion(r.Context(), sessionID)
	if err != nil {
		return a.render(r.Context(), key) // which says what is wrong
	}
	old := a.answers.get(key)
	services := ""
	if old != nil && scope != ScopeStatus {
		if services, err = versions.ServicesVersion(r.Context(), old.currency); err != nil {
			services = ""
		}
	}
	if old != nil && old.session == session && old.services == services && now < old.until && (services != "" || scope == ScopeStatus) {
		return old, nil
	}
	fresh, err := a.answers.once(key, session, services, func() (*answer, error) { return a.render(context.WithoutCancel(r.Context()), key) })
	if err != nil {
		return nil, err
	}
	// The versions were read before the content, so that an answer is never newer in
	// name than in fact. A session seen for the first time has no services version yet.
	kept := *fresh
	kept.session, kept.services = session, services
	a.answers.put(key, &kept)
	return &kept, nil
}

// render makes the answer of GET /v1/checkout.
func (a *API) render(ctx context.Context, key answerKey) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	v, err := a.cfg.Checkout.View(ctx, key.session)
	if err != nil {
		return nil, err
	}
	v = a.shownView(v)
	view := page.View{Session: v.Session, Services: v.Services, Methods: v.Methods, ReadOnly: key.scope == ScopeStatus}
	out := view.Answer(a.site.Draw(view, key.locale, key.language))
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(out); err != nil {
		return nil, err
	}
	until := v.Session.ExpiresAt // when its status changes by itself
	if now := a.cfg.Now().Unix(); until <= now {
		until = now + 60
	}
	return newAnswer(bytes.TrimRight(text.Bytes(), "\n"), v.Session.Currency, until), nil
}

// shownView is a view for a page: no merchant's notes, no foreign addresses of logos.
func (a *API) shownView(v View) View {
	v.Session = shown(v.Session)
	if v.Services == nil {
		v.Services = []checkout.Service{}
	}
	methods := make(map[string]checkout.Method, len(v.Methods))
	for code, m := range v.Methods {
		methods[code] = a.logos.proxied(m, a.cfg.PublicURL)
	}
	v.Methods = methods
	return v
}

func (a *API) postInvoice(w http.ResponseWriter, r *http.Request) {
	c, err := a.authenticate(r)
	if err == nil && c.Scope != ScopePay {
		err = errReadOnly
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	text, err := body(w, r, browserBody)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	request, err := a.cfg.Checkout.ParsePay(text)
	if err == nil {
		request.IdempotencyKey, err = idempotencyKey(r)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	paid, err := a.pay(r.Context(), c.SessionID, request)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	status := http.StatusCreated
	if paid.Replayed {
		status = http.StatusOK
	}
	a.answer(w, r, status, struct {
		Session  checkout.Session  `json:"session"`
		Redirect checkout.Redirect `json:"redirect"`
	}{shown(paid.Session), withParams(paid.Redirect)})
}

// pay makes the attempt. A shopper who leaves meanwhile does not stop it half-way: what
// comes of it is there when the page asks again.
func (a *API) pay(ctx context.Context, sessionID string, request PayRequest) (Paid, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), payTime)
	defer cancel()
	return a.cfg.Checkout.Pay(ctx, sessionID, request)
}

func withParams(r checkout.Redirect) checkout.Redirect {
	if r.Params == nil {
		r.Params = map[string]string{}
	}
	return r
}

func idempotencyKey(r *http.Request) (string, error) {
	key := r.Header.Get("Idempotency-Key")
	if len(key) > 255 {
		return "", &checkout.Error{Kind: checkout.ErrInvalid, Code: "bad_idempotency_key", Detail: "Idempotency-Key has at most 255 characters"}
	}
	for i := range len(key) {
		if key[i] < '!' || key[i] > '~' {
			return "", &checkout.Error{Kind: checkout.ErrInvalid, Code: "bad_idempotency_key", Detail: "Idempotency-Key has visible ASCII characters only"}
		}
	}
	return key, nil
}

func (a *API) getSocket(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		a.fail(w, r, errUpgrade)
		return
	}
	if err := a.admit(a.requests, r); err != nil {
		a.fail(w, r, err)
		return
	}
	// The origin is judged by the hub, which tells a foreign page so with close code 4503.
	a.cfg.Sockets.ServeHTTP(w, r)
}

func (a *API) getUpdates(w http.ResponseWriter, r *http.Request) {
	c, err := a.authenticate(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	revision, wait, err := pollQuery(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if wait <= checkTime {
		a.refresh(r.Context(), c.SessionID)
	}
	if left := time.Unix(c.ExpiresAt, 0).Sub(a.cfg.Now()); wait > left {
		wait = max(left, 0)
	}
	frame, err := a.cfg.Updates.LongPoll(r.Context(), c.SessionID, revision, wait)
	switch {
	case errors.Is(err, context.Canceled):
		exchangeOf(w).status = 499 // the page has left; for log and count only
		return
	case err != nil:
		a.fail(w, r, err)
		return
	}
	h := w.Header()
	h["Cache-Control"] = noStore
	if frame == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h["Content-Type"] = jsonType
	_, _ = w.Write(frame)
}

// refresh asks WZRDPAY about an open invoice before the page is told what we know. That
// it can not be asked right now is no fault of the page's.
func (a *API) refresh(ctx context.Context, sessionID string) {
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	if err := a.cfg.Checkout.Refresh(ctx, sessionID); err != nil && !errors.Is(err, context.Canceled) {
		a.cfg.Log.Debug("refresh session", "session", sessionID, "err", err)
	}
}

func pollQuery(r *http.Request) (revision int64, wait time.Duration, err error) {
	q := r.URL.Query()
	wait = pollTime
	var wrong []checkout.FieldError
	if s := q.Get("revision"); s != "" {
		if revision, err = strconv.ParseInt(s, 10, 64); err != nil || revision < 0 {
			wrong = append(wrong, checkout.FieldError{Field: "revision", Code: "number", Message: "must be a whole number of 0 or more"})
		}
	}
	if s := q.Get("wait"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			wrong = append(wrong, checkout.FieldError{Field: "wait", Code: "number", Message: "must be seconds, 0 to 25"})
		}
		wait = min(max(time.Duration(n)*time.Second, 0), pollTime)
	}
	if len(wrong) > 0 {
		return 0, 0, checkout.Invalid(wrong...)
	}
	return revision, wait, nil
}

// postCallback stores what WZRDPAY says. Its content type is not looked at: the
// signature over the raw bytes is what counts.
func (a *API) postCallback(w http.ResponseWriter, r *http.Request) {
	text, err := raw(w, r, callbackBody)
	switch {
	case err == nil:
		err = a.cfg.Callbacks.Receive(r.Context(), text, r.Header.Get("X-Signature"))
	case errors.Is(err, errTooLarge):
		// The intake counts what is refused; to refuse this it needs one byte too many.
		_ = a.cfg.Callbacks.Receive(r.Context(), append(text, 0), "")
	}
	switch {
	case err == nil:
		h := w.Header()
		h["Content-Type"], h["Cache-Control"] = jsonType, noStore
		_, _ = w.Write([]byte(`{"status":"stored"}`))
	case errors.Is(err, checkout.ErrInvalid):
		p := describe(err, false)
		p.Status, p.Title = errBadJSON.status, errBadJSON.title // docs/openapi.json
		a.problem(w, p)
	case errors.Is(err, checkout.ErrTimeout), errors.Is(err, checkout.ErrLimited), errors.Is(err, context.DeadlineExceeded):
		p := describe(err, false)
		p.Status, p.Title, p.Retryable = http.StatusServiceUnavailable, "Not available right now", true
		a.problem(w, p)
	default:
		a.fail(w, r, err)
	}
}

// write sends the answer, compressed for a page that takes it: a list for many services
// is long and its line may be slow. Who is no page is near and would rather not unpack.
func (n *answer) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if len(n.text) > 2048 && fromPage(r) {
		h.Add("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h["Content-Encoding"] = []string{"gzip"}
			_, _ = w.Write(n.packed())
			return
		}
	}
	h["Content-Length"] = n.length
	_, _ = w.Write(n.text)
}

func fromPage(r *http.Request) bool {
	return r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Mode") != ""
}

func pack(text []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	_, _ = z.Write(text)
	_ = z.Close()
	return out.Bytes()
}
