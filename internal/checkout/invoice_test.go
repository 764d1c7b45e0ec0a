package checkout_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"wzrdcheckout/internal/checkout"
)

func amount(text string) *checkout.Amount {
	if text == "" {
		return nil
	}
	a := checkout.MustAmount(text)
	return &a
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status, resolution, asked, processed string
		want                                 checkout.Status
		final, known                         bool
	}{
		{status: "created", want: "pending", known: true},
		{status: "processing", want: "pending", known: true},
		{status: "process_pending", resolution: "ok", want: "pending", known: true},
		{status: "process_error", want: "pending", known: true},
		{status: "processed", resolution: "ok", want: "paid", final: true, known: true},
		{status: "processed", asked: "10", processed: "10.00", want: "paid", final: true, known: true},
		{status: "processed", asked: "10", processed: "10.01", want: "paid", final: true, known: true},
		{status: "processed", asked: "10", processed: "9.99", want: "partially_paid", final: true, known: true},
		{status: "processed", processed: "99.99", want: "partially_paid", final: true, known: true}, // less than the amount of 100
		{status: "partially_processed", want: "partially_paid", final: true, known: true},
		{status: "process_failed", resolution: "insufficient_funds", want: "failed", final: true, known: true},
		{status: "process_failed", resolution: "expired", want: "expired", final: true, known: true},
		{status: "process_failed", resolution: "ok", want: "failed", final: true, known: true},
		{status: "expired", want: "expired", final: true, known: true},
		{status: "terminated", want: "failed", final: true, known: true},
		{status: "rejected", want: "failed", final: true, known: true},
		{status: "verified", want: "verified", final: true, known: true},
		{status: "verify_failed", want: "failed", final: true, known: true},
		{status: "refunding", want: "refunding", known: true},
		{status: "refund_pending", want: "refunding", known: true},
		{status: "refund_error", want: "refunding", known: true},
		{status: "refund_failed", want: "paid", final: true, known: true},
		{status: "partially_refunded", want: "partially_refunded", final: true, known: true},
		{status: "refunded", want: "refunded", final: true, known: true},
		{status: "charged_back", want: "charged_back", final: true, known: true},
		{status: "partially_charged_back", want: "charged_back", final: true, known: true},
		{status: "authorize_failed", want: "pending"},
		{status: "", want: "pending"},
		{status: "PROCESSED", want: "pending"}, // wzrd lower-cases; nothing else counts
	} {
		t.Run(fmt.Sprintf("%s %s %s of %s", row.status, row.resolution, row.processed, row.asked), func(t *testing.T) {
			t.Parallel()
			v := checkout.Invoice{Status: row.status, Resolution: row.resolution, Amount: checkout.MustAmount("100"), PaymentAmount: amount(row.asked), ProcessedAmount: amount(row.processed)}
			if got := v.Outcome(); got != row.want {
				t.Errorf("Outcome = %s, want %s", got, row.want)
			}
			if got := v.Final(); got != row.final {
				t.Errorf("Final = %v, want %v", got, row.final)
			}
			if got := checkout.KnownStatus(row.status); got != row.known {
				t.Errorf("KnownStatus = %v, want %v", got, row.known)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name           string
		older, newer   checkout.Invoice // in the order of their arrival
		status, reason string
	}{
		{"newer wins", checkout.Invoice{Status: "process_pending", Updated: 1}, checkout.Invoice{Status: "process_failed", Updated: 2, Resolution: "declined"}, "process_failed", "declined"},
		{"late answer loses", checkout.Invoice{Status: "process_failed", Updated: 2}, checkout.Invoice{Status: "process_pending", Updated: 1}, "process_failed", ""},
		{"late processed beats expired", checkout.Invoice{Status: "expired", Updated: 9}, checkout.Invoice{Status: "processed", Updated: 5}, "processed", ""},
		{"late processed beats process_failed", checkout.Invoice{Status: "process_failed", Updated: 9, Resolution: "expired"}, checkout.Invoice{Status: "processed", Updated: 5, Resolution: "ok"}, "processed", "ok"},
		{"never back from paid", checkout.Invoice{Status: "processed", Updated: 5}, checkout.Invoice{Status: "process_pending", Updated: 9}, "processed", ""},
		{"never back from paid to failed", checkout.Invoice{Status: "processed", Updated: 5}, checkout.Invoice{Status: "process_failed", Updated: 9}, "processed", ""},
		{"never back from paid to partly", checkout.Invoice{Status: "processed", Updated: 5}, checkout.Invoice{Status: "partially_processed", Updated: 9}, "processed", ""},
		{"partly paid beats failed", checkout.Invoice{Status: "process_failed", Updated: 9}, checkout.Invoice{Status: "partially_processed", Updated: 5}, "partially_processed", ""},
		{"refunded after processed", checkout.Invoice{Status: "processed", Updated: 5}, checkout.Invoice{Status: "refunded", Updated: 6}, "refunded", ""},
		{"refund failed after refunding", checkout.Invoice{Status: "refunding", Updated: 5}, checkout.Invoice{Status: "refund_failed", Updated: 6}, "refund_failed", ""},
		{"same second, later in life wins", checkout.Invoice{Status: "process_failed", Updated: 5}, checkout.Invoice{Status: "process_pending", Updated: 5}, "process_failed", ""},
		{"same second, unknown loses", checkout.Invoice{Status: "process_pending", Updated: 5}, checkout.Invoice{Status: "zombie", Updated: 5}, "process_pending", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, got := range []checkout.Invoice{checkout.Merge(row.older, row.newer), checkout.Merge(row.newer, row.older)} {
				if got.Status != row.status || got.Resolution != row.reason {
					t.Errorf("Merge(%v, %v) = %s %s, want %s %s", row.older, row.newer, got.Status, got.Resolution, row.status, row.reason)
				}
			}
		})
	}
}

// Facts come from whichever observation knows them.
func TestMerge_Facts(t *testing.T) {
	t.Parallel()
	created := checkout.Invoice{
		ID: "cpi_1", ReferenceID: "order-1", Service: "card", Currency: "EUR", Amount: checkout.MustAmount("10"), Status: "process_pending",
		Created: 5, Updated: 5, ExpiresAt: 99, TestMode: true, SessionID: "cs_1", Redirect: &checkout.Redirect{Method: "GET", URL: "https://psp.example/1"},
	}
	late := checkout.Invoice{ID: "cpi_1", Status: "processed", Updated: 9, ProcessedAmount: amount("10")}
	want := created
	want.Status, want.Updated, want.ProcessedAmount = "processed", 9, amount("10")
	for _, got := range []checkout.Invoice{checkout.Merge(created, late), checkout.Merge(late, created)} {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Merge = %+v, want %+v", got, want)
		}
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	base := checkout.Invoice{ID: "a", Status: "processed", Updated: 1, Redirect: &checkout.Redirect{URL: "u", Params: map[string]string{"a": "1"}}}
	same := base
	same.Redirect = &checkout.Redirect{URL: "u", Params: map[string]string{"a": "1"}}
	if !checkout.Equal(base, same) {
		t.Errorf("Equal(%v, %v) = false, want true", base, same)
	}
	for name, change := range map[string]func(*checkout.Invoice){
		"id":         func(v *checkout.Invoice) { v.ID = "b" },
		"status":     func(v *checkout.Invoice) { v.Status = "refunded" },
		"resolution": func(v *checkout.Invoice) { v.Resolution = "ok" },
		"updated":    func(v *checkout.Invoice) { v.Updated++ },
		"amount":     func(v *checkout.Invoice) { v.Amount = checkout.MustAmount("1") },
		"processed":  func(v *checkout.Invoice) { v.ProcessedAmount = amount("1") },
		"asked":      func(v *checkout.Invoice) { v.PaymentAmount = amount("1") },
		"refunded":   func(v *checkout.Invoice) { v.RefundedAmount = amount("1") },
		"redirect":   func(v *checkout.Invoice) { v.Redirect = nil },
		"param": func(v *checkout.Invoice) {
			v.Redirect = &checkout.Redirect{URL: "u", Params: map[string]string{"a": "2"}}
		},
		"mode": func(v *checkout.Invoice) { v.TestMode = true },
	} {
		v := base
		change(&v)
		if checkout.Equal(base, v) || checkout.Equal(v, base) {
			t.Errorf("Equal after a change of %s = true, want false", name)
		}
	}
}

var statuses = []string{
	"created", "processing", "process_pending", "process_error", "expired", "process_failed", "terminated", "rejected", "verify_failed",
	"partially_processed", "verified", "processed", "refunding", "refund_pending", "refund_error", "refund_failed", "partially_refunded",
	"refunded", "partially_charged_back", "charged_back", "", "zombie",
}

// observations makes a few observations of one invoice from the fuzzer's bytes, from a
// small set of values, so that ties of every kind occur.
func observations(data []byte) []checkout.Invoice {
	next := func() int {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return int(b)
	}
	some := func() *checkout.Amount { return [...]*checkout.Amount{nil, amount("5"), amount("7")}[next()%3] }
	var list []checkout.Invoice
	for len(data) > 0 && len(list) < 6 {
		v := checkout.Invoice{
			ID: "cpi_1", Status: statuses[next()%len(statuses)], Updated: int64(next() % 3),
			Resolution: [...]string{"ok", "expired", ""}[next()%3], Service: [...]string{"", "card", "bank"}[next()%3],
			PaymentAmount: some(), ProcessedAmount: some(), RefundedAmount: some(), Amount: checkout.MustAmount([...]string{"0", "5", "7"}[next()%3]),
			Created: int64(next() % 2), TestMode: next()%2 == 0, SessionID: [...]string{"", "cs_1"}[next()%2],
		}
		switch next() % 5 {
		case 0:
			v.Redirect = &checkout.Redirect{Method: "GET", URL: "https://a.example"}
		case 1:
			v.Redirect = &checkout.Redirect{Method: "POST", URL: "https://a.example", Params: map[string]string{"a": "1"}}
		case 2:
			v.Redirect = &checkout.Redirect{Method: "POST", URL: "https://a.example", Params: map[string]string{"a": "2"}}
		case 3:
			v.Redirect = &checkout.Redirect{Method: "POST", URL: "https://a.example", Params: map[string]string{"b": "1"}}
		}
		list = append(list, v)
	}
	return list
}

// FuzzMerge: any order, any grouping and any repeats of the same observations give one
// result, a merge never lowers what either side reached, and merging is stable.
func FuzzMerge(f *testing.F) {
	f.Add(uint64(1), []byte("\x0b\x02\x00\x01\x01\x01\x00\x01\x01\x00\x01\x02\x05\x02\x01\x01\x00\x00\x01\x02\x00\x01\x00\x01"))
	f.Add(uint64(2), []byte("\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02\x02\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x03"))
	f.Add(uint64(3), []byte("\x14\x00\x00\x15\x00\x00\x0b\x02"))
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		list := observations(data)
		if len(list) == 0 {
			return
		}
		want := fold(list)
		random := rand.New(rand.NewPCG(seed, 1))
		for range 8 {
			mixed := append(slices.Clone(list), list[random.IntN(len(list))], list[random.IntN(len(list))])
			random.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			if got := fold(mixed); !reflect.DeepEqual(got, want) {
				t.Fatalf("in another order %+v, want %+v", got, want)
			}
			// Another grouping: two replicas merged apart, then joined.
			cut := random.IntN(len(mixed)-1) + 1
			if got := checkout.Merge(fold(mixed[:cut]), fold(mixed[cut:])); !reflect.DeepEqual(got, want) {
				t.Fatalf("in another grouping %+v, want %+v", got, want)
			}
		}
		for _, v := range list {
			if again := checkout.Merge(want, v); !checkout.Equal(again, want) {
				t.Fatalf("Merge(%+v, %+v) = %+v, want no change", want, v, again)
			}
			if reached(v) > reached(want) {
				t.Fatalf("%s merged into %s goes back", v.Status, want.Status)
			}
		}
	})
}

func fold(list []checkout.Invoice) checkout.Invoice {
	v := list[0]
	for _, w := range list[1:] {
		v = checkout.Merge(v, w)
	}
	return v
}

// reached is the promise in the test's own words: 0 nothing, 1 a part, 2 all was paid.
func reached(v checkout.Invoice) int {
	switch v.Status {
	case "partially_processed":
		return 1
	case "verified", "processed", "refunding", "refund_pending", "refund_error", "refund_failed", "partially_refunded", "refunded", "partially_charged_back", "charged_back":
		return 2
	}
	return 0
}
