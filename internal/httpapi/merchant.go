package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/page"
)

// sessionAnswer is what POST /v1/sessions says.
type sessionAnswer struct {
	ID        string           `json:"id"`
	Token     string           `json:"token"`
	ExpiresAt int64            `json:"expires_at"`
	URL       string           `json:"url"`
	EmbedHTML string           `json:"embed_html"`
	Session   checkout.Session `json:"session"`
}

// listAnswer is one page of a list; Next is null after the last.
type listAnswer[T any] struct {
	Data []T     `json:"data"`
	Next *string `json:"next"`
}

func listOf[T any](data []T, next string) listAnswer[T] {
	if data == nil {
		data = []T{}
	}
	if next == "" {
		return listAnswer[T]{Data: data}
	}
	return listAnswer[T]{Data: data, Next: &next}
}

func (a *API) postSession(w http.ResponseWriter, r *http.Request) {
	style := r.URL.Query().Get("embed_style")
	if style != "" && style != "link" && style != "inline" {
		a.fail(w, r, checkout.Invalid(checkout.FieldError{Field: "embed_style", Code: "invalid", Message: "is link (the default) or inline"}))
		return
	}
	text, err := body(w, r, merchantBody)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	created, err := a.cfg.Merchant.Create(ctx, text)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	s := whole(created.Session)
	status := http.StatusCreated
	if created.Replayed {
		status = http.StatusOK
	}
	a.answer(w, r, status, sessionAnswer{
		ID: s.ID, Token: created.Token, ExpiresAt: s.ExpiresAt, URL: a.cfg.PublicURL + "/checkout/" + s.ID,
		EmbedHTML: a.embed(ctx, s, created.Token, style == "inline"), Session: s,
	})
}

// embed is the markup for the shop's own page. When the methods can not be had now it
// is the element alone, and the page asks for them itself.
func (a *API) embed(ctx context.Context, s checkout.Session, token string, inline bool) string {
	v, err := a.cfg.Checkout.View(ctx, s.ID)
	if err != nil {
		a.cfg.Log.Warn("draw embed_html", "session", s.ID, "err", err)
		return a.site.Embed(page.View{Session: shown(s)}, token, false, inline)
	}
	v = a.shownView(v)
	return a.site.Embed(page.View{Session: v.Session, Services: v.Services, Methods: v.Methods}, token, true, inline)
}

// whole is a session as the merchant sees it.
func whole(s checkout.Session) checkout.Session {
	if len(s.Metadata) == 0 {
		s.Metadata = checkout.JSON("{}")
	}
	if s.Attempts == nil {
		s.Attempts = []checkout.Attempt{}
	}
	return s
}

func (a *API) listSessions(w http.ResponseWriter, r *http.Request) {
	reference := r.URL.Query().Get("reference_id")
	if !checkout.ValidReference(reference) {
		code, message := "format", "must be 1 to 64 of A-Z a-z 0-9 . _ -"
		if reference == "" {
			code, message = "required", "say which reference to look for"
		}
		a.fail(w, r, checkout.Invalid(checkout.FieldError{Field: "reference_id", Code: code, Message: message}))
		return
	}
	s, err := a.cfg.Merchant.SessionByReference(r.Context(), reference)
	switch {
	case errors.Is(err, checkout.ErrNotFound):
		a.answer(w, r, http.StatusOK, listOf[checkout.Session](nil, ""))
	case err != nil:
		a.fail(w, r, err)
	default:
		a.answer(w, r, http.StatusOK, listOf([]checkout.Session{whole(s)}, ""))
	}
}

func (a *API) getSession(w http.ResponseWriter, r *http.Request) {
	s, err := a.cfg.Merchant.Session(r.Context(), r.PathValue("id"))
	a.session(w, r, s, err)
}

func (a *API) expireSession(w http.ResponseWriter, r *http.Request) {
	s, err := a.cfg.Merchant.Expire(r.Context(), r.PathValue("id"))
	a.session(w, r, s, err)
}

func (a *API) patchSession(w http.ResponseWriter, r *http.Request) {
	text, err := body(w, r, merchantBody)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	s, err := a.cfg.Merchant.Patch(r.Context(), r.PathValue("id"), text)
	a.session(w, r, s, err)
}

func (a *API) session(w http.ResponseWriter, r *http.Request, s checkout.Session, err error) {
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.answer(w, r, http.StatusOK, whole(s))
}

func (a *API) getInvoice(w http.ResponseWriter, r *http.Request) {
	refresh := false
	if s := r.URL.Query().Get("refresh"); s != "" {
		var err error
		if refresh, err = strconv.ParseBool(s); err != nil {
			a.fail(w, r, checkout.Invalid(checkout.FieldError{Field: "refresh", Code: "boolean", Message: "must be true or false"}))
			return
		}
	}
	v, err := a.cfg.Merchant.Invoice(r.Context(), r.PathValue("id"), refresh)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.answer(w, r, http.StatusOK, v)
}

func (a *API) listInvoices(w http.ResponseWriter, r *http.Request) {
	after, limit, err := pageQuery(r)
	reference := r.URL.Query().Get("reference_id")
	if err == nil && reference != "" && !checkout.ValidReference(reference) {
		err = checkout.Invalid(checkout.FieldError{Field: "reference_id", Code: "format", Message: "must be 1 to 64 of A-Z a-z 0-9 . _ -"})
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	data, next, err := a.cfg.Merchant.Invoices(r.Context(), reference, after, limit)
	switch {
	case reference != "" && errors.Is(err, checkout.ErrNotFound):
		a.answer(w, r, http.StatusOK, listOf[checkout.Invoice](nil, ""))
	case err != nil:
		a.fail(w, r, err)
	default:
		a.answer(w, r, http.StatusOK, listOf(data, next))
	}
}

// pageQuery reads after and limit of a list.
func pageQuery(r *http.Request) (after string, limit int, err error) {
	q := r.URL.Query()
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > 100 {
			return "", 0, checkout.Invalid(checkout.FieldError{Field: "limit", Code: "range", Message: "must be 1 to 100"})
		}
	}
	after = q.Get("after")
	if len(after) > 2048 {
		return "", 0, checkout.Invalid(checkout.FieldError{Field: "after", Code: "cursor", Message: "is no cursor that a page gave"})
	}
	return after, limit, nil
}

func (a *API) listServices(w http.ResponseWriter, r *http.Request) {
	listed(a, w, r, a.cfg.Merchant.Services)
}

func (a *API) listEvents(w http.ResponseWriter, r *http.Request) {
	listed(a, w, r, a.cfg.Merchant.Events)
}

func listed[T any](a *API, w http.ResponseWriter, r *http.Request, read func(context.Context, string, int) ([]T, string, error)) {
	after, limit, err := pageQuery(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	data, next, err := read(r.Context(), after, limit)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.answer(w, r, http.StatusOK, listOf(data, next))
}

func (a *API) getService(w http.ResponseWriter, r *http.Request) {
	v, err := a.cfg.Merchant.Service(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.answer(w, r, http.StatusOK, v)
}

func (a *API) postPaymentForm(w http.ResponseWriter, r *http.Request) {
	text, err := body(w, r, merchantBody)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	form, err := a.cfg.Merchant.PaymentForm(r.Context(), text)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.answer(w, r, http.StatusOK, form)
}

// redeliver answers 202: the event is due again, and goes out when its turn comes.
func (a *API) redeliver(w http.ResponseWriter, r *http.Request) {
	v, err := a.cfg.Merchant.Redeliver(r.Context(), r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.answer(w, r, http.StatusAccepted, v)
}

// healthAnswer says that the process answers, and what it is.
type healthAnswer struct {
	Status  string `json:"status"`
	Version string `json:"version,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Widget  string `json:"widget,omitempty"` // the compiler that made it
}

func (a *API) getHealth(w http.ResponseWriter, r *http.Request) {
	a.answer(w, r, http.StatusOK, healthAnswer{Status: "ok", Version: a.cfg.Version, Commit: a.cfg.Commit, Widget: a.cfg.Widget})
}

// getReady is 200 only while a callback can really be stored.
func (a *API) getReady(w http.ResponseWriter, r *http.Request) {
	if a.cfg.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTime)
		defer cancel()
		if err := a.cfg.Ready(ctx); err != nil {
			a.fail(w, r, &checkout.Error{Kind: checkout.ErrUnavailable, Code: "not_ready", Detail: "this replica can not take callbacks yet", Retryable: true, Cause: err})
			return
		}
	}
	a.answer(w, r, http.StatusOK, map[string]string{"status": "ready"})
}

func (a *API) getOpenAPI(w http.ResponseWriter, r *http.Request) {
	if len(a.cfg.OpenAPI) == 0 {
		a.fail(w, r, errNoRoute)
		return
	}
	w.Header()["Content-Type"] = jsonType
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(a.cfg.OpenAPI)
}
