package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/sandbox"
)

// sessions measures how fast sessions are opened, and what 10,000 open ones cost.
func (b *bench) sessions(ctx context.Context) error {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{Faults: sandbox.NoFaults()})
	if err != nil {
		return err
	}
	defer stop()
	dir, err := b.dir("sessions")
	if err != nil {
		return err
	}
	f, err := b.startBFF(ctx, bffSettings{wzrd: wzrd, dir: dir})
	if err != nil {
		return err
	}
	defer f.kill()
	if _, err := f.open(ctx, "warm", 64); err != nil {
		return err
	}
	before, err := settled(ctx, f.pid(), b.quiet())
	if err != nil {
		return err
	}
	many := 10_000
	if b.short {
		many = 2000
	}
	if _, err := f.open(ctx, "kept", many); err != nil {
		return err
	}
	after, err := settled(ctx, f.pid(), b.quiet())
	if err != nil {
		return err
	}
	b.atMost(fmt.Sprintf("memory of %s open sessions (RSS, settled)", thousands(many)), 0, []float64{(after - before) / 1e6}, " MB",
		fmt.Sprintf("%.2f kB each; idle before %.0f MB", (after-before)/float64(many)/1000, before/1e6))

	puts, end, err := b.keyValue(ctx)
	if err != nil {
		return err
	}
	defer end()
	const clients = 64
	var rate, p99 pair
	span := b.span(time.Second)
	for round := range b.rounds(5) + 1 {
		var ours load
		var plainRate float64
		var plainTook []time.Duration
		for turn := range 2 {
			if (turn+round)%2 == 0 {
				var next atomic.Int64
				ours, err = drive(ctx, f.private, clients, span, http.StatusCreated, func(int, int) []byte {
					return request("POST", f.private, "/v1/sessions", shopHeader(), newSession(fmt.Sprintf("s-%d-%d", round, next.Add(1))))
				})
			} else {
				plainRate, plainTook, err = puts(ctx, clients, span)
			}
			if err != nil {
				return err
			}
		}
		if round == 0 {
			continue
		}
		rate.add(ours.rate(), plainRate)
		p99.add(ms(quantile(ours.took, 0.99)), ms(quantile(plainTook, 0.99)))
	}
	const is = "one compare-and-set put of 1 kB each, same engine, no HTTP"
	b.versus("POST /v1/sessions, 64 clients", 0, rate.ours, rate.peer, rate.ratios, is)
	b.below("… p99", 0, p99.ours, p99.peer, p99.ratios, " ms", is)
	return nil
}

// keyValue opens an embedded JetStream like the program's, every write synced, and gives
// a function that puts new keys by compare-and-set.
func (b *bench) keyValue(ctx context.Context) (puts func(ctx context.Context, clients int, span time.Duration) (float64, []time.Duration, error), end func(), err error) {
	dir, err := b.dir("kv")
	if err != nil {
		return nil, nil, err
	}
	s, err := server.NewServer(&server.Options{ServerName: "bench", DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true})
	if err != nil {
		return nil, nil, fmt.Errorf("start store: %w", err)
	}
	s.Start()
	halt := func() {
		s.Shutdown()
		s.WaitForShutdown()
	}
	if !s.ReadyForConnections(30 * time.Second) {
		halt()
		return nil, nil, errors.New("start store: it is not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		halt()
		return nil, nil, fmt.Errorf("connect to store: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		halt()
		return nil, nil, fmt.Errorf("open store: %w", err)
	}
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "sessions", Storage: jetstream.FileStorage})
	if err != nil {
		halt()
		return nil, nil, fmt.Errorf("make bucket: %w", err)
	}
	value := bytes.Repeat([]byte("0123456789abcdef"), 64)
	var key atomic.Int64
	puts = func(ctx context.Context, clients int, span time.Duration) (float64, []time.Duration, error) {
		took := make([][]time.Duration, clients)
		began := time.Now()
		stop := began.Add(span)
		err := each(ctx, clients, clients, func(ctx context.Context, _, client int) error {
			for time.Now().Before(stop) {
				at := time.Now()
				if _, err := kv.Create(ctx, fmt.Sprintf("s.%d", key.Add(1)), value); err != nil {
					return fmt.Errorf("put: %w", err)
				}
				took[client] = append(took[client], time.Since(at))
			}
			return nil
		})
		all := sorted(took)
		return float64(len(all)) / time.Since(began).Seconds(), all, err
	}
	return puts, func() { nc.Close(); halt() }, nil
}
