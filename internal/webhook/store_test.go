package webhook_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wzrdcheckout/internal/checkout"
)

// memory is the store in memory: one version for all keys, compare-and-set, watches and
// leases. Every replica has its own view of it.
type memory struct {
	mu      sync.Mutex
	version uint64
	entries map[string]checkout.Entry
	watches map[int]watch
	next    int
	holder  string
	until   time.Time
}

type watch struct {
	prefix string
	f      func(checkout.Entry)
}

func newMemory() *memory {
	return &memory{entries: map[string]checkout.Entry{}, watches: map[int]watch{}}
}

// replica is one replica's way to the store. refuse, if set, may fail a commit.
type replica struct {
	*memory
	name   string
	refuse func(writes []checkout.Write) error

	lists []uint64 // the "after" of every List of events
	down  bool     // can not reach the store
}

func (m *memory) replica(name string) *replica { return &replica{memory: m, name: name} }

func (r *replica) Get(_ context.Context, key string) (checkout.Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return checkout.Entry{}, checkout.ErrUnavailable
	}
	e, ok := r.entries[key]
	if !ok {
		return checkout.Entry{}, fmt.Errorf("get %s: %w", key, checkout.ErrNotFound)
	}
	return e, nil
}

func (r *replica) Fresh(ctx context.Context, key string) (checkout.Entry, error) {
	return r.Get(ctx, key)
}

func (r *replica) Commit(_ context.Context, writes ...checkout.Write) ([]uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, checkout.ErrUnavailable
	}
	if r.refuse != nil {
		if err := r.refuse(writes); err != nil {
			return nil, err
		}
	}
	for _, w := range writes {
		if !w.Any && r.entries[w.Key].Version != w.Expect {
			return nil, fmt.Errorf("commit %s: %w", w.Key, checkout.ErrConflict)
		}
	}
	var versions []uint64
	for _, w := range writes {
		r.version++
		e := checkout.Entry{Key: w.Key, Value: w.Value, Version: r.version}
		r.entries[w.Key] = e
		versions = append(versions, r.version)
		for _, watch := range r.watches {
			if strings.HasPrefix(w.Key, watch.prefix) {
				go watch.f(e)
			}
		}
	}
	return versions, nil
}

func (r *replica) List(_ context.Context, prefix string, after uint64, limit int) ([]checkout.Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, checkout.ErrUnavailable
	}
	if prefix == "event." {
		r.lists = append(r.lists, after)
	}
	var out []checkout.Entry
	for key, e := range r.entries {
		if strings.HasPrefix(key, prefix) && e.Version > after {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b checkout.Entry) int { return cmp.Compare(a.Version, b.Version) })
	return out[:min(len(out), limit)], nil
}

func (r *replica) Watch(prefix string, f func(checkout.Entry)) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.next
	r.next++
	r.watches[id] = watch{prefix, f}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watches, id)
	}
}

func (r *replica) Lease(_ context.Context, _ string, ttl time.Duration) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return false, checkout.ErrUnavailable
	}
	if r.holder != r.name && time.Now().Before(r.until) {
		return false, nil
	}
	r.holder, r.until = r.name, time.Now().Add(ttl)
	return true, nil
}

// happen stores the n-th event of a session, as the session's commit does.
func (m *memory) happen(t testing.TB, session string, n int) (id string) {
	t.Helper()
	id = fmt.Sprintf("evt_%s_%d", strings.TrimPrefix(session, "cs_"), n)
	value, err := json.Marshal(map[string]any{
		"id": id, "type": "session.paid", "timestamp": time.Now().UTC().Format(time.RFC3339), "session": session, "n": n,
		"data": map[string]any{"id": session, "status": "paid", "revision": n, "amount": json.Number("10.50")},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.replica("session").Commit(t.Context(), checkout.Write{Key: fmt.Sprintf("event.%s.%d", session, n), Value: value})
	if err != nil {
		t.Fatal(err)
	}
	return id
}
