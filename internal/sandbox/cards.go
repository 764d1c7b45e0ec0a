package sandbox

import (
	"strings"
	"time"
)

// testCard is one of the vendor's documented test cards.
type testCard struct {
	Number  string
	ThreeDS bool
	Good    bool
}

var testCards = []testCard{
	{"5123817234060000", true, true},
	{"5519283812030000", false, true},
	{"4412397212080000", true, false},
	{"4302912837020000", false, false},
}

// expiryTricks pick the resolution of the failing cards.
var expiryTricks = []struct{ Expiry, Resolution string }{
	{"05/29", "insufficient_funds"},
	{"04/28", "card_expired"},
	{"03/27", "invalid_cvv"},
	{"02/26", "invalid_pan"},
	{"06/42", "antifraud_error"},
	{"11/47", "issuer_decline"},
	{"07/31", "invalid_3ds_code"},
	{"10/34", "lost_or_stolen_card"},
	{"09/33", "declined"},
	{"06/54", "provider_error"},
	{"05/53", "unknown"},
}

// pendingExpiry leaves a good card's payment pending.
const pendingExpiry = "07/77"

// failResolutions are offered by the hosted page's Fail button.
var failResolutions = []string{
	"declined", "insufficient_funds", "issuer_decline", "general_decline", "card_expired", "invalid_cvv", "invalid_pan",
	"antifraud_error", "limit_violation", "lost_or_stolen_card", "client_auth_failed", "invalid_3ds_code",
	"provider_error", "general_fatal_error", "unknown",
}

// usedCard is what is kept of a card: never the whole number, never the CVV.
type usedCard struct {
	test        *testCard // nil for a number that is no test card
	first, last string
	month, year string
	holder      string
	result      string // the resolution it leads to, "ok" or "pending"
}

func (c *usedCard) view(newer bool) object {
	network := "mastercard"
	if strings.HasPrefix(c.first, "4") {
		network = "visa"
	}
	out := object{
		"last": c.last, "mask": c.first + "******" + c.last, "brand": network, "first": c.first, "holder": orNull(c.holder),
		"network": network, "expiry_year": c.year, "issuer_name": "SANDBOX BANK", "expiry_month": c.month, "issuer_country": "US",
	}
	if newer {
		out["brand"], out["network"] = nil, strings.ToUpper(network)
		out["type"], out["card_id"] = "CREDIT", "card_"+stableID(c.first+c.last)
		out["verification"] = []any{}
		if c.test != nil && c.test.ThreeDS {
			out["verification"] = []any{object{"type": "3ds", "details": object{"eci": "02", "version": "2"}}}
		}
	}
	return out
}

// readCard judges the card form. problem is a sentence for the shopper when
// the form itself is wrong; that is no attempt.
func readCard(number, expiry, cvv, holder string, now time.Time) (card *usedCard, problem string) {
	number = strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, number)
	if len(number) < 12 || len(number) > 19 || !onlyDigits(number) {
		return nil, "Enter a card number of 12 to 19 digits."
	}
	month, year, ok := splitExpiry(expiry)
	if !ok {
		return nil, "Enter the expiry date as MM/YY."
	}
	if len(cvv) < 3 || len(cvv) > 4 || !onlyDigits(cvv) {
		return nil, "Enter the CVV: three or four digits."
	}
	if len(holder) > 100 {
		return nil, "The cardholder's name is too long."
	}
	c := &usedCard{first: number[:6], last: number[len(number)-4:], month: month, year: year, holder: strings.TrimSpace(holder)}
	for i := range testCards {
		if testCards[i].Number == number {
			c.test = &testCards[i]
		}
	}
	c.result = c.judge(now)
	return c, ""
}

// judge is the documented outcome of a card and its expiry date.
func (c *usedCard) judge(now time.Time) string {
	date := c.month + "/" + c.year
	switch {
	case c.test == nil:
		return "invalid_pan"
	case !c.test.Good:
		for _, t := range expiryTricks {
			if t.Expiry == date {
				return t.Resolution
			}
		}
		return "general_fatal_error"
	case date == pendingExpiry:
		return "pending"
	}
	// The date is well formed (splitExpiry); a card lives to the end of its month.
	if t, err := time.Parse("01/06", date); err == nil && !now.Before(t.AddDate(0, 1, 0)) && t.Year() > 2000 {
		return "card_expired"
	}
	return "ok"
}

func splitExpiry(text string) (month, year string, ok bool) {
	digits := strings.Map(func(r rune) rune {
		if r == ' ' || r == '/' || r == '-' {
			return -1
		}
		return r
	}, text)
	if len(digits) == 6 { // MM/YYYY
		digits = digits[:2] + digits[4:]
	}
	if len(digits) != 4 || !onlyDigits(digits) || digits[:2] < "01" || digits[:2] > "12" {
		return "", "", false
	}
	return digits[:2], digits[2:], true
}

func onlyDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
