package widget_test

import (
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/widget"
)

// Every language and region is held to a real browser in e2e; these are the shapes.
func TestTotal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		locale, amount, currency string
		digits                   int
		want                     string
	}{
		{"en", "39", "EUR", 2, "€39.00"},
		{"en", "1234567.5", "USD", 2, "$1,234,567.50"},
		{"en", "1500", "JPY", 0, "¥1,500"},
		{"en", "1500", "EUR", 0, "€1,500.00"},
		{"de", "1234.5", "EUR", 2, "1.234,50\u00a0€"},
		{"de-CH", "1234.5", "CHF", 2, "CHF\u00a01'234.50"},
		{"es", "1234.5", "EUR", 2, "1234,50\u00a0€"},
		{"es", "12345.5", "EUR", 2, "12.345,50\u00a0€"},
		{"fr", "12345.5", "EUR", 2, "12\u202f345,50\u00a0€"},
		{"hi", "1234567", "INR", 2, "₹12,34,567.00"},
		{"uk-UA", "39", "UAH", 2, "39,00\u00a0грн"},
		{"ar-EG", "39", "EUR", 2, "\u200f٣٩٫٠٠\u00a0€"},
		{"en", "25000", "USDT", 0, "USDT\u00a025,000.00"},
		{"de", "0.00012345", "BTC", 2, "0,00012345\u00a0BTC"},
		{"decimals", "39000", "EUR", 2, "€39,000.00"}, // no locale, but a line of the table
		{"xx", "39", "EUR", 2, "€39.00"},              // a language without texts is shown in English
	} {
		s := checkout.Session{ID: "cs_1", Status: checkout.StatusOpen, Amount: checkout.MustAmount(c.amount), Currency: c.currency, Digits: c.digits}
		if got := widget.New(widget.Options{Locale: c.locale}).Loaded(s, nil, nil).Total(); got != c.want {
			t.Errorf("Total(%s %s, %d digits, %s) = %q, want %q", c.amount, c.currency, c.digits, c.locale, got, c.want)
		}
	}
}
