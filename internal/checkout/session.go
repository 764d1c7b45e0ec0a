package checkout

// Status is a session's status, derived in one place: Derive.
type Status string

// The session's statuses (docs/webhooks.md).
const (
	StatusOpen              Status = "open"
	StatusCreating          Status = "creating"
	StatusPending           Status = "pending"
	StatusPaid              Status = "paid"
	StatusPartiallyPaid     Status = "partially_paid"
	StatusFailed            Status = "failed"
	StatusExpired           Status = "expired"
	StatusVerified          Status = "verified"
	StatusRefunding         Status = "refunding"
	StatusRefunded          Status = "refunded"
	StatusPartiallyRefunded Status = "partially_refunded"
	StatusChargedBack       Status = "charged_back"
)

// Settled tells whether money moved: nothing may be paid any more in this session.
func (s Status) Settled() bool {
	switch s {
	case StatusPaid, StatusPartiallyPaid, StatusVerified, StatusRefunding, StatusRefunded, StatusPartiallyRefunded, StatusChargedBack:
		return true
	}
	return false
}

// Payable tells whether a new attempt may begin, the session's end apart.
func (s Status) Payable() bool { return s == StatusOpen || s == StatusFailed }

// Announced tells whether reaching the status is a webhook to the shop (docs/webhooks.md);
// its type is then "session." + the status.
func (s Status) Announced() bool { return s != StatusOpen && s != StatusCreating && s != "" }

// Attempt is one try to pay: it makes at most one invoice. Number counts from 1;
// attempt 1 uses the session's reference ID, attempt n reference_id.n. Invoice is nil
// while the invoice is being made.
type Attempt struct {
	Number      int      `json:"number"`
	ReferenceID string   `json:"reference_id"`
	Service     string   `json:"service"`
	CreatedAt   int64    `json:"created_at"`
	Invoice     *Invoice `json:"invoice"`
}

// Session is what the merchant, the page and the webhook see of a session. Revision
// grows by one with every change. Invoice is that of the attempt that decides the status.
type Session struct {
	ID          string    `json:"id"`
	Status      Status    `json:"status"`
	Revision    int64     `json:"revision"`
	ReferenceID string    `json:"reference_id"`
	Amount      Amount    `json:"amount"`
	Currency    string    `json:"currency"`
	Digits      int       `json:"digits"` // decimals to show an amount with
	TestMode    bool      `json:"test_mode"`
	Flow        string    `json:"flow"`
	Description string    `json:"description"`
	Locale      string    `json:"locale,omitempty"`
	CreatedAt   int64     `json:"created_at"`
	ExpiresAt   int64     `json:"expires_at"`
	Invoice     *Invoice  `json:"invoice"`
	Attempts    []Attempt `json:"attempts"`
	Metadata    JSON      `json:"metadata"`
}

// Derive gives a session's status and the index of the attempt that decides it (-1 for
// none) at the Unix second now. closed is when the merchant ended the session, 0 = not.
//
//   - An attempt that moved money decides; of several the one that still holds most of
//     it: paid before partly refunded before partly paid before refunded, so the refund of
//     a second payment does not make a paid session look refunded.
//   - Else the latest attempt decides: creating, pending or failed.
//   - An invoice that expired makes the session failed while it lives, expired after.
//   - Without an attempt the session is open until its end, then expired.
func Derive(attempts []Attempt, expiresAt, closed, now int64) (Status, int) {
	decides, most := -1, 0
	for i, a := range attempts {
		if a.Invoice == nil {
			continue
		}
		if h := holds(a.Invoice.Outcome()); h > most {
			decides, most = i, h
		}
	}
	if decides >= 0 {
		return attempts[decides].Invoice.Outcome(), decides
	}
	ended := now >= expiresAt || closed != 0 && now >= closed
	last := len(attempts) - 1
	if last < 0 {
		if ended {
			return StatusExpired, -1
		}
		return StatusOpen, -1
	}
	if attempts[last].Invoice == nil {
		return StatusCreating, last
	}
	switch s := attempts[last].Invoice.Outcome(); {
	case s == StatusExpired && !ended:
		return StatusFailed, last
	default:
		return s, last
	}
}

// holds ranks the outcomes that moved money by how much of it the shop still has; 0 =
// none moved.
func holds(outcome Status) int {
	switch outcome {
	case StatusPaid:
		return 7
	case StatusVerified:
		return 6
	case StatusPartiallyRefunded:
		return 5
	case StatusRefunding:
		return 4
	case StatusPartiallyPaid:
		return 3
	case StatusRefunded:
		return 2
	case StatusChargedBack:
		return 1
	}
	return 0
}
