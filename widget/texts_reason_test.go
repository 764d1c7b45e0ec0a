package widget_test

import (
	"testing"

	"wzrdcheckout/widget"
)

// Every resolution that WZRDPAY is known to give, and ones it may.
func TestReason(t *testing.T) {
	t.Parallel()
	for want, resolutions := range map[string][]string{
		"declined":     {"declined", "general_decline", "fatal_decline", "issuer_decline", "antifraud_error"},
		"funds":        {"insufficient_funds"},
		"limit":        {"limit_violation", "card_usage_limit_violation", "card_usage_issuer_limit_violation", "invalid_amount"},
		"expired":      {"expired", "transaction_expired", "fatal_timeout"},
		"card_expired": {"card_expired"},
		"details": {
			"invalid_card", "fatal_invalid_card", "invalid_pan", "invalid_cvv", "invalid_cardholder", "invalid_expire_date",
			"invalid_details", "invalid_pin", "card_verification_failed",
		},
		"auth": {
			"auth_3ds_required", "auth_otp_required", "auth_fatal_error", "client_auth_failed", "invalid_3ds_code", "invalid_otp", "invalid_otp_code",
			"card_3ds_enrolled", "card_is_3ds_enrolled", "card_not_3ds_enrolled", "card_is_not_3ds_enrolled", "unable_to_determine_3ds_enrolment",
		},
		"blocked": {
			"customer_blocked", "card_lost", "card_stolen", "lost_or_stolen_card", "card_restricted", "card_restricted_by_acquirer",
			"card_blocked_by_invalid_pin", "invalid_card_status", "access_denied", "functionality_is_not_permitted",
		},
		"type": {"card_type_not_supported", "invalid_card_type"},
		"technical": {
			"error", "general_fatal_error", "fatal_error", "provider_error", "provider_fatal_error", "unable_to_reconcile",
			"invalid_request", "invalid_credentials", "duplicated_transaction",
		},
		"unknown": {"", "ok", "unknown", "forced_captured", "never_heard_of"},
	} {
		for _, r := range resolutions {
			if got := widget.Reason(r); got != "r."+want {
				t.Errorf("reason(%q) = %q, want %q", r, got, "r."+want)
			}
		}
	}
}
