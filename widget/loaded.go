//go:build !js

package widget

import (
	"strings"

	"wzrdcheckout/internal/checkout"
)

// Loaded puts a session and what it can be paid with into the Model, and gives it back.
func (m *Model) Loaded(s checkout.Session, services []checkout.Service, methods map[string]checkout.Method) *Model {
	list := make([]choice, 0, len(services))
	for _, e := range services {
		method := methods[e.Method]
		c := choice{
			code: e.Code, method: e.Method, currency: e.Currency, logo: method.Logo,
			low: e.AmountMin, high: e.AmountMax, hidden: method.Hide,
		}
		c.sign, c.group = kind(method.Category)
		c.call(method.Name.In(m.lang), method.Description)
		for _, n := range method.Name {
			c.names += " " + n
		}
		for _, f := range e.Fields {
			c.fields = append(c.fields, field{key: f.Key, label: f.Label.In(m.lang), hint: f.Hint.In(m.lang), example: f.Example, regexp: f.Regexp, required: f.Required})
		}
		list = append(list, c)
	}
	m.arrive(&s, list)
	return m
}

// Answered puts a form that came back without JavaScript into the Model and gives it back: the service
// that was chosen, its values by field key, and what was wrong with them. An error whose
// Field is "service" or "" is about the form as a whole.
func (m *Model) Answered(service string, values map[string]string, errs []checkout.FieldError) *Model {
	if m.index(service) >= 0 {
		m.chosen = service
	}
	for key, v := range values {
		m.typed(FieldName(service, key), v)
	}
	m.refused(errs)
	return m
}

// FormFields takes the fields of one service, by key, out of a form that was sent
// without JavaScript; the form holds those of every service.
func FormFields(form map[string][]string, service string) map[string]string {
	prefix := FieldName(service, "")
	values := map[string]string{}
	for name, v := range form {
		if key, ok := strings.CutPrefix(name, prefix); ok && len(v) > 0 {
			values[key] = v[0]
		}
	}
	return values
}

// Sign is what is drawn for a method of a category that has no logo: the path of an icon
// on a grid of 24 by 24, to be stroked.
func Sign(category string) string {
	sign, _ := kind(category)
	return sign
}

// Total is the session's amount as the page shows it.
func (m *Model) Total() string { return m.total() }
