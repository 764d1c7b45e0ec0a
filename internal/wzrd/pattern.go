package wzrd

import (
	"regexp"
	"strings"
	"sync"
)

// bare gives a field's pattern without what belongs to PHP or to the documents: the
// delimiters and flags of "/…/u", and backslashes that a sample carries doubled. What is
// left means the same to Go's regexp and to a browser. Of the flags, i, s and m change
// what matches and stay as "(?i)"; a browser that does not know that form skips its hint.
func bare(pattern string) string {
	pattern = strings.TrimSpace(pattern)
	if len(pattern) >= 2 && strings.IndexByte("/#~%!@", pattern[0]) >= 0 {
		if end := strings.LastIndexByte(pattern, pattern[0]); end > 0 && strings.Trim(pattern[end+1:], "imsxuADUXJ") == "" {
			flags := ""
			for _, f := range "ims" {
				if strings.ContainsRune(pattern[end+1:], f) {
					flags += string(f)
				}
			}
			inner := pattern[1:end]
			if strings.ContainsRune(pattern[end+1:], 'A') {
				inner = `\A(?:` + inner + `)`
			}
			if flags != "" {
				inner = "(?" + flags + ")" + inner
			}
			pattern = inner
		}
	}
	return halve(pattern)
}

// halve undoes doubled backslashes, once: only when every run of backslashes is even and
// one of them stands before something that a field would want escaped, so that a pattern
// for a real backslash ("[\\]") stays as it is.
func halve(pattern string) string {
	doubled := false
	for i := 0; i < len(pattern); i++ {
		run := 0
		for i < len(pattern) && pattern[i] == '\\' {
			run, i = run+1, i+1
		}
		if run%2 == 1 {
			return pattern
		}
		if run > 0 && i < len(pattern) && strings.IndexByte(`dDwWsSpPbB.+*?(){}[^$|/-`, pattern[i]) >= 0 {
			doubled = true
		}
	}
	if !doubled {
		return pattern
	}
	return strings.ReplaceAll(pattern, `\\`, `\`)
}

// The cache's bounds: the whole catalogue has 104 patterns of at most 331 bytes.
const (
	maxPatterns      = 1024
	maxPatternLength = 4096
)

// Patterns matches values with Go's regexp (RE2: linear time, so a hostile pattern can
// not hang the process), searched and not anchored, as the vendor's PHP does. It is what
// fields wants as a Matcher in the BFF. Safe for concurrent use.
type Patterns struct {
	observer Observer

	mu       sync.Mutex
	compiled map[string]*regexp.Regexp // nil = does not compile
}

// NewPatterns makes an empty cache of compiled patterns; observer may be nil.
func NewPatterns(observer Observer) *Patterns {
	if observer == nil {
		observer = silent{}
	}
	return &Patterns{observer: observer, compiled: map[string]*regexp.Regexp{}}
}

// Match tells whether value fits pattern. usable is false when the pattern does not
// compile in RE2 or is longer than 4096 bytes; the observer is told once per pattern.
func (p *Patterns) Match(pattern, value string) (ok, usable bool) {
	re := p.compile(pattern)
	if re == nil {
		return false, false
	}
	return re.MatchString(value), true
}

func (p *Patterns) compile(pattern string) *regexp.Regexp {
	p.mu.Lock()
	defer p.mu.Unlock()
	re, seen := p.compiled[pattern]
	if seen {
		return re
	}
	if len(pattern) <= maxPatternLength {
		if made, err := regexp.Compile(pattern); err == nil {
			re = made
		}
	}
	if re == nil {
		p.observer.Pattern(pattern)
	}
	if len(p.compiled) >= maxPatterns {
		clear(p.compiled)
	}
	if len(pattern) <= maxPatternLength {
		p.compiled[pattern] = re
	}
	return re
}
