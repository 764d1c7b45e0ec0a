//go:build !js

package widget

import (
	"embed"
	"slices"
	"strings"
)

// The languages, one file each; the page gets the one it needs with the session.
//
//go:embed texts/*.txt
var languages embed.FS

// Languages lists the languages that there are texts in, sorted.
func Languages() []string {
	entries, err := languages.ReadDir("texts")
	if err != nil {
		return nil
	}
	list := []string{"en"}
	for _, e := range entries {
		list = append(list, strings.TrimSuffix(e.Name(), ".txt"))
	}
	slices.Sort(list)
	return list
}

// Texts gives the texts of a locale's language as one string, "" for English, which is
// built into the page's code, and for a language without texts.
func Texts(locale string) string {
	lang := canonical(locale)
	if lang == "en" {
		return ""
	}
	b, err := languages.ReadFile("texts/" + lang + ".txt")
	if err != nil {
		return ""
	}
	return string(b)
}

// canonical is the language of a locale by the name that its texts have: browsers and
// older systems have several names for some.
func canonical(locale string) string {
	switch lang := strings.ToLower(language(locale)); lang {
	case "no", "nn":
		return "nb" // closer to Nynorsk than English is
	case "iw":
		return "he"
	case "in":
		return "id"
	default:
		return lang
	}
}

// T gives one text in the language of locale, else in English, its placeholders filled
// from names and values in turn; "" for an unknown key.
func T(locale, key string, pairs ...string) string {
	s := words(Texts(locale)).get(key)
	for i := 0; i+1 < len(pairs); i += 2 {
		s = fill(s, pairs[i], pairs[i+1])
	}
	return s
}

// Negotiate picks the language to show: the first of the wanted ones that there are
// texts in, "en" if there is none. Each is a locale or a whole Accept-Language header;
// "" is skipped.
func Negotiate(wanted ...string) string {
	have := Languages()
	for _, w := range wanted {
		best, weight := "", -1
		for _, part := range strings.Split(w, ",") {
			tag, rest, _ := strings.Cut(strings.TrimSpace(part), ";")
			lang := canonical(strings.TrimSpace(tag))
			if q := quality(rest); q > weight && q > 0 && slices.Contains(have, lang) {
				best, weight = lang, q
			}
		}
		if best != "" {
			return best
		}
	}
	return "en"
}

// quality reads "q=0.8" as 800; absent is 1000.
func quality(s string) int {
	_, s, ok := strings.Cut(strings.ReplaceAll(s, " ", ""), "q=")
	if !ok {
		return 1000
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n := 0
	for _, c := range (fraction + "000")[:3] {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	if whole == "1" {
		n = 1000
	}
	return n
}

func builtin(locale string) (lang, texts string) { return canonical(locale), Texts(locale) }

// scriptless tells whether pages may be drawn that no script takes over.
const scriptless = true
