package sandbox

import (
	"math/big"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// order is a wish for an invoice, from whichever door it came.
type order struct {
	attrs  map[string]any
	form   bool
	public bool
	test   bool // the mode of the public key
	source string
	base   string
	client string
	// hosted allows what only the hosted page's parameters may: expires in
	// Unix seconds.
	hosted bool
}

// Bounds of expires, from the vendor's page.
const (
	minLifetime = 14 * time.Minute
	maxLifetime = 48 * time.Hour
)

const (
	msgBlank   = "This value should not be blank."
	msgInvalid = "This value is not valid."
	msgChoice  = "The value you selected is not a valid choice."
	msgURL     = "This value is not a valid URL."
	msgString  = "This value should be of type string."
	msgObject  = "This value should be of type array."
)

// rates are service-currency units for one unit of an invoice's currency; for
// other pairs the rate is 1. They are made up.
var rates = map[string]string{
	"EUR/BTC": "0.00001", "USD/BTC": "0.000009", "UAH/BTC": "0.0000002",
	"EUR/USDT": "1.1", "USD/USDT": "1", "UAH/USDT": "0.024",
}

var datePattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)

// readText reads an optional string of at most limit characters; nil is null.
func readText(v any, limit int) (*string, string) {
	if v == nil {
		return nil, ""
	}
	text, ok := textOf(v)
	if !ok {
		return nil, msgString
	}
	if utf8.RuneCountInString(text) > limit {
		return nil, "This value is too long. It should have " + strconv.Itoa(limit) + " characters or less."
	}
	return &text, ""
}

// makeInvoice checks o and stores the invoice. It answers the invoice made, or
// the earlier one with the same reference, or what is wrong.
func (s *Server) makeInvoice(o order) (made, earlier *invoice, wrong violations) {
	wrong = violations{}
	now := s.now()
	inv := &invoice{
		serial: randomID(16), source: o.source, base: o.base, test: o.test, clientIP: o.client,
		created: now.Unix(), updated: now.Unix(), status: "process_pending", resolution: "ok",
		rate: big.NewRat(1, 1), payToken: "pay_" + randomID(24), sid: "cgi_" + randomID(16),
	}
	inv.id = "cpi_" + inv.serial
	ref, problem := readText(o.attrs["reference_id"], 255)
	switch {
	case problem != "":
		wrong["reference_id"] = problem
	case ref == nil || *ref == "":
		inv.ref = randomUUID()
	default:
		inv.ref = *ref
	}
	s.readMode(o, inv, wrong)
	s.readPrice(o, inv, wrong)
	if inv.description, problem = readText(o.attrs["description"], 1000); problem != "" {
		wrong["description"] = problem
	}
	readMaps(o, inv, wrong)
	inv.metadata["merchant_url"] = s.cfg.MerchantURL
	readURLs(o, inv, wrong)
	s.readExpires(o, inv, now, wrong)
	cus := readCustomer(o, wrong)
	if len(wrong) > 0 {
		return nil, nil, wrong
	}
	inv.token = sessionToken(s.secret, inv.sid, now.Add(30*time.Minute).Unix())

	s.mu.Lock()
	defer s.mu.Unlock()
	if earlier := s.byRef[inv.ref]; earlier != nil {
		s.expireLocked(earlier)
		return nil, earlier, nil
	}
	if cus != nil {
		inv.customer = s.customers[cus.ref]
		if inv.customer == nil {
			inv.customer = &customer{id: "cus_" + randomID(16), ref: cus.ref}
			s.customers[cus.ref] = inv.customer
		}
		inv.customer.attributes = cus.attributes
	}
	s.invoices[inv.id], s.byRef[inv.ref], s.bySID[inv.sid] = inv, inv, inv
	s.order = append(s.order, inv)
	s.setStatusLocked(inv, "process_pending", "ok")
	s.watchLocked(inv)
	return inv, nil, nil
}

// readMode reads test_mode and flow. The mode of a public call is its key's.
func (s *Server) readMode(o order, inv *invoice, wrong violations) {
	inv.flow = "charge"
	if !o.public {
		test, ok := boolOf(o.attrs["test_mode"], o.form)
		if !ok {
			wrong["test_mode"] = "This value should be of type bool."
		}
		inv.test = test
		if ok && !test && !s.cfg.AllowLive {
			wrong["test_mode"] = "This is a sandbox: only test invoices can be created, send test_mode true."
		}
	}
	if v := o.attrs["flow"]; v != nil && !o.public {
		flow, _ := textOf(v)
		if flow != "charge" && flow != "verify" {
			wrong["flow"] = msgChoice
		}
		inv.flow = flow
	}
}

// readPrice reads currency, service, its fields and the amount.
func (s *Server) readPrice(o order, inv *invoice, wrong violations) {
	currency, ok := textOf(o.attrs["currency"])
	digits, known := s.catalogue.currencies[currency]
	switch {
	case !ok || currency == "":
		wrong["currency"] = msgBlank
	case !known:
		wrong["currency"] = "This value is not a valid currency."
	}
	inv.currency = currency
	var problem string
	if inv.amount, problem = readAmount(o.attrs["amount"], o.form); problem != "" {
		wrong["amount"] = problem
	} else if known && digitsOf(inv.amount) > digits {
		wrong["amount"] = "This value should have " + strconv.Itoa(digits) + " decimal digits or less."
	}
	code, ok := textOf(o.attrs["service"])
	switch {
	case !ok || code == "":
		wrong["service"] = msgBlank
		return
	case !known:
		return
	}
	if inv.service = s.catalogue.offered(currency, code); inv.service == nil {
		wrong["service"] = msgChoice
		return
	}
	s.readFields(o, inv, wrong)
	if wrong["amount"] != "" {
		return
	}
	sv := inv.service
	if sv.Currency == currency {
		inv.serviceAmount = inv.amount
		if inv.amount.Cmp(sv.min) < 0 {
			wrong["amount"] = "This value should be greater than or equal to " + plain(sv.min) + "."
		} else if inv.amount.Cmp(sv.max) > 0 {
			wrong["amount"] = "This value should be less than or equal to " + plain(sv.max) + "."
		}
		return
	}
	if text := rates[currency+"/"+sv.Currency]; text != "" {
		inv.rate, _ = new(big.Rat).SetString(text)
	}
	places := 8
	if d, ok := s.catalogue.currencies[sv.Currency]; ok {
		places = d
	}
	exact := new(big.Rat).Mul(inv.amount, inv.rate)
	inv.serviceAmount, _ = new(big.Rat).SetString(fixed(exact, places))
}

// maxField caps a service field before its pattern sees it.
const maxField = 1024

func (s *Server) readFields(o order, inv *invoice, wrong violations) {
	v, path := o.attrs["service_fields"], "service_fields"
	if v == nil && o.public {
		v = o.attrs["fields"] // the old SDK's name
	}
	values, _, ok := mapOf(v)
	if !ok {
		wrong[path] = msgObject
		return
	}
	inv.fields = map[string]string{}
	for _, f := range inv.service.Fields {
		text, ok := textOf(values[f.Key])
		at := path + "." + f.Key
		switch {
		case !ok:
			wrong[at] = msgString
		case text == "":
			if f.Required {
				wrong[at] = msgBlank
			}
		case len(text) > maxField:
			wrong[at] = "This value is too long. It should have " + strconv.Itoa(maxField) + " characters or less."
		case f.pattern != nil && !f.pattern.MatchString(text):
			wrong[at] = msgInvalid
		default:
			inv.fields[f.Key] = text
		}
	}
}

// readMaps reads metadata, options and gateway_options.
func readMaps(o order, inv *invoice, wrong violations) {
	for _, m := range []struct {
		key  string
		into *object
	}{{"metadata", &inv.metadata}, {"options", &inv.options}, {"gateway_options", &inv.gatewayOptions}} {
		v, _, ok := mapOf(o.attrs[m.key])
		if !ok {
			wrong[m.key] = msgObject
		}
		*m.into = cloneMap(v)
	}
}

func readURLs(o order, inv *invoice, wrong violations) {
	read := func(key string, v any) string {
		text, ok := textOf(v)
		if !ok || text != "" && !validURL(text) {
			wrong[key] = msgURL
		}
		return text
	}
	inv.returnURL = read("return_url", o.attrs["return_url"])
	if !o.public { // never taken from the client's side, for safety
		inv.callbackURL = read("callback_url", o.attrs["callback_url"])
	}
	urls, present, ok := mapOf(o.attrs["return_urls"])
	if !ok {
		wrong["return_urls"] = msgObject
	}
	if !present || !ok {
		return
	}
	inv.returnURLs = map[string]string{}
	for _, k := range []string{"success", "pending", "fail"} {
		if u := read("return_urls."+k, urls[k]); u != "" {
			inv.returnURLs[k] = u
		}
	}
	if inv.returnURLs["pending"] == "" && wrong["return_urls.pending"] == "" {
		wrong["return_urls.pending"] = msgBlank
	}
}

func (s *Server) readExpires(o order, inv *invoice, now time.Time, wrong violations) {
	inv.expires = now.Add(s.cfg.InvoiceLifetime)
	text, ok := textOf(o.attrs["expires"])
	if !ok {
		wrong["expires"] = msgInvalid
		return
	}
	if text == "" {
		return
	}
	at, err := time.Parse(time.RFC3339, text)
	if o.hosted {
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		at = time.Unix(n, 0)
	}
	if err != nil {
		wrong["expires"] = "This value is not a valid datetime."
		return
	}
	// A second of grace: the text has whole seconds and travelled a while.
	if at.Before(now.Add(minLifetime-time.Second)) || at.After(now.Add(maxLifetime)) {
		wrong["expires"] = "This value should be between 14 minutes and 2 days from now."
		return
	}
	inv.expires = at
}

// readCustomer reads the customer; nil when none was sent.
func readCustomer(o order, wrong violations) *customer {
	in, present, ok := mapOf(o.attrs["customer"])
	if !ok {
		wrong["customer"] = msgObject
		return nil
	}
	if !present {
		return nil
	}
	read := func(m map[string]any, key, path string) any {
		t, problem := readText(m[key], 255)
		if problem != "" {
			wrong[path] = problem
		}
		return textOrNull(t)
	}
	a := object{"processing_options": object{"payment_enabled": true, "payout_enabled": true}}
	for _, k := range []string{"reference_id", "name", "email", "phone", "individual_tax_id", "date_of_birth"} {
		a[k] = read(in, k, "customer."+k)
	}
	ref, _ := a["reference_id"].(string)
	if ref == "" && wrong["customer.reference_id"] == "" {
		wrong["customer.reference_id"] = msgBlank
	}
	if e, _ := a["email"].(string); e != "" {
		if addr, err := mail.ParseAddress(e); err != nil || addr.Address != e {
			wrong["customer.email"] = "This value is not a valid email address."
		}
	}
	if d, _ := a["date_of_birth"].(string); d != "" {
		if _, err := time.Parse(time.DateOnly, d); err != nil || !datePattern.MatchString(d) {
			wrong["customer.date_of_birth"] = "This value is not a valid date."
		}
	}
	meta, _, ok := mapOf(in["metadata"])
	if !ok {
		wrong["customer.metadata"] = msgObject
	}
	a["metadata"] = cloneMap(meta)
	where, _, ok := mapOf(in["address"])
	if !ok {
		wrong["customer.address"] = msgObject
	}
	address := object{}
	for _, k := range []string{"country", "region", "city", "street", "full_address", "post_code"} {
		if where[k] != nil {
			address[k] = read(where, k, "customer.address."+k)
		}
	}
	if c, _ := address["country"].(string); c != "" && (len(c) != 2 || strings.ToUpper(c) != c) {
		wrong["customer.address.country"] = "This value is not a valid country."
	}
	a["address"] = address
	return &customer{ref: ref, attributes: a}
}
