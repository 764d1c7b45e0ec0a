package session

import "wzrdcheckout/internal/checkout"

// After its creation an invoice that stays silent is asked for at these ages, in
// seconds: the vendor answers in 1 to 2 s, a shopper needs a minute or two, a transfer longer.
var early = []int64{60, 3 * 60, 8 * 60, 23 * 60, 53 * 60}

// every is the pace after that, until the invoice expires.
const every = 30 * 60

// late are the moments after an invoice's expiry: an abandoned payment was seen to be
// closed about 100 s after it; a bank may take hours more.
var late = []int64{2 * 60, 12 * 60, 42 * 60, 2 * 3600, 6 * 3600, 12 * 3600}

// unsettled are the ages, since the last news, at which a refund under way is asked for.
var unsettled = []int64{10 * 60, 3600, 6 * 3600, 24 * 3600, 72 * 3600}

// soon is when a status that was to be read again is taken up by the timer, should this
// process not get to it.
const soon = 10

// wake gives the next moment, Unix seconds after now, at which the session has to be
// looked at although nothing was heard; 0 = none.
func wake(r *record, now int64) int64 {
	var next int64
	add := func(at int64) {
		if at > now && (next == 0 || at < next) {
			next = at
		}
	}
	if c := r.Claim; c != nil {
		add(max(c.Until, c.Again, now) + 1)
	}
	add(r.Reread)
	for _, a := range r.Attempts {
		if a.Invoice != nil {
			add(look(a, now))
		}
	}
	// Its end changes a session that is open, or whose invoice expired before it.
	if v := r.latest(); len(r.Attempts) == 0 || v != nil && v.Outcome() == checkout.StatusExpired {
		add(r.end())
	}
	return next
}

// end is when the session ends, whichever way comes first.
func (r *record) end() int64 {
	if r.Closed != 0 {
		return min(r.Closed, r.ExpiresAt)
	}
	return r.ExpiresAt
}

// look gives the first moment after now at which WZRDPAY is asked about an attempt's
// invoice; 0 = it is final, or was asked often enough.
func look(a checkout.Attempt, now int64) int64 {
	v := a.Invoice
	if v.Final() {
		return 0
	}
	if v.Outcome().Settled() {
		return first(now, v.Updated, unsettled)
	}
	at := first(now, a.CreatedAt, early)
	if last := a.CreatedAt + early[len(early)-1]; at == 0 {
		at = now + every - (now-last)%every
	}
	if v.ExpiresAt == 0 { // the vendor's longest life
		v = &checkout.Invoice{ExpiresAt: a.CreatedAt + maxExpires}
	}
	if end := first(now, v.ExpiresAt, late); at > v.ExpiresAt || end != 0 && end < at {
		at = end
	}
	return at
}

func first(now, from int64, ages []int64) int64 {
	for _, age := range ages {
		if from+age > now {
			return from + age
		}
	}
	return 0
}
