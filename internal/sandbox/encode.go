package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// object is a JSON object of an answer before the faults have seen it.
type object = map[string]any

// encodePHP writes v as PHP's json_encode does by default: slashes escaped,
// everything beyond ASCII as \u escapes.
func encodePHP(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Answers are built here from maps, lists, strings and numbers only.
		panic(fmt.Sprintf("sandbox: encode answer: %v", err))
	}
	in := bytes.TrimRight(buf.Bytes(), "\n")
	out := make([]byte, 0, len(in)+len(in)/8)
	for i := 0; i < len(in); {
		c := in[i]
		if c == '/' {
			out = append(out, '\\', '/')
			i++
			continue
		}
		if c < utf8.RuneSelf {
			out = append(out, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(in[i:])
		i += n
		if r >= 0x10000 {
			r -= 0x10000
			out = fmt.Appendf(out, "\\u%04x\\u%04x", 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		} else {
			out = fmt.Appendf(out, "\\u%04x", r)
		}
	}
	return out
}

// phpMap is a map as PHP shows it: an empty one is a list.
func phpMap(m object) any {
	if len(m) == 0 {
		return []any{}
	}
	return m
}

// openMaps have keys of somebody's choice; the faults leave their keys alone.
var openMaps = []string{
	"services", "methods", "params", "metadata", "callback_logs", "name", "label", "hint",
	"errors", "return_urls", "address", "links", "relationships", "flow_data", "payload",
}

// optionalKeys come and go between the vendor's samples.
var optionalKeys = []string{
	"serial_number", "return_urls", "callback_logs", "descriptor", "rrn", "approval_code", "source",
	"moderation_required", "reserve_expires", "reserved_amount", "unreserved", "original_data",
	"metadata", "position", "hide", "example", "icon", "description", "hpp_url", "has_return_url",
}

// misshape applies the plan's faults of form to an answer. It changes the
// tree in place and returns it.
func misshape(tree any, p plan) any {
	if len(p.on) == 0 {
		return tree
	}
	return misshapeAt(tree, "", p)
}

func misshapeAt(v any, key string, p plan) any {
	switch t := v.(type) {
	case object:
		return misshapeObject(t, key, p)
	case []any:
		for i, e := range t {
			t[i] = misshapeAt(e, key, p)
		}
	case money:
		switch {
		case p.has(FaultStringNumbers) && (!p.has(FaultExponentNumbers) || p.rng.IntN(2) == 0):
			return t.asString()
		case p.has(FaultExponentNumbers):
			return t.asExponent()
		}
	case string:
		if p.has(FaultMixedCase) && (key == "resolution" || key == "status") && p.rng.IntN(2) == 0 {
			if strings.ToUpper(t) == t {
				return strings.ToLower(t)
			}
			return strings.ToUpper(t)
		}
	}
	return v
}

func misshapeObject(o object, key string, p plan) any {
	if key == "metadata" && p.has(FaultPHPEmpties) && len(o) == 1 && o["merchant_url"] != nil {
		delete(o, "merchant_url")
	}
	names := make([]string, 0, len(o))
	for k := range o {
		names = append(names, k)
	}
	slices.Sort(names) // the dice are thrown in one order
	open := slices.Contains(openMaps, key)
	for _, k := range names {
		if !open && p.has(FaultOmitOptional) && slices.Contains(optionalKeys, k) && p.rng.IntN(2) == 0 && dispensable(o, k) {
			delete(o, k)
			continue
		}
		if key == "errors" || key == "callback_logs" {
			continue
		}
		o[k] = misshapeAt(o[k], k, p)
	}
	if len(o) == 0 && p.has(FaultPHPEmpties) {
		if p.rng.IntN(3) == 0 {
			return nil
		}
		return []any{}
	}
	if !open && p.has(FaultExtraKeys) {
		o["x_future"] = object{"kind": "added later", "list": []any{1, "two", nil}}
	}
	return o
}

// dispensable tells whether key may be left out of o: the address of the
// payment page only while flow_data still leads there, and a method's or
// customer's metadata always, but not an invoice's.
func dispensable(o object, key string) bool {
	switch key {
	case "hpp_url":
		if flow, ok := o["flow_data"].(object); ok {
			return flow["action"] != nil
		}
		if active, ok := o["active_payment"].(object); ok {
			payload, _ := active["payload"].(object)
			return payload["action"] != nil
		}
		return false
	case "metadata":
		return o["category"] != nil
	}
	return true
}
