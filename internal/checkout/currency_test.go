package checkout_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
)

func TestCurrencyDigits(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		code   string
		digits int
		known  bool
	}{
		{"USD", 2, true},
		{"EUR", 2, true},
		{"UAH", 2, true},
		{"XTS", 2, true},
		{"AED", 2, true},
		{"ZWL", 2, true},
		{"JPY", 0, true},
		{"CLP", 0, true},
		{"KRW", 0, true},
		{"VND", 0, true},
		{"XOF", 0, true},
		{"BHD", 3, true},
		{"KWD", 3, true},
		{"TND", 3, true},
		{"TRX", 6, true},
		{"USDC", 6, true},
		{"BTC", 8, true},
		{"ETH", 8, true},
		{"USDTTRC20", 8, true},
		{"SOL", 9, true},
		{"DOGE", checkout.DefaultDigits, false},
		{"", checkout.DefaultDigits, false},
		{"usd", checkout.DefaultDigits, false},
		{"EDA", checkout.DefaultDigits, false},
		{"DAF", checkout.DefaultDigits, false}, // letters across two codes of the table
	} {
		if digits, known := checkout.CurrencyDigits(row.code); digits != row.digits || known != row.known {
			t.Errorf("CurrencyDigits(%q) = %d, %v, want %d, %v", row.code, digits, known, row.digits, row.known)
		}
	}
}

// Every currency of the OpenFinTech catalogue (MIT, not part of the repository) is known
// with the catalogue's digits. Without the catalogue there is nothing to walk: the table
// above then stands alone.
func TestCurrencyDigits_Catalogue(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("WZRDCHECKOUT_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	text, err := os.ReadFile(filepath.Join(shared, "data", "openfintech.json"))
	if err != nil {
		t.Log("no catalogue here:", err)
		return
	}
	var file struct {
		Currencies map[string]struct{ Exponent int }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Currencies) != 95 {
		t.Errorf("the catalogue has %d currencies, want 95", len(file.Currencies))
	}
	for code, c := range file.Currencies {
		if digits, known := checkout.CurrencyDigits(code); digits != c.Exponent || !known {
			t.Errorf("CurrencyDigits(%s) = %d, %v, want %d, true", code, digits, known, c.Exponent)
		}
		if !checkout.ValidCurrency(code) {
			t.Errorf("ValidCurrency(%s) = false, want true", code)
		}
	}
}

func TestValidCurrency(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"USD": true, "USDTTRC20": true, "A-B_C.1": true, "ABCDEFGHIJ": true,
		"": false, "US": false, "usd": false, "ABCDEFGHIJK": false, "US D": false, "ГРН": false, "USD\n": false,
	} {
		if got := checkout.ValidCurrency(code); got != want {
			t.Errorf("ValidCurrency(%q) = %v, want %v", code, got, want)
		}
	}
}

func TestValidReference(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"order-1": true, "A.b_c-9": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a b": false, "a/b": false, "ü": false, "a\n": false, "a*": false,
	} {
		if got := checkout.ValidReference(id); got != want {
			t.Errorf("ValidReference(%q) = %v, want %v", id, got, want)
		}
	}
}
