package checkout

// Text is one text in several languages: language code → text.
type Text map[string]string

// In gives the text in the language of locale ("uk", "uk-UA"), else in English, else in
// the first language by code, else "".
func (t Text) In(locale string) string {
	if s := t[locale]; s != "" {
		return s
	}
	for i := range len(locale) {
		if locale[i] == '-' || locale[i] == '_' {
			if s := t[locale[:i]]; s != "" {
				return s
			}
			break
		}
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
// services, ordered (method position, then vendor's order made stable by code), hidden
// ones included, and the methods by code. Version changes when the content does.
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
