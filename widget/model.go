package widget

import (
	"strings"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/fields"
)

// Options are what a Model is made with. In the page they come from mount(), the tag's
// data attributes or the element's attributes.
type Options struct {
	Base     string   // where the BFF is: "https://pay.shop.example", no slash at the end
	Locale   string   // wanted language, BCP 47; "" = the session's
	Texts    string   // the language's texts; "" = English. New looks them up itself on the server
	Theme    string   // "light", "dark", "auto"; "" = auto
	Layout   string   // "list", "grid", "accordion"; "" = list
	Redirect string   // "self", "popup", "tab", "manual"; "" = self
	Selected string   // code of the service or method to preselect
	First    []string // codes of methods or services to put first, in this order
	Hide     []string // codes of methods or services not to show
	Hosted   bool     // the BFF's own page: starting again is not possible here
	ReadOnly bool     // scope status: where the payment stands, and no list
	Token    string   // session token; only in the page

	Matcher fields.Matcher                                           // nil = patterns are not checked here
	Money   func(locale, amount, currency string, digits int) string // nil = as in amounts.txt
	Fold    func(s string) string                                    // nil = a search minds capitals
	Plural  func(locale string, n int) string                        // nil = "other": the Intl plural category of n
}

// phase is what the shopper is doing; what the payment does is the session's status.
type phase byte

const (
	loading phase = iota // nothing has arrived yet
	broken               // nothing could be loaded
	ready                // choosing and typing
	sending              // the BFF is asked to pay
	leaving              // the shopper is on the way to the provider
)

// Model is all the widget knows. Update gives a new one and leaves the old one as it
// was; what it points to is not changed either. Use New.
// Methods take a pointer because TinyGo spells out every copy of a large struct.
type Model struct {
	o       *Options // replaced, not changed
	lang    string
	texts   words
	live    bool // an edge listens: what only works with events may be shown
	phase   phase
	problem string // with broken: the text key of what is wrong

	session  *checkout.Session // never nil
	raw      string            // the session as the BFF wrote it, for the host
	offer    string            // the services as the BFF wrote them
	names    string            // the methods as the BFF wrote them
	services []choice
	rows     []*Node // the rows as they look while they are not chosen

	chosen  string   // service code
	values  []string // field names and what was typed, in turn
	errs    []checkout.FieldError
	notice  string // text key of the form's own problem
	query   string
	shown   int // services that fit the query
	said    string
	retry   bool   // what the notice is about may work later
	attempt string // idempotency key of the attempt that got no answer
	sent    string // body of that attempt

	resent   bool // what is being sent asks for the open attempt's redirect again
	away     bool // a provider's page was opened beside this one
	checking bool // no news for a while
	told     told
	line     line
}

// told is what the host has heard, so that it hears everything once.
type told struct {
	ready    bool
	status   checkout.Status
	service  string
	complete bool
	state    string
}

// New makes a Model that shows the loading state.
func New(o Options) *Model {
	o.Base = strings.TrimSuffix(o.Base, "/")
	m := &Model{o: &o, session: &checkout.Session{}}
	m.speak(o.Locale, o.Texts)
	return m
}

func (m *Model) speak(locale, texts string) {
	if texts == "" {
		locale, texts = builtin(locale)
	}
	m.lang, m.texts = "en", words(texts)
	if texts != "" {
		m.lang = plain(language(locale))
	}
}

// Language is the language of the texts; RTL tells whether it is written right to left.
func (m *Model) Language() string { return m.lang }

// locale is how amounts are written: the wanted locale if its language is the one shown.
func (m *Model) locale() string {
	if language(m.o.Locale) == m.lang {
		return m.o.Locale
	}
	return m.lang
}

// RTL tells whether the language is written from right to left.
func (m *Model) RTL() bool { return rightToLeft(m.lang) }

// arrive puts a session and what it can be paid with into the Model.
func (m *Model) arrive(s *checkout.Session, services []choice) {
	m.phase, m.session = ready, s
	m.services = m.arrange(services)
	m.rows = make([]*Node, len(m.services))
	for i := range m.services {
		d := &drawing{Model: m}
		d.row(i, false)
		m.rows[i] = parseTree(string(d.out), nil)
	}
	m.shown = len(m.services)
	if m.query != "" {
		m.search(m.query)
	}
	if m.index(m.chosen) < 0 {
		m.chosen = ""
		for i := range m.services {
			s := &m.services[i]
			if len(m.services) == 1 || m.o.Selected != "" && (s.code == m.o.Selected || s.method == m.o.Selected) {
				m.chosen = s.code
				break
			}
		}
	}
}

// refused shows what was wrong with the chosen service's fields; what belongs to no
// field becomes the notice.
func (m *Model) refused(errs []checkout.FieldError) {
	m.errs, m.notice = nil, ""
	s := m.service()
	for _, e := range errs {
		e.Field = strings.TrimPrefix(e.Field, "fields.")
		switch {
		case hasField(s, e.Field):
			m.errs = append(m.errs, e)
		case e.Field == "service" && e.Code == fields.Required:
			m.notice = "e.service_required"
		case e.Field == "service":
			m.notice = "e.service"
		default:
			m.notice = "e.failed"
		}
	}
	if m.notice == "" && len(m.errs) > 0 {
		m.notice = "e.fields"
	}
}

func hasField(s *choice, key string) bool {
	if s == nil {
		return false
	}
	for i := range s.fields {
		if s.fields[i].key == key {
			return true
		}
	}
	return false
}

// arrange leaves out what the page does not want and puts first what it wants first. In
// a long list the rest is put together by kind; kinds, and the services of each, stay in
// the order in which they came.
func (m *Model) arrange(services []choice) []choice {
	list := make([]choice, 0, len(services))
	m.services = nil
	for at := 0; ; at++ {
		group := ""
		for i := range services {
			s := &services[i]
			if s.hidden { // it has its place, or shall have none
				continue
			}
			if at < len(m.o.First) {
				if !s.called(m.o.First[at]) {
					continue
				}
				s.group = ""
			} else if len(services) < groupFrom {
				s.group = ""
			} else if group == "" {
				group = s.group
			} else if s.group != group {
				continue
			}
			s.hidden = true
			wanted := true
			for _, code := range m.o.Hide {
				wanted = wanted && !s.called(code)
			}
			if wanted {
				list = append(list, *s)
			}
		}
		if group == "" && at >= len(m.o.First) {
			return list
		}
	}
}

func (m *Model) index(code string) int {
	for i := range m.services {
		if m.services[i].code == code {
			return i
		}
	}
	return -1
}

// service is the chosen one, nil without a choice.
func (m *Model) service() *choice {
	if i := m.index(m.chosen); i >= 0 {
		return &m.services[i]
	}
	return nil
}

// payable tells whether the list is what has to be shown.
func (m *Model) payable() bool { return m.session.Status.Payable() && !m.o.ReadOnly }

// waiting tells whether the payment's outcome is still to come.
func (m *Model) waiting() bool {
	return m.session.Status == checkout.StatusPending || m.session.Status == checkout.StatusCreating
}

// FieldName is the name of a service's field in the form.
func FieldName(service, key string) string { return "field." + service + "." + key }

// typed keeps what was typed; the list of the Model before stays as it was.
func (m *Model) typed(name, value string) {
	values := make([]string, 0, len(m.values)+2)
	for i := 0; i < len(m.values); i += 2 {
		if m.values[i] != name {
			values = append(values, m.values[i], m.values[i+1])
		}
	}
	m.values = append(values, name, value)
}

// value is what was typed into a field.
func (m *Model) value(name string) string {
	for i := 0; i < len(m.values); i += 2 {
		if m.values[i] == name {
			return m.values[i+1]
		}
	}
	return ""
}

// money is an amount for people, as the browser's Intl writes it; it has at least so many
// decimals, 0 leaves them to the currency.
func (m *Model) money(a checkout.Amount, currency string, digits int) string {
	digits = max(digits, a.Digits())
	code := currency
	if len(code) != 3 {
		code = "XZZ" // Intl knows codes of three letters only; nobody's code gives the place and the grouping
	}
	money := m.o.Money
	if money == nil {
		money = written
	}
	s := money(m.locale(), a.Format(digits), code, digits)
	if i := index(s, code); i >= 0 {
		return s[:i] + currency + s[i+3:]
	}
	if s == "" {
		return a.Format(digits) + "\u00a0" + currency
	}
	return s
}

// total is the session's amount for people.
func (m *Model) total() string {
	return m.money(m.session.Amount, m.session.Currency, m.session.Digits)
}

// search keeps the query and counts what fits.
func (m *Model) search(query string) {
	m.query, m.shown = query, 0
	for i := range m.services {
		if m.fits(i) {
			m.shown++
		}
	}
}

func (m *Model) fits(i int) bool {
	if m.query == "" {
		return true
	}
	return index(m.o.fold(m.services[i].names), m.o.fold(m.query)) >= 0
}

func (o *Options) fold(s string) string {
	if o.Fold == nil {
		return s
	}
	return o.Fold(s)
}
