package sandbox

import (
	"math/big"
	"strconv"
	"strings"
)

// money is a number in an answer, kept as its JSON text so that the faults
// find and rewrite it. It is never a float.
type money string

// MarshalJSON writes the number as it stands.
func (m money) MarshalJSON() ([]byte, error) { return []byte(m), nil }

// parseAmount reads a JSON number exactly. Long texts and exponents are
// refused before they cost memory.
func parseAmount(text string) (*big.Rat, bool) {
	if len(text) == 0 || len(text) > 48 {
		return nil, false
	}
	mantissa, exponent := text, ""
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, exponent = text[:i], text[i+1:]
		if n, err := strconv.Atoi(exponent); err != nil || n < -30 || n > 30 {
			return nil, false
		}
	}
	digits := 0
	for i, c := range mantissa {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '-' && i == 0:
		case c == '.' && strings.Count(mantissa, ".") == 1:
		default:
			return nil, false
		}
	}
	if digits == 0 {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// plain writes r in plain notation with as many digits as it has.
func plain(r *big.Rat) string {
	n, exact := r.FloatPrec()
	if !exact {
		n = 18
	}
	return r.FloatString(n)
}

// fixed writes r with exactly n digits after the point.
func fixed(r *big.Rat, n int) string { return r.FloatString(n) }

// digitsOf counts the digits r needs after the point.
func digitsOf(r *big.Rat) int {
	n, exact := r.FloatPrec()
	if !exact {
		return 1 << 20
	}
	return n
}

// moneyOf is r for an answer: null when absent.
func moneyOf(r *big.Rat) any {
	if r == nil {
		return nil
	}
	return money(plain(r))
}

// asString is the form of old fixtures: a string with eight digits.
func (m money) asString() string {
	r, ok := parseAmount(string(m))
	if !ok {
		return string(m)
	}
	if digitsOf(r) <= 8 {
		return fixed(r, 8)
	}
	return plain(r)
}

// asExponent writes the same number in exponent form.
func (m money) asExponent() money {
	r, ok := parseAmount(string(m))
	if !ok || r.Sign() == 0 {
		return m
	}
	text := plain(new(big.Rat).Abs(r))
	whole, frac, _ := strings.Cut(text, ".")
	digits := strings.TrimLeft(whole+frac, "0")
	exp := len(whole) - 1 - (len(whole+frac) - len(digits))
	digits = strings.TrimRight(digits, "0")
	out := digits[:1]
	if len(digits) > 1 {
		out += "." + digits[1:]
	}
	if r.Sign() < 0 {
		out = "-" + out
	}
	sign := "+"
	if exp < 0 {
		sign, exp = "-", -exp
	}
	return money(out + "e" + sign + strconv.Itoa(exp))
}
