package checkout

import "strings"

// Text is one text in several languages: language code → text.
type Text map[string]string

// In gives the text in the language of locale ("uk", "uk-UA", "UK_ua"), else in English,
// else in the first language by code, else "".
func (t Text) In(locale string) string {
	if s := t[locale]; s != "" {
		return s
	}
	language := locale
	if i := strings.IndexAny(locale, "-_"); i >= 0 {
		language = locale[:i]
	}
	if s := t[lower(language)]; s != "" {
		return s
	}
	if s := t["en"]; s != "" {
		return s
	}
	first := ""
	for code, s := range t {
		if s != "" && (first == "" || code < first) {
			first = code
		}
	}
	return t[first]
}

// lower is strings.ToLower for ASCII, without Unicode's tables in the page.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// Field is one value that a service wants from the shopper (vendor: services.*.fields[]).
// Regexp is the pattern with the vendor's delimiters and doubled backslashes already
// taken off; "" = no pattern. Type is "string" for every known service.
type Field struct {
	Key      string `json:"key"`
	Type     string `json:"type"`
	Label    Text   `json:"label"`
	Hint     Text   `json:"hint"`
	Example  string `json:"example,omitempty"`
	Regexp   string `json:"regexp,omitempty"`
	Required bool   `json:"required"`
	Position int    `json:"position"`
}

// Service is one way to pay in one currency (vendor: services.*). Limits are in the
// service's own currency, inclusive, nil = none. Fields are in position order.
type Service struct {
	Code      string  `json:"code"`
	Method    string  `json:"method"`
	Flow      string  `json:"flow"`
	Currency  string  `json:"currency"`
	Fields    []Field `json:"fields"`
	AmountMin *Amount `json:"amount_min"`
	AmountMax *Amount `json:"amount_max"`
}

// Method is what the shopper recognises: a card, a wallet, a bank (vendor: methods.*).
// Position nil sorts last. Logo and Icon are https addresses of the vendor's until the
// edge replaces them by proxied ones.
type Method struct {
	Code        string `json:"code"`
	Category    string `json:"category"`
	Description string `json:"description,omitempty"`
	Name        Text   `json:"name"`
	Logo        string `json:"logo,omitempty"`
	Icon        string `json:"icon,omitempty"`
	Position    *int   `json:"position,omitempty"`
	Hide        bool   `json:"-"`
}

// Account is the merchant as WZRDPAY shows it to a shopper.
type Account struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Icon        string `json:"icon,omitempty"`
	Website     string `json:"website,omitempty"`
}

// PreRequest is WZRDPAY's answer to POST /payment-prerequest for one currency: the
// services, ordered (method position, then kind of method, then code: the order of the
// vendor's map carries no meaning), hidden ones included, and the methods by code. Version changes when the content does.
type PreRequest struct {
	Currency  string
	TestMode  bool
	Services  []Service
	Methods   map[string]Method
	Account   Account
	FetchedAt int64  // Unix seconds
	Version   string // hash of the content
	Stale     bool   // last good copy, served because WZRDPAY is down
}

// AccountService is one service of the merchant's account as the private API lists it
// (vendor: GET /payment-services). ID is the vendor's "comcps_…", Currency what the
// shopper pays in, AccountCurrency what the account is kept in. The flags are passed on
// as they are: the vendor does not say what they mean together. Amounts nil = not said.
// It knows no fields: those come only with a pre-request.
type AccountService struct {
	ID              string  `json:"id"`
	Service         string  `json:"service"`
	Method          string  `json:"method"`
	Currency        string  `json:"currency"`
	Available       bool    `json:"available"`
	Active          bool    `json:"active"`
	Enabled         bool    `json:"enabled"`
	AmountMin       *Amount `json:"amount_min"`
	AmountMax       *Amount `json:"amount_max"`
	FeeMin          *Amount `json:"fee_min"`
	FeeMax          *Amount `json:"fee_max"`
	FeeRate         *Amount `json:"fee_rate"`
	FeeFix          *Amount `json:"fee_fix"`
	ReserveLifetime int64   `json:"reserve_lifetime"`
	ReserveRate     *Amount `json:"reserve_rate"`
	AccountCurrency string  `json:"account_currency"`
	TestMode        bool    `json:"test_mode"`
}
