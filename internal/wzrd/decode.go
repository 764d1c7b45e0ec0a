package wzrd

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"wzrdcheckout/internal/checkout"
)

// wireInvoice is an invoice with the two ways to pay that an answer may hold, not yet
// judged (redirect.go).
type wireInvoice struct {
	checkout.Invoice
	kind   string // the JSON:API type, "" in the public view
	hppURL string
	form   wireForm
}

// wireForm is flow_data without its metadata, which never leaves this function.
type wireForm struct {
	action, method string
	params         map[string]string
	elsewhere      bool // flow_data without an action: the hosted page shows what to pay
}

// decodeInvoice reads an invoice in either API's shape: private
// {type,id,attributes{…},relationships{…}} or public, flat. It refuses one without id,
// status, amount or currency; everything else may be missing.
func decodeInvoice(data node) (wireInvoice, error) {
	var w wireInvoice
	if data.kind() != '{' {
		return w, errors.New("no invoice object")
	}
	var attributes, service node
	data.each(func(key string, v node) {
		switch key {
		case "type":
			w.kind = v.text()
		case "id":
			w.ID = stringOf(v)
		case "attributes":
			attributes = v
		case "relationships":
			service = v.get("payment-service", "data", "id")
		}
	})
	if attributes.kind() != '{' {
		attributes = data
	}
	var amount *checkout.Amount
	var active wireForm
	attributes.each(func(key string, v node) {
		switch key {
		case "reference_id":
			w.ReferenceID = v.text()
		case "service":
			w.Service = stringOf(v)
		case "status":
			w.Status = v.word()
		case "resolution":
			w.Resolution = v.word()
		case "amount":
			amount = v.amount()
		case "payment_amount":
			w.PaymentAmount = v.amount()
		case "processed_amount":
			w.ProcessedAmount = v.amount()
		case "refunded_amount":
			w.RefundedAmount = v.amount()
		case "currency":
			w.Currency = stringOf(v)
		case "created":
			w.Created = v.seconds()
		case "updated":
			w.Updated = v.seconds()
		case "expires":
			w.ExpiresAt = v.seconds()
		case "test_mode":
			w.TestMode, _ = v.truth()
		case "metadata":
			w.SessionID = stringOf(v.get("session_id"))
		case "hpp_url":
			w.hppURL = stringOf(v)
		case "flow_data":
			w.form = decodeForm(v)
		case "active_payment":
			active = decodeForm(v.get("payload"))
		}
	})
	if w.form.action == "" {
		elsewhere := w.form.elsewhere
		w.form = active // the public view's place for it
		w.form.elsewhere = elsewhere
	}
	if id := stringOf(service); id != "" {
		w.Service = id
	}
	if w.Updated == 0 { // the public view has none
		w.Updated = w.Created
	}
	switch {
	case w.ID == "":
		return w, errors.New("invoice without an id")
	case w.Status == "":
		return w, errors.New("invoice without a status")
	case amount == nil:
		return w, errors.New("invoice without a usable amount")
	case w.Currency == "":
		return w, errors.New("invoice without a currency")
	}
	w.Amount = *amount
	return w, nil
}

// isInvoice tells whether the JSON:API type is the invoice's, in the plural or the
// singular (both are published).
func (w wireInvoice) isInvoice() bool {
	return w.kind == "payment-invoices" || w.kind == "payment-invoice"
}

// stringOf is a string's value and nothing else: an object or a number in its place reads as absent.
func stringOf(n node) string {
	if n.kind() != '"' {
		return ""
	}
	return unquote(n)
}

func decodeForm(v node) wireForm {
	f := wireForm{action: stringOf(v.get("action")), method: strings.ToUpper(stringOf(v.get("method")))}
	f.elsewhere = v.kind() == '{' && v.get("action").kind() != '"'
	if params := v.get("params"); params.kind() == '{' {
		flat := map[string]string{}
		flatten(params, "", flat)
		if len(flat) > 0 {
			f.params = flat
		}
	}
	return f
}

// flatten writes nested values in the bracket form that PHP reads: a[b][c], a[0].
// Null is left out.
func flatten(n node, name string, into map[string]string) {
	under := func(key string) string {
		if name == "" {
			return key
		}
		return name + "[" + key + "]"
	}
	switch n.kind() {
	case '{':
		n.each(func(key string, v node) { flatten(v, under(key), into) })
	case '[':
		i := 0
		n.items(func(v node) {
			flatten(v, under(fmt.Sprint(i)), into)
			i++
		})
	case 'n':
	default:
		if name != "" {
			into[name] = n.text()
		}
	}
}

// decodePreRequest reads the answer of POST /payment-prerequest: flat, or the older
// JSON:API shape with everything under attributes. currency is what was asked for.
// An answer without a services map is refused; a service or method that is no object is
// left out.
func decodePreRequest(doc node, currency string) (pre checkout.PreRequest, mode node, err error) {
	data := doc.get("data")
	if inner := data.get("attributes"); inner.kind() == '{' {
		data = inner
	}
	services := data.get("services")
	if k := services.kind(); k != '{' && k != '[' {
		return pre, nil, errors.New("pre-request without services")
	}
	pre.Currency = currency
	if c := stringOf(data.get("currency")); c != "" && c != currency {
		return pre, nil, errors.New("pre-request in another currency than asked for")
	}
	pre.Methods = map[string]checkout.Method{}
	members(data.get("methods"), func(code string, v node) { pre.Methods[code] = decodeMethod(code, v) })
	seen := map[string]int{}
	members(services, func(code string, v node) {
		s := decodeService(code, currency, v)
		if i, again := seen[s.Code]; again {
			pre.Services[i] = s
			return
		}
		seen[s.Code] = len(pre.Services)
		pre.Services = append(pre.Services, s)
	})
	account := data.get("account")
	pre.Account = checkout.Account{
		Name: stringOf(account.get("name")), Description: stringOf(account.get("description")),
		Icon: webAddress(account.get("icon")), Website: webAddress(account.get("website")),
	}
	arrange(pre.Services, pre.Methods)
	return pre, data.get("test_mode"), nil
}

// members walks a map of objects with a code: an object by key, or a list of objects
// that carry their code. The object's own code wins over the key.
func members(n node, f func(code string, v node)) {
	visit := func(key string, v node) {
		if v.kind() != '{' {
			return
		}
		if own := stringOf(v.get("code")); own != "" {
			key = own
		}
		if key != "" {
			f(key, v)
		}
	}
	if n.kind() == '[' {
		n.items(func(v node) { visit("", v) })
		return
	}
	n.each(visit)
}

func decodeService(code, currency string, v node) checkout.Service {
	s := checkout.Service{Code: code, Currency: currency, Fields: []checkout.Field{}}
	v.each(func(key string, v node) {
		switch key {
		case "method":
			s.Method = stringOf(v)
		case "flow":
			s.Flow = stringOf(v)
		case "currency":
			if c := stringOf(v); c != "" {
				s.Currency = c
			}
		case "amount_min":
			s.AmountMin = v.amount()
		case "amount_max":
			s.AmountMax = v.amount()
		case "fields":
			s.Fields = []checkout.Field{}
			v.items(func(v node) {
				if f := decodeField(v); f.Key != "" {
					s.Fields = append(s.Fields, f)
				}
			})
		}
	})
	slices.SortStableFunc(s.Fields, func(a, b checkout.Field) int { return a.Position - b.Position })
	return s
}

func decodeField(v node) checkout.Field {
	f := checkout.Field{Type: "string"}
	position := v.get("position")
	if !position.some() {
		position = v.get("weight") // older answers
	}
	f.Position = place(position)
	v.each(func(key string, v node) {
		switch key {
		case "key":
			f.Key = stringOf(v)
		case "type":
			if t := stringOf(v); t != "" {
				f.Type = t
			}
		case "label":
			f.Label = v.texts()
		case "hint":
			f.Hint = v.texts()
		case "example":
			f.Example = v.text()
		case "regexp":
			f.Regexp = bare(stringOf(v))
		case "required":
			f.Required, _ = v.truth()
		}
	})
	return f
}

// place is a position, kept within what an int of 32 bits holds so that differences of
// two can not overflow.
func place(n node) int {
	v, _ := n.whole()
	return int(min(max(v, -1_000_000), 1_000_000))
}

func decodeMethod(code string, v node) checkout.Method {
	m := checkout.Method{Code: code}
	v.each(func(key string, v node) {
		switch key {
		case "category":
			m.Category = stringOf(v)
		case "description":
			if v.kind() == '"' {
				m.Description = unquote(v)
			} else {
				m.Description = v.texts().In("en")
			}
		case "name":
			m.Name = v.texts()
		case "logo":
			m.Logo = webAddress(v)
		case "icon":
			m.Icon = webAddress(v)
		case "position":
			m.Position = nil
			if _, ok := v.whole(); ok {
				p := place(v)
				m.Position = &p
			}
		case "hide":
			m.Hide, _ = v.truth()
		}
	})
	return m
}

// webAddress passes an https address on, and http on a loopback host, which only a
// sandbox has; anything else is dropped. The page never sees it: the edge proxies it.
func webAddress(n node) string {
	s := stringOf(n)
	if s == "" || strings.ContainsAny(s, " \t\r\n\"'<>\\") {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return ""
	}
	return s
}

// arrange orders services: by the method's position (none last), then by what kind of
// method it is, then by code. The vendor's map has no order of its own, and a list that
// changes with every refresh would move under the shopper's finger.
func arrange(services []checkout.Service, methods map[string]checkout.Method) {
	slices.SortFunc(services, func(a, b checkout.Service) int {
		x, y := methods[a.Method], methods[b.Method]
		if c := comparePositions(x.Position, y.Position); c != 0 {
			return c
		}
		if c := prominence(x.Category) - prominence(y.Category); c != 0 {
			return c
		}
		return strings.Compare(a.Code, b.Code)
	})
}

func comparePositions(a, b *int) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return *a - *b
}

// prominence puts what most shoppers look for first, and the test methods last.
func prominence(category string) int {
	if i := slices.Index([]string{"payment_card", "digital_wallet", "mobile_payment", "online_banking", "bank_transfer"}, category); i >= 0 {
		return i
	}
	if category == "alternative" {
		return 100
	}
	return 50
}

// decodeAccountService reads one row of GET /payment-services; it refuses one without
// id or service code.
func decodeAccountService(data node) (checkout.AccountService, error) {
	s := checkout.AccountService{ID: stringOf(data.get("id"))}
	data.get("attributes").each(func(key string, v node) {
		switch key {
		case "service":
			s.Service = stringOf(v)
		case "service_method":
			s.Method = stringOf(v)
		case "service_currency":
			s.Currency = stringOf(v)
		case "available":
			s.Available, _ = v.truth()
		case "active":
			s.Active, _ = v.truth()
		case "enabled":
			s.Enabled, _ = v.truth()
		case "amount_min":
			s.AmountMin = v.amount()
		case "amount_max":
			s.AmountMax = v.amount()
		case "fee_min":
			s.FeeMin = v.amount()
		case "fee_max":
			s.FeeMax = v.amount()
		case "fee_rate":
			s.FeeRate = v.amount()
		case "fee_fix":
			s.FeeFix = v.amount()
		case "reserve_lifetime":
			s.ReserveLifetime, _ = v.whole()
		case "reserve_rate":
			s.ReserveRate = v.amount()
		case "currency":
			s.AccountCurrency = stringOf(v)
		case "test_mode":
			s.TestMode, _ = v.truth()
		}
	})
	relation := func(name string) string { return stringOf(data.get("relationships", name, "data", "id")) }
	if s.Service == "" {
		s.Service = relation("payment-service")
	}
	if s.Method == "" {
		s.Method = relation("payment-method")
	}
	if s.ID == "" || s.Service == "" {
		return s, errors.New("service without id or code")
	}
	return s, nil
}

// wireProblem is what an error body says, in either of its forms.
type wireProblem struct {
	code, detail string
	fields       []checkout.FieldError
}

// maxMessage cuts texts of the vendor's; its own are a sentence.
const maxMessage = 300

// decodeProblem reads {"errors":[{status,code,title,detail}]}, {"errors":{field:message}}
// or {"error":…}; whatever else the body is gives nothing.
func decodeProblem(doc node) wireProblem {
	var p wireProblem
	errs := doc.get("errors")
	switch errs.kind() {
	case '[':
		errs.items(func(v node) {
			if v.kind() == '"' && p.detail == "" {
				p.detail = clean(unquote(v))
			}
			if v.kind() != '{' {
				return
			}
			message := clean(firstText(v, "detail", "title", "message", "status"))
			if pointer := stringOf(v.get("source", "pointer")); pointer != "" {
				p.fields = append(p.fields, fieldProblem(strings.ReplaceAll(strings.Trim(pointer, "/"), "/", "."), message))
			}
			if p.code == "" {
				p.code = clean(v.get("code").text())
			}
			if p.detail == "" {
				p.detail = message
			}
		})
	case '{':
		problems(errs, "", &p.fields)
	case '"':
		p.detail = clean(unquote(errs))
	}
	if e := doc.get("error"); p.detail == "" && len(p.fields) == 0 {
		p.detail = clean(e.text())
		if e.kind() == '{' {
			p.detail = clean(firstText(e, "detail", "message", "title"))
		}
	}
	slices.SortStableFunc(p.fields, func(a, b checkout.FieldError) int { return strings.Compare(a.Field, b.Field) })
	p.fields = slices.CompactFunc(p.fields, func(a, b checkout.FieldError) bool { return a.Field == b.Field })
	return p
}

func firstText(v node, keys ...string) string {
	for _, k := range keys {
		if s := v.get(k).text(); s != "" {
			return s
		}
	}
	return ""
}

// problems walks {field: message}, {field: [message, …]} and nested objects.
func problems(n node, name string, into *[]checkout.FieldError) {
	n.each(func(key string, v node) {
		if name != "" {
			key = name + "." + key
		}
		switch v.kind() {
		case '{':
			problems(v, key, into)
		case '[':
			message := ""
			v.items(func(v node) {
				if message == "" {
					message = clean(v.text())
				}
			})
			*into = append(*into, fieldProblem(key, message))
		default:
			*into = append(*into, fieldProblem(key, clean(v.text())))
		}
	})
}

// fieldProblem names the field as the page knows it: "data.attributes.service_fields[x]",
// "service_fields.x" and "x" are all "x".
func fieldProblem(path, message string) checkout.FieldError {
	path = strings.NewReplacer("[", ".", "]", "").Replace(path)
	for _, outer := range []string{"data.", "attributes.", "service_fields.", "fields."} {
		path = strings.TrimPrefix(path, outer)
	}
	if message == "" {
		message = "WZRDPAY refused this value."
	}
	return checkout.FieldError{Field: clean(path), Code: "refused", Message: message}
}

// clean makes a vendor's text fit for one line of a log or a page.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxMessage {
		s = string(r[:maxMessage]) + "…"
	}
	return strings.TrimSpace(s)
}
