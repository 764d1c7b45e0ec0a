package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// shop is a sandbox, a client that follows no redirects, and the merchant's
// receiver of callbacks.
type shop struct {
	t      *testing.T
	sb     *sandbox.Server
	url    string
	creds  sandbox.Credentials
	client *http.Client
	hook   *hook
}

// hook receives callbacks and answers 200, or the codes in answers first.
type hook struct {
	mu      sync.Mutex
	got     []received
	answers []int
	url     string
}

type received struct {
	header http.Header
	body   []byte
	genuin bool
}

func (r received) attributes() map[string]any {
	var doc struct {
		Data struct{ Attributes map[string]any }
	}
	_ = json.Unmarshal(r.body, &doc)
	return doc.Data.Attributes
}

func (h *hook) all() []received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// statuses lists the status of each genuine callback, in order of arrival.
func (h *hook) statuses() []string {
	var out []string
	for _, r := range h.all() {
		if r.genuin {
			out = append(out, strings.ToLower(fmt.Sprint(r.attributes()["status"])))
		}
	}
	return out
}

func open(t *testing.T, change func(*sandbox.Config)) *shop {
	t.Helper()
	s := &shop{t: t, creds: sandbox.DemoCredentials(), hook: &hook{}}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.hook.mu.Lock()
		defer s.hook.mu.Unlock()
		genuin := r.Header.Get("X-Signature") == sandbox.Sign(s.creds.SigningKeys[0], body)
		s.hook.got = append(s.hook.got, received{r.Header.Clone(), body, genuin})
		if !genuin {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if len(s.hook.answers) > 0 {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(s.hook.answers[0])
			s.hook.answers = s.hook.answers[1:]
		}
	}))
	t.Cleanup(receiver.Close)
	s.hook.url = receiver.URL + "/cb"
	cfg := sandbox.Config{CallbackRetry: time.Millisecond, CallbackURL: s.hook.url}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.sb, err = sandbox.New(cfg); err != nil {
		t.Fatalf("New() = %v", err)
	}
	if err := s.sb.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.sb.Stop(ctx); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	})
	s.url = s.sb.URL()
	s.creds = s.sb.Credentials()
	s.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{}}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

type response struct {
	code   int
	header http.Header
	body   []byte
	tree   any
	err    error // of transport
}

// at walks a path of keys ("data.attributes.status", numbers index lists).
func (r response) at(path string) any {
	v := r.tree
	for key := range strings.SplitSeq(path, "/") {
		switch t := v.(type) {
		case map[string]any:
			v = t[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

func (s *shop) do(method, path, contentType, body string, auth bool) response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatalf("NewRequest(%s) = %v", path, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if auth {
		req.SetBasicAuth(s.creds.AccountID, s.creds.APIKey)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return response{err: err}
	}
	defer res.Body.Close()
	out := response{code: res.StatusCode, header: res.Header}
	if out.body, err = io.ReadAll(res.Body); err != nil {
		out.err = err
	}
	dec := json.NewDecoder(bytes.NewReader(out.body))
	dec.UseNumber()
	_ = dec.Decode(&out.tree) // pages and broken answers have no tree
	return out
}

const jsonType, formType = "application/json", "application/x-www-form-urlencoded"

func (s *shop) get(path string) response { return s.do(http.MethodGet, path, "", "", true) }

type fields map[string]any

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func with(base fields, over fields) fields {
	out := fields{}
	for k, v := range base {
		out[k] = v
	}
	for k, v := range over {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}

func card(ref string) fields {
	return fields{"reference_id": ref, "amount": json.Number("123.45"), "currency": "USD", "service": "payment_card_usd_hpp", "test_mode": true}
}

func private(attrs fields) string {
	return encode(fields{"data": fields{"type": "payment-invoices", "attributes": attrs}})
}

// create makes an invoice by the private API and returns its ID.
func (s *shop) create(attrs fields) string {
	s.t.Helper()
	r := s.do(http.MethodPost, "/api/payment-invoices", jsonType, private(attrs), true)
	id, _ := r.at("data/id").(string)
	if r.code != http.StatusCreated || id == "" {
		s.t.Fatalf("create(%v) = %d %s, want 201", attrs, r.code, r.body)
	}
	return id
}

func (s *shop) settle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.sb.Settle(ctx); err != nil {
		s.t.Fatalf("Settle() = %v", err)
	}
}

func (s *shop) status(id string) string {
	s.t.Helper()
	inv, ok := s.sb.Invoice(id)
	if !ok {
		s.t.Fatalf("Invoice(%s) = false, want true", id)
	}
	return inv.Status + " " + inv.Resolution
}

func (s *shop) faults(f sandbox.Faults) {
	s.t.Helper()
	if err := s.sb.SetFaults(f); err != nil {
		s.t.Fatalf("SetFaults(%+v) = %v", f, err)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	key := s.creds.PublicKeys[0]
	id := s.create(card("route-1"))
	services := s.get("/api/payment-services")
	service, _ := services.at("data/0/id").(string)
	public := func(ref string) string {
		return encode(fields{"public_key": key, "reference_id": ref, "service": "payment_card_usd_hpp", "currency": "USD", "amount": 5})
	}
	prerequest := encode(fields{"public_key": key, "currency": "USD"})
	n := 0
	ref := func() string { n++; return fmt.Sprintf("route-new-%d", n) }
	tests := []struct {
		name, method, path, contentType, body string
		auth                                  bool
		want                                  int
	}{
		{"prerequest public", "POST", "/public-api/payment-prerequest", jsonType, prerequest, false, 200},
		{"prerequest api public", "POST", "/api/public-api/payment-prerequest", jsonType, prerequest, false, 200},
		{"prerequest bare", "POST", "/payment-prerequest", jsonType, prerequest, false, 200},
		{"prerequest form", "POST", "/public-api/payment-prerequest", formType, "currency=USD&public_key=" + key, false, 200},
		{"prerequest slash", "POST", "/public-api/payment-prerequest/", jsonType, prerequest, false, 200},
		{"prerequest GET", "GET", "/public-api/payment-prerequest", "", "", false, 405},
		{"prerequest bad key", "POST", "/public-api/payment-prerequest", jsonType, `{"public_key":"pk_test_x","currency":"USD"}`, false, 401},
		{"prerequest no currency", "POST", "/public-api/payment-prerequest", jsonType, `{"public_key":"` + key + `"}`, false, 422},
		{"prerequest odd currency", "POST", "/public-api/payment-prerequest", jsonType, `{"public_key":"` + key + `","currency":"ZZZ"}`, false, 422},
		{"prerequest not JSON", "POST", "/public-api/payment-prerequest", jsonType, `{"public_key":`, false, 400},
		{"prerequest two documents", "POST", "/public-api/payment-prerequest", jsonType, prerequest + "{}", false, 400},
		{"prerequest list", "POST", "/public-api/payment-prerequest", jsonType, `[]`, false, 400},
		{"prerequest text", "POST", "/public-api/payment-prerequest", "text/plain", prerequest, false, 400},
		{"public create", "POST", "/public-api/payment-invoices", jsonType, public(ref()), false, 201},
		{"public create api", "POST", "/api/public-api/payment-invoices", jsonType, public(ref()), false, 201},
		{"public create form", "POST", "/public-api/payment-invoices", formType, "public_key=" + key + "&service=payment_card_usd_hpp&currency=USD&amount=5.50", false, 201},
		{"public create no key", "POST", "/public-api/payment-invoices", jsonType, `{"amount":5}`, true, 401},
		{"public get", "GET", "/public-api/payment-invoices/" + id, "", "", false, 200},
		{"public get unknown", "GET", "/public-api/payment-invoices/cpi_none", "", "", false, 404},
		{"public list", "GET", "/public-api/payment-invoices", "", "", true, 405},
		{"public services", "GET", "/public-api/payment-services", "", "", true, 404},
		{"process", "POST", "/public-api/payment-invoices/process", formType, "public_key=" + key + "&service=paypal_usd_hpp&currency=USD&amount=100&customer[reference_id]=7&customer[address][full_address]=Street+1", false, 302},
		{"process bad", "POST", "/public-api/payment-invoices/process", formType, "public_key=" + key + "&service=paypal_usd_hpp&currency=USD&amount=0", false, 422},
		{"process GET", "GET", "/public-api/payment-invoices/process", "", "", false, 405},
		{"services", "GET", "/api/payment-services", "", "", true, 200},
		{"services bare", "GET", "/payment-services", "", "", true, 200},
		{"services no auth", "GET", "/api/payment-services", "", "", false, 401},
		{"services bad page", "GET", "/api/payment-services?page[number]=x", "", "", true, 422},
		{"service", "GET", "/api/payment-services/" + service, "", "", true, 200},
		{"service unknown", "GET", "/api/payment-services/comcps_x", "", "", true, 404},
		{"service POST", "POST", "/api/payment-services/" + service, jsonType, "{}", true, 405},
		{"private create", "POST", "/api/payment-invoices", jsonType, private(card(ref())), true, 201},
		{"private create bare", "POST", "/payment-invoices", jsonType, private(card(ref())), true, 201},
		{"private create singular", "POST", "/payment-invoices", jsonType, strings.Replace(private(card(ref())), "payment-invoices", "payment-invoice", 1), true, 201},
		{"private create vendor type", "POST", "/payment-invoices", "application/vnd.api+json", private(card(ref())), true, 201},
		{"private create form", "POST", "/api/payment-invoices", formType, "data[type]=payment-invoices&data[attributes][amount]=5&data[attributes][currency]=USD&data[attributes][service]=payment_card_usd_hpp&data[attributes][test_mode]=1", true, 201},
		{"private create no auth", "POST", "/api/payment-invoices", jsonType, private(card(ref())), false, 401},
		{"private create flat", "POST", "/api/payment-invoices", jsonType, encode(card(ref())), true, 422},
		{"private create other type", "POST", "/api/payment-invoices", jsonType, strings.Replace(private(card(ref())), "payment-invoices", "payouts", 1), true, 422},
		{"private create no JSON", "POST", "/api/payment-invoices", jsonType, "<xml/>", true, 400},
		{"private get", "GET", "/api/payment-invoices/" + id, "", "", true, 200},
		{"private get bare", "GET", "/payment-invoices/" + id, "", "", true, 200},
		{"private get no auth", "GET", "/api/payment-invoices/" + id, "", "", false, 401},
		{"private get unknown", "GET", "/api/payment-invoices/cpi_none", "", "", true, 404},
		{"private DELETE", "DELETE", "/api/payment-invoices/" + id, "", "", true, 405},
		{"find", "GET", "/api/payment-invoices?filter[reference_id]=route-1", "", "", true, 200},
		{"find escaped", "GET", "/api/payment-invoices?filter%5Breference_id%5D=route-1", "", "", true, 200},
		{"list", "GET", "/api/payment-invoices", "", "", true, 200},
		{"list no auth", "GET", "/api/payment-invoices", "", "", false, 401},
		{"list bad cursor", "GET", "/api/payment-invoices?page[before]=cpi_none", "", "", true, 422},
		{"refund unpaid", "POST", "/api/payment-invoices/" + id + "/refund", jsonType, `{"data":{"type":"refund","attributes":{"amount":1,"reference_id":"r"}}}`, true, 422},
		{"refund unknown", "POST", "/api/payment-invoices/cpi_none/refund", jsonType, `{"data":{"type":"refund","attributes":{"amount":1,"reference_id":"r"}}}`, true, 404},
		{"refund GET", "GET", "/api/payment-invoices/" + id + "/refund", "", "", true, 405},
		{"unknown", "GET", "/api/payouts", "", "", true, 404},
		{"huge body", "POST", "/api/payment-invoices", jsonType, private(fields{"description": strings.Repeat("x", 2<<20)}), true, 400},
		{"options", "OPTIONS", "/public-api/payment-prerequest", "", "", false, 204},
		{"logo", "GET", "/static/payment_methods/payment_card/logo.svg", "", "", false, 200},
		{"icon", "GET", "/static/payment_methods/payment_card/icon.svg", "", "", false, 200},
		{"logo of nothing", "GET", "/static/payment_methods/nothing/logo.svg", "", "", false, 404},
		{"account icon", "GET", "/static/images/default.svg", "", "", false, 200},
		{"style", "GET", "/static/sandbox.css", "", "", false, 200},
		{"index", "GET", "/", "", "", false, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := s.do(tt.method, tt.path, tt.contentType, tt.body, tt.auth)
			if r.err != nil || r.code != tt.want {
				t.Fatalf("%s %s = %d %.300s %v, want %d", tt.method, tt.path, r.code, r.body, r.err, tt.want)
			}
			if tt.want >= 400 && tt.want != 422 && !strings.HasPrefix(tt.path, "/static") {
				if got := r.at("errors/0/code"); got != fmt.Sprint(tt.want) {
					t.Errorf("%s %s errors[0].code = %v, want %q", tt.method, tt.path, got, fmt.Sprint(tt.want))
				}
			}
			if tt.want == 405 && r.header.Get("Allow") == "" {
				t.Errorf("%s %s has no Allow header", tt.method, tt.path)
			}
		})
	}
}

func TestCreate_Violations(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	now := time.Now()
	at := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339) }
	tests := []struct {
		name  string
		over  fields
		field string
		says  string
	}{
		{"zero", fields{"amount": 0}, "amount", "This value should be greater than 0."},
		{"negative", fields{"amount": -1}, "amount", "This value should be greater than 0."},
		{"text", fields{"amount": "5"}, "amount", "type numeric"},
		{"no amount", fields{"amount": nil}, "amount", "blank"},
		{"digits", fields{"amount": json.Number("1.005")}, "amount", "2 decimal"},
		{"endless exponent", fields{"amount": json.Number("1e999999999")}, "amount", "not valid"},
		{"above the limit", fields{"amount": 1000001}, "amount", "less than or equal to 1000000."},
		{"below the limit", fields{"amount": json.Number("4.99"), "service": "paysafecard_usd_hpp"}, "amount", "greater than or equal to 5."},
		{"no service", fields{"service": nil}, "service", "blank"},
		{"other service", fields{"service": "payment_card_eur_hpp"}, "service", "not a valid choice"},
		{"no currency", fields{"currency": nil}, "currency", "blank"},
		{"odd currency", fields{"currency": "usd"}, "currency", "not a valid currency"},
		{"live", fields{"test_mode": false}, "test_mode", "sandbox"},
		{"live by default", fields{"test_mode": nil}, "test_mode", "sandbox"},
		{"mode as text", fields{"test_mode": "yes"}, "test_mode", "type bool"},
		{"flow", fields{"flow": "steal"}, "flow", "not a valid choice"},
		{"field missing", fields{"service": "bank_transfer_usd_hpp"}, "service_fields.account_number", "blank"},
		{"field empty", fields{"service": "bank_transfer_usd_hpp", "service_fields": fields{"account_number": ""}}, "service_fields.account_number", "blank"},
		{"field wrong, bare pattern", fields{"service": "bank_transfer_usd_hpp", "service_fields": fields{"account_number": "ua12"}}, "service_fields.account_number", "not valid"},
		{"field wrong, PHP pattern", fields{"currency": "EUR", "service": "sepa_transfer_eur_hpp", "service_fields": fields{"payer_name": "Олена", "iban_number": "DE8"}}, "service_fields.iban_number", "not valid"},
		{"field long", fields{"service": "bank_transfer_usd_hpp", "service_fields": fields{"account_number": strings.Repeat("1", 2000)}}, "service_fields.account_number", "too long"},
		{"fields a list", fields{"service": "bank_transfer_usd_hpp", "service_fields": []string{"x"}}, "service_fields", "array"},
		{"customer without reference", fields{"customer": fields{"name": "A B"}}, "customer.reference_id", "blank"},
		{"customer email", fields{"customer": fields{"reference_id": "1", "email": "nobody"}}, "customer.email", "email"},
		{"customer birth", fields{"customer": fields{"reference_id": "1", "date_of_birth": "1999-02-30"}}, "customer.date_of_birth", "date"},
		{"customer country", fields{"customer": fields{"reference_id": "1", "address": fields{"country": "Ukraine"}}}, "customer.address.country", "country"},
		{"return urls without pending", fields{"return_urls": fields{"success": "https://a.example/"}}, "return_urls.pending", "blank"},
		{"return url scheme", fields{"return_url": "javascript:alert(1)"}, "return_url", "URL"},
		{"callback url", fields{"callback_url": "/relative"}, "callback_url", "URL"},
		{"expires soon", fields{"expires": at(13 * time.Minute)}, "expires", "14 minutes"},
		{"expires late", fields{"expires": at(49 * time.Hour)}, "expires", "2 days"},
		{"expires odd", fields{"expires": "tomorrow"}, "expires", "datetime"},
		{"metadata", fields{"metadata": "x"}, "metadata", "array"},
		{"reference long", fields{"reference_id": strings.Repeat("x", 256)}, "reference_id", "too long"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := s.do("POST", "/api/payment-invoices", jsonType, private(with(card(fmt.Sprintf("bad-%d", i)), tt.over)), true)
			got, _ := r.at("errors/" + tt.field).(string)
			if r.code != 422 || !strings.Contains(got, tt.says) {
				t.Errorf("create(%v) = %d %s, want 422 with %s: …%s…", tt.over, r.code, r.body, tt.field, tt.says)
			}
		})
	}
	if n := len(s.sb.Invoices()); n != 0 {
		t.Errorf("after only refused creates there are %d invoices, want 0", n)
	}
	good := with(card("bounds"), fields{"expires": at(14*time.Minute + time.Second), "metadata": []string{}, "service_fields": []string{}})
	s.create(good)
	s.create(with(card("bounds-2"), fields{"expires": at(48*time.Hour - time.Minute)}))
}

func TestCreate_Duplicate(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := s.create(card("same"))
	for _, bare := range []bool{false, true} {
		if bare {
			s.faults(sandbox.Faults{ConflictBare: 1})
		}
		r := s.do("POST", "/api/payment-invoices", jsonType, private(card("same")), true)
		if r.code != 409 || r.at("data/id") != id || (r.at("errors/0/code") == "409") == bare {
			t.Errorf("second create, bare %v = %d %s, want 409 with invoice %s", bare, r.code, r.body, id)
		}
	}
	// The public API shares the references.
	r := s.do("POST", "/public-api/payment-invoices", jsonType, encode(with(card("same"), fields{"public_key": s.creds.PublicKeys[0]})), false)
	if r.code != 409 || r.at("data/id") != id {
		t.Errorf("public create of the same reference = %d %s, want 409 with %s", r.code, r.body, id)
	}
	var wg sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		wg.Go(func() {
			codes[i] = s.do("POST", "/api/payment-invoices", jsonType, private(card("race")), true).code
		})
	}
	wg.Wait()
	slices.Sort(codes)
	if !slices.Equal(codes, []int{201, 409, 409, 409, 409, 409, 409, 409}) {
		t.Errorf("8 creates at once = %v, want one 201 and seven 409", codes)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	var want []string
	for i := range 45 {
		want = append(want, s.create(card(fmt.Sprintf("list-%d", i))))
	}
	slices.Reverse(want)
	for _, f := range []sandbox.Faults{{}, {CursorNames: 1, Seed: 3}} {
		s.faults(f)
		var got []string
		var last response
		for next := "/api/payment-invoices"; next != ""; {
			last = s.get(next)
			rows, _ := last.at("data").([]any)
			for _, row := range rows {
				got = append(got, row.(map[string]any)["id"].(string))
			}
			var ok bool
			if next, ok = last.at("links/next").(string); !ok || next != "" && !strings.HasPrefix(next, "/api/payment-invoices?") {
				t.Fatalf("links.next = %v, want text that starts with /api/payment-invoices?", last.at("links/next"))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of invoices = %v, want %v", got, want)
		}
		prev := s.get(last.at("links/prev").(string))
		if got := prev.at("data/19/id"); got != want[39] {
			t.Errorf("last row of the page before the last = %v, want %s", got, want[39])
		}
	}
	found := s.get("/api/payment-invoices?filter[reference_id]=list-7")
	if list, _ := found.at("data").([]any); len(list) != 1 || found.at("data/0/attributes/reference_id") != "list-7" {
		t.Errorf("find list-7 = %s, want a list of it", found.body)
	}
	if none := s.get("/api/payment-invoices?filter[reference_id]=nothing"); !bytes.Contains(none.body, []byte(`"data":[]`)) {
		t.Errorf("find nothing = %s, want an empty list", none.body)
	}
	s.faults(sandbox.Faults{SingleObject: 1})
	if one := s.get("/api/payment-invoices?filter[reference_id]=list-7"); one.at("data/attributes/reference_id") != "list-7" {
		t.Errorf("find with single_object = %s, want one object", one.body)
	}
	s.faults(sandbox.NoFaults())
	seen := map[any]bool{}
	pages := 0
	for next := any("/api/payment-services?page[size]=10"); next != nil; pages++ {
		r := s.get(next.(string))
		for _, row := range r.at("data").([]any) {
			seen[row.(map[string]any)["id"]] = true
		}
		if total := r.at("meta/total"); total == nil || pages > 20 {
			t.Fatalf("services = %s", r.body)
		}
		next = r.at("links/next")
		if next == nil && fmt.Sprint(len(seen)) != fmt.Sprint(r.at("meta/total")) {
			t.Errorf("services on all pages = %d, want meta.total = %v", len(seen), r.at("meta/total"))
		}
	}
	s.faults(sandbox.Faults{LoopingPages: 1})
	if r := s.get("/api/payment-services?page[number]=1&page[size]=10"); r.at("links/next") != "/api/payment-services?page[number]=1&page[size]=10" {
		t.Errorf("looping services page links.next = %v, want itself", r.at("links/next"))
	}
	if r := s.get("/api/payment-invoices?page[size]=10"); r.at("links/next") != "/api/payment-invoices?page[size]=10" {
		t.Errorf("looping invoices page links.next = %v, want itself", r.at("links/next"))
	}
}

func TestPrerequest_Catalogue(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	for _, currency := range []string{"EUR", "USD", "UAH", "XTS", "GBP"} {
		r := s.do("POST", "/public-api/payment-prerequest", jsonType, encode(fields{"public_key": s.creds.PublicKeys[0], "currency": currency}), false)
		services, _ := r.at("data/services").(map[string]any)
		methods, _ := r.at("data/methods").(map[string]any)
		visible, foreign := 0, 0
		for code, sv := range services {
			m, ok := methods[sv.(map[string]any)["method"].(string)].(map[string]any)
			if !ok {
				t.Errorf("%s: service %s has no method", currency, code)
				continue
			}
			if m["hide"] == nil {
				visible++
			}
			if sv.(map[string]any)["currency"] != currency {
				foreign++
			}
			for _, pic := range []string{"logo", "icon"} {
				path := strings.TrimPrefix(m[pic].(string), s.url)
				if p := s.do("GET", path, "", "", false); p.code != 200 || p.header.Get("Content-Type") != "image/svg+xml" {
					t.Errorf("%s of %s = %d, want 200", pic, code, p.code)
				}
			}
			for _, lang := range []string{"en", "uk", "ru"} {
				if name, _ := m["name"].(map[string]any); name[lang] == nil {
					t.Errorf("method of %s has no %s name", code, lang)
				}
			}
		}
		if r.at("data/test_mode") != true {
			t.Errorf("%s: test_mode = %v, want true", currency, r.at("data/test_mode"))
		}
		switch currency {
		case "EUR", "USD", "UAH":
			if visible < 9 || visible == len(services) || foreign == 0 {
				t.Errorf("%s: %d services, %d visible, %d in another currency", currency, len(services), visible, foreign)
			}
		case "GBP":
			if r.code != 200 || len(services) != 0 {
				t.Errorf("GBP = %d with %d services, want 200 with none", r.code, len(services))
			}
		}
	}
}

// TestCatalogue_OpenFinTech serves the shared catalogue where it is at hand.
func TestCatalogue_OpenFinTech(t *testing.T) {
	t.Parallel()
	path := "../../../shared/data/openfintech.json"
	if dir := os.Getenv("WZRDCHECKOUT_SHARED"); dir != "" {
		path = dir + "/data/openfintech.json"
	}
	if _, err := os.Stat(path); err != nil {
		// Without it the loader is still held by a document of the same shape.
		path = t.TempDir() + "/catalogue.json"
		doc := `{"currencies":{"JPY":{"exponent":0}},"methods":{"konbini":{"code":"konbini","category":"cash_payment","name":{"en":"Konbini"},"description":{"en":"Pay in a shop"}}},
			"services":{"JPY":{"konbini_jpy_hpp":{"code":"konbini_jpy_hpp","method":"konbini","flow":"hpp","currency":"JPY","amount_min":1e-08,"amount_max":100000}}}}`
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Services map[string]map[string]struct {
			Min json.Number `json:"amount_min"`
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	s := open(t, func(c *sandbox.Config) { c.Catalogue = path })
	for currency, want := range doc.Services {
		r := s.do("POST", "/public-api/payment-prerequest", jsonType, encode(fields{"public_key": s.creds.PublicKeys[0], "currency": currency}), false)
		got, _ := r.at("data/services").(map[string]any)
		if len(got) != len(want) {
			t.Errorf("%s has %d services, want %d", currency, len(got), len(want))
		}
		for code, sv := range want {
			if min := r.at("data/services/" + code + "/amount_min"); min != sv.Min {
				t.Errorf("%s amount_min = %v, want %v", code, min, sv.Min)
			}
		}
	}
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	live := sandbox.DemoCredentials()
	live.PublicKeys = []string{"pk_live_" + strings.Repeat("x", 43)}
	live.SigningKeys = append(live.SigningKeys, "sk_live_"+strings.Repeat("x", 43))
	liveSigning := sandbox.DemoCredentials()
	liveSigning.SigningKeys = append(liveSigning.SigningKeys, "sk_live_x")
	partial := sandbox.DemoCredentials()
	partial.APIKey = ""
	mismatch := sandbox.DemoCredentials()
	mismatch.SigningKeys = []string{"sk_live_x"}
	tests := []struct {
		name string
		cfg  sandbox.Config
		want string
	}{
		{"live keys", sandbox.Config{Credentials: live}, "PublicKeys"},
		{"live signing key", sandbox.Config{Credentials: liveSigning}, "SigningKeys"},
		{"no API key", sandbox.Config{Credentials: partial}, "APIKey"},
		{"keys of two modes", sandbox.Config{Credentials: mismatch, AllowLive: true}, "SigningKeys"},
		{"public URL", sandbox.Config{PublicURL: "ftp://x"}, "PublicURL"},
		{"probability", sandbox.Config{Faults: sandbox.Faults{Slow: 1.5}}, "slow"},
		{"catalogue", sandbox.Config{Catalogue: "/nonexistent.json"}, "Catalogue"},
		{"negative", sandbox.Config{CallbackRetry: -1}, "CallbackRetry"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := sandbox.New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New() = %v, want an error that names %s", err, tt.want)
			}
		})
	}
	s, err := sandbox.New(sandbox.Config{Credentials: live, AllowLive: true})
	if err != nil {
		t.Fatalf("New(AllowLive) = %v, want nil", err)
	}
	defer s.Stop(t.Context())
	rec := httptest.NewRecorder()
	body := encode(fields{"public_key": live.PublicKeys[0], "currency": "USD"})
	req := httptest.NewRequest("POST", "http://box.example/public-api/payment-prerequest", strings.NewReader(body))
	s.Handler().ServeHTTP(rec, req)
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `"test_mode":false`) || !strings.Contains(rec.Body.String(), `http:\/\/box.example\/static\/`) {
		t.Errorf("live prerequest behind Handler = %d %.200s, want test_mode false and links to the request's host", rec.Code, rec.Body)
	}
}

func TestPublicURL_Prefix(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *sandbox.Config) { c.PublicURL = "https://pay.example/some/where/" })
	s.url = "http://" + s.sb.Addr() + "/some/where"
	r := s.do("POST", "/api/payment-invoices", jsonType, private(with(card("prefix"), fields{"return_url": "https://shop.example/"})), true)
	want := "https://pay.example/some/where/redirect/hpp/?cpi=" + fmt.Sprint(r.at("data/id"))
	if r.at("data/attributes/hpp_url") != want {
		t.Errorf("hpp_url = %v, want %s", r.at("data/attributes/hpp_url"), want)
	}
	page := s.do("GET", "/redirect/hpp/?cpi="+fmt.Sprint(r.at("data/id")), "", "", false)
	if page.code != 200 || !bytes.Contains(page.body, []byte(`action="/some/where/redirect/hpp/"`)) {
		t.Errorf("page under a prefix = %d %.400s, want its form under the prefix", page.code, page.body)
	}
}

func TestVerifyRefundChargeback(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := s.create(card("refund"))
	if _, err := s.sb.Pay(id); err != nil {
		t.Fatalf("Pay() = %v", err)
	}
	refund := func(attrs fields) response {
		return s.do("POST", "/api/payment-invoices/"+id+"/refund", jsonType, encode(fields{"data": fields{"type": "refund", "attributes": attrs}}), true)
	}
	steps := []struct {
		name   string
		attrs  fields
		code   int
		status string
	}{
		{"no reference", fields{"amount": 1}, 422, "processed ok"},
		{"too much", fields{"amount": 124, "reference_id": "a"}, 422, "processed ok"},
		{"other invoice", fields{"amount": 1, "reference_id": "a", "invoiceId": "cpi_x"}, 422, "processed ok"},
		{"part", fields{"amount": json.Number("23.45"), "reference_id": "a", "invoiceId": id}, 201, "partially_refunded ok"},
		{"same reference", fields{"amount": 1, "reference_id": "a"}, 409, "partially_refunded ok"},
		{"more than left", fields{"amount": json.Number("100.01"), "reference_id": "b"}, 422, "partially_refunded ok"},
		{"rest", fields{"amount": 100, "reference_id": "b"}, 201, "refunded ok"},
		{"again", fields{"amount": 1, "reference_id": "c"}, 422, "refunded ok"},
	}
	for _, st := range steps {
		r := refund(st.attrs)
		if r.code != st.code || s.status(id) != st.status {
			t.Errorf("%s: refund(%v) = %d %s, invoice %s; want %d, %s", st.name, st.attrs, r.code, r.body, s.status(id), st.code, st.status)
		}
		if st.code == 201 && (r.at("data/type") != "refunds" || !strings.HasPrefix(fmt.Sprint(r.at("data/id")), "ref_")) {
			t.Errorf("%s: refund answered %s, want type refunds and an ID ref_…", st.name, r.body)
		}
	}
	if inv, _ := s.sb.Invoice(id); inv.RefundedAmount != "123.45" {
		t.Errorf("refunded amount = %s, want 123.45", inv.RefundedAmount)
	}

	acts := []struct {
		name  string
		attrs fields
		do    []sandbox.Action
		want  string
		last  bool // the last action is allowed
	}{
		{"verify", fields{"flow": "verify"}, []sandbox.Action{{Name: "verify"}}, "verified ok", true},
		{"verify fails", fields{"flow": "verify"}, []sandbox.Action{{Name: "fail", Resolution: "declined"}}, "verify_failed declined", true},
		{"verify a charge", nil, []sandbox.Action{{Name: "verify"}}, "process_pending ok", false},
		{"partial", nil, []sandbox.Action{{Name: "partial", Amount: "100"}}, "partially_processed ok", true},
		{"partial of all", nil, []sandbox.Action{{Name: "partial", Amount: "123.45"}}, "process_pending ok", false},
		{"charge back", nil, []sandbox.Action{{Name: "pay"}, {Name: "charge_back"}}, "charged_back ok", true},
		{"charge back in part", nil, []sandbox.Action{{Name: "pay"}, {Name: "charge_back", Amount: "5"}}, "partially_charged_back ok", true},
		{"charge back unpaid", nil, []sandbox.Action{{Name: "charge_back"}}, "process_pending ok", false},
		{"late success after expiry", nil, []sandbox.Action{{Name: "expire"}, {Name: "pay"}}, "processed ok", true},
		{"late success after failure", nil, []sandbox.Action{{Name: "fail", Resolution: "issuer_decline"}, {Name: "pay"}}, "processed ok", true},
		{"pay twice", nil, []sandbox.Action{{Name: "pay"}, {Name: "pay"}}, "processed ok", false},
		{"fail after paid", nil, []sandbox.Action{{Name: "pay"}, {Name: "fail"}}, "processed ok", false},
		{"any status", nil, []sandbox.Action{{Name: "status", Status: "terminated", Resolution: "fatal_decline"}}, "terminated fatal_decline", true},
		{"unknown action", nil, []sandbox.Action{{Name: "steal"}}, "process_pending ok", false},
	}
	for _, tt := range acts {
		t.Run(tt.name, func(t *testing.T) {
			id := s.create(with(card("act "+tt.name), tt.attrs))
			var err error
			for _, a := range tt.do {
				_, err = s.sb.Act(id, a)
			}
			if (err == nil) != tt.last || s.status(id) != tt.want {
				t.Errorf("Act(%v) = %v, invoice %s; want allowed %v, %s", tt.do, err, s.status(id), tt.last, tt.want)
			}
		})
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *sandbox.Config) { c.ControlListen = "127.0.0.1:0" })
	id := s.create(with(card("control"), fields{"metadata": fields{"k": "v"}}))
	if r := s.do("GET", "/_sandbox/", "", "", false); r.code != 404 {
		t.Errorf("control on the public port = %d, want 404 when it has its own", r.code)
	}
	s.url = "http://" + s.sb.ControlAddr()
	tests := []struct {
		name, method, path, body string
		code                     int
		at                       string
		want                     any
	}{
		{"about", "GET", "/_sandbox/", "", 200, "invoices", json.Number("1")},
		{"history", "GET", "/_sandbox/history?op=create", "", 200, "0/status", json.Number("201")},
		{"invoices", "GET", "/_sandbox/invoices", "", 200, "0/id", id},
		{"invoice by reference", "GET", "/_sandbox/invoices/control", "", 200, "metadata/k", "v"},
		{"invoice unknown", "GET", "/_sandbox/invoices/x", "", 404, "error", "sandbox: no such invoice"},
		{"partial", "POST", "/_sandbox/invoices/" + id + "/partial", `{"amount":1.5}`, 200, "processed_amount", "1.5"},
		{"pay", "POST", "/_sandbox/invoices/" + id + "/pay", "", 200, "status", "processed"},
		{"pay again", "POST", "/_sandbox/invoices/" + id + "/pay", "", 409, "", nil},
		{"steal", "POST", "/_sandbox/invoices/" + id + "/steal", "", 400, "", nil},
		{"refund", "POST", "/_sandbox/invoices/" + id + "/refund", `{"amount":"3.45"}`, 200, "refunded_amount", "3.45"},
		{"faults preset", "PUT", "/_sandbox/faults?preset=misbehaving&seed=7", `{"slow":0}`, 200, "seed", json.Number("7")},
		{"faults", "GET", "/_sandbox/faults", "", 200, "slow", json.Number("0")},
		{"faults unknown", "PUT", "/_sandbox/faults", `{"slowly":1}`, 400, "", nil},
		{"faults none", "PUT", "/_sandbox/faults?preset=none", "", 200, "lost_answer", json.Number("0")},
		{"next", "POST", "/_sandbox/faults/next", `{"op":"get","fault":"html"}`, 200, "times", json.Number("1")},
		{"next unknown", "POST", "/_sandbox/faults/next", `{"op":"get","fault":"fire"}`, 400, "", nil},
		{"hold", "POST", "/_sandbox/callbacks/hold", "", 200, "ok", true},
		{"resend", "POST", "/_sandbox/callbacks/resend", `{"invoice":"control"}`, 200, "queued", json.Number("1")},
		{"release", "POST", "/_sandbox/callbacks/release", "", 200, "ok", true},
		{"callbacks", "GET", "/_sandbox/callbacks", "", 200, "0/invoice", id},
		{"reset", "POST", "/_sandbox/reset", "", 200, "ok", true},
		{"nothing left", "GET", "/_sandbox/", "", 200, "invoices", json.Number("0")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			if tt.name == "callbacks" {
				s.settle()
			}
			r := s.do(tt.method, tt.path, jsonType, tt.body, false)
			if r.code != tt.code || tt.at != "" && r.at(tt.at) != tt.want {
				t.Errorf("%s %s = %d %.400s, want %d with %s = %v", tt.method, tt.path, r.code, r.body, tt.code, tt.at, tt.want)
			}
		})
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", s.url+"/_sandbox/reset", nil)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 403 {
		t.Errorf("control from another site = %d, want 403", res.StatusCode)
	}
}

func TestHistory_NoSecrets(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := s.create(card("secret"))
	form := url.Values{"cpi": {id}, "action": {"card"}, "number": {"5519283812030000"}, "expiry": {"10/31"}, "cvv": {"987"}, "holder": {"A READER"}}
	s.do("POST", "/redirect/hpp/", formType, form.Encode(), false)
	if s.status(id) != "processed ok" {
		t.Fatalf("invoice after the card form = %s, want processed ok", s.status(id))
	}
	all := encode(s.sb.Requests())
	for _, secret := range []string{s.creds.APIKey, "Authorization", "Basic ", "5519283812030000", "cvv=987", "READER"} {
		if strings.Contains(all, secret) {
			t.Errorf("history contains %q", secret)
		}
	}
	if !strings.Contains(all, "secret") || s.sb.Counts()["create"] != 1 || s.sb.Counts()["page"] != 1 {
		t.Errorf("history = %s, counts %v; want one create and one page", all, s.sb.Counts())
	}
}
