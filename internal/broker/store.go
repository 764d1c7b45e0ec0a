package broker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"wzrdcheckout/internal/checkout"
)

// askAgain is how long a leader has for one answer.
const askAgain = time.Second

// cached is the one prefix that is read far more often than written.
const cached = "session."

// Get reads the newest value of key that this replica knows. ErrNotFound when there is none.
func (b *Broker) Get(ctx context.Context, key string) (checkout.Entry, error) {
	if !strings.HasPrefix(key, cached) {
		return b.Fresh(ctx, key)
	}
	if e, ok := b.cache.get(key); ok {
		return e, nil
	}
	b.cache.reading(key)
	m, err := b.fresh(ctx, key)
	if err != nil || m.Header.Get(jetstream.MsgTTLHeader) != "" {
		// What goes away by itself is not kept here.
		b.cache.filled(key, nil)
		return m.entry(key), err
	}
	e := m.entry(key)
	b.cache.filled(key, &e)
	return e, nil
}

// Fresh reads key from the store, in a cluster from the stream's leader.
func (b *Broker) Fresh(ctx context.Context, key string) (checkout.Entry, error) {
	m, err := b.fresh(ctx, key)
	return m.entry(key), err
}

func (b *Broker) fresh(ctx context.Context, key string) (message, error) {
	if err := checkKey(key); err != nil {
		return message{}, err
	}
	if err := b.opened(); err != nil {
		return message{}, err
	}
	if err := b.led(); err != nil {
		return message{}, fmt.Errorf("read %s: %w", key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := b.last(ctx, key)
	if err != nil {
		return message{}, fmt.Errorf("read %s: %w", key, unread(err))
	}
	return m, nil
}

// unread makes a read that had no answer in time what it is for the caller: nothing
// happened, and it may be asked again.
func unread(err error) error {
	if errors.Is(err, checkout.ErrTimeout) && !errors.Is(err, checkout.ErrUnavailable) {
		return fmt.Errorf("%w: %w", checkout.ErrUnavailable, err)
	}
	return err
}

// message is a stored message as the engine hands it out.
type message struct {
	Subject  string
	Sequence uint64
	Header   nats.Header
	Data     []byte
}

func (m message) entry(key string) checkout.Entry {
	if m.Sequence == 0 {
		return checkout.Entry{}
	}
	return checkout.Entry{Key: key, Value: m.Data, Version: m.Sequence}
}

// last reads the last message of key. One node is asked directly; among several only
// the leader knows for sure.
func (b *Broker) last(ctx context.Context, key string) (message, error) {
	if b.mode == single {
		m, err := b.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stateStream+"."+statePrefix+key, nil)
		if err != nil {
			return message{}, kind(err)
		}
		switch m.Header.Get("Status") {
		case "":
		case "404":
			return message{}, checkout.ErrNotFound
		default:
			return message{}, fmt.Errorf("%w: engine says %s", checkout.ErrUnavailable, m.Header.Get("Description"))
		}
		seq, err := parseSequence(m.Header.Get(jetstream.SequenceHeader))
		if err != nil {
			return message{}, err
		}
		return message{statePrefix + key, seq, m.Header, m.Data}, nil
	}
	return b.leaderGet(ctx, map[string]any{"last_by_subj": statePrefix + key})
}

// leaderGet asks the leader of the state stream for one message. A direct read is
// answered by any node, which may lag.
func (b *Broker) leaderGet(ctx context.Context, request map[string]any) (message, error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Hdrs    string `json:"hdrs"`
			Data    string `json:"data"`
		} `json:"message"`
	}
	// A question that no leader heard is not answered when there is one again, so it is
	// asked anew.
	for {
		call, cancel := context.WithTimeout(ctx, askAgain)
		err := b.api(call, "STREAM.MSG.GET."+stateStream, request, &answer)
		again := errors.Is(err, checkout.ErrTimeout) && call.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil {
			break
		}
		if !again {
			return message{}, err
		}
	}
	if answer.Error != nil {
		return message{}, kind(answer.Error)
	}
	if answer.Message == nil {
		return message{}, fmt.Errorf("%w: empty answer", checkout.ErrUnavailable)
	}
	out := message{Subject: answer.Message.Subject, Sequence: answer.Message.Seq}
	var err error
	if out.Data, err = base64.StdEncoding.DecodeString(answer.Message.Data); err != nil {
		return message{}, fmt.Errorf("decode value: %w", err)
	}
	if answer.Message.Hdrs != "" {
		raw, err := base64.StdEncoding.DecodeString(answer.Message.Hdrs)
		if err == nil {
			out.Header, err = nats.DecodeHeadersMsg(raw)
		}
		if err != nil {
			return message{}, fmt.Errorf("decode headers: %w", err)
		}
	}
	return out, nil
}

// List gives the entries whose key begins with prefix, whole words ("event." or
// "event.cs_a."), in the order in which they were last written, those after a version.
func (b *Broker) List(ctx context.Context, prefix string, after uint64, limit int) ([]checkout.Entry, error) {
	if err := b.opened(); err != nil {
		return nil, err
	}
	if !strings.HasSuffix(prefix, ".") || checkKey(strings.TrimSuffix(prefix, ".")) != nil {
		return nil, fmt.Errorf("list %q: %w: a prefix is whole words with a dot at the end", prefix, checkout.ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	if err := b.led(); err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	list, err := b.scan(ctx, statePrefix+prefix+">", after+1, limit)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, unread(err))
	}
	return list, nil
}

// scan reads stored entries of the state stream from a sequence on.
func (b *Broker) scan(ctx context.Context, subject string, from uint64, limit int) ([]checkout.Entry, error) {
	var list []checkout.Entry
	for len(list) < limit {
		n := 0
		for m, err := range b.batch(ctx, stateStream, subject, from, min(limit-len(list), 500)) {
			if err != nil {
				return nil, err
			}
			n++
			from = m.Sequence + 1
			list = append(list, checkout.Entry{Key: strings.TrimPrefix(m.Subject, statePrefix), Value: m.Data, Version: m.Sequence})
		}
		if n == 0 {
			break
		}
	}
	return list, nil
}

// batchBytes bounds what one answer to batch brings into memory.
const batchBytes = 8 << 20

// batch reads up to n messages of a stream from a sequence on; none is no error.
func (b *Broker) batch(ctx context.Context, stream, subject string, from uint64, n int) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		seq, err := jetstreamext.GetBatch(ctx, b.js, stream, n, jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchMaxBytes(batchBytes))
		if err != nil {
			yield(nil, kind(err))
			return
		}
		got := false
		for m, err := range seq {
			switch {
			case errors.Is(err, jetstreamext.ErrNoMessages):
				return
			case err != nil:
				// A batch that ends early is still a batch; nothing at all is an error.
				if !got {
					yield(nil, kind(err))
				}
				return
			}
			got = true
			if !yield(m, nil) {
				return
			}
		}
		if !got && ctx.Err() != nil {
			yield(nil, kind(ctx.Err()))
		}
	}
}

func (b *Broker) opened() error {
	if p := b.fatal.Load(); p != nil {
		return fmt.Errorf("%w: %w", checkout.ErrUnavailable, *p)
	}
	if !b.ready.Load() {
		return fmt.Errorf("store is not ready: %w", checkout.ErrUnavailable)
	}
	return nil
}

// led refuses at once when this replica has known for a while that it sees no leader with
// a majority behind it: nobody should be kept waiting for what can not be.
func (b *Broker) led() error {
	if b.mode == single || b.watch.silent() < staleAfter {
		return nil
	}
	return fmt.Errorf("the other replicas or the engine do not answer: %w", checkout.ErrUnavailable)
}

// checkKey keeps wildcards and blanks out of subjects.
func checkKey(key string) error {
	word := 0
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			word++
			continue
		case c == '.' && word > 0:
			word = 0
			continue
		}
		return fmt.Errorf("key %q: %w", key, checkout.ErrInvalid)
	}
	if word == 0 || len(key) > 200 {
		return fmt.Errorf("key %q: %w", key, checkout.ErrInvalid)
	}
	return nil
}

// lease is what this process knows of one name.
type lease struct {
	sync.Mutex
	version uint64    // of the entry last seen or written
	mine    bool      // this process wrote it
	seen    time.Time // when that version was first seen, or written
}

type leaseValue struct {
	Holder string `json:"holder"` // empty = given back
}

// Lease tells whether this replica is the one that does name's work for the next ttl; ask
// again before it ends to keep it. A holder is succeeded when its entry has not changed
// for ttl by the successor's own clock, so clocks need not agree. Correctness must not
// rest on it: a holder that slept may believe a moment too long. A single engine has no
// rivals, and holds at once.
func (b *Broker) Lease(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	if err := b.opened(); err != nil {
		return false, err
	}
	if b.closing.Load() {
		return false, fmt.Errorf("store is closing: %w", checkout.ErrUnavailable)
	}
	if b.mode == single {
		return true, nil
	}
	b.leases.Lock()
	l := b.leases.byName[name]
	if l == nil {
		l = &lease{}
		b.leases.byName[name] = l
	}
	b.leases.Unlock()

	l.Lock()
	defer l.Unlock()
	now := time.Now()
	if l.mine && now.Sub(l.seen) < ttl/3 {
		return true, nil
	}
	key := "lease." + name
	if !l.mine {
		e, err := b.Fresh(ctx, key)
		var v leaseValue
		switch {
		case errors.Is(err, checkout.ErrNotFound):
			l.version = 0
		case err != nil:
			return false, err
		default:
			if err := json.Unmarshal(e.Value, &v); err != nil {
				v.Holder = "" // not ours to read: anybody's
			}
			if e.Version != l.version {
				l.version, l.seen = e.Version, now
			}
			if v.Holder != "" && v.Holder != b.id && now.Sub(l.seen) < ttl {
				return false, nil
			}
		}
	}
	value, err := json.Marshal(leaseValue{Holder: b.id})
	if err != nil {
		return false, fmt.Errorf("encode lease: %w", err)
	}
	versions, err := b.Commit(ctx, checkout.Write{Key: key, Value: value, Expect: l.version})
	if err != nil {
		still := l.mine && now.Sub(l.seen) < ttl && !errors.Is(err, checkout.ErrConflict)
		if !still {
			l.mine = false
		}
		if errors.Is(err, checkout.ErrConflict) {
			return false, nil
		}
		return still, err
	}
	l.version, l.mine, l.seen = versions[0], true, now
	return true, nil
}

func (b *Broker) releaseLeases(ctx context.Context) {
	b.leases.Lock()
	defer b.leases.Unlock()
	for name, l := range b.leases.byName {
		l.Lock()
		if l.mine {
			l.mine = false
			if _, err := b.commit(ctx, []checkout.Write{{Key: "lease." + name, Value: []byte(`{"holder":""}`), Expect: l.version}}); err != nil {
				b.log.Debug("lease not given back", "name", name, "err", err)
			}
		}
		l.Unlock()
	}
}
