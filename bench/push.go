package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// side is a server with a crowd of sockets.
type side struct {
	name  string
	pid   int
	crowd *actor
	empty float64 // RSS before the first socket
}

// fleet is ours and the peer, each with the same number of sockets.
type fleet struct {
	sessions int
	bff      *bff
	sides    []*side // ours, then Centrifuge unless it could not be had
	missing  error   // why there is no peer
	ends     []func()
	later    int64
	quiet    time.Duration // of memory, to have settled
}

func (b *bench) endFleet() {
	if b.fleet == nil {
		return
	}
	for _, end := range b.fleet.ends {
		end()
	}
	b.fleet = nil
}

// standing gives the fleet: sessions, each with an open invoice and a callback that says
// "processed", and no socket yet.
func (b *bench) standing(ctx context.Context) (*fleet, error) {
	if b.fleet != nil {
		return b.fleet, nil
	}
	v := &fleet{sessions: 10_000, quiet: b.quiet()}
	if b.short {
		v.sessions = 1000
	}
	b.fleet = v
	if free := openFiles() - 500; free < v.sessions {
		return nil, fmt.Errorf("a process may have only %d files open (ulimit -n)", openFiles())
	}
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{Faults: sandbox.NoFaults()})
	if err != nil {
		return nil, err
	}
	v.ends = append(v.ends, stop)
	kept, err := record(v.sessions)
	if err != nil {
		return nil, err
	}
	v.ends = append(v.ends, func() { _ = kept.Close() })
	dir, err := b.dir("push")
	if err != nil {
		return nil, err
	}
	f, err := b.startBFF(ctx, bffSettings{wzrd: wzrd, dir: dir, publicURL: kept.url})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	list, callbacks, err := f.paidSessions(ctx, wzrd, kept, "push", v.sessions)
	// A bff that has just opened so many sessions has memory to spare, in which sockets
	// would cost nothing: it begins anew.
	f.stop()
	if err != nil {
		return nil, err
	}
	if f, err = b.startBFF(ctx, bffSettings{wzrd: wzrd, dir: dir, publicURL: kept.url}); err != nil {
		return nil, err
	}
	v.bff = f
	v.ends = append(v.ends, f.kill)
	b.say("%d sessions with an open invoice in %s", v.sessions, time.Since(began).Round(100*time.Millisecond))
	setting := crowdSetting{Addr: f.public, Protocol: "checkout", Key: wzrd.Credentials().SigningKeys[0]}
	for i, s := range list {
		setting.Tokens = append(setting.Tokens, s.Token)
		setting.News = append(setting.News, crowdMessage{callbacks[i].before, callbacks[i].after, callbacks[i].updated})
	}
	crowd, err := act("sockets", setting)
	if err != nil {
		return nil, err
	}
	v.ends = append(v.ends, crowd.end)
	ours := &side{name: "ours", pid: f.pid(), crowd: crowd}
	v.sides = append(v.sides, ours)

	if peer, err := b.centrifuge(ctx, v); err != nil {
		v.missing = err
	} else {
		v.sides = append(v.sides, peer)
	}
	empty, err := v.settle(ctx)
	if err != nil {
		select {
		case <-f.done:
			err = fmt.Errorf("bff ended: %v: %s", f.ended, f.tail()) //nolint:errorlint // told, not handled
		default:
		}
		return nil, err
	}
	for i, s := range v.sides {
		s.empty = empty[i]
	}
	return v, nil
}

// centrifuge starts the peer: the library that Centrifugo is made of, with a server that
// does nothing but publish and deliver.
func (b *bench) centrifuge(ctx context.Context, v *fleet) (*side, error) {
	path, err := b.built(ctx, "peers/centrifuge")
	if err != nil {
		return nil, err
	}
	server, err := direct(exec.Command(path), "centrifuge", struct{}{}) //nolint:gosec,noctx // just built; it ends with its input
	if err != nil {
		return nil, err
	}
	v.ends = append(v.ends, server.end)
	// What is published is as long as one of our frames.
	setting := crowdSetting{Addr: server.addr, Protocol: "centrifuge"}
	data := append(append([]byte(`{"session":"`), bytes.Repeat([]byte("x"), 700)...), `"}`...)
	for i := range v.sessions {
		setting.Tokens = append(setting.Tokens, fmt.Sprintf("session-%d", i))
		setting.News = append(setting.News, crowdMessage{Before: data})
	}
	crowd, err := act("sockets", setting)
	if err != nil {
		return nil, err
	}
	v.ends = append(v.ends, crowd.end)
	return &side{name: "Centrifuge", pid: server.pid(), crowd: crowd}, nil
}

// bring opens or closes sockets until both sides have so many.
func (v *fleet) bring(ctx context.Context, n int) error {
	for _, s := range v.sides {
		var r crowdReport
		if err := s.crowd.order(ctx, crowdOrder{Do: "open", N: n, Parallel: 256}, &r); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// open is bring, and gives the memory of each socket.
func (v *fleet) open(ctx context.Context, n int) (kB []float64, err error) {
	if err := v.bring(ctx, n); err != nil {
		return nil, err
	}
	full, err := v.settle(ctx)
	for i, bytes := range full {
		kB = append(kB, (bytes-v.sides[i].empty)/float64(n)/1000)
	}
	return kB, err
}

// settle waits for the memory of all sides.
func (v *fleet) settle(ctx context.Context) ([]float64, error) {
	full, wrong := make([]float64, len(v.sides)), make([]error, len(v.sides))
	var all sync.WaitGroup
	for i, s := range v.sides {
		all.Go(func() { full[i], wrong[i] = settled(ctx, s.pid, v.quiet) })
	}
	all.Wait()
	return full, errors.Join(wrong...)
}

// turn lets one side push for a while.
func (v *fleet) turn(ctx context.Context, s *side, rate float64, n int) (crowdReport, time.Duration, error) {
	before, _ := cpu(s.pid)
	var r crowdReport
	err := s.crowd.order(ctx, crowdOrder{Do: "run", N: n, Rate: rate, Later: v.later}, &r)
	after, _ := cpu(s.pid)
	if err != nil {
		return r, 0, fmt.Errorf("%s: %w", s.name, err)
	}
	return r, after - before, nil
}

const centrifugeIs = "Centrifuge library: publish → deliver, in memory, nothing stored"

// push measures from a callback sent to the frame read, with many sockets open.
func (b *bench) push(ctx context.Context) error {
	v, err := b.standing(ctx)
	if err != nil {
		return err
	}
	if v.missing != nil {
		b.missing("peer Centrifuge", "", v.missing)
	}
	// Growth: as many as the files allow, with several sockets of one session beyond.
	steps := []int{1000, 2000, 5000, v.sessions}
	if b.short {
		steps = []int{v.sessions / 2, v.sessions}
	}
	free := openFiles() - 1000
	for _, n := range []int{25_000, 50_000} {
		switch {
		case b.short:
			b.missing(fmt.Sprintf("%s sockets", number(float64(n))), "", errors.New("not with -short"))
		case n <= free:
			steps = append(steps, n)
		default:
			b.missing(fmt.Sprintf("%s sockets", number(float64(n))), "", fmt.Errorf("a process may have only %d files open here (ulimit -Hn)", openFiles()))
		}
	}
	if last := steps[len(steps)-1]; !b.short && last < 25_000 && free > last {
		steps = append(steps, free/1000*1000)
	}
	var memory, wait [2]curve
	for i, name := range []string{"ours", "Centrifuge library"} {
		kind := [...]string{"ours", "peer"}[i]
		memory[i], wait[i] = curve{Name: name, Kind: kind}, curve{Name: name, Kind: kind}
	}
	limits := curve{Name: "goal: 12 kB", Kind: "limit"}
	// Memory first: what pushing leaves behind is not a socket's. Then the pushing, from
	// many sockets to few.
	for _, n := range steps {
		kB, err := v.open(ctx, n)
		if err != nil {
			return err
		}
		limit, peer := 0.0, ""
		if n == v.sessions {
			limit = 12
		}
		if len(kB) > 1 {
			peer = number(kB[1]) + " kB (Centrifuge library, settings as they come)"
		}
		for i, one := range kB {
			memory[i].with(float64(n), one)
		}
		limits.with(float64(n), 12)
		b.atMost(fmt.Sprintf("memory per idle socket, %s sockets (RSS, settled)", number(float64(n))), limit, kB[:1], " kB", peer)
	}
	const rate = 1000.0
	for _, n := range slices.Backward(steps) {
		if err := v.bring(ctx, n); err != nil {
			return err
		}
		rounds, seconds := 1, 3.0
		if n == v.sessions {
			rounds, seconds = b.rounds(3), 5.0
		}
		if b.short {
			seconds = 1
		}
		p99, err := b.pushTurns(ctx, v, n, rounds, rate, int(min(rate*seconds, float64(v.sessions))))
		if err != nil {
			return err
		}
		for i, list := range [][]float64{p99.ours, p99.peer} {
			if i < len(v.sides) {
				wait[i].with(float64(n), median(list))
			}
		}
	}
	b.plots = append(b.plots, plot{"sockets", "Memory per idle socket, and p99 from a callback to its frame, by the number of sockets", []panel{
		{X: "sockets", Y: "kB per idle socket", Rows: append(drawable(memory[:]...), limits)},
		{X: "sockets", Y: fmt.Sprintf("callback → frame, p99, ms, %s/s", number(rate)), LogY: true, Rows: drawable(wait[:]...)},
	}})
	return nil
}

func (b *bench) pushTurns(ctx context.Context, v *fleet, sockets, rounds int, rate float64, messages int) (p99 pair, err error) {
	var p50, burnt, disk pair
	var answered []float64
	inside := v.bff.watch(ctx)
	for round := range rounds + 1 {
		v.later += 10
		var got [2]crowdReport
		var used [2]time.Duration
		for turn := range len(v.sides) {
			at := (turn + round) % len(v.sides)
			n := messages
			if round == 0 {
				n = messages / 5
			}
			r, burned, err := v.turn(ctx, v.sides[at], rate, n)
			if err != nil {
				return p99, err
			}
			if sockets >= v.sessions && r.Received < n {
				b.must(fmt.Sprintf("%s: frames within 30 s of the last of %d messages, %s sockets", v.sides[at].name, n, number(float64(sockets))),
					fmt.Sprintf("≥ %d", n), fmt.Sprint(r.Received), "", false)
			}
			got[at], used[at] = r, burned
		}
		if round == 0 {
			continue
		}
		syncs, err := syncTimes(b.root, 50)
		if err != nil {
			return p99, err
		}
		p50.add(got[0].P50, got[1].P50)
		p99.add(got[0].P99, got[1].P99)
		disk.add(ms(quantile(syncs, 0.5)), ms(quantile(syncs, 0.99)))
		answered = append(answered, got[0].Answered)
		burnt.add(float64(used[0].Microseconds())/float64(got[0].Sent), float64(used[1].Microseconds())/float64(got[1].Sent))
		if err := ctx.Err(); err != nil {
			return p99, err
		}
	}
	b.say("%d sockets, p50 of ours %v; p99 of ours %v, of the peer %v; disk p50 %v, p99 %v", sockets, p50.ours, p99.ours, p99.peer, disk.ours, disk.peer)
	name := fmt.Sprintf("callback in → frame out, %s sockets, %s/s", number(float64(sockets)), number(rate))
	if len(v.sides) == 1 {
		b.atMost(name+", p50", 0, p50.ours, " ms", "")
		b.atMost(name+", p99 of ours alone", 0, p99.ours, " ms", "Centrifugo in an earlier measurement on another day: 1.6–4.2 ms")
		if sockets == v.sessions {
			b.missing(name+", p99", "≤ 1 x", v.missing)
		}
		return p99, nil
	}
	goal := 0.0
	if sockets == v.sessions {
		goal = 1
	}
	b.below(name+", p50", 0, p50.ours, p50.peer, p50.ratios, " ms", centrifugeIs)
	b.below(name+", p99", goal, p99.ours, p99.peer, p99.ratios, " ms", centrifugeIs)
	b.fact("… of it until the callback was on disk and answered, p50", number(median(answered))+" ms",
		fmt.Sprintf("one 4 kB append and fdatasync between the turns: p50 %s ms, p99 %s ms; ours waits for two", number(median(disk.ours)), number(median(disk.peer))))
	b.fact("… inside, mean, from /metrics, the turn that warms up included", "", inside(ctx))
	b.below("… server CPU per push", 0, burnt.ours, burnt.peer, burnt.ratios, " µs", "Centrifuge: HTTP publish, no signature, nothing stored")
	return p99, nil
}

// storm cuts all sockets at once and waits until all have resumed.
func (b *bench) storm(ctx context.Context) error {
	v, err := b.standing(ctx)
	if err != nil {
		return err
	}
	if _, err := v.open(ctx, v.sessions); err != nil {
		return err
	}
	var seconds, peak pair
	waits := make([][]float64, 2)
	for range b.rounds(3) {
		took, top := [2]float64{}, [2]float64{}
		for i, s := range v.sides {
			stop, highest := make(chan struct{}), make(chan float64, 1)
			go func() {
				high := 0.0
				for {
					if now, err := rss(s.pid); err == nil {
						high = max(high, now)
					}
					select {
					case <-stop:
						highest <- high
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			}()
			before, err := rss(s.pid)
			var r crowdReport
			asked := s.crowd.order(ctx, crowdOrder{Do: "cut", Parallel: 1024}, &r)
			close(stop)
			high := <-highest
			if err := errors.Join(err, asked); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			took[i], top[i] = r.Seconds, (high-before)/1e6
			waits[i] = append(waits[i], r.P99)
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
		}
		seconds.add(took[0], took[1])
		peak.add(top[0], top[1])
	}
	r := crowdReport{}
	if err := v.sides[0].crowd.order(ctx, crowdOrder{Do: "open", N: 0}, &r); err != nil {
		return err
	}
	name := fmt.Sprintf("%s sockets cut at once, all resumed", number(float64(r.Sockets)))
	if len(v.sides) == 1 {
		b.atMost(name, 0, seconds.ours, " s", "")
		b.atMost("… memory above before, at its peak", 0, peak.ours, " MB", "")
		return nil
	}
	b.below(name, 0, seconds.ours, seconds.peer, seconds.ratios, " s", "Centrifuge library, no state to resume from")
	b.atMost("… memory above before, at its peak", 0, peak.ours, " MB", number(median(peak.peer))+" MB")
	b.atMost("… p99 of a page's wait", 0, waits[0], " ms", number(median(waits[1]))+" ms")
	return nil
}

// watch gives a function that tells what the intake and the worker did since.
func (f *bff) watch(ctx context.Context) func(context.Context) string {
	read := func(ctx context.Context) func(name string) float64 {
		_, text, err := exchange(ctx, http.MethodGet, "http://"+f.private+"/metrics", nil, nil)
		return func(name string) float64 {
			v, missing := metric(text, name)
			if err != nil || missing != nil {
				return math.NaN()
			}
			return v
		}
	}
	before := read(ctx)
	return func(ctx context.Context) string {
		after := read(ctx)
		grown := func(name string) float64 { return after(name) - before(name) }
		mean := func(name string) float64 { return grown(name+"_sum ") / grown(name+"_count ") }
		return fmt.Sprintf("one pack %.1f callbacks, stored in %.2f ms; one commit of the state %.1f callbacks, applied in %.2f ms",
			mean("callback_pack_records"), mean("callback_store_seconds")*1000,
			grown("callback_applied_total ")/grown("callback_apply_seconds_count "), mean("callback_apply_seconds")*1000)
	}
}
