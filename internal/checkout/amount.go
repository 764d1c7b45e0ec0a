package checkout

import (
	"errors"
	"strings"
)

// ErrAmount says that a text is not a plain or exponent decimal number, is negative, or
// needs more than 18 significant digits or 18 decimals.
var ErrAmount = errors.New("not an amount")

// maxScale bounds the decimals: the smallest limit in the catalogue is 1e-08, the
// finest currency has 9 digits; 18 is what an int64 coefficient can still hold.
const maxScale = 18

// Amount is an exact decimal number ≥ 0 in major units, as WZRDPAY writes it: no
// float64 anywhere. Two equal numbers are equal with ==; the zero value is 0.
type Amount struct {
	coef  int64 // value = coef / 10^scale
	scale uint8 // as small as it can be
}

// ParseAmount reads a JSON number's text: "10", "10.50", "1e-08". It returns ErrAmount
// for anything else.
func ParseAmount(text string) (Amount, error) {
	mantissa, exponent := text, 0
	for i := range len(text) {
		if text[i]|0x20 == 'e' {
			n, ok := parseExponent(text[i+1:])
			if !ok {
				return Amount{}, ErrAmount
			}
			mantissa, exponent = text[:i], n
			break
		}
	}
	whole, fraction, dotted := strings.Cut(mantissa, ".")
	if whole == "" || dotted && fraction == "" || len(whole)+len(fraction) > 64 || len(whole) > 1 && whole[0] == '0' {
		return Amount{}, ErrAmount
	}
	digits := whole + fraction
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return Amount{}, ErrAmount
		}
	}
	scale := len(fraction) - exponent
	for len(digits) > 1 && digits[len(digits)-1] == '0' && scale > 0 {
		digits, scale = digits[:len(digits)-1], scale-1
	}
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return Amount{}, nil
	}
	for ; scale < 0; scale++ {
		digits += "0"
	}
	if len(digits) > 18 || scale > maxScale {
		return Amount{}, ErrAmount
	}
	return Amount{coef: parseDigits(digits), scale: uint8(scale)}, nil
}

// parseDigits reads at most 18 digits, which always fit. Package strconv would do it
// too, and bring its errors' machinery into the page with it.
func parseDigits(digits string) (n int64) {
	for i := range len(digits) {
		n = n*10 + int64(digits[i]-'0')
	}
	return n
}

// parseExponent reads "-08", "+3", "2"; ok is false beyond twice maxScale.
func parseExponent(text string) (n int, ok bool) {
	sign := 1
	if text != "" && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			sign = -1
		}
		text = text[1:]
	}
	if text == "" {
		return 0, false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' || n > 2*maxScale {
			return 0, false
		}
		n = n*10 + int(text[i]-'0')
	}
	return sign * n, n <= 2*maxScale
}

// MustAmount is ParseAmount for constants in code and tests; it panics on a bad text.
func MustAmount(text string) Amount {
	a, err := ParseAmount(text)
	if err != nil {
		panic("checkout: " + text + ": " + err.Error())
	}
	return a
}

// IsZero tells whether the amount is 0.
func (a Amount) IsZero() bool { return a.coef == 0 }

// Digits is the number of decimals that the amount needs.
func (a Amount) Digits() int { return int(a.scale) }

// String is the amount in plain notation with no more decimals than needed.
func (a Amount) String() string { return a.Format(0) }

// Format is the amount in plain notation with at least digits decimals: 10.5 with 2 is "10.50".
func (a Amount) Format(digits int) string {
	// Written from its end; a page downloads this, so neither strconv nor strings.
	scale := max(int(a.scale), digits)
	text := make([]byte, scale+21)
	at := len(text)
	put := func(c byte) { at--; text[at] = c }
	rest := a.coef
	for written := 0; written <= scale || rest > 0; written++ {
		if written == scale && scale > 0 {
			put('.')
		}
		if written < scale-int(a.scale) {
			put('0')
			continue
		}
		put(byte('0' + rest%10))
		rest /= 10
	}
	return string(text[at:])
}

// Compare gives -1, 0 or +1 as a is less than, equal to or greater than b.
func (a Amount) Compare(b Amount) int {
	if a == b {
		return 0
	}
	x, y := a.Format(maxScale), b.Format(maxScale)
	if len(x) != len(y) {
		if len(x) < len(y) {
			return -1
		}
		return 1
	}
	return strings.Compare(x, y)
}

// MarshalJSON writes the amount as a JSON number in plain notation.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalJSON reads a JSON number; a string is refused with ErrAmount.
func (a *Amount) UnmarshalJSON(text []byte) error {
	v, err := ParseAmount(string(text))
	if err != nil {
		return err
	}
	*a = v
	return nil
}
