package ordeal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// PushConfig is how many pages wait.
type PushConfig struct {
	Bin, Dir string
	Seed     uint64
	Pages    int // of as many sessions, in each round
	Rounds   int
	Log      func(format string, args ...any)
}

// Push kills the program between the 200 of callbacks and the frames that they cause.
// Every page comes back with the revision it has seen, and is told "paid" exactly once.
// It goes on, four times the rounds at most, until a kill has come in between.
func Push(ctx context.Context, cfg PushConfig) error {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{HistoryLimit: 1000})
	if err != nil {
		return err
	}
	defer stop()
	wzrd.HoldCallbacks()
	p, err := NewProgram(Settings{Bin: cfg.Bin, Dir: cfg.Dir, WZRD: wzrd})
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := p.Start(ctx); err != nil {
		return err
	}
	between, rounds := 0, 0
	s := &stream{StreamConfig: StreamConfig{Seed: cfg.Seed}, program: p, wzrd: wzrd}
	for ; rounds < cfg.Rounds || between == 0 && rounds < 4*cfg.Rounds; rounds++ {
		n, err := s.pushed(ctx, rounds, cfg.Pages)
		if err != nil {
			return errors.Join(err, s.found.err())
		}
		between += n
	}
	cfg.Log("%d kills; %d of %d pages were answered for and not yet told; of them never told %d, told twice %d; from the start until the last page knows: %s", rounds, between, rounds*cfg.Pages,
		s.found.count("pages that were not told"), s.found.count("pages that were not told once"), spread(s.shut))
	if between == 0 {
		s.found.add("nothing was tried", "no kill came between a callback's 200 and its frame")
	}
	return s.found.err()
}

// pushed is one round; it gives how many pages the kill caught between the two.
func (s *stream) pushed(ctx context.Context, round, pages int) (between int, err error) {
	ms := make([]*money, pages)
	readers := make([]*reader, pages)
	if err := each(ctx, pages, 16, func(ctx context.Context, i int) error {
		var err error
		ms[i], err = s.one(ctx, fmt.Sprintf("push-%d-%d-%d", s.Seed, round, i), false)
		return err
	}); err != nil {
		return 0, err
	}
	for i, m := range ms {
		readers[i] = s.program.read(ctx, m.session, m.token, i%4 == 3, &s.found)
		defer readers[i].close()
	}
	shows := func(status string) error {
		for _, r := range readers {
			if list := r.statuses(); len(list) == 0 || list[len(list)-1] != status {
				return fmt.Errorf("session %s: the page was shown %v, want %s at last", r.id, list, status)
			}
		}
		return nil
	}
	if err := until(ctx, 2*time.Minute, func() error { return shows("pending") }); err != nil {
		return 0, err
	}
	// The first answers come while the others are still on their way: the kill is at the
	// moment of the last.
	var senders sync.WaitGroup
	codes := make([]error, pages)
	for i, m := range ms {
		senders.Go(func() {
			code, err := s.send(ctx, m, "processed", m.updated+1)
			if err == nil && code != 200 {
				err = fmt.Errorf("a callback was answered %d", code)
			}
			codes[i] = err
		})
	}
	senders.Wait()
	if err := errors.Join(append(codes, s.program.Kill())...); err != nil {
		return 0, err
	}
	for _, r := range readers {
		if !slices.Contains(r.statuses(), "paid") {
			between++
		}
	}
	began := time.Now()
	if err := s.program.Start(ctx); err != nil {
		return 0, err
	}
	if err := until(ctx, 2*time.Minute, func() error { return shows("paid") }); err != nil {
		s.found.add("pages that were not told", "%v", err)
	}
	s.shut = append(s.shut, time.Since(began))
	_ = pause(ctx, 300*time.Millisecond) // a second telling would come now
	for _, r := range readers {
		n := 0
		for _, status := range r.statuses() {
			if status == "paid" {
				n++
			}
		}
		if n != 1 {
			s.found.add("pages that were not told once", "session %s: %v", r.id, r.statuses())
		}
	}
	return between, nil
}
