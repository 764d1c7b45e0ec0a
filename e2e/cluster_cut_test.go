package e2e_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// wire is a way from one replica to another that can be cut as a network is cut: nothing
// is refused and nothing is closed, it just does not arrive any more.
type wire struct {
	net.Listener
	to string

	mu    sync.Mutex
	whole *sync.Cond
	cut   bool
	gone  bool
	conns []net.Conn
	wg    sync.WaitGroup
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, to: to}
	w.whole = sync.NewCond(&w.mu)
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		w.gone = true
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.whole.Broadcast()
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

// set cuts the wire or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	w.whole.Broadcast()
}

// pass waits while the wire is cut; false at the end of the test.
func (w *wire) pass(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, conns...)
	for w.cut && !w.gone {
		w.whole.Wait()
	}
	return !w.gone
}

func (w *wire) carry(c net.Conn) {
	defer c.Close()
	if !w.pass(c) {
		return
	}
	s, err := net.DialTimeout("tcp", w.to, 5*time.Second)
	if err != nil {
		return
	}
	defer s.Close()
	if !w.pass(s) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
		both.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := way[0].Read(buf)
				if !w.pass() {
					break
				}
				if n > 0 {
					if _, err := way[1].Write(buf[:n]); err != nil {
						break
					}
				}
				if err != nil {
					break
				}
			}
			// What the other end says on is of no use any more.
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	both.Wait()
}

// wired makes a cluster whose replicas reach one another over wires; wires[i][j] leads
// from i to j.
func (f *fleet) wired() (wires [3][3]*wire) {
	f.t.Helper()
	for i, r := range f.replicas {
		var peers []string
		for j, other := range f.replicas {
			if i != j {
				wires[i][j] = newWire(f.t, other.cluster)
				peers = append(peers, wires[i][j].Addr().String())
			}
		}
		// What replicas tell one another about third ones must not lead around the wires.
		r.settings = append(r.settings, "BFF_CLUSTER_NAME="+r.name, "BFF_CLUSTER_LISTEN="+r.cluster,
			"BFF_CLUSTER_PEERS="+strings.Join(peers, ","), "BFF_CLUSTER_ADVERTISE=127.0.0.1:1")
	}
	return wires
}

// lonePage is a page with its socket at one replica.
type lonePage struct{ conn *websocket.Conn }

// parting is how and when a page's socket ended.
type parting struct {
	code  int
	after time.Duration
	err   error
}

// dialPage opens a session's socket at one replica and reads its first frame.
func dialPage(t *testing.T, r *replica, token string) lonePage {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"checkout.v1"}, HandshakeTimeout: 10 * time.Second}
	conn, res, err := dialer.DialContext(t.Context(), "ws://"+r.public+"/v1/checkout/ws", http.Header{"Origin": {r.f.front.URL}})
	if err != nil {
		t.Fatalf("dial %s: %v", r.name, err)
	}
	_ = res.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.WriteJSON(map[string]any{"type": "hello", "token": token, "revision": 0}); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, _, err := conn.ReadMessage(); err != nil {
		t.Fatalf("first frame of %s: %v", r.name, err)
	}
	return lonePage{conn}
}

// part reads until the socket ends.
func (p lonePage) part(since time.Time) parting {
	_ = p.conn.SetReadDeadline(time.Now().Add(90 * time.Second))
	for {
		if _, _, err := p.conn.ReadMessage(); err != nil {
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				return parting{closed.Code, time.Since(since), nil}
			}
			return parting{0, time.Since(since), err}
		}
	}
}

// One replica, at its worst the one that leads, is cut off from the other two: they go
// on, it says 503 and that soon, and afterwards it knows everything.
func TestClusterCut(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for _, name := range []string{"r0", "r1", "r2"} {
		f.add(name)
	}
	wires := f.wired()
	for _, r := range f.replicas {
		r.start()
	}
	t.Logf("three replicas ready after %s", said(f.awaitReady(f.replicas...)))
	l := f.startLoad(4, "cut-")
	l.await(time.Now())

	// After 15 to 20 s the engine of the lonely one knows that it leads nothing any more.
	last := 25 * time.Second
	rounds := 1
	if d := soak(t); d > 0 {
		last, rounds = time.Minute, max(1, int(d/(2*time.Minute)))
	}
	gaps := map[string][]time.Duration{}
	for range rounds {
		leader := f.leader()
		alone := slices.Index(f.replicas, leader)
		cut := func(cut bool) {
			for j := range f.replicas {
				if j != alone {
					wires[alone][j].set(cut)
					wires[j][alone].set(cut)
				}
			}
		}
		// What the lonely one is asked while it is alone.
		p, err := openSession(t.Context(), f.back.URL, "alone-"+said(time.Duration(time.Now().UnixNano())))
		if err != nil {
			t.Fatal(err)
		}
		body, signature := f.front.sampleCallback()
		page := dialPage(t, leader, p.token)
		at := time.Now()
		cut(true)
		left := make(chan parting, 1)
		go func() { left <- page.part(at) }()
		slowest := map[string]time.Duration{}
		var deaf time.Duration // how long it went on saying that it is ready
		for time.Since(at) < last {
			begin := time.Now()
			code, _, err := exchange(t.Context(), "POST", "http://"+leader.public+"/v1/callbacks/wzrdpay", http.Header{"X-Signature": {signature}}, body)
			if err != nil || code != 503 {
				t.Errorf("a callback to the replica that is alone = %d, %v, want 503", code, err)
			}
			slowest["callback"] = max(slowest["callback"], time.Since(begin))
			begin = time.Now()
			code, text, err := exchange(t.Context(), "POST", "http://"+leader.private+"/v1/sessions/"+p.id+"/expire", merchantHeader(), nil)
			if err != nil || code != 503 && code != 504 {
				t.Errorf("a write at the replica that is alone = %d %s, %v, want 503 or 504", code, text, err)
			}
			slowest["write"] = max(slowest["write"], time.Since(begin))
			begin = time.Now()
			code, _, err = exchange(t.Context(), "GET", "http://"+leader.private+"/readyz", nil, nil)
			if err == nil && code == 200 {
				deaf = time.Since(at)
			}
			slowest["readyz"] = max(slowest["readyz"], time.Since(begin))
			time.Sleep(100 * time.Millisecond)
		}
		if code, text, err := exchange(t.Context(), "GET", "http://"+leader.public+"/v1/checkout", pageHeader(p.token), nil); err != nil || code != 503 {
			t.Errorf("a page at the replica that is alone = %d %.200s, %v, want 503", code, text, err)
		}
		if leader.ready.Load() {
			t.Errorf("the replica that is alone says that it is ready")
		}
		// Its page is told to go elsewhere; nobody is let in.
		gone := <-left
		if gone.code != 4000 {
			t.Errorf("the page at the replica that is alone ends with %d, %v, want 4000", gone.code, gone.err)
		}
		if gone.after > 40*time.Second {
			t.Errorf("the page at the replica that is alone was told to leave after %v; it said ready for %v", gone.after, deaf)
		}
		for _, path := range []string{"/v1/checkout/ws", "/v1/checkout/updates?revision=1&wait=25"} {
			header := pageHeader(p.token)
			if strings.HasSuffix(path, "/ws") {
				header = http.Header{
					"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Origin": {f.front.URL}, "Sec-Websocket-Version": {"13"},
					"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {"checkout.v1"},
				}
			}
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+leader.public+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header
			res, err := fleetClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
				t.Errorf("GET %s at the replica that is alone = %d, Retry-After %q, want 503 with one", path, res.StatusCode, res.Header.Get("Retry-After"))
			}
		}
		for what, took := range slowest {
			if took > 15*time.Second {
				t.Errorf("%s at the replica that is alone takes %v", what, took)
			}
		}
		l.await(at)
		gap := l.refused(at)
		gaps["one cut off for "+said(last)] = append(gaps["one cut off for "+said(last)], gap)
		cut(false)
		back := f.awaitReady(leader)
		// A page that comes back has its first frame.
		again := &viewer{}
		for end := time.Now().Add(60 * time.Second); again.last() == "" && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			call, done := context.WithTimeout(t.Context(), time.Second)
			_ = again.once(call, "http://"+leader.public, f.front.URL, p.token)
			done()
		}
		if again.last() != "open" {
			t.Errorf("a page that comes back to the replica sees %q, want open", again.last())
		}
		t.Logf("%s, the leader, alone for %s: the others took no callback for %s; it said ready for %s more, told its page to leave after %s, answered at the latest after %s (callback), %s (write), %s (readyz), and was ready again %s after",
			leader.name, said(last), said(gap), said(deaf), said(gone.after), said(slowest["callback"]), said(slowest["write"]), said(slowest["readyz"]), said(back))
		l.await(time.Now())
		if s, err := look(t.Context(), "http://"+leader.private, p.id); err != nil || s.Status != "open" {
			t.Errorf("the session that could not be written is %q, %v, want open", s.Status, err)
		}
	}
	l.end()
	summed(t, gaps)
}
