package app

import (
	"context"
	"log/slog"
	"time"

	"wzrdcheckout/internal/checkout"
)

// Nightly runs one replica's look-out for the walk until ctx ends.
func Nightly(ctx context.Context, store interface {
	Fresh(ctx context.Context, key string) (checkout.Entry, error)
	Commit(ctx context.Context, writes ...checkout.Write) ([]uint64, error)
	Lease(ctx context.Context, name string, ttl time.Duration) (bool, error)
}, now func() time.Time, walk func(context.Context) error,
) error {
	return nightly{store: store, walk: walk, now: now, log: slog.New(slog.DiscardHandler)}.run(ctx)
}

// CheckClock is the clock's part of Check.
func CheckClock(ctx context.Context, base string, now func() time.Time) (Finding, bool) {
	return checkClock(ctx, base, now)
}
