// Package fields owns the check of a service's fields: what the shopper typed is
// normalised and held to the vendor's rules. It runs twice, as a hint in the page and
// as the word that counts in the BFF, so pattern matching is injected (the browser's
// RegExp there, Go's regexp here) and nothing but checkout is imported of our own.
package fields

import (
	"slices"
	"strings"
	"unicode/utf8"

	"wzrdcheckout/internal/checkout"
)

// The closed list of codes in the errors of this package.
const (
	Required = "required" // a required field is empty
	Unknown  = "unknown"  // the service has no such field
	Control  = "control"  // a line break, another control character or broken UTF-8
	Length   = "length"   // more than MaxLength characters
	Pattern  = "pattern"  // the vendor's pattern refuses the value
)

// MaxLength is the longest value in characters. The longest the catalogue's patterns
// allow is 255; the cap comes before any pattern runs, so that no pattern meets a long text.
const MaxLength = 255

// Matcher tells whether a value fits a pattern (Field.Regexp, searched as PHP and the
// browser do, not anchored). usable is false when the pattern does not compile: the
// check is then skipped and WZRDPAY decides.
type Matcher interface {
	Match(pattern, value string) (ok, usable bool)
}

// Check normalises values (outer spaces off, empty ones left out) and checks them
// against the service's fields. The errors come in the order of the fields, those of
// unknown keys after them in alphabetical order; nil = all is well. Checking the
// normalised values again gives the same. A nil matcher skips the patterns.
func Check(service checkout.Service, values map[string]string, m Matcher) (normalised map[string]string, errs []checkout.FieldError) {
	normalised = make(map[string]string, len(values))
	known := make(map[string]bool, len(service.Fields))
	for _, f := range service.Fields {
		if known[f.Key] {
			continue
		}
		known[f.Key] = true
		value, problem := One(f, values[f.Key], m)
		if problem != nil {
			errs = append(errs, *problem)
		}
		if value != "" {
			normalised[f.Key] = value
		}
	}
	var strange []string
	for key := range values {
		if !known[key] {
			strange = append(strange, key)
		}
	}
	slices.Sort(strange)
	for _, key := range strange {
		errs = append(errs, checkout.FieldError{Field: key, Code: Unknown, Message: "This service has no such field."})
	}
	return normalised, errs
}

// One normalises and checks the value of one field; problem is nil when it fits.
func One(f checkout.Field, value string, m Matcher) (normalised string, problem *checkout.FieldError) {
	normalised = strings.TrimFunc(value, outer)
	refuse := func(code, message string) (string, *checkout.FieldError) {
		return normalised, &checkout.FieldError{Field: f.Key, Code: code, Message: message}
	}
	if normalised == "" {
		if f.Required {
			return refuse(Required, "Please fill in this field.")
		}
		return "", nil
	}
	// Bytes first: a body-sized value is not walked through rune by rune.
	if len(normalised) > MaxLength*utf8.UTFMax || utf8.RuneCountInString(normalised) > MaxLength {
		return refuse(Length, "This value is too long: at most 255 characters.")
	}
	if !utf8.ValidString(normalised) || strings.IndexFunc(normalised, control) >= 0 {
		return refuse(Control, "This value contains characters that are not allowed, such as a line break.")
	}
	if f.Regexp != "" && m != nil {
		if ok, usable := m.Match(f.Regexp, normalised); usable && !ok {
			return refuse(Pattern, "This value does not have the expected form.")
		}
	}
	return normalised, nil
}

// outer tells whether r is taken off the ends: Unicode's white space, and the invisible
// marks that come along when a value is pasted (zero width space, byte order mark).
func outer(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r == ' ', r == 0x85, r == 0xa0, r == 0x1680,
		r >= 0x2000 && r <= 0x200b, r == 0x2028, r == 0x2029, r == 0x202f, r == 0x205f, r == 0x3000, r == 0xfeff:
		return true
	}
	return false
}

// control tells whether r may not stand in a value: C0, DEL, C1 and the line and
// paragraph separators.
func control(r rune) bool {
	return r < ' ' || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029
}
