package session

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"wzrdcheckout/internal/checkout"
)

const (
	minExpires     = 840     // the vendor's lower limit, 14 minutes
	maxExpires     = 172_800 // the vendor's upper limit, 2 days
	defaultExpires = 3600
	rangeExpires   = "must be 840 to 172800 seconds"

	maxText     = 255
	maxFree     = 8 << 10 // metadata, gateway_options, options: each
	maxURL      = 2048
	maxServices = 500 // the whole catalogue of one currency is under 200
	maxFields   = 50
)

// NewSession is the body of POST /v1/sessions (docs/server.md). The zero value of an
// optional member means absent. Metadata, GatewayOptions and Options are JSON objects.
type NewSession struct {
	ReferenceID    string
	Amount         checkout.Amount
	Currency       string
	Description    string
	Service        string
	Services       []string
	Customer       *Customer
	Metadata       checkout.JSON
	ReturnURL      string
	ReturnURLs     *checkout.ReturnURLs
	ExpiresIn      int64 // seconds, 0 = 3600
	Flow           string
	GatewayOptions checkout.JSON
	Options        checkout.JSON
	Locale         string
	Origin         string
}

// Customer is what the merchant says of the shopper; it goes to WZRDPAY and nowhere else.
type Customer struct {
	ReferenceID     string        `json:"reference_id"`
	Name            string        `json:"name,omitempty"`
	Email           string        `json:"email,omitempty"`
	Phone           string        `json:"phone,omitempty"`
	IndividualTaxID string        `json:"individual_tax_id,omitempty"`
	DateOfBirth     string        `json:"date_of_birth,omitempty"`
	Metadata        checkout.JSON `json:"metadata,omitempty"`
	Address         *Address      `json:"address,omitempty"`
}

// Address is a customer's address; Country is ISO 3166-1 alpha-2.
type Address struct {
	Country     string `json:"country,omitempty"`
	Region      string `json:"region,omitempty"`
	City        string `json:"city,omitempty"`
	Street      string `json:"street,omitempty"`
	FullAddress string `json:"full_address,omitempty"`
	PostCode    string `json:"post_code,omitempty"`
}

// Patch is the body of PATCH /v1/sessions/{id}; nil leaves a member as it is.
type Patch struct {
	Amount      *checkout.Amount
	Description *string
	Locale      *string
}

// PayRequest is the body of POST /v1/checkout/invoice, and its Idempotency-Key.
type PayRequest struct {
	Service        string
	Fields         map[string]string
	IdempotencyKey string
}

// ParseNew reads the body of POST /v1/sessions. Errors are ErrInvalid: malformed_json
// when it is no JSON, else one FieldError for every member that is unknown, repeated,
// missing or of a wrong type. The rules of the values are Create's.
func ParseNew(body []byte) (NewSession, error) { return parseNew(body) }

// ParseForm reads the body of POST /v1/payment-form: a session's, service required.
func ParseForm(body []byte) (NewSession, error) { return parseNew(body, "service") }

func parseNew(body []byte, required ...string) (NewSession, error) {
	f, err := openForm(body, "reference_id", "amount", "currency", "description", "service", "services", "customer",
		"metadata", "return_url", "return_urls", "expires_in", "flow", "gateway_options", "options", "locale", "origin")
	if err != nil {
		return NewSession{}, err
	}
	f.require("reference_id", "amount", "currency")
	f.require(required...)
	n := NewSession{
		ReferenceID:    f.text("reference_id"),
		Currency:       f.text("currency"),
		Description:    f.text("description"),
		Service:        f.text("service"),
		Services:       f.texts("services"),
		Customer:       parseCustomer(&f),
		Metadata:       f.free("metadata"),
		ReturnURL:      f.text("return_url"),
		ExpiresIn:      f.seconds("expires_in"),
		Flow:           f.text("flow"),
		GatewayOptions: f.free("gateway_options"),
		Options:        f.free("options"),
		Locale:         f.text("locale"),
		Origin:         f.text("origin"),
	}
	if a := f.amount("amount"); a != nil {
		n.Amount = *a
	}
	if u, ok := f.object("return_urls", "success", "pending", "fail"); ok {
		u.require("pending")
		n.ReturnURLs = &checkout.ReturnURLs{Success: u.text("success"), Pending: u.text("pending"), Fail: u.text("fail")}
	}
	if err := f.err(); err != nil {
		return NewSession{}, err
	}
	return n, nil
}

func parseCustomer(f *form) *Customer {
	c, ok := f.object("customer", "reference_id", "name", "email", "phone", "individual_tax_id", "date_of_birth", "metadata", "address")
	if !ok {
		return nil
	}
	c.require("reference_id")
	out := &Customer{
		ReferenceID: c.text("reference_id"), Name: c.text("name"), Email: c.text("email"), Phone: c.text("phone"),
		IndividualTaxID: c.text("individual_tax_id"), DateOfBirth: c.text("date_of_birth"), Metadata: c.free("metadata"),
	}
	if a, ok := c.object("address", "country", "region", "city", "street", "full_address", "post_code"); ok {
		out.Address = &Address{
			Country: a.text("country"), Region: a.text("region"), City: a.text("city"),
			Street: a.text("street"), FullAddress: a.text("full_address"), PostCode: a.text("post_code"),
		}
	}
	return out
}

// ParsePatch reads the body of PATCH /v1/sessions/{id}; errors as ParseNew.
func ParsePatch(body []byte) (Patch, error) {
	f, err := openForm(body, "amount", "description", "locale")
	if err != nil {
		return Patch{}, err
	}
	p := Patch{Amount: f.amount("amount"), Description: f.textPointer("description"), Locale: f.textPointer("locale")}
	if err := f.err(); err != nil {
		return Patch{}, err
	}
	return p, nil
}

// ParsePay reads the body of POST /v1/checkout/invoice; errors as ParseNew. The
// Idempotency-Key is a header and is left to the caller.
func ParsePay(body []byte) (PayRequest, error) {
	f, err := openForm(body, "service", "fields")
	if err != nil {
		return PayRequest{}, err
	}
	f.require("service")
	p := PayRequest{Service: f.text("service"), Fields: f.values("fields")}
	if err := f.err(); err != nil {
		return PayRequest{}, err
	}
	return p, nil
}

// rules are what a request is held against.
type rules struct {
	testMode bool
	origins  []string
	now      int64
}

// checker collects what is wrong with a request.
type checker struct{ errs []checkout.FieldError }

func (c *checker) note(ok bool, field, code, message string) {
	if !ok {
		c.errs = append(c.errs, checkout.FieldError{Field: field, Code: code, Message: message})
	}
}

func (c *checker) err() error {
	if len(c.errs) == 0 {
		return nil
	}
	return checkout.Invalid(c.errs...)
}

// normalise checks n by the rules of docs/server.md and gives it with its
// defaults filled in, so that equal meaning is an equal value.
func (n NewSession) normalise(r rules) (NewSession, error) {
	var c checker
	c.note(n.ReferenceID != "", "reference_id", "required", "is required")
	c.note(n.ReferenceID == "" || checkout.ValidReference(n.ReferenceID), "reference_id", "pattern", "must be 1 to 64 of A-Z a-z 0-9 . _ -")
	c.note(n.Currency != "", "currency", "required", "is required")
	valid := checkout.ValidCurrency(n.Currency)
	c.note(n.Currency == "" || valid, "currency", "pattern", "must be 3 to 10 of A-Z 0-9 - _ .")
	if valid {
		c.amount(n.Amount, n.Currency)
	} else {
		c.note(!n.Amount.IsZero(), "amount", "minimum", "must be greater than 0")
	}
	c.text("description", n.Description, maxText)
	c.note(n.Service == "" || validCode(n.Service), "service", "pattern", "is not a service code")
	c.services(n)
	c.customer(n.Customer, r)
	c.free("metadata", n.Metadata)
	c.free("gateway_options", n.GatewayOptions)
	c.free("options", n.Options)
	c.url("return_url", n.ReturnURL, r)
	if u := n.ReturnURLs; u != nil {
		c.note(u.Pending != "", "return_urls.pending", "required", "is required")
		c.url("return_urls.success", u.Success, r)
		c.url("return_urls.pending", u.Pending, r)
		c.url("return_urls.fail", u.Fail, r)
	}
	if n.ExpiresIn == 0 {
		n.ExpiresIn = defaultExpires
	}
	c.note(n.ExpiresIn >= minExpires && n.ExpiresIn <= maxExpires, "expires_in", "range", rangeExpires)
	if n.Flow == "" {
		n.Flow = "charge"
	}
	c.note(n.Flow == "charge" || n.Flow == "verify", "flow", "value", `must be "charge" or "verify"`)
	c.locale(n.Locale)
	c.note(n.Origin == "" || slices.Contains(r.origins, n.Origin), "origin", "value", "is not one of the allowed origins")
	if n.Customer != nil {
		customer := *n.Customer
		if customer.Address != nil {
			address := *customer.Address
			address.Country = strings.ToUpper(address.Country)
			customer.Address = &address
			if address == (Address{}) {
				customer.Address = nil
			}
		}
		n.Customer = &customer
	}
	if n.Services != nil {
		n.Services = slices.Clone(n.Services)
	}
	return n, c.err()
}

func (c *checker) amount(a checkout.Amount, currency string) {
	digits, _ := checkout.CurrencyDigits(currency)
	c.note(!a.IsZero(), "amount", "minimum", "must be greater than 0")
	c.note(a.Digits() <= digits, "amount", "digits", fmt.Sprintf("may have at most %d decimals in %s", digits, currency))
}

func (c *checker) text(field, s string, most int) {
	c.note(utf8.RuneCountInString(s) <= most, field, "length", fmt.Sprintf("may have at most %d characters", most))
	c.note(!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }),
		field, "pattern", "may not have control characters")
}

func (c *checker) services(n NewSession) {
	if n.Services == nil {
		return
	}
	c.note(len(n.Services) > 0 && len(n.Services) <= maxServices, "services", "length", fmt.Sprintf("must name 1 to %d services", maxServices))
	seen := map[string]bool{}
	for i, code := range n.Services {
		if i >= maxServices {
			break
		}
		field := fmt.Sprintf("services.%d", i)
		c.note(validCode(code), field, "pattern", "is not a service code")
		c.note(!seen[code], field, "duplicate", "is in the list twice")
		seen[code] = true
	}
	c.note(n.Service == "" || seen[n.Service], "service", "value", "is not in services")
}

// customer is lenient: routes differ in what they want, WZRDPAY decides. It refuses
// what can not be meant.
func (c *checker) customer(v *Customer, r rules) {
	if v == nil {
		return
	}
	c.note(v.ReferenceID != "", "customer.reference_id", "required", "is required")
	c.text("customer.reference_id", v.ReferenceID, maxText)
	c.text("customer.name", v.Name, maxText)
	c.text("customer.email", v.Email, maxText)
	c.note(v.Email == "" || validEmail(v.Email), "customer.email", "pattern", "is not an e-mail address")
	c.note(v.Phone == "" || validPhone(v.Phone), "customer.phone", "pattern", "is not a telephone number")
	c.note(v.IndividualTaxID == "" || len(v.IndividualTaxID) >= 2, "customer.individual_tax_id", "length", "must have 2 to 100 characters")
	c.text("customer.individual_tax_id", v.IndividualTaxID, 100)
	if v.DateOfBirth != "" {
		born, err := time.Parse(time.DateOnly, v.DateOfBirth)
		c.note(err == nil && born.Year() >= 1900 && born.Unix() <= r.now, "customer.date_of_birth", "pattern", "must be a past date, YYYY-MM-DD")
	}
	c.free("customer.metadata", v.Metadata)
	if a := v.Address; a != nil {
		c.note(a.Country == "" || len(a.Country) == 2 && alpha(a.Country), "customer.address.country", "pattern", "must be two letters (ISO 3166-1)")
		c.text("customer.address.region", a.Region, maxText)
		c.text("customer.address.city", a.City, maxText)
		c.text("customer.address.street", a.Street, maxText)
		c.text("customer.address.full_address", a.FullAddress, 1000)
		c.text("customer.address.post_code", a.PostCode, 32)
	}
}

func (c *checker) free(field string, j checkout.JSON) {
	c.note(len(j) == 0 || json.Valid(j) && isObject(j), field, "type", "must be a JSON object")
	c.note(len(j) <= maxFree, field, "length", fmt.Sprintf("may have at most %d bytes", maxFree))
}

func (c *checker) url(field, text string, r rules) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	ok := err == nil && len(text) <= maxURL && u.Host != "" && u.Hostname() != "" && u.User == nil &&
		(u.Scheme == "https" || u.Scheme == "http") && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f })
	c.note(ok, field, "url", "must be an absolute http(s) address of at most 2048 characters")
	c.note(!ok || r.testMode || u.Scheme == "https", field, "url", "must be https in live mode")
}

// locale takes the form of BCP 47: a language of 2 to 8 letters, then subtags.
func (c *checker) locale(tag string) {
	if tag == "" {
		return
	}
	parts := strings.Split(tag, "-")
	ok := len(tag) <= 35 && len(parts[0]) >= 2 && len(parts[0]) <= 8 && alpha(parts[0])
	for _, p := range parts[1:] {
		ok = ok && len(p) >= 1 && len(p) <= 8 && !strings.ContainsFunc(p, func(r rune) bool { return !letter(r) && (r < '0' || r > '9') })
	}
	c.note(ok, "locale", "pattern", "is not a BCP 47 language tag")
}

func letter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func alpha(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return !letter(r) }) }

// validCode: the catalogue's codes are a-z 0-9 - . _ ; older ones may have capitals.
func validCode(code string) bool {
	return code != "" && len(code) <= 100 && !strings.ContainsFunc(code, func(r rune) bool {
		return !letter(r) && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
}

func validEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1 && len(s) <= 254 &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' || r == ',' }) &&
		!strings.HasPrefix(s[at+1:], ".") && !strings.HasSuffix(s, ".")
}

func validPhone(s string) bool {
	digits := 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case !strings.ContainsRune("+-(). ", r):
			return false
		}
	}
	return digits >= 4 && digits <= 20 && len(s) <= 40
}

// fingerprint is equal for two normalised requests exactly when they mean the same.
func (n NewSession) fingerprint() (string, error) {
	raw, err := json.Marshal(n)
	if err != nil {
		return "", fmt.Errorf("encode request: %w", err)
	}
	text, _ := canonical(raw)
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
