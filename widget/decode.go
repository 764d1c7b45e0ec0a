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
	}
	if i := v.Get("invoice"); !i.IsNull() {
		s.Invoice = &checkout.Invoice{
			Service:         i.Get("service").String(),
			Resolution:      i.Get("resolution").String(),
			ProcessedAmount: amountOrNil(i.Get("processed_amount")),
			RefundedAmount:  amountOrNil(i.Get("refunded_amount")),
			Currency:        i.Get("currency").String(),
		}
	}
	return s
}

func text(v *Value) checkout.Text {
	if v.Len() == 0 {
		return nil
	}
	t := checkout.Text{}
	for i, k := range v.Keys() {
		t[k] = v.Index(i).String()
	}
	return t
}

func services(v *Value) []checkout.Service {
	list := make([]checkout.Service, 0, v.Len())
	for i := range v.Len() {
		e := v.Index(i)
		list = append(list, checkout.Service{
			Code:      e.Get("code").String(),
			Method:    e.Get("method").String(),
			Currency:  e.Get("currency").String(),
			AmountMin: amountOrNil(e.Get("amount_min")),
			AmountMax: amountOrNil(e.Get("amount_max")),
		})
		s := &list[len(list)-1]
		fs := e.Get("fields")
		for j := range fs.Len() {
			f := fs.Index(j)
			s.Fields = append(s.Fields, checkout.Field{
				Key:      f.Get("key").String(),
				Label:    text(f.Get("label")),
				Hint:     text(f.Get("hint")),
				Example:  f.Get("example").String(),
				Regexp:   f.Get("regexp").String(),
				Required: f.Get("required").Bool(),
			})
		}
	}
	return list
}

func methods(v *Value) map[string]checkout.Method {
	all := make(map[string]checkout.Method, v.Len())
	for i, code := range v.Keys() {
		e := v.Index(i)
		all[code] = checkout.Method{
			Category:    e.Get("category").String(),
			Description: e.Get("description").String(),
			Name:        text(e.Get("name")),
			Logo:        e.Get("logo").String(),
		}
	}
	return all
}
