package checkout_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
)

func TestParseAmount(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text, want string // want "" = refused
		digits     int
	}{
		{"0", "0", 0},
		{"0.00", "0", 0},
		{"0e5", "0", 0},
		{"10", "10", 0},
		{"10.50", "10.5", 1},
		{"100.55", "100.55", 2},
		{"1e-08", "0.00000001", 8},
		{"1E-8", "0.00000001", 8},
		{"1.5e3", "1500", 0},
		{"1e+2", "100", 0},
		{"0.00001000", "0.00001", 5},
		{"999999999999999999", "999999999999999999", 0},
		{"0.000000000000000001", "0.000000000000000001", 18},
		{"100000000000000000000e-10", "10000000000", 0},
		{"1000000000000000000", "", 0},
		{"0.0000000000000000001", "", 0},
		{"1.0000000000000000001", "", 0},
		{"", "", 0},
		{"-1", "", 0},
		{"-0", "", 0},
		{"+1", "", 0},
		{"01", "", 0},
		{"00.5", "", 0},
		{"1.", "", 0},
		{".5", "", 0},
		{"1e", "", 0},
		{"e1", "", 0},
		{"1e1.5", "", 0},
		{"1e999999999", "", 0},
		{"1 ", "", 0},
		{"1,5", "", 0},
		{"0x10", "", 0},
		{"NaN", "", 0},
		{"null", "", 0},
		{`"1"`, "", 0},
		{"１", "", 0},
		{"1." + strings.Repeat("0", 100), "", 0},
	} {
		t.Run(row.text, func(t *testing.T) {
			got, err := checkout.ParseAmount(row.text)
			if row.want == "" {
				if !errors.Is(err, checkout.ErrAmount) {
					t.Errorf("ParseAmount(%q) = %v, %v, want ErrAmount", row.text, got, err)
				}
				return
			}
			if err != nil || got.String() != row.want || got.Digits() != row.digits {
				t.Errorf("ParseAmount(%q) = %v with %d digits, %v, want %s with %d", row.text, got, got.Digits(), err, row.want, row.digits)
			}
		})
	}
}

func TestAmount_Format(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		amount string
		digits int
		want   string
	}{
		{"10.5", 2, "10.50"}, {"10.5", 0, "10.5"}, {"7", 3, "7.000"}, {"0", 2, "0.00"}, {"0.001", 2, "0.001"}, {"1e-8", 8, "0.00000001"},
	} {
		if got := checkout.MustAmount(row.amount).Format(row.digits); got != row.want {
			t.Errorf("%s.Format(%d) = %s, want %s", row.amount, row.digits, got, row.want)
		}
	}
}

func TestAmount_JSON(t *testing.T) {
	t.Parallel()
	type document struct {
		Amount checkout.Amount  `json:"amount"`
		Limit  *checkout.Amount `json:"limit"`
	}
	var d document
	if err := json.Unmarshal([]byte(`{"amount":100.50,"limit":null}`), &d); err != nil || d.Limit != nil {
		t.Fatalf("Unmarshal = %v, %v", d, err)
	}
	text, err := json.Marshal(d)
	if want := `{"amount":100.5,"limit":null}`; err != nil || string(text) != want {
		t.Errorf("Marshal = %s, %v, want %s", text, err, want)
	}
	for _, bad := range []string{`{"amount":"1"}`, `{"amount":-1}`, `{"amount":null}`, `{"amount":{}}`} {
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("Unmarshal(%s) passes", bad)
		}
	}
}

func TestMustAmount_Panics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("MustAmount(x) does not panic")
		}
	}()
	checkout.MustAmount("x")
}

// number is JSON's grammar of a number ≥ 0.
var number = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// FuzzAmount holds the exact decimal to math/big.Rat: what is accepted has the right
// value, what is refused is no number or out of range; equality, order and round trip agree.
func FuzzAmount(f *testing.F) {
	f.Add("10.50", "10.5")
	f.Add("1e-08", "0.00000001")
	f.Add("999999999999999999", "0.000000000000000001")
	f.Add("100000000000000000000e-10", "0e36")
	f.Add("01", "1e37")
	f.Add("-3", "1.5E+2")
	f.Fuzz(func(t *testing.T, x, y string) {
		a, okA := check(t, x)
		b, okB := check(t, y)
		if !okA || !okB {
			return
		}
		ratA, _ := new(big.Rat).SetString(a.String())
		ratB, _ := new(big.Rat).SetString(b.String())
		if got, want := a.Compare(b), ratA.Cmp(ratB); got != want {
			t.Errorf("%v.Compare(%v) = %d, want %d", a, b, got, want)
		}
		if got, want := a == b, ratA.Cmp(ratB) == 0; got != want {
			t.Errorf("%v == %v is %v, want %v", a, b, got, want)
		}
	})
}

func check(t *testing.T, text string) (checkout.Amount, bool) {
	t.Helper()
	a, err := checkout.ParseAmount(text)
	if err != nil {
		if len(text) <= 40 && number.MatchString(text) && inRange(text) {
			t.Errorf("ParseAmount(%q) = %v, want the number", text, err)
		}
		return a, false
	}
	if !number.MatchString(text) {
		t.Fatalf("ParseAmount(%q) = %v, want ErrAmount", text, a)
	}
	want, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("big.Rat does not read %q", text)
	}
	for _, plain := range []string{a.String(), a.Format(2), a.Format(18)} {
		if strings.ContainsAny(plain, "eE") {
			t.Fatalf("%q prints as %q", text, plain)
		}
		if got, ok := new(big.Rat).SetString(plain); !ok || got.Cmp(want) != 0 {
			t.Fatalf("ParseAmount(%q) prints %q, want %v", text, plain, want)
		}
	}
	if again, err := checkout.ParseAmount(a.String()); err != nil || again != a {
		t.Fatalf("ParseAmount(%q) after printing = %v, %v", text, again, err)
	}
	if a.IsZero() != (want.Sign() == 0) {
		t.Fatalf("ParseAmount(%q).IsZero = %v", text, a.IsZero())
	}
	_, fraction, _ := strings.Cut(a.String(), ".")
	if a.Digits() != len(fraction) || strings.HasSuffix(fraction, "0") {
		t.Fatalf("ParseAmount(%q) = %q with %d digits", text, a.String(), a.Digits())
	}
	return a, true
}

// inRange tells whether a number's text is one that ParseAmount promises to read: an
// exponent of at most 36, at most 18 decimals, and at most 18 digits as a whole.
func inRange(text string) bool {
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		exponent, ok := new(big.Int).SetString(strings.TrimPrefix(text[i+1:], "+"), 10)
		if !ok || exponent.CmpAbs(big.NewInt(36)) > 0 {
			return false
		}
	}
	value, ok := new(big.Rat).SetString(text)
	if !ok {
		return false
	}
	for scale := range 19 {
		scaled := new(big.Rat).Mul(value, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
		if scaled.IsInt() {
			return len(scaled.Num().String()) <= 18
		}
	}
	return false
}
