package widget

// words looks texts up in a language's file, then in English.
type words string

func find(file, key string) (string, bool) {
	for at := 0; ; {
		i := index(file[at:], key)
		if i < 0 {
			return "", false
		}
		i += at
		at = i + len(key)
		if (i == 0 || file[i-1] == '\n') && at < len(file) && file[at] == '=' {
			s := file[at+1:]
			if end := index(s, "\n"); end >= 0 {
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
	name = "{" + name + "}"
	if i := index(s, name); i >= 0 {
		return s[:i] + value + s[i+len(name):]
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

// reason is the text key for one of WZRDPAY's resolutions. Their list is open and has no
// order, so a resolution is told by the first part of the list below that it contains;
// one that contains none is told in general words.
func reason(resolution string) string {
	for rest := resolutions; rest != ""; {
		end, is := index(rest, "\n"), index(rest, "=")
		if index(resolution, rest[:is]) >= 0 {
			return "r." + rest[is+1:end]
		}
		rest = rest[end+1:]
	}
	return "r.unknown"
}

const resolutions = `insufficient=funds
invalid_amount=limit
limit=limit
card_expired=card_expired
expired=expired
timeout=expired
lost=blocked
stolen=blocked
blocked=blocked
restricted=blocked
denied=blocked
permitted=blocked
card_status=blocked
type=type
3ds=auth
otp=auth
antifraud=declined
auth=auth
invalid_request=technical
invalid_cred=technical
invalid=details
verification=details
decline=declined
error=technical
reconcile=technical
duplicated=technical
`
