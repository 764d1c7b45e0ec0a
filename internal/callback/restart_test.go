package callback_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/broker"
	"wzrdcheckout/internal/callback"
	"wzrdcheckout/internal/checkout"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("CALLBACK_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

func openBroker(ctx context.Context, dir string) (*broker.Broker, error) {
	return broker.Open(ctx, broker.Config{Dir: dir, MinFreeBytes: 1})
}

// counter is an Applier on the real store: per invoice how often it was applied, in the
// same commit as the cursor.
type counter struct {
	*broker.Broker
	slow time.Duration
}

func (c counter) ApplyCallbacks(ctx context.Context, updates []checkout.Update, cursor checkout.Write) error {
	writes := map[string]checkout.Write{}
	for _, u := range updates {
		key := "count." + u.Invoice.ID
		w, ok := writes[key]
		if !ok {
			e, err := c.Fresh(ctx, key)
			if err != nil && !errors.Is(err, checkout.ErrNotFound) {
				return err
			}
			w = checkout.Write{Key: key, Value: e.Value, Expect: e.Version}
		}
		n, _ := strconv.Atoi(string(w.Value))
		w.Value = strconv.AppendInt(nil, int64(n+1), 10)
		writes[key] = w
	}
	time.Sleep(c.slow)
	list := []checkout.Write{cursor}
	for _, w := range writes {
		list = append(list, w)
	}
	_, err := c.Commit(ctx, list...)
	return err
}

// child takes callbacks as fast as it can, says which were answered 200, and applies
// them too, until it is killed in the middle of both.
func child(dir string) {
	ctx := context.Background()
	b, err := openBroker(ctx, dir)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	in, err := callback.NewIntake(callback.IntakeConfig{Verifier: verifier{}, Log: b})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	in.Start()
	w, err := callback.NewWorker(callback.WorkerConfig{Log: b, Store: b, Leaser: b, Parser: parser, Applier: counter{b, 3 * time.Millisecond}, Batch: 7})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	w.Start()
	said := make(chan string)
	for sender := range 16 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", os.Getenv("CALLBACK_TEST_ROUND"), sender, i)
				if err := in.Accept(ctx, body(id, 1), "test"); err != nil {
					said <- "error " + err.Error()
					return
				}
				said <- "ok " + id
			}
		}()
	}
	for line := range said {
		fmt.Println(line)
	}
}

// Killed between the answer and the applying: after the restart everything that was
// answered 200 is applied, each stored record once.
func TestKillBetweenAckAndApply(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acked := map[string]bool{}
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CALLBACK_TEST_CHILD="+dir, "CALLBACK_TEST_ROUND="+strconv.Itoa(round))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			if word != "ok" {
				t.Errorf("child says %q", lines.Text())
				continue
			}
			acked[rest] = true
			if n == 300+100*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
	}

	b, err := openBroker(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(context.Background()); err != nil {
			t.Errorf("Close = %v", err)
		}
	}()
	before := 0
	if e, err := b.Fresh(t.Context(), callback.CursorKey(0)); err == nil {
		at, _, _ := strings.Cut(string(e.Value), "+")
		before, _ = strconv.Atoi(at)
	}
	w, err := callback.NewWorker(callback.WorkerConfig{Log: b, Store: b, Leaser: b, Parser: parser, Applier: counter{b, 0}})
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		packs, err := b.Read(ctx, 0, uint64(last+1), 500)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if len(packs) == 0 {
			break
		}
		last = int(packs[len(packs)-1].Seq)
	}
	if before >= last {
		t.Logf("the kill left nothing to apply (cursor %d of %d)", before, last)
	}
	done := make(chan struct{})
	defer b.Watch("cursor.", func(e checkout.Entry) {
		if string(e.Value) == strconv.Itoa(last) {
			close(done)
		}
	})()
	w.Start()
	if before < last {
		select {
		case <-done:
		case <-time.After(60 * time.Second):
			t.Error("the worker did not reach the end of the log")
		}
	}
	stopWorker(t, w)
	lost, twice := 0, 0
	for id := range acked {
		e, err := b.Fresh(t.Context(), "count."+id)
		switch {
		case err != nil:
			lost++
		case string(e.Value) != "1":
			twice++
		}
	}
	if lost != 0 || twice != 0 {
		t.Errorf("of %d answered with 200: %d not applied, %d applied more than once; want 0 and 0", len(acked), lost, twice)
	}
	t.Logf("%d answered, cursor %d of %d packs before the last start", len(acked), before, last)
}
