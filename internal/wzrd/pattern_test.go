package wzrd_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wzrdcheckout/internal/wzrd"
)

func TestBare(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, in, want string }{
		{"bare", `^[a-zA-Z_]*$`, `^[a-zA-Z_]*$`},
		{"anything", `.*`, `.*`},
		{"empty", ``, ``},
		{"delimiters", `/^\+\d{10,14}$/`, `^\+\d{10,14}$`},
		{"delimiters and u", `/^[A-Z\-\sa-z\p{L}]{2,100}$/u`, `^[A-Z\-\sa-z\p{L}]{2,100}$`},
		{"escaped slash inside", `/^[a-zA-Z0-9 \/_.,'-]{1,200}$/`, `^[a-zA-Z0-9 \/_.,'-]{1,200}$`},
		{"case-blind", `/^[a-z]{2}$/i`, `(?i)^[a-z]{2}$`},
		{"several flags", `/^a.b$/smui`, `(?ims)^a.b$`},
		{"anchored", `/ab|c/A`, `\A(?:ab|c)`},
		{"other delimiters", `#^\d+$#u`, `^\d+$`},
		{"braces belong to the pattern", `{2}`, `{2}`},
		{"a slash alone", `/`, `/`},
		{"a slash in a bare pattern", `/api/v1`, `/api/v1`},
		{"empty between delimiters", `//`, ``},
		{"doubled backslashes", `^\\+\\d{10,14}$`, `^\+\d{10,14}$`},
		{"doubled inside delimiters", `/^\\d{4}-\\d{2}$/`, `^\d{4}-\d{2}$`},
		{"doubled once only", `^\\\\d$`, `^\\d$`},
		{"a real backslash stays", `^[\\]$`, `^[\\]$`},
		{"one single among them", `^\\[\d]$`, `^\\[\d]$`},
		{"spaces around", " /^a$/ ", `^a$`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := wzrd.Bare(row.in); got != row.want {
				t.Errorf("bare(%q) = %q, want %q", row.in, got, row.want)
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	heard := newTally()
	p := wzrd.NewPatterns(heard)
	for _, row := range []struct {
		pattern, value string
		ok, usable     bool
	}{
		{`^\d+$`, "12", true, true},
		{`^\d+$`, "1a", false, true},
		{`\d`, "a1", true, true},
		{`^[-\s\p{L}]{2,100}$`, "Жук Їжак", true, true},
		{`(?i)^[a-z]{2}$`, "UA", true, true},
		{`(?=x)`, "x", false, false},
		{`(?=x)`, "y", false, false},
		{`[`, "x", false, false},
		{strings.Repeat("a", 5000), "a", false, false},
	} {
		if ok, usable := p.Match(row.pattern, row.value); ok != row.ok || usable != row.usable {
			t.Errorf("Match(%.20q, %q) = %v, %v, want %v, %v", row.pattern, row.value, ok, usable, row.ok, row.usable)
		}
	}
	lines := heard.heard()
	slices.Sort(lines)
	if want := []string{"pattern (?=x)", "pattern [", "pattern " + strings.Repeat("a", 5000)}; !slices.Equal(lines, want) {
		t.Errorf("unusable patterns told = %.60q, want %.60q", lines, want)
	}
}

// More patterns than the cache holds still match.
func TestPatterns_Bounded(t *testing.T) {
	t.Parallel()
	p := wzrd.NewPatterns(nil)
	for i := range 3000 {
		if ok, usable := p.Match(fmt.Sprintf("^%d$", i), fmt.Sprint(i)); !ok || !usable {
			t.Fatalf("Match(^%d$) = %v, %v", i, ok, usable)
		}
	}
}
