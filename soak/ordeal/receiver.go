package ordeal

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Receiver is the shop's webhook endpoint. It checks every signature and keeps what it
// has accepted, by session and in order.
type Receiver struct {
	server *http.Server
	url    string
	seed   uint64
	// failing is the share of events whose first delivery is answered 500, hanging of
	// those whose first is not answered at all.
	failing, hanging float64

	broken   atomic.Pointer[http.Handler] // answers everything instead, when set
	requests atomic.Int64

	mu       sync.Mutex
	tried    map[string]bool
	accepted map[string][]delivered // by session
	wrong    []string
}

type delivered struct {
	id, kind string
	n        int
	revision int64
}

// NewReceiver listens on a free port.
func NewReceiver(seed uint64, failing, hanging float64) (*Receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // local and at once
	if err != nil {
		return nil, fmt.Errorf("receive webhooks: %w", err)
	}
	r := &Receiver{
		url: "http://" + l.Addr().String() + "/webhook", seed: seed, failing: failing, hanging: hanging,
		tried: map[string]bool{}, accepted: map[string][]delivered{},
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(l) }() // ends with Close
	return r, nil
}

// Close ends it.
func (r *Receiver) Close() error { return r.server.Close() }

// ServeHTTP takes one delivery.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.requests.Add(1)
	if h := r.broken.Load(); h != nil {
		(*h).ServeHTTP(w, req)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender died
	}
	id := req.Header.Get("webhook-id")
	r.mu.Lock()
	first := !r.tried[id]
	r.tried[id] = true
	r.mu.Unlock()
	if first {
		switch luck := r.luck(id); {
		case luck < r.failing:
			w.WriteHeader(http.StatusInternalServerError)
			return
		case luck < r.failing+r.hanging:
			hang(w, req)
			return
		}
	}
	d, err := read(req.Header, body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.wrong = append(r.wrong, err.Error())
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.accepted[d.session] = append(r.accepted[d.session], d.delivered)
	w.WriteHeader(http.StatusNoContent)
}

// hang holds a request until its sender gives up.
func hang(_ http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body) // the end of the connection is noticed only after the body
	select {
	case <-req.Context().Done():
	case <-time.After(time.Minute):
	}
}

// luck is the same for an event whatever else happens, from 0 to 1.
func (r *Receiver) luck(id string) float64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d/%s", r.seed, id)
	return float64(h.Sum64()>>11) / (1 << 53)
}

type received struct {
	session string
	delivered
}

// read checks a message as Standard Webhooks 1.0 says, without the library that signed it.
func read(h http.Header, body []byte) (received, error) {
	id, at := h.Get("webhook-id"), h.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, webhookSecret)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if h.Get("webhook-signature") != want {
		return received{}, fmt.Errorf("webhook %s has the signature %q, want %q", id, h.Get("webhook-signature"), want)
	}
	sent, err := strconv.ParseInt(at, 10, 64)
	if age := time.Since(time.Unix(sent, 0)); err != nil || age > 5*time.Minute || age < -5*time.Minute {
		return received{}, fmt.Errorf("webhook %s has the timestamp %q: a verifier refuses it", id, at)
	}
	var v struct {
		Type string  `json:"type"`
		Data session `json:"data"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return received{}, fmt.Errorf("webhook %s: %w", id, err)
	}
	cut := strings.LastIndexByte(id, '_')
	n, err := strconv.Atoi(id[cut+1:])
	if err != nil || id[:max(cut, 0)] != "evt_"+strings.TrimPrefix(v.Data.ID, "cs_") {
		return received{}, fmt.Errorf("webhook %s is about session %s", id, v.Data.ID)
	}
	if v.Type != "session."+v.Data.Status {
		return received{}, fmt.Errorf("webhook %s of type %s has a session that is %s", id, v.Type, v.Data.Status)
	}
	return received{v.Data.ID, delivered{id: id, kind: v.Type, n: n, revision: v.Data.Revision}}, nil
}

// of gives what was accepted for a session.
func (r *Receiver) of(sessionID string) []delivered {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivered{}, r.accepted[sessionID]...)
}

// check holds what arrived against every event that the program has: each at least once,
// in order per session, the last of them with the session's present status. It waits for
// stragglers.
func (r *Receiver) check(ctx context.Context, p *Program, sessions map[string]session, patience time.Duration, found *findings) (events int, err error) {
	list, err := p.events(ctx)
	if err != nil {
		return 0, err
	}
	want := map[string][]event{}
	for _, e := range list {
		want[e.Session] = append(want[e.Session], e)
	}
	missing := func() error {
		gone := 0
		example := ""
		for id, events := range want {
			have := map[string]bool{}
			for _, d := range r.of(id) {
				have[d.id] = true
			}
			for _, e := range events {
				if !have[e.ID] {
					gone++
					example = e.ID + " " + e.Type + " " + e.State
				}
			}
		}
		if gone > 0 {
			return fmt.Errorf("%d of %d, e.g. %s", gone, len(list), example)
		}
		return nil
	}
	if err := until(ctx, patience, missing); err != nil {
		found.add("webhooks missing", "%v", err)
	}
	for id, s := range sessions {
		last, before := 0, int64(0)
		for _, d := range r.of(id) {
			switch {
			case d.n == last: // again, which is allowed
			case d.n != last+1:
				found.add("webhooks out of order", "session %s: event %d after %d", id, d.n, last)
			case d.revision <= before:
				found.add("webhooks out of order", "session %s: event %d has revision %d after %d", id, d.n, d.revision, before)
			}
			last, before = d.n, d.revision
		}
		got := r.of(id)
		switch announced := s.Status != "open" && s.Status != "creating"; {
		case announced && len(got) == 0:
			found.add("webhooks missing", "session %s is %s, and nothing was told", id, s.Status)
		case announced && got[len(got)-1].kind != "session."+s.Status:
			found.add("last webhook is not the last status", "session %s is %s, told last: %s", id, s.Status, got[len(got)-1].kind)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range r.wrong {
		found.add("webhooks that a shop refuses", "%s", text)
	}
	return len(list), nil
}
