//go:build js

package widget

// builtin has nothing to add in the page: a language's texts arrive with the session.
func builtin(string) string { return "" }

// currencyDigits leaves it to the browser's Intl, which has its own table.
func currencyDigits(string) int { return 0 }
