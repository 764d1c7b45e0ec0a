//go:build js

package widget

// builtin has nothing to add in the page: a language's texts arrive with the session.
func builtin(locale string) (lang, texts string) { return locale, "" }

// currencyDigits leaves it to the browser's Intl, which has its own table.
func currencyDigits(string) int { return 0 }

// scriptless tells whether pages may be drawn that no script takes over.
const scriptless = false
