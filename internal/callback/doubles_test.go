package callback_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"wzrdcheckout/internal/callback"
	"wzrdcheckout/internal/checkout"
)

// verifier: a signature is the name of the mode.
type verifier struct{}

func (verifier) Verify(_ []byte, signature string) (string, error) {
	if signature != "test" && signature != "live" {
		return "", checkout.ErrUnauthorized
	}
	return signature, nil
}

// memLog is a callback log in memory. delay and fail make a stream slow or refuse.
type memLog struct {
	mu       sync.Mutex
	packs    [][]checkout.Pack
	delay    []time.Duration
	fail     []error
	inFlight []int
	most     int // appends in flight on one stream
	trimmed  []uint64
}

func newLog(streams int) *memLog {
	return &memLog{
		packs: make([][]checkout.Pack, streams), delay: make([]time.Duration, streams), fail: make([]error, streams),
		inFlight: make([]int, streams), trimmed: make([]uint64, streams),
	}
}

func (l *memLog) Streams() int { return len(l.packs) }

func (l *memLog) Append(ctx context.Context, stream int, pack [][]byte) (uint64, error) {
	l.mu.Lock()
	l.inFlight[stream]++
	l.most = max(l.most, l.inFlight[stream])
	delay, fail := l.delay[stream], l.fail[stream]
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.inFlight[stream]--
		l.mu.Unlock()
	}()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", checkout.ErrTimeout, ctx.Err())
	}
	if fail != nil {
		return 0, fail
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := checkout.Pack{Seq: uint64(len(l.packs[stream]) + 1)}
	for _, r := range pack {
		p.Records = append(p.Records, slices.Clone(r))
	}
	l.packs[stream] = append(l.packs[stream], p)
	return p.Seq, nil
}

func (l *memLog) Read(ctx context.Context, stream int, from uint64, max int) ([]checkout.Pack, error) {
	for {
		l.mu.Lock()
		all := l.packs[stream]
		l.mu.Unlock()
		if from <= uint64(len(all)) {
			list := all[from-1:]
			return list[:min(len(list), max)], nil
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (l *memLog) Trim(_ context.Context, stream int, applied uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trimmed[stream] = applied
	return nil
}

// bodies gives what a stream holds, pack by pack.
func (l *memLog) bodies(stream int) [][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out [][]string
	for _, p := range l.packs[stream] {
		var pack []string
		for _, r := range p.Records {
			rec, err := callback.ParseRecord(r)
			if err != nil {
				pack = append(pack, "unreadable")
				continue
			}
			pack = append(pack, string(rec.Body))
		}
		out = append(out, pack)
	}
	return out
}

// state is a store in memory and an applier that writes into it: the merge of an invoice
// is the maximum of its Updated, as it is of the real one.
type state struct {
	mu       sync.Mutex
	version  uint64
	cursors  map[string]checkout.Entry
	applied  []string // IDs in the order of their first commit
	invoices map[string]int64
	problems []string
	commits  int
	most     int                                   // updates of the largest commit
	refuse   func(list []checkout.Update) error    // before anything is written
	after    func(n int) error                     // once written: a lost answer
	other    func(s *state, cursor checkout.Write) // another replica, just before
}

func newState() *state {
	return &state{cursors: map[string]checkout.Entry{}, invoices: map[string]int64{}}
}

func (s *state) Fresh(_ context.Context, key string) (checkout.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.cursors[key]
	if !ok {
		return e, checkout.ErrNotFound
	}
	return e, nil
}

func (s *state) ApplyCallbacks(_ context.Context, updates []checkout.Update, cursor checkout.Write) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.other != nil {
		other := s.other
		s.other = nil
		other(s, cursor)
	}
	if s.refuse != nil {
		if err := s.refuse(updates); err != nil {
			return err
		}
	}
	if s.cursors[cursor.Key].Version != cursor.Expect {
		return checkout.ErrConflict
	}
	for _, u := range updates {
		if u.Problem != "" {
			s.problems = append(s.problems, u.Problem+": "+string(u.Raw))
			continue
		}
		old, known := s.invoices[u.Invoice.ID]
		if !known {
			s.applied = append(s.applied, u.Invoice.ID)
		}
		s.invoices[u.Invoice.ID] = max(old, u.Invoice.Updated)
	}
	s.set(cursor.Key, string(cursor.Value))
	s.commits++
	s.most = max(s.most, len(updates))
	if s.after != nil {
		return s.after(s.commits)
	}
	return nil
}

func (s *state) set(key, value string) {
	s.version++
	s.cursors[key] = checkout.Entry{Key: key, Value: []byte(value), Version: s.version}
}

// parser reads `{"id":"a","n":3}` the cheap way; the real one is not this package's.
func parser(body []byte) (checkout.Invoice, error) {
	text := string(body)
	if strings.Contains(text, "panic") {
		panic("odd body")
	}
	var v checkout.Invoice
	if _, err := fmt.Sscanf(strings.NewReplacer(`"`, " ", ",", " ", "}", " ").Replace(text), "{ id : %s n :%d", &v.ID, &v.Updated); err != nil {
		return v, errors.New("no invoice")
	}
	return v, nil
}

func body(id string, n int) []byte { return fmt.Appendf(nil, `{"id":%q,"n":%d}`, id, n) }

type leaser struct {
	mu   sync.Mutex
	held bool
}

func (l *leaser) Lease(context.Context, string, time.Duration) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held, nil
}

// ears counts what an observer hears.
type ears struct {
	callback.NoObserver
	mu       sync.Mutex
	outcomes map[callback.Outcome]int
	packs    []int
	switched int
	retried  map[string]int
}

func newEars() *ears {
	return &ears{outcomes: map[callback.Outcome]int{}, retried: map[string]int{}}
}

func (e *ears) Accepted(o callback.Outcome, _ time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outcomes[o]++
}

func (e *ears) Packed(_, records, _ int, _ time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.packs = append(e.packs, records)
}

func (e *ears) Switched(int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.switched++
}

func (e *ears) Retried(_ int, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retried[reason]++
}
