package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"wzrdcheckout/internal/broker"
	"wzrdcheckout/internal/callback"
	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/sandbox"
)

// start measures the way to /readyz, with an empty store and after kill -9 with many
// stored callbacks, the idle memory, and the binary.
func (b *bench) start(ctx context.Context) error {
	info, err := os.Stat(b.bin)
	if err != nil {
		return err
	}
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{Faults: sandbox.NoFaults()})
	if err != nil {
		return err
	}
	defer stop()

	var took, memory, floor []float64
	for range b.rounds(9) {
		dir, err := b.dir("empty")
		if err != nil {
			return err
		}
		f, err := b.startBFF(ctx, bffSettings{wzrd: wzrd, dir: dir})
		if err != nil {
			return err
		}
		took = append(took, ms(f.took))
		if len(memory) < 3 {
			if err := pause(ctx, 2*time.Second); err != nil {
				f.kill()
				return err
			}
			if m, err := rss(f.pid()); err == nil {
				memory = append(memory, m/(1<<20))
			}
		}
		f.kill()
		began := time.Now()
		bare, err := act("answer", answerSetting{Body: "ok"})
		if err != nil {
			return err
		}
		if _, _, err := exchange(ctx, http.MethodGet, "http://"+bare.addr, nil, nil); err != nil {
			bare.end()
			return err
		}
		floor = append(floor, ms(time.Since(began)))
		bare.end()
	}
	b.atMost("start to /readyz, empty store", 100, took, " ms", fmt.Sprintf("%s ms (this bench as a bare net/http server)", number(median(floor))))
	if len(memory) == 0 {
		b.missing("idle memory (RSS, 2 s after the start)", "≤ 40 MiB", errNoProc)
	} else {
		b.atMost("idle memory (RSS, 2 s after the start)", 40, memory, " MiB", "")
	}
	b.atMost("binary", 25, []float64{float64(info.Size()) / (1 << 20)}, " MiB", "")
	many := 1_000_000
	if b.short {
		many = 50_000
	}
	what := fmt.Sprintf("start to /readyz after kill -9 with %s stored callbacks", thousands(many))
	if err := b.restart(ctx, wzrd, many, what); err != nil {
		b.missing(what, "", err)
	}
	return nil
}

// restart kills a bff that holds many callbacks and is being sent more, and starts it
// again.
func (b *bench) restart(ctx context.Context, wzrd *sandbox.Server, many int, what string) error {
	const invoices = 1000
	kept, err := record(invoices)
	if err != nil {
		return err
	}
	defer kept.Close()
	dir, err := b.dir("restart")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // gigabytes
	settings := bffSettings{wzrd: wzrd, dir: dir, publicURL: kept.url}
	f, err := b.startBFF(ctx, settings)
	if err != nil {
		return err
	}
	_, list, err := f.paidSessions(ctx, wzrd, kept, "re", invoices)
	f.stop()
	if err != nil {
		return err
	}
	began := time.Now()
	fresh := many / 100 / packSize * packSize // the cursor stands between packs
	if err := fill(ctx, dir, list, many, many-fresh); err != nil {
		return err
	}
	size, err := folderSize(dir)
	if err != nil {
		return err
	}
	b.say("stored %d callbacks, %.2f GB, in %s", many, float64(size)/1e9, time.Since(began).Round(time.Second))

	key := wzrd.Credentials().SigningKeys[0]
	var took []float64
	for round := range int64(4) {
		f, err := b.startBFF(ctx, settings)
		if err != nil {
			return err
		}
		if round == 0 {
			// The last of them have not been applied yet: that is done before it is killed.
			began := time.Now()
			if err := f.applied(ctx, fresh); err != nil {
				f.kill()
				return err
			}
			b.fact(fmt.Sprintf("%s stored callbacks applied after a start (each a repeat)", thousands(fresh)),
				fmt.Sprintf("%s/s", number(float64(fresh)/time.Since(began).Seconds())), "")
		} else {
			took = append(took, ms(f.took))
		}
		var next atomic.Int64
		sent := make(chan error, 1)
		go func() {
			_, err := drive(ctx, f.public, 64, time.Second, http.StatusOK, func(int, int) []byte {
				i := next.Add(1)
				return callbackRequest(f.public, key, list[int(i)%len(list)].body(100*round+i/int64(len(list))))
			})
			sent <- err
		}()
		if err := pause(ctx, 700*time.Millisecond); err != nil {
			f.kill()
			return err
		}
		f.kill()
		if err := <-sent; err == nil { // it fails because its server is killed
			b.say("the load had ended before the kill")
		}
	}
	b.atMost(what, 0, took, " ms",
		fmt.Sprintf("%.2f GB on disk", float64(size)/1e9))
	return nil
}

const packSize = 200 // callbacks

// fill stores n callbacks as the intake does, into the folder of a bff that does not run,
// and says of the first of them that they are applied.
func fill(ctx context.Context, dir string, list []paidCallback, n, applied int) (err error) {
	store, err := broker.Open(ctx, broker.Config{Dir: dir})
	if err != nil {
		return fmt.Errorf("fill store: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close(ctx)) }()
	for done := 0; done < n; done += packSize {
		pack := make([][]byte, 0, packSize)
		for i := range min(packSize, n-done) {
			record, err := callback.Record{ReceivedAt: time.Now().Unix(), Mode: "test", Body: list[(done+i)%len(list)].body(0)}.Append(nil)
			if err != nil {
				return fmt.Errorf("fill store: %w", err)
			}
			pack = append(pack, record)
		}
		seq, err := store.Append(ctx, 0, pack)
		if err != nil {
			return fmt.Errorf("fill store: %w", err)
		}
		if done < applied && done+packSize >= applied {
			cursor := checkout.Write{Key: callback.CursorKey(0), Value: strconv.AppendUint(nil, seq, 10), Any: true}
			if _, err := store.Commit(ctx, cursor); err != nil {
				return fmt.Errorf("fill store: %w", err)
			}
		}
	}
	return nil
}

// thousands prints a count as people read it.
func thousands(n int) string {
	if n%1_000_000 == 0 {
		return fmt.Sprintf("%d million", n/1_000_000)
	}
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
