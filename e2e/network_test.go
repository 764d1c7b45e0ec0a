package e2e_test

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"wzrdcheckout/internal/app"
)

// gateway stands between the browser and the BFF, as a load balancer does, and can cut
// the browser off. WZRDPAY's callbacks always pass.
type gateway struct {
	url string

	mu    sync.Mutex
	to    *url.URL
	dead  bool
	conns map[net.Conn]bool
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	g := &gateway{url: "http://localhost:" + port, conns: map[net.Conn]bool{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			g.mu.Lock()
			defer g.mu.Unlock()
			r.SetURL(g.to)
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.mu.Lock()
			dead := g.dead
			g.mu.Unlock()
			if dead && !strings.HasPrefix(r.URL.Path, "/v1/callbacks/") {
				panic(http.ErrAbortHandler) // the connection ends without an answer
			}
			proxy.ServeHTTP(w, r)
		}),
		ConnState: func(c net.Conn, s http.ConnState) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if s == http.StateClosed {
				delete(g.conns, c)
			} else {
				g.conns[c] = true // a hijacked one, a socket, stays
			}
		},
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() {
		g.cut()
		_ = server.Close()
	})
	return g
}

// toward sets where requests go.
func (g *gateway) toward(t *testing.T, address string) {
	t.Helper()
	to, err := url.Parse("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.to = to
}

// cut ends every connection and lets no browser in again until mend.
func (g *gateway) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = true
	for c := range g.conns {
		_ = c.Close()
	}
	clear(g.conns)
}

func (g *gateway) mend() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = false
}

// A page that was cut off while the callback came learns of it when it is back, and
// without it does not.
func TestSocketCutAndResumed(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	p := startWith(t, func(c *app.DemoConfig) { c.PublicURL = g.url }, "reconcile", "403")
	g.toward(t, p.Addr())
	b := open(t)
	b.expect("net::ERR")
	b.expect("WebSocket")
	b.expect("Failed to load resource")
	b.visit(p.URL())
	choose(b)
	b.click(button)
	b.await("WZRDPAY's page", `location.pathname.includes("hpp")`)
	p.Sandbox().HoldCallbacks()
	mute := p.Sandbox().Faults()
	mute.ForbidPrivateAPI = true
	p.Sandbox().SetFaults(mute)
	b.click("#pay")
	b.await("the widget to wait", state("pending")+"||"+state("checking"))
	g.cut()
	p.Sandbox().ReleaseCallbacks()
	p.eventually("the BFF to know that it is paid", func() bool {
		_, s := p.call("GET", "/v1/sessions?reference_id="+p.theInvoice().ReferenceID, nil)
		return s["data"].([]any)[0].(map[string]any)["status"] == "paid"
	})
	b.never("the widget says paid while it is cut off", state("paid"), 2*time.Second)
	g.mend()
	b.await("the widget to say paid", state("paid"))
}
