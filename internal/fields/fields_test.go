package fields_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/fields"
)

// re2 matches with Go's regexp; a pattern that does not compile is not usable.
type re2 struct{}

// compiled keeps each pattern's *regexp.Regexp, nil = does not compile.
var compiled sync.Map

func (re2) Match(pattern, value string) (ok, usable bool) {
	v, seen := compiled.Load(pattern)
	if !seen {
		re, err := regexp.Compile(pattern)
		if err != nil {
			re = nil
		}
		v, _ = compiled.LoadOrStore(pattern, re)
	}
	re := v.(*regexp.Regexp)
	if re == nil {
		return false, false
	}
	return re.MatchString(value), true
}

// spy counts how often a pattern ran.
type spy struct{ calls int }

func (s *spy) Match(string, string) (ok, usable bool) { s.calls++; return true, true }

var bank = checkout.Service{Code: "bank_transfer_usd_hpp", Fields: []checkout.Field{
	{Key: "phone", Regexp: `^\+\d{10,14}$`, Required: true},
	{Key: "name", Regexp: `^[A-Z\-\sa-z\p{L}]{2,100}$`},
	{Key: "broken", Regexp: `^(?<!x)y$`, Required: true},
	{Key: "status", Regexp: `^[a-zA-Z_]*$`, Required: true},
	{Key: "free"},
}}

func TestCheck(t *testing.T) {
	good := map[string]string{"phone": "+380441234567", "broken": "anything", "status": "success"}
	with := func(change map[string]string) map[string]string {
		v := maps.Clone(good)
		for k, s := range change {
			if s == "-" {
				delete(v, k)
				continue
			}
			v[k] = s
		}
		return v
	}
	for _, row := range []struct {
		name   string
		values map[string]string
		want   map[string]string
		errs   []string // "field code"
	}{
		{"all good", good, good, nil},
		{"outer spaces", with(map[string]string{"phone": " \t+380441234567\u00a0\n"}), good, nil},
		{"pasted marks", with(map[string]string{"phone": "\ufeff+380441234567\u200b"}), good, nil},
		{"inner spaces stay", with(map[string]string{"name": " Anna  Bo "}), with(map[string]string{"name": "Anna  Bo"}), nil},
		{"other alphabets", with(map[string]string{"name": "Олена Ґ"}), with(map[string]string{"name": "Олена Ґ"}), nil},
		{"missing required", with(map[string]string{"phone": "-"}), with(map[string]string{"phone": "-"}), []string{"phone required"}},
		{"blank required", with(map[string]string{"phone": "  "}), with(map[string]string{"phone": "-"}), []string{"phone required"}},
		{"required though the pattern allows empty", with(map[string]string{"status": ""}), with(map[string]string{"status": "-"}), []string{"status required"}},
		{"optional and empty, the pattern refuses empty", with(map[string]string{"name": ""}), good, nil},
		{"pattern", with(map[string]string{"phone": "0441234567"}), with(map[string]string{"phone": "0441234567"}), []string{"phone pattern"}},
		{"pattern of an optional field", with(map[string]string{"name": "7"}), with(map[string]string{"name": "7"}), []string{"name pattern"}},
		{"a pattern that does not compile is skipped", with(map[string]string{"broken": "zzz"}), with(map[string]string{"broken": "zzz"}), nil},
		{"unknown keys, sorted, last", with(map[string]string{"zed": "1", "ant": "", "phone": "1"}), with(map[string]string{"phone": "1"}), []string{"phone pattern", "ant unknown", "zed unknown"}},
		{"line break", with(map[string]string{"free": "a\nb"}), with(map[string]string{"free": "a\nb"}), []string{"free control"}},
		{"null byte", with(map[string]string{"free": "a\x00b"}), with(map[string]string{"free": "a\x00b"}), []string{"free control"}},
		{"delete", with(map[string]string{"free": "a\x7fb"}), with(map[string]string{"free": "a\x7fb"}), []string{"free control"}},
		{"line separator", with(map[string]string{"free": "a\u2028b"}), with(map[string]string{"free": "a\u2028b"}), []string{"free control"}},
		{"broken UTF-8", with(map[string]string{"free": "a\xffb"}), with(map[string]string{"free": "a\xffb"}), []string{"free control"}},
		{"255 characters of four bytes", with(map[string]string{"free": strings.Repeat("😀", 255)}), with(map[string]string{"free": strings.Repeat("😀", 255)}), nil},
		{"256 characters", with(map[string]string{"free": strings.Repeat("x", 256)}), with(map[string]string{"free": strings.Repeat("x", 256)}), []string{"free length"}},
		{"a megabyte", with(map[string]string{"free": strings.Repeat("x", 1<<20)}), with(map[string]string{"free": strings.Repeat("x", 1<<20)}), []string{"free length"}},
		{"nothing at all", nil, map[string]string{}, []string{"phone required", "broken required", "status required"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, errs := fields.Check(bank, row.values, re2{})
			if !maps.Equal(got, row.want) {
				t.Errorf("Check(%v) = %v, want %v", row.values, got, row.want)
			}
			var list []string
			for _, e := range errs {
				list = append(list, e.Field+" "+e.Code)
				if e.Message == "" {
					t.Errorf("Check(%v): %s has no message", row.values, e.Field)
				}
			}
			if !slices.Equal(list, row.errs) {
				t.Errorf("Check(%v) errors = %v, want %v", row.values, list, row.errs)
			}
		})
	}
}

func TestCheck_NoFields(t *testing.T) {
	got, errs := fields.Check(checkout.Service{}, nil, nil)
	if got == nil || len(got) != 0 || errs != nil {
		t.Errorf("Check(no fields) = %v, %v, want an empty map and no errors", got, errs)
	}
}

func TestCheck_SameKeyTwice(t *testing.T) {
	service := checkout.Service{Fields: []checkout.Field{{Key: "a", Required: true}, {Key: "a", Required: true}}}
	if _, errs := fields.Check(service, nil, nil); len(errs) != 1 {
		t.Errorf("Check(one key twice) = %v, want one error", errs)
	}
}

// The cap comes before the pattern: a pattern is hostile input and must not meet a long text.
func TestOne_LengthBeforePattern(t *testing.T) {
	s := &spy{}
	for _, value := range []string{strings.Repeat("x", 256), "a\nb", "", "   "} {
		_, _ = fields.One(checkout.Field{Key: "a", Regexp: "x"}, value, s)
	}
	if s.calls != 0 {
		t.Errorf("the pattern ran %d times, want 0", s.calls)
	}
	if _, problem := fields.One(checkout.Field{Key: "a", Regexp: "x"}, strings.Repeat("x", 255), s); problem != nil || s.calls != 1 {
		t.Errorf("One(255 characters) = %v after %d calls, want none after 1", problem, s.calls)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("+380441234567", "Anna", " success ", "key", "value")
	f.Add("", "\ufeff", "\xff", "phone", "")
	f.Add(strings.Repeat("9", 300), " \u200b \u2003x\u200b", "a\nb", "zed", "\x00")
	f.Fuzz(func(t *testing.T, phone, name, status, key, value string) {
		values := map[string]string{"phone": phone, "name": name, "status": status, "broken": "b", key: value}
		once, errs := fields.Check(bank, values, re2{})
		twice, again := fields.Check(bank, once, re2{})
		if !maps.Equal(once, twice) {
			t.Errorf("Check twice of %q = %q, want %q", values, twice, once)
		}
		known := []string{"phone", "name", "broken", "status", "free"}
		for k, v := range once {
			if !slices.Contains(known, k) || v == "" {
				t.Errorf("Check(%q) keeps %q = %q", values, k, v)
			}
		}
		for _, e := range errs {
			if e.Code == fields.Unknown != !slices.Contains(known, e.Field) {
				t.Errorf("Check(%q): %s %s", values, e.Field, e.Code)
			}
		}
		if n := len(errs) - len(again); n < 0 || len(errs) == 0 && len(again) != 0 {
			t.Errorf("Check again of %q finds more: %v after %v", values, again, errs)
		}
		if len(errs) > 0 {
			return
		}
		for k, v := range once {
			if !utf8.ValidString(v) || utf8.RuneCountInString(v) > fields.MaxLength {
				t.Errorf("Check(%q) lets %s = %q pass", values, k, v)
			}
		}
		if !regexp.MustCompile(`^\+\d{10,14}$`).MatchString(once["phone"]) {
			t.Errorf("Check(%q) lets phone %q pass", values, once["phone"])
		}
	})
}
