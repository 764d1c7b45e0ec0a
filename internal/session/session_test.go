package session_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/session"
)

func TestCreate_Replays(t *testing.T) {
	t.Parallel()
	first := `{"reference_id":"o1","amount":10.5,"currency":"EUR","metadata":{"a":1,"b":[1.50,{"c":"d"}]},"customer":{"reference_id":"c","address":{"country":"de"}}}`
	tests := []struct {
		name, body string
		same       bool
	}{
		{"same", first, true},
		{"order of keys, digits, defaults", `{"expires_in":3600,"flow":"charge","customer":{"address":{"country":"DE"},"reference_id":"c"},"currency":"EUR","metadata":{"b":[1.5,{"c":"d"}],"a":1.0},"amount":10.50,"description":null,"reference_id":"o1","options":{}}`, true},
		{"amount", strings.Replace(first, "10.5", "10.51", 1), false},
		{"metadata", strings.Replace(first, `"d"`, `"e"`, 1), false},
		{"number and text differ", strings.Replace(first, `"a":1`, `"a":"1"`, 1), false},
		{"added", strings.Replace(first, `"currency"`, `"locale":"uk","currency"`, 1), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			s := w.service(t)
			parse := func(body string) session.NewSession {
				n, err := session.ParseNew([]byte(body))
				if err != nil {
					t.Fatalf("ParseNew(%s) = %v", body, err)
				}
				return n
			}
			v := create(t, s, parse(first))
			got, err := s.Create(t.Context(), parse(test.body))
			if test.same {
				if err != nil || !got.Replayed || got.Session.ID != v.ID {
					t.Errorf("Create(%s) = %v, %v, want the session again", test.body, got, err)
				}
				if c, err := s.Authenticate(got.Token); err != nil || c.SessionID != v.ID || c.Scope != session.ScopePay {
					t.Errorf("Authenticate() = %+v, %v", c, err)
				}
				return
			}
			var c *session.Conflict
			if !errors.As(err, &c) || c.Session.ID != v.ID || c.Problem.Code != "reference_taken" {
				t.Errorf("Create(%s) = %v, want a conflict with %s", test.body, err, v.ID)
			}
		})
	}
}

func TestCreate_Concurrent(t *testing.T) {
	t.Parallel()
	w := newWorld()
	services := []*session.Service{w.service(t), w.service(t)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]int{}
	for i := range 20 {
		wg.Go(func() {
			c, err := services[i%2].Create(t.Context(), order("order"))
			if err != nil {
				t.Errorf("Create() = %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[c.Session.ID]++
		})
	}
	wg.Wait()
	if len(ids) != 1 || len(w.store.keys("session.")) != 1 {
		t.Errorf("sessions = %v, want one", ids)
	}
}

func TestCreate_Rules(t *testing.T) {
	t.Parallel()
	base := map[string]any{"reference_id": "o1", "amount": 10, "currency": "EUR"}
	long := strings.Repeat("x", 256)
	tests := []struct {
		name   string
		change map[string]any
		live   bool
		field  string // "" = accepted
	}{
		{"plain", nil, false, ""},
		{"reference", map[string]any{"reference_id": "a b"}, false, "reference_id"},
		{"reference 65", map[string]any{"reference_id": strings.Repeat("a", 65)}, false, "reference_id"},
		{"reference absent", map[string]any{"reference_id": nil}, false, "reference_id"},
		{"amount 0", map[string]any{"amount": 0}, false, "amount"},
		{"amount negative", map[string]any{"amount": -1}, false, "amount"},
		{"amount text", map[string]any{"amount": "10"}, false, "amount"},
		{"amount digits", map[string]any{"amount": json.Number("1.001")}, false, "amount"},
		{"amount whole with a zero", map[string]any{"amount": json.Number("100.0"), "currency": "JPY"}, false, ""},
		{"amount yen", map[string]any{"amount": json.Number("100.5"), "currency": "JPY"}, false, "amount"},
		{"amount unknown currency", map[string]any{"amount": json.Number("0.00000001"), "currency": "ZZZCOIN"}, false, ""},
		{"amount too fine", map[string]any{"amount": json.Number("0.000000001"), "currency": "ZZZCOIN"}, false, "amount"},
		{"amount endless", map[string]any{"amount": json.Number("1e999")}, false, "amount"},
		{"currency lower", map[string]any{"currency": "eur"}, false, "currency"},
		{"currency number", map[string]any{"currency": 978}, false, "currency"},
		{"description 255", map[string]any{"description": strings.Repeat("ї", 255)}, false, ""},
		{"description 256", map[string]any{"description": long}, false, "description"},
		{"service", map[string]any{"service": "a/b"}, false, "service"},
		{"services empty", map[string]any{"services": []string{}}, false, "services"},
		{"services text", map[string]any{"services": "card"}, false, "services"},
		{"services null in it", map[string]any{"services": []any{"a", nil}}, false, "services"},
		{"services twice", map[string]any{"services": []string{"a", "a"}}, false, "services.1"},
		{"service outside services", map[string]any{"service": "b", "services": []string{"a"}}, false, "service"},
		{"customer text", map[string]any{"customer": "me"}, false, "customer"},
		{"customer without reference", map[string]any{"customer": map[string]any{"name": "A"}}, false, "customer.reference_id"},
		{"customer unknown member", map[string]any{"customer": map[string]any{"reference_id": "c", "age": 3}}, false, "customer.age"},
		{"customer email", map[string]any{"customer": map[string]any{"reference_id": "c", "email": "a@"}}, false, "customer.email"},
		{"customer phone", map[string]any{"customer": map[string]any{"reference_id": "c", "phone": "call me"}}, false, "customer.phone"},
		{"customer born", map[string]any{"customer": map[string]any{"reference_id": "c", "date_of_birth": "2001-02-30"}}, false, "customer.date_of_birth"},
		{"customer born ok", map[string]any{"customer": map[string]any{"reference_id": "c", "date_of_birth": "1984-02-29"}}, false, ""},
		{"customer country", map[string]any{"customer": map[string]any{"reference_id": "c", "address": map[string]any{"country": "DEU"}}}, false, "customer.address.country"},
		{"customer metadata", map[string]any{"customer": map[string]any{"reference_id": "c", "metadata": 1}}, false, "customer.metadata"},
		{"metadata list", map[string]any{"metadata": []int{1}}, false, "metadata"},
		{"metadata large", map[string]any{"metadata": map[string]any{"a": strings.Repeat("x", 9000)}}, false, "metadata"},
		{"return url", map[string]any{"return_url": "/back"}, false, "return_url"},
		{"return url script", map[string]any{"return_url": "javascript:alert(1)"}, false, "return_url"},
		{"return url user", map[string]any{"return_url": "https://a:b@shop.example/"}, false, "return_url"},
		{"return url http test", map[string]any{"return_url": "http://localhost:8080/back"}, false, ""},
		{"return url http live", map[string]any{"return_url": "http://shop.example/back"}, true, "return_url"},
		{"return urls without pending", map[string]any{"return_urls": map[string]any{"success": "https://a.example/"}}, false, "return_urls.pending"},
		{"return urls bad fail", map[string]any{"return_urls": map[string]any{"pending": "https://a.example/", "fail": "x"}}, false, "return_urls.fail"},
		{"expires low", map[string]any{"expires_in": 839}, false, "expires_in"},
		{"expires high", map[string]any{"expires_in": 172801}, false, "expires_in"},
		{"expires zero", map[string]any{"expires_in": 0}, false, "expires_in"},
		{"expires fraction", map[string]any{"expires_in": json.Number("900.5")}, false, "expires_in"},
		{"expires ok", map[string]any{"expires_in": 840}, false, ""},
		{"flow", map[string]any{"flow": "authorize"}, false, "flow"},
		{"flow verify", map[string]any{"flow": "verify"}, false, ""},
		{"locale", map[string]any{"locale": "zh-Hant-TW"}, false, ""},
		{"locale bad", map[string]any{"locale": "u"}, false, "locale"},
		{"locale underscore", map[string]any{"locale": "uk_UA"}, false, "locale"},
		{"origin", map[string]any{"origin": "https://shop.example"}, false, ""},
		{"origin other", map[string]any{"origin": "https://shop.example.evil"}, false, "origin"},
		{"unknown member", map[string]any{"amounts": 3}, false, "amounts"},
		{"gateway options", map[string]any{"gateway_options": "x"}, false, "gateway_options"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			s := w.service(t, func(c *session.Config) { c.TestMode = !test.live })
			body := map[string]any{}
			for k, v := range base {
				body[k] = v
			}
			for k, v := range test.change {
				body[k] = v
			}
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			n, err := session.ParseNew(text)
			if err == nil {
				_, err = s.Create(t.Context(), n)
			}
			if test.field == "" {
				if err != nil {
					t.Errorf("%s = %v, want accepted", text, err)
				}
				return
			}
			var e *checkout.Error
			if !errors.As(err, &e) || e.Code != "invalid" || len(e.Fields) != 1 || e.Fields[0].Field != test.field || e.Fields[0].Message == "" {
				t.Errorf("%s = %v, want one error of %s", text, err, test.field)
			}
			if len(w.store.keys("")) != 0 {
				t.Errorf("%s was stored", text)
			}
		})
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const ok = `"reference_id":"o","amount":1,"currency":"EUR"`
	tests := []struct {
		name  string
		parse func([]byte) error
		body  string
		code  string
		field string
	}{
		{"empty", parseNew, ``, "malformed_json", ""},
		{"half", parseNew, `{"reference_id":`, "malformed_json", ""},
		{"two values", parseNew, `{} {}`, "malformed_json", ""},
		{"not UTF-8", parseNew, "{\"reference_id\":\"\xff\"}", "malformed_json", ""},
		{"list", parseNew, `[]`, "invalid", "body"},
		{"text", parseNew, `"x"`, "invalid", "body"},
		{"twice", parseNew, `{` + ok + `,"currency":"USD"}`, "invalid", "currency"},
		{"twice escaped", parseNew, `{` + ok + `,"curr\u0065ncy":"USD"}`, "invalid", "currency"},
		{"twice deep", parseNew, `{` + ok + `,"metadata":{"a":{"b":1,"b":2}}}`, "invalid", "metadata.a.b"},
		{"case matters", parseNew, `{` + ok + `,"Amount":1}`, "invalid", "Amount"},
		{"null is absent", parseNew, `{` + ok + `,"description":null,"customer":null}`, "", ""},
		{"required null", parseNew, `{"reference_id":"o","amount":null,"currency":"EUR"}`, "invalid", "amount"},
		{"form without service", parseForm, `{` + ok + `}`, "invalid", "service"},
		{"form", parseForm, `{` + ok + `,"service":"s"}`, "", ""},
		{"patch unknown", parsePatch, `{"currency":"EUR"}`, "invalid", "currency"},
		{"patch", parsePatch, `{"amount":5,"description":"","locale":"uk"}`, "", ""},
		{"pay", parsePay, `{"service":"s","fields":{"a":"b"}}`, "", ""},
		{"pay without service", parsePay, `{"fields":{}}`, "invalid", "service"},
		{"pay field number", parsePay, `{"service":"s","fields":{"a":1}}`, "invalid", "fields.a"},
		{"pay field twice", parsePay, `{"service":"s","fields":{"a":"1","a":"2"}}`, "invalid", "fields.a"},
		{"pay fields list", parsePay, `{"service":"s","fields":[]}`, "invalid", "fields"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.parse([]byte(test.body))
			if code(err) != test.code {
				t.Fatalf("parse(%s) = %v, want %q", test.body, err, test.code)
			}
			var e *checkout.Error
			if errors.As(err, &e) {
				if !errors.Is(err, checkout.ErrInvalid) {
					t.Errorf("parse(%s) = %v, want ErrInvalid", test.body, err)
				}
				if test.field != "" && (len(e.Fields) != 1 || e.Fields[0].Field != test.field) {
					t.Errorf("parse(%s) = %v, want %s", test.body, err, test.field)
				}
			}
		})
	}
}

func parseNew(b []byte) error   { _, err := session.ParseNew(b); return err }
func parseForm(b []byte) error  { _, err := session.ParseForm(b); return err }
func parsePatch(b []byte) error { _, err := session.ParsePatch(b); return err }
func parsePay(b []byte) error   { _, err := session.ParsePay(b); return err }

// FuzzParseNew: whatever comes, no panic; what is accepted is stored, comes back, and
// is replayed by the same bytes.
func FuzzParseNew(f *testing.F) {
	f.Add([]byte(`{"reference_id":"o1","amount":10.5,"currency":"EUR"}`))
	f.Add([]byte(`{"reference_id":"o1","amount":1e2,"currency":"JPY","metadata":{"a":[{"b":-1.0}]},"customer":{"reference_id":"c","metadata":{}}}`))
	f.Add([]byte(`{"reference_id":"o1","amount":1,"currency":"EUR","return_urls":{"pending":"https://a.example/"},"services":["a"],"locale":"uk"}`))
	f.Add([]byte(`{"amount":`))
	f.Add([]byte(`{"metadata":{"a":1,"a":2}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := session.ParseNew(body)
		if err != nil {
			if !errors.Is(err, checkout.ErrInvalid) {
				t.Errorf("ParseNew(%q) = %v, want ErrInvalid", body, err)
			}
			return
		}
		w := newWorld()
		s := w.service(t)
		first, err := s.Create(t.Context(), n)
		if err != nil {
			if !errors.Is(err, checkout.ErrInvalid) {
				t.Errorf("Create(%q) = %v, want ErrInvalid", body, err)
			}
			return
		}
		n, _ = session.ParseNew(body)
		again, err := s.Create(t.Context(), n)
		if err != nil || !again.Replayed || again.Session.ID != first.Session.ID {
			t.Errorf("Create(%q) twice = %v, want it replayed", body, err)
		}
		if got := get(t, s, first.Session.ID); got.Amount != n.Amount || got.Description != n.Description {
			t.Errorf("Get() = %+v, want what was created by %q", got, body)
		}
	})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		next := session.Key{ID: "k2", Secret: []byte("fedcba9876543210fedcba9876543210")}
		rotated := w.service(t, func(c *session.Config) { c.Keys = []session.Key{next, testKey} })
		without := w.service(t, func(c *session.Config) { c.Keys = []session.Key{next} })
		v := create(t, s, order("order"))
		token, err := s.PayToken(v)
		if err != nil {
			t.Fatal(err)
		}
		want := session.Claims{SessionID: v.ID, Scope: session.ScopePay, ExpiresAt: v.ExpiresAt + 3600}
		for name, verifier := range map[string]*session.Service{"own": s, "rotated": rotated} {
			for range 2 { // the second time from memory
				if got, err := verifier.Authenticate(token); err != nil || got != want {
					t.Errorf("Authenticate(%s) = %+v, %v, want %+v", name, got, err, want)
				}
			}
		}
		newer, err := rotated.PayToken(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(newer); code(err) != "token_invalid" {
			t.Errorf("Authenticate(key not known here) = %v", err)
		}
		parts := strings.Split(token, ".")
		part := func(header, claims string) string {
			enc := base64.RawURLEncoding
			return enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(claims)) + "." + parts[2]
		}
		last := "A"
		if strings.HasSuffix(token, "A") {
			last = "Q"
		}
		for name, bad := range map[string]string{
			"empty": "", "text": "x", "dots": "..", "cut": token[:len(token)-4], "changed": token[:len(token)-1] + last,
			"no kid":      part(`{"alg":"HS256","typ":"JWT"}`, `{}`),
			"none":        part(`{"alg":"none","kid":"k1"}`, `{"sub":"`+v.ID+`"}`),
			"other claim": parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"wzrdcheckout","aud":"checkout","sub":"`+v.ID+`","exp":9999999999,"scope":"pay"}`)) + "." + parts[2],
			"huge":        strings.Repeat("a", 5000),
		} {
			if got, err := s.Authenticate(bad); !errors.Is(err, checkout.ErrUnauthorized) || code(err) != "token_invalid" {
				t.Errorf("Authenticate(%s) = %+v, %v, want token_invalid", name, got, err)
			}
		}
		if _, err := without.Authenticate(token); code(err) != "token_invalid" {
			t.Errorf("Authenticate(retired key) = %v, want token_invalid", err)
		}
		if _, err := s.Issue(v.ID, "admin", v.ExpiresAt); !errors.Is(err, checkout.ErrInvalid) {
			t.Errorf("Issue(scope admin) = %v, want ErrInvalid", err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := s.Authenticate(token); code(err) != "token_expired" || !errors.Is(err, checkout.ErrUnauthorized) {
			t.Errorf("Authenticate(expired) = %v, want token_expired", err)
		}
		if _, err := rotated.Authenticate(newer); code(err) != "token_expired" {
			t.Errorf("Authenticate(expired, never seen) = %v, want token_expired", err)
		}
	})
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString(testKey.Secret)
	for list, ok := range map[string]bool{
		"a:" + good: true, "a:" + good + ", b:" + strings.TrimRight(good, "="): true,
		"": false, good: false, "a:!!": false, "a:c2hvcnQ=": false, "a:" + good + ",a:" + good: false, ":" + good: false,
	} {
		keys, err := session.ParseKeys(list)
		if (err == nil) != ok {
			t.Errorf("ParseKeys(%q) = %d keys, %v, want ok %v", list, len(keys), err, ok)
		}
		if err != nil && strings.Contains(err.Error(), good) {
			t.Errorf("ParseKeys(%q) says the key: %v", list, err)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s", testKey, testKey, testKey, testKey.Secret); strings.Contains(s, string(testKey.Secret)) {
		t.Errorf("a key prints as %s", s)
	}
}

func TestPatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		amount, text, locale := checkout.MustAmount("20"), "Two", "uk"
		got, err := s.Patch(t.Context(), v.ID, session.Patch{Amount: &amount, Description: &text, Locale: &locale})
		if err != nil || got.Amount != amount || got.Description != text || got.Locale != locale || got.Revision != v.Revision+1 {
			t.Fatalf("Patch() = %+v, %v", got, err)
		}
		if same, err := s.Patch(t.Context(), v.ID, session.Patch{Amount: &amount}); err != nil || same.Revision != got.Revision {
			t.Errorf("Patch(no change) = revision %d, %v, want %d", same.Revision, err, got.Revision)
		}
		if again, err := s.Create(t.Context(), order("order")); err != nil || !again.Replayed || again.Session.Amount != amount {
			t.Errorf("Create(the first body) = %+v, %v, want it replayed as it is now", again, err)
		}
		fine, long, bad := checkout.MustAmount("1.001"), strings.Repeat("x", 256), "?"
		for field, p := range map[string]session.Patch{"amount": {Amount: &fine}, "description": {Description: &long}, "locale": {Locale: &bad}} {
			var e *checkout.Error
			if _, err := s.Patch(t.Context(), v.ID, p); !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Field != field {
				t.Errorf("Patch(%s) = %v, want %s refused", field, err, field)
			}
		}
		if _, err := s.Pay(t.Context(), v.ID, card); err != nil || w.psp.lastRequest().Amount != amount {
			t.Errorf("Pay() = %v with amount %v, want %v", err, w.psp.lastRequest().Amount, amount)
		}
		if _, err := s.Patch(t.Context(), v.ID, session.Patch{Amount: &amount}); code(err) != "invoice_open" {
			t.Errorf("Patch(open invoice) = %v, want invoice_open", err)
		}
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("order", "process_failed")))
		amount = checkout.MustAmount("30")
		if _, err := s.Patch(t.Context(), v.ID, session.Patch{Amount: &amount}); err != nil {
			t.Errorf("Patch(after failure) = %v", err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := s.Patch(t.Context(), v.ID, session.Patch{Amount: &amount}); code(err) != "session_expired" {
			t.Errorf("Patch(ended) = %v, want session_expired", err)
		}
	})
}

func TestExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("open"))
		for range 2 {
			if got, err := s.Expire(t.Context(), v.ID); err != nil || got.Status != checkout.StatusExpired {
				t.Errorf("Expire(open) = %s, %v, want expired", got.Status, err)
			}
		}
		if _, err := s.Pay(t.Context(), v.ID, card); code(err) != "session_expired" {
			t.Errorf("Pay(ended) = %v", err)
		}
		p := paying(t, w, s, "pending")
		if got, err := s.Expire(t.Context(), p.ID); err != nil || got.Status != checkout.StatusPending {
			t.Errorf("Expire(pending) = %s, %v, want pending until the invoice ends", got.Status, err)
		}
		if _, err := s.Pay(t.Context(), p.ID, card); code(err) != "session_expired" {
			t.Errorf("Pay(ended, pending) = %v, want session_expired", err)
		}
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("pending", "processed")))
		if got := get(t, s, p.ID); got.Status != checkout.StatusPaid {
			t.Errorf("status = %s, want paid: it was paid after all", got.Status)
		}
		if _, err := s.Expire(t.Context(), p.ID); code(err) != "already_paid" {
			t.Errorf("Expire(paid) = %v, want already_paid", err)
		}
	})
}

func TestGet_Lapsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		time.Sleep(time.Hour)
		for range 2 {
			if got := get(t, s, v.ID); got.Status != checkout.StatusExpired || got.Revision != v.Revision+1 {
				t.Errorf("Get(after its end) = %s revision %d, want expired %d", got.Status, got.Revision, v.Revision+1)
			}
		}
		if got, want := fmt.Sprint(w.types(t, v.ID)), "[expired]"; got != want {
			t.Errorf("events = %v, want %v", got, want)
		}
	})
}

func TestCheckout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(n *session.NewSession)
		want   string
	}{
		{"all that fit", func(*session.NewSession) {}, "[card_eur_hpp bank_eur_hpp coin_btc_hpp]"},
		{"at the lower limit", func(n *session.NewSession) { n.Amount = checkout.MustAmount("5") }, "[card_eur_hpp bank_eur_hpp coin_btc_hpp]"},
		{"at the upper limit", func(n *session.NewSession) { n.Amount = checkout.MustAmount("500") }, "[card_eur_hpp bank_eur_hpp coin_btc_hpp]"},
		{"below", func(n *session.NewSession) { n.Amount = checkout.MustAmount("4.99") }, "[card_eur_hpp coin_btc_hpp]"},
		{"above", func(n *session.NewSession) { n.Amount = checkout.MustAmount("500.01") }, "[card_eur_hpp coin_btc_hpp]"},
		{"list, in its order", func(n *session.NewSession) { n.Services = []string{"coin_btc_hpp", "gone", "card_eur_hpp"} }, "[coin_btc_hpp card_eur_hpp]"},
		{"fixed", func(n *session.NewSession) { n.Service = "bank_eur_hpp" }, "[bank_eur_hpp]"},
		{"hidden", func(n *session.NewSession) { n.Services = []string{"hidden_eur_hpp"} }, "[]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			s := w.service(t)
			n := order("order")
			n.Metadata = checkout.JSON(`{"secret":1}`)
			test.change(&n)
			v := create(t, s, n)
			for range 2 {
				view, err := s.Checkout(t.Context(), v.ID)
				var codes []string
				for _, v := range view.Services {
					codes = append(codes, v.Code)
					if _, ok := view.Methods[v.Method]; !ok {
						t.Errorf("method %s is not in the view", v.Method)
					}
				}
				if got := fmt.Sprint(codes); err != nil || got != test.want || string(view.Session.Metadata) != "{}" || len(view.Methods) != len(codes) {
					t.Errorf("Checkout() = %s, %v, want %s", got, err, test.want)
				}
			}
		})
	}
}

func TestCheckout_Version(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		seen := map[string]bool{}
		step := func(what string, fresh bool) session.View {
			t.Helper()
			view, err := s.Checkout(t.Context(), v.ID)
			if err != nil || seen[view.Version] == fresh {
				t.Errorf("Checkout(%s) = version %s, %v, want a new one: %v", what, view.Version, err, fresh)
			}
			seen[view.Version] = true
			return view
		}
		step("first", true)
		step("again", false)
		w.psp.pre.Version, w.psp.pre.Services = "v2", w.psp.pre.Services[:1]
		if view := step("other services", true); len(view.Services) != 1 {
			t.Errorf("services = %d, want 1", len(view.Services))
		}
		text := "new"
		if _, err := s.Patch(t.Context(), v.ID, session.Patch{Description: &text}); err != nil {
			t.Fatal(err)
		}
		if view := step("patched", true); view.Session.Description != text {
			t.Errorf("description = %s, want %s", view.Session.Description, text)
		}
		if _, err := s.Pay(t.Context(), v.ID, card); err != nil {
			t.Fatal(err)
		}
		if view := step("pending", true); view.Redirect == nil {
			t.Error("no redirect of the open invoice")
		}
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("order", "expired")))
		step("failed", true)
		w.psp.preErr = checkout.ErrUnavailable
		if _, err := s.Checkout(t.Context(), v.ID); !errors.Is(err, checkout.ErrUnavailable) {
			t.Errorf("Checkout(WZRDPAY down, no copy) = %v, want ErrUnavailable", err)
		}
		time.Sleep(time.Hour)
		if view := step("ended", true); len(view.Services) != 0 || view.Session.Status != checkout.StatusExpired {
			t.Errorf("Checkout(ended) = %s with %d services, want expired with none", view.Session.Status, len(view.Services))
		}
		step("ended again", false)
	})
}

func TestReturns(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.service(t)
	n := order("order")
	n.ReturnURL = "https://shop.example/any"
	n.ReturnURLs = &checkout.ReturnURLs{Success: "https://shop.example/ok", Pending: "https://shop.example/wait"}
	n.Origin = "https://shop.example"
	v := create(t, s, n)
	r, err := s.Returns(t.Context(), v.ID)
	if err != nil || r.Origin != n.Origin {
		t.Fatalf("Returns() = %+v, %v", r, err)
	}
	for outcome, want := range map[string]string{"success": "https://shop.example/ok", "pending": "https://shop.example/wait", "fail": "https://shop.example/any"} {
		if got := r.For(outcome); got != want {
			t.Errorf("For(%s) = %s, want %s", outcome, got, want)
		}
	}
	r.URL = ""
	if got := r.For("fail"); got != "https://shop.example/wait" {
		t.Errorf("For(fail) without return_url = %s, want the pending one", got)
	}
	if got := (session.Return{}).For("success"); got != "" {
		t.Errorf("For(success) of none = %s", got)
	}
}

func TestForm(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.service(t)
	n := order("order")
	n.Service = "card_eur_hpp"
	n.Customer = &session.Customer{ReferenceID: "c"}
	got, err := s.Form(n)
	if err != nil || got.ReferenceID != "order" || got.Service != n.Service || string(got.Customer) != `{"reference_id":"c"}` || !got.TestMode {
		t.Errorf("Form() = %+v, %v", got, err)
	}
	n.Service = ""
	if _, err := s.Form(n); !errors.Is(err, checkout.ErrInvalid) {
		t.Errorf("Form(no service) = %v, want ErrInvalid", err)
	}
	if len(w.store.keys("")) != 0 {
		t.Error("Form stored something")
	}
}

// TestRecord_KeepsWhatItDoesNotKnow: an old replica writes the record of a newer one.
func TestRecord_KeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.service(t)
	v := create(t, s, order("order"))
	key := "session." + v.ID
	e, _ := w.store.Get(t.Context(), key)
	newer := strings.TrimSuffix(string(e.Value), "}") + `,"future":{"a":[1]}}`
	if _, err := w.store.Commit(t.Context(), checkout.Write{Key: key, Value: []byte(newer), Expect: e.Version}); err != nil {
		t.Fatal(err)
	}
	text := "x"
	if _, err := s.Patch(t.Context(), v.ID, session.Patch{Description: &text}); err != nil {
		t.Fatal(err)
	}
	e, _ = w.store.Get(t.Context(), key)
	if !strings.Contains(string(e.Value), `"future":{"a":[1]}`) || !json.Valid(e.Value) {
		t.Errorf("record = %s, lost the future", e.Value)
	}
}

// failing is a store that is down.
type failing struct{ *memory }

func (failing) Commit(context.Context, ...checkout.Write) ([]uint64, error) {
	return nil, checkout.ErrUnavailable
}

func TestStoreDown(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := create(t, w.service(t), order("order"))
	s := w.service(t, func(c *session.Config) { c.Store = failing{w.store} })
	if _, err := s.Create(t.Context(), order("other")); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("Create() = %v, want ErrUnavailable", err)
	}
	if _, err := s.Pay(t.Context(), v.ID, card); !errors.Is(err, checkout.ErrUnavailable) || len(w.psp.requests) != 0 {
		t.Errorf("Pay() = %v with %d creates, want ErrUnavailable and none", err, len(w.psp.requests))
	}
	if err := s.ApplyCallbacks(t.Context(), nil, checkout.Write{Key: "cursor.IN0"}); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("ApplyCallbacks() = %v, want ErrUnavailable", err)
	}
}

func TestNew_Names(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*session.Config){
		"Store": func(c *session.Config) { c.Store = nil }, "PSP": func(c *session.Config) { c.PSP = nil },
		"Matcher": func(c *session.Config) { c.Matcher = nil }, "Keys": func(c *session.Config) { c.Keys = nil },
		"ReturnURLs": func(c *session.Config) { c.ReturnURLs = nil }, "CallbackURL": func(c *session.Config) { c.CallbackURL = "/x" },
		"Budget": func(c *session.Config) { c.Budget = -1 }, "Wait": func(c *session.Config) { c.Wait = time.Hour },
		"Replica": func(c *session.Config) { c.Replica = "a/b" },
	} {
		cfg := newWorld().config()
		change(&cfg)
		if _, err := session.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New(bad %s) = %v, want an error that names it", name, err)
		}
	}
}
