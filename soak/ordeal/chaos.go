package ordeal

import (
	"context"
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

// ChaosConfig is how long and how wild.
type ChaosConfig struct {
	Bin, Dir string
	Seed     uint64
	Sessions int
	Submits  int // at the same time, of each attempt
	Kills    int
	Workers  int // sessions at a time
	Log      func(format string, args ...any)
}

// Chaos pays many sessions at a WZRDPAY that misbehaves in every way the sandbox knows,
// while the program is killed again and again. Then it holds everything that anybody was
// told against what WZRDPAY has:
//
//   - every attempt has exactly one invoice, and WZRDPAY has no others;
//   - no session is lost, each has the status that its invoices make;
//   - every webhook arrived, in order per session;
//   - the revisions that a page saw increase, and nothing leads back from paid.
func Chaos(ctx context.Context, cfg ChaosConfig) error {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{
		Faults: sandbox.Misbehaving(cfg.Seed), CallbackRetry: 50 * time.Millisecond, CallbackTimeout: 5 * time.Second,
		HistoryLimit: 1000,
	})
	if err != nil {
		return err
	}
	defer stop()
	hooks, err := NewReceiver(cfg.Seed, 0.06, 0.003)
	if err != nil {
		return err
	}
	defer hooks.Close()
	p, err := NewProgram(Settings{Bin: cfg.Bin, Dir: cfg.Dir, WZRD: wzrd, WebhookURL: hooks.url})
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := p.Start(ctx); err != nil {
		return err
	}
	c := &chaos{ChaosConfig: cfg, program: p, wzrd: wzrd, hooks: hooks, sessions: make([]*shopper, cfg.Sessions)}
	if err := c.run(ctx); err != nil {
		return errors.Join(err, c.found.err())
	}
	if err := c.settle(ctx); err != nil {
		return errors.Join(err, c.found.err())
	}
	return c.found.err()
}

// wzrdpay starts WZRDPAY's double in this process.
func wzrdpay(ctx context.Context, cfg sandbox.Config) (*sandbox.Server, func(), error) {
	s, err := sandbox.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, nil, err
	}
	return s, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = s.Stop(ctx) // what is still under way has nobody left to reach
	}, nil
}

type chaos struct {
	ChaosConfig
	program  *Program
	wzrd     *sandbox.Server
	hooks    *Receiver
	found    findings
	sessions []*shopper
	done     atomic.Int64 // sessions whose story is over
	submits  atomic.Int64
	retries  atomic.Int64
	readers  atomic.Int64

	mu    sync.Mutex
	codes map[string]int
}

// shopper is one session and whoever looks at it.
type shopper struct {
	opened
	reference string
	service   string
	readers   []*reader
}

func (c *chaos) run(ctx context.Context) error {
	began := time.Now()
	killed := make(chan error, 1)
	stopKilling, stop := context.WithCancel(ctx)
	defer stop()
	go func() { killed <- c.kill(stopKilling) }()
	err := each(ctx, c.Sessions, c.Workers, func(ctx context.Context, i int) error {
		defer c.done.Add(1)
		// A shopper who gets nowhere for so long has found a bug.
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		defer cancel()
		return c.story(ctx, i)
	})
	if err != nil {
		stop()
		return errors.Join(err, <-killed)
	}
	// All kills happen, also when the shoppers were quicker.
	if err := <-killed; err != nil {
		return err
	}
	c.mu.Lock()
	codes := fmt.Sprint(c.codes)
	c.mu.Unlock()
	c.Log("%d sessions, %d submits of which %d again, %d readers, %d starts in %.1f s; answers: %s", c.Sessions, c.submits.Load(),
		c.retries.Load(), c.readers.Load(), c.program.Boots(), time.Since(began).Seconds(), codes)
	return nil
}

// kill kills the program at moments spread over the run, and sometimes again at once.
func (c *chaos) kill(ctx context.Context) error {
	dice := rand.New(rand.NewPCG(c.Seed, 1)) //nolint:gosec // a seed makes it come again
	for k := range c.Kills {
		for c.done.Load() < int64((k+1)*c.Sessions/(c.Kills+2)) {
			if err := pause(ctx, 2*time.Millisecond); err != nil {
				return nil //nolint:nilerr // the run ended
			}
		}
		if err := pause(ctx, time.Duration(dice.IntN(150))*time.Millisecond); err != nil {
			return nil //nolint:nilerr // the run ended
		}
		if err := c.program.Kill(); err != nil {
			return err
		}
		if dice.IntN(3) == 0 { // down for a moment
			_ = pause(ctx, time.Duration(dice.IntN(400))*time.Millisecond)
		}
		if k+1 < c.Kills && dice.IntN(4) == 0 { // killed while it starts
			if err := c.program.Launch(); err != nil {
				return err
			}
			_ = pause(ctx, time.Duration(dice.IntN(120))*time.Millisecond)
			if err := c.program.Kill(); err != nil {
				return err
			}
		}
		if err := c.program.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

var currencies = []string{"USD", "EUR", "UAH"}

// ways to pay that need no fields, by currency.
var ways = map[string][]string{
	"USD": {"payment_card_usd_hpp", "paypal_usd_hpp", "applepay_usd_hpp", "bank_transfer_usd_invoice"},
	"EUR": {"payment_card_eur_hpp", "paypal_eur_hpp", "googlepay_eur_hpp", "bank_transfer_eur_invoice"},
	"UAH": {"payment_card_uah_hpp", "privat24_uah_hpp", "cash_terminal_uah_hpp", "bank_transfer_uah_invoice"},
}

// story is what one shopper does.
func (c *chaos) story(ctx context.Context, i int) error {
	dice := rand.New(rand.NewPCG(c.Seed, uint64(i)+100)) //nolint:gosec // a seed makes it come again
	s := &shopper{reference: fmt.Sprintf("chaos-%d-%d", c.Seed, i)}
	c.sessions[i] = s
	currency := currencies[dice.IntN(len(currencies))]
	amount := fmt.Sprintf("%d.%02d", 5+dice.IntN(400), dice.IntN(100))
	var err error
	if s.opened, err = c.program.open(ctx, s.reference, amount, currency); err != nil {
		return err
	}
	life := context.WithoutCancel(ctx) // pages stay open until the end
	for range []int{0, 0, 0, 1, 1, 2}[dice.IntN(6)] {
		s.readers = append(s.readers, c.program.read(life, s.ID, s.Token, dice.IntN(3) == 0, &c.found))
		c.readers.Add(1)
	}
	list := ways[currency]
	s.service = list[dice.IntN(len(list))]
	fate := dice.IntN(20)
	if fate < 4 { // WZRDPAY and the shopper's bank are quicker than the answer to us
		stop := c.soon(ctx, s.reference)
		defer stop()
	}
	if err := c.attempt(ctx, s, s.reference, dice); err != nil {
		return err
	}
	switch {
	case fate < 4:
	case fate < 11:
		c.act(s.reference, sandbox.Action{Name: "pay"})
	case fate < 15: // fails, and is paid in the second attempt, in another way
		c.act(s.reference, sandbox.Action{Name: "fail", Resolution: "insufficient_funds"})
		if err := c.heard(ctx, s, "failed"); err != nil {
			return err
		}
		s.service = list[(slices.Index(list, s.service)+1)%len(list)]
		if err := c.attempt(ctx, s, "", dice); err != nil {
			return err
		}
		v, err := c.program.session(ctx, s.ID)
		if err != nil {
			return err
		}
		if n := len(v.Attempts); n > 0 {
			c.act(v.Attempts[n-1].ReferenceID, sandbox.Action{Name: "pay"})
		}
	case fate < 16:
		c.act(s.reference, sandbox.Action{Name: "fail", Resolution: "declined"})
	case fate < 17:
		c.act(s.reference, sandbox.Action{Name: "partial"})
	case fate < 18:
		c.act(s.reference, sandbox.Action{Name: "pay"})
		c.act(s.reference, sandbox.Action{Name: "refund"})
	case fate < 19:
		c.act(s.reference, sandbox.Action{Name: "fail", Resolution: "declined"})
		c.act(s.reference, sandbox.Action{Name: "pay"}) // a late success
	}
	return nil
}

// soon pays an invoice at the moment in which WZRDPAY has it.
func (c *chaos) soon(ctx context.Context, reference string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if _, ok := c.wzrd.Invoice(reference); ok {
				c.act(reference, sandbox.Action{Name: "pay"})
				return
			}
			_ = pause(ctx, time.Millisecond)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// act does something to an invoice. One that is not there, or is in another state by
// now, is no matter: what counts is that both sides agree in the end.
func (c *chaos) act(reference string, a sandbox.Action) {
	if _, err := c.wzrd.Act(reference, a); err != nil && !errors.Is(err, sandbox.ErrState) && !errors.Is(err, sandbox.ErrNotFound) {
		c.found.add("the sandbox refused", "%s of %s: %v", a.Name, reference, err)
	}
}

// heard waits until the program knows a status.
func (c *chaos) heard(ctx context.Context, s *shopper, status string) error {
	var v session
	err := until(ctx, time.Minute, func() error {
		var err error
		if v, err = c.program.session(ctx, s.ID); err == nil && v.Status != status {
			err = fmt.Errorf("session %s is %s a minute after its invoice was %s", s.ID, v.Status, status)
		}
		return err
	})
	return err
}

// attempt submits the same thing several times at once, as impatient shoppers and
// several tabs do, each until it has an answer that says where to pay, or that this is over.
func (c *chaos) attempt(ctx context.Context, s *shopper, reference string, dice *rand.Rand) error {
	key := fmt.Sprintf("%s-%d", s.reference, dice.Uint64())
	invoices := make([]string, c.Submits)
	waits := make([]time.Duration, c.Submits)
	for i := range waits {
		waits[i] = time.Duration(dice.IntN(20)) * time.Millisecond
	}
	if err := each(ctx, c.Submits, c.Submits, func(ctx context.Context, i int) error {
		idempotency := ""
		if i < 2 {
			idempotency = key
		}
		_ = pause(ctx, waits[i])
		v, err := c.submit(ctx, s, idempotency)
		if v.Redirect != nil && v.Session.Invoice != nil && v.status < 300 {
			invoices[i] = v.Session.Invoice.ID
		}
		return err
	}); err != nil {
		return err
	}
	// Everybody is sent to one invoice, unless an attempt was given up in between. The
	// address may differ: WZRDPAY names hpp_url in some answers and only flow_data in others.
	slices.Sort(invoices)
	invoices = slices.DeleteFunc(slices.Compact(invoices), func(id string) bool { return id == "" })
	if _, again := c.wzrd.Invoice(reference + ".2"); len(invoices) > 1 && reference != "" && !again {
		c.found.add("two invoices of one attempt", "session %s: %v", s.ID, invoices)
	}
	return nil
}

// over are the answers that end a shopper's wish to pay.
var over = []string{"already_paid", "payment_failed"}

func (c *chaos) submit(ctx context.Context, s *shopper, idempotency string) (paid, error) {
	var v paid
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 400*time.Millisecond) {
		var err error
		c.submits.Add(1)
		v, err = c.program.submit(ctx, s.Token, s.service, nil, idempotency)
		word := "no answer"
		if err == nil {
			word = fmt.Sprint(v.status, " ", v.Code)
		}
		c.mu.Lock()
		if c.codes == nil {
			c.codes = map[string]int{}
		}
		c.codes[strings.TrimSpace(word)]++
		c.mu.Unlock()
		switch {
		case errors.Is(err, errEnded):
			return v, err
		case err != nil:
		case v.status == http.StatusCreated || v.status == http.StatusOK:
			return v, nil
		case v.status == http.StatusConflict && slices.Contains(over, v.Code):
			return v, nil
		case v.status == http.StatusConflict && v.Retryable, v.status == http.StatusTooManyRequests:
		case v.status == http.StatusInternalServerError || v.status < 500:
			c.found.add("submits refused", "session %s, %s, %s %s: %d %s: %s %s", s.ID, s.service, s.Session.Amount, s.Session.Currency, v.status, v.Code, v.Detail, v.Errors)
			return v, nil
		}
		c.retries.Add(1)
		if pause(ctx, wait) != nil {
			return v, fmt.Errorf("session %s got no answer to its submits: last %s %s: %w", s.ID, word, v.Detail, context.Cause(ctx))
		}
	}
}

// settle lets WZRDPAY behave again and holds the two sides against each other.
func (c *chaos) settle(ctx context.Context) error {
	if err := c.wzrd.SetFaults(sandbox.NoFaults()); err != nil {
		return err
	}
	// The last life's open attempts are finished by the next one's sweep.
	if err := c.program.Restart(ctx); err != nil {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := c.wzrd.Settle(patience); err != nil {
		return err
	}
	upstream := map[string][]sandbox.Invoice{}
	references := map[string]bool{}
	for _, v := range c.wzrd.Invoices() {
		id, _ := v.Metadata["session_id"].(string)
		upstream[id] = append(upstream[id], v)
		if references[v.ReferenceID] {
			c.found.add("two invoices of one attempt", "reference %s", v.ReferenceID)
		}
		references[v.ReferenceID] = true
	}
	var mu sync.Mutex
	final := map[string]session{}
	attempts := 0
	end := time.Now().Add(time.Minute)
	if err := each(ctx, len(c.sessions), 16, func(ctx context.Context, i int) error {
		s := c.sessions[i]
		v, err := c.agreed(ctx, s, upstream[s.ID], time.Until(end))
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		final[v.ID] = v
		attempts += len(v.Attempts)
		return nil
	}); err != nil {
		return err
	}
	for id, list := range upstream {
		if _, ours := final[id]; !ours {
			c.found.add("invoices of no session", "%q has %d, e.g. %s", id, len(list), list[0].ReferenceID)
		}
	}
	if attempts != len(references) {
		c.found.add("invoices are not the attempts", "WZRDPAY has %d invoices, %d attempts were made", len(references), attempts)
	}
	frames, cuts := c.pages(ctx, final)
	events, err := c.hooks.check(ctx, c.program, final, 90*time.Second, &c.found)
	if err != nil {
		return err
	}
	counts, fatal, err := c.program.Logged()
	if err != nil {
		return err
	}
	for _, line := range fatal {
		c.found.add("panics", "%s", line)
	}
	c.Log("%d invoices, %d attempts, %d events in %d deliveries, %d frames over %d cuts; %s", len(references), attempts, events,
		c.hooks.requests.Load(), frames, cuts, loudest(counts))
	return nil
}

// agreed waits until a session is what WZRDPAY's invoices make of it, and says what is not.
func (c *chaos) agreed(ctx context.Context, s *shopper, upstream []sandbox.Invoice, patience time.Duration) (session, error) {
	var v session
	var hard error
	complaint := until(ctx, patience, func() error {
		if v, hard = c.program.session(ctx, s.ID); hard != nil {
			return nil
		}
		return agree(v, upstream)
	})
	if hard != nil {
		c.found.add("sessions lost", "%s: %v", s.ID, hard)
		return v, ctx.Err()
	}
	if complaint != nil {
		c.found.add("not what WZRDPAY has", "session %s (%s): %v", s.ID, s.reference, complaint)
	}
	list, err := c.program.byReference(ctx, s.reference)
	if err != nil {
		return v, err
	}
	if len(list) != 1 || list[0].ID != s.ID {
		c.found.add("sessions lost", "reference %s gives %d sessions, want 1 with id %s", s.reference, len(list), s.ID)
	}
	return v, nil
}

// agree tells how a session differs from WZRDPAY's invoices that name it.
func agree(v session, upstream []sandbox.Invoice) error {
	theirs := map[string]sandbox.Invoice{}
	for _, u := range upstream {
		theirs[u.ReferenceID] = u
	}
	for _, a := range v.Attempts {
		if a.Invoice == nil {
			return fmt.Errorf("attempt %d has no invoice; the session is %s", a.Number, v.Status)
		}
		u, ok := theirs[a.ReferenceID]
		switch {
		case !ok:
			return fmt.Errorf("attempt %d has invoice %s, which WZRDPAY has not under %s", a.Number, a.Invoice.ID, a.ReferenceID)
		case u.ID != a.Invoice.ID:
			return fmt.Errorf("attempt %d has invoice %s, WZRDPAY has %s", a.Number, a.Invoice.ID, u.ID)
		case u.Service != a.Service:
			return fmt.Errorf("attempt %d is with %s, the invoice with %s", a.Number, a.Service, u.Service)
		case !strings.EqualFold(u.Status, a.Invoice.Status):
			return fmt.Errorf("attempt %d: invoice %s is %s, WZRDPAY says %s", a.Number, u.ID, a.Invoice.Status, u.Status)
		}
		delete(theirs, a.ReferenceID)
	}
	for reference, u := range theirs {
		return fmt.Errorf("WZRDPAY has invoice %s (%s) under %s, which no attempt has", u.ID, u.Status, reference)
	}
	if want := expected(v, upstream); v.Status != want {
		return fmt.Errorf("the session is %s, its invoices make it %s", v.Status, want)
	}
	return nil
}

// expected is a session's status by its invoices: one that moved money decides, else the
// last attempt's. No invoice of the run expires.
func expected(v session, upstream []sandbox.Invoice) string {
	of := map[string]string{}
	for _, u := range upstream {
		of[u.ReferenceID] = map[string]string{
			"created": "pending", "processing": "pending", "process_pending": "pending", "process_failed": "failed",
			"processed": "paid", "partially_processed": "partially_paid", "refunded": "refunded",
		}[u.Status]
		if u.Status == "processed" && u.ProcessedAmount != u.Amount {
			of[u.ReferenceID] = "partially_paid"
		}
	}
	status := "open"
	for _, a := range v.Attempts {
		if slices.Contains(moved, of[a.ReferenceID]) {
			return of[a.ReferenceID]
		}
		status = of[a.ReferenceID]
	}
	return status
}

// pages waits until every open page shows its session's last state, and closes it.
func (c *chaos) pages(ctx context.Context, final map[string]session) (frames, cuts int) {
	var all pages
	for _, s := range c.sessions {
		all = append(all, s.readers...)
	}
	all.missed(ctx, final, &c.found)
	all.close()
	return all.frames()
}
