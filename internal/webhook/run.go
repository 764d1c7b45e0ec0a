package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"wzrdcheckout/internal/checkout"
)

// cursorKey holds the cursor.
const cursorKey = "webhook.cursor"

// cursor says what is left to do: every event with a version above After, and those in
// Open ("<session>.<n>" → version). Everything else is done. Asked counts the requests
// for a redelivery, so that a request changes the cursor even when the event is in Open.
type cursor struct {
	After uint64            `json:"after"`
	Open  map[string]uint64 `json:"open,omitempty"`
	Asked uint64            `json:"asked,omitempty"`
}

func (s *Service) readCursor(ctx context.Context) (cursor, uint64, error) {
	var c cursor
	entry, err := s.store.Fresh(ctx, cursorKey)
	if errors.Is(err, checkout.ErrNotFound) {
		return c, 0, nil
	}
	if err != nil {
		return c, 0, fmt.Errorf("get cursor: %w", err)
	}
	if err := json.Unmarshal(entry.Value, &c); err != nil {
		return c, 0, fmt.Errorf("read cursor: %w", err)
	}
	return c, entry.Version, nil
}

// hold renews the lease until ctx ends, and delivers while it is held.
func (s *Service) hold(ctx, flights context.Context) {
	var end func()
	var until time.Time
	for {
		asked := time.Now()
		call, cancel := context.WithTimeout(ctx, leaseTTL/3)
		held, err := s.store.Lease(call, "webhook", leaseTTL)
		cancel()
		switch {
		case err != nil:
			if ctx.Err() == nil {
				s.log.Warn("webhook lease not renewed", "err", err)
			}
		case held:
			until = asked.Add(leaseTTL)
		default:
			until = time.Time{}
		}
		holding := time.Now().Before(until)
		switch {
		case holding && end == nil:
			end = s.term(ctx, flights)
		case !holding && end != nil:
			end()
			end = nil
		}
		if !pause(ctx, leaseTTL/3) {
			break
		}
	}
	if end != nil {
		end()
	}
}

// term delivers until the returned function is called; it returns when all that was
// under way is over.
func (s *Service) term(ctx, flights context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var workers, requests sync.WaitGroup
	workers.Go(func() {
		for {
			err := s.takeOver(ctx)
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				s.log.Warn("webhooks not taken over", "err", err)
			}
			if !pause(ctx, time.Second) {
				return
			}
		}
		s.log.Info("webhooks taken over")
		workers.Go(func() { s.load(ctx) })
		workers.Go(func() { s.keepCursor(ctx) })
		s.dispatch(ctx, flights, &requests)
	})
	return func() {
		cancel()
		workers.Wait()
		requests.Wait()
		last, cancel := context.WithTimeout(flights, storeTimeout)
		defer cancel()
		if err := s.saveCursor(last); err != nil && !errors.Is(err, checkout.ErrConflict) && flights.Err() == nil {
			s.log.Warn("webhook cursor not stored", "err", err)
		}
		s.obs.WebhookPending(0, 0)
	}
}

// takeOver begins where the cursor says, whatever this replica knew before.
func (s *Service) takeOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*storeTimeout)
	defer cancel()
	c, version, err := s.readCursor(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.queue = newQueue()
	s.frontier = c.After
	s.saved, s.cursorHave = c, version
	s.mu.Unlock()
	return s.admit(ctx, c)
}

// admit takes the cursor's open events into the queue.
func (s *Service) admit(ctx context.Context, c cursor) error {
	for name, version := range c.Open {
		e, ok := parseKey("", name)
		if !ok {
			continue
		}
		s.mu.Lock()
		it := s.queue.items[e]
		if it != nil {
			s.queue.nudge(it, time.Now())
		}
		s.mu.Unlock()
		if it != nil {
			continue
		}
		it = &item{event: e, stored: version}
		if err := s.recall(ctx, it); err != nil {
			return err
		}
		if it.delivery.State.done() {
			continue
		}
		it.at = time.Now()
		if it.delivery.Since != 0 {
			it.at = time.Unix(it.delivery.Since, 0)
		}
		due := it.delivery.due(time.Now())
		s.mu.Lock()
		s.queue.add(it, due)
		s.mu.Unlock()
	}
	wake(s.sendWake)
	return nil
}

// load brings new events from the store into the queue, in the order of the store.
func (s *Service) load(ctx context.Context) {
	for {
		again := pollEvery
		more, err := s.loadPage(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Warn("webhook events not read", "err", err)
			again = time.Second
		case more:
			continue
		default:
			s.mu.Lock()
			if s.frontier < s.seen && len(s.queue.items) < s.room {
				again = 250 * time.Millisecond // the list is behind the watch
			}
			s.mu.Unlock()
		}
		t := time.NewTimer(again)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-s.loadWake:
			t.Stop()
		case <-t.C:
		}
	}
}

func (s *Service) loadPage(ctx context.Context) (more bool, err error) {
	s.mu.Lock()
	room, after := s.room-len(s.queue.items), s.frontier
	s.mu.Unlock()
	limit := min(room, page)
	if limit <= 0 {
		return false, nil
	}
	list, cancel := context.WithTimeout(ctx, storeTimeout)
	entries, err := s.store.List(list, "event.", after, limit)
	cancel()
	if err != nil {
		return false, fmt.Errorf("list events: %w", err)
	}
	if len(entries) == 0 {
		return false, nil
	}
	items := make([]*item, 0, len(entries))
	for _, entry := range entries {
		e, ok := parseKey("event.", entry.Key)
		if !ok {
			s.log.Error("webhook event has a bad key")
			continue
		}
		it := &item{event: e, stored: entry.Version}
		var head struct {
			Timestamp string `json:"timestamp"`
		}
		_ = json.Unmarshal(entry.Value, &head) // an unreadable one is dealt with when it is sent
		it.at = stored{Timestamp: head.Timestamp}.time()
		if it.at.IsZero() {
			it.at = time.Now()
		}
		items = append(items, it)
	}
	now := time.Now()
	s.mu.Lock()
	for _, it := range items {
		s.queue.add(it, now)
	}
	s.frontier = entries[len(entries)-1].Version
	s.queue.changed = true
	s.mu.Unlock()
	wake(s.sendWake)
	return len(entries) == limit, nil
}

// dispatch starts an attempt whenever an event is due and a slot is free.
func (s *Service) dispatch(ctx, flights context.Context, requests *sync.WaitGroup) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		s.mu.Lock()
		for it := s.queue.take(now); it != nil; it = s.queue.take(now) {
			requests.Go(func() { s.attempt(flights, it) })
		}
		wait, timed := s.queue.wait(now)
		s.mu.Unlock()
		if !timed {
			wait = time.Hour
		}
		t.Reset(wait)
		select {
		case <-ctx.Done():
		case <-s.sendWake:
		case <-t.C:
		}
	}
}

// finish takes an event that is done out of the queue.
func (s *Service) finish(it *item) {
	s.mu.Lock()
	full := len(s.queue.items) >= s.room
	s.queue.done(it, time.Now())
	s.mu.Unlock()
	wake(s.sendWake)
	if full {
		wake(s.loadWake)
	}
}

// later puts an event back into the queue; err, if any, is why nothing was sent.
func (s *Service) later(it *item, due time.Time, err error) {
	if err != nil {
		s.log.Warn("webhook not sent", "session", it.session, "event", it.id(), "err", err)
	}
	s.mu.Lock()
	s.queue.later(it, due, time.Now())
	s.mu.Unlock()
	wake(s.sendWake)
}

// keepCursor stores the cursor when it changed, and takes up what others put into it.
func (s *Service) keepCursor(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-s.syncWake:
			err = s.joinCursor(ctx)
		case <-tick.C:
			s.measure()
			err = s.saveCursor(ctx)
			if errors.Is(err, checkout.ErrConflict) {
				err = s.joinCursor(ctx)
			}
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("webhook cursor not kept", "err", err)
		}
	}
}

// joinCursor reads the cursor that someone else wrote and takes up its open events.
func (s *Service) joinCursor(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*storeTimeout)
	defer cancel()
	s.mu.Lock()
	have, asked := s.cursorHave, s.saved.Asked
	s.mu.Unlock()
	c, version, err := s.readCursor(ctx)
	if err != nil || version == have {
		return err
	}
	if c.Asked != asked {
		if err := s.admit(ctx, c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.saved, s.cursorHave = c, version
	s.queue.changed = true
	s.mu.Unlock()
	return nil
}

// saveCursor stores what is left to do when that changed; ErrConflict when someone else
// wrote the cursor since it was read.
func (s *Service) saveCursor(ctx context.Context) error {
	s.mu.Lock()
	if !s.queue.changed {
		s.mu.Unlock()
		return nil
	}
	s.queue.changed = false
	c := s.position()
	saved, have := s.saved, s.cursorHave
	s.mu.Unlock()
	if c.After == saved.After && maps.Equal(c.Open, saved.Open) {
		return nil
	}
	err := s.storeCursor(ctx, c, have)
	if err != nil {
		s.mu.Lock()
		s.queue.changed = true
		s.mu.Unlock()
	}
	return err
}

func (s *Service) storeCursor(ctx context.Context, c cursor, have uint64) error {
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	versions, err := s.store.Commit(ctx, checkout.Write{Key: cursorKey, Value: value, Expect: have})
	if err != nil {
		return fmt.Errorf("store cursor: %w", err)
	}
	s.mu.Lock()
	s.saved, s.cursorHave = c, versions[0]
	s.mu.Unlock()
	return nil
}

// position gives the cursor of the queue as it is: all unfinished events, or the oldest
// maxOpen of them with After before the next one.
func (s *Service) position() cursor {
	c := cursor{After: s.frontier, Asked: s.saved.Asked}
	items := slices.SortedFunc(maps.Values(s.queue.items), func(a, b *item) int { return cmp.Compare(a.stored, b.stored) })
	if len(items) > maxOpen {
		c.After = min(c.After, items[maxOpen].stored-1)
		items = items[:maxOpen]
	}
	if len(items) > 0 {
		c.Open = make(map[string]uint64, len(items))
	}
	for _, it := range items {
		c.Open[it.String()] = it.stored
	}
	return c
}

func (s *Service) measure() {
	s.mu.Lock()
	count, oldest := len(s.queue.items), s.queue.oldest()
	s.mu.Unlock()
	age := time.Duration(0)
	if !oldest.IsZero() {
		age = max(0, time.Since(oldest))
	}
	s.obs.WebhookPending(count, age)
}
