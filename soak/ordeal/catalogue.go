package ordeal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"

	"wzrdcheckout/internal/sandbox"
)

// CatalogueConfig names an OpenFinTech catalogue.
type CatalogueConfig struct {
	Bin, Dir string
	File     string
	Every    int // of the services with fields each so-many-th gets values; 1 = all
	Log      func(format string, args ...any)
}

// listing is a service as the file has it.
type listing struct {
	Code     string      `json:"code"`
	Method   string      `json:"method"`
	Currency string      `json:"currency"`
	Min      json.Number `json:"amount_min"`
	Max      json.Number `json:"amount_max"`
	Fields   []input     `json:"fields"`
}

// input is a field as the file has it.
type input struct {
	Key      string  `json:"key"`
	Regexp   string  `json:"regexp"`
	Example  *string `json:"example"`
	Required bool    `json:"required"`
	Position int     `json:"position"`
}

// fits tells whether an amount of the service's currency is within its limits.
func (l listing) fits(amount *big.Rat) bool {
	low, ok1 := new(big.Rat).SetString(l.Min.String())
	high, ok2 := new(big.Rat).SetString(l.Max.String())
	return ok1 && ok2 && amount.Cmp(low) >= 0 && amount.Cmp(high) <= 0
}

// Catalogue walks every service of a catalogue through the program: each is listed for
// an amount within its limits, limits included, and for no other; its fields are those of
// the file in the order of their positions; values that its patterns refuse get 422 by
// field and make no invoice, values that they accept get 201.
func Catalogue(ctx context.Context, cfg CatalogueConfig) error {
	text, err := os.ReadFile(cfg.File)
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	c := &walk{CatalogueConfig: cfg, shown: map[string]bool{}}
	if err := json.Unmarshal(text, &c.file); err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	var stop func()
	if c.wzrd, stop, err = wzrdpay(ctx, sandbox.Config{Catalogue: cfg.File, HistoryLimit: 1000}); err != nil {
		return err
	}
	defer stop()
	if c.program, err = NewProgram(Settings{Bin: cfg.Bin, Dir: cfg.Dir, WZRD: c.wzrd}); err != nil {
		return err
	}
	defer c.program.Kill()
	if err := c.program.Start(ctx); err != nil {
		return err
	}
	all := 0
	for _, currency := range slices.Sorted(maps.Keys(c.file.Services)) {
		all += len(c.file.Services[currency])
		if err := c.currency(ctx, currency); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", currency, err), c.found.err())
		}
	}
	cfg.Log("%d services in %d currencies, %d listed in %d sessions; values for %d of them: %d accepted, %d refused; %d have no example that fits",
		all, len(c.file.Services), len(c.shown), c.sessions, c.tried, c.accepted, c.refused, c.unfit)
	if len(c.shown)+c.beyond != all {
		c.found.add("services not shown", "%d of %d; %d have limits that no amount of their currency meets", len(c.shown), all, c.beyond)
	}
	if c.accepted == 0 || c.refused == 0 {
		c.found.add("nothing was tried", "%d accepted, %d refused", c.accepted, c.refused)
	}
	return c.found.err()
}

type walk struct {
	CatalogueConfig
	file struct {
		Currencies map[string]struct {
			Exponent int `json:"exponent"`
		} `json:"currencies"`
		Methods map[string]struct {
			Hide *bool `json:"hide"`
		} `json:"methods"`
		Services map[string]map[string]listing `json:"services"`
	}
	program *Program
	wzrd    *sandbox.Server
	found   findings
	shown   map[string]bool // currency and code
	turn    int

	sessions, beyond, tried, accepted, refused, unfit int
}

// currency opens sessions until each of its services was listed.
func (c *walk) currency(ctx context.Context, currency string) error {
	services := c.file.Services[currency]
	digits := c.file.Currencies[currency].Exponent
	var amounts []*big.Rat // the limits themselves: both are inside
	for _, s := range services {
		for _, limit := range []json.Number{s.Min, s.Max} {
			r, ok := new(big.Rat).SetString(limit.String())
			if exact, _ := new(big.Rat).SetString(r.FloatString(digits)); ok && r.Sign() > 0 && exact.Cmp(r) == 0 {
				amounts = append(amounts, r)
			}
		}
	}
	slices.SortFunc(amounts, func(a, b *big.Rat) int { return a.Cmp(b) })
	left := maps.Clone(services)
	order := map[string]int{}
	for len(left) > 0 {
		var best *big.Rat
		most := 0
		for _, a := range amounts {
			n := 0
			for _, s := range left {
				if s.Currency != currency || s.fits(a) {
					n++
				}
			}
			if n > most {
				best, most = a, n
			}
		}
		if best == nil {
			c.beyond += len(left)
			return nil
		}
		o, v, err := c.list(ctx, currency, best, digits)
		if err != nil {
			return err
		}
		c.compare(currency, best, v, order)
		for code, s := range left {
			if s.Currency != currency || s.fits(best) {
				delete(left, code)
			}
		}
		for _, s := range v.Services {
			if len(services[s.Code].Fields) == 0 {
				continue
			}
			if c.turn++; c.turn%c.Every == 0 {
				if err := c.values(ctx, currency, best, digits, services[s.Code]); err != nil {
					return fmt.Errorf("session %s: %w", o.ID, err)
				}
			}
		}
	}
	return nil
}

func (c *walk) list(ctx context.Context, currency string, amount *big.Rat, digits int) (opened, view, error) {
	c.sessions++
	o, err := c.program.open(ctx, fmt.Sprintf("catalogue-%s-%d", currency, c.sessions), amount.FloatString(digits), currency)
	if err != nil {
		return o, view{}, err
	}
	v, err := c.program.checkout(ctx, o.Token)
	return o, v, err
}

// compare holds what the page gets against the file.
func (c *walk) compare(currency string, amount *big.Rat, v view, order map[string]int) {
	where := currency + " " + amount.FloatString(8)
	want := map[string]listing{}
	for code, s := range c.file.Services[currency] {
		hide := c.file.Methods[s.Method].Hide
		if (hide == nil || !*hide) && (s.Currency != currency || s.fits(amount)) {
			want[code] = s
		}
	}
	before := -1
	for _, got := range v.Services {
		s, ok := want[got.Code]
		if !ok {
			c.found.add("services listed beyond their limits", "%s: %s", where, got.Code)
			continue
		}
		delete(want, got.Code)
		c.shown[currency+" "+got.Code] = true
		if at, known := order[got.Code]; known && at < before {
			c.found.add("services that change their order", "%s: %s", where, got.Code)
		} else if known {
			before = at
		} else {
			order[got.Code] = len(order)
			before = max(before, order[got.Code])
		}
		if got.Method != s.Method || got.Currency != s.Currency || !same(got.AmountMin, s.Min) || !same(got.AmountMax, s.Max) {
			c.found.add("services that differ", "%s: %+v, the catalogue has %+v", where, got, s)
		}
		fields := slices.Clone(s.Fields)
		slices.SortStableFunc(fields, func(a, b input) int { return a.Position - b.Position })
		var have, wanted []string
		for _, f := range got.Fields {
			have = append(have, fmt.Sprint(f.Key, f.Required, f.Regexp))
		}
		for _, f := range fields {
			wanted = append(wanted, fmt.Sprint(f.Key, f.Required, bare(f.Regexp)))
		}
		if !slices.Equal(have, wanted) {
			c.found.add("fields that differ", "%s: %s has %q, the catalogue %q", where, got.Code, have, wanted)
		}
	}
	for code := range want {
		c.found.add("services not listed", "%s: %s", where, code)
	}
}

func same(got *json.Number, want json.Number) bool {
	if got == nil {
		return false
	}
	a, ok1 := new(big.Rat).SetString(got.String())
	b, ok2 := new(big.Rat).SetString(want.String())
	return ok1 && ok2 && a.Cmp(b) == 0
}

// bare takes PHP's delimiters off a pattern; the catalogue's are all slashes.
func bare(pattern string) string {
	if end := strings.LastIndexByte(pattern, '/'); end > 0 && pattern[0] == '/' {
		return pattern[1:end]
	}
	return pattern
}

// values submits what the service's patterns refuse, then what they accept.
func (c *walk) values(ctx context.Context, currency string, amount *big.Rat, digits int, s listing) error {
	good := map[string]string{}
	for _, f := range s.Fields {
		re, err := regexp.Compile(bare(f.Regexp))
		if err != nil {
			c.found.add("patterns that do not compile", "%s %s: %v", s.Code, f.Key, err)
			return nil
		}
		if f.Example != nil && re.MatchString(*f.Example) {
			good[f.Key] = *f.Example
		} else if f.Required {
			c.unfit++ // some of the catalogue's own examples break its patterns
			return nil
		}
	}
	c.sessions++
	c.tried++
	reference := fmt.Sprintf("values-%s-%d", currency, c.sessions)
	o, err := c.program.open(ctx, reference, amount.FloatString(digits), currency)
	if err != nil {
		return err
	}
	for _, f := range s.Fields {
		bad := maps.Clone(good)
		bad[f.Key] = strings.Repeat("#", 256) // longer than any pattern allows
		for _, wrong := range []string{"#", "~~~~", "a~b@c"} {
			if ok, _ := regexp.MatchString(bare(f.Regexp), wrong); !ok {
				bad[f.Key] = wrong
				break
			}
		}
		v, err := c.program.submit(ctx, o.Token, s.Code, bad, "")
		if err != nil {
			return err
		}
		if _, named := v.Errors[f.Key]; v.status != http.StatusUnprocessableEntity || !named || len(v.Errors) != 1 {
			c.found.add("wrong values not refused", "%s %s %q: %d %v", s.Code, f.Key, bad[f.Key], v.status, v.Errors)
		}
		c.refused++
	}
	if _, made := c.wzrd.Invoice(reference); made {
		c.found.add("invoices of wrong values", "%s", s.Code)
	}
	v, err := c.program.submit(ctx, o.Token, s.Code, good, "")
	if err != nil {
		return err
	}
	if v.status != http.StatusCreated || v.Redirect == nil {
		c.found.add("right values not accepted", "%s %q: %d %s %v", s.Code, good, v.status, v.Code, v.Errors)
		return nil
	}
	c.accepted++
	if made, _ := c.wzrd.Invoice(reference); !maps.Equal(made.Fields, good) {
		c.found.add("values that changed", "%s: %q arrived as %q", s.Code, good, made.Fields)
	}
	return nil
}
