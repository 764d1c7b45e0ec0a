package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// merchantKey opens the private plane of what bench starts.
const merchantKey = "bench-merchant-key-0123456789"

// bff is a running bin/bff.
type bff struct {
	cmd             *exec.Cmd
	public, private string // host:port
	log             string
	took            time.Duration // from the start of the process to /readyz 200
	done            chan struct{} // closed when it has ended, which ended tells how
	ended           error
}

// bffSettings are what sections start it with.
type bffSettings struct {
	wzrd      *sandbox.Server
	dir       string
	publicURL string   // default: its own
	origins   []string // pages that embed the widget
	wrap      []string // a command in front, e.g. strace
	env       []string
}

// startBFF runs `bff serve` with its default settings, but for addresses, keys and how
// fast it may call WZRDPAY, and waits until it is ready.
func (b *bench) startBFF(ctx context.Context, s bffSettings) (*bff, error) {
	public, err := freeAddress()
	if err != nil {
		return nil, err
	}
	private, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if s.publicURL == "" {
		s.publicURL = "http://" + public
	}
	keys := s.wzrd.Credentials()
	log, err := os.CreateTemp(b.root, "bff-*.log")
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	args := append(append([]string{}, s.wrap...), b.bin, "serve")
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // our own binary; stopped by name below
	cmd.Env = append(os.Environ(),
		"BFF_LISTEN="+public, "BFF_PRIVATE_LISTEN="+private, "BFF_PUBLIC_URL="+s.publicURL,
		"BFF_DATA_DIR="+s.dir, "BFF_MERCHANT_KEYS="+merchantKey,
		"BFF_SESSION_KEYS=bench:"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)),
		"BFF_ALLOWED_ORIGINS="+strings.Join(s.origins, ","),
		"WZRD_PUBLIC_API="+s.wzrd.URL()+"/public-api", "WZRD_PRIVATE_API="+s.wzrd.URL()+"/api", "WZRD_HPP_URL="+s.wzrd.URL(),
		"WZRD_PUBLIC_KEY="+keys.PublicKeys[0], "WZRD_ACCOUNT_ID="+keys.AccountID, "WZRD_API_KEY="+keys.APIKey,
		"WZRD_SIGNING_KEYS="+keys.SigningKeys[0], "WZRD_RATE=1000000", "WZRD_BURST=1000000",
	)
	cmd.Env = append(cmd.Env, s.env...)
	cmd.Stdout, cmd.Stderr = log, log
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start bff: %w", err)
	}
	f := &bff{cmd: cmd, public: public, private: private, log: log.Name(), done: make(chan struct{})}
	go func() {
		f.ended = cmd.Wait()
		close(f.done)
	}()
	for {
		if f.ready() {
			f.took = time.Since(began)
			return f, nil
		}
		select {
		case <-f.done:
			return nil, fmt.Errorf("bff ended at its start: %w: %s", f.ended, f.tail())
		case <-ctx.Done():
			f.kill()
			return nil, fmt.Errorf("bff was not ready: %w: %s", ctx.Err(), f.tail())
		case <-time.After(time.Millisecond):
		}
	}
}

// ready asks /readyz on a connection of its own.
func (f *bff) ready() bool {
	c, err := net.DialTimeout("tcp", f.private, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	res, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + f.private + "/readyz") //nolint:noctx // has a timeout
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (f *bff) pid() int { return f.cmd.Process.Pid }

// tail is the end of what it logged.
func (f *bff) tail() string {
	text, err := os.ReadFile(f.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-600):])
}

// kill is kill -9.
func (f *bff) kill() {
	_ = f.cmd.Process.Kill()
	<-f.done
}

// stop asks it to end, and makes it after ten seconds.
func (f *bff) stop() {
	_ = f.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-f.done:
	case <-time.After(10 * time.Second):
		f.kill()
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // local and at once
	if err != nil {
		return "", fmt.Errorf("find port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// wzrdpay starts the double of WZRDPAY in this process.
func wzrdpay(ctx context.Context, cfg sandbox.Config) (*sandbox.Server, func(), error) {
	s, err := sandbox.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, nil, err
	}
	return s, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Stop(ctx)
	}, nil
}

// opened is a session as the shop's server gets it.
type opened struct {
	ID        string `json:"id"`
	Token     string `json:"token"`
	URL       string `json:"url"`
	EmbedHTML string `json:"embed_html"`
	reference string
}

func shopHeader() map[string]string {
	return map[string]string{"Authorization": "Bearer " + merchantKey, "Content-Type": "application/json"}
}

func newSession(reference string) []byte {
	return fmt.Appendf(nil, `{"reference_id":%q,"amount":42.50,"currency":"USD","description":"Lamp, oak and linen","return_url":"https://shop.example/thanks","customer":{"reference_id":"c-1","name":"Olena Demo","email":"olena@example.com"}}`, reference)
}

// session opens one.
func (f *bff) session(ctx context.Context, body []byte) (opened, error) {
	var s opened
	res, text, err := exchange(ctx, http.MethodPost, "http://"+f.private+"/v1/sessions", shopHeader(), body)
	if err != nil {
		return s, fmt.Errorf("open session: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil || res.StatusCode != http.StatusCreated {
		return s, fmt.Errorf("open session: %s: %.300s", res.Status, text)
	}
	return s, nil
}

// open opens n sessions, 64 at a time.
func (f *bff) open(ctx context.Context, prefix string, n int) ([]opened, error) {
	list := make([]opened, n)
	err := f.calls(ctx, f.private, n, func(i int) []byte {
		list[i].reference = fmt.Sprintf("%s-%d", prefix, i)
		return request("POST", f.private, "/v1/sessions", shopHeader(), newSession(list[i].reference))
	}, func(i int, body []byte) error { return json.Unmarshal(body, &list[i]) })
	if err != nil {
		return nil, fmt.Errorf("open sessions: %w", err)
	}
	return list, nil
}

// pay begins to pay each session by card, which makes an invoice and leaves it open.
func (f *bff) pay(ctx context.Context, list []opened) error {
	err := f.calls(ctx, f.public, len(list), func(i int) []byte {
		return request("POST", f.public, "/v1/checkout/invoice",
			map[string]string{"Authorization": "Bearer " + list[i].Token, "Content-Type": "application/json"},
			[]byte(`{"service":"payment_card_usd_hpp","fields":{}}`))
	}, func(int, []byte) error { return nil })
	if err != nil {
		return fmt.Errorf("begin to pay: %w", err)
	}
	return nil
}

func (f *bff) calls(ctx context.Context, addr string, n int, encode func(i int) []byte, got func(i int, body []byte) error) error {
	const workers = 64
	lines := make([]*line, workers)
	defer func() {
		for _, l := range lines {
			if l != nil {
				_ = l.c.Close()
			}
		}
	}()
	return each(ctx, n, workers, func(_ context.Context, w, i int) error {
		if lines[w] == nil {
			l, err := dial(addr)
			if err != nil {
				return err
			}
			lines[w] = l
		}
		var body bytes.Buffer
		status, err := lines[w].do(encode(i), &body)
		if err != nil {
			return err
		}
		if status != http.StatusCreated && status != http.StatusOK {
			return fmt.Errorf("answered %d: %.300s", status, body.Bytes())
		}
		return got(i, body.Bytes())
	})
}

// recorder stands where callbacks go and keeps them: bench sends them when it wants to.
type recorder struct {
	*http.Server
	url    string
	bodies chan []byte
}

func record(n int) (*recorder, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // local and at once
	if err != nil {
		return nil, fmt.Errorf("record callbacks: %w", err)
	}
	r := &recorder{url: "http://" + l.Addr().String(), bodies: make(chan []byte, n)}
	r.Server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body bytes.Buffer
		if _, err := body.ReadFrom(req.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if bytes.Contains(body.Bytes(), []byte(`"processed"`)) && bytes.Contains(body.Bytes(), []byte(`"status":"processed"`)) {
			select {
			case r.bodies <- body.Bytes():
			default: // more than was asked for
			}
		}
	})}
	go func() { _ = r.Serve(l) }()
	return r, nil
}

// paidSessions opens n sessions, begins to pay them, and has WZRDPAY make the callback
// "processed" of each invoice, which is kept and not sent. The bff has to run with the
// recorder's address as its public one.
func (f *bff) paidSessions(ctx context.Context, wzrd *sandbox.Server, r *recorder, prefix string, n int) ([]opened, []paidCallback, error) {
	list, err := f.open(ctx, prefix, n)
	if err != nil {
		return nil, nil, err
	}
	if err := f.pay(ctx, list); err != nil {
		return nil, nil, err
	}
	at := make(map[string]int, n)
	for i, s := range list {
		at[s.reference] = i
	}
	callbacks := make([]paidCallback, n)
	done := make(chan error, 1)
	go func() {
		for range n {
			select {
			case body := <-r.bodies:
				c, reference, err := readCallback(body)
				i, ok := at[reference]
				if err != nil || !ok {
					done <- fmt.Errorf("callback of an unknown reference %q: %w", reference, err)
					return
				}
				callbacks[i] = c
			case <-ctx.Done():
				done <- fmt.Errorf("wait for callbacks: %w", ctx.Err())
				return
			}
		}
		done <- nil
	}()
	for _, s := range list {
		if _, err := wzrd.Pay(s.reference); err != nil {
			return nil, nil, fmt.Errorf("pay invoice: %w", err)
		}
	}
	return list, callbacks, <-done
}

// paidCallback is a callback whose time can be set, so that it is news again.
type paidCallback struct {
	before, after []byte // what stands around the seconds of "updated"
	updated       int64
}

func readCallback(body []byte) (c paidCallback, reference string, err error) {
	var v struct {
		Data struct {
			Attributes struct {
				Reference string `json:"reference_id"`
				Updated   int64  `json:"updated"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return c, "", err
	}
	mark := fmt.Appendf(nil, `"updated":%d`, v.Data.Attributes.Updated)
	before, after, ok := bytes.Cut(body, mark)
	if !ok || bytes.Contains(after, mark) {
		return c, "", errors.New("the callback has not one time of update")
	}
	return paidCallback{before, after, v.Data.Attributes.Updated}, v.Data.Attributes.Reference, nil
}

// body is the callback as of so many seconds after the first.
func (c paidCallback) body(later int64) []byte {
	out := append([]byte{}, c.before...)
	out = fmt.Appendf(out, `"updated":%d`, c.updated+later)
	return append(out, c.after...)
}

// callbackRequest is the whole request that delivers a callback.
func callbackRequest(host, key string, body []byte) []byte {
	return request("POST", host, "/v1/callbacks/wzrdpay",
		map[string]string{"Content-Type": "application/json", "X-Signature": sandbox.Sign(key, body)}, body)
}

// folderSize is the bytes of everything in a folder.
func folderSize(dir string) (int64, error) {
	var sum int64
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil //nolint:nilerr // a file that went away is not counted
	})
	return sum, err
}
