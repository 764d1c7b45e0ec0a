package wzrd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/wzrd"
)

// atlas asks for the invoice of the samples.
var atlas = checkout.InvoiceRequest{
	ReferenceID: "atlas-17", Amount: checkout.MustAmount("64.90"), Currency: "EUR", Service: "payment_card_eur_hpp", Description: "An atlas",
}

var atlasCreated = checkout.Invoice{
	ID: "cpi_Mm1Nn2Oo3Pp4Qq5R", ReferenceID: "atlas-17", Service: "payment_card_eur_hpp", Status: "process_pending", Resolution: "ok",
	Amount: checkout.MustAmount("64.9"), PaymentAmount: amount("65.4"), Currency: "EUR", Created: 1780000000, Updated: 1780000000,
	TestMode: true, SessionID: "cs_atlas", Redirect: &checkout.Redirect{Method: "GET", URL: "https://pay.gate.example/redirect/hpp/?cpi=cpi_Mm1Nn2Oo3Pp4Qq5R"},
}

// paid is atlasCreated after payment: no hpp_url any more, so the form is the way.
func paid() checkout.Invoice {
	v := atlasCreated
	v.Status, v.Updated, v.ProcessedAmount = "processed", 1780000092, amount("65.4")
	v.Redirect = &checkout.Redirect{Method: "GET", URL: "https://cards.gate.example/hpp/cgi_Ss6Tt7Uu8Vv9Ww0X"}
	return v
}

func TestCreateInvoice(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(int, request) reply { return reply{status: 201, body: sample(t, "private_create.json")} })
	r := atlas
	r.ServiceFields = map[string]string{"phone": "+380441234567"}
	r.Flow = "charge"
	r.Customer = checkout.JSON(`{"reference_id":"reader-5","name":"Ida <Berg> & Co"}`)
	r.Metadata = checkout.JSON(`{"session_id":"cs_atlas","shelf":7}`)
	r.ReturnURL = "https://corner.example/back?a=1&b=2"
	r.ReturnURLs = &checkout.ReturnURLs{Success: "https://corner.example/s", Pending: "https://corner.example/p", Fail: "https://corner.example/f"}
	r.CallbackURL = "https://bff.example/v1/callbacks/wzrdpay"
	r.GatewayOptions = checkout.JSON(`{"cardgate":{"tokenize":false}}`)
	r.Options = checkout.JSON(`{"bypass_hpp":true}`)
	r.Expires = 1607874720
	got, err := p.client().CreateInvoice(t.Context(), r)
	if err != nil || !reflect.DeepEqual(got, atlasCreated) {
		t.Errorf("CreateInvoice = %+v, %v, want %+v", got, err, atlasCreated)
	}
	q := p.requests()[0]
	if q.Method != "POST" || q.Path != "/corner/api/payment-invoices" || q.Query != "" || q.Header.Get("Content-Type") != "application/json" {
		t.Errorf("request = %s %s?%s, %v", q.Method, q.Path, q.Query, q.Header)
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(`{"data":{"type":"payment-invoices","attributes":{
		"reference_id":"atlas-17","amount":64.9,"currency":"EUR","service":"payment_card_eur_hpp","flow":"charge","test_mode":true,"description":"An atlas",
		"service_fields":{"phone":"+380441234567"},"customer":{"reference_id":"reader-5","name":"Ida <Berg> & Co"},"metadata":{"session_id":"cs_atlas","shelf":7},
		"return_url":"https://corner.example/back?a=1&b=2",
		"return_urls":{"success":"https://corner.example/s","pending":"https://corner.example/p","fail":"https://corner.example/f"},
		"callback_url":"https://bff.example/v1/callbacks/wzrdpay","gateway_options":{"cardgate":{"tokenize":false}},"options":{"bypass_hpp":true},
		"expires":"2020-12-13T15:52:00+00:00"}}}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(q.JSON, want) {
		t.Errorf("request body = %s", q.Body)
	}
	if !strings.Contains(q.Body, `"amount":64.9,`) {
		t.Errorf("request body = %s, want the amount as a plain number", q.Body)
	}
}

// The least that is sent, and the amount in plain notation however small.
func TestCreateInvoice_Least(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(int, request) reply { return reply{status: 201, body: sample(t, "private_create.json")} })
	r := checkout.InvoiceRequest{Amount: checkout.MustAmount("1e-8"), Currency: "BTC", Service: "bitcoin_btc_hpp"}
	if _, err := p.client().CreateInvoice(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	const want = `{"data":{"type":"payment-invoices","attributes":{"amount":0.00000001,"currency":"BTC","service":"bitcoin_btc_hpp","test_mode":true}}}`
	if got := strings.TrimSpace(p.requests()[0].Body); got != want {
		t.Errorf("request body = %s, want %s", got, want)
	}
}

func TestCreateInvoice_BadJSON(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(int, request) reply { return ok("{}") })
	r := atlas
	r.Customer = checkout.JSON(`{"broken`)
	if _, err := p.client().CreateInvoice(t.Context(), r); !errors.Is(err, checkout.ErrInvalid) {
		t.Errorf("CreateInvoice with a broken customer = %v, want ErrInvalid", err)
	}
	if n := len(p.requests()); n != 0 {
		t.Errorf("%d requests were sent, want none", n)
	}
}

func TestCreateInvoicePublic(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(int, request) reply { return reply{status: 201, body: sample(t, "public_create.json")} })
	got, err := p.client().CreateInvoicePublic(t.Context(), atlas)
	want := atlasCreated
	want.PaymentAmount = amount("64.9")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("CreateInvoicePublic = %+v, %v, want %+v", got, err, want)
	}
	q := p.requests()[0]
	wantBody := `{"public_key":"` + publicKey + `","reference_id":"atlas-17","service":"payment_card_eur_hpp","currency":"EUR","amount":64.9,"description":"An atlas"}`
	if q.Method != "POST" || q.Path != "/shop/public-api/payment-invoices" || strings.TrimSpace(q.Body) != wantBody {
		t.Errorf("request = %s %s %s, want POST …/payment-invoices %s", q.Method, q.Path, q.Body, wantBody)
	}
}

func TestInvoice(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(_ int, r request) reply {
		if strings.HasPrefix(r.Path, "/shop/") {
			return ok(sample(t, "public_get.json"))
		}
		return ok(sample(t, "private_get.json"))
	})
	c := p.client()
	if got, err := c.Invoice(t.Context(), "cpi_Mm1Nn2Oo3Pp4Qq5R"); err != nil || !reflect.DeepEqual(got, paid()) {
		t.Errorf("Invoice = %+v, %v, want %+v", got, err, paid())
	}
	want := paid()
	want.PaymentAmount, want.ProcessedAmount, want.Updated = amount("64.9"), amount("64.9"), want.Created
	if got, err := c.InvoicePublic(t.Context(), "cpi_Mm1Nn2Oo3Pp4Qq5R"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("InvoicePublic = %+v, %v, want %+v", got, err, want)
	}
	seen := p.requests()
	if got := seen[0].Method + " " + seen[0].Path; got != "GET /corner/api/payment-invoices/cpi_Mm1Nn2Oo3Pp4Qq5R" {
		t.Errorf("request = %s", got)
	}
	if got := seen[1].Method + " " + seen[1].Path + "?" + seen[1].Query; got != "GET /shop/public-api/payment-invoices/cpi_Mm1Nn2Oo3Pp4Qq5R?public_key="+publicKey {
		t.Errorf("request = %s", got)
	}
	// An answer about another invoice is never taken.
	if _, err := c.Invoice(t.Context(), "cpi_other"); upstream(t, err).Code != "unusable_answer" {
		t.Errorf("Invoice(cpi_other) = %v, want unusable_answer", err)
	}
	// What can not be an ID never gets into a path.
	before := len(p.requests())
	for _, id := range []string{"", "..", "../payment-services", "a/b", "a?b", "a%2fb", "ü", strings.Repeat("x", 200)} {
		if _, err := c.Invoice(t.Context(), id); !errors.Is(err, checkout.ErrNotFound) {
			t.Errorf("Invoice(%q) = %v, want ErrNotFound", id, err)
		}
	}
	if n := len(p.requests()); n != before {
		t.Errorf("%d requests for impossible IDs, want none", n-before)
	}
}

func TestInvoice_NotFound(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(_ int, r request) reply {
		if strings.Contains(r.Path, "cpi_page") {
			return reply{status: 404, body: " <html>Not Found"}
		}
		return reply{status: 404, body: sample(t, "error_404.json")}
	})
	c := p.client()
	_, err := c.Invoice(t.Context(), "cpi_1")
	if up := upstream(t, err); !errors.Is(err, checkout.ErrNotFound) || up.Directive != checkout.NotCreated || up.Detail != "Not Found" {
		t.Errorf("Invoice = %v, want ErrNotFound", err)
	}
	if _, err := c.InvoiceByReference(t.Context(), "atlas-17"); !errors.Is(err, checkout.ErrNotFound) {
		t.Errorf("InvoiceByReference = %v, want ErrNotFound", err)
	}
	// A web server's own page is no proof that there is no invoice.
	if _, err := c.Invoice(t.Context(), "cpi_page"); errors.Is(err, checkout.ErrNotFound) || upstream(t, err).Directive != checkout.LookUp {
		t.Errorf("Invoice answered by an HTML 404 = %v, want it left open", err)
	}
}

func TestInvoiceByReference(t *testing.T) {
	t.Parallel()
	row := func(id, ref, status string, created int, test bool) string {
		return fmt.Sprintf(`{"type":"payment-invoices","id":%q,"attributes":{"reference_id":%q,"status":%q,"amount":1,"currency":"EUR","created":%d,"test_mode":%v}}`, id, ref, status, created, test)
	}
	list := func(next string, rows ...string) string {
		return `{"links":{"prev":"","next":"` + next + `"},"data":[` + strings.Join(rows, ",") + `]}`
	}
	for _, tt := range []struct {
		name    string
		answers []string
		want    string // ID, "" = ErrNotFound, "!" = another error
	}{
		{"a list", []string{sample(t, "by_reference.json")}, "cpi_Mm1Nn2Oo3Pp4Qq5R"},
		{"one object", []string{sample(t, "private_get.json")}, "cpi_Mm1Nn2Oo3Pp4Qq5R"},
		{"nothing", []string{list("")}, ""},
		{"null", []string{`{"data":null}`}, ""},
		{"PHP's list with holes", []string{`{"data":{"3":` + row("cpi_1", "atlas-17", "created", 1, true) + `}}`}, "cpi_1"},
		{"only others", []string{list("", row("cpi_1", "atlas-170", "created", 1, true), row("cpi_2", "ATLAS-17", "created", 1, true))}, ""},
		{"among others", []string{list("", row("cpi_1", "x", "created", 9, true), row("cpi_2", "atlas-17", "created", 1, true))}, "cpi_2"},
		{"on the second page", []string{list("/api/payment-invoices?c=2", row("cpi_1", "x", "created", 9, true)), list("", row("cpi_2", "atlas-17", "created", 1, true))}, "cpi_2"},
		{"several: the paid one", []string{list("", row("cpi_1", "atlas-17", "created", 9, true), row("cpi_2", "atlas-17", "processed", 1, true), row("cpi_3", "atlas-17", "expired", 99, true))}, "cpi_2"},
		{"several: the one under way", []string{list("", row("cpi_1", "atlas-17", "expired", 9, true), row("cpi_2", "atlas-17", "process_pending", 1, true))}, "cpi_2"},
		{"several: the newest", []string{list("", row("cpi_1", "atlas-17", "created", 1, true), row("cpi_2", "atlas-17", "created", 9, true))}, "cpi_2"},
		{"several: of our mode", []string{list("", row("cpi_1", "atlas-17", "processed", 9, false), row("cpi_2", "atlas-17", "created", 1, true))}, "cpi_2"},
		{"a filter that does not work", slices.Repeat([]string{list("/api/payment-invoices?c=%d", row("cpi_1", "x", "created", 9, true))}, 9), "!"},
		{"a list that links to itself", slices.Repeat([]string{list("/api/payment-invoices?c=2", row("cpi_1", "x", "created", 9, true))}, 9), "!"},
		{"a row that can not be read", []string{list("", `{"type":"payment-invoices","id":"cpi_1","attributes":{}}`)}, "!"},
		{"no data", []string{`{}`}, "!"},
		{"a payout", []string{`{"data":[{"type":"payout-invoices","id":"a"}]}`}, "!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPSP(t, func(n int, _ request) reply { return ok(strings.ReplaceAll(tt.answers[n-1], "%d", strconv.Itoa(n+1))) })
			got, err := p.client().InvoiceByReference(t.Context(), "atlas-17")
			switch {
			case tt.want == "" && !errors.Is(err, checkout.ErrNotFound),
				tt.want == "!" && (err == nil || errors.Is(err, checkout.ErrNotFound) || upstream(t, err).Directive != checkout.LookUp),
				tt.want != "" && tt.want != "!" && (err != nil || got.ID != tt.want):
				t.Errorf("InvoiceByReference = %q, %v, want %q", got.ID, err, tt.want)
			}
			if q := p.requests()[0]; q.Path != "/corner/api/payment-invoices" || q.Query != "filter%5Breference_id%5D=atlas-17" {
				t.Errorf("request = %s?%s", q.Path, q.Query)
			}
		})
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(_ int, r request) reply {
		switch {
		case strings.HasSuffix(r.Path, "/comcps_Gg6Hh7Ii8Jj9Kk0L"):
			return ok(sample(t, "service.json"))
		case strings.HasSuffix(r.Path, "/payment-services"):
			return ok(strings.Replace(sample(t, "services.json"), `"/api/payment-services?page[number]=2&page[size]=20"`, `""`, 1))
		}
		return reply{status: 404, body: sample(t, "error_404.json")}
	})
	c := p.client()
	zero := amount("0")
	card := checkout.AccountService{
		ID: "comcps_Gg6Hh7Ii8Jj9Kk0L", Service: "payment_card_eur_hpp", Method: "payment_card", Currency: "EUR", Available: true, Enabled: true,
		AmountMin: amount("0.5"), AmountMax: amount("250000"), FeeMin: zero, FeeMax: zero, FeeRate: zero, FeeFix: zero, ReserveRate: zero,
		AccountCurrency: "UAH", TestMode: true,
	}
	list, next, err := c.Services(t.Context(), "", 0)
	if err != nil || next != "" || len(list) != 2 || !reflect.DeepEqual(list[1], card) {
		t.Errorf("Services = %+v, %q, %v, want two, the second %+v", list, next, err, card)
	}
	for _, id := range []string{"comcps_Gg6Hh7Ii8Jj9Kk0L", "payment_card_eur_hpp"} {
		if got, err := c.Service(t.Context(), id); err != nil || !reflect.DeepEqual(got, card) {
			t.Errorf("Service(%s) = %+v, %v, want %+v", id, got, err, card)
		}
	}
	for _, id := range []string{"comcps_none", "none_eur_hpp", "", "comcps_../x"} {
		if got, err := c.Service(t.Context(), id); !errors.Is(err, checkout.ErrNotFound) {
			t.Errorf("Service(%q) = %+v, %v, want ErrNotFound", id, got, err)
		}
	}
}

func TestPaymentForm(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(int, request) reply { return ok("{}") })
	r := atlas
	r.Customer = checkout.JSON(`{"reference_id":"reader-5","name":"Ida","address":{"full_address":"1 Quay","country":null},"metadata":{"tags":["a","b"]}}`)
	r.Metadata = checkout.JSON(`{"n":1,"yes":true}`)
	r.ServiceFields = map[string]string{"phone": "1"}
	action, method, fields := p.client().PaymentForm(r)
	want := map[string]string{
		"public_key": publicKey, "reference_id": "atlas-17", "service": "payment_card_eur_hpp", "currency": "EUR", "amount": "64.9", "description": "An atlas",
		"customer[reference_id]": "reader-5", "customer[name]": "Ida", "customer[address][full_address]": "1 Quay",
		"customer[metadata][tags][0]": "a", "customer[metadata][tags][1]": "b", "metadata[n]": "1", "metadata[yes]": "true", "service_fields[phone]": "1",
	}
	if action != p.server.URL+"/shop/public-api/payment-invoices/process" || method != "POST" || !maps.Equal(fields, want) {
		t.Errorf("PaymentForm = %s %s %v, want %v", method, action, fields, want)
	}
	if n := len(p.requests()); n != 0 {
		t.Errorf("PaymentForm made %d calls, want none", n)
	}
}

func TestCreateInvoice_Redirect(t *testing.T) {
	t.Parallel()
	body := func(attributes string) string {
		return `{"data":{"type":"payment-invoices","id":"cpi_1","attributes":{"reference_id":"atlas-17","status":"process_pending","amount":64.9,"currency":"EUR"` + attributes + `}}}`
	}
	const form = `,"flow_data":{"action":"https://gate.example/pay","method":"POST","params":{"PaReq":"x"},"metadata":{"sid":"cgi_1","token":"card.token"}}`
	posted := &checkout.Redirect{Method: "POST", URL: "https://gate.example/pay", Params: map[string]string{"PaReq": "x"}}
	get := func(url string) *checkout.Redirect { return &checkout.Redirect{Method: "GET", URL: url} }
	for _, row := range []struct {
		name, attributes string
		live             bool
		hosts            []string
		want             *checkout.Redirect
		code             string
	}{
		{name: "hpp_url first", attributes: `,"hpp_url":"https://pay.example/x?cpi=1"` + form, want: get("https://pay.example/x?cpi=1")},
		{name: "the form", attributes: form, want: posted},
		{name: "the form when hpp_url is null", attributes: `,"hpp_url":null` + form, want: posted},
		{name: "a form's default method", attributes: `,"flow_data":{"action":"https://gate.example/pay","params":[]}`, want: get("https://gate.example/pay")},
		{name: "details to pay by, on the hosted page", attributes: `,"flow_data":{"params":{"iban":"x"},"metadata":[]}`, want: get("https://pay.gate.example/hpp/?cpi=cpi_1")},
		{name: "neither", attributes: ``, code: "no_redirect"},
		{name: "PHP empties", attributes: `,"hpp_url":"","flow_data":[]`, code: "no_redirect"},
		{name: "javascript", attributes: `,"hpp_url":"javascript:alert(1)"`, code: "redirect_refused"},
		{name: "data", attributes: `,"hpp_url":"data:text/html,x"`, code: "redirect_refused"},
		{name: "relative", attributes: `,"hpp_url":"/hpp/?cpi=1"`, code: "redirect_refused"},
		{name: "scheme-relative", attributes: `,"hpp_url":"//evil.example/"`, code: "redirect_refused"},
		{name: "user in the address", attributes: `,"hpp_url":"https://pay.example@evil.example/"`, code: "redirect_refused"},
		{name: "backslash", attributes: `,"hpp_url":"https://pay.example\\@evil.example/"`, code: "redirect_refused"},
		{name: "line break", attributes: `,"hpp_url":"https://pay.example/\n"`, code: "redirect_refused"},
		{name: "no host", attributes: `,"hpp_url":"https:///x"`, code: "redirect_refused"},
		{name: "another method", attributes: `,"flow_data":{"action":"https://gate.example","method":"PUT"}`, code: "redirect_refused"},
		{name: "a bad hpp_url, a good form", attributes: `,"hpp_url":"javascript:x"` + form, want: posted},
		{name: "http, test keys", attributes: `,"hpp_url":"http://pay.example/"`, code: "redirect_refused"},
		{name: "http on loopback, test keys", attributes: `,"hpp_url":"http://127.0.0.1:9/x"`, want: get("http://127.0.0.1:9/x")},
		{name: "http on localhost, test keys", attributes: `,"hpp_url":"http://localhost:9/x"`, want: get("http://localhost:9/x")},
		{name: "http on IPv6 loopback, test keys", attributes: `,"hpp_url":"http://[::1]:9/x"`, want: get("http://[::1]:9/x")},
		{name: "http on a host that only looks local", attributes: `,"hpp_url":"http://localhost.evil.example/"`, code: "redirect_refused"},
		{name: "http on loopback, live keys", live: true, attributes: `,"hpp_url":"http://127.0.0.1:9/x"`, code: "redirect_refused"},
		{name: "https, live keys", live: true, attributes: `,"hpp_url":"https://pay.example/x"`, want: get("https://pay.example/x")},
		{name: "an allowed host", hosts: []string{"Pay.Example"}, attributes: `,"hpp_url":"https://PAY.example:8443/x"`, want: get("https://PAY.example:8443/x")},
		{name: "a host that is not allowed", hosts: []string{"pay.example"}, attributes: `,"hpp_url":"https://evil-pay.example/x"`, code: "redirect_refused"},
		{name: "a host below an allowed one", hosts: []string{"pay.example"}, attributes: `,"hpp_url":"https://a.pay.example/x"`, code: "redirect_refused"},
		{name: "paid at once", attributes: `,"status":"processed"`},
		{name: "failed at once", attributes: `,"status":"process_failed"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			config := good()
			if !row.live {
				config.PublicKey, config.SigningKeys = publicKey, []wzrd.Secret{signingKey}
			}
			config.RedirectHosts = row.hosts
			config.Transport = transport(func(*http.Request) (*http.Response, error) { return respond(201, body(row.attributes)), nil })
			got, err := newClient(t, config).CreateInvoice(t.Context(), atlas)
			if got.ID != "cpi_1" || !reflect.DeepEqual(got.Redirect, row.want) {
				t.Errorf("CreateInvoice = %q %+v, %v, want cpi_1 %+v", got.ID, got.Redirect, err, row.want)
			}
			if row.code == "" {
				if err != nil {
					t.Errorf("CreateInvoice = %v, want no error", err)
				}
				return
			}
			if up := upstream(t, err); up.Code != row.code || up.Directive != checkout.LookUp || !errors.Is(err, checkout.ErrUpstream) {
				t.Errorf("CreateInvoice = %v, want %s", err, row.code)
			}
		})
	}
}

// Nothing of flow_data.metadata is in what leaves the package.
func TestCreateInvoice_NoToken(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(_ int, r request) reply {
		if strings.HasPrefix(r.Path, "/shop/") {
			return reply{status: 201, body: sample(t, "public_create.json")}
		}
		return reply{status: 201, body: strings.Replace(sample(t, "private_create.json"), `"hpp_url"`, `"x"`, 1)}
	})
	c := p.client()
	for _, create := range []func(context.Context, checkout.InvoiceRequest) (checkout.Invoice, error){c.CreateInvoice, c.CreateInvoicePublic} {
		v, err := create(t.Context(), atlas)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(v)
		if shown := fmt.Sprintf("%+v %+v %s", v, v.Redirect, text); strings.Contains(shown, "opaque.card.token") || strings.Contains(shown, "sid") {
			t.Errorf("the invoice shows the gateway's token: %s", shown)
		}
	}
}

// Answers that no documentation foresees become typed errors; a create is never repeated.
func TestMisbehaviour(t *testing.T) {
	t.Parallel()
	huge := func(w http.ResponseWriter) {
		w.WriteHeader(201)
		chunk := bytes.Repeat([]byte(" "), 1<<16)
		for range 100 << 20 >> 16 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	announced := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", strconv.Itoa(100<<20))
		w.WriteHeader(201)
	}
	cut := func(w http.ResponseWriter) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(connection, "HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n{\"data\":{")
		_ = connection.Close()
	}
	drop := func(w http.ResponseWriter) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_ = connection.Close()
	}
	garbage := func(w http.ResponseWriter) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(connection, "sk_test_secret? 12345\r\n\r\n")
		_ = connection.Close()
	}
	for _, row := range []struct {
		name   string
		answer reply
		code   string
		kind   error
	}{
		{"HTML", reply{status: 201, body: "<!doctype html><p>Hello"}, "not_json", checkout.ErrUpstream},
		{"nothing", reply{status: 201}, "not_json", checkout.ErrUpstream},
		{"cut JSON", reply{status: 201, body: sample(t, "private_create.json")[:300]}, "not_json", checkout.ErrUpstream},
		{"two documents", reply{status: 201, body: "{}{}"}, "not_json", checkout.ErrUpstream},
		{"null", reply{status: 201, body: "null"}, "unusable_answer", checkout.ErrUpstream},
		{"an empty object", reply{status: 201, body: "{}"}, "unusable_answer", checkout.ErrUpstream},
		{"wrong types", reply{status: 201, body: `{"data":{"type":"payment-invoices","id":[],"attributes":"x"}}`}, "unusable_answer", checkout.ErrUpstream},
		{"an error under a good status", reply{status: 200, body: sample(t, "error_500.json")}, "unusable_answer", checkout.ErrUpstream},
		{"accepted", reply{status: 202, body: "{}"}, "unusable_answer", checkout.ErrUpstream},
		{"no content", reply{status: 204}, "not_json", checkout.ErrUpstream},
		{"another object", reply{status: 201, body: sample(t, "service.json")}, "unusable_answer", checkout.ErrUpstream},
		{"another reference", reply{status: 201, body: strings.Replace(sample(t, "private_create.json"), "atlas-17", "atlas-18", 1)}, "reference_differs", checkout.ErrUpstream},
		{"deep nesting", reply{status: 201, body: strings.Repeat("[", 1<<20)}, "not_json", checkout.ErrUpstream},
		{"100 MB", reply{hijack: huge}, "answer_too_large", checkout.ErrUpstream},
		{"100 MB announced", reply{hijack: announced}, "answer_too_large", checkout.ErrUpstream},
		{"cut connection", reply{hijack: cut}, "answer_cut", checkout.ErrUnavailable},
		{"dropped connection", reply{hijack: drop}, "no_answer", checkout.ErrUnavailable},
		{"no HTTP", reply{hijack: garbage}, "no_answer", checkout.ErrUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newPSP(t, func(int, request) reply { return row.answer })
			v, err := p.client().CreateInvoice(t.Context(), atlas)
			up := upstream(t, err)
			if up.Code != row.code || !errors.Is(err, row.kind) || up.Directive != checkout.LookUp || v.ID != "" {
				t.Errorf("CreateInvoice = %+v, %v %v, want %s and to look it up", v, err, up.Directive, row.code)
			}
			if strings.Contains(err.Error(), "sk_test") {
				t.Errorf("error %q quotes the answer", err)
			}
			if n := len(p.requests()); n != 1 {
				t.Errorf("the create was sent %d times, want once", n)
			}
		})
	}
}

// A redirect, to wherever, gets neither the credentials nor a second request.
func TestRedirectsRefused(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := newPSP(t, func(int, request) reply {
			return reply{status: status, header: map[string]string{"Location": elsewhere.URL + "/steal"}}
		})
		c := p.client()
		_, err := c.CreateInvoice(t.Context(), atlas)
		if up := upstream(t, err); up.Code != "redirected" || up.Directive != checkout.LookUp {
			t.Errorf("create answered %d = %v, want redirected", status, err)
		}
		_, err = c.Invoice(t.Context(), "cpi_1")
		if up := upstream(t, err); up.Code != "redirected" {
			t.Errorf("read answered %d = %v, want redirected", status, err)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the other host was called %d times, want never", n)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	c := newClient(t, good(), func(c *wzrd.Config) { c.PrivateAPI = "https://" + address })
	_, err = c.CreateInvoice(t.Context(), atlas)
	if up := upstream(t, err); up.Code != "unreachable" || up.Directive != checkout.Later || !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("create without a server = %v %v, want unreachable and later: nothing was sent", err, up.Directive)
	}
}

func TestFieldsOf422(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(int, request) reply {
		return reply{status: 422, body: `{"errors":{"service_fields":{"phone":"This value is not valid."},"amount":"This value should be greater than 0."}}`}
	})
	_, err := p.client().CreateInvoice(t.Context(), atlas)
	want := []checkout.FieldError{
		{Field: "amount", Code: "refused", Message: "This value should be greater than 0."},
		{Field: "phone", Code: "refused", Message: "This value is not valid."},
	}
	if up := upstream(t, err); !slices.Equal(up.Fields, want) || !errors.Is(err, checkout.ErrInvalid) {
		t.Errorf("CreateInvoice = %v, want the fields %v", up.Fields, want)
	}
}

// A vendor that echoes credentials does not get them into our errors or logs.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(_ int, r request) reply {
		if strings.Contains(r.Path, "prerequest") {
			return reply{status: 400, body: `{"errors":[{"detail":"` + apiKey + ` ` + signingKey + `"}]}`}
		}
		return reply{status: 422, body: `{"errors":{"login":"` + accountID + ` / ` + apiKey + `"},"error":"` + apiKey + `"}`}
	})
	var log bytes.Buffer
	c := p.client(func(c *wzrd.Config) { c.Logger = logger(&log) })
	_, err := c.CreateInvoice(t.Context(), atlas)
	up := upstream(t, err)
	_, err = c.PreRequest(t.Context(), "EUR")
	shown := fmt.Sprintf("%+v %v %s", up, err, log.String())
	for _, secret := range []string{apiKey, signingKey, accountID} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown: %s", secret, shown)
		}
	}
	if !strings.Contains(log.String(), "pre-request failed") {
		t.Errorf("log = %s, want the failure in it", log.String())
	}
}

// A read gets over what passes by; each try is seen by the observer.
func TestRetry(t *testing.T) {
	t.Parallel()
	heard := newTally()
	p := newPSP(t, func(n int, _ request) reply {
		switch n {
		case 1: // on a new connection: net/http itself repeats a GET on a reused one
			return reply{hijack: func(http.ResponseWriter) { panic(http.ErrAbortHandler) }}
		case 2:
			return reply{status: 503}
		}
		return ok(sample(t, "private_get.json"))
	})
	c := p.client(func(c *wzrd.Config) { c.Observer = heard })
	if _, err := c.Invoice(t.Context(), "cpi_Mm1Nn2Oo3Pp4Qq5R"); err != nil {
		t.Errorf("Invoice = %v, want the third answer", err)
	}
	want := map[string]int{"GET /payment-invoices/{id} 503": 1, "GET /payment-invoices/{id} no_answer": 1, "GET /payment-invoices/{id} ok": 1}
	if !maps.Equal(heard.calls, want) {
		t.Errorf("calls = %v, want %v", heard.calls, want)
	}
}

// The waits are real ones on a synthetic clock.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, header string
		tries        int
		atLeast      time.Duration
		retryAfter   int64
	}{
		{"short: waited for", "2", 3, 4 * time.Second, 2},
		{"long: handed on", "30", 1, 0, 30},
		{"a date", "Sat, 01 Jan 2000 00:00:20 GMT", 1, 0, 20},
		{"a day at most", "99999999999", 1, 0, 86400},
		{"nonsense", "soon", 3, 0, 0},
		{"negative", "-5", 3, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				c := newClient(t, good(), func(c *wzrd.Config) {
					c.Transport = transport(func(*http.Request) (*http.Response, error) {
						calls++
						r := respond(503, "{}")
						r.Header.Set("Retry-After", row.header)
						return r, nil
					})
				})
				start := time.Now()
				_, err := c.Invoice(t.Context(), "cpi_1")
				if up := upstream(t, err); up.RetryAfter != row.retryAfter || calls != row.tries || time.Since(start) < row.atLeast {
					t.Errorf("Invoice = %v after %d tries in %v, RetryAfter %d; want %d tries, %v, %d", err, calls, time.Since(start), up.RetryAfter, row.tries, row.atLeast, row.retryAfter)
				}
			})
		})
	}
}

// After a 429 nothing is sent to that API until its Retry-After has passed; the end of
// the wait is waited out.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := newClient(t, good(), func(c *wzrd.Config) {
			c.Transport = transport(func(*http.Request) (*http.Response, error) {
				calls++
				if calls > 1 {
					return respond(201, strings.Replace(sample(t, "private_create.json"), "test", "live", 1)), nil
				}
				r := respond(429, "{}")
				r.Header.Set("Retry-After", "7")
				return r, nil
			})
		})
		_, err := c.CreateInvoice(t.Context(), atlas)
		if up := upstream(t, err); up.Directive != checkout.Later || up.RetryAfter != 7 {
			t.Errorf("CreateInvoice = %v, %+v", err, up)
		}
		start := time.Now()
		time.Sleep(4 * time.Second)
		_, err = c.CreateInvoice(t.Context(), atlas)
		if up := upstream(t, err); up.Directive != checkout.Later || up.Code != "rate_limited" || up.RetryAfter != 3 || calls != 1 {
			t.Errorf("CreateInvoice 3s too early = %v after %d calls, want rate_limited without a call", err, calls)
		}
		time.Sleep(2 * time.Second)
		if _, err = c.CreateInvoice(t.Context(), atlas); err != nil || calls != 2 || time.Since(start) != 7*time.Second {
			t.Errorf("CreateInvoice a second too early = %v after %d calls and %v, want it sent after 7s", err, calls, time.Since(start))
		}
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, good(), func(c *wzrd.Config) {
			c.Transport = transport(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
		})
		start := time.Now()
		_, err := c.CreateInvoice(t.Context(), atlas)
		if up := upstream(t, err); up.Code != "timeout" || up.Directive != checkout.LookUp || !errors.Is(err, checkout.ErrTimeout) || time.Since(start) != 15*time.Second {
			t.Errorf("CreateInvoice = %v after %v, want a timeout after 15s", err, time.Since(start))
		}
		// A question that hangs is not asked again and again.
		start = time.Now()
		if _, err = c.Invoice(t.Context(), "cpi_1"); !errors.Is(err, checkout.ErrTimeout) || time.Since(start) > 16*time.Second {
			t.Errorf("Invoice = %v after %v, want a timeout", err, time.Since(start))
		}
		// The caller's own deadline is shorter, or it goes away: what happened is unknown.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.CreateInvoice(ctx, atlas)
		if up := upstream(t, err); up.Code != "timeout" || up.Directive != checkout.LookUp {
			t.Errorf("CreateInvoice with a second = %v %v", err, up.Directive)
		}
		// Before anything is sent it is known.
		_, err = c.CreateInvoice(ctx, atlas)
		if up := upstream(t, err); up.Directive != checkout.Later || !errors.Is(err, checkout.ErrTimeout) {
			t.Errorf("CreateInvoice after the caller's end = %v %v, want later", err, up.Directive)
		}
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		_, err = c.CreateInvoice(gone, atlas)
		if up := upstream(t, err); up.Code != "canceled" || up.Directive != checkout.LookUp {
			t.Errorf("CreateInvoice of a caller who leaves = %v %v", err, up.Directive)
		}
	})
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		heard := newTally()
		status, calls := 500, map[string]int{}
		c := newClient(t, good(), func(c *wzrd.Config) {
			c.Observer = heard
			c.Transport = transport(func(r *http.Request) (*http.Response, error) {
				calls[r.URL.Host]++
				if status == 201 {
					return respond(201, sample(t, "private_create.json")), nil
				}
				return respond(status, "{}"), nil
			})
		})
		create := func() *checkout.UpstreamError {
			_, err := c.CreateInvoice(t.Context(), atlas)
			if err == nil {
				return nil
			}
			return upstream(t, err)
		}
		// Answers below 500 mean that WZRDPAY is there.
		for _, status = range []int{400, 401, 404, 409, 422} {
			for range wzrd.BreakAfter {
				if up := create(); up.Status != status {
					t.Fatalf("create = %v, want %d", up, status)
				}
			}
		}
		status = 500
		for range wzrd.BreakAfter {
			if up := create(); up.Status != 500 {
				t.Fatalf("create = %v, want 500", up)
			}
		}
		sent := calls["private.gate.example"]
		if up := create(); up.Code != "breaker_open" || up.Directive != checkout.Later || up.RetryAfter < 1 || !errors.Is(up, checkout.ErrUnavailable) || calls["private.gate.example"] != sent {
			t.Errorf("create behind an open breaker = %v, %d more calls", up, calls["private.gate.example"]-sent)
		}
		// The other API has its own.
		if _, err := c.CreateInvoicePublic(t.Context(), atlas); upstream(t, err).Status != 500 {
			t.Errorf("the public API = %v, want its own 500", err)
		}
		if wzrd.BreakFor > 5*time.Second {
			t.Errorf("the breaker stays open for %v, want at most 5s", wzrd.BreakFor)
		}
		time.Sleep(wzrd.BreakFor + time.Millisecond)
		status = 201
		if up := create(); up != nil {
			t.Errorf("create after the pause = %v, want the invoice", up)
		}
		for range 5 {
			if up := create(); up != nil {
				t.Errorf("create = %v, want the invoice", up)
			}
		}
		if got, want := heard.heard(), []string{"private open", "private half-open", "private closed"}; !slices.Equal(got, want) {
			t.Errorf("breaker = %v, want %v", got, want)
		}
	})
}

// More calls at once than the limit allows wait a little, then are told to come later.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent, refused atomic.Int64
		c := newClient(t, good(), func(c *wzrd.Config) {
			c.RatePerSecond, c.Burst = 10, 5
			c.Transport = transport(func(*http.Request) (*http.Response, error) {
				sent.Add(1)
				return respond(201, sample(t, "private_create.json")), nil
			})
		})
		start := time.Now()
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				_, err := c.CreateInvoice(t.Context(), atlas)
				var up *checkout.UpstreamError
				if errors.As(err, &up) && up.Code == "rate_limited" && up.Directive == checkout.Later && up.RetryAfter > 0 {
					refused.Add(1)
				} else if err != nil {
					t.Errorf("CreateInvoice = %v", err)
				}
			})
		}
		group.Wait()
		// 5 at once, 10 per second for the 2 s that a call waits at most.
		if n := sent.Load(); n != 25 || refused.Load() != 75 || time.Since(start) > 2*time.Second {
			t.Errorf("%d sent, %d refused in %v, want 25 and 75 in 2s", n, refused.Load(), time.Since(start))
		}
	})
}

// One connection serves a row of calls, errors among them.
func TestConnectionsReused(t *testing.T) {
	t.Parallel()
	var fresh atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "cpi_none") {
			w.WriteHeader(404)
			_, _ = io.WriteString(w, sample(t, "error_404.json"))
			return
		}
		_, _ = io.WriteString(w, sample(t, "private_get.json"))
	})
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			fresh.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	p := &psp{t: t, server: server}
	c := p.client()
	for range 20 {
		if _, err := c.Invoice(t.Context(), "cpi_Mm1Nn2Oo3Pp4Qq5R"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Invoice(t.Context(), "cpi_none"); !errors.Is(err, checkout.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if n := fresh.Load(); n != 1 {
		t.Errorf("40 calls opened %d connections, want 1", n)
	}
}
