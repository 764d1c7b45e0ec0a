package session

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"wzrdcheckout/internal/checkout"
)

// The keys of the store. Reference IDs and odd invoice ids hold bytes that a key may
// not: they are encoded.
func sessionKey(id string) string { return "session." + id }
func timerKey(id string) string   { return "timer." + id }
func eventKey(id string, n int64) string {
	return "event." + id + "." + strconv.FormatInt(n, 10)
}

func referenceKey(mode, reference string) string {
	return "reference." + mode + "." + base64.RawURLEncoding.EncodeToString([]byte(reference))
}

func invoiceKey(id string) string { return "invoice." + word(id) }

// word makes one word of a key: WZRDPAY's ids as they are, anything else as a hash.
func word(id string) string {
	if validWord(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "h_" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func validWord(s string) bool {
	return s != "" && len(s) <= 80 && !strings.ContainsFunc(s, func(r rune) bool {
		return !letter(r) && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// newID gives "cs_" and 128 random bits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return "cs_" + base64.RawURLEncoding.EncodeToString(b[:])
}

func validID(id string) bool {
	return strings.HasPrefix(id, "cs_") && len(id) == 25 && validWord(id)
}

// record is one session as it is stored. Its JSON, in this order:
//
//	id, revision  of the session, for whoever only forwards it
//	session       checkout.Session as the page sees it: metadata {}
//	metadata      the merchant's
//	closed        when the merchant ended it, Unix seconds
//	events        how many events were written; announced: the last one's status and attempt
//	claim         the attempt that is being made
//	payments      per attempt with an invoice, what the page does not see of it
//	gone          attempts that ended without an invoice of ours; their numbers stay taken
//	reread        a final status is to be read again; at this moment the timer does it
//	history       the observations that changed something, oldest first, at most 100
//	setup         what the merchant asked for and the page does not see
//
// Members that this code does not know are kept, so that a replica of the version before
// does no harm during an upgrade.
type record struct {
	checkout.Session
	private

	rest    map[string]json.RawMessage
	version uint64   // in the store; 0 = not stored yet
	stored  []byte   // the page's session JSON as stored; nil = none
	armed   int64    // when the timer is due, as far as the stored record tells
	adopted []string // invoices that this change brought
}

type private struct {
	Closed    int64         `json:"closed,omitempty"`
	Events    int64         `json:"events,omitempty"`
	Announced string        `json:"announced,omitempty"`
	Claim     *claim        `json:"claim,omitempty"`
	Payments  []payment     `json:"payments,omitempty"`
	Gone      []gone        `json:"gone,omitempty"`
	Reread    int64         `json:"reread,omitempty"`
	History   []Observation `json:"history,omitempty"`
	Setup     setup         `json:"setup"`
}

// setup never changes after Create.
type setup struct {
	Fingerprint    string               `json:"fingerprint"`
	Service        string               `json:"service,omitempty"`
	Services       []string             `json:"services,omitempty"`
	Customer       *Customer            `json:"customer,omitempty"`
	ReturnURL      string               `json:"return_url,omitempty"`
	ReturnURLs     *checkout.ReturnURLs `json:"return_urls,omitempty"`
	GatewayOptions checkout.JSON        `json:"gateway_options,omitempty"`
	Options        checkout.JSON        `json:"options,omitempty"`
	Origin         string               `json:"origin,omitempty"`
}

// claim is the right, and the duty, to make the invoice of one attempt. It holds what a
// stranger needs to finish it; the fields go when the invoice is there.
type claim struct {
	Owner  string            `json:"owner"` // replica/process/call
	Until  int64             `json:"until"` // Unix seconds; after it anyone may take over
	Number int               `json:"number"`
	Amount checkout.Amount   `json:"amount"`
	Fields map[string]string `json:"fields,omitempty"`
	// Expires is what the invoice was asked to expire at.
	Expires int64 `json:"expires"`
	// Unknown: WZRDPAY may have the invoice. From here on the attempt is not taken back.
	Unknown bool  `json:"unknown,omitempty"`
	Tries   int   `json:"tries,omitempty"` // how often it was given up unfinished
	Again   int64 `json:"again,omitempty"` // when the timer tries next
	idempotent
}

// idempotent is the Idempotency-Key of an attempt and the hash of what came with it.
type idempotent struct {
	Key  string `json:"key,omitempty"`
	Body string `json:"body,omitempty"`
}

// payment is the private side of an attempt's invoice.
type payment struct {
	Number    int                `json:"number"`
	TestMode  bool               `json:"test_mode,omitempty"`
	SessionID string             `json:"session_id,omitempty"`
	Redirect  *checkout.Redirect `json:"redirect,omitempty"`
	idempotent
}

// gone is an attempt that ended without an invoice of ours. Should WZRDPAY turn out to
// have one after all, it is held against this.
type gone struct {
	Number      int             `json:"number"`
	ReferenceID string          `json:"reference_id"`
	Service     string          `json:"service"`
	Amount      checkout.Amount `json:"amount"`
	CreatedAt   int64           `json:"created_at"`
	Reason      string          `json:"reason"`
	idempotent
}

// Observation is one line of a session's history: what was heard of an invoice, from
// whom, and when it was applied.
type Observation struct {
	At         int64  `json:"at"`
	Source     string `json:"source"` // create, lookup, callback, refresh, reread, walk
	Invoice    string `json:"invoice"`
	Status     string `json:"status"`
	Resolution string `json:"resolution"`
	Updated    int64  `json:"updated"`
}

const (
	maxHistory = 100
	// maxAttempts bounds a record; the vendor's own limit is 5 per invoice.
	maxAttempts = 50
)

// envelope is the record's JSON.
type envelope struct {
	ID       string          `json:"id"`
	Revision int64           `json:"revision"`
	Session  json.RawMessage `json:"session"`
	Metadata checkout.JSON   `json:"metadata"`
	private
}

// members are the names in envelope; what else a record holds is kept as it is.
var members = []string{
	"id", "revision", "session", "metadata", "closed", "events", "announced", "claim",
	"payments", "gone", "reread", "history", "setup",
}

var emptyObject = checkout.JSON("{}")

// errUnreadable: what is stored is no record.
var errUnreadable = errors.New("unreadable record")

// decode reads a stored record. now is for the timer that the stored state implies.
func decode(e checkout.Entry, now int64) (*record, error) {
	var v envelope
	r := &record{version: e.Version}
	err := json.Unmarshal(e.Value, &v)
	if err == nil {
		err = json.Unmarshal(v.Session, &r.Session)
	}
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w: %w", e.Key, errUnreadable, err)
	}
	each(e.Value, func(name string, value json.RawMessage) {
		if !slices.Contains(members, name) {
			if r.rest == nil {
				r.rest = map[string]json.RawMessage{}
			}
			r.rest[name] = value
		}
	})
	r.private, r.stored = v.private, v.Session
	r.Metadata = v.Metadata
	for _, p := range r.Payments {
		if a := r.attempt(p.Number); a != nil && a.Invoice != nil {
			a.Invoice.TestMode, a.Invoice.SessionID, a.Invoice.Redirect = p.TestMode, p.SessionID, p.Redirect
		}
	}
	r.armed = wake(r, now)
	return r, nil
}

// page gives the session's JSON as the page sees it.
func (r *record) page() ([]byte, error) {
	browser := r.Session
	browser.Metadata = emptyObject
	page, err := json.Marshal(browser)
	if err != nil {
		return nil, fmt.Errorf("encode session: %w", err)
	}
	return page, nil
}

// encode gives the record's JSON with that of page in it.
func (r *record) encode(page []byte) ([]byte, error) {
	metadata := r.Metadata
	if len(metadata) == 0 {
		metadata = emptyObject
	}
	value, err := json.Marshal(envelope{ID: r.ID, Revision: r.Revision, Session: page, Metadata: metadata, private: r.private})
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	if len(r.rest) > 0 {
		more, err := json.Marshal(r.rest)
		if err != nil {
			return nil, fmt.Errorf("encode record: %w", err)
		}
		value = append(append(value[:len(value)-1], ','), more[1:]...)
	}
	return value, nil
}

// withMetadata puts the merchant's metadata into the page's JSON, in which it is last.
func withMetadata(page, metadata []byte) ([]byte, error) {
	head, ok := bytes.CutSuffix(page, []byte(`"metadata":{}}`))
	if !ok {
		return nil, fmt.Errorf("decode record: the session does not end in its metadata")
	}
	out := make([]byte, 0, len(page)+len(metadata))
	out = append(out, head...)
	out = append(out, `"metadata":`...)
	out = append(out, metadata...)
	return append(out, '}'), nil
}

func (r *record) attempt(number int) *checkout.Attempt {
	for i := range r.Attempts {
		if r.Attempts[i].Number == number {
			return &r.Attempts[i]
		}
	}
	return nil
}

func (r *record) payment(number int) *payment {
	for i := range r.Payments {
		if r.Payments[i].Number == number {
			return &r.Payments[i]
		}
	}
	return nil
}

// ended tells whether no new attempt may begin for the session's own time.
func (r *record) ended(now int64) bool {
	return now >= r.ExpiresAt || r.Closed != 0 && now >= r.Closed
}

// lapsed tells whether time alone has changed the status.
func (r *record) lapsed(now int64) bool {
	status, _ := checkout.Derive(r.Attempts, r.ExpiresAt, r.Closed, now)
	return status != r.Status
}

// settle derives status and deciding invoice from attempts and time.
func (r *record) settle(now int64) (decides int) {
	var i int
	r.Status, i = checkout.Derive(r.Attempts, r.ExpiresAt, r.Closed, now)
	r.Invoice = nil
	if i >= 0 {
		r.Invoice, decides = r.Attempts[i].Invoice, r.Attempts[i].Number
	}
	return decides
}

// public is the session as the merchant sees it.
func (r *record) public() checkout.Session {
	v := r.Session
	if len(v.Metadata) == 0 {
		v.Metadata = emptyObject
	}
	return v
}

// seal turns a changed record into the writes of one commit: the record, its event when
// a status is reached that is announced, its timer when the next moment to act moved.
// The revision grows when the page's session changed.
func (r *record) seal(now int64) ([]checkout.Write, error) {
	decides := r.settle(now)
	page, err := r.page()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(page, r.stored) {
		r.Revision++
		if page, err = r.page(); err != nil {
			return nil, err
		}
	}
	var event []byte
	// An attempt that is taken back leaves the status that was announced before it.
	if state := string(r.Status) + "/" + strconv.Itoa(decides); r.Status.Announced() && state != r.Announced {
		r.Announced = state
		r.Events++
		if event, err = r.event(page, now); err != nil {
			return nil, err
		}
	}
	value, err := r.encode(page)
	if err != nil {
		return nil, err
	}
	r.stored = page
	writes := []checkout.Write{{Key: sessionKey(r.ID), Value: value, Expect: r.version}}
	if event != nil {
		writes = append(writes, checkout.Write{Key: eventKey(r.ID, r.Events), Value: event})
	}
	if at := wake(r, now); at != 0 && at != r.armed {
		writes = append(writes, r.timer(at))
		r.armed = at
	}
	return writes, nil
}

func (r *record) timer(at int64) checkout.Write {
	return checkout.Write{Key: timerKey(r.ID), Value: []byte(`{"session":"` + r.ID + `"}`), At: at, Any: true}
}

// event is the stored webhook event; its id stays the same after a crash.
func (r *record) event(page []byte, now int64) ([]byte, error) {
	data, err := withMetadata(page, r.public().Metadata)
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(struct {
		ID        string          `json:"id"`
		Type      string          `json:"type"`
		Timestamp string          `json:"timestamp"`
		Session   string          `json:"session"`
		N         int64           `json:"n"`
		Data      json.RawMessage `json:"data"`
	}{
		ID:        "evt_" + strings.TrimPrefix(r.ID, "cs_") + "_" + strconv.FormatInt(r.Events, 10),
		Type:      "session." + string(r.Status),
		Timestamp: time.Unix(now, 0).UTC().Format(time.RFC3339),
		Session:   r.ID,
		N:         r.Events,
		Data:      data,
	})
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return out, nil
}

// open gives a new record for a normalised request.
func open(n NewSession, fingerprint string, testMode bool, now int64) *record {
	digits, known := checkout.CurrencyDigits(n.Currency)
	if !known {
		digits = shownDigits(n.Amount)
	}
	return &record{
		Session: checkout.Session{
			ID: newID(), ReferenceID: n.ReferenceID, Amount: n.Amount, Currency: n.Currency, Digits: digits,
			TestMode: testMode, Flow: n.Flow, Description: n.Description, Locale: n.Locale,
			CreatedAt: now, ExpiresAt: now + n.ExpiresIn, Attempts: []checkout.Attempt{}, Metadata: n.Metadata,
		},
		private: private{Setup: setup{
			Fingerprint: fingerprint, Service: n.Service, Services: n.Services, Customer: n.Customer,
			ReturnURL: n.ReturnURL, ReturnURLs: n.ReturnURLs, GatewayOptions: n.GatewayOptions, Options: n.Options, Origin: n.Origin,
		}},
	}
}

// shownDigits: a currency outside the table shows what its amount has, two at least.
func shownDigits(a checkout.Amount) int { return max(2, a.Digits()) }
