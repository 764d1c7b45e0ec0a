package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"

	"wzrdcheckout/internal/page"
)

// file is a published file in memory with its forms.
type file struct {
	kind           string
	plain, br, gz  []byte
	tag            string // ETag of the plain form, without quotes
	immutable      bool
	carriesSession bool // ?session=cs_… puts the session's answer in front
}

// loadFiles reads the files that manifest names, and adds that of the page package.
func loadFiles(tree fs.FS, manifest []Asset) (map[string]*file, error) {
	files := make(map[string]*file, len(manifest)+1)
	for _, m := range manifest {
		if m.Name == "" || path.Base(m.Name) != m.Name {
			return nil, fmt.Errorf("httpapi: Manifest: %q is no file name", m.Name)
		}
		f := &file{kind: m.ContentType, immutable: m.Immutable, carriesSession: m.Logical == "checkout.js"}
		var err error
		if f.plain, err = fs.ReadFile(tree, m.Name); err != nil {
			return nil, fmt.Errorf("httpapi: Assets: %w", err)
		}
		if f.br, err = fs.ReadFile(tree, m.Name+".br"); err != nil {
			f.br = nil
		}
		if f.gz, err = fs.ReadFile(tree, m.Name+".gz"); err != nil {
			f.gz = nil
		}
		f.tag = tagOf(f.plain)
		files[m.Name] = f
	}
	own := page.Close
	files[own.Name] = &file{kind: own.ContentType, plain: own.Text, gz: pack(own.Text), tag: tagOf(own.Text), immutable: true}
	return files, nil
}

func tagOf(text []byte) string {
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// shareable lets any page load what is public by nature, and no page read more by it.
func shareable(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Timing-Allow-Origin", "*")
}

func (a *API) getFile(w http.ResponseWriter, r *http.Request) {
	f := a.files[r.PathValue("name")]
	if f == nil {
		a.fail(w, r, errNoRoute)
		return
	}
	shareable(w.Header())
	if id := r.URL.Query().Get("session"); id != "" && f.carriesSession {
		a.sessionScript(w, r, f, id)
		return
	}
	h := w.Header()
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "public, max-age=300, stale-while-revalidate=86400")
	}
	f.serve(w, r)
}

// serve sends the smallest form that the caller takes.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Add("Vary", "Accept-Encoding")
	text, tag := f.plain, f.tag
	accepts := r.Header.Get("Accept-Encoding")
	switch {
	case f.br != nil && takes(accepts, "br"):
		text, tag = f.br, tag+"-br"
		h.Set("Content-Encoding", "br")
	case f.gz != nil && takes(accepts, "gzip"):
		text, tag = f.gz, tag+"-gz"
		h.Set("Content-Encoding", "gzip")
	}
	tag = `"` + tag + `"`
	h.Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text)
}

// takes tells whether an Accept-Encoding names coding and does not rule it out.
func takes(accepts, coding string) bool {
	for part := range strings.SplitSeq(accepts, ",") {
		name, q, weighed := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		if !weighed {
			return true
		}
		_, value, _ := strings.Cut(q, "=")
		weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		return err == nil && weight > 0
	}
	return false
}

func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == tag || one == "*" {
			return true
		}
	}
	return false
}

// sessionScript is checkout.js with the session's list in front of it, so that one
// answer paints. The session's ID is the capability, as for the hosted page; an ID that
// says nothing to us gets the plain script, which then tells the page.
func (a *API) sessionScript(w http.ResponseWriter, r *http.Request, f *file, id string) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-store")
	err := a.admit(a.requests, r)
	var found *answer
	var token string
	if err == nil && sessionName(id) {
		if found, err = a.checkout(r, id, ScopePay); err == nil {
			token, err = a.payToken(r.Context(), id)
		}
	}
	if err != nil {
		a.cfg.Log.Debug("put session into script", "request_id", exchangeOf(w).id, "err", err)
	}
	if err != nil || found == nil {
		_, _ = w.Write(f.plain)
		return
	}
	name, _ := json.Marshal(id)
	secret, _ := json.Marshal(token)
	var text bytes.Buffer
	fmt.Fprintf(&text, `(self.WzrdCheckoutData=self.WzrdCheckoutData||{})[%s]={"token":%s,`, name, secret)
	// JSON is JavaScript but for what could end a script element or a line.
	text.WriteString(inScript.Replace(string(found.text[1:])))
	text.WriteString(";\n")
	text.Write(f.plain)
	h.Add("Vary", "Accept-Encoding")
	if takes(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write(pack(text.Bytes()))
		return
	}
	_, _ = w.Write(text.Bytes())
}

var inScript = strings.NewReplacer("<", `\u003c`, "\u2028", `\u2028`, "\u2029", `\u2029`)

func (a *API) payToken(ctx context.Context, sessionID string) (string, error) {
	return a.cfg.Checkout.Token(ctx, sessionID, ScopePay)
}

// sessionName tells whether id has the form of a session's ID.
func sessionName(id string) bool {
	if !strings.HasPrefix(id, "cs_") || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
