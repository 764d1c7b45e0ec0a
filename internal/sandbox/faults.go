package sandbox

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
)

// Fault names one kind of misbehaviour, as in the JSON of [Faults].
type Fault string

// The faults of an answer and of a callback.
const (
	FaultPHPEmpties      Fault = "php_empties"       // an empty map is [] or null
	FaultMixedCase       Fault = "mixed_case"        // statuses and resolutions in the other case
	FaultStringNumbers   Fault = "string_numbers"    // money as strings
	FaultExponentNumbers Fault = "exponent_numbers"  // money as 1.05e+01
	FaultOmitOptional    Fault = "omit_optional"     // optional keys are missing
	FaultExtraKeys       Fault = "extra_keys"        // unknown keys
	FaultNewerKeys       Fault = "newer_keys"        // the key set of newer installations
	FaultSlow            Fault = "slow"              // the answer takes up to SlowForMS
	FaultTooMany         Fault = "too_many"          // 429 with Retry-After; nothing was done
	FaultErrorBefore     Fault = "error_before"      // 500, 502, 503 or 504; nothing was done
	FaultRedirect        Fault = "redirect"          // 307 to RedirectTo; nothing was done
	FaultErrorAfter      Fault = "error_after"       // 500, 502, 503 or 504 after it was done
	FaultBadRequestAfter Fault = "bad_request_after" // 400 after it was done (creates and refunds)
	FaultLostAnswer      Fault = "lost_answer"       // done, connection closed without an answer
	FaultTruncated       Fault = "truncated"         // done, half of the JSON
	FaultHTML            Fault = "html"              // done, a web page instead of JSON
	FaultHuge            Fault = "huge"              // done, HugeBytes of body
	FaultLoopingPages    Fault = "looping_pages"     // links.next of a list is the page itself
	FaultCursorNames     Fault = "cursor_names"      // other query names in the cursor links
	FaultSingleObject    Fault = "single_object"     // filter[reference_id] answers one object
	FaultConflictBare    Fault = "conflict_bare"     // 409 is the earlier invoice without errors
	FaultExpiredStatus   Fault = "expired_status"    // an abandoned invoice ends as expired, not process_failed
	FaultDuplicate       Fault = "duplicate_callbacks"
	FaultDisordered      Fault = "disordered_callbacks"
	FaultForged          Fault = "forged_callbacks"
	FaultDropped         Fault = "dropped_callbacks"
)

// Faults are the knobs: probabilities from 0 (never) to 1 (always), switches,
// and the seed. What happens to the n-th call about one thing (an operation
// and its reference ID or path) depends on Seed, the thing and n only, so
// concurrent calls about different things do not change each other's luck.
type Faults struct {
	Seed uint64 `json:"seed"`

	PHPEmpties      float64 `json:"php_empties"`
	MixedCase       float64 `json:"mixed_case"`
	StringNumbers   float64 `json:"string_numbers"`
	ExponentNumbers float64 `json:"exponent_numbers"`
	OmitOptional    float64 `json:"omit_optional"`
	ExtraKeys       float64 `json:"extra_keys"`
	NewerKeys       float64 `json:"newer_keys"`

	Slow            float64 `json:"slow"`
	TooMany         float64 `json:"too_many"`
	ErrorBefore     float64 `json:"error_before"`
	Redirect        float64 `json:"redirect"`
	ErrorAfter      float64 `json:"error_after"`
	BadRequestAfter float64 `json:"bad_request_after"`
	LostAnswer      float64 `json:"lost_answer"`
	Truncated       float64 `json:"truncated"`
	HTML            float64 `json:"html"`
	Huge            float64 `json:"huge"`

	LoopingPages  float64 `json:"looping_pages"`
	CursorNames   float64 `json:"cursor_names"`
	SingleObject  float64 `json:"single_object"`
	ConflictBare  float64 `json:"conflict_bare"`
	ExpiredStatus float64 `json:"expired_status"`

	DuplicateCallbacks  float64 `json:"duplicate_callbacks"`
	DisorderedCallbacks float64 `json:"disordered_callbacks"`
	ForgedCallbacks     float64 `json:"forged_callbacks"`
	DroppedCallbacks    float64 `json:"dropped_callbacks"`

	SlowForMS  int    `json:"slow_for_ms"` // longest delay; 2,000 when 0
	RetryAfter int    `json:"retry_after"` // seconds, in a 429; 1 when 0
	HugeBytes  int    `json:"huge_bytes"`  // 100 MB when 0
	LateForMS  int    `json:"late_for_ms"` // how long a disordered callback waits to be overtaken; 500 when 0
	RedirectTo string `json:"redirect_to"` // "https://elsewhere.invalid" when empty

	// ForbidPublicCreation is the account's switch of that name: 403.
	ForbidPublicCreation bool `json:"forbid_public_creation"`
	// ForbidPrivateAPI answers 403 to every private call, as an address that is
	// not on the account's allow-list gets.
	ForbidPrivateAPI bool `json:"forbid_private_api"`
}

// knobs binds names to members, in the order in which the dice are thrown.
var knobs = []struct {
	name Fault
	of   func(*Faults) *float64
}{
	{FaultPHPEmpties, func(f *Faults) *float64 { return &f.PHPEmpties }},
	{FaultMixedCase, func(f *Faults) *float64 { return &f.MixedCase }},
	{FaultStringNumbers, func(f *Faults) *float64 { return &f.StringNumbers }},
	{FaultExponentNumbers, func(f *Faults) *float64 { return &f.ExponentNumbers }},
	{FaultOmitOptional, func(f *Faults) *float64 { return &f.OmitOptional }},
	{FaultExtraKeys, func(f *Faults) *float64 { return &f.ExtraKeys }},
	{FaultNewerKeys, func(f *Faults) *float64 { return &f.NewerKeys }},
	{FaultSlow, func(f *Faults) *float64 { return &f.Slow }},
	{FaultTooMany, func(f *Faults) *float64 { return &f.TooMany }},
	{FaultErrorBefore, func(f *Faults) *float64 { return &f.ErrorBefore }},
	{FaultRedirect, func(f *Faults) *float64 { return &f.Redirect }},
	{FaultErrorAfter, func(f *Faults) *float64 { return &f.ErrorAfter }},
	{FaultBadRequestAfter, func(f *Faults) *float64 { return &f.BadRequestAfter }},
	{FaultLostAnswer, func(f *Faults) *float64 { return &f.LostAnswer }},
	{FaultTruncated, func(f *Faults) *float64 { return &f.Truncated }},
	{FaultHTML, func(f *Faults) *float64 { return &f.HTML }},
	{FaultHuge, func(f *Faults) *float64 { return &f.Huge }},
	{FaultLoopingPages, func(f *Faults) *float64 { return &f.LoopingPages }},
	{FaultCursorNames, func(f *Faults) *float64 { return &f.CursorNames }},
	{FaultSingleObject, func(f *Faults) *float64 { return &f.SingleObject }},
	{FaultConflictBare, func(f *Faults) *float64 { return &f.ConflictBare }},
	{FaultExpiredStatus, func(f *Faults) *float64 { return &f.ExpiredStatus }},
	{FaultDuplicate, func(f *Faults) *float64 { return &f.DuplicateCallbacks }},
	{FaultDisordered, func(f *Faults) *float64 { return &f.DisorderedCallbacks }},
	{FaultForged, func(f *Faults) *float64 { return &f.ForgedCallbacks }},
	{FaultDropped, func(f *Faults) *float64 { return &f.DroppedCallbacks }},
}

// NoFaults is the documented service on a good day: the demo.
func NoFaults() Faults { return Faults{} }

// Misbehaving turns every knob on that a client must survive, with delays
// short enough for tests. Callbacks are never lost for good (DroppedCallbacks
// stays 0) and pages do not loop, so that a run can end.
func Misbehaving(seed uint64) Faults {
	return Faults{
		Seed:       seed,
		PHPEmpties: 0.5, MixedCase: 0.5, StringNumbers: 0.3, ExponentNumbers: 0.2,
		OmitOptional: 0.4, ExtraKeys: 0.4, NewerKeys: 0.5,
		Slow: 0.05, TooMany: 0.02, ErrorBefore: 0.05, Redirect: 0.01,
		ErrorAfter: 0.05, BadRequestAfter: 0.03, LostAnswer: 0.05,
		Truncated: 0.03, HTML: 0.03, Huge: 0.001,
		CursorNames: 0.5, SingleObject: 0.3, ConflictBare: 0.5, ExpiredStatus: 0.5,
		DuplicateCallbacks: 0.2, DisorderedCallbacks: 0.2, ForgedCallbacks: 0.1,
		SlowForMS: 200, RetryAfter: 1, HugeBytes: 8 << 20, LateForMS: 100,
	}
}

func (f Faults) validate() error {
	for _, k := range knobs {
		if p := *k.of(&f); !(p >= 0 && p <= 1) {
			return fmt.Errorf("sandbox: Faults: %s is not between 0 and 1", k.name)
		}
	}
	if f.SlowForMS < 0 || f.RetryAfter < 0 || f.HugeBytes < 0 || f.LateForMS < 0 {
		return errors.New("sandbox: Faults: slow_for_ms, retry_after, huge_bytes or late_for_ms is negative")
	}
	if f.RedirectTo != "" && !validURL(f.RedirectTo) {
		return errors.New("sandbox: Faults: redirect_to is no http or https URL")
	}
	return nil
}

// plan is what the dice said about one call or one callback.
type plan struct {
	on     map[Fault]bool
	faults Faults
	rng    *rand.Rand
}

func (p plan) has(f Fault) bool { return p.on[f] }

// names lists the faults of the plan, sorted.
func (p plan) names() []Fault {
	var out []Fault
	for f := range p.on {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// scripted is a fault ordered by FailNext.
type scripted struct {
	op    string
	fault Fault
	times int
}

// rollLocked throws the dice for the next call of op about subject.
func (s *Server) rollLocked(op, subject string) plan {
	key := op + "\x00" + subject
	n := s.rolls[key]
	s.rolls[key] = n + 1
	h := fnv.New64a()
	h.Write([]byte(key + "\x00" + strconv.FormatUint(n, 10)))
	p := plan{on: map[Fault]bool{}, faults: s.faults, rng: rand.New(rand.NewPCG(s.faults.Seed, h.Sum64()))} //nolint:gosec // luck that can be repeated
	for _, k := range knobs {
		// One throw for each knob, so that turning one leaves the others' luck alone.
		if p.rng.Float64() < *k.of(&p.faults) {
			p.on[k.name] = true
		}
	}
	for i := 0; i < len(s.script); {
		if sc := &s.script[i]; sc.op == op || sc.op == "" {
			p.on[sc.fault] = true
			if sc.times--; sc.times == 0 {
				s.script = slices.Delete(s.script, i, i+1)
				continue
			}
		}
		i++
	}
	return p
}
