package app_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wzrdcheckout/internal/app"
	"wzrdcheckout/internal/checkout"
)

// ledger is a store of some replicas: one entry, one lease.
type ledger struct {
	mu      sync.Mutex
	value   []byte
	version uint64
	holder  string
	until   time.Time
}

// replicaOf is the ledger as one replica sees it.
type replicaOf struct {
	*ledger
	name string
}

func (r replicaOf) Fresh(context.Context, string) (checkout.Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version == 0 {
		return checkout.Entry{}, checkout.ErrNotFound
	}
	return checkout.Entry{Value: r.value, Version: r.version}, nil
}

func (r replicaOf) Commit(_ context.Context, writes ...checkout.Write) ([]uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := writes[0]; !w.Any && w.Expect != r.version {
		return nil, checkout.ErrConflict
	}
	r.version++
	r.value = writes[0].Value
	return []uint64{r.version}, nil
}

func (r replicaOf) Lease(_ context.Context, _ string, ttl time.Duration) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder != r.name && time.Now().Before(r.until) {
		return false, nil
	}
	r.holder, r.until = r.name, time.Now().Add(ttl)
	return true, nil
}

// life runs replicas for d and gives when each walk began, in hours since began. Every
// replica is restarted after each restart.
func life(t *testing.T, store *ledger, replicas int, d, restart time.Duration, now func() time.Time, walk func() error) []string {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var walks []string
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var all sync.WaitGroup
	for i := range replicas {
		all.Go(func() {
			for ctx.Err() == nil {
				once, stop := context.WithTimeout(ctx, restart)
				err := app.Nightly(once, replicaOf{store, fmt.Sprint(i)}, now, func(context.Context) error {
					mu.Lock()
					walks = append(walks, fmt.Sprintf("%.0f", time.Since(began).Hours()))
					mu.Unlock()
					return walk()
				})
				stop()
				if err != nil {
					t.Errorf("run() = %v, want nil", err)
				}
			}
		})
	}
	all.Wait()
	return walks
}

func fine() error { return nil }

func TestNightly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		replicas int
		restart  time.Duration
	}{
		{"one that stays", 1, 1000 * time.Hour},
		{"one that is restarted every night", 1, 23*time.Hour + 59*time.Minute},
		{"one that is restarted every half hour", 1, 30 * time.Minute},
		{"three that stay", 3, 1000 * time.Hour},
		{"three that are restarted", 3, 7 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				walks := life(t, &ledger{}, c.replicas, 99*time.Hour, c.restart, time.Now, fine)
				if got := fmt.Sprint(walks); got != "[24 48 72 97]" && got != "[24 48 73 97]" && got != "[24 48 72 96]" {
					t.Errorf("walks at hours %v, want one a day", got)
				}
			})
		})
	}
	t.Run("one that failed is made up for in an hour", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			failures := 2
			walks := life(t, &ledger{}, 1, 40*time.Hour, 1000*time.Hour, time.Now, func() error {
				if failures--; failures >= 0 {
					return errors.New("WZRDPAY is down")
				}
				return nil
			})
			if got := fmt.Sprint(walks); got != "[24 25 26]" {
				t.Errorf("walks at hours %v, want [24 25 26]", got)
			}
		})
	})
	t.Run("of three the one that walks dies, another begins anew", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store := &ledger{version: 1, value: []byte("0"), holder: "dead", until: time.Now().Add(time.Hour)}
			walks := life(t, store, 3, 20*time.Hour, 1000*time.Hour, time.Now, fine)
			if got := fmt.Sprint(walks); got != "[1]" {
				t.Errorf("walks at hours %v, want [1]", got)
			}
		})
	})
}

// A clock that was wrong delays a walk by a day at the most.
func TestNightly_ClockStepped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		step time.Duration // of the clock, 12 hours after the start
		want string
	}{
		{"two hours forwards", 2 * time.Hour, "[22 46]"},
		{"two hours backwards", -2 * time.Hour, "[26 50]"},
		{"a year forwards", 365 * 24 * time.Hour, "[12 36]"},
		{"a year backwards", -365 * 24 * time.Hour, "[12 36]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				now := func() time.Time {
					if time.Since(began) > 12*time.Hour {
						return time.Now().Add(c.step)
					}
					return time.Now()
				}
				if got := fmt.Sprint(life(t, &ledger{}, 1, 52*time.Hour, 1000*time.Hour, now, fine)); got != c.want {
					t.Errorf("walks at hours %v, want %v", got, c.want)
				}
			})
		})
	}
}
