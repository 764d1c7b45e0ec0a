package sandbox

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // the vendor's signature is defined over SHA-1
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// userAgent names the sender of callbacks.
const userAgent = "WZRDPAY-Sandbox/1.0"

// Sign is the value of X-Signature: base64 of the raw SHA-1 digest of
// secret + body + secret, over the bytes as sent.
func Sign(secret string, body []byte) string {
	h := sha1.New() //nolint:gosec // the vendor's formula
	h.Write([]byte(secret))
	h.Write(body)
	h.Write([]byte(secret))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// Delivery is one try to deliver a callback.
type Delivery struct {
	Time    time.Time `json:"time"`
	Invoice string    `json:"invoice"`
	URL     string    `json:"url"`
	Status  string    `json:"status"`  // of the invoice, as the body says
	Attempt int       `json:"attempt"` // 0 is the first
	Code    int       `json:"code"`    // 0 when nobody answered
	Error   string    `json:"error,omitempty"`
	Forged  bool      `json:"forged,omitempty"` // body and signature are not the sandbox's own
	Again   bool      `json:"again,omitempty"`  // a duplicate of one that was delivered
}

// message is a callback that waits: the body is fixed when the status changes.
type message struct {
	url, secret string
	body        []byte
	status      string
	manual      bool // asked for by a resend: never merged away
	late        bool // lets a newer one overtake it
	lateUntil   time.Time
	seq         uint64
	duplicate   bool
	forge       bool
	log         int64 // key of its callback log
}

// sender is an invoice's queue of callbacks; one goroutine at a time empties
// it. Server.mu guards it.
type sender struct {
	queue   []*message
	sending bool
	wake    chan struct{}
}

// queueCallbackLocked fixes the body of a callback about inv and sees to it
// that it is sent.
func (s *Server) queueCallbackLocked(inv *invoice, manual bool) {
	to := inv.callbackURL
	if to == "" {
		to = s.cfg.CallbackURL
	}
	if to == "" || s.closed {
		return
	}
	p := s.rollLocked("callback", inv.ref)
	m := &message{
		url: to, secret: s.cfg.Credentials.signingKey(inv.test), status: inv.status, manual: manual,
		late: p.has(FaultDisordered), duplicate: p.has(FaultDuplicate), forge: p.has(FaultForged),
	}
	m.body = encodePHP(misshape(inv.callbackBody(s.cfg.Credentials.AccountID), p))
	if p.has(FaultDropped) && !manual {
		return
	}
	s.messages++
	m.seq = s.messages
	m.log = s.now().Unix()
	for slices.ContainsFunc(inv.logs, func(l callbackLog) bool { return l.key == m.log }) {
		m.log++ // logs are keyed by second
	}
	inv.logs = append(inv.logs, callbackLog{key: m.log, status: "queued", about: inv.status})
	if !s.cfg.EveryCallback && !manual {
		inv.queue = slices.DeleteFunc(inv.queue, func(old *message) bool {
			merged := !old.manual && !old.late
			if merged {
				inv.logs = slices.DeleteFunc(inv.logs, func(l callbackLog) bool { return l.key == old.log })
			}
			return merged
		})
	}
	inv.queue = append(inv.queue, m)
	if inv.wake == nil {
		inv.wake = make(chan struct{}, 1)
	}
	if inv.sending {
		select {
		case inv.wake <- struct{}{}:
		default:
		}
		return
	}
	inv.sending = true
	if s.active++; s.active == 1 {
		s.quiet = make(chan struct{})
	}
	s.wg.Add(1)
	go s.deliver(inv)
}

// deliver empties the queue of one invoice, in order.
func (s *Server) deliver(inv *invoice) {
	defer s.wg.Done()
	ok := s.pause(nil, s.cfg.CallbackBatch)
	for ok && s.waitGate() {
		s.mu.Lock()
		if len(inv.queue) == 0 || s.invoices[inv.id] != inv {
			s.idleLocked(inv)
			s.mu.Unlock()
			return
		}
		m, alone := inv.queue[0], len(inv.queue) == 1
		if m.late && !alone { // overtaken: the newer one goes first
			m.late = false
			inv.queue[0], inv.queue[1] = inv.queue[1], m
			m = inv.queue[0]
		}
		late := time.Duration(s.faults.LateForMS) * time.Millisecond
		if late == 0 {
			late = 500 * time.Millisecond
		}
		if m.late {
			// Alone in the queue: wait a while for one that overtakes it.
			s.mu.Unlock()
			if m.lateUntil.IsZero() {
				m.lateUntil = time.Now().Add(late)
			}
			if wait := time.Until(m.lateUntil); wait > 0 {
				ok = s.pause(inv.wake, wait)
				continue
			}
			s.mu.Lock()
			m.late = false
			s.mu.Unlock()
			continue
		}
		inv.queue = inv.queue[1:]
		s.mu.Unlock()
		ok = s.sendUntilDone(inv, m)
	}
	s.mu.Lock()
	s.idleLocked(inv)
	s.mu.Unlock()
}

func (s *Server) idleLocked(inv *invoice) {
	inv.sending = false
	if s.active--; s.active == 0 {
		close(s.quiet)
	}
}

// sendUntilDone tries m until it is delivered, given up, or replaced by a
// newer state. It returns false when the server stops.
func (s *Server) sendUntilDone(inv *invoice, m *message) bool {
	if m.forge {
		forged := bytes.ReplaceAll(m.body, []byte(`"process_pending"`), []byte(`"processed"`))
		s.post(inv, m, forged, Sign("sk_test_"+randomID(43), forged), 0, true, false)
	}
	for attempt := 0; ; {
		code := s.post(inv, m, m.body, Sign(m.secret, m.body), attempt, false, false)
		if code == http.StatusOK {
			s.noteLog(inv, m, "done", code)
			if m.duplicate {
				s.post(inv, m, m.body, Sign(m.secret, m.body), attempt, false, true)
			}
			return true
		}
		s.noteLog(inv, m, "failed", code)
		if attempt++; attempt > s.cfg.CallbackAttempts {
			s.log.Warn("sandbox callback given up", "invoice", inv.id, "attempts", attempt)
			return true
		}
		until := time.Now().Add(time.Duration(attempt) * s.cfg.CallbackRetry)
		for wait := time.Until(until); wait > 0; wait = time.Until(until) {
			if !s.pause(inv.wake, wait) {
				return false
			}
			if s.replaced(inv, m) {
				return true
			}
		}
		if !s.waitGate() {
			return false
		}
		if s.replaced(inv, m) {
			return true
		}
	}
}

// replaced tells whether a newer state makes m pointless.
func (s *Server) replaced(inv *invoice, m *message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.invoices[inv.id] != inv {
		return true
	}
	return !s.cfg.EveryCallback && !m.manual &&
		slices.ContainsFunc(inv.queue, func(newer *message) bool { return newer.seq > m.seq })
}

// pause waits for d, or until woken; false when the server stops.
func (s *Server) pause(wake <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return s.life.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.life.Done():
		return false
	case <-wake:
	case <-t.C:
	}
	return true
}

// waitGate waits while callbacks are held; false when the server stops.
func (s *Server) waitGate() bool {
	for {
		s.mu.Lock()
		gate := s.gate
		s.mu.Unlock()
		if gate == nil {
			return s.life.Err() == nil
		}
		select {
		case <-s.life.Done():
			return false
		case <-gate:
		}
	}
}

// post makes one delivery and returns the status code, 0 without an answer.
func (s *Server) post(inv *invoice, m *message, body []byte, signature string, attempt int, forged, again bool) int {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-s.life.Done():
		return 0
	}
	ctx, cancel := context.WithTimeout(s.life, s.cfg.CallbackTimeout)
	defer cancel()
	d := Delivery{Time: s.now(), Invoice: inv.id, URL: m.url, Status: m.status, Attempt: attempt, Forged: forged, Again: again}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", userAgent)
		req.Header.Set("X-Signature", signature)
		req.Header.Set("Retry-Count", strconv.Itoa(attempt))
		req.Header.Set("Next-Retry", strconv.FormatInt(s.now().Add(time.Duration(attempt+1)*s.cfg.CallbackRetry).Unix(), 10))
		var res *http.Response
		if res, err = s.client.Do(req); err == nil {
			d.Code = res.StatusCode
			_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // the answer's body means nothing
			_ = res.Body.Close()
		}
	}
	if err != nil {
		d.Error = err.Error()
	}
	s.mu.Lock()
	s.deliveries = appendBounded(s.deliveries, d, s.cfg.HistoryLimit)
	s.mu.Unlock()
	s.log.Debug("sandbox callback", "invoice", inv.id, "status", m.status, "code", d.Code, "attempt", attempt, "forged", forged)
	return d.Code
}

func (s *Server) noteLog(inv *invoice, m *message, status string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range inv.logs {
		if inv.logs[i].key == m.log {
			inv.logs[i].status, inv.logs[i].code, inv.logs[i].processed = status, code, s.now().Unix()
		}
	}
}

// appendBounded appends to a list that forgets its oldest quarter when full.
func appendBounded[T any](list []T, v T, limit int) []T {
	if len(list) >= limit {
		list = slices.Delete(list, 0, max(1, limit/4))
	}
	return append(list, v)
}
