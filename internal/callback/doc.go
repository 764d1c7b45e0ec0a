// Package callback owns the way of a callback from WZRDPAY into the state: the intake
// verifies it, stores it and only then lets it be answered; the worker applies what is
// stored, each record at least once, and remembers in the same commit how far it came.
// It knows nothing of payments and nothing of the store's engine: the Log, the Store and
// the Applier are handed in. It imports internal/checkout only.
package callback

import (
	"context"
	"time"

	"wzrdcheckout/internal/checkout"
)

// Verifier tells which key signed a body; the error is checkout.ErrUnauthorized.
type Verifier interface {
	Verify(body []byte, signature string) (mode string, err error)
}

// Log stores packs of records. Append returns when the pack is durable; after
// checkout.ErrTimeout it may be stored or not. Read waits for the first pack until its
// context ends. Trim tells that everything up to a sequence has been applied.
type Log interface {
	Streams() int
	Append(ctx context.Context, stream int, pack [][]byte) (seq uint64, err error)
	Read(ctx context.Context, stream int, from uint64, max int) ([]checkout.Pack, error)
	Trim(ctx context.Context, stream int, applied uint64) error
}

// Store is where the worker finds its cursor; Fresh never answers from a cache.
type Store interface {
	Fresh(ctx context.Context, key string) (checkout.Entry, error)
}

// Leaser lets one replica work at a time; nothing breaks when two do.
type Leaser interface {
	Lease(ctx context.Context, name string, ttl time.Duration) (held bool, err error)
}

// Applier puts a batch of callbacks into the state and writes the cursor, all in one
// commit. ErrConflict: something moved on, load and try again. ErrTooLarge: the batch
// needs more writes than a commit may have.
type Applier interface {
	ApplyCallbacks(ctx context.Context, updates []checkout.Update, cursor checkout.Write) error
}

// Parser reads the invoice out of a body. An error means that there is none.
type Parser func(body []byte) (checkout.Invoice, error)

// Outcome is what became of one callback at the intake.
type Outcome string

// The outcomes, as metrics label them.
const (
	Stored       Outcome = "stored"
	Unauthorized Outcome = "unauthorized" // no signature, or a wrong one
	WrongMode    Outcome = "wrong_mode"   // the body contradicts the key that signed it
	Invalid      Outcome = "invalid"      // not JSON
	TooLarge     Outcome = "too_large"
	Full         Outcome = "full"     // too many wait already
	Slow         Outcome = "slow"     // not durable in time
	Failed       Outcome = "failed"   // the store said no
	Stopping     Outcome = "stopping" // on the way down
)

// Observer hears what happens, for metrics. Its methods must not block.
type Observer interface {
	// Accepted is called once per callback with its outcome and how long it took.
	Accepted(outcome Outcome, took time.Duration)
	// Packed is called once per pack that was stored.
	Packed(stream, records, bytes int, took time.Duration)
	// Switched is called when a stream did not acknowledge in time and the next was taken.
	Switched(from int)
	// Applied is called once per commit of the worker.
	Applied(stream, records int, took time.Duration)
	// Unreadable is called per record that holds no payment invoice.
	Unreadable(stream int)
	// Retried is called when a batch has to be tried again; reason is one word.
	Retried(stream int, reason string)
	// Lag is how old the oldest record is that is stored and not applied, 0 = none.
	Lag(stream int, lag time.Duration)
}

// NoObserver hears nothing; embed it to hear a part.
type NoObserver struct{}

// Accepted does nothing.
func (NoObserver) Accepted(Outcome, time.Duration) {}

// Packed does nothing.
func (NoObserver) Packed(int, int, int, time.Duration) {}

// Switched does nothing.
func (NoObserver) Switched(int) {}

// Applied does nothing.
func (NoObserver) Applied(int, int, time.Duration) {}

// Unreadable does nothing.
func (NoObserver) Unreadable(int) {}

// Retried does nothing.
func (NoObserver) Retried(int, string) {}

// Lag does nothing.
func (NoObserver) Lag(int, time.Duration) {}
