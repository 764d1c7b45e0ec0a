package widget_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/widget"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const base = "https://pay.shop.example"

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what was drawn (rewrite with -update if it should):\n%s", path, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is the beginning of the other"
}

func both(en, uk string) checkout.Text { return checkout.Text{"en": en, "uk": uk} }

func ptr(s string) *checkout.Amount { a := checkout.MustAmount(s); return &a }

func catalogue() ([]checkout.Service, map[string]checkout.Method) {
	services := []checkout.Service{
		{Code: "card_eur_hpp", Method: "card", Flow: "hpp", Currency: "EUR"},
		{Code: "sepa_eur_hpp", Method: "sepa", Flow: "hpp", Currency: "EUR", Fields: []checkout.Field{
			{Key: "payer_name", Type: "string", Label: both("Account holder", "Власник рахунку"), Hint: both("As on the statement", "Як у виписці"), Required: true, Position: 1},
			{Key: "iban_number", Type: "string", Label: both("IBAN", "IBAN"), Example: "DE89370400440532013000", Regexp: "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$", Required: true, Position: 2},
			{Key: "email", Type: "string", Label: both("E-mail", "Ел. пошта"), Regexp: "@", Position: 3},
		}},
		{Code: "usdt_hpp", Method: "usdt", Flow: "hpp", Currency: "USDT", AmountMin: ptr("10"), AmountMax: ptr("2500.5")},
	}
	methods := map[string]checkout.Method{
		"card": {Code: "card", Category: "payment_card", Name: both("Bank card", "Банківська картка"), Logo: "/logos/card"},
		"sepa": {Code: "sepa", Category: "bank_transfer", Name: both("SEPA transfer", "Переказ SEPA"), Logo: "https://static.example/sepa.svg"},
		"usdt": {Code: "usdt", Category: "alternative", Name: both("Tether", "Tether")},
	}
	return services, methods
}

func open() checkout.Session {
	return checkout.Session{
		ID: "cs_1", Status: checkout.StatusOpen, Revision: 1, ReferenceID: "ORDER-1", Amount: checkout.MustAmount("123.45"),
		Currency: "EUR", Digits: 2, Flow: "charge", ExpiresAt: 1_800_000_000, Attempts: []checkout.Attempt{},
	}
}

func at(status checkout.Status, revision int64, v *checkout.Invoice) checkout.Session {
	s := open()
	s.Status, s.Revision, s.Invoice = status, revision, v
	return s
}

func invoice(status, resolution string) *checkout.Invoice {
	return &checkout.Invoice{
		ID: "cpi_1", ReferenceID: "ORDER-1", Service: "card_eur_hpp", Status: status, Resolution: resolution,
		Amount: checkout.MustAmount("123.45"), Currency: "EUR", Created: 1, Updated: 2,
	}
}

func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answer is the BFF's answer to GET /v1/checkout.
func answer(t testing.TB, s checkout.Session) string {
	services, methods := catalogue()
	return encode(t, map[string]any{"session": s, "services": services, "methods": methods, "locale": "en"})
}

func frame(t testing.TB, s checkout.Session) string {
	return encode(t, map[string]any{"type": "session", "revision": s.Revision, "session": s})
}

func paid(t testing.TB, s checkout.Session) string {
	return encode(t, map[string]any{"session": s, "redirect": checkout.Redirect{Method: "POST", URL: "https://psp.example/pay", Params: map[string]string{"token": "x"}}})
}

func drawn(s checkout.Session, o widget.Options) *widget.Node {
	services, methods := catalogue()
	o.Base = base
	return widget.View(widget.New(o).Loaded(s, services, methods))
}

// browser answers a module's questions about amounts, and none else.
func browser(question string) string {
	words := strings.Split(question, "\n")
	if words[0] != "money" {
		return ""
	}
	digits, _ := strconv.Atoi(words[3])
	return widget.Written(words[4], words[1], words[2], digits)
}
