package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// checkout measures GET /v1/checkout: from memory against a bare handler with the same
// bytes, and 1,000 at once on a bff that has just started.
func (b *bench) checkout(ctx context.Context) error {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{Faults: sandbox.NoFaults()})
	if err != nil {
		return err
	}
	defer stop()
	dir, err := b.dir("checkout")
	if err != nil {
		return err
	}
	f, err := b.startBFF(ctx, bffSettings{wzrd: wzrd, dir: dir})
	if err != nil {
		return err
	}
	defer func() { f.kill() }()
	const clients = 64
	sessions, err := f.open(ctx, "checkout", clients)
	if err != nil {
		return err
	}

	header := map[string]string{"Authorization": "Bearer " + sessions[0].Token}
	res, body, err := exchange(ctx, http.MethodGet, "http://"+f.public+"/v1/checkout", header, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /v1/checkout answered %s: %.300s", res.Status, body)
	}
	same := map[string][]string{}
	for name, values := range res.Header {
		if name != "Date" && name != "Content-Length" && name != "Transfer-Encoding" {
			same[name] = values
		}
	}
	bare, err := act("answer", answerSetting{Header: same, Body: string(body)})
	if err != nil {
		return err
	}
	defer bare.end()

	requests := func(host string) func(int, int) []byte {
		list := make([][]byte, clients)
		for i, s := range sessions {
			list[i] = request("GET", host, "/v1/checkout", map[string]string{"Authorization": "Bearer " + s.Token, "Accept": "application/json"}, nil)
		}
		return func(client, _ int) []byte { return list[client] }
	}
	ours, peers := requests(f.public), requests(bare.addr)
	var rate, p50, p99, burnt pair
	for round := range b.rounds(9) + 1 {
		var loads [2]load
		var used [2]time.Duration
		for turn := range 2 {
			side := (turn + round) % 2
			addr, next, pid := f.public, ours, f.pid()
			if side == 1 {
				addr, next, pid = bare.addr, peers, bare.pid()
			}
			before, _ := cpu(pid)
			l, err := drive(ctx, addr, clients, b.span(time.Second), http.StatusOK, next)
			if err != nil {
				return err
			}
			after, _ := cpu(pid)
			loads[side], used[side] = l, after-before
		}
		if round == 0 {
			continue // everything is warm after it
		}
		rate.add(loads[0].rate(), loads[1].rate())
		p50.add(ms(quantile(loads[0].took, 0.5)), ms(quantile(loads[1].took, 0.5)))
		p99.add(ms(quantile(loads[0].took, 0.99)), ms(quantile(loads[1].took, 0.99)))
		burnt.add(float64(used[0].Microseconds())/float64(loads[0].n), float64(used[1].Microseconds())/float64(loads[1].n))
	}
	is := fmt.Sprintf("bare net/http, same %d bytes", len(body))
	b.versus("GET /v1/checkout from memory, 64 connections", 0.7, rate.ours, rate.peer, rate.ratios, is)
	b.below("… p50", 0, p50.ours, p50.peer, p50.ratios, " ms", is)
	b.below("… p99", 0, p99.ours, p99.peer, p99.ratios, " ms", is)
	b.below("… server CPU per request", 0, burnt.ours, burnt.peer, burnt.ratios, " µs", is)

	return b.stampede(ctx, wzrd, f, dir, sessions[0])
}

// stampede sends 1,000 first requests at once to a bff that knows nothing yet.
func (b *bench) stampede(ctx context.Context, wzrd *sandbox.Server, f *bff, dir string, s opened) error {
	f.stop()
	before := wzrd.Counts()["prerequest"]
	cold, err := b.startBFF(ctx, bffSettings{wzrd: wzrd, dir: dir})
	if err != nil {
		return err
	}
	defer cold.kill()
	const n = 1000
	lines := make([]*line, n)
	for i := range lines {
		if lines[i], err = dial(cold.public); err != nil {
			return err
		}
		defer lines[i].c.Close()
	}
	text := request("GET", cold.public, "/v1/checkout", map[string]string{"Authorization": "Bearer " + s.Token}, nil)
	var all sync.WaitGroup
	wrong := make([]error, n)
	gate := make(chan struct{})
	for i, l := range lines {
		all.Go(func() {
			<-gate
			status, err := l.do(text, nil)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("answered %d", status)
			}
			wrong[i] = err
		})
	}
	began := time.Now()
	close(gate)
	all.Wait()
	took := time.Since(began)
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	calls := wzrd.Counts()["prerequest"] - before
	b.must("1,000 first requests at once: pre-requests sent to WZRDPAY", "= 1", fmt.Sprint(calls),
		fmt.Sprintf("all answered in %.0f ms", ms(took)), calls == 1)
	return nil
}
