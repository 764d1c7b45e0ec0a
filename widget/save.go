package widget

import "wzrdcheckout/internal/checkout"

// The module that TinyGo makes has no garbage collector: keeping track of every pointer
// would be a third of its bytes. Instead, when its memory has grown, the page starts a
// fresh instance of it and hands over what Save wrote.

// Save writes down all widgets.
func (h *Host) Save() string {
	c := &copier{saving: true}
	for _, w := range h.widgets {
		c.s(&w.id)
		c.model(w.model)
	}
	return string(c.out)
}

// Restore makes the widgets of what Save wrote; the document is as Save's Host left it.
func (h *Host) Restore(saved string) {
	c := &copier{in: &reader{text: saved}}
	for c.in.text != "" {
		m := New(Options{})
		h.serve(m.o)
		id := ""
		c.s(&id)
		c.model(m)
		h.widgets = append(h.widgets, &placed{id: id, model: m, tree: View(m)})
	}
}

// copier writes members into lines, or reads them back, in one and the same order.
type copier struct {
	writer
	saving bool
	in     *reader
}

// s copies a string; its line breaks travel as 0x1d.
func (c *copier) s(p *string) {
	if c.saving {
		c.w(swap(*p, '\n', 0x1d)).w("\n")
		return
	}
	c.in.next()
	*p = swap(c.in.line, 0x1d, '\n')
}

func swap(s string, from, to byte) string {
	b := []byte(s)
	for i := range b {
		if b[i] == from {
			b[i] = to
		}
	}
	return string(b)
}

func (c *copier) i(p *int64) {
	s := digits(*p)
	c.s(&s)
	*p = number(s)
}

func (c *copier) flag(p *bool) {
	n := int64(0)
	if *p {
		n = 1
	}
	c.i(&n)
	*p = n == 1
}

func (c *copier) list(p *[]string) {
	n := int64(len(*p))
	c.i(&n)
	for i := range int(n) {
		if !c.saving {
			*p = append(*p, "")
		}
		c.s(&(*p)[i])
	}
}

func (c *copier) model(m *Model) {
	o := m.o
	for _, p := range [...]*string{
		&o.Base, &o.Locale, &o.Theme, &o.Layout, &o.Redirect, &o.Selected, &o.Token,
		&m.lang, (*string)(&m.texts), &m.problem, &m.raw, &m.offer, &m.names, &m.chosen, &m.notice, &m.query, &m.said,
		&m.attempt, &m.sent, (*string)(&m.told.status), &m.told.service, &m.told.state,
	} {
		c.s(p)
	}
	for _, p := range [...]*bool{
		&o.Hosted, &o.ReadOnly, &m.live, &m.retry, &m.resent, &m.away, &m.checking,
		&m.told.ready, &m.told.complete, &m.line.stopped,
	} {
		c.flag(p)
	}
	step := int64(m.phase)
	for _, p := range [...]*int64{&step, &m.line.state, &m.line.fails, &m.line.since, &m.line.hidden} {
		c.i(p)
	}
	c.list(&o.First)
	c.list(&o.Hide)
	c.list(&m.values)
	var errs []string
	for _, e := range m.errs {
		errs = append(errs, e.Field, e.Code)
	}
	c.list(&errs)
	if c.saving {
		return
	}
	chosen := m.chosen
	m.arrive(session(ParseJSON(m.raw)), choices(ParseJSON(m.offer), ParseJSON(m.names), m.lang))
	m.chosen, m.phase = chosen, phase(step) //nolint:gosec // one of five, as Save wrote it
	for i := 0; i+1 < len(errs); i += 2 {
		m.errs = append(m.errs, checkout.FieldError{Field: errs[i], Code: errs[i+1]})
	}
}
