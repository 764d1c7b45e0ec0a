package session

import "encoding/json"

// Each goes over the members of a valid JSON object.
func Each(raw []byte, f func(name string, value json.RawMessage)) { each(raw, f) }
