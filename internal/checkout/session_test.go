package checkout_test

import (
	"testing"

	"wzrdcheckout/internal/checkout"
)

func TestDerive(t *testing.T) {
	t.Parallel()
	try := func(status, resolution string) checkout.Attempt {
		return checkout.Attempt{Invoice: &checkout.Invoice{Status: status, Resolution: resolution, Amount: checkout.MustAmount("10")}}
	}
	short := checkout.Attempt{Invoice: &checkout.Invoice{Status: "processed", Amount: checkout.MustAmount("10"), ProcessedAmount: amount("9")}}
	making := checkout.Attempt{}
	const end = 1000
	for _, row := range []struct {
		name        string
		attempts    []checkout.Attempt
		closed, now int64
		want        checkout.Status
		index       int
	}{
		{"new", nil, 0, 10, "open", -1},
		{"at its end", nil, 0, end, "expired", -1},
		{"closed by the shop", nil, 10, 10, "expired", -1},
		{"closed later", nil, 20, 10, "open", -1},
		{"being made", []checkout.Attempt{making}, 0, 10, "creating", 0},
		{"being made past the end", []checkout.Attempt{making}, 0, end, "creating", 0},
		{"pending", []checkout.Attempt{try("process_pending", "ok")}, 0, 10, "pending", 0},
		{"pending past the end", []checkout.Attempt{try("process_pending", "ok")}, 0, end, "pending", 0},
		{"unknown status", []checkout.Attempt{try("zombie", "")}, 0, 10, "pending", 0},
		{"paid", []checkout.Attempt{try("processed", "ok")}, 0, 10, "paid", 0},
		{"paid past the end", []checkout.Attempt{try("processed", "ok")}, 0, end, "paid", 0},
		{"paid though closed", []checkout.Attempt{try("processed", "ok")}, 5, 10, "paid", 0},
		{"less arrived", []checkout.Attempt{short}, 0, 10, "partially_paid", 0},
		{"failed", []checkout.Attempt{try("process_failed", "declined")}, 0, 10, "failed", 0},
		{"failed past the end", []checkout.Attempt{try("process_failed", "declined")}, 0, end, "failed", 0},
		{"invoice expired, session lives", []checkout.Attempt{try("expired", "")}, 0, 10, "failed", 0},
		{"invoice expired as failed, session lives", []checkout.Attempt{try("process_failed", "expired")}, 0, 10, "failed", 0},
		{"invoice and session expired", []checkout.Attempt{try("expired", "")}, 0, end, "expired", 0},
		{"invoice expired, session closed", []checkout.Attempt{try("expired", "")}, 5, 10, "expired", 0},
		{"second attempt", []checkout.Attempt{try("process_failed", ""), try("process_pending", "")}, 0, 10, "pending", 1},
		{"second being made", []checkout.Attempt{try("process_failed", ""), making}, 0, 10, "creating", 1},
		{"late payment of the first", []checkout.Attempt{try("processed", ""), try("process_pending", "")}, 0, 10, "paid", 0},
		{"late payment of the first, second being made", []checkout.Attempt{try("processed", ""), making}, 0, 10, "paid", 0},
		{"full beats part", []checkout.Attempt{try("partially_processed", ""), try("processed", "")}, 0, 10, "paid", 1},
		{"full beats part, other order", []checkout.Attempt{try("processed", ""), try("partially_processed", "")}, 0, 10, "paid", 0},
		{"full beats a short processed", []checkout.Attempt{short, try("processed", "")}, 0, 10, "paid", 1},
		{"paid twice, one refunded", []checkout.Attempt{try("refunded", ""), try("processed", "")}, 0, 10, "paid", 1},
		{"paid twice, the other refunded", []checkout.Attempt{try("processed", ""), try("refunded", "")}, 0, 10, "paid", 0},
		{"paid twice, both refunded", []checkout.Attempt{try("refunded", ""), try("refunded", "")}, 0, 10, "refunded", 0},
		{"refunding", []checkout.Attempt{try("refund_pending", "")}, 0, 10, "refunding", 0},
		{"charged back", []checkout.Attempt{try("charged_back", "")}, 0, 10, "charged_back", 0},
		{"verified", []checkout.Attempt{try("verified", "")}, 0, 10, "verified", 0},
		{"verify failed", []checkout.Attempt{try("verify_failed", "")}, 0, 10, "failed", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			status, index := checkout.Derive(row.attempts, end, row.closed, row.now)
			if status != row.want || index != row.index {
				t.Errorf("Derive = %s, %d, want %s, %d", status, index, row.want, row.index)
			}
		})
	}
}

// Whatever an invoice can become, a status that moved money is one that Derive keeps:
// Settled and the ranking inside Derive must name the same statuses.
func TestDerive_SettledDecides(t *testing.T) {
	t.Parallel()
	for _, status := range statuses {
		v := &checkout.Invoice{Status: status}
		got, index := checkout.Derive([]checkout.Attempt{{Invoice: v}, {}}, 1000, 0, 10)
		if v.Outcome().Settled() != (index == 0) {
			t.Errorf("Derive(%q, then one being made) = %s, %d; Settled is %v", status, got, index, v.Outcome().Settled())
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status                      checkout.Status
		settled, payable, announced bool
	}{
		{"open", false, true, false},
		{"creating", false, false, false},
		{"pending", false, false, true},
		{"paid", true, false, true},
		{"partially_paid", true, false, true},
		{"failed", false, true, true},
		{"expired", false, false, true},
		{"verified", true, false, true},
		{"refunding", true, false, true},
		{"refunded", true, false, true},
		{"partially_refunded", true, false, true},
		{"charged_back", true, false, true},
	} {
		if s := row.status; s.Settled() != row.settled || s.Payable() != row.payable || s.Announced() != row.announced {
			t.Errorf("%s: settled %v payable %v announced %v, want %v %v %v", s, s.Settled(), s.Payable(), s.Announced(), row.settled, row.payable, row.announced)
		}
	}
}
