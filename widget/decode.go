package widget

import "wzrdcheckout/internal/checkout"

// The readers below turn the BFF's JSON into the vocabulary of package checkout, as far
// as the page draws it. What is missing or of another type becomes the zero value: the
// page shows what it can.

func whole(v *Value) int64 {
	return number(v.Number())
}

func amount(v *Value) checkout.Amount {
	a, _ := checkout.ParseAmount(v.Number())
	return a
}

func amountOrNil(v *Value) *checkout.Amount {
	a, err := checkout.ParseAmount(v.Number())
	if err != nil {
		return nil
	}
	return &a
}

func session(v *Value) *checkout.Session {
	s := &checkout.Session{
		ID:          v.Get("id").String(),
		Status:      checkout.Status(v.Get("status").String()),
		Revision:    whole(v.Get("revision")),
		ReferenceID: v.Get("reference_id").String(),
		Amount:      amount(v.Get("amount")),
		Currency:    v.Get("currency").String(),
		Digits:      int(whole(v.Get("digits"))),
		TestMode:    v.Get("test_mode").Bool(),
		Flow:        v.Get("flow").String(),
		ExpiresAt:   whole(v.Get("expires_at")),
	}
	if i := v.Get("invoice"); !i.IsNull() {
		s.Invoice = &checkout.Invoice{
			Service:         i.Get("service").String(),
			Resolution:      i.Get("resolution").String(),
			ProcessedAmount: amountOrNil(i.Get("processed_amount")),
			RefundedAmount:  amountOrNil(i.Get("refunded_amount")),
			Currency:        i.Get("currency").String(),
			ExpiresAt:       whole(i.Get("expires_at")),
		}
	}
	return s
}

// in gives a text of several languages in one of them, else in English, else the first.
func in(v *Value, lang string) string {
	if s := v.Get(lang).String(); s != "" {
		return s
	}
	if s := v.Get("en").String(); s != "" {
		return s
	}
	return v.Index(0).String()
}

// call names a choice: the method's name, else its description, else the service's code.
func (c *choice) call(name, description string) {
	if name == "" {
		name = description
	}
	if name == "" {
		name = c.code
	}
	c.name, c.names = name, c.code+" "+name
}

func choices(services, methods *Value, lang string) []choice {
	list := make([]choice, services.Len())
	for i := range list {
		e, c := services.Index(i), &list[i]
		c.code, c.method = e.Get("code").String(), e.Get("method").String()
		c.currency = e.Get("currency").String()
		c.low, c.high = amountOrNil(e.Get("amount_min")), amountOrNil(e.Get("amount_max"))
		method := methods.Get(c.method)
		c.sign, c.group = kind(method.Get("category").String())
		c.logo = method.Get("logo").String()
		name := method.Get("name")
		c.call(in(name, lang), method.Get("description").String())
		for j := range name.Len() {
			c.names += " " + name.Index(j).String()
		}
		fs := e.Get("fields")
		c.fields = make([]field, fs.Len())
		for j := range c.fields {
			v, f := fs.Index(j), &c.fields[j]
			f.key, f.label, f.hint = v.Get("key").String(), in(v.Get("label"), lang), in(v.Get("hint"), lang)
			f.example, f.regexp, f.required = v.Get("example").String(), v.Get("regexp").String(), v.Get("required").Bool()
		}
	}
	return list
}
