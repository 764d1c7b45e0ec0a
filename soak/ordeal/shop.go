package ordeal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// session is a session as the API shows it, read without the program's own types.
type session struct {
	ID          string      `json:"id"`
	Status      string      `json:"status"`
	Revision    int64       `json:"revision"`
	ReferenceID string      `json:"reference_id"`
	Amount      json.Number `json:"amount"`
	Currency    string      `json:"currency"`
	Invoice     *invoice    `json:"invoice"`
	Attempts    []struct {
		Number      int      `json:"number"`
		ReferenceID string   `json:"reference_id"`
		Service     string   `json:"service"`
		Invoice     *invoice `json:"invoice"`
	} `json:"attempts"`
}

type invoice struct {
	ID          string `json:"id"`
	ReferenceID string `json:"reference_id"`
	Status      string `json:"status"`
	Updated     int64  `json:"updated"`
}

// opened is the answer to POST /v1/sessions.
type opened struct {
	ID      string  `json:"id"`
	Token   string  `json:"token"`
	Session session `json:"session"`
}

// paid is the answer to POST /v1/checkout/invoice, or its problem.
type paid struct {
	status   int
	Session  session `json:"session"`
	Redirect *struct {
		Method string            `json:"method"`
		URL    string            `json:"url"`
		Params map[string]string `json:"params"`
	} `json:"redirect"`
	Code      string `json:"code"`
	Retryable bool   `json:"retryable"`
	Detail    string `json:"detail"`
	Errors    map[string]struct {
		Code string `json:"code"`
	} `json:"errors"`
}

// field of a service as the page gets it.
type field struct {
	Key      string `json:"key"`
	Regexp   string `json:"regexp"`
	Example  string `json:"example"`
	Required bool   `json:"required"`
	Position int    `json:"position"`
}

type service struct {
	Code      string       `json:"code"`
	Method    string       `json:"method"`
	Currency  string       `json:"currency"`
	AmountMin *json.Number `json:"amount_min"`
	AmountMax *json.Number `json:"amount_max"`
	Fields    []field      `json:"fields"`
}

// view is the answer to GET /v1/checkout.
type view struct {
	Session  session   `json:"session"`
	Services []service `json:"services"`
}

// call makes one HTTP call. Whatever the answer, its whole body was read.
func (p *Program) call(ctx context.Context, method, address, key string, body []byte, header ...string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("make request: %w", err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := p.http.Do(r)
	if err != nil {
		return 0, nil, errors.Join(p.ended(), err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	return answer.StatusCode, text, nil
}

// insist makes a call again and again while there is no answer, or one that says "later".
func (p *Program) insist(ctx context.Context, method, address, key string, body []byte, into any) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		status, text, err := p.call(ctx, method, address, key, body)
		switch {
		case errors.Is(err, errEnded):
			return err
		case err != nil:
		case status < 300 && into == nil:
			return nil
		case status < 300:
			if err := json.Unmarshal(text, into); err != nil {
				return fmt.Errorf("read answer of %s: %w: %.200s", address, err, text)
			}
			return nil
		case status <= http.StatusInternalServerError && status != http.StatusTooManyRequests: // nothing may get a 500
			return fmt.Errorf("%s %s: %d: %.300s", method, address, status, text)
		default:
			err = fmt.Errorf("%d: %.300s", status, text)
		}
		if pause(ctx, wait) != nil {
			return fmt.Errorf("%s %s: %w after %w", method, address, ctx.Err(), err)
		}
	}
}

// open opens a session, however often it takes.
func (p *Program) open(ctx context.Context, reference, amount, currency string) (opened, error) {
	body := fmt.Appendf(nil, `{"reference_id":%q,"amount":%s,"currency":%q,"description":"Lamp","return_url":"https://shop.example/thanks","customer":{"reference_id":"c-%s","email":"olena@example.com"}}`,
		reference, amount, currency, reference)
	var o opened
	err := p.insist(ctx, http.MethodPost, "http://"+p.private+"/v1/sessions", MerchantKey, body, &o)
	if err != nil {
		return o, fmt.Errorf("open session: %w", err)
	}
	return o, nil
}

func (p *Program) session(ctx context.Context, id string) (session, error) {
	var v session
	err := p.insist(ctx, http.MethodGet, "http://"+p.private+"/v1/sessions/"+id, MerchantKey, nil, &v)
	if err != nil {
		return v, fmt.Errorf("read session: %w", err)
	}
	return v, nil
}

// byReference finds the sessions of a merchant's reference.
func (p *Program) byReference(ctx context.Context, reference string) ([]session, error) {
	var v struct {
		Data []session `json:"data"`
	}
	err := p.insist(ctx, http.MethodGet, "http://"+p.private+"/v1/sessions?reference_id="+url.QueryEscape(reference), MerchantKey, nil, &v)
	if err != nil {
		return nil, fmt.Errorf("find session: %w", err)
	}
	return v.Data, nil
}

func (p *Program) checkout(ctx context.Context, token string) (view, error) {
	var v view
	err := p.insist(ctx, http.MethodGet, p.PublicURL()+"/v1/checkout", token, nil, &v)
	if err != nil {
		return v, fmt.Errorf("read checkout: %w", err)
	}
	return v, nil
}

// submit asks once to pay. No answer at all is an error.
func (p *Program) submit(ctx context.Context, token, service string, fields map[string]string, idempotency string) (paid, error) {
	if fields == nil {
		fields = map[string]string{}
	}
	body, err := json.Marshal(map[string]any{"service": service, "fields": fields})
	if err != nil {
		return paid{}, fmt.Errorf("write request: %w", err)
	}
	var header []string
	if idempotency != "" {
		header = []string{"Idempotency-Key", idempotency}
	}
	status, text, err := p.call(ctx, http.MethodPost, p.PublicURL()+"/v1/checkout/invoice", token, body, header...)
	if err != nil {
		return paid{}, err
	}
	v := paid{status: status}
	if err := json.Unmarshal(text, &v); err != nil {
		return v, fmt.Errorf("read answer to pay: %d: %w: %.200s", status, err, text)
	}
	return v, nil
}

// event is a row of GET /v1/events.
type event struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Session string `json:"session"`
	State   string `json:"state"`
}

// events gives every event there is.
func (p *Program) events(ctx context.Context) ([]event, error) {
	var all []event
	for after := ""; ; {
		var list struct {
			Data []event `json:"data"`
			Next *string `json:"next"`
		}
		if err := p.insist(ctx, http.MethodGet, "http://"+p.private+"/v1/events?limit=100&after="+url.QueryEscape(after), MerchantKey, nil, &list); err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		all = append(all, list.Data...)
		if list.Next == nil || *list.Next == "" {
			return all, nil
		}
		after = *list.Next
	}
}

// metrics reads /metrics: values by name{labels}.
func (p *Program) metrics(ctx context.Context) (map[string]float64, error) {
	status, text, err := p.call(ctx, http.MethodGet, p.PrivateURL()+"/metrics", "", nil)
	if err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("read metrics: %d: %w", status, err)
	}
	values := map[string]float64{}
	for line := range strings.SplitSeq(string(text), "\n") {
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
				values[line[:at]] = v
			}
		}
	}
	return values, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until asks every 20 ms until f has nothing to complain about, or the time is over; it
// gives the last complaint.
func until(ctx context.Context, limit time.Duration, f func() error) error {
	for end := time.Now().Add(limit); ; {
		err := f()
		if err == nil || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
		_ = pause(ctx, 20*time.Millisecond) // f is asked once more in any case
	}
}

// each calls f for 0 to n-1, workers at a time, until one fails.
func each(ctx context.Context, n, workers int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// ErrBroken is in the error of an ordeal that found a promise broken, and not in that of
// one that could not go on.
var ErrBroken = errors.New("promises were broken")

// findings collects broken promises; the first few of each kind are told in full.
type findings struct {
	mu    sync.Mutex
	kinds map[string][]string
}

func (f *findings) add(kind, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kinds == nil {
		f.kinds = map[string][]string{}
	}
	f.kinds[kind] = append(f.kinds[kind], fmt.Sprintf(format, args...))
}

func (f *findings) count(kind string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.kinds[kind])
}

// spread tells the middle and the end of a list of durations.
func spread(list []time.Duration) string {
	if len(list) == 0 {
		return "never"
	}
	list = slices.Sorted(slices.Values(list))
	return fmt.Sprintf("p50 %.0f ms, at the most %.0f", ms(list[len(list)/2]), ms(list[len(list)-1]))
}

func (f *findings) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []error
	if len(f.kinds) > 0 {
		all = append(all, ErrBroken)
	}
	for _, kind := range slices.Sorted(maps.Keys(f.kinds)) {
		list := f.kinds[kind]
		for _, text := range list[:min(len(list), 5)] {
			all = append(all, fmt.Errorf("%s (1 of %d): %s", kind, len(list), text))
		}
	}
	return errors.Join(all...)
}
