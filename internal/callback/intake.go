package callback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"wzrdcheckout/internal/checkout"
)

// IntakeConfig is what an Intake needs; zero limits take the values in brackets.
type IntakeConfig struct {
	Verifier Verifier
	Log      Log
	Observer Observer         // nil: nobody hears
	Logger   *slog.Logger     // nil: nothing is said
	Now      func() time.Time // time.Now; when a callback is said to have arrived

	MaxBody     int           // bytes of one body (1 MiB)
	PackRecords int           // records of one pack (200)
	PackBytes   int           // bytes of one pack (900,000); a larger single callback goes alone
	QueueLen    int           // callbacks that may wait (4,096)
	QueueBytes  int64         // and their bytes (64 MiB)
	Timeout     time.Duration // until a callback must be durable (5 s); WZRDPAY waits 10 to 20 s
	Switch      time.Duration // without an ack for this long, the next stream is tried (250 ms)
	Linger      time.Duration // how long a pack waits to be filled while callbacks pour in (1 ms)
}

func (c *IntakeConfig) validate() error {
	switch {
	case c.Verifier == nil:
		return errors.New("callback config: Verifier is missing")
	case c.Log == nil:
		return errors.New("callback config: Log is missing")
	case c.MaxBody < 0 || c.PackRecords < 0 || c.PackBytes < 0 || c.QueueLen < 0 || c.QueueBytes < 0:
		return errors.New("callback config: MaxBody, PackRecords, PackBytes, QueueLen and QueueBytes must not be negative")
	case c.Timeout < 0 || c.Switch < 0 || c.Linger < 0:
		return errors.New("callback config: Timeout, Switch and Linger must not be negative")
	}
	if c.Observer == nil {
		c.Observer = NoObserver{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.MaxBody = or(c.MaxBody, 1<<20)
	c.PackRecords = or(c.PackRecords, 200)
	c.PackBytes = or(c.PackBytes, 900_000)
	c.QueueLen = or(c.QueueLen, 4096)
	c.QueueBytes = or(c.QueueBytes, 64<<20)
	c.Timeout = or(c.Timeout, 5*time.Second)
	c.Switch = or(c.Switch, 250*time.Millisecond)
	c.Linger = or(c.Linger, time.Millisecond)
	return nil
}

func or[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Intake stores callbacks. Whatever arrives while one pack is on its way to the disk
// forms the next one, so one sync serves up to PackRecords callbacks.
type Intake struct {
	cfg   IntakeConfig
	queue chan *waiting
	bytes atomic.Int64
	pace  pace

	mu      sync.RWMutex // held while queueing, so that Stop misses nobody
	state   intakeState
	done    chan struct{}
	appends sync.WaitGroup

	current int    // the stream to try first; only run uses it
	last    int    // records of the pack before
	busy    []bool // streams with an append that has not come back
	freed   chan int
	said    time.Time // when a failure was last logged
	unsaid  int       // failures since
}

type intakeState uint8

const (
	idle intakeState = iota
	running
	stopped
)

// waiting is one callback that waits to be durable.
type waiting struct {
	record []byte
	until  time.Time
	done   chan error // has room for one
}

// NewIntake checks the configuration; Start begins to take callbacks.
func NewIntake(cfg IntakeConfig) (*Intake, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := cfg.Log.Streams()
	if n < 1 {
		return nil, errors.New("callback config: Log has no streams")
	}
	return &Intake{
		cfg:   cfg,
		queue: make(chan *waiting, cfg.QueueLen),
		done:  make(chan struct{}),
		// Replicas begin at different streams, which spreads their load.
		current: rand.IntN(n), //nolint:gosec // not a secret
		busy:    make([]bool, n),
		freed:   make(chan int, n),
	}, nil
}

// Start begins to take callbacks.
func (i *Intake) Start() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state == idle {
		i.state = running
		go i.run()
	}
}

// Stop takes nothing new and returns when what was taken is answered, or ctx ends.
func (i *Intake) Stop(ctx context.Context) error {
	i.mu.Lock()
	switch i.state {
	case idle:
		close(i.done)
	case running:
		close(i.queue)
	case stopped:
	}
	i.state = stopped
	i.mu.Unlock()
	select {
	case <-i.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop intake: %w", ctx.Err())
	}
}

// Accept verifies one callback and returns when it is durable: nil is a 200. The errors:
// ErrTooLarge, ErrUnauthorized (signature or mode), ErrInvalid (not JSON), ErrUnavailable
// (full, slow, stopping or refused by the store: WZRDPAY sends again). After an error of
// the last kind it may be stored all the same; the state does not mind.
func (i *Intake) Accept(ctx context.Context, body []byte, signature string) error {
	start := time.Now()
	outcome, err := i.accept(ctx, body, signature)
	i.cfg.Observer.Accepted(outcome, time.Since(start))
	return err
}

func (i *Intake) accept(ctx context.Context, body []byte, signature string) (Outcome, error) {
	if len(body) > i.cfg.MaxBody {
		return TooLarge, &checkout.Error{Kind: checkout.ErrTooLarge, Code: "callback_too_large", Detail: "The body of a callback may have 1 MiB."}
	}
	mode, err := i.cfg.Verifier.Verify(body, signature)
	if err != nil {
		return Unauthorized, &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "bad_signature", Detail: "X-Signature fits none of the signing keys.", Cause: err}
	}
	said, ok := readMode(body)
	if !ok {
		return Invalid, &checkout.Error{Kind: checkout.ErrInvalid, Code: "not_json", Detail: "The body is not JSON."}
	}
	if said == saidTest && mode != modeTest || said == saidLive && mode == modeTest {
		return WrongMode, &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "wrong_mode", Detail: "test_mode contradicts the key that signed the body."}
	}
	record, err := Record{ReceivedAt: i.cfg.Now().Unix(), Mode: mode, Body: body}.Append(make([]byte, 0, len(body)+12))
	if err != nil {
		return Failed, fmt.Errorf("accept callback: %w", err)
	}
	w := &waiting{record: record, until: time.Now().Add(i.cfg.Timeout), done: make(chan error, 1)}
	if end, ok := ctx.Deadline(); ok && end.Before(w.until) {
		w.until = end
	}
	if outcome, err := i.push(w); err != nil {
		return outcome, err
	}
	late := time.NewTimer(time.Until(w.until))
	defer late.Stop()
	select {
	case err = <-w.done:
	case <-late.C:
		return Slow, unavailable("callback_slow", context.DeadlineExceeded)
	case <-ctx.Done():
		return Slow, unavailable("callback_slow", ctx.Err())
	}
	if err != nil {
		return Failed, unavailable("callback_not_stored", err)
	}
	return Stored, nil
}

func unavailable(code string, cause error) error {
	return &checkout.Error{Kind: checkout.ErrUnavailable, Code: code, Detail: "Send the callback again later.", Retryable: true, Cause: cause}
}

func (i *Intake) push(w *waiting) (Outcome, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.state != running {
		return Stopping, unavailable("stopping", nil)
	}
	size := int64(len(w.record))
	if i.bytes.Add(size) > i.cfg.QueueBytes {
		i.bytes.Add(-size)
		return Full, unavailable("callback_queue_full", nil)
	}
	select {
	case i.queue <- w:
		return Stored, nil
	default:
		i.bytes.Add(-size)
		return Full, unavailable("callback_queue_full", nil)
	}
}

func (i *Intake) run() {
	defer close(i.done)
	defer i.appends.Wait()
	var next *waiting // did not fit into the pack before
	for {
		pack, left, open := i.gather(next)
		next = left
		if i.last = len(pack); i.last > 0 {
			i.pace.add(time.Now(), i.last)
			i.send(pack)
		}
		if !open && next == nil {
			return
		}
	}
}

// gather waits for one callback and takes all that wait behind it, up to a pack. While
// callbacks pour in a small pack lingers: those that are being read and verified now
// would otherwise pay for packs of their own, which takes from the processor what they
// need to be read.
func (i *Intake) gather(first *waiting) (pack []*waiting, left *waiting, open bool) {
	if first == nil {
		w, ok := <-i.queue
		if !ok {
			return nil, nil, false
		}
		i.bytes.Add(-int64(len(w.record)))
		first = w
	}
	pack = append(make([]*waiting, 0, max(2*i.last, 8)), first)
	size := len(first.record)
	var linger <-chan time.Time
	for len(pack) < i.cfg.PackRecords {
		var w *waiting
		ok := true
		select {
		case w, ok = <-i.queue:
		default:
			if len(pack) >= lingerFill || i.last < lingerFrom || !i.Busy() {
				return pack, nil, true
			}
			if linger == nil {
				t := time.NewTimer(i.cfg.Linger)
				defer t.Stop()
				linger = t.C
			}
			select {
			case w, ok = <-i.queue:
			case <-linger:
				return pack, nil, true
			}
		}
		if !ok {
			return pack, nil, false
		}
		i.bytes.Add(-int64(len(w.record)))
		if size+len(w.record) > i.cfg.PackBytes {
			return pack, w, true
		}
		pack = append(pack, w)
		size += len(w.record)
	}
	return pack, nil, true
}

const (
	// lingerFill is what a pack waits for, at most Linger long: its own cost, some 0.2 ms
	// of a processor, is little then for each.
	lingerFill = 32
	// lingerFrom is the least that came in the pack before: with fewer senders the next
	// pack may already have all of them.
	lingerFrom = 8
)

// Busy tells whether callbacks pour in: more than 2,000 a second in the last 100 ms, or
// as many as fill half a pack wait for the disk. Then the worker waits, so that a burst
// is stored first and applied right behind.
func (i *Intake) Busy() bool {
	return len(i.queue) >= max(i.cfg.PackRecords/2, 1) || i.pace.busy(time.Now())
}

// pace counts what came in the last 100 ms.
type pace struct {
	mu    sync.Mutex
	slots [paceSlots]struct {
		at int64 // which slot of time it counts
		n  int
	}
}

const (
	paceSlot  = 10 * time.Millisecond
	paceSlots = 10
	paceBusy  = 200
)

func (p *pace) add(now time.Time, n int) {
	at := now.UnixNano() / int64(paceSlot)
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.slots[at%paceSlots]
	if s.at != at {
		s.at, s.n = at, 0
	}
	s.n += n
}

func (p *pace) busy(now time.Time) bool {
	at := now.UnixNano() / int64(paceSlot)
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := 0
	for i := range p.slots {
		if s := &p.slots[i]; s.at > at-paceSlots && s.at <= at {
			sum += s.n
		}
	}
	return sum >= paceBusy
}

// result is what became of one append.
type result struct {
	stream int
	err    error
	took   time.Duration
}

// send stores a pack and answers its callbacks. With several streams one that does not
// acknowledge within Switch is left to itself and the next is tried; whichever is first
// counts. The pack may then be stored twice.
func (i *Intake) send(pack []*waiting) {
	now := time.Now()
	records := make([][]byte, 0, len(pack))
	live := pack[:0]
	var until time.Time
	size := 0
	for _, w := range pack {
		if now.After(w.until) {
			continue // nobody waits for it any more; it was answered 503
		}
		live = append(live, w)
		records = append(records, w.record)
		size += len(w.record)
		if w.until.After(until) {
			until = w.until
		}
	}
	if len(live) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	results := make(chan result, len(i.busy))
	inFlight := 0
	answer := func(err error) {
		for _, w := range live {
			w.done <- err
		}
	}
	var last error
	for tried := 0; tried < len(i.busy) || inFlight > 0; {
		started := false
		for tried < len(i.busy) && !started {
			stream := (i.current + tried) % len(i.busy)
			tried++
			i.reap()
			if i.busy[stream] {
				continue
			}
			started = true
			inFlight++
			i.busy[stream] = true
			i.appends.Go(func() {
				begin := time.Now()
				_, err := i.cfg.Log.Append(ctx, stream, records)
				i.freed <- stream
				results <- result{stream, err, time.Since(begin)}
			})
		}
		if inFlight == 0 {
			// Every stream still has an older pack in flight. One must come back first.
			if !i.reapUntil(until) {
				break
			}
			tried = 0
			continue
		}
		var next <-chan time.Time
		if tried < len(i.busy) {
			t := time.NewTimer(i.cfg.Switch)
			next = t.C
			defer t.Stop()
		}
		select {
		case r := <-results:
			inFlight--
			if r.err == nil {
				i.current = r.stream
				i.cfg.Observer.Packed(r.stream, len(records), size, r.took)
				answer(nil)
				i.finish(results, inFlight, cancel)
				return
			}
			last = r.err
			i.complain(r.stream, len(records), r.err)
			if tried < len(i.busy) {
				i.cfg.Observer.Switched(r.stream)
			}
		case <-next:
			i.cfg.Observer.Switched((i.current + tried - 1) % len(i.busy))
		}
	}
	cancel()
	if last == nil {
		last = checkout.ErrTimeout
	}
	answer(last)
}

// complain says that a stream did not take a pack, once a second: while the store is
// away, every callback fails on every stream.
func (i *Intake) complain(stream, records int, err error) {
	if time.Since(i.said) < time.Second {
		i.unsaid++
		return
	}
	i.cfg.Logger.Warn("callbacks not stored", "stream", stream, "records", records, "unsaid", i.unsaid, "err", err)
	i.said, i.unsaid = time.Now(), 0
}

// finish lets appends that are still on their way come back by themselves: cancelling
// them would only make their outcome unknown. Their own deadline ends them.
func (i *Intake) finish(results <-chan result, inFlight int, cancel context.CancelFunc) {
	if inFlight == 0 {
		cancel()
		return
	}
	i.appends.Go(func() {
		defer cancel()
		for range inFlight {
			<-results
		}
	})
}

// reap notes the streams whose append has come back.
func (i *Intake) reap() {
	for {
		select {
		case s := <-i.freed:
			i.busy[s] = false
		default:
			return
		}
	}
}

// reapUntil waits for one of them.
func (i *Intake) reapUntil(until time.Time) bool {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case s := <-i.freed:
		i.busy[s] = false
		return true
	case <-t.C:
		return false
	}
}
