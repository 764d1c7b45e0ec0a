package widget

import "strings"

// words looks texts up in a language's file, then in English.
type words string

func find(file, key string) (string, bool) {
	for at := 0; ; {
		i := strings.Index(file[at:], key)
		if i < 0 {
			return "", false
		}
		i += at
		at = i + len(key)
		if (i == 0 || file[i-1] == '\n') && at < len(file) && file[at] == '=' {
			s := file[at+1:]
			if end := strings.IndexByte(s, '\n'); end >= 0 {
				s = s[:end]
			}
			return s, true
		}
	}
}

// get gives the text of a key; one that is nowhere gives "".
func (w words) get(key string) string {
	s, ok := find(string(w), key)
	if !ok {
		s, _ = find(english, key)
	}
	return s
}

// fill puts a value in the place of {name}.
func fill(s, name, value string) string {
	if before, after, ok := strings.Cut(s, "{"+name+"}"); ok {
		return before + value + after
	}
	return s
}

// language takes the language out of a locale: "uk-UA" gives "uk".
func language(locale string) string {
	for i := range len(locale) {
		if c := locale[i]; c == '-' || c == '_' {
			return locale[:i]
		}
	}
	return locale
}

// rightToLeft tells how a language is written.
func rightToLeft(lang string) bool {
	switch lang {
	case "ar", "he", "fa", "ur":
		return true
	}
	return false
}

// reason is the text key for one of WZRDPAY's resolutions. The list of resolutions is
// open (reference "Resolutions"): what is not in it is told in general words.
func reason(resolution string) string {
	key, ok := find(resolutions, resolution)
	if !ok {
		key = "unknown"
	}
	return "r." + key
}

const resolutions = `declined=declined
general_decline=declined
fatal_decline=declined
issuer_decline=declined
antifraud_error=declined
insufficient_funds=funds
limit_violation=limit
card_usage_limit_violation=limit
card_usage_issuer_limit_violation=limit
invalid_amount=limit
expired=expired
transaction_expired=expired
fatal_timeout=expired
card_expired=card_expired
invalid_card=details
fatal_invalid_card=details
invalid_pan=details
invalid_cvv=details
invalid_cardholder=details
invalid_expire_date=details
invalid_details=details
invalid_pin=details
card_verification_failed=details
auth_3ds_required=auth
auth_otp_required=auth
auth_fatal_error=auth
client_auth_failed=auth
invalid_3ds_code=auth
invalid_otp=auth
invalid_otp_code=auth
card_3ds_enrolled=auth
card_is_3ds_enrolled=auth
card_not_3ds_enrolled=auth
card_is_not_3ds_enrolled=auth
unable_to_determine_3ds_enrolment=auth
customer_blocked=blocked
card_lost=blocked
card_stolen=blocked
lost_or_stolen_card=blocked
card_restricted=blocked
card_restricted_by_acquirer=blocked
card_blocked_by_invalid_pin=blocked
invalid_card_status=blocked
access_denied=blocked
functionality_is_not_permitted=blocked
card_type_not_supported=type
invalid_card_type=type
error=technical
general_fatal_error=technical
fatal_error=technical
provider_error=technical
provider_fatal_error=technical
unable_to_reconcile=technical
invalid_request=technical
invalid_credentials=technical
duplicated_transaction=technical
`
