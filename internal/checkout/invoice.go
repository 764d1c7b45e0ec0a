package checkout

import (
	"slices"
	"strconv"
)

// Invoice is one observation of a WZRDPAY payment invoice: an answer of the API or a
// callback. Status and Resolution are WZRDPAY's own words, lower-cased. Times are Unix
// seconds, 0 = not known. Amounts that WZRDPAY has not reached are nil.
// The members without a JSON name never leave the BFF.
type Invoice struct {
	ID              string  `json:"id"`
	ReferenceID     string  `json:"reference_id"`
	Service         string  `json:"service"`
	Status          string  `json:"status"`
	Resolution      string  `json:"resolution"`
	Amount          Amount  `json:"amount"`
	PaymentAmount   *Amount `json:"payment_amount"`
	ProcessedAmount *Amount `json:"processed_amount"`
	RefundedAmount  *Amount `json:"refunded_amount"`
	Currency        string  `json:"currency"`
	Created         int64   `json:"created"`
	Updated         int64   `json:"updated"`
	ExpiresAt       int64   `json:"expires_at,omitempty"`

	TestMode  bool      `json:"-"`
	SessionID string    `json:"-"` // metadata.session_id
	Redirect  *Redirect `json:"-"`
}

// Redirect is where the shopper goes to pay: a GET of URL, or a form posted to it.
// Params are the form's hidden inputs, nil for none.
type Redirect struct {
	Method string            `json:"method"` // "GET" or "POST"
	URL    string            `json:"url"`
	Params map[string]string `json:"params"`
}

// InvoiceRequest is what a payment attempt asks WZRDPAY to create (private API,
// POST /payment-invoices). Customer, Metadata, GatewayOptions and Options are JSON
// objects or empty. Expires is Unix seconds, 0 = the account's default.
type InvoiceRequest struct {
	ReferenceID    string
	Amount         Amount
	Currency       string
	Service        string
	ServiceFields  map[string]string
	Flow           string // "charge" or "verify"
	TestMode       bool
	Description    string
	Customer       JSON
	Metadata       JSON
	ReturnURL      string
	ReturnURLs     *ReturnURLs
	CallbackURL    string
	GatewayOptions JSON
	Options        JSON
	Expires        int64
}

// ReturnURLs are the pages to come back to by outcome; Pending is required.
type ReturnURLs struct {
	Success string `json:"success,omitempty"`
	Pending string `json:"pending"`
	Fail    string `json:"fail,omitempty"`
}

// JSON is a JSON value kept as its text; empty = absent, written as null.
type JSON []byte

// MarshalJSON writes the text as it is.
func (j JSON) MarshalJSON() ([]byte, error) {
	if len(j) == 0 {
		return []byte("null"), nil
	}
	return j, nil
}

// UnmarshalJSON keeps a copy of the text; null becomes empty.
func (j *JSON) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*j = nil
		return nil
	}
	*j = append((*j)[:0], text...)
	return nil
}

// phase is where an invoice stands between "nothing paid" and "money went back". It
// is the first key of the merge's order: an invoice never returns to a lower phase.
type phase uint8

const (
	unpaid        phase = iota // open, failed, expired: vendor's clock decides between them
	partiallyPaid              // less than asked arrived
	paid                       // processed, verified, and everything that can follow
)

// word is what one of WZRDPAY's statuses means to us (the status list of WZRDPAY and of the platform behind it).
type word struct {
	phase phase
	rank  uint8 // breaks ties within one second; later in the life of an invoice is greater
	final bool  // no further change is expected of an unpaid invoice
	means Status
}

func meaning(status string) (word, bool) {
	switch status {
	case "created":
		return word{unpaid, 1, false, StatusPending}, true
	case "processing":
		return word{unpaid, 2, false, StatusPending}, true
	case "process_pending":
		return word{unpaid, 3, false, StatusPending}, true
	case "process_error":
		return word{unpaid, 4, false, StatusPending}, true
	case "expired":
		return word{unpaid, 5, true, StatusExpired}, true
	case "process_failed":
		return word{unpaid, 6, true, StatusFailed}, true
	case "terminated":
		return word{unpaid, 7, true, StatusFailed}, true
	case "rejected":
		return word{unpaid, 8, true, StatusFailed}, true
	case "verify_failed":
		return word{unpaid, 9, true, StatusFailed}, true
	case "partially_processed":
		return word{partiallyPaid, 1, true, StatusPartiallyPaid}, true
	case "verified":
		return word{paid, 1, true, StatusVerified}, true
	case "processed":
		return word{paid, 2, true, StatusPaid}, true
	case "refunding":
		return word{paid, 3, false, StatusRefunding}, true
	case "refund_pending":
		return word{paid, 4, false, StatusRefunding}, true
	case "refund_error":
		return word{paid, 5, false, StatusRefunding}, true
	case "refund_failed":
		return word{paid, 6, true, StatusPaid}, true
	case "partially_refunded":
		return word{paid, 7, true, StatusPartiallyRefunded}, true
	case "refunded":
		return word{paid, 8, true, StatusRefunded}, true
	case "partially_charged_back":
		return word{paid, 9, true, StatusChargedBack}, true
	case "charged_back":
		return word{paid, 10, true, StatusChargedBack}, true
	}
	// An unknown status counts as pending; it must not undo a known final one of the same second.
	return word{unpaid, 0, false, StatusPending}, false
}

// KnownStatus tells whether status is one of WZRDPAY's documented invoice statuses.
func KnownStatus(status string) bool {
	_, known := meaning(status)
	return known
}

// Final tells whether no further change of the invoice is expected by itself (refunds
// and charge-backs apart).
func (v Invoice) Final() bool {
	w, _ := meaning(v.Status)
	return w.final
}

// Outcome is what the invoice alone makes of its session, before the session's own end
// is considered: StatusPending, StatusPaid, StatusFailed, StatusExpired, …. A processed
// invoice of which less than asked arrived is StatusPartiallyPaid; process_failed with
// the resolution "expired" is an expiry, as WZRDPAY reports abandoned payments.
func (v Invoice) Outcome() Status {
	w, _ := meaning(v.Status)
	switch {
	case w.means == StatusPaid && v.ProcessedAmount != nil && v.ProcessedAmount.Compare(v.asked()) < 0:
		return StatusPartiallyPaid
	case w.means == StatusFailed && v.Resolution == "expired":
		return StatusExpired
	}
	return w.means
}

func (v Invoice) asked() Amount {
	if v.PaymentAmount != nil {
		return *v.PaymentAmount
	}
	return v.Amount
}

// Merge joins two observations of one invoice. It is a maximum over a total order, so
// the order in which observations arrive and how often they arrive do not matter:
//
//  1. phase: unpaid < partially paid < paid. A late processed beats expired and
//     process_failed, and nothing leads back from paid.
//  2. updated, the vendor's clock, in whole seconds.
//  3. the rank of the status within its phase.
//  4. status, resolution and amounts, so that no tie is left to chance.
//
// Status, resolution, updated and the three reached amounts come together from the greater
// observation: mixed from two, they would depend on the order of arrival. Facts that do not change over an invoice's life (id, reference, service, …) are taken
// from whichever observation knows them; where both do and differ, the greater text wins.
func Merge(a, b Invoice) Invoice {
	win := a
	if compare(a, b) < 0 {
		win = b
	}
	win.ID = greater(a.ID, b.ID)
	win.ReferenceID = greater(a.ReferenceID, b.ReferenceID)
	win.Service = greater(a.Service, b.Service)
	win.Currency = greater(a.Currency, b.Currency)
	win.SessionID = greater(a.SessionID, b.SessionID)
	win.Created = max(a.Created, b.Created)
	win.ExpiresAt = max(a.ExpiresAt, b.ExpiresAt)
	win.TestMode = a.TestMode || b.TestMode
	if a.Amount.Compare(b.Amount) > 0 {
		win.Amount = a.Amount
	} else {
		win.Amount = b.Amount
	}
	win.Redirect = greaterRedirect(a.Redirect, b.Redirect)
	return win
}

func compare(a, b Invoice) int {
	x, _ := meaning(a.Status)
	y, _ := meaning(b.Status)
	for _, c := range [...]int{
		order(int64(x.phase), int64(y.phase)),
		order(a.Updated, b.Updated),
		order(int64(x.rank), int64(y.rank)),
		orderText(a.Status, b.Status),
		orderText(a.Resolution, b.Resolution),
		orderAmount(a.ProcessedAmount, b.ProcessedAmount),
		orderAmount(a.RefundedAmount, b.RefundedAmount),
		orderAmount(a.PaymentAmount, b.PaymentAmount),
	} {
		if c != 0 {
			return c
		}
	}
	return 0
}

func order(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func orderText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func orderAmount(a, b *Amount) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return a.Compare(*b)
}

func greater(a, b string) string {
	if a > b {
		return a
	}
	return b
}

func greaterRedirect(a, b *Redirect) *Redirect {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	for _, c := range [...]int{orderText(a.URL, b.URL), orderText(a.Method, b.Method), orderText(paramsText(a.Params), paramsText(b.Params))} {
		if c > 0 {
			return a
		}
		if c < 0 {
			return b
		}
	}
	return b
}

// paramsText is a form's inputs as one text that differs when the inputs do.
func paramsText(params map[string]string) string {
	names := make([]string, 0, len(params))
	for name := range params {
		names = append(names, name)
	}
	slices.Sort(names)
	text := ""
	for _, name := range names {
		for _, part := range [...]string{name, params[name]} {
			text += strconv.Itoa(len(part)) + ":" + part
		}
	}
	return text
}

// Equal tells whether two observations say the same.
func Equal(a, b Invoice) bool {
	return a.ID == b.ID && a.ReferenceID == b.ReferenceID && a.Service == b.Service &&
		a.Currency == b.Currency && a.SessionID == b.SessionID && a.Created == b.Created &&
		a.Updated == b.Updated && a.ExpiresAt == b.ExpiresAt && a.TestMode == b.TestMode &&
		a.Amount == b.Amount && compare(a, b) == 0 && sameRedirect(a.Redirect, b.Redirect)
}

func sameRedirect(a, b *Redirect) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Method != b.Method || a.URL != b.URL || len(a.Params) != len(b.Params) {
		return false
	}
	for k, v := range a.Params {
		if w, ok := b.Params[k]; !ok || w != v {
			return false
		}
	}
	return true
}
