package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Page takes from a stored record what a page may see: the session as JSON, metadata {},
// and its revision. It is called for every change that somebody waits for, so it looks no
// further than it must: id, revision and session come first in a record. The JSON is a
// part of value.
func Page(value []byte) (revision int64, page []byte, err error) {
	if revision, page, ok := front(value); ok {
		return revision, page, nil
	}
	var v struct {
		Revision int64           `json:"revision"`
		Session  json.RawMessage `json:"session"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return 0, nil, fmt.Errorf("decode record: %w", err)
	}
	if len(v.Session) == 0 {
		return 0, nil, fmt.Errorf("decode record: %w: it has no session", errUnreadable)
	}
	return v.Revision, v.Session, nil
}

// front reads the beginning of a record as encode writes it.
func front(value []byte) (revision int64, page []byte, ok bool) {
	rest, ok := bytes.CutPrefix(value, []byte(`{"id":"`))
	if !ok {
		return 0, nil, false
	}
	end := bytes.IndexAny(rest, `"\\`)
	if end < 0 {
		return 0, nil, false
	}
	if rest, ok = bytes.CutPrefix(rest[end:], []byte(`","revision":`)); !ok {
		return 0, nil, false
	}
	number, rest, ok := bytes.Cut(rest, []byte(`,"session":`))
	if !ok {
		return 0, nil, false
	}
	revision, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return 0, nil, false
	}
	n := object(rest)
	return revision, rest[:n], n > 0
}

// object is the length of the JSON object that text begins with, 0 without one. What is
// in it was checked when it was stored.
func object(text []byte) int {
	if len(text) == 0 || text[0] != '{' {
		return 0
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return 0
}
