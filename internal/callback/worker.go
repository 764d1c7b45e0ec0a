package callback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wzrdcheckout/internal/checkout"
)

// WorkerConfig is what a Worker needs; zero limits take the values in brackets.
type WorkerConfig struct {
	Log      Log
	Store    Store
	Leaser   Leaser
	Parser   Parser
	Applier  Applier
	Observer Observer     // nil: nobody hears
	Logger   *slog.Logger // nil: nothing is said

	// Busy tells that callbacks pour in, so that the worker had better wait: storing is
	// what somebody waits for, and both use one disk (nil: never).
	Busy func() bool

	Batch    int           // records handed over at once at most (1,000)
	Packs    int           // packs read at once (256)
	Hold     time.Duration // how long Busy may keep the worker waiting between two batches (500 ms)
	HoldLag  time.Duration // and not at all once the oldest record is of this age (2 s)
	LeaseTTL time.Duration // 8 s; how long a dead replica keeps the others from applying
	Timeout  time.Duration // of one commit (15 s)
}

func (c *WorkerConfig) validate() error {
	switch {
	case c.Log == nil:
		return errors.New("callback config: Log is missing")
	case c.Store == nil:
		return errors.New("callback config: Store is missing")
	case c.Leaser == nil:
		return errors.New("callback config: Leaser is missing")
	case c.Parser == nil:
		return errors.New("callback config: Parser is missing")
	case c.Applier == nil:
		return errors.New("callback config: Applier is missing")
	case c.Batch < 0 || c.Packs < 0 || c.Hold < 0 || c.HoldLag < 0 || c.LeaseTTL < 0 || c.Timeout < 0:
		return errors.New("callback config: Batch, Packs, Hold, HoldLag, LeaseTTL and Timeout must not be negative")
	}
	if c.Observer == nil {
		c.Observer = NoObserver{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Busy == nil {
		c.Busy = func() bool { return false }
	}
	c.Batch = or(c.Batch, 1000)
	c.Packs = or(c.Packs, 256)
	c.Hold = or(c.Hold, 500*time.Millisecond)
	c.HoldLag = or(c.HoldLag, 2*time.Second)
	c.LeaseTTL = or(c.LeaseTTL, 8*time.Second)
	c.Timeout = or(c.Timeout, 15*time.Second)
	return nil
}

const (
	// pauseMost is the longest pause after a failure; one that lasts is tried at this pace.
	pauseMost = 5 * time.Second
	// poisonAfter is how often a single record may fail for a reason of its own before it
	// is kept for the operator instead, so that it does not stop the others.
	poisonAfter = 5
	// trimEvery is how often the log is told what may go.
	trimEvery = time.Minute
)

// Worker applies what the intake has stored, stream by stream. Where it begins is what
// the state itself says, not what a consumer remembers: the two could disagree after a
// crash, and the state is what counts.
type Worker struct {
	cfg    WorkerConfig
	ctx    context.Context //nolint:containedctx // ends with Stop, not with a call
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	lag    []atomic.Int64 // nanoseconds, per stream
	done   []time.Time    // when a stream's last batch was applied; only its run uses it
}

// NewWorker checks the configuration; Start begins to apply.
func NewWorker(cfg WorkerConfig) (*Worker, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := cfg.Log.Streams()
	w := &Worker{cfg: cfg, lag: make([]atomic.Int64, n), done: make([]time.Time, n)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w, nil
}

// Start begins to apply, one goroutine per stream.
func (w *Worker) Start() {
	w.once.Do(func() {
		for stream := range w.cfg.Log.Streams() {
			w.wg.Go(func() { w.run(stream) })
		}
	})
}

// Stop ends the work after the commit under way and waits for it, or for ctx.
func (w *Worker) Stop(ctx context.Context) error {
	w.once.Do(func() {})
	w.cancel()
	done := make(chan struct{})
	go func() {
		w.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop worker: %w", ctx.Err())
	}
}

// Lag is how old the oldest stored record is that this replica still has to apply.
func (w *Worker) Lag() time.Duration {
	var most int64
	for i := range w.lag {
		most = max(most, w.lag[i].Load())
	}
	return time.Duration(most)
}

func (w *Worker) setLag(stream int, lag time.Duration) {
	lag = max(lag, 0)
	w.lag[stream].Store(int64(lag))
	w.cfg.Observer.Lag(stream, lag)
}

// cursor is how far a stream is applied: every pack up to seq, and the first part
// records of the next one there is.
type cursor struct {
	seq     uint64
	part    int
	version uint64 // of the entry it was read from, 0 = none yet
}

// CursorKey is where the state keeps the cursor of a stream. Its value is the sequence
// of the last pack that is applied whole, "+" and a number when the first so many
// records of the next sequence's pack are applied too.
func CursorKey(stream int) string { return "cursor.CALLBACKS_" + strconv.Itoa(stream) }

func (c cursor) String() string {
	s := strconv.FormatUint(c.seq, 10)
	if c.part > 0 {
		s += "+" + strconv.Itoa(c.part)
	}
	return s
}

func parseCursor(text string) (c cursor, err error) {
	seq, part, has := strings.Cut(text, "+")
	if c.seq, err = strconv.ParseUint(seq, 10, 64); err == nil && has {
		c.part, err = strconv.Atoi(part)
	}
	if err != nil || c.part < 0 {
		return cursor{}, fmt.Errorf("read cursor %q: not a sequence", text)
	}
	return c, nil
}

func (w *Worker) load(stream int) (cursor, error) {
	ctx, cancel := context.WithTimeout(w.ctx, w.cfg.Timeout)
	defer cancel()
	e, err := w.cfg.Store.Fresh(ctx, CursorKey(stream))
	if errors.Is(err, checkout.ErrNotFound) {
		return cursor{}, nil
	}
	if err != nil {
		return cursor{}, fmt.Errorf("read cursor: %w", err)
	}
	c, err := parseCursor(string(e.Value))
	c.version = e.Version
	return c, err
}

func (w *Worker) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.ctx.Done():
	}
}

func (w *Worker) run(stream int) {
	log := w.cfg.Logger.With("stream", stream)
	wait := 50 * time.Millisecond
	trimmed := time.Now()
	for w.ctx.Err() == nil {
		held, err := w.lease(stream)
		if err != nil || !held {
			if err != nil && w.ctx.Err() == nil {
				log.Debug("lease", "err", err)
			}
			w.setLag(stream, 0) // the replica that holds it tells
			w.pause(w.cfg.LeaseTTL / 5)
			continue
		}
		at, err := w.load(stream)
		if err == nil {
			at, err = w.follow(stream, at)
		}
		if err == nil {
			wait = 50 * time.Millisecond
			if time.Since(trimmed) > trimEvery {
				trimmed = time.Now()
				w.trim(stream, at.seq)
			}
			continue
		}
		if w.ctx.Err() != nil {
			return
		}
		log.Warn("callbacks wait to be applied", "err", err)
		w.cfg.Observer.Retried(stream, "store")
		w.pause(wait)
		wait = min(2*wait, pauseMost)
	}
}

func (w *Worker) lease(stream int) (bool, error) {
	ctx, cancel := context.WithTimeout(w.ctx, w.cfg.Timeout)
	defer cancel()
	return w.cfg.Leaser.Lease(ctx, "callbacks-"+strconv.Itoa(stream), w.cfg.LeaseTTL)
}

func (w *Worker) trim(stream int, applied uint64) {
	if applied == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, w.cfg.Timeout)
	defer cancel()
	if err := w.cfg.Log.Trim(ctx, stream, applied); err != nil {
		w.cfg.Logger.Warn("callbacks not trimmed", "stream", stream, "err", err)
	}
}

// stored is one record on its way from the log into the state.
type stored struct {
	seq    uint64 // of its pack
	index  int    // in its pack
	last   bool   // of its pack
	update checkout.Update
}

// follow reads what comes after the cursor, for about a third of the lease, and applies
// it. It returns early when another replica moved the cursor.
func (w *Worker) follow(stream int, at cursor) (cursor, error) {
	end := time.Now().Add(w.cfg.LeaseTTL / 3)
	for w.ctx.Err() == nil && time.Now().Before(end) {
		ctx, cancel := context.WithDeadline(w.ctx, end)
		packs, err := w.cfg.Log.Read(ctx, stream, at.seq+1, w.cfg.Packs)
		if err == nil && w.giveWay(stream, packs) {
			packs, err = w.cfg.Log.Read(ctx, stream, at.seq+1, w.cfg.Packs)
		}
		cancel()
		if err != nil {
			return at, fmt.Errorf("read callbacks: %w", err)
		}
		if len(packs) == 0 {
			w.setLag(stream, 0)
			continue
		}
		packs = w.share(packs)
		records := w.unpack(stream, packs, at)
		if len(records) == 0 {
			// Packs without a record that is left; the cursor moves with the next that has one.
			at = cursor{seq: packs[len(packs)-1].Seq, version: at.version}
			continue
		}
		moved, err := w.apply(stream, records, &at)
		if err != nil || moved {
			return at, err
		}
		if last := packs[len(packs)-1]; at.seq < last.Seq && len(last.Records) == 0 {
			at.seq, at.part = last.Seq, 0
		}
	}
	return at, nil
}

// giveWay waits while callbacks pour in and tells whether it did: more is there then, for
// one larger commit. The first of a burst are applied at once, because the last batch is
// long done; those behind them wait for a Hold, a batch of them is applied, and so on, until
// the burst ends or the oldest is HoldLag old: then there is no more waiting.
func (w *Worker) giveWay(stream int, packs []checkout.Pack) (waited bool) {
	if len(packs) == 0 || len(packs[0].Records) == 0 {
		return false
	}
	until := w.done[stream].Add(w.cfg.Hold)
	// ReceivedAt has whole seconds, so the bound is up to a second early, never late.
	if r, err := ParseRecord(packs[0].Records[0]); err != nil {
		return false
	} else if end := time.Unix(r.ReceivedAt, 0).Add(w.cfg.HoldLag); end.Before(until) {
		until = end
	}
	for w.ctx.Err() == nil && time.Now().Before(until) && w.cfg.Busy() {
		waited = true
		w.pause(5 * time.Millisecond)
	}
	return waited
}

// share gives the first packs, enough for one batch: between two of them the intake is
// looked after.
func (w *Worker) share(packs []checkout.Pack) []checkout.Pack {
	n := 0
	for i := range packs {
		if n += len(packs[i].Records); n >= w.cfg.Batch {
			return packs[:i+1]
		}
	}
	return packs
}

// unpack reads the records of packs, without those that the cursor says are applied.
func (w *Worker) unpack(stream int, packs []checkout.Pack, at cursor) []stored {
	var list []stored
	for _, p := range packs {
		skip := 0
		if p.Seq == at.seq+1 {
			skip = at.part
		}
		for i, data := range p.Records {
			if i < skip {
				continue
			}
			s := stored{seq: p.Seq, index: i, last: i == len(p.Records)-1, update: w.parse(data)}
			if s.update.Problem != "" {
				w.cfg.Observer.Unreadable(stream)
			}
			list = append(list, s)
		}
	}
	return list
}

func (w *Worker) parse(data []byte) (u checkout.Update) {
	r, err := ParseRecord(data)
	if err != nil {
		return checkout.Update{Raw: data, Problem: err.Error()}
	}
	u = checkout.Update{Mode: r.Mode, ReceivedAt: r.ReceivedAt, Raw: r.Body}
	defer func() {
		// A body that breaks the parser must not break the worker on every start.
		if p := recover(); p != nil {
			u.Invoice, u.Problem = checkout.Invoice{}, fmt.Sprintf("parser panics: %v", p)
		}
	}()
	if u.Invoice, err = w.cfg.Parser(r.Body); err != nil {
		u.Invoice, u.Problem = checkout.Invoice{}, err.Error()
	}
	return u
}

// apply hands the records over in batches. moved: another replica wrote the cursor.
func (w *Worker) apply(stream int, records []stored, at *cursor) (moved bool, err error) {
	size := w.cfg.Batch
	failures := 0 // in a row, of the batch at hand
	for len(records) > 0 && w.ctx.Err() == nil {
		if held, err := w.lease(stream); err != nil || !held {
			return true, err
		}
		n := min(size, len(records))
		w.setLag(stream, time.Since(time.Unix(records[0].update.ReceivedAt, 0)))
		begin := time.Now()
		err := w.hand(stream, records[:n], *at)
		if err == nil {
			w.cfg.Observer.Applied(stream, n, time.Since(begin))
		} else if w.ctx.Err() != nil {
			return false, err
		}
		// The state tells where we are, also when the outcome is not known.
		now, loadErr := w.load(stream)
		if loadErr != nil {
			return false, loadErr
		}
		next := after(records[n-1])
		if now.seq == next.seq && now.part == next.part {
			*at = now
			w.done[stream] = time.Now()
			records = records[n:]
			failures = 0
			size = min(2*size, w.cfg.Batch)
			continue
		}
		if now.version != at.version {
			return true, nil
		}
		*at = now
		if err == nil {
			return false, errors.New("apply callbacks: the cursor was not written")
		}
		failures++
		reason, own := why(err)
		w.cfg.Observer.Retried(stream, reason)
		switch {
		case n > 1 && (own || failures >= 2 && reason == "conflict" || reason == "timeout"):
			size = max(n/2, 1)
			if own {
				failures = 0
			}
		case n == 1 && own && failures >= poisonAfter:
			records[0].update.Invoice = checkout.Invoice{}
			records[0].update.Problem = "can not be applied: " + err.Error()
			w.cfg.Observer.Unreadable(stream)
			w.cfg.Logger.Error("a callback can not be applied and is kept for the operator", "stream", stream, "sequence", records[0].seq, "err", err)
		}
		if reason != "too_large" && reason != "conflict" || failures > 2 {
			w.pause(min(time.Duration(failures+1)*50*time.Millisecond, pauseMost))
		}
	}
	return false, nil
}

// why sorts a failure: own tells that the reason lies in the records, so that smaller
// batches may get past it.
func why(err error) (reason string, own bool) {
	switch {
	case errors.Is(err, checkout.ErrConflict):
		return "conflict", false
	case errors.Is(err, checkout.ErrTooLarge):
		return "too_large", true
	case errors.Is(err, checkout.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return "timeout", false
	case errors.Is(err, checkout.ErrUnavailable), errors.Is(err, checkout.ErrUpstream), errors.Is(err, checkout.ErrLimited):
		return "unavailable", false
	}
	return "failed", true
}

func after(s stored) cursor {
	if s.last {
		return cursor{seq: s.seq}
	}
	return cursor{seq: s.seq - 1, part: s.index + 1}
}

func (w *Worker) hand(stream int, records []stored, at cursor) (err error) {
	updates := make([]checkout.Update, len(records))
	for i := range records {
		updates[i] = records[i].update
	}
	next := after(records[len(records)-1])
	// Stop lets the commit under way finish.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), w.cfg.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("apply callbacks: panic: %v", p)
		}
	}()
	write := checkout.Write{Key: CursorKey(stream), Value: []byte(next.String()), Expect: at.version}
	if err := w.cfg.Applier.ApplyCallbacks(ctx, updates, write); err != nil {
		return fmt.Errorf("apply callbacks: %w", err)
	}
	return nil
}
