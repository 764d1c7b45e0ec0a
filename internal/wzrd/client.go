package wzrd

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"wzrdcheckout/internal/checkout"
)

const (
	// maxAnswer is the longest body that is read: a pre-request with the whole catalogue
	// of one currency is 0.3 MB.
	maxAnswer = 4 << 20
	// tries is how often a read is made at most.
	tries = 3
	// maxWait is the longest that a call waits for our own rate limit or for a Retry-After,
	// its own between two tries of a read or that of a 429 a moment ago.
	maxWait = 2 * time.Second
	// maxPause is the longest that one Retry-After of a 429 keeps calls back.
	maxPause = 60 * time.Second
	// breakAfter failures in a row open a breaker; breakFor later it lets a few calls try.
	breakAfter = 10
	breakFor   = 3 * time.Second
)

// Client calls WZRDPAY for one account. Every call has a deadline, is counted against the
// rate limit and stands behind its API's breaker. Errors are *checkout.UpstreamError with
// the vendor's directive, apart from checkout.Error for input that never left.
// Safe for concurrent use; Stop ends it.
type Client struct {
	config   Config
	mode     string
	verifier *Verifier
	http     *http.Client
	public   *api
	private  *api
	limit    *rate.Limiter
	to       redirects
	hide     *strings.Replacer
	pre      *preCache

	life  context.Context // ends with Stop; background refreshes live in it
	end   context.CancelFunc
	mu    sync.Mutex // guards ended against the Add of running
	ended bool
	run   sync.WaitGroup
}

// api is one of the vendor's two APIs.
type api struct {
	name    string
	base    string
	breaker *gobreaker.CircuitBreaker[answer]
	pause   atomic.Pointer[time.Time] // until when a 429 asked us to wait; a stepped clock does not move it
}

// answer is a success: status and the parsed body.
type answer struct {
	status int
	doc    node
}

// New checks the configuration, naming the setting that is wrong, and makes a client. It
// does not call WZRDPAY.
func New(config Config) (*Client, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	verifier, err := NewVerifier(config.SigningKeys)
	if err != nil {
		return nil, err
	}
	c := &Client{
		config: config, mode: keyMode(config.PublicKey, "pk_"), verifier: verifier,
		limit: rate.NewLimiter(rate.Limit(config.RatePerSecond), config.Burst),
	}
	transport := config.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    128, // the burst of 100 comes and goes without new handshakes
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		}
	}
	c.http = &http.Client{
		Transport: transport,
		// A redirect is never followed: credentials and order data go to the configured
		// host only. The 3xx itself becomes an error.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.public, c.private = c.newAPI("public", config.PublicAPI), c.newAPI("private", config.PrivateAPI)
	c.to = redirects{test: c.test(), hosts: config.RedirectHosts, hpp: hostedPage(config.HPPURL)}
	pairs := []string{string(config.APIKey), redacted, config.AccountID, redacted}
	for _, k := range config.SigningKeys {
		pairs = append(pairs, string(k), redacted)
	}
	c.hide = strings.NewReplacer(pairs...)
	c.life, c.end = context.WithCancel(context.Background())
	c.pre = newPreCache(c)
	return c, nil
}

func (c *Client) newAPI(name, base string) *api {
	return &api{name: name, base: base, breaker: gobreaker.NewCircuitBreaker[answer](gobreaker.Settings{
		Name:        name,
		MaxRequests: 3,
		Timeout:     breakFor,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= breakAfter },
		// An answer below 500 means that WZRDPAY is there; only silence and 5xx are failures.
		IsSuccessful: func(err error) bool {
			var up *checkout.UpstreamError
			return err == nil || errors.As(err, &up) && up.Status > 0 && up.Status < 500
		},
		IsExcluded: func(err error) bool {
			var up *checkout.UpstreamError
			return errors.As(err, &up) && up.Code == codeCanceled
		},
		OnStateChange: func(name string, _, to gobreaker.State) {
			c.config.Observer.Breaker(name, to.String())
			c.config.Logger.Warn("breaker changed", slog.String("api", name), slog.String("state", to.String()))
		},
	})}
}

// Mode is "test" or "live", by the public key.
func (c *Client) Mode() string { return c.mode }

// Verifier checks callbacks with the configured signing keys.
func (c *Client) Verifier() *Verifier { return c.verifier }

func (c *Client) test() bool { return c.mode == "test" }

// Stop ends the background refreshes and waits for them, or for ctx.
func (c *Client) Stop(ctx context.Context) error {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.end()
	done := make(chan struct{})
	go func() { c.run.Wait(); close(done) }()
	select {
	case <-done:
		c.http.CloseIdleConnections()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop wzrd client: %w", ctx.Err())
	}
}

// begin counts a background task in; false = the client is stopping.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.run.Add(1)
	return true
}

// call is one operation: which API, what it is called in logs, and the request.
type call struct {
	api       *api
	operation string // "GET /payment-invoices/{id}"
	method    string
	path      string // below the API's base
	query     string
	body      any  // JSON, nil = none
	read      bool // creates nothing: tried again where the directive allows
}

// do carries the call out; a read is repeated with backoff and jitter while the directive
// allows it and the first Timeout has not passed.
func (c *Client) do(ctx context.Context, k call) (answer, error) {
	var body []byte
	if k.body != nil {
		var buffer bytes.Buffer
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(k.body); err != nil {
			return answer{}, &checkout.Error{Kind: checkout.ErrInvalid, Code: "invalid", Detail: "The request can not be written as JSON.", Cause: err}
		}
		body = buffer.Bytes()
	}
	if !k.read {
		a, _, err := c.once(ctx, k, body)
		return a, err
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval, pause.Multiplier = 100*time.Millisecond, time.Second, 3
	var last error
	a, err := backoff.Retry(ctx, func() (answer, error) {
		a, again, err := c.once(ctx, k, body)
		last = err
		var up *checkout.UpstreamError
		switch {
		case err == nil:
			return a, nil
		case !again:
			return a, backoff.Permanent(err)
		case errors.As(err, &up) && up.RetryAfter > 0:
			wait := time.Duration(up.RetryAfter) * time.Second
			if wait > maxWait {
				return a, backoff.Permanent(err)
			}
			return a, errors.Join(err, backoff.RetryAfter(int(up.RetryAfter)))
		}
		return a, err
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(c.config.Timeout))
	if err != nil {
		return answer{}, last // ours, without what backoff joined to it
	}
	return a, nil
}

// once makes one try. again tells whether a read may be repeated.
func (c *Client) once(ctx context.Context, k call, body []byte) (a answer, again bool, err error) {
	start := time.Now()
	a, again, err = c.guarded(ctx, k, body)
	outcome := "ok"
	var up *checkout.UpstreamError
	if errors.As(err, &up) {
		outcome = up.Code
		if up.Status >= 300 {
			outcome = strconv.Itoa(up.Status)
		}
	}
	c.config.Observer.Call(k.operation, outcome, time.Since(start))
	return a, again, err
}

// guarded waits for the rate limit and passes the breaker.
func (c *Client) guarded(ctx context.Context, k call, body []byte) (a answer, again bool, err error) {
	if err := c.admit(ctx, k); err != nil {
		return answer{}, false, err
	}
	a, err = k.api.breaker.Execute(func() (answer, error) {
		var a answer
		var err error
		a, again, err = c.exchange(ctx, k, body)
		return a, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return answer{}, false, k.fail(codeBreaker, checkout.Later, checkout.ErrUnavailable, "WZRDPAY does not answer; the next call is tried in a few seconds", 1)
	}
	return a, again, err
}

// admit keeps to a Retry-After that still runs and to our own limit: a short wait is
// waited out, for one over maxWait the call is refused. Nothing has been sent then.
func (c *Client) admit(ctx context.Context, k call) error {
	var left time.Duration
	if until := k.api.pause.Load(); until != nil {
		left = time.Until(*until)
	}
	if left > maxWait {
		return k.fail(codeLimited, checkout.Later, checkout.ErrUnavailable, "WZRDPAY asked to wait", seconds(left))
	} else if err := k.wait(ctx, left); err != nil {
		return err
	}
	turn := c.limit.Reserve()
	delay := turn.Delay()
	if !turn.OK() || delay > maxWait {
		turn.Cancel()
		return k.fail(codeLimited, checkout.Later, checkout.ErrUnavailable, "too many calls at once", seconds(min(delay, maxPause)))
	}
	if err := k.wait(ctx, delay); err != nil {
		turn.Cancel()
		return err
	}
	return nil
}

// wait lets d pass before the call is sent, or the caller's time end.
func (k call) wait(ctx context.Context, d time.Duration) error {
	over := k.fail(codeCanceled, checkout.Later, checkout.ErrTimeout, "the caller's time was over before the call", 0)
	if ctx.Err() != nil {
		return over
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return over
	}
}

// seconds rounds up: coming back a moment too early would be refused again.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// exchange sends the request once and reads the whole answer.
func (c *Client) exchange(parent context.Context, k call, body []byte) (a answer, again bool, err error) {
	ctx, cancel := context.WithTimeout(parent, c.config.Timeout)
	defer cancel()
	target := k.api.base + k.path
	if k.query != "" {
		target += "?" + k.query
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, k.method, target, reader)
	if err != nil {
		return a, false, &checkout.Error{Kind: checkout.ErrInvalid, Code: "invalid", Detail: "The request's address can not be built."}
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "wzrdcheckout")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if k.api == c.private {
		request.SetBasicAuth(c.config.AccountID, string(c.config.APIKey))
	}
	response, err := c.http.Do(request)
	if err != nil {
		return a, true, k.broken(parent, err, codeNoAnswer)
	}
	defer func() { _ = response.Body.Close() }()

	good := response.StatusCode >= 200 && response.StatusCode < 300
	if response.ContentLength > maxAnswer && good {
		return a, false, k.unusable(response.StatusCode, codeTooLarge, "the answer is larger than 4 MiB")
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case !good:
		// Whatever could be read of an error's body only adds detail.
		up := c.refusal(k, response, text)
		return a, codeOf(response.StatusCode).retry, up
	case err != nil:
		return a, true, k.broken(parent, err, codeCut)
	case len(text) > maxAnswer:
		return a, false, k.unusable(response.StatusCode, codeTooLarge, "the answer is larger than 4 MiB")
	}
	doc, ok := parse(text)
	if !ok {
		return a, false, k.unusable(response.StatusCode, codeNotJSON, "the answer is not JSON")
	}
	return answer{response.StatusCode, doc}, false, nil
}

// refusal makes the error of a status that is no success.
func (c *Client) refusal(k call, response *http.Response, text []byte) *checkout.UpstreamError {
	row := codeOf(response.StatusCode)
	up := &checkout.UpstreamError{Operation: k.operation, Status: response.StatusCode, Code: row.name, Directive: row.directive, Kind: row.kind}
	doc, isJSON := parse(text)
	if isJSON {
		p := decodeProblem(doc)
		up.Detail = c.hide.Replace(p.detail)
		up.Fields = p.fields
		for i := range up.Fields {
			up.Fields[i].Message = c.hide.Replace(up.Fields[i].Message)
		}
	}
	if k.read {
		// "Not created" is the vendor's word about a create only. Of the answers to a
		// question just a 404 settles something, and only when the API says it: a web
		// server's page is no proof of absence.
		page := bytes.HasPrefix(bytes.TrimSpace(text), []byte("<"))
		switch {
		case response.StatusCode == http.StatusNotFound && !page:
			up.Kind, up.Code = checkout.ErrNotFound, "not_found"
		case up.Directive != checkout.Later:
			up.Directive = checkout.LookUp
		}
	}
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500 {
		up.RetryAfter = c.retryAfter(response.Header.Get("Retry-After"))
	}
	if response.StatusCode == http.StatusTooManyRequests && up.RetryAfter > 0 {
		until := time.Now().Add(min(time.Duration(up.RetryAfter)*time.Second, maxPause))
		k.api.pause.Store(&until)
	}
	return up
}

// retryAfter reads both forms of the header into seconds, 0 = not said; a day at most.
func (c *Client) retryAfter(header string) int64 {
	const day = 24 * 60 * 60
	if n, err := strconv.ParseInt(strings.TrimSpace(header), 10, 64); err == nil {
		return min(max(n, 0), day)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(seconds(at.Sub(c.config.Now())), 0), day)
	}
	return 0
}

// broken makes the error of a call that ended without an answer.
func (k call) broken(parent context.Context, err error, lost string) *checkout.UpstreamError {
	var web *url.Error
	if errors.As(err, &web) {
		err = web.Err // without the address
	}
	var op *net.OpError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(parent.Err(), context.Canceled):
		return k.fail(codeCanceled, checkout.LookUp, checkout.ErrTimeout, "the caller went away before the answer", 0)
	case errors.As(err, &op) && op.Op == "dial":
		up := k.fail(codeUnreachable, checkout.Later, checkout.ErrUnavailable, "no connection to WZRDPAY", 0)
		up.Cause = op.Err
		return up
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return k.fail(codeTimeout, checkout.LookUp, checkout.ErrTimeout, "no answer in time", 0)
	}
	up := k.fail(lost, checkout.LookUp, checkout.ErrUnavailable, "the connection broke before the whole answer was there", 0)
	switch { // of net/http's own errors nothing: they may quote what was received
	case op != nil:
		up.Cause = op.Err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		up.Cause = io.ErrUnexpectedEOF
	}
	return up
}

func (k call) fail(code string, directive checkout.Directive, kind error, detail string, retryAfter int64) *checkout.UpstreamError {
	return &checkout.UpstreamError{Operation: k.operation, Code: code, Detail: detail, Directive: directive, Kind: kind, RetryAfter: retryAfter}
}

// unusable is an answer with a good status that can not be used: what it did is unknown.
func (k call) unusable(status int, code, detail string) *checkout.UpstreamError {
	up := k.fail(code, checkout.LookUp, checkout.ErrUpstream, detail, 0)
	up.Status = status
	return up
}
