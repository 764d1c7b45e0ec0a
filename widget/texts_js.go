//go:build js

package widget

// builtin has nothing to add in the page: a language's texts arrive with the session.
func builtin(locale string) (lang, texts string) { return locale, "" }

// written has no table in the page, whose Intl is asked.
func written(string, string, string, int) string { return "" }

// scriptless tells whether pages may be drawn that no script takes over.
const scriptless = false
