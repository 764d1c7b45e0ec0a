package wzrd_test

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/wzrd"
)

// sign is the formula in the test's own words.
func sign(secret, body string) string {
	sum := sha1.Sum([]byte(secret + body + secret))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestVerify(t *testing.T) {
	t.Parallel()
	v, err := wzrd.NewVerifier([]wzrd.Secret{"sk_live_1", "sk_test_example", "sk_test_old"})
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"data":{"type":"payment-invoices","id":"cpi_TEST000000000001"}}`
	for _, row := range []struct{ name, body, signature, mode string }{
		{"the documents' first vector", body, "4B+h0XWCcRfmNDQUOQDmDIs97FA=", "test"},
		{"the second, over escaped slashes", `{"data":{"links":{"self":"\/api\/payment-invoices\/cpi_TEST000000000001"}}}`, "va/7PS4GT4ahUf6mC2WBpmZsdmA=", "test"},
		{"live key", body, sign("sk_live_1", body), "live"},
		{"a key on its way out", body, sign("sk_test_old", body), "test"},
		{"space around it", body, " " + sign("sk_live_1", body) + "\t", "live"},
		{"empty body", "", sign("sk_live_1", ""), "live"},
		{"re-encoded body", `{"data":{"links":{"self":"/api/payment-invoices/cpi_TEST000000000001"}}}`, "va/7PS4GT4ahUf6mC2WBpmZsdmA=", ""},
		{"one byte more", body + "\n", "4B+h0XWCcRfmNDQUOQDmDIs97FA=", ""},
		{"no key of ours", body, sign("sk_test_other", body), ""},
		{"empty secret", body, sign("", body), ""},
		{"missing", body, "", ""},
		{"blank", body, "  ", ""},
		{"not base64", body, "%%%", ""},
		{"cut", body, "4B+h0XWCcRfmNDQUOQDmDIs97FA", ""},
		{"other case", body, "4b+h0XWCcRfmNDQUOQDmDIs97FA=", ""},
		{"another encoding of the same digest", body, "4B+h0XWCcRfmNDQUOQDmDIs97FB=", ""},
		{"oversized", body, strings.Repeat("A", 1<<20), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			mode, err := v.Verify([]byte(row.body), row.signature)
			if row.mode == "" {
				if mode != "" || !errors.Is(err, checkout.ErrUnauthorized) {
					t.Errorf("Verify = %q, %v, want ErrUnauthorized", mode, err)
				}
				return
			}
			if mode != row.mode || err != nil {
				t.Errorf("Verify = %q, %v, want %s", mode, err, row.mode)
			}
		})
	}
}

func TestNewVerifier(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]wzrd.Secret{nil, {}, {""}, {"sk_test_"}, {"pk_test_1"}, {"sk_test_1", "secret"}} {
		if v, err := wzrd.NewVerifier(keys); err == nil || v != nil || !strings.HasPrefix(err.Error(), "WZRD_SIGNING_KEYS:") {
			t.Errorf("NewVerifier(%d keys) = %v, want an error that names WZRD_SIGNING_KEYS", len(keys), err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte("{}"), sign("sk_test_1", "{}"))
	f.Add([]byte(""), "")
	f.Add([]byte("x"), sign("sk_live_1", "x")+"=")
	v, err := wzrd.NewVerifier([]wzrd.Secret{"sk_test_1", "sk_live_1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, signature string) {
		want := ""
		switch strings.TrimSpace(signature) {
		case sign("sk_test_1", string(body)):
			want = "test"
		case sign("sk_live_1", string(body)):
			want = "live"
		}
		if mode, err := v.Verify(body, signature); mode != want || (err == nil) != (want != "") {
			t.Errorf("Verify(%q, %q) = %q, %v, want %q", body, signature, mode, err, want)
		}
		for _, k := range []string{"test", "live"} {
			if mode, err := v.Verify(body, sign("sk_"+k+"_1", string(body))); mode != k || err != nil {
				t.Errorf("Verify(%q, signed by %s) = %q, %v", body, k, mode, err)
			}
		}
	})
}

func TestParseCallback(t *testing.T) {
	t.Parallel()
	got, err := wzrd.ParseCallback([]byte(sample(t, "callback.json")))
	want := checkout.Invoice{
		ID: "cpi_Mm1Nn2Oo3Pp4Qq5R", ReferenceID: "atlas-17", Service: "payment_card_eur_hpp", Status: "processed", Resolution: "ok",
		Amount: checkout.MustAmount("64.9"), PaymentAmount: amount("65.4"), ProcessedAmount: amount("65.4"), Currency: "EUR",
		Created: 1780000000, Updated: 1780000092, TestMode: true, SessionID: "cs_atlas",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseCallback = %+v, %v, want %+v", got, err, want)
	}
	const invoice = `"id":"cpi_1","attributes":{"status":"created","amount":1,"currency":"EUR"}`
	for _, row := range []struct {
		name, body string
		want       error
	}{
		{"singular type", `{"data":{"type":"payment-invoice",` + invoice + `}}`, nil},
		{"not JSON", `{"data":`, checkout.ErrInvalid},
		{"HTML", `<html>`, checkout.ErrInvalid},
		{"empty", ``, checkout.ErrInvalid},
		{"two values", `{} {}`, checkout.ErrInvalid},
		{"a form", `data=eyJ4IjoxfQ&signature=x`, checkout.ErrInvalid},
		{"a string", `"x"`, wzrd.ErrNoInvoice},
		{"null", `null`, wzrd.ErrNoInvoice},
		{"no data", `{}`, wzrd.ErrNoInvoice},
		{"data a list", `{"data":[]}`, wzrd.ErrNoInvoice},
		{"a payout", `{"data":{"type":"payout-invoices",` + invoice + `}}`, wzrd.ErrNoInvoice},
		{"no type", `{"data":{` + invoice + `}}`, wzrd.ErrNoInvoice},
		{"no id", `{"data":{"type":"payment-invoices","attributes":{"status":"created","amount":1,"currency":"EUR"}}}`, wzrd.ErrNoInvoice},
		{"no status", `{"data":{"type":"payment-invoices","id":"a","attributes":{"amount":1,"currency":"EUR"}}}`, wzrd.ErrNoInvoice},
		{"no amount", `{"data":{"type":"payment-invoices","id":"a","attributes":{"status":"x","currency":"EUR"}}}`, wzrd.ErrNoInvoice},
		{"negative amount", `{"data":{"type":"payment-invoices","id":"a","attributes":{"status":"x","amount":-1,"currency":"EUR"}}}`, wzrd.ErrNoInvoice},
		{"no currency", `{"data":{"type":"payment-invoices","id":"a","attributes":{"status":"x","amount":1}}}`, wzrd.ErrNoInvoice},
		{"attributes a PHP empty", `{"data":{"type":"payment-invoices","id":"a","attributes":[]}}`, wzrd.ErrNoInvoice},
		{"deep nesting", strings.Repeat(`{"data":`, 20000) + `1` + strings.Repeat(`}`, 20000), checkout.ErrInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if v, err := wzrd.ParseCallback([]byte(row.body)); !errors.Is(err, row.want) || err == nil && v.ID != "cpi_1" {
				t.Errorf("ParseCallback = %+v, %v, want %v", v, err, row.want)
			}
		})
	}
}

func FuzzParseCallback(f *testing.F) {
	f.Add([]byte(sample(f, "callback.json")))
	f.Add([]byte(`{"data":{"type":"payment-invoices","id":"a","attributes":{"status":"X","amount":"1e2","currency":"EUR","metadata":[]}}}`))
	f.Add([]byte(`{"data":{"type":"payment-invoice","id":"a","attributes":{"status":"x"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := wzrd.ParseCallback(body)
		switch {
		case err == nil:
			if v.ID == "" || v.Status == "" || v.Currency == "" || v.Status != strings.ToLower(v.Status) || v.Redirect != nil {
				t.Errorf("ParseCallback(%s) = %+v", body, v)
			}
			slow, slowErr := slowInvoice(body)
			if slowErr != nil {
				t.Errorf("ParseCallback(%s) = %+v; the slow decoder says %v", body, v, slowErr)
			} else if slow.Redirect = nil; !reflect.DeepEqual(v, slow.Invoice) {
				t.Errorf("ParseCallback(%s) = %+v; the slow decoder has %+v", body, v, slow.Invoice)
			}
		case !errors.Is(err, checkout.ErrInvalid) && !errors.Is(err, wzrd.ErrNoInvoice):
			t.Errorf("ParseCallback(%s) = %v", body, err)
		}
	})
}
