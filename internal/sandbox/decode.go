package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/url"
	"strconv"
	"strings"
)

// Limits of a request; beyond them the answer is a 400.
const (
	maxBody  = 1 << 20
	maxKeys  = 1000
	maxDepth = 8
)

var errSyntax = errors.New("request body is not readable")

// decodeBody reads a JSON or form-encoded object. form tells which it was,
// since a form has strings only. Numbers of JSON stay text (json.Number).
func decodeBody(contentType string, body []byte) (tree map[string]any, form bool, err error) {
	media, _, err := mime.ParseMediaType(contentType)
	if contentType == "" {
		media, err = "application/json", nil
	}
	if err != nil {
		return nil, false, errSyntax
	}
	switch {
	case media == "application/x-www-form-urlencoded":
		tree, err = decodeForm(string(body))
		return tree, true, err
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		if err := dec.Decode(&tree); err != nil || tree == nil {
			return nil, false, errSyntax
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return nil, false, errSyntax
		}
		return tree, false, nil
	}
	return nil, false, errSyntax
}

// decodeForm reads application/x-www-form-urlencoded with PHP's bracket keys:
// customer[address][city]=Kyiv, list[]=a. As in PHP the last of two
// contradicting keys wins.
func decodeForm(body string) (map[string]any, error) {
	root := map[string]any{}
	keys := 0
	for body != "" {
		var pair string
		pair, body, _ = strings.Cut(body, "&")
		if pair == "" {
			continue
		}
		if keys++; keys > maxKeys {
			return nil, errSyntax
		}
		k, v, _ := strings.Cut(pair, "=")
		key, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil {
			return nil, errSyntax
		}
		path, ok := bracketPath(key)
		if !ok {
			return nil, errSyntax
		}
		at := root
		for i, name := range path {
			if name == "" {
				name = freeIndex(at)
			}
			if i == len(path)-1 {
				at[name] = value
				break
			}
			next, ok := at[name].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[name] = next
			}
			at = next
		}
	}
	return root, nil
}

// bracketPath splits a[b][c] into a, b, c. A bracket that is never closed is
// part of the name, as in PHP.
func bracketPath(key string) ([]string, bool) {
	head, rest, nested := strings.Cut(key, "[")
	if head == "" {
		return nil, false
	}
	if !nested || !strings.Contains(rest, "]") {
		return []string{key}, true
	}
	path := []string{head}
	rest = "[" + rest
	for strings.HasPrefix(rest, "[") {
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			break
		}
		path = append(path, rest[1:end])
		rest = rest[end+1:]
		if len(path) > maxDepth {
			return nil, false
		}
	}
	return path, true
}

// freeIndex is the next number of a PHP list.
func freeIndex(m map[string]any) string {
	n := 0
	for k := range m {
		if i, err := strconv.Atoi(k); err == nil && i >= n && i < maxKeys {
			n = i + 1
		}
	}
	return strconv.Itoa(n)
}

// mapOf reads a member that should be an object. Absent, null and an empty
// list (an empty PHP array) are an empty object.
func mapOf(v any) (m map[string]any, present, ok bool) {
	switch t := v.(type) {
	case nil:
		return nil, false, true
	case map[string]any:
		return t, true, true
	case []any:
		return nil, false, len(t) == 0
	}
	return nil, true, false
}

// textOf reads a member that should be a string; a number becomes its text.
func textOf(v any) (text string, ok bool) {
	switch t := v.(type) {
	case nil:
		return "", true
	case string:
		return t, true
	case json.Number:
		return t.String(), true
	}
	return "", false
}

// boolOf reads a member that should be a boolean, in a form one of its texts.
func boolOf(v any, form bool) (value, ok bool) {
	switch t := v.(type) {
	case nil:
		return false, true
	case bool:
		return t, true
	case string:
		if form {
			switch strings.ToLower(t) {
			case "1", "true", "on":
				return true, true
			case "", "0", "false", "off":
				return false, true
			}
		}
	}
	return false, false
}
