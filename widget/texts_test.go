package widget_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"wzrdcheckout/widget"
)

// plurals are the cardinal categories that Intl.PluralRules answers for each language
// (Unicode CLDR 48, plural rules, cardinal). A language that is not here has no texts.
var plurals = map[string]string{
	"ar": "zero one two few many other",
	"az": "one other",
	"bg": "one other",
	"bn": "one other",
	"cs": "one few many other",
	"da": "one other",
	"de": "one other",
	"el": "one other",
	"en": "one other",
	"es": "one many other",
	"et": "one other",
	"fa": "one other",
	"fi": "one other",
	"fr": "one many other",
	"he": "one two other",
	"hi": "one other",
	"hr": "one few other",
	"hu": "one other",
	"hy": "one other",
	"id": "other",
	"it": "one many other",
	"ja": "other",
	"ka": "one other",
	"kk": "one other",
	"ko": "other",
	"lt": "one few many other",
	"lv": "zero one other",
	"ms": "other",
	"nb": "one other",
	"nl": "one other",
	"pl": "one few many other",
	"pt": "one many other",
	"ro": "one few other",
	"ru": "one few many other",
	"sk": "one few many other",
	"sl": "one two few other",
	"sr": "one few other",
	"sv": "one other",
	"th": "other",
	"tr": "one other",
	"uk": "one few many other",
	"ur": "one other",
	"uz": "one other",
	"vi": "other",
	"zh": "other",
}

// worded are the categories that stand for one number only, which a language says
// better in words than in digits.
var worded = map[string]string{
	"ar": "zero one two",
	"he": "one two",
}

// scripts are what a language is written in, if it is not Latin letters.
var scripts = map[string][]*unicode.RangeTable{
	"ar": {unicode.Arabic},
	"bg": {unicode.Cyrillic},
	"bn": {unicode.Bengali},
	"el": {unicode.Greek},
	"fa": {unicode.Arabic},
	"he": {unicode.Hebrew},
	"hi": {unicode.Devanagari},
	"hy": {unicode.Armenian},
	"ja": {unicode.Han, unicode.Hiragana, unicode.Katakana},
	"ka": {unicode.Georgian},
	"kk": {unicode.Cyrillic},
	"ko": {unicode.Hangul},
	"ru": {unicode.Cyrillic},
	"th": {unicode.Thai},
	"uk": {unicode.Cyrillic},
	"ur": {unicode.Arabic},
	"zh": {unicode.Han},
}

// line is one text of a file.
type line struct{ key, text string }

// plural splits "results.few" into its parts.
func plural(key string) (form string, ok bool) { return strings.CutPrefix(key, "results.") }

// lines reads the texts of a language; whatever is not "key=text" is an error.
func lines(t *testing.T, file string) []line {
	t.Helper()
	if !strings.HasSuffix(file, "\n") {
		t.Errorf("file ends with %q, want a line end", file[max(0, len(file)-10):])
	}
	var list []line
	seen := map[string]bool{}
	for i, s := range strings.Split(strings.TrimSuffix(file, "\n"), "\n") {
		key, text, ok := strings.Cut(s, "=")
		if !ok || key == "" || text == "" {
			t.Errorf("line %d is %q, want key=text", i+1, s)
			continue
		}
		if seen[key] {
			t.Errorf("line %d: key %q is there twice", i+1, key)
		}
		seen[key] = true
		list = append(list, line{key, text})
	}
	return list
}

// placeholders lists the {names} of a text, sorted; a brace that stands alone is "{".
func placeholders(s string) []string {
	var list []string
	for {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			break
		}
		name, rest, ok := strings.Cut(s[i+1:], "}")
		if s[i] == '}' || !ok || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") != "" {
			return []string{"{"}
		}
		list = append(list, name)
		s = rest
	}
	slices.Sort(list)
	return list
}

// bare is a text without its placeholders.
func bare(s string) string {
	for {
		before, rest, ok := strings.Cut(s, "{")
		if !ok {
			return s
		}
		_, after, _ := strings.Cut(rest, "}")
		s = before + after
	}
}

// texts gives every language's file, English's among them.
func texts(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{"en": widget.English}
	paths, err := filepath.Glob("texts/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(p), ".txt")] = string(b)
	}
	return files
}

// wrong tells what is not as it should be with one text, "" if nothing is.
func wrong(lang string, l line) string {
	s := l.text
	switch {
	case !utf8.ValidString(s):
		return "is not UTF-8"
	case strings.TrimSpace(s) != s:
		return "has blanks at an end"
	case strings.Contains(s, "  "):
		return "has two blanks in a row"
	case strings.ContainsAny(s, "<>&`"):
		return "holds what is read as markup"
	case strings.ContainsAny(s, `'"`):
		return "has a typewriter quote, want a typographic one"
	case strings.Contains(s, "..."):
		return "has three dots, want …"
	}
	script := scripts[lang]
	if script == nil {
		script = []*unicode.RangeTable{unicode.Latin}
	}
	for _, r := range bare(s) {
		switch {
		case unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control):
			return "holds a control character " + string(r)
		case unicode.IsLetter(r) && !unicode.In(r, script...) && !unicode.In(r, unicode.Common, unicode.Inherited):
			return "has the letter " + string(r) + " of another script"
		}
	}
	return ""
}

func TestTexts(t *testing.T) {
	t.Parallel()
	files := texts(t)
	for lang := range plurals {
		if files[lang] == "" {
			t.Errorf("there are no texts in %q", lang)
		}
	}
	english := map[string]string{}
	var order []string
	for _, l := range lines(t, widget.English) {
		english[l.key] = l.text
		if _, ok := plural(l.key); !ok {
			order = append(order, l.key)
		}
	}
	for lang, file := range files {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			var keys, forms []string
			same := 0
			for _, l := range lines(t, file) {
				if s := wrong(lang, l); s != "" {
					t.Errorf("%s=%s %s", l.key, l.text, s)
				}
				wanted := english[l.key]
				form, isPlural := plural(l.key)
				if isPlural {
					forms = append(forms, form)
					wanted = english["results.other"]
				} else {
					keys = append(keys, l.key)
				}
				got, want := placeholders(l.text), placeholders(wanted)
				if isPlural && len(got) == 0 && slices.Contains(strings.Fields(worded[lang]), form) {
					want = nil
				}
				if !slices.Equal(got, want) {
					t.Errorf("placeholders of %s=%s are %v, want %v", l.key, l.text, got, want)
				}
				if l.text == english[l.key] {
					same++
				}
			}
			for _, k := range order {
				if !slices.Contains(keys, k) {
					t.Errorf("key %q is missing", k)
				}
			}
			for _, k := range keys {
				if !slices.Contains(order, k) {
					t.Errorf("key %q is not in English", k)
				}
			}
			if len(keys) == len(order) && !slices.Equal(keys, order) {
				t.Error("keys are in another order than in English")
			}
			if lang != "en" && same > 3 {
				t.Errorf("texts that are the same as in English = %d, want at most 3", same)
			}
			if want, ok := plurals[lang]; !ok {
				t.Errorf("plural categories of %q are not known: add them from CLDR", lang)
			} else if got := strings.Join(forms, " "); got != want {
				t.Errorf("plural forms = %q, want %q", got, want)
			}
		})
	}
}

// TestTextsChecks shows that the checks above find what they are for.
func TestTextsChecks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lang, text string
		ok         bool
	}{
		"plain":                 {"de", "Erneut versuchen", true},
		"placeholder":           {"ru", "Оплатить {amount}", true},
		"zero width non-joiner": {"fa", "روش\u200cهای پرداخت", true},
		"markup":                {"de", "<b>Neu</b>", false},
		"entity":                {"de", "A &amp; B", false},
		"leading blank":         {"de", " Neu", false},
		"trailing no-break":     {"fr", "Payer\u00a0", false},
		"look-alike letter":     {"uk", "Cплатити", false},
		"direction mark":        {"ar", "ادفع\u200f", false},
		"override":              {"he", "\u202eתשלום", false},
		"tab":                   {"de", "Neu\tladen", false},
		"straight apostrophe":   {"fr", "n'est", false},
		"three dots":            {"de", "Laden...", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := wrong(c.lang, line{"key", c.text}); (got == "") != c.ok {
				t.Errorf("wrong(%q, %q) = %q, want fault %v", c.lang, c.text, got, !c.ok)
			}
		})
	}
	for text, want := range map[string]string{
		"From {min} to {max}": "max min",
		"{max} {min}":         "max min",
		"no":                  "",
		"{amount":             "{",
		"amount}":             "{",
		"{Amount}":            "{",
		"{count} {count}":     "count count",
	} {
		if got := strings.Join(placeholders(text), " "); got != want {
			t.Errorf("placeholders(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestTextsOfResolutions: what a resolution is told as is a text of every language,
// because TestTexts holds them all to English.
func TestTextsOfResolutions(t *testing.T) {
	t.Parallel()
	for _, l := range lines(t, widget.Resolutions) {
		if widget.T("en", "r."+l.text) == "" {
			t.Errorf("resolution %q is told as %q, which has no text", l.key, "r."+l.text)
		}
	}
	if widget.T("en", "r.unknown") == "" {
		t.Error("an unknown resolution has no text")
	}
}

// TestTextsOfButtons: a button is one short line at 320 px.
func TestTextsOfButtons(t *testing.T) {
	t.Parallel()
	for lang := range texts(t) {
		for _, key := range []string{"pay", "verify", "retry", "reload", "restart", "continue", "open_again", "refresh"} {
			if s := bare(widget.T(lang, key)); utf8.RuneCountInString(s) > 32 {
				t.Errorf("T(%q, %q) = %q is longer than 32 characters", lang, key, s)
			}
		}
	}
}

// TestTextsFound: every file is offered, negotiated and shown in its direction.
func TestTextsFound(t *testing.T) {
	t.Parallel()
	leftward := 0
	for lang := range texts(t) {
		if !slices.Contains(widget.Languages(), lang) {
			t.Errorf("Languages() = %v, want %q among them", widget.Languages(), lang)
		}
		if got := widget.Negotiate(lang + "-XX;q=0.9, en;q=0.5"); got != lang {
			t.Errorf("Negotiate(%s-XX) = %q, want %q", lang, got, lang)
		}
		m := widget.New(widget.Options{Locale: lang})
		if m.Language() != lang {
			t.Errorf("New(%q).Language() = %q, want it", lang, m.Language())
		}
		s := scripts[lang]
		want := len(s) > 0 && (s[0] == unicode.Arabic || s[0] == unicode.Hebrew)
		if want {
			leftward++
		}
		if m.RTL() != want {
			t.Errorf("New(%q).RTL() = %v, want %v", lang, m.RTL(), want)
		}
	}
	if leftward < 4 {
		t.Errorf("languages written from right to left = %d, want at least 4", leftward)
	}
}
