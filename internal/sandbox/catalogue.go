package sandbox

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

//go:embed assets/catalogue.json
var builtIn []byte

// catalogue is what the account can sell: services by the currency they are
// offered for, and the methods they belong to.
type catalogue struct {
	currencies map[string]int // digits after the point
	methods    map[string]*method
	services   map[string]map[string]*service
	listed     []*accountService // what /payment-services lists, in a fixed order
	byID       map[string]*accountService
}

type method struct {
	Code        string            `json:"code"`
	Category    string            `json:"category"`
	Name        map[string]string `json:"name"`
	Description json.RawMessage   `json:"description"` // text, or texts by language
	Hide        *bool             `json:"hide"`
}

type service struct {
	Code     string      `json:"code"`
	Method   string      `json:"method"`
	Flow     string      `json:"flow"`
	Currency string      `json:"currency"`
	Fields   []field     `json:"fields"`
	Min      json.Number `json:"amount_min"`
	Max      json.Number `json:"amount_max"`
	Redirect string      `json:"redirect"` // "POST" when the payment page wants a form; else GET

	min, max *big.Rat
}

type field struct {
	Key      string            `json:"key"`
	Type     string            `json:"type"`
	Label    map[string]string `json:"label"`
	Hint     map[string]string `json:"hint"`
	Example  *string           `json:"example"`
	Regexp   string            `json:"regexp"`
	Required bool              `json:"required"`
	Position int               `json:"position"`

	pattern *regexp.Regexp // nil when it does not compile: the provider decides
}

// accountService is a row of the private list: a service as the account has it.
type accountService struct {
	id string
	*service
}

// loadCatalogue reads an OpenFinTech-shaped document; path "" is the built-in.
func loadCatalogue(path string) (*catalogue, error) {
	raw := builtIn
	if path != "" {
		var err error
		if raw, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("read catalogue: %w", err)
		}
	}
	var doc struct {
		Currencies map[string]struct {
			Exponent int `json:"exponent"`
		} `json:"currencies"`
		Methods  map[string]*method             `json:"methods"`
		Services map[string]map[string]*service `json:"services"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	c := &catalogue{
		currencies: map[string]int{}, methods: doc.Methods, services: doc.Services,
		byID: map[string]*accountService{},
	}
	for code, cur := range doc.Currencies {
		c.currencies[code] = cur.Exponent
	}
	for cur, list := range doc.Services {
		if _, ok := c.currencies[cur]; !ok {
			return nil, fmt.Errorf("read catalogue: services of the unlisted currency %q", cur)
		}
		for code, sv := range list {
			if err := c.prepare(code, sv); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(c.listed, func(a, b *accountService) int { return strings.Compare(a.Code, b.Code) })
	if len(c.listed) == 0 {
		return nil, fmt.Errorf("read catalogue: no services")
	}
	return c, nil
}

func (c *catalogue) prepare(code string, sv *service) error {
	if sv == nil || sv.Code != code || c.methods[sv.Method] == nil {
		return fmt.Errorf("read catalogue: service %q has another code or no method", code)
	}
	var okMin, okMax bool
	sv.min, okMin = parseAmount(sv.Min.String())
	sv.max, okMax = parseAmount(sv.Max.String())
	if !okMin || !okMax {
		return fmt.Errorf("read catalogue: service %q has no limits", code)
	}
	for i := range sv.Fields {
		f := &sv.Fields[i]
		// A pattern that RE2 refuses is shown to the client and not enforced.
		f.pattern, _ = regexp.Compile(goPattern(f.Regexp))
	}
	row := &accountService{id: "comcps_" + stableID(code), service: sv}
	if _, again := c.byID[row.id]; !again { // one row even when offered for several currencies
		c.byID[row.id] = row
		c.listed = append(c.listed, row)
	}
	return nil
}

// offered finds a service by code among those offered for a currency.
func (c *catalogue) offered(currency, code string) *service { return c.services[currency][code] }

// goPattern turns a PHP-delimited pattern (/…/u) into Go's notation; a bare
// pattern is already that.
func goPattern(p string) string {
	if len(p) < 2 || p[0] != '/' {
		return p
	}
	end := strings.LastIndexByte(p, '/')
	if end == 0 {
		return p
	}
	flags := ""
	for _, f := range p[end+1:] {
		switch f {
		case 'i', 's', 'm':
			flags += string(f)
		case 'u': // Go's patterns are UTF-8 anyway
		default:
			return p
		}
	}
	if flags != "" {
		return "(?" + flags + ")" + p[1:end]
	}
	return p[1:end]
}

// stableID makes 16 letters and digits out of a name, the same in every run.
func stableID(name string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	var out [16]byte
	for i := range out {
		h := fnv.New64a()
		_, _ = fmt.Fprintf(h, "%d/%s", i, name)
		out[i] = letters[h.Sum64()>>8%uint64(len(letters))]
	}
	return string(out[:])
}

func textsOf(m map[string]string) any {
	o := object{}
	for k, v := range m {
		o[k] = v
	}
	return o
}

// view is a service as the pre-request shows it.
func (sv *service) view() object {
	fields := []any{}
	for _, f := range sv.Fields {
		var example any
		if f.Example != nil {
			example = *f.Example
		}
		fields = append(fields, object{
			"key": f.Key, "type": f.Type, "label": textsOf(f.Label), "hint": textsOf(f.Hint), "example": example,
			"regexp": f.Regexp, "required": f.Required, "position": f.Position,
		})
	}
	return object{
		"code": sv.Code, "method": sv.Method, "flow": sv.Flow, "currency": sv.Currency, "fields": fields,
		"amount_min": money(sv.Min), "amount_max": money(sv.Max),
	}
}

// view is a method as the pre-request shows it; pictures come from base.
func (m *method) view(base string) object {
	var hide any
	if m.Hide != nil {
		hide = *m.Hide
	}
	pictures := base + "/static/payment_methods/" + m.Code
	return object{
		"code": m.Code, "category": m.Category, "description": m.description(), "name": textsOf(m.Name),
		"logo": pictures + "/logo.svg", "icon": pictures + "/icon.svg",
		"metadata": nil, "position": nil, "hide": hide,
	}
}

func (m *method) description() string {
	var text string
	if json.Unmarshal(m.Description, &text) == nil {
		return text
	}
	var texts map[string]string
	if json.Unmarshal(m.Description, &texts) == nil {
		return texts["en"]
	}
	return ""
}

// label is the name in a language, else in English, else the code.
func (m *method) label(lang string) string {
	for _, l := range []string{lang, "en"} {
		if n := m.Name[l]; n != "" {
			return n
		}
	}
	return m.Code
}

// row is a service as the private list shows it.
func (a *accountService) row(test bool) object {
	return object{
		"type": "payment-services", "id": a.id,
		"attributes": object{
			"service": a.Code, "service_method": a.Method, "service_currency": a.Currency,
			"available": true, "active": false, "enabled": true,
			"amount_min": money(a.Min), "amount_max": money(a.Max),
			"fee_min": money("0"), "fee_max": money("0"), "fee_rate": money("0"), "fee_fix": money("0"),
			"reserve_lifetime": 0, "reserve_rate": money("0"), "currency": "GBP", "test_mode": test,
		},
		"relationships": object{
			"payment-method":  object{"data": object{"type": "payment-methods", "id": a.Method}},
			"payment-service": object{"data": object{"type": "payment-services", "id": a.Code}},
		},
		"links": object{"self": "/api/payment-services/" + a.id},
	}
}

// picture draws a method's logo (name beside its initials) or icon.
func (m *method) picture(icon bool) []byte {
	h := fnv.New32a()
	h.Write([]byte(m.Code))
	hue := h.Sum32() % 360
	name := m.label("en")
	initials := ""
	for _, w := range strings.Fields(name) {
		r, _ := utf8.DecodeRuneInString(w)
		if initials += strings.ToUpper(string(r)); utf8.RuneCountInString(initials) == 2 {
			break
		}
	}
	width, text := 40, ""
	if !icon {
		width = 56 + 9*utf8.RuneCountInString(name)
		text = fmt.Sprintf(`<text x="50" y="26" font-size="16" font-weight="600" fill="#1c2430">%s</text>`, html.EscapeString(name))
	}
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d 40" width="%d" height="40" role="img" aria-label="%s" font-family="system-ui,sans-serif">`+
		`<rect x="1" y="1" width="38" height="38" rx="9" fill="hsl(%d 55%% 42%%)"/>`+
		`<text x="20" y="26" font-size="16" font-weight="700" fill="#fff" text-anchor="middle">%s</text>%s</svg>`,
		width, width, html.EscapeString(name), hue, html.EscapeString(initials), text)
}
