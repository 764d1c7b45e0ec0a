package wzrd

import "wzrdcheckout/internal/checkout"

// Bare is the normalisation of patterns.
var Bare = bare

// Code is a row of the table of HTTP codes.
type Code struct {
	Status    int
	Directive checkout.Directive
	Kind      error
	Name      string
	Retry     bool
}

// Codes is the table of HTTP codes.
func Codes() []Code {
	list := make([]Code, 0, len(codes))
	for _, c := range codes {
		list = append(list, Code{c.status, c.directive, c.kind, c.name, c.retry})
	}
	return list
}

// The decoders, as FuzzDecode compares them.

func DecodeInvoice(body []byte) (v checkout.Invoice, hpp, action, method string, params map[string]string, err error) {
	doc, ok := parse(body)
	if !ok {
		return v, "", "", "", nil, checkout.ErrInvalid
	}
	w, err := decodeInvoice(doc.get("data"))
	return w.Invoice, w.hppURL, w.form.action, w.form.method, w.form.params, err
}

func DecodePreRequest(body []byte, currency string) (pre checkout.PreRequest, test, said bool, err error) {
	doc, ok := parse(body)
	if !ok {
		return pre, false, false, checkout.ErrInvalid
	}
	pre, mode, err := decodePreRequest(doc, currency)
	test, said = mode.truth()
	return pre, test, said, err
}

func DecodeAccountService(body []byte) (checkout.AccountService, error) {
	doc, ok := parse(body)
	if !ok {
		return checkout.AccountService{}, checkout.ErrInvalid
	}
	return decodeAccountService(doc.get("data"))
}

func DecodeProblem(body []byte) (code, detail string, fields []checkout.FieldError) {
	doc, ok := parse(body)
	if !ok {
		return "", "", nil
	}
	p := decodeProblem(doc)
	return p.code, p.detail, p.fields
}

// The limits that tests fill up.
const (
	MaxCurrencies = maxCurrencies
	MaxAnswer     = maxAnswer
	BreakAfter    = breakAfter
	BreakFor      = breakFor
)
