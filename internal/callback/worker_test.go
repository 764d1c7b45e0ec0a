package callback_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wzrdcheckout/internal/callback"
	"wzrdcheckout/internal/checkout"
)

func fill(t *testing.T, log callback.Log, stream int, packs ...[]string) {
	t.Helper()
	for _, p := range packs {
		var records [][]byte
		for _, b := range p {
			r, err := callback.Record{ReceivedAt: time.Now().Unix(), Mode: "test", Body: []byte(b)}.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, r)
		}
		if _, err := log.Append(t.Context(), stream, records); err != nil {
			t.Fatal(err)
		}
	}
}

func many(prefix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, string(body(fmt.Sprintf("%s%d", prefix, i), 1)))
	}
	return list
}

func startWorker(t *testing.T, cfg callback.WorkerConfig) *callback.Worker {
	t.Helper()
	cfg.Parser = parser
	if cfg.Leaser == nil {
		cfg.Leaser = &leaser{held: true}
	}
	w, err := callback.NewWorker(cfg)
	if err != nil {
		t.Fatalf("NewWorker = %v", err)
	}
	w.Start()
	return w
}

func stopWorker(t *testing.T, w *callback.Worker) {
	t.Helper()
	if err := w.Stop(context.Background()); err != nil {
		t.Errorf("Stop = %v", err)
	}
}

// work runs a worker over log and s until the time given is over.
func work(t *testing.T, log *memLog, s *state, heard *ears, d time.Duration) {
	t.Helper()
	w := startWorker(t, callback.WorkerConfig{Log: log, Store: s, Applier: s, Observer: heard, Batch: 100})
	time.Sleep(d)
	synctest.Wait()
	stopWorker(t, w)
}

func cursorOf(s *state) string { return string(s.cursors[callback.CursorKey(0)].Value) }

func TestWorker(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		packs   [][]string
		prepare func(s *state)
		applied int
		cursor  string
		check   func(t *testing.T, s *state, heard *ears)
	}{
		{name: "nothing", cursor: ""},
		{name: "one", packs: [][]string{many("a", 1)}, applied: 1, cursor: "1"},
		{
			name: "batches", packs: [][]string{many("a", 150), many("b", 30), many("c", 170)}, applied: 350, cursor: "3",
			check: func(t *testing.T, s *state, _ *ears) {
				if s.commits != 4 || s.most != 100 {
					t.Errorf("%d commits, at most %d updates, want 4 of at most 100", s.commits, s.most)
				}
			},
		},
		{
			name: "begins at the cursor", packs: [][]string{many("a", 3), many("b", 4), many("c", 5)}, applied: 7, cursor: "3",
			prepare: func(s *state) { s.set(callback.CursorKey(0), "1+2") },
		},
		{
			name: "duplicates and disorder", applied: 1, cursor: "2",
			packs: [][]string{{string(body("a", 2)), string(body("a", 3))}, {string(body("a", 1)), string(body("a", 3))}},
			check: func(t *testing.T, s *state, _ *ears) {
				if s.invoices["a"] != 3 {
					t.Errorf("invoice at %d, want 3", s.invoices["a"])
				}
			},
		},
		{
			name: "unreadable ones are kept", packs: [][]string{{"{}", string(body("a", 1)), `{"panic":1}`}}, applied: 1, cursor: "1",
			check: func(t *testing.T, s *state, _ *ears) {
				if len(s.problems) != 2 || !strings.HasPrefix(s.problems[0], "no invoice: {}") || !strings.Contains(s.problems[1], "panic") {
					t.Errorf("problems = %v, want two with reason and body", s.problems)
				}
			},
		},
		{
			name: "conflicts", packs: [][]string{many("a", 100)}, applied: 100, cursor: "1",
			prepare: func(s *state) {
				// A busy session among them: only batches of ten get through.
				s.refuse = func(list []checkout.Update) error {
					if len(list) > 10 {
						return checkout.ErrConflict
					}
					return nil
				}
			},
			check: func(t *testing.T, s *state, heard *ears) {
				if heard.retried["conflict"] == 0 || s.most > 10 {
					t.Errorf("conflicts heard %d, largest commit %d", heard.retried["conflict"], s.most)
				}
			},
		},
		{
			name: "too large", packs: [][]string{many("a", 100)}, applied: 100, cursor: "1",
			prepare: func(s *state) {
				s.refuse = func(list []checkout.Update) error {
					if len(list) > 60 {
						return checkout.ErrTooLarge
					}
					return nil
				}
			},
		},
		{
			name: "store down for a while", packs: [][]string{many("a", 5)}, applied: 5, cursor: "1",
			prepare: func(s *state) {
				n := 0
				s.refuse = func([]checkout.Update) error {
					if n++; n < 8 {
						return checkout.ErrUnavailable
					}
					return nil
				}
			},
			check: func(t *testing.T, s *state, heard *ears) {
				if s.commits != 1 || heard.retried["unavailable"] != 7 {
					t.Errorf("%d commits after %d retries, want 1 after 7: a store that is down is no reason to halve", s.commits, heard.retried["unavailable"])
				}
			},
		},
		{
			name: "answer lost", packs: [][]string{many("a", 5)}, applied: 5, cursor: "1",
			prepare: func(s *state) { s.after = func(int) error { return checkout.ErrTimeout } },
			check: func(t *testing.T, s *state, _ *ears) {
				if s.commits != 1 {
					t.Errorf("%d commits, want 1: the cursor tells that it was stored", s.commits)
				}
			},
		},
		{
			name: "poison", packs: [][]string{many("a", 20)}, applied: 19, cursor: "1",
			prepare: func(s *state) {
				s.refuse = func(list []checkout.Update) error {
					for _, u := range list {
						if u.Invoice.ID == "a7" {
							return errors.New("this one breaks it")
						}
					}
					return nil
				}
			},
			check: func(t *testing.T, s *state, _ *ears) {
				if len(s.problems) != 1 || !strings.Contains(s.problems[0], "this one breaks it") || !strings.Contains(s.problems[0], `"a7"`) {
					t.Errorf("problems = %v, want a7 with the reason", s.problems)
				}
			},
		},
		{
			name: "an applier that panics", packs: [][]string{many("a", 3)}, applied: 2, cursor: "1",
			prepare: func(s *state) {
				s.refuse = func(list []checkout.Update) error {
					for _, u := range list {
						if u.Invoice.ID == "a1" {
							panic("nil pointer")
						}
					}
					return nil
				}
			},
			check: func(t *testing.T, s *state, _ *ears) {
				if len(s.problems) != 1 || !strings.Contains(s.problems[0], "panic: nil pointer") {
					t.Errorf("problems = %v, want a1 with the reason", s.problems)
				}
			},
		},
		{
			name: "another replica is ahead", packs: [][]string{many("a", 5), many("b", 5)}, applied: 5, cursor: "2",
			prepare: func(s *state) {
				s.other = func(s *state, cursor checkout.Write) { s.set(cursor.Key, "1") }
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log, s, heard := newLog(1), newState(), newEars()
				fill(t, log, 0, tt.packs...)
				if tt.prepare != nil {
					tt.prepare(s)
				}
				work(t, log, s, heard, 2*time.Minute)
				if len(s.applied) != tt.applied {
					t.Errorf("applied %d invoices, want %d", len(s.applied), tt.applied)
				}
				if c := cursorOf(s); c != tt.cursor {
					t.Errorf("cursor = %q, want %q", c, tt.cursor)
				}
				if tt.check != nil {
					tt.check(t, s, heard)
				}
			})
		})
	}
}

func TestWorker_Order(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, s := newLog(1), newState()
		var ids []string
		for p := range 5 {
			list := many(string(rune('a'+p)), 70)
			fill(t, log, 0, list)
			for i := range list {
				ids = append(ids, fmt.Sprintf("%c%d", 'a'+p, i))
			}
		}
		work(t, log, s, newEars(), time.Minute)
		if !slices.Equal(s.applied, ids) {
			t.Errorf("applied in another order than stored: %d of %d", len(s.applied), len(ids))
		}
	})
}

func TestWorker_Lease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, s := newLog(1), newState()
		l := &leaser{}
		fill(t, log, 0, many("a", 5))
		w := startWorker(t, callback.WorkerConfig{Log: log, Store: s, Applier: s, Leaser: l})
		time.Sleep(time.Minute)
		synctest.Wait()
		s.mu.Lock()
		if s.commits != 0 {
			t.Errorf("%d commits without the lease, want 0", s.commits)
		}
		s.mu.Unlock()
		l.mu.Lock()
		l.held = true
		l.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		stopWorker(t, w)
		if len(s.applied) != 5 {
			t.Errorf("applied %d, want 5", len(s.applied))
		}
		if log.trimmed[0] != 1 {
			t.Errorf("trimmed up to %d, want 1", log.trimmed[0])
		}
	})
}

func TestWorker_Lag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, s := newLog(1), newState()
		fill(t, log, 0, many("a", 5))
		s.refuse = func([]checkout.Update) error { return checkout.ErrUnavailable }
		w := startWorker(t, callback.WorkerConfig{Log: log, Store: s, Applier: s})
		time.Sleep(time.Minute)
		synctest.Wait()
		if lag := w.Lag(); lag < 50*time.Second || lag > 61*time.Second {
			t.Errorf("Lag = %v after a minute without progress", lag)
		}
		s.mu.Lock()
		s.refuse = nil
		s.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if lag := w.Lag(); lag != 0 {
			t.Errorf("Lag = %v with everything applied, want 0", lag)
		}
		stopWorker(t, w)
		stopWorker(t, w)
	})
}

// Two workers that both believe to hold the lease: the cursor lets each record through once.
func TestWorker_TwoAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, s := newLog(1), newState()
		for p := range 10 {
			fill(t, log, 0, many(fmt.Sprintf("p%d-", p), 50))
		}
		seen := map[string]int{}
		s.refuse = func(list []checkout.Update) error { return nil }
		count := func(list []checkout.Update) {
			for _, u := range list {
				seen[u.Invoice.ID]++
			}
		}
		c := &counting{state: s, count: count}
		a := startWorker(t, callback.WorkerConfig{Log: log, Store: s, Applier: c})
		b := startWorker(t, callback.WorkerConfig{Log: log, Store: s, Applier: c})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		stopWorker(t, a)
		stopWorker(t, b)
		if len(seen) != 500 {
			t.Errorf("%d records applied, want 500", len(seen))
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s applied %d times, want once", id, n)
			}
		}
	})
}

// counting counts what was committed.
type counting struct {
	*state
	count func([]checkout.Update)
}

func (c *counting) ApplyCallbacks(ctx context.Context, updates []checkout.Update, cursor checkout.Write) error {
	err := c.state.ApplyCallbacks(ctx, updates, cursor)
	if err == nil {
		c.mu.Lock()
		c.count(updates)
		c.mu.Unlock()
	}
	return err
}

// While callbacks pour in the first are applied at once, those behind them half a second
// later, in one go; once the oldest is of the age that may wait, nothing waits any more;
// and when the burst is over the rest follows at once.
func TestWorker_GivesWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, s := newLog(1), newState()
		var busy atomic.Bool
		w := startWorker(t, callback.WorkerConfig{Log: log, Store: s, Applier: s, Busy: busy.Load})
		step := 20 * time.Millisecond // the worker looks every 5 ms, the log every 10
		applied := func() int {
			time.Sleep(step)
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.applied)
		}
		check := func(when string, want int) {
			t.Helper()
			if got := applied(); got != want {
				t.Errorf("%s: %d applied, want %d", when, got, want)
			}
		}
		time.Sleep(10 * time.Second)
		fill(t, log, 0, many("quiet", 1))
		check("not busy", 1)
		fill(t, log, 0, many("next", 1))
		check("not busy, one right behind", 2)

		time.Sleep(time.Second)
		busy.Store(true)
		fill(t, log, 0, many("a", 3))
		check("the first of a burst", 5)
		fill(t, log, 0, many("b", 3))
		check("behind them", 5)
		time.Sleep(400 * time.Millisecond)
		fill(t, log, 0, many("c", 3))
		check("0.4 s later", 5)
		s.mu.Lock()
		commits := s.commits
		s.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
		check("0.5 s later", 11)
		s.mu.Lock()
		if s.commits != commits+1 {
			t.Errorf("%d commits for what waited, want one", s.commits-commits)
		}
		s.mu.Unlock()

		fill(t, log, 0, many("d", 3))
		check("the next half second", 11)
		busy.Store(false)
		check("the burst is over", 14)

		busy.Store(true)
		old, err := callback.Record{ReceivedAt: time.Now().Add(-3 * time.Second).Unix(), Mode: "test", Body: body("old", 1)}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), 0, [][]byte{old}); err != nil {
			t.Fatal(err)
		}
		check("busy, and the oldest waits for 3 s", 15)
		stopWorker(t, w)
	})
}

// Under a burst without an end whatever is stored is applied, never later than the bound
// on its age and a hold.
func TestWorker_LagBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, s := newLog(1), newState()
		stored := map[string]time.Time{}
		var worst time.Duration
		s.refuse = func(list []checkout.Update) error { // holds the lock of stored: state's own
			for _, u := range list {
				worst = max(worst, time.Since(stored[u.Invoice.ID]))
			}
			return nil
		}
		w := startWorker(t, callback.WorkerConfig{Log: log, Store: s, Applier: s, Busy: func() bool { return true }})
		for n := range 2000 {
			id := fmt.Sprintf("x%d", n)
			s.mu.Lock()
			stored[id] = time.Now()
			s.mu.Unlock()
			fill(t, log, 0, []string{string(body(id, 1))})
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		stopWorker(t, w)
		if len(s.applied) != 2000 {
			t.Errorf("%d applied, want 2000", len(s.applied))
		}
		if worst > 520*time.Millisecond {
			t.Errorf("one was applied %v after it was stored, want half a second at most", worst)
		}
		if s.commits > 40 {
			t.Errorf("%d commits in 10 s, want about two a second", s.commits)
		}
	})
}
