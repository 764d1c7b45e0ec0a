package app

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"wzrdcheckout/internal/page"
	"wzrdcheckout/public"
)

// Policy is what a shop that has a Content-Security-Policy adds for the widget, and what
// its PCI DSS 4.0 script inventory (6.4.3, 11.6.1) wants to know.
type Policy struct {
	Directives []Directive `json:"directives"`
	Integrity  []Integrity `json:"integrity"`
	Inventory  []Script    `json:"inventory"`
}

// Directive is one line of the policy.
type Directive struct {
	Name    string   `json:"name"`
	Sources []string `json:"sources"`
}

// Integrity is the SRI hash of one published file.
type Integrity struct {
	URL       string `json:"url"`
	Integrity string `json:"integrity"`
}

// Script is one row of the inventory.
type Script struct {
	URL       string `json:"url"`
	Purpose   string `json:"purpose"`
	Bytes     int    `json:"bytes"`
	Integrity string `json:"integrity"`
}

// purposes says why each file that runs is needed; a file without a line here
// is listed as part of the widget.
var purposes = map[string]string{
	"checkout.js":  "Loader for the script tag: draws the payment methods and starts the widget.",
	"checkout.mjs": "The same as an ES module, for pages that call mount().",
	"wasm_exec.js": "Runtime support that the Go compiler ships for its WebAssembly.",
	"widget.wasm":  "The widget: choice of method, field checks, status. Compiled from the Go source.",
	"page.js":      "Hosted page and return page only: closes a popup, sends the provider's form.",
}

// CSP gives the policy for a BFF at publicURL. It returns public.ErrNotBuilt when the
// binary has no widget in it.
func CSP(publicURL string) (Policy, error) {
	u, err := url.Parse(publicURL)
	if err != nil || u.Host == "" {
		return Policy{}, fmt.Errorf("BFF_PUBLIC_URL: is not an absolute address")
	}
	manifest, err := public.Load()
	if err != nil {
		return Policy{}, err
	}
	origin := u.Scheme + "://" + u.Host
	socket := "wss://" + u.Host
	if u.Scheme == "http" {
		socket = "ws://" + u.Host
	}
	p := Policy{Directives: []Directive{
		{"script-src", []string{origin, "'wasm-unsafe-eval'"}},
		{"style-src", []string{origin}},
		{"img-src", []string{origin}},
		{"connect-src", []string{origin, socket}},
		{"form-action", []string{origin}},
	}}
	for _, file := range manifest.Files {
		at := origin + "/widget/v1/" + file.Name
		p.Integrity = append(p.Integrity, Integrity{at, file.Integrity})
		if !runs(file.Logical) {
			continue
		}
		purpose, ok := purposes[file.Logical]
		if !ok {
			purpose = "Part of the widget."
		}
		p.Inventory = append(p.Inventory, Script{at, purpose, file.Bytes, file.Integrity})
	}
	byURL := func(a, b string) int { return strings.Compare(a, b) }
	slices.SortFunc(p.Integrity, func(a, b Integrity) int { return byURL(a.URL, b.URL) })
	slices.SortFunc(p.Inventory, func(a, b Script) int { return byURL(a.URL, b.URL) })
	return p, nil
}

// WithInlineStyle is the policy for pages whose markup has the widget's style in it
// (POST /v1/sessions?embed_style=inline): the style is named by its hash, which changes
// with the release.
func (p Policy) WithInlineStyle() (Policy, error) {
	manifest, err := public.Load()
	if err != nil {
		return Policy{}, err
	}
	file, ok := manifest.File("widget.css")
	if !ok {
		return Policy{}, fmt.Errorf("there is no widget.css in this binary")
	}
	text, err := public.FS.ReadFile(public.Dir + "/" + file.Name)
	if err != nil {
		return Policy{}, fmt.Errorf("read widget.css: %w", err)
	}
	p.Directives = slices.Clone(p.Directives)
	for i, d := range p.Directives {
		if d.Name == "style-src" {
			p.Directives[i].Sources = append(slices.Clone(d.Sources), page.StyleHash(string(text)))
		}
	}
	return p, nil
}

func runs(name string) bool {
	return strings.HasSuffix(name, ".js") || strings.HasSuffix(name, ".mjs") || strings.HasSuffix(name, ".wasm")
}

// Write prints the policy for a person: the directives one per line, then the hashes,
// then the inventory.
func (p Policy) Write(w io.Writer) error {
	var b strings.Builder
	for _, d := range p.Directives {
		fmt.Fprintf(&b, "%s %s\n", d.Name, strings.Join(d.Sources, " "))
	}
	b.WriteString("\n# Subresource integrity\n")
	for _, i := range p.Integrity {
		fmt.Fprintf(&b, "%s %s\n", i.URL, i.Integrity)
	}
	b.WriteString("\n# Script inventory\n")
	for _, s := range p.Inventory {
		fmt.Fprintf(&b, "%s (%d bytes, %s): %s\n", s.URL, s.Bytes, s.Integrity, s.Purpose)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// About is the line of `bff version`: release, commit ("" = not known), and which compiler
// made the widget.
func About(version, commit string) string {
	line := "bff " + version
	if commit != "" {
		line += " (commit " + commit + ")"
	}
	manifest, err := public.Load()
	if err != nil {
		return line + ", " + err.Error()
	}
	return fmt.Sprintf("%s, widget by %s, %d bytes (brotli) in a page", line, manifest.Compiler, manifest.PageBrotli)
}
