package fields_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/fields"
)

// catalogue reads the OpenFinTech services (MIT, not part of the repository) from
// $WZRDCHECKOUT_SHARED or from shared/ beside the repository; without it the few rows
// of testdata stand in, so the walk always runs.
func catalogue(t *testing.T) (services []checkout.Service, whole bool) {
	t.Helper()
	shared := os.Getenv("WZRDCHECKOUT_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	text, err := os.ReadFile(filepath.Join(shared, "data", "openfintech.json"))
	whole = err == nil
	if !whole {
		if text, err = os.ReadFile(filepath.Join("testdata", "catalogue.json")); err != nil {
			t.Fatal(err)
		}
	}
	var file struct {
		Services map[string]map[string]struct {
			Code   string
			Fields []struct {
				Key      string
				Example  *string
				Regexp   string
				Required bool
				Position int
			}
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, byCode := range file.Services {
		for _, s := range byCode {
			service := checkout.Service{Code: s.Code}
			for _, f := range s.Fields {
				field := checkout.Field{Key: f.Key, Regexp: strip(f.Regexp), Required: f.Required, Position: f.Position}
				if f.Example != nil {
					field.Example = *f.Example
				}
				service.Fields = append(service.Fields, field)
			}
			slices.SortStableFunc(service.Fields, func(a, b checkout.Field) int { return a.Position - b.Position })
			services = append(services, service)
		}
	}
	return services, whole
}

// strip takes PHP's delimiters off; all the catalogue's are slashes.
func strip(pattern string) string {
	if i := strings.LastIndexByte(pattern, '/'); strings.HasPrefix(pattern, "/") && i > 0 {
		return pattern[1:i]
	}
	return pattern
}

func TestCheck_Catalogue(t *testing.T) {
	services, whole := catalogue(t)
	if whole && len(services) != 1640 {
		t.Errorf("the catalogue has %d services, want 1640", len(services))
	}
	patterns, examples := map[string]bool{}, 0
	for _, s := range services {
		values := map[string]string{}
		for i, f := range s.Fields {
			if i > 0 && s.Fields[i-1].Position > f.Position {
				t.Errorf("%s: %s stands at %d after %d", s.Code, f.Key, f.Position, s.Fields[i-1].Position)
			}
			patterns[f.Regexp] = true
			made := generate(t, f.Regexp)
			if f.Example != "" {
				// Some of the vendor's own examples break their patterns; those are not used.
				if _, problem := fields.One(f, f.Example, re2{}); problem == nil {
					made, examples = f.Example, examples+1
				}
			}
			values[f.Key] = made
			for _, bad := range []string{refused(f.Regexp), strings.Repeat("x", fields.MaxLength+1), "a\x00b"} {
				if _, problem := fields.One(f, bad, re2{}); problem == nil {
					t.Errorf("%s: One(%s %s, %q) passes", s.Code, f.Key, f.Regexp, bad)
				}
			}
		}
		if got, errs := fields.Check(s, values, re2{}); errs != nil || len(got) != len(s.Fields) {
			t.Errorf("Check(%s, %q) = %q, %v, want no errors", s.Code, values, got, errs)
		}
	}
	for p := range patterns {
		if _, usable := (re2{}).Match(p, ""); !usable {
			t.Errorf("%s does not compile", p)
		}
	}
	if len(patterns) == 0 || examples == 0 {
		t.Errorf("%d patterns, %d examples used, want some of both", len(patterns), examples)
	}
	t.Logf("%d services, %d patterns, %d examples", len(services), len(patterns), examples)
}

// refused finds a short value that the pattern refuses; a pattern that allows anything
// gives a value that only the length refuses.
func refused(pattern string) string {
	for _, s := range []string{"#", "\U0001F600", "~~~~", "0", "a", "a~b@c"} {
		if ok, _ := (re2{}).Match(pattern, s); !ok {
			return s
		}
	}
	return strings.Repeat("#", fields.MaxLength+1)
}

// generate writes a value that the pattern accepts, from its syntax tree.
func generate(t *testing.T, pattern string) string {
	t.Helper()
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		t.Fatalf("%s: %v", pattern, err)
	}
	var out strings.Builder
	var walk func(*syntax.Regexp)
	walk = func(re *syntax.Regexp) {
		switch re.Op {
		case syntax.OpLiteral:
			out.WriteString(string(re.Rune))
		case syntax.OpCharClass:
			out.WriteRune(pick(re.Rune))
		case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
			out.WriteByte('x')
		case syntax.OpConcat, syntax.OpCapture:
			for _, sub := range re.Sub {
				walk(sub)
			}
		case syntax.OpAlternate:
			walk(re.Sub[0])
		case syntax.OpPlus:
			walk(re.Sub[0])
		case syntax.OpStar, syntax.OpQuest:
			if out.Len() == 0 {
				walk(re.Sub[0])
			}
		case syntax.OpRepeat:
			n := re.Min
			if n == 0 {
				n = 1
			}
			for range n {
				walk(re.Sub[0])
			}
		case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpEmptyMatch, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		default:
			t.Fatalf("%s: no rule for %v", pattern, re.Op)
		}
	}
	walk(tree)
	return out.String()
}

// pick takes a visible character of a class, so that trimming leaves the value alone.
func pick(ranges []rune) rune {
	for _, want := range []rune{'A', 'a', '5', '1'} {
		for i := 0; i < len(ranges); i += 2 {
			if ranges[i] <= want && want <= ranges[i+1] {
				return want
			}
		}
	}
	for i := 0; i < len(ranges); i += 2 {
		if ranges[i+1] > ' ' {
			return max(ranges[i], '!')
		}
	}
	return ranges[0]
}
