package ordeal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// StreamConfig is how many callbacks meet how many ends.
type StreamConfig struct {
	Bin, Dir string
	Seed     uint64
	Invoices int
	Senders  int
	Pages    int // that are open all the time, each at one of the invoices
	Ends     int
	PowerCut bool // each end is a power cut; else kill -9
	Log      func(format string, args ...any)
}

// Stream sends callbacks from many senders at once, and opens and pays sessions beside
// them, while the program meets its end at random moments. After each end it holds:
//
//   - every callback that was answered 200 is applied, with the right status;
//   - every session that was opened and every invoice that was answered is there, and
//     WZRDPAY has no other;
//   - no revision is lower than one that was shown before.
//
// Pages are open meanwhile: none is shown a revision twice, and at the end each shows the
// last. At the end every webhook has arrived.
func Stream(ctx context.Context, cfg StreamConfig) error {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{HistoryLimit: 1000})
	if err != nil {
		return err
	}
	defer stop()
	wzrd.HoldCallbacks() // this stream is all there is
	hooks, err := NewReceiver(cfg.Seed, 0.02, 0)
	if err != nil {
		return err
	}
	defer hooks.Close()
	p, err := NewProgram(Settings{Bin: cfg.Bin, Dir: cfg.Dir, WZRD: wzrd, WebhookURL: hooks.url, Trace: cfg.PowerCut})
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := p.Start(ctx); err != nil {
		return err
	}
	s := &stream{StreamConfig: cfg, program: p, wzrd: wzrd}
	if err := s.prepare(ctx, cfg.Invoices); err != nil {
		return err
	}
	pages := s.watch(ctx)
	defer pages.close()
	if err := s.ends(ctx); err != nil {
		return errors.Join(err, s.found.err())
	}
	final := map[string]session{}
	for _, m := range s.list() {
		v, err := p.session(ctx, m.session)
		if err != nil {
			return errors.Join(err, s.found.err())
		}
		final[v.ID] = v
	}
	pages.missed(ctx, final, &s.found)
	events, err := hooks.check(ctx, p, final, time.Minute, &s.found)
	if err != nil {
		return errors.Join(err, s.found.err())
	}
	counts, fatal, err := p.Logged()
	if err != nil {
		return err
	}
	for _, line := range fatal {
		s.found.add("panics", "%s", line)
	}
	frames, cuts := pages.frames()
	s.Log("%d ends: %d callbacks answered 200, of them lost or shown wrong %d; %d answered otherwise", cfg.Ends, s.stored.Load(),
		s.found.count("answered and not there"), s.refused.Load())
	s.Log("%d sessions, %d of them opened beside the stream; %d webhooks in %d deliveries, missing %d", len(final), len(final)-cfg.Invoices,
		events, hooks.requests.Load(), s.found.count("webhooks missing"))
	s.Log("%d pages, cut %d times, %d frames: revisions seen twice or backwards %d", len(pages), cuts, frames,
		s.found.count("revisions that do not increase")+s.found.count("revisions that went back"))
	s.Log("from a start to the first callback that is taken: %s; then until all sessions were read and right: %s", spread(s.shut), spread(s.late))
	s.Log("%s", loudest(counts))
	return s.found.err()
}

// watch opens the pages: each fourth polls, the others hold a socket.
func (s *stream) watch(ctx context.Context) pages {
	var list pages
	for i, m := range s.list() {
		if i < s.Pages {
			list = append(list, s.program.read(ctx, m.session, m.token, i%4 == 3, &s.found))
		}
	}
	return list
}

// loudest gives the messages of a log that were errors, and how many were warnings.
func loudest(counts map[string]int) string {
	warnings := 0
	var list []string
	for text, n := range counts {
		if strings.HasPrefix(text, "ERROR") {
			list = append(list, fmt.Sprintf("%d x %s", n, text))
		} else {
			warnings += n
		}
	}
	slices.Sort(list)
	return fmt.Sprintf("log: %d warnings, errors: %q", warnings, list)
}

type stream struct {
	StreamConfig
	program  *Program
	wzrd     *sandbox.Server
	found    findings
	stored   atomic.Int64
	refused  atomic.Int64
	restarts int             // that a full disk needed
	shut     []time.Duration // how long no callback was taken, one by one
	late     []time.Duration // how long it took until everything that was answered was seen

	mu   sync.Mutex
	mine []*money
}

// money is one invoice as WZRDPAY has it, and what of it was answered 200. One sender at
// a time has it.
type money struct {
	session, token, reference string
	invoice                   sandbox.Invoice
	updated                   int64  // of the latest callback that was sent
	status                    string // of the same
	acked                     int64  // updated of the latest that was answered 200
	said                      string // its status
	ambiguous                 bool   // one later than that was sent and never answered
	revision                  int64  // the highest that was ever shown
	quiet                     bool   // the stream does not touch it
}

func (s *stream) list() []*money {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mine)
}

// prepare opens n sessions and begins to pay them.
func (s *stream) prepare(ctx context.Context, n int) error {
	return each(ctx, n, 32, func(ctx context.Context, i int) error {
		_, err := s.one(ctx, fmt.Sprintf("stream-%d-%d", s.Seed, i), false)
		return err
	})
}

// one opens a session and begins to pay it.
func (s *stream) one(ctx context.Context, reference string, quiet bool) (*money, error) {
	o, err := s.program.open(ctx, reference, "42.50", "USD")
	if err != nil {
		return nil, err
	}
	m := &money{session: o.ID, token: o.Token, reference: reference, quiet: quiet}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		v, err := s.program.submit(ctx, o.Token, "payment_card_usd_hpp", nil, "")
		if err == nil && (v.status == http.StatusCreated || v.status == http.StatusOK) {
			m.revision = v.Session.Revision
			break
		}
		if err == nil && v.status < 500 && !v.Retryable {
			return nil, fmt.Errorf("pay session %s: %d %s %s", o.ID, v.status, v.Code, v.Detail)
		}
		if errors.Is(err, errEnded) {
			return nil, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("pay session %s: %w, last %d %s %s", o.ID, err, v.status, v.Code, v.Detail)
		}
	}
	var ok bool
	if m.invoice, ok = s.wzrd.Invoice(reference); !ok {
		return nil, fmt.Errorf("session %s was told where to pay, and WZRDPAY has no invoice %s", o.ID, reference)
	}
	m.updated, m.status = m.invoice.Updated, m.invoice.Status
	m.acked, m.said = m.updated, m.status // what the answer to the creation said
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mine = append(s.mine, m)
	return m, nil
}

// callback is what WZRDPAY would send about an invoice.
func (m *money) callback(status string, updated int64, account string) ([]byte, error) {
	var processed any
	resolution := "ok"
	switch status {
	case "processed":
		processed = json.Number(m.invoice.Amount)
	case "process_failed":
		resolution = "insufficient_funds"
	}
	v := m.invoice
	type object = map[string]any
	return json.Marshal(object{"data": object{
		"type": "payment-invoices", "id": v.ID,
		"attributes": object{
			"status": status, "resolution": resolution, "amount": json.Number(v.Amount), "payment_amount": json.Number(v.Amount),
			"currency": v.Currency, "service_currency": v.Currency, "reference_id": v.ReferenceID, "test_mode": true,
			"processed_amount": processed, "metadata": v.Metadata, "created": v.Created, "updated": updated,
			"flow_data": object{"action": v.HPPURL, "method": "GET", "params": []any{}, "metadata": object{}},
		},
		"relationships": object{
			"payment-service":  object{"data": object{"type": "payment-services", "id": v.Service}},
			"commerce-account": object{"data": object{"type": "commerce-accounts", "id": account}},
		},
	}, "included": []any{}})
}

// send sends one callback once.
func (s *stream) send(ctx context.Context, m *money, status string, updated int64) (int, error) {
	keys := s.wzrd.Credentials()
	body, err := m.callback(status, updated, keys.AccountID)
	if err != nil {
		return 0, fmt.Errorf("write callback: %w", err)
	}
	m.updated, m.status = updated, status
	code, _, err := s.program.call(ctx, http.MethodPost, s.program.PublicURL()+"/v1/callbacks/wzrdpay", "", body,
		"X-Signature", sandbox.Sign(keys.SigningKeys[0], body))
	if err == nil && code == http.StatusOK {
		s.stored.Add(1)
		m.acked, m.said, m.ambiguous = updated, status, false
	} else {
		s.refused.Add(1)
		m.ambiguous = true
	}
	return code, err
}

// ends lets the program end again and again, in the middle of its work.
func (s *stream) ends(ctx context.Context) error {
	dice := rand.New(rand.NewPCG(s.Seed, 2)) //nolint:gosec // a seed makes it come again
	var took lost
	name, err := s.program.name()
	if err != nil {
		return err
	}
	for end := range s.Ends {
		life, over := context.WithCancel(ctx)
		var senders sync.WaitGroup
		failed := make(chan error, s.Senders+4)
		list := s.list()
		for n := range s.Senders {
			var own []*money
			for i := n; i < len(list); i += s.Senders {
				if !list[i].quiet {
					own = append(own, list[i])
				}
			}
			luck := rand.New(rand.NewPCG(s.Seed, uint64(1000*end+n))) //nolint:gosec // a seed makes it come again
			senders.Go(func() { failed <- s.sender(life, own, luck) })
		}
		for n := range 4 {
			senders.Go(func() { failed <- s.buyers(life, end, n) })
		}
		_ = pause(ctx, time.Duration(100+dice.IntN(900))*time.Millisecond)
		if s.PowerCut {
			var gone lost
			gone, err = s.program.PowerCut()
			took.Files, took.Bytes, took.Overwritten = took.Files+gone.Files, took.Bytes+gone.Bytes, took.Overwritten+gone.Overwritten
		} else {
			err = s.program.Kill()
		}
		over()
		senders.Wait()
		close(failed)
		for one := range failed {
			err = errors.Join(err, one)
		}
		if err != nil {
			return err
		}
		shut, err := s.knock(ctx, list[0])
		if err != nil {
			return err
		}
		err = s.program.Start(ctx)
		s.shut = append(s.shut, shut())
		if err != nil {
			return fmt.Errorf("after end %d: %w", end+1, err)
		}
		// It knows its own claims, and in a cluster its own copies, by its name.
		if now, err := s.program.name(); err != nil || now != name {
			s.found.add("names forgotten", "after end %d: %q was %q, %v", end+1, now, name, err)
		}
		if err := s.applied(ctx); err != nil {
			return fmt.Errorf("after end %d: %w", end+1, err)
		}
		if s.found.err() != nil {
			return fmt.Errorf("broken by end %d", end+1) // what is lost stays lost
		}
	}
	if s.PowerCut {
		s.Log("%d power cuts took %d bytes of %d files; %d times bytes were overwritten that could have come back", s.Ends, took.Bytes, took.Files, took.Overwritten)
	}
	return nil
}

// knock repeats what was answered long ago until it is answered again; shut waits for
// that, and gives how long it took.
func (s *stream) knock(ctx context.Context, m *money) (shut func() time.Duration, err error) {
	keys := s.wzrd.Credentials()
	body, err := m.callback(m.said, m.acked, keys.AccountID)
	if err != nil {
		return nil, fmt.Errorf("write callback: %w", err)
	}
	began := time.Now()
	took := make(chan time.Duration, 1)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	go func() {
		defer cancel()
		said := ""
		for ctx.Err() == nil {
			asked := time.Now()
			code, text, err := s.program.call(ctx, http.MethodPost, s.program.PublicURL()+"/v1/callbacks/wzrdpay", "", body,
				"X-Signature", sandbox.Sign(keys.SigningKeys[0], body))
			if err == nil && code == http.StatusOK || errors.Is(err, errEnded) {
				break
			}
			if err == nil {
				said = fmt.Sprintf("%d after %.0f ms: %.200s", code, ms(time.Since(asked)), text)
			}
			_ = pause(ctx, 2*time.Millisecond) // the loop ends with ctx
		}
		if d := time.Since(began); d > 2*time.Second {
			s.Log("start %d: the first callback was taken after %.0f ms; until then: %s", s.program.Boots(), ms(d), said)
		}
		took <- time.Since(began)
	}()
	return func() time.Duration { return <-took }, nil
}

// sender sends news about its invoices until the end; what is not answered is sent again.
func (s *stream) sender(ctx context.Context, own []*money, luck *rand.Rand) error {
	for ctx.Err() == nil && len(own) > 0 {
		m := own[luck.IntN(len(own))]
		status, updated := "process_pending", m.updated+1
		if m.ambiguous {
			status, updated = m.status, m.updated // WZRDPAY repeats itself until it hears 200
		} else if m.said == "processed" || m.said == "process_failed" {
			status, updated = m.said, m.updated // a duplicate
			if luck.IntN(4) > 0 {
				continue
			}
		} else if len(own) > 2 {
			switch luck.IntN(200) {
			case 0, 1:
				status = "processed"
			case 2:
				status = "process_failed"
			}
		}
		code, err := s.send(ctx, m, status, updated)
		if err == nil && code != http.StatusOK && code != http.StatusServiceUnavailable {
			return fmt.Errorf("a callback was answered %d", code)
		}
		if err != nil || code != http.StatusOK {
			_ = pause(ctx, 10*time.Millisecond) // the loop ends with ctx
		}
	}
	return nil
}

// buyers open sessions and begin to pay them until the end.
func (s *stream) buyers(ctx context.Context, end, n int) error {
	for i := 0; ctx.Err() == nil; i++ {
		if _, err := s.one(ctx, fmt.Sprintf("beside-%d-%d-%d-%d", s.Seed, end, n, i), true); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// applied waits until the program shows everything that it has answered 200, and says
// what it does not.
func (s *stream) applied(ctx context.Context) error {
	list := s.list()
	began := time.Now()
	end := began.Add(3 * time.Minute) // a machine that does much else may need a part of it
	defer func() { s.late = append(s.late, time.Since(began)) }()
	return each(ctx, len(list), 16, func(ctx context.Context, i int) error {
		m := list[i]
		var v session
		complaint := until(ctx, time.Until(end), func() error {
			var err error
			if v, err = s.program.session(ctx, m.session); err != nil {
				return err
			}
			return m.holds(v)
		})
		if complaint != nil {
			s.found.add("answered and not there", "session %s: %v", m.session, complaint)
		}
		if v.Revision < m.revision {
			s.found.add("revisions that went back", "session %s: %d after %d", m.session, v.Revision, m.revision)
		}
		m.revision = max(m.revision, v.Revision)
		return nil
	})
}

// holds tells what of the answered callbacks a session does not show.
func (m *money) holds(v session) error {
	if len(v.Attempts) != 1 || v.Attempts[0].Invoice == nil || v.Attempts[0].Invoice.ID != m.invoice.ID {
		return fmt.Errorf("its attempts are %d, not the one with the invoice %s", len(v.Attempts), m.invoice.ID)
	}
	got := *v.Attempts[0].Invoice
	fits := got.Updated == m.acked && got.Status == m.said
	if m.ambiguous { // it may have got to the disk without being answered
		fits = fits || got.Updated == m.updated && got.Status == m.status
	}
	if !fits {
		return fmt.Errorf("invoice %s is %s of %d; answered 200: %s of %d; sent last: %s of %d",
			m.invoice.ID, got.Status, got.Updated, m.said, m.acked, m.status, m.updated)
	}
	want := map[string]string{"process_pending": "pending", "processed": "paid", "process_failed": "failed"}[got.Status]
	if v.Status != want {
		return fmt.Errorf("it is %s with an invoice that is %s", v.Status, got.Status)
	}
	return nil
}
