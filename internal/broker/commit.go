package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"wzrdcheckout/internal/checkout"
)

const (
	// MaxWrites is the most writes one commit may have; the engine takes 1,000 messages
	// in one atomic batch.
	MaxWrites = 900

	groupWrites = 500     // a group takes no further commit beyond this
	groupBytes  = 4 << 20 // nor beyond this
	queueLen    = 4096    // commits that may wait
	queueBytes  = 64 << 20

	maxTTL = 100 * 365 * 86400
	maxAt  = 253_402_300_799 // the end of the year 9999

	// tryTimeout is how long one try waits for its ack. A lost ack is asked for again
	// with the same id, so a short wait costs nothing but the repeat; in a cluster a new
	// leader must be found soon, on one node a slow disk must not be asked twice.
	tryTimeoutSingle = 10 * time.Second
	tryTimeoutShared = 2 * time.Second

	// codes of the engine
	codeWrongLastSequence         = 10071
	codeWrongLastSequenceConstant = 10164
	codeBatchDuplicate            = 10201
)

// commit is one caller's commit on its way.
type commit struct {
	ctx      context.Context
	deadline time.Time
	writes   []checkout.Write
	bytes    int
	done     chan struct{}
	versions []uint64
	err      error
}

func (c *commit) finish(versions []uint64, err error) {
	c.versions, c.err = versions, err
	close(c.done)
}

// committer packs the commits that wait into one atomic batch after another. There is
// one, and one batch at a time: the sync of the batch before is the time in which the
// next one fills.
type committer struct {
	b     *Broker
	queue chan *commit
	bytes atomic.Int64

	mu      sync.RWMutex // held while queueing, so that close misses nobody
	closed  bool
	drained chan struct{}

	commits, groups, conflicts, retries atomic.Uint64
}

func newCommitter(b *Broker) *committer {
	return &committer{b: b, queue: make(chan *commit, queueLen), drained: make(chan struct{})}
}

// Commit stores all writes or none, and returns when they are durable, with their
// versions. ErrConflict: a key has not the version it was expected to have. ErrTimeout:
// the outcome is not known. ErrUnavailable: nothing was stored.
func (b *Broker) Commit(ctx context.Context, writes ...checkout.Write) ([]uint64, error) {
	if b.closing.Load() {
		return nil, fmt.Errorf("commit: store is closing: %w", checkout.ErrUnavailable)
	}
	return b.commit(ctx, writes)
}

func (b *Broker) commit(ctx context.Context, writes []checkout.Write) ([]uint64, error) {
	if err := b.opened(); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if b.full.Load() {
		return nil, fmt.Errorf("commit: %w", errDiskFull)
	}
	if err := b.led(); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	c := &commit{ctx: ctx, writes: writes, done: make(chan struct{})}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if limit := b.nc.MaxPayload() - 4096; limit > 0 {
		for i := range writes {
			if int64(len(writes[i].Value)) > limit {
				return nil, fmt.Errorf("commit: %w: %s has %d bytes, the engine takes %d", checkout.ErrTooLarge, writes[i].Key, len(writes[i].Value), limit)
			}
		}
	}
	c.deadline = time.Now().Add(b.cfg.CommitTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(c.deadline) {
		c.deadline = d
	}
	if err := b.committer.push(c); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	// The committer always answers, at the latest some time after the deadline; a caller
	// whose context ends does not wait for that.
	select {
	case <-c.done:
	case <-ctx.Done():
		select {
		case <-c.done:
		default:
			return nil, fmt.Errorf("commit: %w: %w", checkout.ErrTimeout, ctx.Err())
		}
	}
	if c.err != nil {
		return nil, fmt.Errorf("commit %s: %w", writes[0].Key, c.err)
	}
	return c.versions, nil
}

func (c *commit) check() error {
	if len(c.writes) == 0 {
		return fmt.Errorf("%w: no writes", checkout.ErrInvalid)
	}
	if len(c.writes) > MaxWrites {
		return fmt.Errorf("%w: %d writes", checkout.ErrTooLarge, len(c.writes))
	}
	seen := make(map[string]struct{}, len(c.writes))
	for i := range c.writes {
		w := &c.writes[i]
		if err := checkKey(w.Key); err != nil {
			return err
		}
		if _, twice := seen[w.Key]; twice {
			return fmt.Errorf("%w: key %s twice", checkout.ErrInvalid, w.Key)
		}
		seen[w.Key] = struct{}{}
		if len(w.Value) > maxValue {
			return fmt.Errorf("%w: %s has %d bytes", checkout.ErrTooLarge, w.Key, len(w.Value))
		}
		if w.TTL < 0 || w.TTL > maxTTL || w.At < 0 || w.At > maxAt {
			return fmt.Errorf("%w: %s has an impossible time", checkout.ErrInvalid, w.Key)
		}
		c.bytes += len(w.Key) + len(w.Value) + overhead
	}
	return nil
}

func (q *committer) push(c *commit) error {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return fmt.Errorf("store is closing: %w", checkout.ErrUnavailable)
	}
	if q.bytes.Add(int64(c.bytes)) > queueBytes {
		q.bytes.Add(-int64(c.bytes))
		return fmt.Errorf("too much waits for the disk: %w", checkout.ErrUnavailable)
	}
	select {
	case q.queue <- c:
		return nil
	default:
		q.bytes.Add(-int64(c.bytes))
		return fmt.Errorf("too much waits for the disk: %w", checkout.ErrUnavailable)
	}
}

// close takes nothing new and waits until what was taken is answered.
func (q *committer) close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.queue)
	}
	q.mu.Unlock()
	select {
	case <-q.drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("finish commits: %w: %w", checkout.ErrTimeout, ctx.Err())
	}
}

func (q *committer) run(ctx context.Context) {
	defer close(q.drained)
	var later []*commit // they touch a key that the group before them wrote
	for {
		group, rest, open := q.gather(ctx, later)
		later = rest
		if len(group) > 0 {
			q.store(ctx, group)
		}
		if (!open && len(later) == 0) || ctx.Err() != nil {
			break
		}
	}
	for _, c := range later {
		c.finish(nil, fmt.Errorf("store is closing: %w", checkout.ErrUnavailable))
	}
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.queue)
	}
	q.mu.Unlock()
	for c := range q.queue {
		q.bytes.Add(-int64(c.bytes))
		c.finish(nil, fmt.Errorf("store is closing: %w", checkout.ErrUnavailable))
	}
}

// gather takes what waits, up to the limits of a group. A commit that touches a key
// which the group, or a commit put off before it, touches too is put off: the engine
// can not check two expectations of one key in one batch.
func (q *committer) gather(ctx context.Context, later []*commit) (group, rest []*commit, open bool) {
	var writes, bytes int
	touched := map[string]struct{}{}
	now := time.Now()
	take := func(c *commit) (full bool) {
		if now.After(c.deadline) || c.ctx.Err() != nil {
			c.finish(nil, fmt.Errorf("waited too long for the disk: %w", checkout.ErrUnavailable))
			return false
		}
		clash := len(group) > 0 && (writes+len(c.writes) > MaxWrites || bytes+c.bytes > 2*groupBytes)
		for i := range c.writes {
			if _, ok := touched[c.writes[i].Key]; ok {
				clash = true
			}
		}
		for i := range c.writes {
			touched[c.writes[i].Key] = struct{}{}
		}
		if clash {
			rest = append(rest, c)
		} else if q.b.known.refuses(c.writes) {
			q.conflicts.Add(1)
			c.finish(nil, checkout.ErrConflict)
		} else {
			group = append(group, c)
			writes += len(c.writes)
			bytes += c.bytes
		}
		return writes >= groupWrites || bytes >= groupBytes || len(rest) >= queueLen/4
	}
	for i, c := range later {
		if take(c) {
			return group, append(rest, later[i+1:]...), true
		}
	}
	if len(group) == 0 && len(rest) == 0 {
		select {
		case c, ok := <-q.queue:
			if !ok {
				return nil, nil, false
			}
			q.bytes.Add(-int64(c.bytes))
			now = time.Now()
			if take(c) {
				return group, rest, true
			}
		case <-ctx.Done():
			return nil, nil, false
		}
	}
	for {
		select {
		case c, ok := <-q.queue:
			if !ok {
				return group, rest, false
			}
			q.bytes.Add(-int64(c.bytes))
			if take(c) {
				return group, rest, true
			}
		default:
			return group, rest, true
		}
	}
}

// attempt is one group under one id: however often it is sent, it is stored once.
type attempt struct {
	id      string
	batches map[string]bool // the batch ids it was sent under
	unknown bool            // a try was sent and not answered
	tries   int
}

// store brings a group to its end: every commit of it gets its answer.
func (q *committer) store(ctx context.Context, group []*commit) {
	at := &attempt{id: token(12), batches: map[string]bool{}}
	for len(group) > 0 {
		first, err := q.try(ctx, at, group)
		at.tries++
		if err == nil {
			q.stored(group, first)
			return
		}
		q.retries.Add(1)
		refusal := refused(err)
		if at.unknown && (refusal == staleRefusal || refusal == duplicateRefusal) {
			// Perhaps it is our own earlier try that is in the way.
			seq, found, lookErr := q.trace(ctx, at, group)
			if found {
				q.stored(group, seq)
				return
			}
			if lookErr != nil {
				refusal = noRefusal
			} else if refusal == duplicateRefusal {
				// Stored, and every key written again since by another replica: the
				// versions are history, so what is handed out conflicts if it is used.
				q.stored(group, 0)
				return
			}
		}
		switch refusal {
		case staleRefusal:
			stale, lookErr := q.stale(ctx, group, at.tries)
			if lookErr == nil && len(stale) > 0 {
				kept := group[:0:0]
				for _, c := range group {
					if stale[c] {
						q.conflicts.Add(1)
						c.finish(nil, checkout.ErrConflict)
					} else {
						kept = append(kept, c)
					}
				}
				group = kept
				at = &attempt{id: token(12), batches: map[string]bool{}}
				continue
			}
		case badRefusal:
			// Perhaps it passes (a leader changed half-way); perhaps one commit is to blame,
			// and then only that one may suffer.
			if at.tries >= 3 && !at.unknown {
				if len(group) > 1 {
					for _, c := range group {
						q.store(ctx, []*commit{c})
					}
				} else {
					group[0].finish(nil, fmt.Errorf("%w: %w", checkout.ErrUnavailable, err))
				}
				return
			}
		case otherRefusal:
		case noRefusal:
			at.unknown = true
		case duplicateRefusal:
		}
		if !q.wait(ctx, group, at.tries) {
			// Before giving up, one look whether it got in after all.
			if at.unknown {
				look, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				seq, found, _ := q.trace(look, at, group)
				cancel()
				if found {
					q.stored(group, seq)
					return
				}
			}
			if at.unknown {
				err = fmt.Errorf("%w: %w", checkout.ErrTimeout, err)
			} else if err = kind(err); !errors.Is(err, checkout.ErrUnavailable) {
				err = fmt.Errorf("%w: %w", checkout.ErrUnavailable, err)
			}
			for _, c := range group {
				c.finish(nil, err)
			}
			return
		}
	}
}

// wait sleeps before the next try; false when every commit's time is over.
func (q *committer) wait(ctx context.Context, group []*commit, tries int) bool {
	var end time.Time
	for _, c := range group {
		if c.deadline.After(end) {
			end = c.deadline
		}
	}
	pause := min(time.Duration(tries)*20*time.Millisecond, 500*time.Millisecond)
	if time.Until(end) <= pause || q.b.led() != nil {
		return false
	}
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// stored answers a group whose messages have the sequences from first on.
func (q *committer) stored(group []*commit, first uint64) {
	q.groups.Add(1)
	q.commits.Add(uint64(len(group)))
	seq := first
	for _, c := range group {
		versions := make([]uint64, len(c.writes))
		for i := range c.writes {
			w := &c.writes[i]
			versions[i] = seq
			if seq > 0 {
				q.b.changedHere(w, seq)
				seq++
			}
		}
		c.finish(versions, nil)
	}
}

// try sends the group once and returns the sequence of its first message.
func (q *committer) try(ctx context.Context, at *attempt, group []*commit) (uint64, error) {
	timeout := tryTimeoutShared
	if q.b.mode == single {
		timeout = tryTimeoutSingle
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	if len(group) == 1 && len(group[0].writes) == 1 {
		// One write alone needs no batch: one sync instead of about six.
		m := toMessage(&group[0].writes[0])
		m.Header.Set(jetstream.MsgIDHeader, at.id)
		ack, err := q.b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	}
	p, err := jetstreamext.NewBatchPublisher(q.b.js, jetstreamext.BatchFlowControl{})
	if err != nil {
		return 0, err
	}
	total := 0
	for _, c := range group {
		total += len(c.writes)
	}
	n := 0
	for _, c := range group {
		for i := range c.writes {
			m := toMessage(&c.writes[i])
			if n == 0 {
				m.Header.Set(jetstream.MsgIDHeader, at.id)
			}
			n++
			if n < total {
				if err := p.AddMsg(m); err != nil {
					return 0, err
				}
				if n == 1 {
					at.batches[m.Header.Get(jetstreamext.BatchIDHeader)] = true
				}
				continue
			}
			ack, err := p.CommitMsg(ctx, m)
			if err != nil {
				return 0, err
			}
			return ack.Sequence - uint64(total) + 1, nil
		}
	}
	return 0, errors.New("empty group")
}

func toMessage(w *checkout.Write) *nats.Msg {
	m := nats.NewMsg(statePrefix + w.Key)
	m.Data = w.Value
	if !w.Any {
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.Expect, 10))
	}
	if w.TTL > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(w.TTL, 10)+"s")
	}
	if w.At > 0 {
		m.Header.Set("Nats-Schedule", "@at "+time.Unix(w.At, 0).UTC().Format(time.RFC3339))
		m.Header.Set("Nats-Schedule-Target", duePrefix+w.Key)
		m.Header.Set("Nats-Schedule-TTL", strconv.FormatInt(dueTTL, 10)+"s")
	}
	return m
}

type refusal uint8

const (
	noRefusal        refusal = iota // nothing was said: the outcome is unknown
	otherRefusal                    // not stored: the engine is not up to it now
	badRefusal                      // not stored: the engine does not like what it got
	staleRefusal                    // not stored: an expectation is wrong, or its key is being written right now
	duplicateRefusal                // an earlier try of the same group was stored
)

func refused(err error) refusal {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		switch int(api.ErrorCode) {
		case codeWrongLastSequence, codeWrongLastSequenceConstant:
			return staleRefusal
		case codeBatchDuplicate:
			return duplicateRefusal
		}
		if api.Code >= 400 && api.Code < 500 {
			return badRefusal
		}
		return otherRefusal
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrMaxPayload):
		return otherRefusal
	}
	return noRefusal
}

// trace looks for an earlier try of the group in the store; first is the sequence of the
// group's first message.
func (q *committer) trace(ctx context.Context, at *attempt, group []*commit) (first uint64, found bool, err error) {
	n := uint64(0)
	for _, c := range group {
		for i := range c.writes {
			n++
			call, cancel := context.WithTimeout(ctx, callTimeout)
			m, err := q.b.last(call, c.writes[i].Key)
			cancel()
			if errors.Is(err, checkout.ErrNotFound) {
				continue
			}
			if err != nil {
				return 0, false, err
			}
			if m.Header.Get(jetstream.MsgIDHeader) == at.id || at.batches[m.Header.Get(jetstreamext.BatchIDHeader)] {
				return m.Sequence - (n - 1), true, nil
			}
		}
	}
	return 0, false, nil
}

// stale finds the commits of a refused group whose expectations are wrong. A version only
// grows, so a stored one above the expected is proof, whichever node tells it. One below
// may be a node that lags; the leader decides.
func (q *committer) stale(ctx context.Context, group []*commit, tries int) (map[*commit]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out := map[*commit]bool{}
	var subjects []string
	for _, c := range group {
		for i := range c.writes {
			if !c.writes[i].Any {
				subjects = append(subjects, statePrefix+c.writes[i].Key)
			}
		}
	}
	if len(subjects) == 0 {
		return out, nil
	}
	last := map[string]uint64{}
	msgs, err := jetstreamext.GetLastMsgsFor(ctx, q.b.js, stateStream, subjects)
	if err != nil {
		return nil, kind(err)
	}
	for m, err := range msgs {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, kind(err)
		}
		last[m.Subject] = m.Sequence
	}
	if ctx.Err() != nil {
		return nil, kind(ctx.Err())
	}
	for _, c := range group {
		for i := range c.writes {
			w := &c.writes[i]
			if w.Any {
				continue
			}
			have := last[statePrefix+w.Key]
			if have == w.Expect && tries < 4 {
				continue
			}
			if have <= w.Expect && q.b.mode != single {
				m, err := q.b.last(ctx, w.Key)
				if err != nil && !errors.Is(err, checkout.ErrNotFound) {
					return nil, err
				}
				have = m.Sequence
			}
			if have != w.Expect {
				out[c] = true
				if have > w.Expect {
					if w.TTL == 0 { // one that goes away by itself is not known for long
						q.b.known.note(w.Key, have)
					}
				}
				break
			}
		}
	}
	return out, nil
}

// versions remembers the newest version of keys lately written, so that a stale commit
// is refused without a batch having to be sent and taken apart. It forgets by dropping
// the older half.
type versions struct {
	mu       sync.Mutex
	now, old map[string]uint64
}

const knownKeys = 32768

func (v *versions) note(key string, version uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.now == nil || len(v.now) >= knownKeys {
		v.old, v.now = v.now, make(map[string]uint64)
	}
	if version > v.now[key] && version > v.old[key] {
		v.now[key] = version
	}
}

func (v *versions) forget(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.now, key)
	delete(v.old, key)
}

// refuses tells whether an expectation is certainly stale.
func (v *versions) refuses(writes []checkout.Write) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range writes {
		w := &writes[i]
		if !w.Any && max(v.now[w.Key], v.old[w.Key]) > w.Expect {
			return true
		}
	}
	return false
}
