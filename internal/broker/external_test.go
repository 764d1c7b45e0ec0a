package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"wzrdcheckout/internal/broker"
	"wzrdcheckout/internal/checkout"
)

// external runs a NATS server as an operator would, and can be stopped and started.
func external(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("external server does not start")
	}
	return s
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func openExternal(t *testing.T, url string) *broker.Broker {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{NATSURL: url, CommitTimeout: 5 * time.Second})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	waitReady(t, b, nil)
	return b
}

// eventually waits for something that another replica brings about.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func TestExternal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := external(t, dir, server.RANDOM_PORT)
	port := s.Addr().(*net.TCPAddr).Port
	a, b := openExternal(t, s.ClientURL()), openExternal(t, s.ClientURL())
	defer closeBroker(t, b)
	if n := a.Streams(); n != 3 {
		t.Errorf("Streams = %d, want 3", n)
	}

	var mu sync.Mutex
	var saw []string
	defer b.Watch("session.", func(e checkout.Entry) {
		mu.Lock()
		defer mu.Unlock()
		saw = append(saw, fmt.Sprintf("%s=%s", e.Key, e.Value))
	})()
	lastSeen := func(want string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(saw) > 0 && saw[len(saw)-1] == want
		}
	}

	// What one writes the other sees, in its cache too.
	v := must(t, a, put("session.x", "0", 0))
	want(t, b, "session.x", "0")
	for i := 1; i <= 20; i++ {
		v = must(t, a, put("session.x", fmt.Sprint(i), v[0]), checkout.Write{Key: "event.x", Any: true})
	}
	eventually(t, "change at the other replica", lastSeen("session.x=20"))
	mu.Lock()
	if len(saw) != 21 {
		t.Errorf("the other replica saw %d changes, want 21: %v", len(saw), saw)
	}
	mu.Unlock()
	want(t, b, "session.x", "20")
	if _, err := b.Commit(t.Context(), put("session.x", "late", v[0]-2)); !errors.Is(err, checkout.ErrConflict) {
		t.Errorf("Commit over the other replica's write = %v, want ErrConflict", err)
	}

	// Both want the same key at the same time: one wins each version.
	var wins atomic.Int32
	var wg sync.WaitGroup
	for _, x := range []*broker.Broker{a, b} {
		for range 4 {
			wg.Go(func() {
				for range 5 {
					for {
						e, err := x.Fresh(t.Context(), "hot.key")
						if err != nil && !errors.Is(err, checkout.ErrNotFound) {
							t.Errorf("Fresh = %v", err)
							return
						}
						_, err = x.Commit(t.Context(), put("hot.key", string(e.Value)+"i", e.Version), checkout.Write{Key: "hot.other", Any: true})
						if err == nil {
							wins.Add(1)
							break
						}
						if !errors.Is(err, checkout.ErrConflict) {
							t.Errorf("Commit = %v, want nil or ErrConflict", err)
							return
						}
					}
				}
			})
		}
	}
	wg.Wait()
	if e, _ := a.Fresh(t.Context(), "hot.key"); wins.Load() != 40 || string(e.Value) != strings.Repeat("i", 40) {
		t.Errorf("%d successes and %d updates, want 40 and 40", wins.Load(), len(e.Value))
	}

	// The lease has one holder, and goes on when that one stops.
	for range 2 {
		if held, err := a.Lease(t.Context(), "work", time.Hour); !held || err != nil {
			t.Errorf("first Lease = %v, %v, want held", held, err)
		}
		if held, err := b.Lease(t.Context(), "work", time.Hour); held || err != nil {
			t.Errorf("second Lease = %v, %v, want not held", held, err)
		}
	}
	if held, err := a.Lease(t.Context(), "short", 100*time.Millisecond); !held || err != nil {
		t.Errorf("Lease = %v, %v, want held", held, err)
	}
	eventually(t, "lease that was not kept", func() bool {
		held, err := b.Lease(t.Context(), "short", 100*time.Millisecond)
		return held && err == nil
	})
	closeBroker(t, a)
	if held, err := b.Lease(t.Context(), "work", time.Hour); !held || err != nil {
		t.Errorf("Lease after its holder closed = %v, %v, want held", held, err)
	}

	// The server goes away and comes back; what happened meanwhile is seen.
	stopServer(s)
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	_, err := b.Commit(short, checkout.Write{Key: "session.down", Any: true})
	cancel()
	if !errors.Is(err, checkout.ErrUnavailable) && !errors.Is(err, checkout.ErrTimeout) {
		t.Errorf("Commit without a server = %v, want ErrUnavailable or ErrTimeout", err)
	}
	if err := b.Ready(t.Context()); err == nil {
		t.Error("Ready without a server = nil")
	}
	s = external(t, dir, port)
	defer stopServer(s)
	c := openExternal(t, s.ClientURL())
	defer closeBroker(t, c)
	must(t, c, put("session.x", "after", v[0]))
	eventually(t, "change after the server came back", lastSeen("session.x=after"))
	want(t, b, "session.x", "after")
	waitReady(t, b, nil)
}

// proxy stands between a broker and its server and can swallow what the server says.
type proxy struct {
	net.Listener
	to      string
	swallow atomic.Bool
	mu      sync.Mutex
	conns   []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, c, s)
			p.mu.Unlock()
			wg.Go(func() {
				_, _ = io.Copy(s, c)
				_ = s.Close()
			})
			wg.Go(func() {
				buf := make([]byte, 64<<10)
				for {
					n, err := s.Read(buf)
					if n > 0 && !p.swallow.Load() {
						if _, err := c.Write(buf[:n]); err != nil {
							break
						}
					}
					if err != nil {
						break
					}
				}
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		wg.Wait()
	})
	return p
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// The commit is stored and its ack is lost: the caller hears of success, with the right
// versions, and not of a conflict with itself.
func TestCommit_LostAck(t *testing.T) {
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	defer stopServer(s)
	p := newProxy(t, s.Addr().String())
	a := openExternal(t, "nats://"+p.Addr().String())
	defer closeBroker(t, a)
	b := openExternal(t, s.ClientURL())
	defer closeBroker(t, b)
	for i, n := range []int{1, 3} {
		var writes []checkout.Write
		for j := range n {
			writes = append(writes, put(fmt.Sprintf("lost.k%d-%d", i, j), "v", 0))
		}
		before := a.Stats().Retries
		p.swallow.Store(true)
		type result struct {
			versions []uint64
			err      error
		}
		done := make(chan result, 1)
		go func() {
			v, err := a.Commit(t.Context(), writes...)
			done <- result{v, err}
		}()
		eventually(t, "the write in the store", func() bool {
			_, err := b.Fresh(t.Context(), writes[n-1].Key)
			return err == nil
		})
		p.swallow.Store(false)
		p.cut()
		r := <-done
		if r.err != nil {
			t.Fatalf("Commit of %d writes whose ack was lost = %v, want nil", n, r.err)
		}
		if a.Stats().Retries == before {
			t.Error("nothing was tried again: the ack was not lost")
		}
		for j, w := range writes {
			e, err := b.Fresh(t.Context(), w.Key)
			if err != nil || e.Version != r.versions[j] {
				t.Errorf("version of %s = %d, %v, want what Commit gave, %d", w.Key, e.Version, err, r.versions[j])
			}
		}
		// And it is a conflict for everybody else, as it should be.
		if _, err := b.Commit(context.WithoutCancel(t.Context()), writes...); !errors.Is(err, checkout.ErrConflict) {
			t.Errorf("the same by another replica = %v, want ErrConflict", err)
		}
	}
}
