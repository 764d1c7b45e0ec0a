package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/checkout"
)

const (
	// dueTTL is how long a due timer waits for somebody to take it, in seconds: longer
	// than any sensible standstill, short enough not to pile up.
	dueTTL = 30 * 86400

	dueAtOnce  = 16              // timers handled at the same time by one replica
	dueHandler = time.Minute     // what one may take
	dueWait    = 2 * time.Minute // then another replica gets it
	// dueFailed bounds the timers that failed and wait for their next try; the engine
	// counts them as handed out, and hands out nothing more beyond.
	dueFailed = 50000
)

// Due hands out timers whose time has come until ctx ends, each to one replica, at least
// once. An error of f means again, later: after 1 s, 2 s, 4 s … 10 minutes. A timer that
// was written again while f ran is handed out again at its new time.
func (b *Broker) Due(ctx context.Context, f func(ctx context.Context, key string, value []byte) error) error {
	select {
	case <-b.started:
	case <-ctx.Done():
		return fmt.Errorf("wait for due timers: %w", ctx.Err())
	}
	var handlers sync.WaitGroup
	defer handlers.Wait()
	slots := make(chan struct{}, dueAtOnce)
	for ctx.Err() == nil {
		consumer, err := b.dueConsumer(ctx)
		if err != nil {
			b.pauseDue(ctx, err)
			continue
		}
		for ctx.Err() == nil {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				continue
			}
			// One more than the free slots is never taken: what waits here is withheld
			// from the other replicas.
			free := 1
			for free < dueAtOnce {
				select {
				case slots <- struct{}{}:
					free++
					continue
				default:
				}
				break
			}
			got, err := b.takeDue(ctx, consumer, free, func(m jetstream.Msg) {
				handlers.Go(func() {
					defer func() { <-slots }()
					b.handleDue(ctx, m, f)
				})
			})
			for range free - got {
				<-slots
			}
			if err != nil {
				b.pauseDue(ctx, err)
				break
			}
		}
	}
	return fmt.Errorf("read due timers: %w", ctx.Err())
}

func (b *Broker) takeDue(ctx context.Context, consumer jetstream.Consumer, n int, f func(jetstream.Msg)) (got int, err error) {
	call, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	batch, err := consumer.Fetch(n, jetstream.FetchContext(call))
	if err != nil {
		return 0, kind(err)
	}
	for m := range batch.Messages() {
		got++
		f(m)
	}
	if err := batch.Error(); err != nil && call.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
		return got, kind(err)
	}
	return got, nil
}

func (b *Broker) handleDue(ctx context.Context, m jetstream.Msg, f func(ctx context.Context, key string, value []byte) error) {
	key := strings.TrimPrefix(m.Subject(), duePrefix)
	call, cancel := context.WithTimeout(ctx, dueHandler)
	defer cancel()
	err := f(call, key, m.Data())
	if err == nil {
		if err := m.Ack(); err != nil {
			b.log.Warn("timer not acknowledged: it will come again", "key", key, "err", err)
		}
		return
	}
	delay := time.Second
	if meta, metaErr := m.Metadata(); metaErr == nil {
		delay = min(time.Second<<min(meta.NumDelivered-1, 10), 10*time.Minute)
	}
	b.log.Info("timer failed", "key", key, "again_in", delay, "err", err)
	if err := m.NakWithDelay(delay); err != nil {
		b.log.Warn("timer not given back: it will come again", "key", key, "err", err)
	}
}

func (b *Broker) dueConsumer(ctx context.Context) (jetstream.Consumer, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	consumer, err := b.js.Consumer(call, stateStream, dueConsumer)
	if err == nil {
		return consumer, nil
	}
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, kind(err)
	}
	consumer, err = b.js.CreateOrUpdateConsumer(call, stateStream, jetstream.ConsumerConfig{
		Durable:       dueConsumer,
		FilterSubject: duePrefix + ">",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       dueWait,
		MaxDeliver:    -1,
		MaxAckPending: dueFailed,
	})
	if err != nil {
		return nil, kind(err)
	}
	return consumer, nil
}

func (b *Broker) pauseDue(ctx context.Context, err error) {
	if ctx.Err() == nil && !errors.Is(err, checkout.ErrTimeout) {
		b.log.Warn("due timers can not be read", "err", err)
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
}
