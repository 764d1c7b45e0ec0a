package httpapi

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/page"
)

// document writes an HTML document.
func (a *API) document(w http.ResponseWriter, status int, text []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h["Cache-Control"] = noStore
	h.Set("Content-Security-Policy", a.site.Policy())
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
	w.WriteHeader(status)
	_, _ = w.Write(text) //nolint:gosec // package page escapes; its tests hold it to that
}

// sorry answers a shopper with a page, and whoever did not ask for a page with the
// problem document.
func (a *API) sorry(w http.ResponseWriter, r *http.Request, err error) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		a.fail(w, r, err)
		return
	}
	p := describe(err, false)
	if p.Status >= http.StatusInternalServerError {
		a.cfg.Log.Warn("request failed", "request_id", exchangeOf(w).id, "route", exchangeOf(w).route, "status", p.Status, "err", err)
	}
	p.headers(w.Header(), false)
	key, again := "e.access", ""
	switch {
	case p.Code == "token_expired":
		key = "text.expired"
	case p.Status == http.StatusTooManyRequests:
		key, again = "e.limited", r.URL.RequestURI()
	case p.Status >= http.StatusInternalServerError:
		key, again = "e.load", r.URL.RequestURI()
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		again = ""
	}
	w.Header().Add("Vary", "Accept")
	a.document(w, p.Status, a.site.Message(key, again, r.Header.Get("Accept-Language")))
}

func (a *API) getHosted(w http.ResponseWriter, r *http.Request) {
	a.hosted(w, r, http.StatusOK, nil)
}

// hosted writes the session's page; back is what a form brought that did not lead on.
func (a *API) hosted(w http.ResponseWriter, r *http.Request, status int, back *page.Back) {
	id := r.PathValue("id")
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	v, err := a.hostedView(ctx, id)
	if err == nil && v.Session.Status == checkout.StatusPending && back == nil {
		a.refresh(ctx, id)
		v, err = a.hostedView(ctx, id)
	}
	var token string
	if err == nil {
		token, err = a.payToken(ctx, id)
	}
	if err != nil {
		a.sorry(w, r, err)
		return
	}
	v = a.shownView(v)
	a.document(w, status, a.site.Hosted(page.View{Session: v.Session, Services: v.Services, Methods: v.Methods, Account: v.Account}, token,
		r.URL.Query().Get("locale"), r.Header.Get("Accept-Language"), back))
}

func (a *API) hostedView(ctx context.Context, id string) (View, error) {
	if !sessionName(id) {
		return View{}, &checkout.Error{Kind: checkout.ErrNotFound, Code: "not_found", Detail: "there is no such session"}
	}
	return a.cfg.Checkout.View(ctx, id)
}

// postHosted is the hosted page's form. Its only secret is the session's ID in its
// address, which is the capability: no cookie takes part, so no other site can lend the
// shopper's.
func (a *API) postHosted(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(w, r)
	if err != nil {
		a.sorry(w, r, err)
		return
	}
	id := r.PathValue("id")
	if !sessionName(id) {
		a.sorry(w, r, &checkout.Error{Kind: checkout.ErrNotFound, Code: "not_found", Detail: "there is no such session"})
		return
	}
	service := form.Get("service")
	back := &page.Back{Service: service, Values: page.FormFields(form, service)}
	if service == "" {
		back.Errors = []checkout.FieldError{{Field: "service", Code: "required", Message: "choose a service"}}
		a.hosted(w, r, http.StatusUnprocessableEntity, back)
		return
	}
	paid, err := a.pay(r.Context(), id, PayRequest{Service: service, Fields: back.Values})
	if err == nil {
		a.lead(w, r, paid.Redirect)
		return
	}
	p := describe(err, false)
	switch p.Status {
	case http.StatusUnprocessableEntity:
		for _, f := range p.Errors {
			back.Errors = append(back.Errors, f)
		}
	case http.StatusConflict:
		// Another tab was quicker, or the session is over: its page shows which.
		w.Header()["Cache-Control"] = noStore
		http.Redirect(w, r, a.cfg.PublicURL+"/checkout/"+id, http.StatusSeeOther)
		return
	case http.StatusNotFound, http.StatusUnauthorized:
		a.sorry(w, r, err)
		return
	default:
		a.cfg.Log.Warn("pay on hosted page", "request_id", exchangeOf(w).id, "session", id, "service", service, "status", p.Status, "err", err)
		back.Errors = []checkout.FieldError{{Code: p.Code, Message: p.Title}}
	}
	p.headers(w.Header(), false)
	a.hosted(w, r, p.Status, back)
}

// getQR is the session's page as a picture for a phone's camera. The session's ID is the
// capability, and it is all that the picture says: it never changes.
func (a *API) getQR(w http.ResponseWriter, r *http.Request) {
	shareable(w.Header())
	id := r.PathValue("id")
	if !sessionName(id) {
		a.fail(w, r, &checkout.Error{Kind: checkout.ErrNotFound, Code: "not_found", Detail: "there is no such session"})
		return
	}
	picture, err := page.QR(a.cfg.PublicURL + "/checkout/" + id)
	if err != nil {
		a.fail(w, r, fmt.Errorf("draw code: %w", err))
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "private, max-age=86400, immutable")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Content-Type", "image/svg+xml")
	_, _ = w.Write(picture)
}

// readForm reads a form of a browser without JavaScript.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, errFormType
	}
	text, err := raw(w, r, browserBody)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, errBadForm
	}
	return form, nil
}

// lead sends the shopper to the provider: 303, or a form for one that wants POST.
func (a *API) lead(w http.ResponseWriter, r *http.Request, to checkout.Redirect) {
	u, err := url.Parse(to.URL)
	if err != nil || u.Host == "" || !a.acceptable(u) {
		a.sorry(w, r, &checkout.Error{Kind: checkout.ErrUpstream, Code: "redirect_refused", Detail: "the provider's address can not be used"})
		return
	}
	if strings.EqualFold(to.Method, http.MethodPost) {
		a.document(w, http.StatusOK, a.site.Forward(to, r.Header.Get("Accept-Language")))
		return
	}
	q := url.Values{}
	for name, value := range to.Params {
		q.Set(name, value)
	}
	w.Header()["Cache-Control"] = noStore
	w.Header().Set("Location", withQuery(u, q))
	w.WriteHeader(http.StatusSeeOther)
}

// acceptable is the rule for where a shopper is sent: https, and without live keys http
// on this machine.
func (a *API) acceptable(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && !a.cfg.Live && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

// withQuery adds parameters to an address and leaves what it has as it is.
func withQuery(u *url.URL, q url.Values) string {
	out := *u
	if add := q.Encode(); add != "" {
		if out.RawQuery != "" {
			out.RawQuery += "&"
		}
		out.RawQuery += add
	}
	return out.String()
}

// getReturn is where the provider leads the shopper back to. A browser gets a page that
// closes the widget's own window or goes on; whoever does not say that it navigates
// gets the redirect itself.
func (a *API) getReturn(w http.ResponseWriter, r *http.Request) {
	outcome := r.PathValue("outcome")
	if outcome != "success" && outcome != "pending" && outcome != "fail" {
		a.sorry(w, r, errNoRoute)
		return
	}
	token := r.URL.Query().Get("t")
	if token == "" {
		a.sorry(w, r, &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_missing", Detail: "the return address carries no status token"})
		return
	}
	c, err := a.claims(token)
	if err == nil && c.Scope != ScopeStatus {
		err = &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_invalid", Detail: "the return address wants a token of scope status"}
	}
	var next string
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), readTime)
		defer cancel()
		next, err = a.next(ctx, c.SessionID, outcome, token)
	}
	if err != nil {
		a.sorry(w, r, err)
		return
	}
	h := w.Header()
	h.Add("Vary", "Sec-Fetch-Mode")
	h["Cache-Control"] = noStore
	if r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		a.document(w, http.StatusOK, a.site.Returned(next, r.Header.Get("Accept-Language")))
		return
	}
	h.Set("Location", next)
	w.WriteHeader(http.StatusSeeOther)
}

// next is the merchant's page of an outcome with the session and its status token, or
// the hosted page when the merchant named none.
func (a *API) next(ctx context.Context, sessionID, outcome, token string) (string, error) {
	to, err := a.cfg.Checkout.Returns(ctx, sessionID)
	if err != nil {
		return "", err
	}
	address := to.URL
	if to.URLs != nil {
		switch outcome {
		case "success":
			address = to.URLs.Success
		case "fail":
			address = to.URLs.Fail
		default:
			address = to.URLs.Pending
		}
		if address == "" {
			address = to.URLs.Pending // the only one that is required
		}
	}
	if address == "" {
		return a.cfg.PublicURL + "/checkout/" + sessionID, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("return address of the session is no address")
	}
	q := url.Values{}
	q.Set("checkout_session", sessionID)
	q.Set("t", token)
	return withQuery(u, q), nil
}
