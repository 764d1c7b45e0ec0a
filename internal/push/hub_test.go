package push_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/push"
)

// store is a Source that tells its watcher late, as a store on another machine would.
type store struct {
	mu       sync.Mutex
	revision map[string]int64
	pad      string
	fail     error // of Current
	broken   bool  // changes can not be read
	f        func(string, time.Time, func() (int64, []byte, error))
	changes  chan change
	done     chan struct{}
}

type change struct {
	session  string
	revision int64
}

func newStore() *store {
	return &store{revision: map[string]int64{}, changes: make(chan change, 100_000), done: make(chan struct{})}
}

func (s *store) text(session string, revision int64) []byte {
	return fmt.Appendf(nil, `{"id":%q,"revision":%d,"pad":%q}`, session, revision, s.pad)
}

func (s *store) Watch(f func(string, time.Time, func() (int64, []byte, error))) func() {
	s.f = f
	go func() {
		defer close(s.done)
		for c := range s.changes {
			f(c.session, time.Now(), func() (int64, []byte, error) {
				if s.broken {
					return 0, nil, errors.New("broken")
				}
				return c.revision, s.text(c.session, c.revision), nil
			})
		}
	}()
	return func() { close(s.changes); <-s.done }
}

func (s *store) Current(_ context.Context, session string) (int64, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, nil, s.fail
	}
	r, ok := s.revision[session]
	if !ok {
		return 0, nil, checkout.ErrNotFound
	}
	return r, s.text(session, r), nil
}

func (s *store) change(session string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision[session]++
	s.changes <- change{session, s.revision[session]}
	return s.revision[session]
}

// auth takes "session", "session|expires in seconds", "bad", "old".
type auth struct{}

func (auth) Authenticate(token string) (string, string, int64, error) {
	if token == "bad" {
		return "", "", 0, &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_invalid"}
	}
	if token == "old" {
		return "", "", 0, &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_expired"}
	}
	session, in, ok := strings.Cut(token, "|")
	d := time.Hour
	if ok {
		d, _ = time.ParseDuration(in)
	}
	return session, "pay", time.Now().Add(d).Unix(), nil
}

type counts struct {
	mu     sync.Mutex
	open   int
	closed map[int]int
	pushed int
}

func (c *counts) SocketOpened() { c.mu.Lock(); c.open++; c.mu.Unlock() }
func (c *counts) SocketClosed(code int) {
	c.mu.Lock()
	c.open--
	c.closed[code]++
	c.mu.Unlock()
}
func (c *counts) Pushed(time.Duration) { c.mu.Lock(); c.pushed++; c.mu.Unlock() }

type world struct {
	t      testing.TB
	store  *store
	hub    *push.Hub
	url    string
	counts *counts
}

func open(t testing.TB, change func(*push.Config)) *world {
	t.Helper()
	w := &world{t: t, store: newStore(), counts: &counts{closed: map[int]int{}}}
	cfg := push.Config{
		Source: w.store, Auth: auth{}, Origins: []string{"https://shop.example", "https://pay.example"},
		Observer: w.counts, Log: slog.New(slog.DiscardHandler),
		Refuse: func(rw http.ResponseWriter, _ *http.Request, err error) {
			switch {
			case errors.Is(err, checkout.ErrLimited):
				http.Error(rw, err.Error(), http.StatusTooManyRequests)
			case errors.Is(err, checkout.ErrUnavailable):
				http.Error(rw, err.Error(), http.StatusServiceUnavailable)
			default:
				http.Error(rw, err.Error(), http.StatusBadRequest)
			}
		},
	}
	if change != nil {
		change(&cfg)
	}
	hub, err := push.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(hub)
	w.hub, w.url = hub, "ws"+strings.TrimPrefix(server.URL, "http")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := hub.Stop(ctx); err != nil {
			t.Errorf("Stop() = %v, want nil", err)
		}
		server.Close()
	})
	return w
}

func (w *world) dial(header http.Header) *websocket.Conn {
	w.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{push.Subprotocol}, HandshakeTimeout: 20 * time.Second}
	c, _, err := d.Dial(w.url, header)
	if err != nil {
		w.t.Fatalf("dial: %v", err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
	return c
}

func (w *world) hello(token string, revision int64) *websocket.Conn {
	w.t.Helper()
	c := w.dial(nil)
	send(w.t, c, fmt.Sprintf(`{"type":"hello","token":%q,"revision":%d}`, token, revision))
	return c
}

func send(t testing.TB, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatalf("write: %v", err)
	}
}

type got struct {
	Type     string `json:"type"`
	Revision int64  `json:"revision"`
	Session  struct {
		ID       string `json:"id"`
		Revision int64  `json:"revision"`
	} `json:"session"`
}

func next(c *websocket.Conn) (got, int, error) {
	_, text, err := c.ReadMessage()
	if err != nil {
		var e *websocket.CloseError
		if errors.As(err, &e) {
			return got{}, e.Code, nil
		}
		return got{}, 0, err
	}
	var g got
	return g, 0, json.Unmarshal(text, &g)
}

func wantFrame(t testing.TB, c *websocket.Conn, revision int64) {
	t.Helper()
	g, code, err := next(c)
	if err != nil || code != 0 || g.Type != "session" || g.Revision != revision || g.Session.Revision != revision {
		t.Fatalf("frame = %+v, close %d, err %v, want revision %d", g, code, err, revision)
	}
}

func wantClose(t testing.TB, c *websocket.Conn, code int) {
	t.Helper()
	for {
		g, got, err := next(c)
		if err != nil || got != 0 {
			if got != code {
				t.Fatalf("close = %d, err %v, want %d", got, err, code)
			}
			return
		}
		_ = g
	}
}

func TestHub_EveryChangeInOrder(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.store.change("cs_a")
	w.store.change("cs_a")
	c := w.hello("cs_a", 0)
	if c.Subprotocol() != push.Subprotocol {
		t.Errorf("subprotocol = %q, want %q", c.Subprotocol(), push.Subprotocol)
	}
	wantFrame(t, c, 2)
	w.store.change("cs_b")
	for r := int64(3); r <= 12; r++ {
		w.store.change("cs_a")
	}
	for r := int64(3); r <= 12; r++ {
		wantFrame(t, c, r)
	}
	resumed := w.hello("cs_a", 12) // nothing newer: silent until the next change
	send(t, resumed, `{"type":"hello","token":"cs_b"}`)
	w.store.change("cs_a")
	wantFrame(t, resumed, 13)
	wantFrame(t, c, 13)
	if w.hub.Open() != 2 {
		t.Errorf("Open() = %d, want 2", w.hub.Open())
	}
}

func TestHub_CloseCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		origin string
		frame  string
		kind   int
		fail   error
		code   int
	}{
		{name: "no hello", code: 4500},
		{name: "no JSON", frame: "hello", code: 4500},
		{name: "another type", frame: `{"type":"hi","token":"cs_a"}`, code: 4500},
		{name: "no token", frame: `{"type":"hello","revision":1}`, code: 4500},
		{name: "negative revision", frame: `{"type":"hello","token":"cs_a","revision":-1}`, code: 4500},
		{name: "revision no integer", frame: `{"type":"hello","token":"cs_a","revision":1.5}`, code: 4500},
		{name: "two values", frame: `{"type":"hello","token":"cs_a"}{}`, code: 4500},
		{name: "binary", frame: `{"type":"hello","token":"cs_a"}`, kind: websocket.BinaryMessage, code: 4500},
		{name: "too long", frame: `{"type":"hello","token":"` + strings.Repeat("a", 20_000) + `"}`, code: 4500},
		{name: "forged", frame: `{"type":"hello","token":"bad"}`, code: 4501},
		{name: "unknown session", frame: `{"type":"hello","token":"cs_none"}`, code: 4501},
		{name: "expired", frame: `{"type":"hello","token":"old"}`, code: 4502},
		{name: "expired by its claims", frame: `{"type":"hello","token":"cs_a|-1s"}`, code: 4502},
		{name: "expires while open", frame: `{"type":"hello","token":"cs_a|2s"}`, code: 4502},
		{name: "foreign origin", origin: "https://shop.example.evil.example", frame: `{"type":"hello","token":"cs_a"}`, code: 4503},
		{name: "origin with another port", origin: "https://shop.example:8443", frame: `{"type":"hello","token":"cs_a"}`, code: 4503},
		{name: "null origin", origin: "null", frame: `{"type":"hello","token":"cs_a"}`, code: 4503},
		{name: "store down", frame: `{"type":"hello","token":"cs_a"}`, fail: checkout.ErrUnavailable, code: 4000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, func(cfg *push.Config) {
				if c.frame == "" {
					cfg.HelloWait = 100 * time.Millisecond
				}
			})
			w.store.change("cs_a")
			w.store.fail = c.fail
			header := http.Header{}
			if c.origin != "" {
				header.Set("Origin", c.origin)
			}
			conn := w.dial(header)
			if c.frame != "" {
				kind := websocket.TextMessage
				if c.kind != 0 {
					kind = c.kind
				}
				if err := conn.WriteMessage(kind, []byte(c.frame)); err != nil {
					t.Fatal(err)
				}
			}
			wantClose(t, conn, c.code)
		})
	}
}

func TestHub_AllowedOrigins(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.store.change("cs_a")
	for _, origin := range []string{"https://shop.example", "https://pay.example"} {
		c := w.dial(http.Header{"Origin": {origin}})
		send(t, c, `{"type":"hello","token":"cs_a","revision":0}`)
		wantFrame(t, c, 1)
	}
}

func TestHub_Refuses(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *push.Config) {
		c.MaxSockets = 3
		c.MaxPerAddress = 2
		c.Address = func(r *http.Request) string { return r.Header.Get("X-From") }
	})
	w.store.change("cs_a")
	try := func(header http.Header) int {
		c, r, err := (&websocket.Dialer{}).Dial(w.url, header)
		if err == nil {
			// Held until the end: the collector closes a connection that nobody has.
			t.Cleanup(func() { _ = c.Close() })
			return http.StatusSwitchingProtocols
		}
		return r.StatusCode
	}
	for i, want := range []int{101, 101, 429} {
		if got := try(http.Header{"X-From": {"one"}}); got != want {
			t.Errorf("socket %d of one address = %d, want %d", i+1, got, want)
		}
	}
	if got := try(http.Header{"X-From": {"two"}, "Sec-WebSocket-Protocol": {"checkout.v2"}}); got != 400 {
		t.Errorf("another subprotocol = %d, want 400", got)
	}
	if got := try(http.Header{"X-From": {"two"}}); got != 101 {
		t.Errorf("another address = %d, want 101", got)
	}
	if got := try(http.Header{"X-From": {"three"}}); got != 503 {
		t.Errorf("a full replica = %d, want 503", got)
	}
	r, err := http.Get("http" + strings.TrimPrefix(w.url, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != 503 {
		t.Errorf("plain GET of a full replica = %d, want 503", r.StatusCode)
	}
}

func TestHub_PerSession(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *push.Config) { c.MaxPerSession = 1 })
	w.store.change("cs_a")
	first := w.hello("cs_a", 0)
	wantFrame(t, first, 1)
	wantClose(t, w.hello("cs_a", 0), push.CodeLimited)
	if _, err := w.hub.LongPoll(t.Context(), "cs_a", 0, 0); !errors.Is(err, checkout.ErrLimited) {
		t.Errorf("LongPoll() = %v, want ErrLimited", err)
	}
	_ = first.Close()
	for { // the place becomes free
		if _, err := w.hub.LongPoll(t.Context(), "cs_a", 0, 0); err == nil {
			return
		}
		runtime.Gosched()
	}
}

// A page that does not read is cut with 4001, delays nobody, and resumes.
func TestHub_SlowReader(t *testing.T) {
	t.Parallel()
	// On a busy machine all of it takes minutes; the queue is what must cut.
	w := open(t, func(c *push.Config) { c.WriteWait = 10 * time.Minute })
	w.store.pad = strings.Repeat("x", 512<<10)
	w.store.change("cs_a")
	slow := w.hello("cs_a", 0)
	quick := w.hello("cs_a", 0)
	wantFrame(t, quick, 1)
	for r := int64(2); r <= 60; r++ {
		w.store.change("cs_a")
		_ = quick.SetReadDeadline(time.Now().Add(time.Minute))
		wantFrame(t, quick, r)
	}
	last := int64(0)
	for {
		_ = slow.SetReadDeadline(time.Now().Add(time.Minute))
		g, code, err := next(slow)
		if err != nil {
			t.Fatal(err)
		}
		if code != 0 {
			if code != push.CodeSlow {
				t.Fatalf("close = %d, want %d", code, push.CodeSlow)
			}
			break
		}
		if last != 0 && g.Revision != last+1 {
			t.Fatalf("revision %d after %d", g.Revision, last)
		}
		last = g.Revision
	}
	if last >= 60 {
		t.Fatalf("the slow page was told all %d revisions, so nothing was slow", last)
	}
	wantFrame(t, w.hello("cs_a", last), 60)
}

// A change that can not be read is healed by coming back.
func TestHub_UnreadableChange(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.store.change("cs_a")
	c := w.hello("cs_a", 0)
	wantFrame(t, c, 1)
	w.store.broken = true
	w.store.change("cs_a")
	wantClose(t, c, push.CodeGoingAway)
	wantFrame(t, w.hello("cs_a", 1), 2)
}

func TestHub_Heartbeat(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *push.Config) { c.PingEvery, c.PongWait = 100*time.Millisecond, 2*time.Second })
	w.store.change("cs_a")
	alive := w.hello("cs_a", 0)
	pings := make(chan struct{}, 1000)
	pong := alive.PingHandler()
	alive.SetPingHandler(func(s string) error { pings <- struct{}{}; return pong(s) })
	frames := make(chan got, 10)
	go func() {
		for {
			g, code, err := next(alive)
			if err != nil || code != 0 {
				close(frames)
				return
			}
			frames <- g
		}
	}()
	dead := w.hello("cs_a", 0)
	dead.SetPingHandler(func(string) error { return nil }) // hears, never answers
	wantFrame(t, dead, 1)
	wantClose(t, dead, push.CodeGoingAway)
	for range 5 {
		<-pings
	}
	<-frames
	w.store.change("cs_a")
	if g, ok := <-frames; !ok || g.Revision != 2 {
		t.Errorf("a page that answers pings got %+v, open %v, want revision 2", g, ok)
	}
}

// Whatever a socket floods with, it is cut off: nothing that it sends by itself buys it
// more frames or more time.
func TestHub_Flood(t *testing.T) {
	t.Parallel()
	text := func(c *websocket.Conn) error {
		return c.WriteMessage(websocket.TextMessage, []byte(`{"type":"noise"}`))
	}
	control := func(kind int) func(*websocket.Conn) error {
		return func(c *websocket.Conn) error { return c.WriteControl(kind, nil, time.Now().Add(time.Minute)) }
	}
	tests := []struct {
		name  string
		sends []func(*websocket.Conn) error // in turns
		want  int
	}{
		{"texts", []func(*websocket.Conn) error{text}, push.CodeBadHello},
		{"pings", []func(*websocket.Conn) error{control(websocket.PingMessage)}, push.CodeBadHello},
		{"pongs", []func(*websocket.Conn) error{control(websocket.PongMessage)}, push.CodeBadHello},
		{"texts between pongs", []func(*websocket.Conn) error{text, control(websocket.PongMessage)}, push.CodeBadHello},
		{"long messages", []func(*websocket.Conn) error{func(c *websocket.Conn) error {
			return c.WriteMessage(websocket.TextMessage, make([]byte, 1<<20))
		}}, websocket.CloseMessageTooBig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, nil)
			w.store.change("cs_a")
			c := w.hello("cs_a", 0)
			wantFrame(t, c, 1)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for i := range 200 {
					if tt.sends[i%len(tt.sends)](c) != nil {
						return
					}
				}
			}()
			for {
				_, code, err := next(c)
				if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() || code != 0 && code != tt.want && code != websocket.CloseAbnormalClosure {
					t.Fatalf("close = %d, err %v, want %d or the end of the connection", code, err, tt.want)
				}
				if err != nil || code != 0 {
					break // who still sends may see the end before the code
				}
			}
			_ = c.Close()
			<-sent
			for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				w.counts.mu.Lock()
				closed := w.counts.closed[tt.want]
				w.counts.mu.Unlock()
				if closed == 1 {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("SocketClosed(%d) was called %d times, want once", tt.want, closed)
				}
			}
		})
	}
}

func TestHub_Stop(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("all are told", func(t *testing.T) {
		w := open(t, func(c *push.Config) { c.DrainSpread = 200 * time.Millisecond })
		w.store.change("cs_a")
		conns := make([]*websocket.Conn, 150)
		for i := range conns {
			session := fmt.Sprintf("cs_%d", i%10)
			if i < 10 {
				w.store.change(session)
			}
			conns[i] = w.hello(session, 0)
			wantFrame(t, conns[i], 1)
		}
		silent := w.dial(nil)
		polled := make(chan error, 1)
		go func() {
			_, err := w.hub.LongPoll(context.Background(), "cs_a", 1, time.Minute)
			polled <- err
		}()
		for w.hub.Open() != len(conns)+2 {
			runtime.Gosched()
		}
		var closed sync.WaitGroup
		codes := make([]int, len(conns))
		for i, c := range conns {
			closed.Go(func() { _, codes[i], _ = next(c) })
		}
		closed.Go(func() {
			if _, code, _ := next(silent); code != push.CodeGoingAway {
				t.Errorf("socket without a hello = %d, want %d", code, push.CodeGoingAway)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := w.hub.Stop(ctx); err != nil {
			t.Errorf("Stop() = %v, want nil", err)
		}
		closed.Wait()
		for i, code := range codes {
			if code != push.CodeGoingAway {
				t.Errorf("socket %d = %d, want %d", i, code, push.CodeGoingAway)
			}
		}
		if err := <-polled; !errors.Is(err, checkout.ErrUnavailable) {
			t.Errorf("LongPoll() = %v, want ErrUnavailable", err)
		}
		if w.hub.Open() != 0 || w.counts.open != 0 || w.counts.closed[push.CodeGoingAway] != len(conns)+1 {
			t.Errorf("after Stop: Open() = %d, %d open, closed %v", w.hub.Open(), w.counts.open, w.counts.closed)
		}
		if _, r, err := (&websocket.Dialer{}).Dial(w.url, nil); err == nil || r.StatusCode != 503 {
			t.Errorf("dial after Stop = %v, want 503", err)
		}
	})
	t.Run("half-open peers do not hold it up", func(t *testing.T) {
		w := open(t, func(c *push.Config) { c.LingerWait = 300 * time.Millisecond })
		w.store.change("cs_a")
		c := w.hello("cs_a", 0)
		wantFrame(t, c, 1) // and reads no more
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := w.hub.Stop(ctx); err != nil {
			t.Errorf("Stop() = %v, want nil", err)
		}
	})
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after:\n%s", before, n, stacks[:runtime.Stack(stacks, true)])
	}
}

// A replica that hears of no changes sends its pages away and lets nobody in until it
// hears again; a page that comes back then has what it missed.
func TestHub_Deafen(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.store.change("cs_a")
	conns := make([]*websocket.Conn, 20)
	for i := range conns {
		conns[i] = w.hello("cs_a", 0)
		wantFrame(t, conns[i], 1)
	}
	polled := make(chan error, 1)
	go func() {
		_, err := w.hub.LongPoll(t.Context(), "cs_a", 1, time.Minute)
		polled <- err
	}()
	for w.hub.Open() != len(conns)+1 {
		runtime.Gosched()
	}
	for range 2 {
		w.hub.Deafen(t.Context())
	}
	for _, c := range conns {
		wantClose(t, c, push.CodeGoingAway)
	}
	if err := <-polled; !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("LongPoll() that waits = %v, want ErrUnavailable", err)
	}
	if _, err := w.hub.LongPoll(t.Context(), "cs_a", 0, 0); !errors.Is(err, checkout.ErrUnavailable) {
		t.Errorf("LongPoll() = %v, want ErrUnavailable", err)
	}
	if _, r, err := (&websocket.Dialer{}).Dial(w.url, nil); err == nil || r.StatusCode != 503 {
		t.Errorf("dial = %v, want 503", err)
	}
	w.store.change("cs_a")
	for range 2 {
		w.hub.Undeafen()
	}
	back := w.hello("cs_a", 1)
	wantFrame(t, back, 2)
	w.store.change("cs_a")
	wantFrame(t, back, 3)
	w.hub.Deafen(t.Context())
	wantClose(t, back, push.CodeGoingAway)
}

func TestHub_LongPoll(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.store.change("cs_a")
	w.store.change("cs_a")
	read := func(revision int64, wait time.Duration) (int64, error) {
		text, err := w.hub.LongPoll(t.Context(), "cs_a", revision, wait)
		if err != nil || text == nil {
			return 0, err
		}
		var g got
		if err := json.Unmarshal(text, &g); err != nil || g.Type != "session" || g.Session.Revision != g.Revision {
			t.Errorf("LongPoll() = %s, err %v", text, err)
		}
		return g.Revision, nil
	}
	for _, c := range []struct {
		name           string
		revision, want int64
		wait           time.Duration
	}{
		{"newer is there", 1, 2, time.Minute},
		{"first look", 0, 2, 0},
		{"nothing newer, no wait", 2, 0, 0},
		{"nothing newer, short wait", 2, 0, 10 * time.Millisecond},
		{"ahead of us", 9, 0, 10 * time.Millisecond},
	} {
		if got, err := read(c.revision, c.wait); err != nil || got != c.want {
			t.Errorf("%s: LongPoll(%d, %v) = %d, %v, want %d", c.name, c.revision, c.wait, got, err, c.want)
		}
	}
	if _, err := w.hub.LongPoll(t.Context(), "cs_none", 0, 0); !errors.Is(err, checkout.ErrNotFound) {
		t.Errorf("LongPoll(unknown) = %v, want ErrNotFound", err)
	}
	found := make(chan int64, 1)
	go func() { r, _ := read(2, time.Minute); found <- r }()
	for w.hub.Open() != 1 {
		runtime.Gosched()
	}
	w.store.change("cs_a")
	if r := <-found; r != 3 {
		t.Errorf("LongPoll(2) = %d, want 3", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.hub.LongPoll(ctx, "cs_a", 3, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("LongPoll(cancelled) = %v, want context.Canceled", err)
	}
}

// Pages that come and go at random, over socket and poll, while their sessions change:
// each sees revisions only forwards, none twice, none left out on one connection, and
// every page ends with the last one.
func TestHub_ResumeProperty(t *testing.T) {
	t.Parallel()
	const sessions, pages, changes = 4, 12, 150
	w := open(t, func(c *push.Config) { c.Queue = changes })
	for i := range sessions {
		w.store.change(fmt.Sprintf("cs_%d", i))
	}
	var writers, readers sync.WaitGroup
	for i := range sessions {
		writers.Go(func() {
			dice := rand.New(rand.NewPCG(7, uint64(i)))
			for range changes - 1 {
				w.store.change(fmt.Sprintf("cs_%d", i))
				if dice.IntN(4) == 0 {
					time.Sleep(time.Duration(dice.IntN(1500)) * time.Microsecond)
				}
			}
		})
	}
	for i := range pages {
		readers.Go(func() {
			dice := rand.New(rand.NewPCG(9, uint64(i)))
			session := fmt.Sprintf("cs_%d", i%sessions)
			for last := int64(0); last < changes; {
				if dice.IntN(4) == 0 {
					text, err := w.hub.LongPoll(t.Context(), session, last, 5*time.Second)
					var g got
					if err != nil || text != nil && json.Unmarshal(text, &g) != nil || text != nil && g.Revision <= last {
						t.Errorf("page %d: poll after %d = %s, %v", i, last, text, err)
						return
					}
					last = max(last, g.Revision)
					continue
				}
				c := w.hello(session, last)
				for n := 1 + dice.IntN(40); n > 0 && last < changes; n-- {
					g, code, err := next(c)
					if err != nil || code != 0 {
						t.Errorf("page %d: close %d, %v after revision %d", i, code, err, last)
						return
					}
					if g.Revision <= last || n < 0 {
						t.Errorf("page %d: revision %d after %d", i, g.Revision, last)
						return
					}
					last = g.Revision
				}
				_ = c.Close()
			}
		})
	}
	writers.Wait()
	readers.Wait()
}

// On one connection no revision is left out after the first frame, however the change
// and the subscription race.
func TestHub_NoGap(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *push.Config) { c.Queue = 1000 })
	w.store.change("cs_a")
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.store.change("cs_a")
				time.Sleep(50 * time.Microsecond)
			}
		}
	})
	for range 40 {
		c := w.hello("cs_a", 0)
		last := int64(0)
		for range 20 {
			g, code, err := next(c)
			if err != nil || code != 0 || last != 0 && g.Revision != last+1 {
				t.Fatalf("revision %d (close %d, %v) after %d", g.Revision, code, err, last)
			}
			last = g.Revision
		}
		_ = c.Close()
	}
	close(stop)
	writer.Wait()
}

func TestNew_Config(t *testing.T) {
	t.Parallel()
	good := func() push.Config {
		return push.Config{Source: newStore(), Auth: auth{}, Log: slog.New(slog.DiscardHandler), Refuse: func(http.ResponseWriter, *http.Request, error) {}}
	}
	for _, c := range []struct {
		name   string
		change func(*push.Config)
		want   string
	}{
		{"source", func(c *push.Config) { c.Source = nil }, "Source"},
		{"auth", func(c *push.Config) { c.Auth = nil }, "Auth"},
		{"log", func(c *push.Config) { c.Log = nil }, "Log"},
		{"refuse", func(c *push.Config) { c.Refuse = nil }, "Refuse"},
		{"wildcard", func(c *push.Config) { c.Origins = []string{"https://*.example"} }, "Origins"},
		{"negative time", func(c *push.Config) { c.PingEvery = -1 }, "PingEvery"},
		{"negative count", func(c *push.Config) { c.Queue = -1 }, "Queue"},
	} {
		cfg := good()
		c.change(&cfg)
		if _, err := push.New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%s) = %v, want an error that names %s", c.name, err, c.want)
		}
	}
}

// BenchmarkIdleSocket prints the memory of one open, greeted socket: heap and stack of
// the server's side (the peer is a bare connection of a few hundred bytes).
func BenchmarkIdleSocket(b *testing.B) {
	w := open(b, nil)
	w.store.change("cs_a")
	const n = 5000
	var before, after runtime.MemStats
	for b.Loop() {
		for i := range n {
			w.store.revision[fmt.Sprintf("cs_%d", i)] = 1
		}
		conns := make([]net.Conn, n)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range conns {
			c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "ws://"))
			if err != nil {
				b.Fatal(err)
			}
			conns[i] = c
			_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
			var head [512]byte
			if _, err := c.Read(head[:]); err != nil {
				b.Fatal(err)
			}
			hello := fmt.Sprintf(`{"type":"hello","token":"cs_%d","revision":1}`, i)
			_, _ = c.Write(append([]byte{0x81, 0x80 | byte(len(hello)), 0, 0, 0, 0}, hello...))
		}
		for w.hub.Open() < n {
			runtime.Gosched()
		}
		time.Sleep(time.Second)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/n, "B/socket")
		for _, c := range conns {
			_ = c.Close()
		}
		for w.hub.Open() > 0 {
			runtime.Gosched()
		}
	}
}
