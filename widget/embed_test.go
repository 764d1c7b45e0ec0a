package widget_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wzrdcheckout/widget"
)

// docs/embed.md names all that a page can set, hear and style, and nothing else.
func TestEmbedDocument(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	document, types, style, view := read("../docs/embed.md"), read("js/checkout.d.ts"), read("js/widget.css"), read("view.go")
	found := func(text, pattern string) []string {
		var list []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			if !slices.Contains(list, m[1]) {
				list = append(list, m[1])
			}
		}
		slices.Sort(list)
		return list
	}
	between := func(text, from, to string) string {
		t.Helper()
		_, rest, ok := strings.Cut(text, from)
		part, _, closed := strings.Cut(rest, to)
		if !ok || !closed {
			t.Fatalf("there is no %q up to %q", from, to)
		}
		return part
	}
	parts := between(document, "Parts: ", ".\n")
	for _, c := range []struct {
		name      string
		got, want []string
	}{
		{"error codes", found(between(document, "## Error codes", "## Looks"), "(?m)^\\| `([a-z_]+)` \\|"), found(between(types, "export type ErrorCode =", ";\n\n"), `(?m)^\t\| "([a-z_]+)"`)},
		{"properties", found(between(document, "## Looks", "```css"), "`--wzrd-([a-z-]+)`"), found(between(types, "export type Variable =", ";"), `"([a-z-]+)"`)},
		{"properties in the style", found(between(document, "## Looks", "```css"), "`--wzrd-([a-z-]+)`"), found(style, `var\(--wzrd-([a-z-]+)`)},
		{"parts", found(parts, "`([a-z]+)`"), found(view, `@part=([a-z]+)`)},
		{"callbacks", found(between(document, "## Events", "## Error codes"), "(?m)^\\| `(on[A-Za-z]+)`"), found(between(types, "export interface Options", "export interface Checkout"), `(?m)^\t(on[A-Za-z]+)\?`)},
		{"options", found(between(document, "## Options", "Services stand"), "(?m)^\\| `(?:appearance\\.[a-z]+`, `)?([a-z]+)`"), found(between(types, "export interface Options", "export interface Checkout"), `(?m)^\t([a-np-z][a-z]+)\??:`)},
		{"languages", found(between(document, "only when it is wanted: ", ". `no`"), `([a-z]{2})`), widget.Languages()},
	} {
		want := c.want
		if c.name == "options" {
			want = slices.DeleteFunc(want, func(s string) bool { return s == "appearance" }) // told by its members
		}
		if !slices.Equal(c.got, want) {
			t.Errorf("%s in docs/embed.md = %v\nwant %v", c.name, c.got, want)
		}
	}
	for _, name := range []string{"theme", "layout", "variables"} {
		if !strings.Contains(document, "`appearance."+name+"`") {
			t.Errorf("docs/embed.md does not tell appearance.%s", name)
		}
	}
}
