package e2e_test

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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

	last := 15 * time.Second
	rounds := 1
	if d := soak(t); d > 0 {
		last, rounds = time.Minute, max(1, int(d/(2*time.Minute)))
	}
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
		at := time.Now()
		cut(true)
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
		for what, took := range slowest {
			if took > 15*time.Second {
				t.Errorf("%s at the replica that is alone takes %v", what, took)
			}
		}
		l.await(at)
		gap := l.refused(at)
		cut(false)
		back := f.awaitReady(leader)
		t.Logf("%s, the leader, alone for %s: the others took no callback for %s; it said ready for %s more, answered at the latest after %s (callback), %s (write), %s (readyz), and was ready again %s after",
			leader.name, said(last), said(gap), said(deaf), said(slowest["callback"]), said(slowest["write"]), said(slowest["readyz"]), said(back))
		l.await(time.Now())
		if s, err := look(t.Context(), "http://"+leader.private, p.id); err != nil || s.Status != "open" {
			t.Errorf("the session that could not be written is %q, %v, want open", s.Status, err)
		}
	}
	l.end()
}
