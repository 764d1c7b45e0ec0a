package widget

import "wzrdcheckout/internal/checkout"

// choice is one way to pay as it is drawn: a service with its method, in one language.
type choice struct {
	code, method string
	name, names  string // for people; all that a search looks at
	currency     string
	sign, group  string // drawn for a missing logo; text key of its group, "" = on top
	logo         string
	low, high    *checkout.Amount // limits, nil = none
	fields       []field
	hidden       bool
}

// field is one value that the service wants.
type field struct {
	key, label, hint, example, regexp string
	required                          bool
}

// called tells whether a code is the service's or its method's.
func (c *choice) called(code string) bool { return c.code == code || c.method == code }
