package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/checkout"
)

// watch hands stored changes to those who asked for them.
//
// A single engine has one writer, this process: the committer feeds it after the ack.
// With more replicas the leader republishes what a quorum has stored. Republished
// messages may be lost, but their sequences have no holes, so a hole is seen at the next
// one, or within a second by asking the leader for its last, and is read from the
// stream. What is lost then are only values that were replaced meanwhile.
type watch struct {
	b       *Broker
	changed chan change

	mu       sync.Mutex
	watchers atomic.Pointer[[]*watcher] // replaced whole, so that f may stop a watch
	done     chan struct{}              // closed when run ends

	seq       uint64        // the last one handed out; only run touches it after begin
	born      time.Time     // what clock counts from
	checkedAt atomic.Int64  // by clock: nothing was missing then; 0 = something may be
	heardAt   atomic.Int64  // by clock: a leader with a majority behind it answered
	hole      chan struct{} // asks run to look now
	changes   atomic.Uint64
	gaps      atomic.Uint64
}

type watcher struct {
	prefix string
	f      func(checkout.Entry)
}

type change struct {
	entry checkout.Entry
	due   bool // not a state, but its sequence counts
}

func newWatch(b *Broker) *watch {
	// An hour ago is long ago: 0 means "never".
	w := &watch{b: b, changed: make(chan change, 8192), hole: make(chan struct{}, 1), done: make(chan struct{}), born: time.Now().Add(-time.Hour)}
	w.watchers.Store(&[]*watcher{})
	return w
}

// Watch calls f with every stored change of a key that begins with prefix, made by any
// replica, in the order in which they were stored. f is called from one goroutine and
// must not block; it may be called once more after stop. After a break in the connection to other replicas f gets the newest
// value of what changed, not every value between.
func (b *Broker) Watch(prefix string, f func(checkout.Entry)) (stop func()) {
	w := &watcher{prefix, f}
	b.watch.replace(func(list []*watcher) []*watcher { return append(slices.Clone(list), w) })
	return func() {
		b.watch.replace(func(list []*watcher) []*watcher {
			return slices.DeleteFunc(slices.Clone(list), func(x *watcher) bool { return x == w })
		})
	}
}

func (w *watch) replace(f func([]*watcher) []*watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := f(*w.watchers.Load())
	w.watchers.Store(&list)
}

// changedHere is called by the committer with each write it has stored.
func (b *Broker) changedHere(w *checkout.Write, version uint64) {
	e := checkout.Entry{Key: w.Key, Value: w.Value, Version: version}
	if w.At > 0 || w.TTL > 0 {
		// The key goes away by itself; an expectation of 0 may be right again.
		b.known.forget(w.Key)
	} else {
		b.known.note(w.Key, version)
		if strings.HasPrefix(w.Key, cached) {
			b.cache.changed(e, true)
		}
	}
	if b.mode == single {
		select {
		case b.watch.changed <- change{entry: e}:
		case <-b.watch.done:
		}
	}
}

func (w *watch) emit(e checkout.Entry) {
	w.changes.Add(1)
	for _, x := range *w.watchers.Load() {
		if strings.HasPrefix(e.Key, x.prefix) {
			x.f(e)
		}
	}
}

// subscribe starts listening to what the leader republishes, before begin says from
// which sequence on it counts.
func (w *watch) subscribe() error {
	_, err := w.b.nc.Subscribe(changedPrefix+"checkout.>", func(m *nats.Msg) {
		seq, err := parseSequence(m.Header.Get(jetstream.SequenceHeader))
		if err != nil {
			return
		}
		key, state := strings.CutPrefix(m.Subject, changedPrefix+statePrefix)
		c := change{entry: checkout.Entry{Key: key, Value: m.Data, Version: seq}, due: !state}
		select {
		case w.changed <- c:
		default: // a hole; it will be seen
		}
	})
	if err == nil {
		_, err = w.b.nc.Subscribe(changedPrefix+"callbacks.*", func(*nats.Msg) { w.b.wake.all() })
	}
	return err
}

// begin takes the stream's present end as the start; called before run sees anything.
func (w *watch) begin(ctx context.Context) error {
	info, err := w.b.streamInfo(ctx, stateStream)
	if err != nil {
		return err
	}
	if !quorate(info) {
		return fmt.Errorf("the other replicas do not answer: %w", checkout.ErrUnavailable)
	}
	w.seq = info.State.LastSeq
	w.checkedAt.Store(int64(w.clock()))
	w.heardAt.Store(int64(w.clock()))
	w.b.cache.turn(true)
	return nil
}

const (
	// staleAfter is how long the leader may be silent before nothing from the cache is
	// believed any more, and whoever asks is told so at once instead of kept waiting. Most
	// elections (4 to 9 s) are over by then or shortly after.
	staleAfter = 6 * time.Second
	// checkEvery is how often it is asked.
	checkEvery = time.Second
)

// clock runs evenly, whatever is done to the time of day: a replica whose clock is put
// back must not take old news for new.
func (w *watch) clock() time.Duration { return time.Since(w.born) }

func (w *watch) synced() bool {
	return w.clock()-time.Duration(w.checkedAt.Load()) < staleAfter
}

// silent is how long no leader with a majority behind it has answered.
func (w *watch) silent() time.Duration {
	return w.clock() - time.Duration(w.heardAt.Load())
}

// Silent is how long this replica has heard of no leader with a majority behind it, and
// therefore perhaps of no change; a single engine is its own.
func (b *Broker) Silent() time.Duration {
	if b.mode == single {
		return 0
	}
	return b.watch.silent()
}

func (w *watch) lost() {
	w.checkedAt.Store(0)
	select {
	case w.hole <- struct{}{}:
	default:
	}
}

func (w *watch) run(ctx context.Context) {
	defer close(w.done)
	if w.b.mode == single {
		for {
			select {
			case c := <-w.changed:
				w.emit(c.entry)
			case <-ctx.Done():
				return
			}
		}
	}
	select {
	case <-w.b.started:
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case c := <-w.changed:
			w.take(ctx, c)
		case <-w.hole:
			w.check(ctx)
		case <-tick.C:
			w.check(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// take handles one republished message.
func (w *watch) take(ctx context.Context, c change) {
	seq := c.entry.Version
	switch {
	case seq <= w.seq:
		return
	case seq > w.seq+1:
		if !w.fill(ctx, seq-1) {
			return // not all is known yet; the next look brings this one too
		}
	}
	w.seq = seq
	if !c.due {
		w.apply(c.entry)
	}
}

func (w *watch) apply(e checkout.Entry) {
	if strings.HasPrefix(e.Key, cached) {
		w.b.cache.changed(e, false)
	}
	w.emit(e)
}

// fill asks the leader for what is stored behind the last known sequence, up to one that
// is known to exist. When the leader does not answer, the rest is left to the next look.
func (w *watch) fill(ctx context.Context, until uint64) bool {
	if w.seq < until {
		w.gaps.Add(1)
	}
	for w.seq < until {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		m, err := w.b.leaderGet(call, map[string]any{"seq": w.seq + 1, "next_by_subj": statePrefix + ">"})
		cancel()
		if errors.Is(err, checkout.ErrNotFound) {
			w.seq = until
			return true
		}
		if err != nil {
			w.checkedAt.Store(0)
			return false
		}
		if m.Sequence > until {
			// What follows is on its way, or is seen at the next look.
			w.seq = until
			return true
		}
		w.seq = m.Sequence
		w.apply(m.entry(strings.TrimPrefix(m.Subject, statePrefix)))
	}
	return true
}

// check asks the leader for its last sequence. While it does not answer, other replicas'
// changes may be missing, so the cache is not used.
func (w *watch) check(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, askAgain)
	info, err := w.b.streamInfo(call, stateStream)
	cancel()
	if err != nil || !quorate(info) {
		if !w.synced() {
			w.b.cache.turn(false)
		}
		return
	}
	w.heardAt.Store(int64(w.clock()))
	if info.State.LastSeq > w.seq {
		// What is under way needs no look into the stream.
		for drained := false; !drained; {
			select {
			case c := <-w.changed:
				w.take(ctx, c)
			default:
				drained = true
			}
		}
		if !w.fill(ctx, info.State.LastSeq) {
			return
		}
	}
	if !w.synced() {
		w.b.cache.turn(false)
	}
	w.checkedAt.Store(int64(w.clock()))
	w.b.cache.turn(true)
}

// quorate tells whether a leader has heard of the other nodes. One that is cut off goes on
// calling itself leader for a while, and would show what was, not what is. Then it knows
// of no leader, answers all the same, and calls the others active: it has forgotten when
// it heard of them.
func quorate(info *jetstream.StreamInfo) bool {
	if info.Cluster == nil {
		return true
	}
	if info.Cluster.Leader == "" {
		return false
	}
	alive := 1
	for _, p := range info.Cluster.Replicas {
		if !p.Offline && p.Active < staleAfter {
			alive++
		}
	}
	return 2*alive > len(info.Cluster.Replicas)+1
}

func parseSequence(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) }

// wake wakes whoever waits for a callback to be stored.
type wake struct {
	mu sync.Mutex
	ch chan struct{}
}

func (w *wake) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ch == nil {
		w.ch = make(chan struct{})
	}
	return w.ch
}

func (w *wake) all() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ch != nil {
		close(w.ch)
		w.ch = nil
	}
}
