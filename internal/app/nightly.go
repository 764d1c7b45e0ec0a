package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"wzrdcheckout/internal/checkout"
)

const (
	// walkKey holds when WZRDPAY's list was last walked to its end, Unix seconds. It is in
	// the store because replicas restart more often than once a day.
	walkKey   = "cursor.reconcile"
	walkLease = "reconcile"

	walkEvery = 24 * time.Hour
	walkLook  = 10 * time.Minute // how often a replica looks whether a walk is due
	walkFirst = time.Minute      // and after its start
	walkAgain = time.Hour        // after a walk that failed
	// walkTime bounds a walk and is shorter than the lease, which nobody renews meanwhile.
	walkTime     = 50 * time.Minute
	walkLeaseTTL = time.Hour
	// walkAhead: a last walk that is so far in the future was written by a clock that was wrong.
	walkAhead = time.Hour
)

// nightly has the walk of WZRDPAY's list done once in 24 hours, by one replica, over
// restarts of all of them.
type nightly struct {
	store interface {
		Fresh(ctx context.Context, key string) (checkout.Entry, error)
		Commit(ctx context.Context, writes ...checkout.Write) ([]uint64, error)
		Lease(ctx context.Context, name string, ttl time.Duration) (bool, error)
	}
	walk func(ctx context.Context) error
	now  func() time.Time
	log  *slog.Logger
}

// run looks until ctx ends.
func (n nightly) run(ctx context.Context) error {
	wait := walkFirst
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = walkLook
		if err := n.look(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("reconcile invoices", "err", err)
			wait = walkAgain
		}
	}
}

// look walks when it is time.
func (n nightly) look(ctx context.Context) error {
	due, err := n.due(ctx)
	if err != nil || !due {
		return err
	}
	held, err := n.store.Lease(ctx, walkLease, walkLeaseTTL)
	if err != nil {
		return fmt.Errorf("ask for the lease of the walk: %w", err)
	}
	if !held {
		return nil
	}
	// Who held it before may have just come to the end.
	if due, err = n.due(ctx); err != nil || !due {
		return err
	}
	walk, cancel := context.WithTimeout(ctx, walkTime)
	defer cancel()
	if err := n.walk(walk); err != nil {
		return err
	}
	return n.note(ctx, true)
}

// due tells whether the last walk is a day old. A store that knows of none has just been
// made: there is nothing yet that could have been missed.
func (n nightly) due(ctx context.Context) (bool, error) {
	e, err := n.store.Fresh(ctx, walkKey)
	if errors.Is(err, checkout.ErrNotFound) {
		err := n.note(ctx, false)
		if errors.Is(err, checkout.ErrConflict) {
			err = nil // another replica was here
		}
		return false, err
	}
	if err != nil {
		return false, fmt.Errorf("read the last walk: %w", err)
	}
	last, err := strconv.ParseInt(string(e.Value), 10, 64)
	age := n.now().Sub(time.Unix(last, 0))
	return err != nil || age >= walkEvery || age < -walkAhead, nil
}

// note writes that now is the last walk; again = there was one before.
func (n nightly) note(ctx context.Context, again bool) error {
	value := strconv.FormatInt(n.now().Unix(), 10)
	if _, err := n.store.Commit(ctx, checkout.Write{Key: walkKey, Value: []byte(value), Any: again}); err != nil {
		return fmt.Errorf("note the walk: %w", err)
	}
	return nil
}
