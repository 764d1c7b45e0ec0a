package checkout_test

import (
	"testing"

	"wzrdcheckout/internal/checkout"
)

func TestText_In(t *testing.T) {
	t.Parallel()
	whole := checkout.Text{"en": "Card", "uk": "Картка", "ru": "Карта", "pt-BR": "Cartão"}
	for _, row := range []struct {
		name   string
		text   checkout.Text
		locale string
		want   string
	}{
		{"exact", whole, "uk", "Картка"},
		{"with a region", whole, "uk-UA", "Картка"},
		{"underscore", whole, "uk_UA", "Картка"},
		{"script and region", whole, "uk-Cyrl-UA", "Картка"},
		{"capitals", whole, "UK-UA", "Картка"},
		{"exact with a region", whole, "pt-BR", "Cartão"},
		{"not there", whole, "de", "Card"},
		{"empty locale", whole, "", "Card"},
		{"empty text is not there", checkout.Text{"uk": "", "en": "Card"}, "uk", "Card"},
		{"no English", checkout.Text{"uk": "Картка", "ru": "Карта"}, "de", "Карта"},
		{"no English, empty first", checkout.Text{"aa": "", "uk": "Картка"}, "de", "Картка"},
		{"nothing", nil, "en", ""},
		{"only empty", checkout.Text{"en": ""}, "en", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := row.text.In(row.locale); got != row.want {
				t.Errorf("%v.In(%q) = %q, want %q", row.text, row.locale, got, row.want)
			}
		})
	}
}
