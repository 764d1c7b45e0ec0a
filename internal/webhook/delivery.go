package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"wzrdcheckout/internal/checkout"
)

// delivery is what is stored under delivery.<session>.<n>. Times are Unix seconds.
// Tries and Since belong to the present round: a redelivery begins a new one.
type delivery struct {
	State    State     `json:"state"`
	Attempts []Attempt `json:"attempts"` // the last maxAttempts
	NextAt   int64     `json:"next_at,omitempty"`
	Tries    int       `json:"tries,omitempty"`
	Since    int64     `json:"since,omitempty"`
	// Resend: asked for after it was done; it waits in a lane of its own, so that the
	// session's later events do not wait for it.
	Resend bool `json:"resend,omitempty"`
}

const (
	// maxAttempts is how many attempts a delivery remembers.
	maxAttempts = 20
	// giveUp is how long an event is tried, from its first attempt on.
	giveUp = 72 * time.Hour
)

// delays are the pauses after the 1st, 2nd, … failed attempt; the last one repeats.
var delays = [...]time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute,
	30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour,
}

// after gives the delivery that follows d when attempt a ended at now, and the moment of
// the next attempt, zero for none.
func (d delivery) after(a Attempt, now time.Time) (delivery, time.Time) {
	attempts := d.Attempts[max(0, len(d.Attempts)+1-maxAttempts):]
	d.Attempts = append(append(make([]Attempt, 0, len(attempts)+1), attempts...), a)
	d.NextAt = 0
	if d.Since == 0 {
		d.Since = a.At
	}
	d.Tries++
	end := time.Unix(d.Since, 0).Add(giveUp)
	switch {
	case a.Status >= 200 && a.Status <= 299:
		d.State = Delivered
	case a.Status == 410:
		d.State = Gone
	case !now.Before(end):
		d.State = Dead
	default:
		d.State = Pending
		delay := delays[min(d.Tries, len(delays))-1]
		// Up to a tenth later, so that a thousand sessions that failed together do not
		// come back together.
		delay += rand.N(delay / 10) //nolint:gosec // spreads load, guards nothing
		next := now.Add(delay)
		if next.After(end) {
			next = end
		}
		d.NextAt = (next.UnixMilli() + 999) / 1000
		return d, next
	}
	return d, time.Time{}
}

// due is when the next attempt is made. One that lies further ahead than any pause does was
// put there by a clock that was wrong since; it is made now.
func (d delivery) due(now time.Time) time.Time {
	next := time.Unix(d.NextAt, 0)
	most := delays[min(max(d.Tries, 1), len(delays))-1]
	if next.Before(now) || next.Sub(now) > most+most/10+2*time.Second {
		return now
	}
	return next
}

// attempt sends the event that it names, once, and stores what became of it. ctx ends
// when the program can wait no longer: then nothing is stored.
func (s *Service) attempt(ctx context.Context, it *item) {
	if !it.known {
		if err := s.recall(ctx, it); err != nil {
			s.later(it, time.Now().Add(delays[0]), err)
			return
		}
		if it.delivery.State.done() {
			s.finish(it)
			return
		}
		now := time.Now()
		if next := it.delivery.due(now); next.After(now) {
			s.later(it, next, nil)
			return
		}
	}
	get, cancel := context.WithTimeout(ctx, storeTimeout)
	e, _, err := s.read(get, it.event)
	cancel()
	switch {
	case errors.Is(err, checkout.ErrNotFound):
		s.log.Error("webhook event is not in the store", "session", it.session, "event", it.id())
		s.finish(it)
		return
	case errors.Is(err, errUnreadable):
		s.log.Error("webhook event is unreadable", "session", it.session, "event", it.id())
		s.settle(ctx, it, Attempt{At: time.Now().Unix(), Error: "event unreadable"}, true)
		return
	case err != nil:
		s.later(it, time.Now().Add(delays[0]), err)
		return
	}
	a, result := s.send.post(ctx, e)
	if ctx.Err() != nil && a.Status == 0 {
		return // cut off by Stop: whoever comes next sends it again
	}
	s.obs.WebhookAttempt(result, time.Duration(a.MS)*time.Millisecond)
	if next := s.settle(ctx, it, a, false); next == Delivered {
		s.obs.WebhookDelivered(max(0, time.Since(e.time())))
	}
}

// recall reads what is stored of a delivery; nothing is a delivery not begun.
func (s *Service) recall(ctx context.Context, it *item) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	d, version, err := s.delivery(ctx, it.event)
	if err != nil {
		return err
	}
	it.delivery, it.version, it.known = d, version, true
	return nil
}

func (s *Service) delivery(ctx context.Context, name event) (delivery, uint64, error) {
	entry, err := s.store.Fresh(ctx, name.deliveryKey())
	if errors.Is(err, checkout.ErrNotFound) {
		return delivery{State: Pending}, 0, nil
	}
	if err != nil {
		return delivery{}, 0, fmt.Errorf("get delivery: %w", err)
	}
	var d delivery
	if err := json.Unmarshal(entry.Value, &d); err != nil {
		return delivery{}, 0, fmt.Errorf("read delivery: %w", err)
	}
	return d, entry.Version, nil
}

// settle stores the attempt, by compare-and-set, however long that takes, and moves the
// lane on. It returns the event's state, "" when the program ended first.
func (s *Service) settle(ctx context.Context, it *item, a Attempt, hopeless bool) State {
	for {
		d, next := it.delivery.after(a, time.Now())
		if hopeless {
			d.State, d.NextAt = Dead, 0
		}
		err := s.storeDelivery(ctx, it, d)
		switch {
		case err == nil:
			s.report(it, a, d)
			if d.State.done() {
				s.finish(it)
			} else {
				s.later(it, next, nil)
			}
			return d.State
		case errors.Is(err, checkout.ErrConflict):
			// Another replica sent it too, or someone asked for it again.
			err = s.recall(ctx, it)
			if err == nil {
				if was := it.delivery.State; was.done() {
					s.finish(it)
					return was
				}
				if n := len(it.delivery.Attempts); n > 0 && it.delivery.Attempts[n-1] == a {
					// An earlier try was stored after all, and its answer lost.
					s.later(it, it.delivery.due(time.Now()), nil)
					return Pending
				}
				continue
			}
		}
		s.log.Warn("webhook delivery not stored", "session", it.session, "event", it.id(), "err", err)
		if !pause(ctx, time.Second) {
			return ""
		}
	}
}

func (s *Service) storeDelivery(ctx context.Context, it *item, d delivery) error {
	value, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("write delivery: %w", err)
	}
	writes := []checkout.Write{{Key: it.deliveryKey(), Value: value, Expect: it.version}}
	if d.State == Dead {
		writes = append(writes, checkout.Write{Key: it.deadKey(), Value: []byte("{}"), Any: true})
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	versions, err := s.store.Commit(ctx, writes...)
	if err != nil {
		return fmt.Errorf("store delivery: %w", err)
	}
	it.delivery, it.version = d, versions[0]
	return nil
}

func (s *Service) report(it *item, a Attempt, d delivery) {
	args := []any{"session", it.session, "event", it.id(), "status", a.Status, "ms", a.MS}
	if a.Error != "" {
		args = append(args, "err", a.Error)
	}
	switch d.State {
	case Delivered:
		s.log.Debug("webhook delivered", args...)
	case Gone:
		s.log.Warn("webhook refused for good", args...)
	case Dead:
		s.obs.WebhookDead()
		s.log.Error("webhook given up", args...)
	default:
		s.log.Info("webhook failed", append(args, "next_at", d.NextAt)...)
	}
}

// Redeliver sends an event again soon, with the same id, whatever became of it: a
// delivered, dead or gone one in a lane of its own, a waiting one in its turn.
// checkout.ErrNotFound for an unknown id; checkout.ErrConflict when there is no URL.
func (s *Service) Redeliver(ctx context.Context, eventID string) error {
	name, ok := parseID(eventID)
	if !ok {
		return fmt.Errorf("redeliver event: %w", checkout.ErrNotFound)
	}
	_, version, err := s.read(ctx, name)
	if err != nil {
		return fmt.Errorf("redeliver event: %w", err)
	}
	if s.send == nil {
		return &checkout.Error{Kind: checkout.ErrConflict, Code: "webhook_not_configured", Detail: "set BFF_WEBHOOK_URL to send webhooks"}
	}
	for range 20 {
		err = s.reopen(ctx, name, version)
		if !errors.Is(err, checkout.ErrConflict) {
			break
		}
		if !pause(ctx, rand.N(50*time.Millisecond)) { //nolint:gosec // spreads load, guards nothing
			return fmt.Errorf("redeliver event: %w", ctx.Err())
		}
	}
	if errors.Is(err, checkout.ErrConflict) {
		return &checkout.Error{Kind: checkout.ErrUnavailable, Code: "busy", Retryable: true, Cause: err}
	}
	return err
}

func (s *Service) reopen(ctx context.Context, name event, version uint64) error {
	d, had, err := s.delivery(ctx, name)
	if err != nil {
		return fmt.Errorf("redeliver event: %w", err)
	}
	if had == 0 {
		return nil // its first attempt is due anyway
	}
	c, cursorVersion, err := s.readCursor(ctx)
	if err != nil {
		return fmt.Errorf("redeliver event: %w", err)
	}
	if len(c.Open) >= 2*maxOpen {
		return &checkout.Error{Kind: checkout.ErrLimited, Code: "too_many_redeliveries", Detail: "wait until some of them are done", Retryable: true}
	}
	if c.Open == nil {
		c.Open = map[string]uint64{}
	}
	c.Open[name.String()] = version
	c.Asked++
	dead := d.State == Dead
	d.Resend = d.Resend || d.State.done()
	d.State, d.Tries, d.Since, d.NextAt = Pending, 0, 0, time.Now().Unix()
	value, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("redeliver event: %w", err)
	}
	position, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("redeliver event: %w", err)
	}
	writes := []checkout.Write{
		{Key: name.deliveryKey(), Value: value, Expect: had},
		{Key: cursorKey, Value: position, Expect: cursorVersion},
	}
	if dead {
		// Off the list of dead letters; the note itself goes away by its TTL.
		writes = append(writes, checkout.Write{Key: name.deadKey(), Value: []byte("null"), Any: true, TTL: 60})
	}
	if _, err := s.store.Commit(ctx, writes...); err != nil {
		return fmt.Errorf("redeliver event: %w", err)
	}
	return nil
}
