package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"wzrdcheckout/internal/checkout"
)

// Attempt is one request to the shop's server. At is Unix seconds, MS milliseconds;
// Status is the HTTP status, 0 when none came, and then Error says why.
type Attempt struct {
	At     int64  `json:"at"`
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	MS     int64  `json:"ms"`
}

// State is what became of an event.
type State string

// The states of an event. NotConfigured is only shown: nothing was sent yet and there
// is no URL to send to.
const (
	Pending       State = "pending"   // to be sent, or sent again
	Delivered     State = "delivered" // answered 2xx
	Dead          State = "dead"      // refused for three days
	Gone          State = "gone"      // answered 410
	NotConfigured State = "not_configured"
)

func (s State) done() bool { return s == Delivered || s == Dead || s == Gone }

// Event is one event as GET /v1/events shows it: what was or will be sent, and what
// became of it. Data is the session at that moment. NextAt is Unix seconds, nil when no
// attempt is planned or the first one is due.
type Event struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Timestamp string          `json:"timestamp"`
	Session   string          `json:"session"`
	State     State           `json:"state"`
	Attempts  []Attempt       `json:"attempts"`
	NextAt    *int64          `json:"next_at"`
	Data      json.RawMessage `json:"data"`
}

// stored is an event as the session's commit wrote it.
type stored struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Timestamp string          `json:"timestamp"`
	Session   string          `json:"session"`
	N         int             `json:"n"`
	Data      json.RawMessage `json:"data"`
}

func (e stored) time() time.Time {
	t, _ := time.Parse(time.RFC3339Nano, e.Timestamp)
	return t
}

// event names one event: the n-th of a session.
type event struct {
	session string
	n       int
}

func (e event) String() string      { return e.session + "." + strconv.Itoa(e.n) }
func (e event) eventKey() string    { return "event." + e.String() }
func (e event) deliveryKey() string { return "delivery." + e.String() }
func (e event) deadKey() string     { return "dead." + e.String() }
func (e event) id() string {
	return "evt_" + strings.TrimPrefix(e.session, "cs_") + "_" + strconv.Itoa(e.n)
}

// parseKey reads "<session>.<n>", or the key of a family when family is its prefix.
func parseKey(family, key string) (event, bool) {
	name, ok := strings.CutPrefix(key, family)
	if !ok {
		return event{}, false
	}
	session, number, ok := strings.Cut(name, ".")
	if !ok {
		return event{}, false
	}
	return newEvent(session, number)
}

// parseID reads "evt_<session id without cs_>_<n>".
func parseID(id string) (event, bool) {
	rest, ok := strings.CutPrefix(id, "evt_")
	if !ok {
		return event{}, false
	}
	i := strings.LastIndexByte(rest, '_')
	if i < 0 {
		return event{}, false
	}
	return newEvent("cs_"+rest[:i], rest[i+1:])
}

func newEvent(session, number string) (event, bool) {
	suffix, ok := strings.CutPrefix(session, "cs_")
	if !ok || suffix == "" || len(session) > 64 || len(number) > 9 {
		return event{}, false
	}
	for i := range len(suffix) {
		switch c := suffix[i]; {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return event{}, false
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || strconv.Itoa(n) != number {
		return event{}, false
	}
	return event{session, n}, true
}

// Events gives what was or will be sent, oldest first: at most limit (1 to 200, 0 = 50)
// events after the cursor, "" = from the beginning, and the cursor of the next page, ""
// on the last. A cursor that is not ours is checkout.ErrInvalid.
func (s *Service) Events(ctx context.Context, after string, limit int) (data []Event, next string, err error) {
	return s.list(ctx, "event.", after, limit)
}

// Dead gives the events that were given up, in the order in which that happened;
// parameters and errors as for Events.
func (s *Service) Dead(ctx context.Context, after string, limit int) (data []Event, next string, err error) {
	return s.list(ctx, "dead.", after, limit)
}

func (s *Service) list(ctx context.Context, family, after string, limit int) ([]Event, string, error) {
	var version uint64
	if after != "" {
		var err error
		if version, err = strconv.ParseUint(after, 10, 64); err != nil {
			return nil, "", checkout.Invalid(checkout.FieldError{Field: "after", Code: "cursor", Message: "is not a cursor of this list"})
		}
	}
	switch {
	case limit == 0:
		limit = 50
	case limit < 0 || limit > 200:
		return nil, "", checkout.Invalid(checkout.FieldError{Field: "limit", Code: "range", Message: "must be 1 to 200"})
	}
	data := []Event{}
	for {
		entries, err := s.store.List(ctx, family, version, limit)
		if err != nil {
			return nil, "", fmt.Errorf("list events: %w", err)
		}
		for _, entry := range entries {
			version = entry.Version
			name, ok := parseKey(family, entry.Key)
			if !ok || family == "dead." && string(entry.Value) == "null" {
				continue
			}
			e, err := s.show(ctx, name)
			switch {
			case errors.Is(err, checkout.ErrNotFound): // its time in the store is over
				continue
			case err != nil:
				return nil, "", err
			}
			data = append(data, e)
			if len(data) == limit {
				break
			}
		}
		// A page of cleared dead letters is not the end of the list.
		switch {
		case len(data) == limit:
			return data, strconv.FormatUint(version, 10), nil
		case len(entries) < limit:
			return data, "", nil
		}
	}
}

// Event gives one event by its id; checkout.ErrNotFound.
func (s *Service) Event(ctx context.Context, id string) (Event, error) {
	name, ok := parseID(id)
	if !ok {
		return Event{}, fmt.Errorf("get event: %w", checkout.ErrNotFound)
	}
	return s.show(ctx, name)
}

// SessionEvents gives the events of one session in order, none for an unknown one.
func (s *Service) SessionEvents(ctx context.Context, sessionID string) ([]Event, error) {
	data := []Event{}
	for n := 1; ; n++ {
		name, ok := newEvent(sessionID, strconv.Itoa(n))
		if !ok {
			return data, nil
		}
		e, err := s.show(ctx, name)
		switch {
		case errors.Is(err, checkout.ErrNotFound):
			return data, nil
		case err != nil:
			return nil, err
		}
		data = append(data, e)
	}
}

func (s *Service) show(ctx context.Context, name event) (Event, error) {
	e, _, err := s.read(ctx, name)
	if err != nil {
		return Event{}, err
	}
	out := Event{ID: e.ID, Type: e.Type, Timestamp: e.Timestamp, Session: e.Session, State: Pending, Attempts: []Attempt{}, Data: e.Data}
	entry, err := s.store.Get(ctx, name.deliveryKey())
	switch {
	case errors.Is(err, checkout.ErrNotFound):
		if s.send == nil {
			out.State = NotConfigured
		}
		return out, nil
	case err != nil:
		return Event{}, fmt.Errorf("get delivery: %w", err)
	}
	var d delivery
	if err := json.Unmarshal(entry.Value, &d); err != nil {
		return Event{}, fmt.Errorf("read delivery: %w", err)
	}
	out.State = d.State
	if d.Attempts != nil {
		out.Attempts = d.Attempts
	}
	if d.State == Pending && d.NextAt != 0 {
		out.NextAt = &d.NextAt
	}
	return out, nil
}

// read gives an event and its version.
func (s *Service) read(ctx context.Context, name event) (stored, uint64, error) {
	entry, err := s.store.Get(ctx, name.eventKey())
	if err != nil {
		return stored{}, 0, fmt.Errorf("get event: %w", err)
	}
	var e stored
	if err := json.Unmarshal(entry.Value, &e); err != nil {
		return stored{}, 0, fmt.Errorf("read event: %w", errUnreadable)
	}
	if e.ID == "" || e.Type == "" {
		return stored{}, 0, fmt.Errorf("read event: %w", errUnreadable)
	}
	return e, entry.Version, nil
}

// errUnreadable: what is stored as an event is none.
var errUnreadable = errors.New("not an event")
