package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/app"
	"wzrdcheckout/internal/sandbox"
)

// program is the demo as `bff demo` runs it, in this process, on free ports.
type program struct {
	*app.Demo
	t *testing.T
}

// start runs BFF, sandbox and shop. What any of them logs as a warning or worse fails the
// test, unless quiet is told that it belongs to the story.
func start(t *testing.T, quiet ...string) *program {
	t.Helper()
	return startWith(t, func(*app.DemoConfig) {}, quiet...)
}

// startWith is start with other settings.
func startWith(t *testing.T, change func(*app.DemoConfig), quiet ...string) *program {
	t.Helper()
	watch := &logWatch{t: t, quiet: append(quiet, "this is a sandbox of WZRDPAY")}
	config := app.DemoConfig{
		Listen: "localhost:0", PrivateListen: "127.0.0.1:0", SandboxListen: "127.0.0.1:0", DataDir: t.TempDir(),
		CallbackRetry: 200 * time.Millisecond, Version: "e2e",
		Logger: slog.New(slog.NewTextHandler(watch, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	change(&config)
	demo, err := app.NewDemo(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := demo.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return &program{demo, t}
}

// logWatch turns a warning into a failed test.
type logWatch struct {
	t     *testing.T
	quiet []string
}

func (w *logWatch) Write(line []byte) (int, error) {
	for _, text := range w.quiet {
		if strings.Contains(string(line), text) {
			return len(line), nil
		}
	}
	w.t.Errorf("the program complained: %s", line)
	return len(line), nil
}

// call speaks to the private plane as the shop's server does.
func (p *program) call(method, path string, body any) (int, map[string]any) {
	p.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.API()+path, bytes.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.MerchantKey())
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(answer, &decoded); err != nil {
		p.t.Fatalf("%s %s: %s: %s", method, path, res.Status, answer)
	}
	return res.StatusCode, decoded
}

// theInvoice is the one invoice that the sandbox has; more or fewer fail the test.
func (p *program) theInvoice() sandbox.Invoice {
	p.t.Helper()
	list := p.Sandbox().Invoices()
	if len(list) != 1 {
		p.t.Fatalf("WZRDPAY has %d invoices, want exactly 1", len(list))
	}
	return list[0]
}

// eventually waits for something that the program does by itself.
func (p *program) eventually(what string, done func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	p.t.Fatalf("waited %v for %s", patience, what)
}
