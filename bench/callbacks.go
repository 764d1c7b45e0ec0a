package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// callbacks measures the intake: signed callbacks over HTTP, each news about an invoice
// of an open session, which is applied meanwhile; against a group-commit append loop of
// the same bytes behind a bare handler, and without HTTP.
func (b *bench) callbacks(ctx context.Context) error {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{Faults: sandbox.NoFaults()})
	if err != nil {
		return err
	}
	defer stop()
	const invoices = 2000
	kept, err := record(invoices)
	if err != nil {
		return err
	}
	defer kept.Close()
	dir, err := b.dir("callbacks")
	if err != nil {
		return err
	}
	f, err := b.startBFF(ctx, bffSettings{wzrd: wzrd, dir: dir, publicURL: kept.url})
	if err != nil {
		return err
	}
	defer func() { f.kill() }()
	_, list, err := f.paidSessions(ctx, wzrd, kept, "cb", invoices)
	if err != nil {
		return err
	}
	key := wzrd.Credentials().SigningKeys[0]
	// Signing is the sender's work: it is done before the clock runs. 20 changes of
	// each invoice are more than any turn sends; after them they come again, as repeats.
	news := make([][]byte, 0, invoices*20)
	for later := range int64(20) {
		for _, c := range list {
			news = append(news, callbackRequest(f.public, key, c.body(later)))
		}
	}
	record := list[0].body(0)

	peer, err := act("append", appendSetting{Dir: dir})
	if err != nil {
		return err
	}
	defer peer.end()
	raw, err := newAppendLog(dir)
	if err != nil {
		return err
	}
	defer raw.close()

	var next atomic.Int64
	ours := func(int, int) []byte { return news[int(next.Add(1))%len(news)] }
	same := request("POST", peer.addr, "/", map[string]string{"Content-Type": "application/json", "X-Signature": sandbox.Sign(key, record)}, record)
	theirs := func(int, int) []byte { return same }
	senders := []int{1, 8, 64, 256}
	rates, limits, waits := make([]pair, len(senders)), make([]pair, len(senders)), make([]pair, len(senders))
	var burnt pair
	var backlog []float64
	inside := f.watch(ctx)
	span := b.span(600 * time.Millisecond)
	for round := range b.rounds(4) + 1 {
		for i, n := range senders {
			var mine, bare load
			var limit float64
			var used [2]time.Duration
			for turn := range 3 {
				switch (turn + round) % 3 {
				case 0:
					before, _ := cpu(f.pid())
					mine, err = drive(ctx, f.public, n, span, http.StatusOK, ours)
					after, _ := cpu(f.pid())
					used[0] = after - before
					if err == nil {
						// What is still to be applied must not burden the peers' turns.
						began := time.Now()
						err = f.applied(ctx, 0)
						backlog = append(backlog, ms(time.Since(began)))
					}
				case 1:
					before, _ := cpu(peer.pid())
					bare, err = drive(ctx, peer.addr, n, span, http.StatusOK, theirs)
					after, _ := cpu(peer.pid())
					used[1] = after - before
				default:
					limit, err = raw.fed(ctx, n, span, record)
				}
				if err != nil {
					return err
				}
			}
			if round == 0 {
				continue
			}
			rates[i].add(mine.rate(), bare.rate())
			limits[i].add(mine.rate(), limit)
			waits[i].add(ms(quantile(mine.took, 0.99)), ms(quantile(bare.took, 0.99)))
			if n == 256 {
				burnt.add(float64(used[0].Microseconds())/float64(mine.n), float64(used[1].Microseconds())/float64(bare.n))
			}
		}
	}
	is := fmt.Sprintf("append + fdatasync group commit behind bare net/http, same %d bytes", len(record))
	curves := []curve{{Name: "append + fdatasync, no HTTP", Kind: "limit"}, {Name: "the same loop behind bare net/http", Kind: "peer"}, {Name: "ours, HTTP and signatures checked", Kind: "ours"}}
	for i, n := range senders {
		for c, list := range [][]float64{limits[i].peer, rates[i].peer, rates[i].ours} {
			curves[c].with(float64(n), median(list))
		}
		goal := 0.0
		if n >= 64 {
			goal = 0.75
		}
		b.versus(fmt.Sprintf("durable callbacks, %d senders", n), goal, rates[i].ours, rates[i].peer, rates[i].ratios, is)
		b.versus(fmt.Sprintf("… %d senders, to the limit without HTTP", n), 0, limits[i].ours, limits[i].peer, limits[i].ratios, "append + fdatasync in one process")
		b.below(fmt.Sprintf("… %d senders, p99", n), 0, waits[i].ours, waits[i].peer, waits[i].ratios, " ms", "the loop behind bare net/http")
	}
	b.plots = append(b.plots, plot{"callbacks", "Durable callbacks per second, by the number of senders", []panel{
		{X: "senders", Y: "durable callbacks per second", LogY: true, Rows: curves},
	}})
	b.missing("… to SQLite and pebble as the store", "", errors.New("no peers of this bench; in an earlier measurement on another day they reached 0.5 and 0.4 of the append loop"))
	b.below("… 256 senders, server CPU per callback (applying included)", 0, burnt.ours, burnt.peer, burnt.ratios, " µs", "the loop behind bare net/http")
	b.fact("… inside, mean of all turns, from /metrics", "", inside(ctx))
	b.atMost("… until the last one answered was applied, after a turn", 0, backlog, " ms", "")
	f.kill()
	return b.syncs(ctx, wzrd, kept)
}

// applied waits until at least n callbacks have been applied since bff started; n = 0
// means all that it has stored since then.
func (f *bff) applied(ctx context.Context, n int) error {
	for failed := 0; ; {
		_, text, err := exchange(ctx, http.MethodGet, "http://"+f.private+"/metrics", nil, nil)
		if err != nil {
			// A machine under load may let one wait; it is asked again.
			if failed++; failed < 5 && ctx.Err() == nil {
				continue
			}
			return fmt.Errorf("read metrics: %w", err)
		}
		done, err := metric(text, "callback_applied_total ")
		if err != nil {
			return err
		}
		stored, err := metric(text, `callback_received_total{outcome="stored"} `)
		if err != nil {
			return err
		}
		if done >= max(float64(n), stored) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("wait until callbacks are applied, %.0f of %.0f: %w", done, max(float64(n), stored), err)
		}
	}
}

// metric finds a sample by the end of its name.
func metric(text []byte, name string) (float64, error) {
	for line := range strings.SplitSeq(string(text), "\n") {
		if _, value, ok := strings.Cut(line, name); ok && !strings.HasPrefix(line, "#") {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// syncs proves that an answered callback was synced: with one sender each 200 needs a
// sync of its own.
func (b *bench) syncs(ctx context.Context, wzrd *sandbox.Server, kept *recorder) error {
	const what, goal = "syncs for 200 callbacks sent one after the other (strace)", "≥ 200"
	if !have("strace") {
		b.missing(what, goal, errors.New("strace is not installed"))
		return nil
	}
	for _, n := range []int{1, 64} {
		dir, err := b.dir("syncs")
		if err != nil {
			return err
		}
		counts := filepath.Join(b.root, fmt.Sprintf("syncs-%d.txt", n))
		f, err := b.startBFF(ctx, bffSettings{
			wzrd: wzrd, dir: dir, publicURL: kept.url,
			wrap: []string{"strace", "-D", "-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", counts},
		})
		if err != nil {
			b.missing(what, goal, err)
			return nil
		}
		// Bodies of nobody's invoices: stored and answered like all, and applied to nothing
		// but the operator's list.
		before := syncCalls(counts)
		key := wzrd.Credentials().SigningKeys[0]
		var sent atomic.Int64
		l, err := drive(ctx, f.public, n, time.Minute, http.StatusOK, func(int, int) []byte {
			i := sent.Add(1)
			if i > int64(200*n) {
				return nil
			}
			return callbackRequest(f.public, key, fmt.Appendf(nil, `{"data":{"type":"payout-invoices","id":"x%d","attributes":{"test_mode":true}}}`, i))
		})
		if err == nil {
			err = pause(ctx, 300*time.Millisecond)
		}
		made := syncCalls(counts) - before
		f.kill()
		if err != nil {
			return err
		}
		if n == 1 {
			b.must(what, goal, fmt.Sprint(made), "applying them syncs too", l.n == 200 && made >= 200)
		} else {
			b.fact(fmt.Sprintf("… for %d from %d senders: shared", l.n, n), fmt.Sprint(made), "")
		}
	}
	return nil
}

func syncCalls(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	// A call that another thread interrupts in the trace has a second line, "resumed".
	return strings.Count(string(text), "fsync(") + strings.Count(string(text), "fdatasync(")
}
