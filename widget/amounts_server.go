//go:build !js

package widget

import (
	_ "embed" // amounts.txt
	"strings"
	"unicode/utf8"
)

// How browsers write amounts, so that what the server draws does not change when the
// page's Intl takes over. The file is written and checked by e2e/amounts_test.go, from a
// real browser. One line has the currencies whose decimals are not two; then a line for
// each language, and for each region that writes otherwise, its cells divided by tabs:
// locale, decimal sign, grouping sign, digits before the first group, size of the higher
// groups, the digit 0, the pattern of a currency shown by its code (# is the number, XZZ
// the code), and CODE=pattern for the others.
//
//go:embed amounts.txt
var amounts string

// cell gives what follows a tab and a word in a line of the table.
func cell(line, word string) (string, bool) {
	_, rest, found := strings.Cut(line, "\t"+word+"=")
	rest, _, _ = strings.Cut(rest, "\t")
	return rest, found
}

// lineOf gives the table's line of a locale or else of its language, without the locale.
func lineOf(locale string) (string, bool) {
	for _, name := range []string{locale, language(locale)} {
		if _, rest, found := strings.Cut(amounts, "\n"+name+"\t"); found {
			rest, _, _ = strings.Cut(rest, "\n")
			return rest, true
		}
	}
	return "", false
}

var unescape = strings.NewReplacer(`\u00a0`, "\u00a0", `\u061c`, "\u061c", `\u200e`, "\u200e", `\u200f`, "\u200f", `\u202f`, "\u202f")

// written is an amount in major units as browsers write it in a locale, "" for a locale
// that is not known; 0 digits leave the decimals to the currency.
func written(locale, amount, currency string, digits int) string {
	line, known := lineOf(locale)
	cells := strings.SplitN(line, "\t", 7)
	if !known || len(cells) < 6 {
		return ""
	}
	decimal, group, least, higher, pattern := cells[0], cells[1], int(number(cells[2])), int(number(cells[3])), cells[5]
	if higher < 1 {
		return "" // no locale's line
	}
	if own, other := cell(line, currency); other {
		pattern = own
	}
	zero, _ := utf8.DecodeRuneInString(cells[4])
	whole, fraction, _ := strings.Cut(amount, ".")
	if digits == 0 {
		fraction = "00"
		others, _ := lineOf("decimals")
		if n, other := cell("\t"+others, currency); other {
			fraction = strings.Repeat("0", int(number(n)))
		}
	}
	if len(whole) >= 3+least {
		rest := ""
		for size := 3; len(whole) > size; size = higher {
			rest = unescape.Replace(group) + whole[len(whole)-size:] + rest
			whole = whole[:len(whole)-size]
		}
		whole += rest
	}
	if fraction != "" {
		whole += decimal + fraction
	}
	if zero != '0' {
		whole = strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return zero + r - '0'
			}
			return r
		}, whole)
	}
	return strings.Replace(strings.Replace(unescape.Replace(pattern), "XZZ", currency, 1), "#", whole, 1)
}
