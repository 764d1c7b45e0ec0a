package ordeal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// HostileConfig is how many payments are made beside each kind of attack.
type HostileConfig struct {
	Bin, Dir string
	Seed     uint64
	Payments int
	Log      func(format string, args ...any)
}

// Hostile pays while strangers do what they can without a key, or with what they have
// overheard: callbacks that are forged, replayed, out of order, doubled, too large or no
// JSON, connections that stop half way, sockets that are silent, dead or flooding. Each
// is answered as it should be and cut off in time, each is counted by a metric, none
// changes a session; and no payment is slower than at a program that is left alone,
// beside it and in turns.
func Hostile(ctx context.Context, cfg HostileConfig) error {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{HistoryLimit: 1000, CallbackRetry: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	defer stop()
	programs := make([]*Program, 2) // the first one is attacked
	for i := range programs {
		if programs[i], err = NewProgram(Settings{Bin: cfg.Bin, Dir: fmt.Sprintf("%s/%d", cfg.Dir, i), WZRD: wzrd}); err != nil {
			return err
		}
		defer programs[i].Kill()
		if err := programs[i].Start(ctx); err != nil {
			return err
		}
	}
	h := &hostile{stream: stream{StreamConfig: StreamConfig{Seed: cfg.Seed, Log: cfg.Log}, program: programs[0], wzrd: wzrd}}
	if err := h.victims(ctx); err != nil {
		return errors.Join(err, h.found.err())
	}
	for kind, a := range h.attacks() {
		if err := h.beside(ctx, a, programs, cfg.Payments, kind); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", a.name, err), h.found.err(), programs[0].told())
		}
	}
	if err := h.untouched(ctx); err != nil {
		return errors.Join(err, h.found.err())
	}
	for _, p := range programs {
		_, fatal, err := p.Logged()
		if err != nil {
			return err
		}
		for _, line := range fatal {
			h.found.add("panics", "%s", line)
		}
	}
	return h.found.err()
}

// hostile is what the strangers know: one session that is paid, and one that waits for
// its payment.
type hostile struct {
	stream
	paid, waits *money
	doubled     atomic.Int64
}

// attack is one kind. act is done again and again by so many at once; an error of it says
// how the program has answered otherwise than it should.
type attack struct {
	name    string
	workers int
	act     func(ctx context.Context, n int) error
	pause   time.Duration // between one and the next: strangers have no processor of their own here
	once    bool          // act lasts until the program ends it, by itself
	metrics []string      // that count it
	gauges  []string      // that show it while it lasts
}

func (h *hostile) attacks() []attack {
	received := func(outcome string) []string {
		return []string{`wzrdcheckout_callback_received_total{outcome="` + outcome + `"}`}
	}
	seen := []string{`wzrdcheckout_session_observations_total{outcome="same",source="callback"}`}
	closed := func(code int) []string {
		return []string{`wzrdcheckout_push_closed_total{code="` + strconv.Itoa(code) + `"}`}
	}
	return []attack{
		{name: "forged callbacks", workers: 4, pause: time.Millisecond, metrics: received("unauthorized"), act: func(ctx context.Context, _ int) error {
			body, err := h.waits.callback("processed", h.waits.updated+1, h.wzrd.Credentials().AccountID)
			if err != nil {
				return err
			}
			return h.callback(ctx, body, sandbox.Sign("not the key", body), http.StatusUnauthorized)
		}},
		{name: "replayed callbacks", workers: 4, pause: time.Millisecond, metrics: seen, act: func(ctx context.Context, _ int) error {
			return h.signed(ctx, h.paid, "processed", h.paid.acked)
		}},
		{name: "callbacks out of order", workers: 4, pause: time.Millisecond, metrics: seen, act: func(ctx context.Context, n int) error {
			// What was true once, and a failure that was overtaken by the success.
			status := []string{"process_pending", "process_failed"}[n%2]
			return h.signed(ctx, h.paid, status, h.paid.acked-1-int64(n%3))
		}},
		{name: "doubled callbacks", workers: 2, metrics: seen, act: h.double},
		{name: "oversized callbacks", workers: 2, pause: 10 * time.Millisecond, metrics: received("too_large"), act: h.oversized},
		{name: "callbacks that are no JSON", workers: 4, pause: time.Millisecond, metrics: received("invalid"), act: func(ctx context.Context, n int) error {
			body := []byte([]string{"{", "<xml/>", "\x00\xff", `{"data":[}`}[n%4])
			return h.callback(ctx, body, sandbox.Sign(h.wzrd.Credentials().SigningKeys[0], body), http.StatusBadRequest)
		}},
		{
			name: "connections that stop half way, silent and half-open sockets", workers: 240, once: true,
			act: func(ctx context.Context, n int) error {
				switch n % 4 {
				case 0:
					return h.hold(ctx, false, 4500, 20*time.Second)
				case 1:
					return h.hold(ctx, true, 4000, time.Minute)
				}
				return h.halfway(ctx, n)
			},
			gauges: []string{`wzrdcheckout_http_connections{plane="public"}`, "wzrdcheckout_push_sockets"},
			metrics: append(append(closed(4500), closed(4000)...),
				`wzrdcheckout_http_requests_total{method="POST",route="POST /v1/callbacks/wzrdpay",status="400"}`),
		},
		{name: "flooding sockets", workers: 4, pause: 25 * time.Millisecond, metrics: closed(4500), act: h.flood},
	}
}

// victims makes the two sessions.
func (h *hostile) victims(ctx context.Context) error {
	var err error
	if h.paid, err = h.one(ctx, fmt.Sprintf("hostile-%d-paid", h.Seed), true); err != nil {
		return err
	}
	if h.waits, err = h.one(ctx, fmt.Sprintf("hostile-%d-waits", h.Seed), true); err != nil {
		return err
	}
	if code, err := h.send(ctx, h.paid, "processed", h.paid.updated+10); err != nil || code != http.StatusOK {
		return fmt.Errorf("a callback was answered %d: %w", code, err)
	}
	if err := until(ctx, 30*time.Second, func() error { return h.is(ctx, h.paid, "paid") }); err != nil {
		return err
	}
	return until(ctx, 30*time.Second, func() error { return h.is(ctx, h.waits, "pending") })
}

// is holds a session's status, and keeps its revision.
func (h *hostile) is(ctx context.Context, m *money, status string) error {
	v, err := h.program.session(ctx, m.session)
	if err == nil && v.Status != status {
		err = fmt.Errorf("session %s is %s, want %s", m.session, v.Status, status)
	}
	m.revision = v.Revision
	return err
}

// untouched holds that the two sessions are what they were.
func (h *hostile) untouched(ctx context.Context) error {
	for m, status := range map[*money]string{h.paid: "paid", h.waits: "pending"} {
		before := m.revision
		if err := h.is(ctx, m, status); err != nil {
			h.found.add("sessions changed by strangers", "%v", err)
		}
		if m.revision != before {
			h.found.add("sessions changed by strangers", "session %s has revision %d, had %d", m.session, m.revision, before)
		}
	}
	return ctx.Err()
}

// beside makes payments at both programs in turns while the first is attacked.
func (h *hostile) beside(ctx context.Context, a attack, programs []*Program, payments, kind int) error {
	before, err := h.program.metrics(ctx)
	if err != nil {
		return err
	}
	life, over := context.WithCancel(ctx)
	defer over()
	if a.once {
		life = ctx
	}
	var wg sync.WaitGroup
	var acts atomic.Int64
	began := time.Now()
	for n := range a.workers {
		wg.Go(func() {
			for i := 0; life.Err() == nil && (i == 0 || !a.once); i++ {
				if err := a.act(life, n+i); err != nil && life.Err() == nil {
					h.found.add(a.name+" answered otherwise", "%v", err)
					return
				}
				acts.Add(1)
				_ = pause(life, a.pause) // the loop ends with life
			}
		})
	}
	var end error
	for _, gauge := range a.gauges {
		end = errors.Join(end, h.shows(ctx, gauge, before[gauge]+float64(a.workers)/4))
	}
	var took [2][]time.Duration
	for i := 0; i < 2*payments && end == nil; i++ {
		at := (i/2 + i) % 2 // neither is always the first
		var d time.Duration
		d, _, end = payment(ctx, programs[at], h.wzrd, fmt.Sprintf("beside-%d-%d-%d", h.Seed, kind, i), &h.found)
		took[at] = append(took[at], d)
	}
	over()
	wg.Wait()
	if end != nil {
		return end
	}
	for at := range took {
		slices.Sort(took[at])
	}
	ill, well := took[0][len(took[0])/2], took[1][len(took[1])/2]
	held := ""
	if a.once {
		held = fmt.Sprintf(", held for %.1f s at the most", time.Since(began).Seconds())
	}
	h.Log("%s, %d times%s: payment to page p50 %.1f ms, slowest %.1f; beside it where nobody attacks %.1f and %.1f", a.name, acts.Load(), held,
		ms(ill), ms(took[0][len(took[0])-1]), ms(well), ms(took[1][len(took[1])-1]))
	// Both share the processor with the strangers; what is behind one of them waits for longer.
	if ill > 4*well+750*time.Millisecond {
		h.found.add("payments slowed down", "beside %s: p50 %v, else %v", a.name, ill, well)
	}
	if acts.Load() == 0 {
		h.found.add("nothing was tried", "%s", a.name)
	}
	// What is stored is applied a moment later.
	return until(ctx, 20*time.Second, func() error {
		after, err := h.program.metrics(ctx)
		if err != nil {
			return err
		}
		for _, name := range a.metrics {
			if after[name] <= before[name] {
				return fmt.Errorf("%s stays at %v after %d of them", name, after[name], acts.Load())
			}
		}
		return nil
	})
}

// shows waits until a gauge is at least so high, for less time than the shortest attack
// may last.
func (h *hostile) shows(ctx context.Context, gauge string, least float64) error {
	return until(ctx, 4*time.Second, func() error {
		now, err := h.program.metrics(ctx)
		if err == nil && now[gauge] < least {
			err = fmt.Errorf("%s is %v, want %v or more", gauge, now[gauge], least)
		}
		return err
	})
}

func (h *hostile) callback(ctx context.Context, body []byte, signature string, want int) error {
	code, text, err := h.program.call(ctx, http.MethodPost, h.program.PublicURL()+"/v1/callbacks/wzrdpay", "", body, "X-Signature", signature)
	if err == nil && code != want {
		err = fmt.Errorf("%d, want %d: %.200s", code, want, text)
	}
	return err
}

func (h *hostile) signed(ctx context.Context, m *money, status string, updated int64) error {
	keys := h.wzrd.Credentials()
	body, err := m.callback(status, updated, keys.AccountID)
	if err != nil {
		return err
	}
	return h.callback(ctx, body, sandbox.Sign(keys.SigningKeys[0], body), http.StatusOK)
}

// double pays a new session by one callback that comes twice at once: its page is told
// once.
func (h *hostile) double(ctx context.Context, _ int) error {
	m, err := h.one(ctx, fmt.Sprintf("hostile-%d-double-%d", h.Seed, h.doubled.Add(1)), true)
	if err != nil {
		return err
	}
	page := h.program.read(ctx, m.session, m.token, false, &h.found)
	defer page.close()
	var both [2]error
	var wg sync.WaitGroup
	for i := range both {
		wg.Go(func() { both[i] = h.signed(ctx, m, "processed", m.updated+1) })
	}
	wg.Wait()
	if err := errors.Join(both[:]...); err != nil {
		return err
	}
	if err := until(ctx, 30*time.Second, func() error {
		if list := page.statuses(); len(list) == 0 || list[len(list)-1] != "paid" {
			return fmt.Errorf("session %s: the page was shown %v", m.session, list)
		}
		return nil
	}); err != nil {
		return err
	}
	_ = pause(ctx, 50*time.Millisecond) // a second telling would come now
	paid := 0
	for _, status := range page.statuses() {
		if status == "paid" {
			paid++
		}
	}
	if paid != 1 {
		return fmt.Errorf("session %s: the page was shown %v, want paid once", m.session, page.statuses())
	}
	return nil
}

// oversized sends more than a callback may have, saying so or not. A connection that is
// cut off in the middle of it is an answer too.
func (h *hostile) oversized(ctx context.Context, n int) error {
	body := bytes.Repeat([]byte(" "), 1<<20+1)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.program.PublicURL()+"/v1/callbacks/wzrdpay", bytes.NewReader(body))
	if err != nil {
		return err
	}
	if n%2 == 1 {
		r.Body, r.ContentLength = io.NopCloser(io.MultiReader(bytes.NewReader(body), bytes.NewReader(body))), -1
	}
	r.Header.Set("X-Signature", sandbox.Sign(h.wzrd.Credentials().SigningKeys[0], body))
	answer, err := h.program.http.Do(r)
	if err != nil {
		return h.program.ended()
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusRequestEntityTooLarge {
		return fmt.Errorf("%d, want 413", answer.StatusCode)
	}
	return nil
}

func (h *hostile) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", h.program.public)
}

// halfway begins a callback and stops: before it, in its header, or in its body.
func (h *hostile) halfway(ctx context.Context, n int) error {
	c, err := h.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	const head = "POST /v1/callbacks/wzrdpay HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000\r\n"
	part := []string{"", head + "X-Sig", head + "\r\n{"}[n%3]
	if _, err := io.WriteString(c, part); err != nil {
		return err
	}
	began := time.Now()
	if err := c.SetReadDeadline(began.Add(time.Minute)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) || timedOut(err) {
		return fmt.Errorf("a connection that stopped after %d bytes is open after a minute", len(part))
	}
	return nil
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// upgraded opens a socket, and says hello for the session that waits if it is to.
func (h *hostile) upgraded(ctx context.Context, hello bool) (net.Conn, *bufio.Reader, error) {
	c, err := h.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	in, err := (&reader{program: h.program, id: h.waits.session, found: &h.found}).upgrade(c)
	if err == nil && hello {
		var text []byte
		if text, err = json.Marshal(map[string]any{"type": "hello", "token": h.waits.token, "revision": 0}); err == nil {
			err = write(c, opText, text)
		}
	}
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	return c, in, nil
}

// hold says nothing more after the handshake, or after the hello, not even pong, until
// the program has had enough.
func (h *hostile) hold(ctx context.Context, hello bool, want int, limit time.Duration) error {
	c, in, err := h.upgraded(ctx, hello)
	if err != nil {
		return err
	}
	defer c.Close()
	began := time.Now()
	if err := c.SetReadDeadline(began.Add(limit)); err != nil {
		return err
	}
	code, err := farewell(in)
	if timedOut(err) {
		return fmt.Errorf("the socket is open after %s", limit)
	}
	if code != want {
		return fmt.Errorf("closed with %d (%w) after %s, want %d", code, err, time.Since(began), want)
	}
	return nil
}

// farewell reads until the connection ends, and gives the close code, 0 = none.
func farewell(in *bufio.Reader) (int, error) {
	for {
		op, text, err := next(in)
		if err != nil {
			return 0, err
		}
		if op == opClose && len(text) >= 2 {
			return int(binary.BigEndian.Uint16(text)), nil
		}
	}
}

// flood sends what a page never sends, as fast as it can, until it is cut off: texts,
// pings, pongs, one message without an end, and texts between pongs.
func (h *hostile) flood(ctx context.Context, n int) error {
	c, in, err := h.upgraded(ctx, true)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	began := time.Now()
	if err := c.SetDeadline(began.Add(time.Minute)); err != nil {
		return err
	}
	cut := make(chan int, 1)
	go func() {
		code, _ := farewell(in)
		cut <- code
	}()
	kinds := []string{"texts", "pings", "pongs", "a message without an end", "texts between pongs"}
	kind := n % len(kinds)
	piece := bytes.Repeat([]byte("x"), 2000)
	if kind == 3 {
		var head [14]byte // one frame of 2^40 bytes
		head[0], head[1] = 0x80|opText, 0x80|127
		binary.BigEndian.PutUint64(head[2:], 1<<40)
		_, err = c.Write(head[:])
	}
	frames := 0
	for ; err == nil; frames++ {
		switch {
		case kind == 0, kind == 4 && frames%32 != 0:
			err = write(c, opText, []byte(`{"type":"noise"}`))
		case kind == 1:
			err = write(c, opPing, []byte("are you there"))
		case kind == 2, kind == 4:
			err = write(c, opPong, nil)
		case kind == 3:
			_, err = c.Write(piece)
		}
	}
	code := 0
	select {
	case code = <-cut:
	case <-time.After(5 * time.Second):
	}
	if timedOut(err) || time.Since(began) > 30*time.Second {
		return fmt.Errorf("a socket sends %s, and was not cut off for %s (%d frames)", kinds[kind], time.Since(began).Round(time.Second), frames)
	}
	if code != 0 && code != 4500 && code != 1009 {
		return fmt.Errorf("a socket sends %s: closed with %d, want 4500 or 1009", kinds[kind], code)
	}
	return nil
}
