package callback_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wzrdcheckout/internal/callback"
	"wzrdcheckout/internal/checkout"
)

func startIntake(t *testing.T, cfg callback.IntakeConfig) *callback.Intake {
	t.Helper()
	cfg.Verifier = verifier{}
	i, err := callback.NewIntake(cfg)
	if err != nil {
		t.Fatalf("NewIntake = %v", err)
	}
	i.Start()
	return i
}

func stopIntake(t *testing.T, i *callback.Intake) {
	t.Helper()
	if err := i.Stop(context.Background()); err != nil {
		t.Errorf("Stop = %v", err)
	}
}

func TestIntake_Refuses(t *testing.T) {
	t.Parallel()
	log := newLog(1)
	heard := newEars()
	i := startIntake(t, callback.IntakeConfig{Log: log, Observer: heard, MaxBody: 1000})
	defer stopIntake(t, i)
	for _, tt := range []struct {
		name, body, signature string
		kind                  error
		outcome               callback.Outcome
	}{
		{"good", `{"data":{"attributes":{"test_mode":true}}}`, "test", nil, callback.Stored},
		{"live", `{"data":{"attributes":{"test_mode":false}}}`, "live", nil, callback.Stored},
		{"mode not said", `{"data":{"attributes":{}}}`, "live", nil, callback.Stored},
		{"mode null", `{"data":{"attributes":{"test_mode":null}}}`, "live", nil, callback.Stored},
		{"another shape", `{"data":[1,2]}`, "live", nil, callback.Stored},
		{"no object", `[]`, "test", nil, callback.Stored},
		{"test body, live key", `{"data":{"attributes":{"test_mode":true}}}`, "live", checkout.ErrUnauthorized, callback.WrongMode},
		{"live body, test key", `{"data":{"attributes":{"test_mode":false}}}`, "test", checkout.ErrUnauthorized, callback.WrongMode},
		{"mode as number", `{"data":{"attributes":{"test_mode":1}}}`, "live", checkout.ErrUnauthorized, callback.WrongMode},
		{"mode as text", `{"data":{"attributes":{"test_mode":"false"}}}`, "test", checkout.ErrUnauthorized, callback.WrongMode},
		{"forged", `{}`, "x", checkout.ErrUnauthorized, callback.Unauthorized},
		{"unsigned", `{}`, "", checkout.ErrUnauthorized, callback.Unauthorized},
		{"not JSON", `hello`, "test", checkout.ErrInvalid, callback.Invalid},
		{"half JSON", `{"data":`, "test", checkout.ErrInvalid, callback.Invalid},
		{"empty", ``, "test", checkout.ErrInvalid, callback.Invalid},
		{"forged and not JSON", `hello`, "x", checkout.ErrUnauthorized, callback.Unauthorized},
		{"too large", strings.Repeat("1", 1001), "test", checkout.ErrTooLarge, callback.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stored := len(log.bodies(0))
			before := heard.outcomes[tt.outcome]
			err := i.Accept(t.Context(), []byte(tt.body), tt.signature)
			if !errors.Is(err, tt.kind) {
				t.Errorf("Accept(%q, %q) = %v, want %v", tt.body, tt.signature, err, tt.kind)
			}
			if n := heard.outcomes[tt.outcome] - before; n != 1 {
				t.Errorf("outcome %s heard %d times, want once", tt.outcome, n)
			}
			wantStored := stored
			if tt.kind == nil {
				wantStored++
			}
			if n := len(log.bodies(0)); n != wantStored {
				t.Errorf("%d packs stored, want %d", n, wantStored)
			}
		})
	}
}

// While one pack is on its way everything that arrives forms the next: 1 + 200 + 49.
func TestIntake_Packs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog(1)
		log.delay[0] = time.Second
		heard := newEars()
		i := startIntake(t, callback.IntakeConfig{Log: log, Observer: heard})
		var wg sync.WaitGroup
		start := time.Now()
		accept := func() {
			wg.Go(func() {
				if err := i.Accept(t.Context(), []byte("{}"), "test"); err != nil {
					t.Errorf("Accept = %v", err)
				}
			})
		}
		accept()
		synctest.Wait()
		for range 249 {
			accept()
		}
		wg.Wait()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("250 callbacks took %v, want three appends of 1 s", took)
		}
		stopIntake(t, i)
		if got := heard.packs; len(got) != 3 || got[0] != 1 || got[1] != 200 || got[2] != 49 {
			t.Errorf("packs = %v, want 1, 200, 49", got)
		}
		if log.most != 1 {
			t.Errorf("%d appends in flight on the stream, want 1", log.most)
		}
	})
}

func TestIntake_PackBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog(1)
		log.delay[0] = time.Second
		i := startIntake(t, callback.IntakeConfig{Log: log, PackBytes: 250})
		var wg sync.WaitGroup
		for range 7 {
			wg.Go(func() {
				if err := i.Accept(t.Context(), []byte(`"`+strings.Repeat("x", 98)+`"`), "test"); err != nil {
					t.Errorf("Accept = %v", err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		// One larger than a pack goes alone.
		if err := i.Accept(t.Context(), []byte(`"`+strings.Repeat("x", 300)+`"`), "test"); err != nil {
			t.Errorf("Accept of a large one = %v", err)
		}
		stopIntake(t, i)
		var sizes []int
		for _, p := range log.bodies(0) {
			sizes = append(sizes, len(p))
		}
		if len(sizes) != 5 || sizes[0] != 1 || sizes[1] != 2 || sizes[2] != 2 || sizes[3] != 2 || sizes[4] != 1 {
			t.Errorf("packs of %v records, want 1 2 2 2 1", sizes)
		}
	})
}

func TestIntake_Full(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cfg  callback.IntakeConfig
	}{
		{"records", callback.IntakeConfig{QueueLen: 3}},
		{"bytes", callback.IntakeConfig{QueueBytes: 3 * 9}}, // a record of {} has nine bytes here
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := newLog(1)
				log.delay[0] = time.Second
				heard := newEars()
				tt.cfg.Log, tt.cfg.Observer = log, heard
				i := startIntake(t, tt.cfg)
				var wg sync.WaitGroup
				var mu sync.Mutex
				full := 0
				for range 6 {
					wg.Go(func() {
						err := i.Accept(t.Context(), []byte("{}"), "test")
						if errors.Is(err, checkout.ErrUnavailable) {
							mu.Lock()
							full++
							mu.Unlock()
						} else if err != nil {
							t.Errorf("Accept = %v", err)
						}
					})
					synctest.Wait()
				}
				wg.Wait()
				if full != 2 || heard.outcomes[callback.Full] != 2 {
					t.Errorf("%d of 6 refused (%d heard), want 2: one under way, three wait", full, heard.outcomes[callback.Full])
				}
				if err := i.Accept(t.Context(), []byte("{}"), "test"); err != nil {
					t.Errorf("Accept after the queue drained = %v, want nil", err)
				}
				stopIntake(t, i)
			})
		})
	}
}

func TestIntake_Slow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog(1)
		log.delay[0] = time.Hour
		heard := newEars()
		i := startIntake(t, callback.IntakeConfig{Log: log, Observer: heard})
		start := time.Now()
		if err := i.Accept(t.Context(), []byte("{}"), "test"); !errors.Is(err, checkout.ErrUnavailable) {
			t.Errorf("Accept of a slow store = %v, want ErrUnavailable", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("it took %v, want 5 s", took)
		}
		// The next are not held up by what nobody waits for.
		log.mu.Lock()
		log.delay[0] = 0
		log.mu.Unlock()
		if err := i.Accept(t.Context(), []byte("{}"), "test"); err != nil {
			t.Errorf("Accept = %v, want nil", err)
		}
		stopIntake(t, i)
	})
}

func TestIntake_StoreRefuses(t *testing.T) {
	t.Parallel()
	log := newLog(1)
	log.fail[0] = checkout.ErrUnavailable
	i := startIntake(t, callback.IntakeConfig{Log: log})
	defer stopIntake(t, i)
	if err := i.Accept(t.Context(), []byte("{}"), "test"); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("Accept = %v, want ErrUnavailable", err)
	}
}

func TestIntake_Stop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog(1)
		log.delay[0] = time.Second
		heard := newEars()
		i := startIntake(t, callback.IntakeConfig{Log: log, Observer: heard})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if err := i.Accept(t.Context(), []byte("{}"), "test"); err != nil {
					t.Errorf("Accept of what was taken before Stop = %v, want nil", err)
				}
			})
		}
		synctest.Wait()
		wg.Go(func() { stopIntake(t, i) })
		synctest.Wait()
		if err := i.Accept(t.Context(), []byte("{}"), "test"); !errors.Is(err, checkout.ErrUnavailable) {
			t.Errorf("Accept while stopping = %v, want ErrUnavailable", err)
		}
		wg.Wait()
		stopIntake(t, i)
		if n := heard.outcomes[callback.Stored]; n != 5 {
			t.Errorf("%d stored, want 5", n)
		}
		idle, err := callback.NewIntake(callback.IntakeConfig{Log: log, Verifier: verifier{}})
		if err != nil {
			t.Fatal(err)
		}
		stopIntake(t, idle)
		if err := idle.Accept(t.Context(), []byte("{}"), "test"); !errors.Is(err, checkout.ErrUnavailable) {
			t.Errorf("Accept of a stopped intake = %v, want ErrUnavailable", err)
		}
	})
}

// Of three streams two stand still: the answer comes after two times 250 ms, and the
// next callback goes at once to the stream that worked.
func TestIntake_Switch(t *testing.T) {
	t.Parallel()
	for range 6 { // the first stream is chosen by chance
		synctest.Test(t, func(t *testing.T) {
			log := newLog(3)
			for s := range 3 {
				log.delay[s] = 4 * time.Second
			}
			log.delay[1] = time.Millisecond
			heard := newEars()
			i := startIntake(t, callback.IntakeConfig{Log: log, Observer: heard})
			start := time.Now()
			if err := i.Accept(t.Context(), []byte(`"first"`), "test"); err != nil {
				t.Errorf("Accept = %v", err)
			}
			took := time.Since(start)
			if took != time.Duration(heard.switched)*250*time.Millisecond+time.Millisecond || heard.switched > 2 {
				t.Errorf("it took %v and %d switches, want 250 ms for each of at most 2", took, heard.switched)
			}
			start = time.Now()
			if err := i.Accept(t.Context(), []byte(`"second"`), "test"); err != nil {
				t.Errorf("Accept = %v", err)
			}
			if took := time.Since(start); took != time.Millisecond {
				t.Errorf("the second took %v, want 1 ms", took)
			}
			stopIntake(t, i)
			// A slow stream may have stored the first too: the worker does not mind.
			copies := 0
			for s := range 3 {
				for _, p := range log.bodies(s) {
					for _, b := range p {
						if b == `"first"` {
							copies++
						}
					}
				}
			}
			if copies != 1+heard.switched {
				t.Errorf("%d copies after %d switches", copies, heard.switched)
			}
			if log.most != 1 {
				t.Errorf("%d appends in flight on a stream, want 1", log.most)
			}
		})
	}
}

// A stream that refuses at once costs no wait.
func TestIntake_SwitchOnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog(3)
		log.fail[0], log.fail[2] = checkout.ErrUnavailable, checkout.ErrUnavailable
		i := startIntake(t, callback.IntakeConfig{Log: log})
		start := time.Now()
		for range 3 {
			if err := i.Accept(t.Context(), []byte("{}"), "test"); err != nil {
				t.Errorf("Accept = %v, want nil: one stream works", err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v, want no wait", took)
		}
		stopIntake(t, i)
	})
}

// With all streams held up by older packs a callback waits for one of them, not for ever.
func TestIntake_AllBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog(3)
		for s := range 3 {
			log.delay[s] = 2 * time.Second
		}
		i := startIntake(t, callback.IntakeConfig{Log: log})
		for range 4 {
			if err := i.Accept(t.Context(), []byte("{}"), "test"); err != nil {
				t.Errorf("Accept = %v", err)
			}
		}
		stopIntake(t, i)
		if log.most != 1 {
			t.Errorf("%d appends in flight on a stream, want 1", log.most)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  func() error
	}{
		{"Verifier", func() error { _, err := callback.NewIntake(callback.IntakeConfig{Log: newLog(1)}); return err }},
		{"Log", func() error { _, err := callback.NewIntake(callback.IntakeConfig{Verifier: verifier{}}); return err }},
		{"QueueLen", func() error {
			_, err := callback.NewIntake(callback.IntakeConfig{Verifier: verifier{}, Log: newLog(1), QueueLen: -1})
			return err
		}},
		{"Store", func() error { _, err := callback.NewWorker(callback.WorkerConfig{Log: newLog(1)}); return err }},
		{"Applier", func() error {
			_, err := callback.NewWorker(callback.WorkerConfig{Log: newLog(1), Store: newState(), Leaser: &leaser{}, Parser: parser})
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := tt.err(); err == nil || !strings.Contains(err.Error(), tt.name) {
				t.Errorf("error = %v, want one that names %s", err, tt.name)
			}
		})
	}
}

// Callbacks pour in at 2,000 a second, or when as many as fill half a pack wait; a second
// later they do not any more.
func TestIntake_Busy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		n    int           // callbacks
		each time.Duration // between two of them
		slow time.Duration // of the store
		want bool
	}{
		{"none", 0, 0, 0, false},
		{"1,000 a second", 1000, time.Millisecond, 0, false},
		{"1,000 a second, slow disk", 300, time.Millisecond, 80 * time.Millisecond, false},
		{"4,000 a second", 1000, 250 * time.Microsecond, 0, true},
		{"few", 199, 0, 0, false},
		{"many at once", 200, 0, 0, true},
		{"they wait for the disk", 101, 0, time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := newLog(1)
				log.delay[0] = tt.slow
				i := startIntake(t, callback.IntakeConfig{Log: log})
				var wg sync.WaitGroup
				busy := false
				for range tt.n {
					wg.Go(func() {
						if err := i.Accept(t.Context(), []byte("{}"), "test"); err != nil {
							t.Errorf("Accept = %v", err)
						}
					})
					time.Sleep(tt.each)
					if tt.each == 0 {
						synctest.Wait()
					}
					busy = busy || i.Busy()
				}
				if busy != tt.want {
					t.Errorf("Busy = %v, want %v", busy, tt.want)
				}
				wg.Wait()
				time.Sleep(time.Second)
				if i.Busy() {
					t.Error("Busy after a second of silence, want not")
				}
				stopIntake(t, i)
			})
		})
	}
}

// While callbacks pour in a small pack waits for more, a millisecond at most; else nothing waits.
func TestIntake_Linger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog(1)
		heard := newEars()
		i := startIntake(t, callback.IntakeConfig{Log: log, Observer: heard})
		var wg sync.WaitGroup
		took := func(n int) (last time.Duration) {
			t.Helper()
			var mu sync.Mutex
			for range n {
				wg.Go(func() {
					begin := time.Now()
					if err := i.Accept(t.Context(), []byte("{}"), "test"); err != nil {
						t.Errorf("Accept = %v", err)
					}
					mu.Lock()
					last = max(last, time.Since(begin))
					mu.Unlock()
				})
			}
			wg.Wait()
			return last
		}
		if d := took(1); d != 0 {
			t.Errorf("a single callback took %v, want 0", d)
		}
		// A store that takes its time lets 199 gather behind the first.
		log.mu.Lock()
		log.delay[0] = 10 * time.Millisecond
		log.mu.Unlock()
		wg.Go(func() { _ = i.Accept(t.Context(), []byte("{}"), "test") })
		synctest.Wait()
		took(199)
		log.mu.Lock()
		log.delay[0] = 0
		log.mu.Unlock()
		heard.mu.Lock()
		before := len(heard.packs)
		heard.mu.Unlock()
		begin := time.Now()
		for n := range 10 {
			wg.Go(func() {
				if err := i.Accept(t.Context(), []byte("{}"), "test"); err != nil {
					t.Errorf("Accept = %v", err)
				}
			})
			synctest.Wait()
			if n < 9 {
				time.Sleep(100 * time.Microsecond)
			}
		}
		wg.Wait()
		if d := time.Since(begin); d != time.Millisecond {
			t.Errorf("ten callbacks within 0.9 ms took %v, want the millisecond that a pack lingers", d)
		}
		heard.mu.Lock()
		if got := heard.packs[before:]; len(got) != 1 || got[0] != 10 {
			t.Errorf("packs = %v, want one of 10", got)
		}
		heard.mu.Unlock()
		time.Sleep(time.Second)
		if d := took(3); d != 0 {
			t.Errorf("callbacks after the burst took %v, want 0", d)
		}
		stopIntake(t, i)
	})
}
