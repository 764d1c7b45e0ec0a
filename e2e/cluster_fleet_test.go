package e2e_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wzrdcheckout/internal/sandbox"
)

// A fleet is replicas of `bff serve` as processes of their own, WZRDPAY's double, the
// shop's server that hears webhooks, and a balancer in front of each plane, as a
// deployment has it.
type fleet struct {
	t        *testing.T
	bff      string // the binary
	psp      *sandbox.Server
	shop     *shopServer
	front    *balancer  // public planes: browsers and WZRDPAY
	back     *balancer  // private planes: the shop's server
	mu       sync.Mutex // guards replicas against the balancers
	replicas []*replica
	common   []string // settings that all share
	session  string
}

const fleetKey = "mk_fleet_0123456789abcdef"

// newFleet starts everything but the replicas.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, bff: bff(t), session: base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))}
	f.front = newBalancer(t, f, func(r *replica) string { return r.public })
	f.back = newBalancer(t, f, func(r *replica) string { return r.private })
	f.shop = newShopServer(t)
	var err error
	f.psp, err = sandbox.New(sandbox.Config{CallbackRetry: 100 * time.Millisecond, CallbackAttempts: 10_000, CallbackTimeout: 10 * time.Second, HistoryLimit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.psp.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := f.psp.Stop(ctx); err != nil {
			t.Errorf("stop sandbox: %v", err)
		}
	})
	keys := sandbox.DemoCredentials()
	f.common = []string{
		"BFF_PUBLIC_URL=" + f.front.URL, "BFF_MERCHANT_KEYS=" + fleetKey, "BFF_SESSION_KEYS=k1:" + f.session,
		"BFF_WEBHOOK_URL=" + f.shop.URL, "BFF_WEBHOOK_SECRETS=whsec_" + f.session,
		"WZRD_PUBLIC_API=" + f.psp.URL() + "/public-api", "WZRD_PRIVATE_API=" + f.psp.URL() + "/api", "WZRD_HPP_URL=" + f.psp.URL(),
		"WZRD_PUBLIC_KEY=" + keys.PublicKeys[0], "WZRD_ACCOUNT_ID=" + keys.AccountID, "WZRD_API_KEY=" + keys.APIKey,
		"WZRD_SIGNING_KEYS=" + strings.Join(keys.SigningKeys, ","), "BFF_LOG_LEVEL=debug", "BFF_LOG_FORMAT=text",
	}
	return f
}

// replica is one process and what survives it: its folder, its ports, its log.
type replica struct {
	f                        *fleet
	name, dir                string
	public, private, cluster string // host:port
	settings                 []string
	bff                      string // the binary, of whichever version
	log                      *replicaLog

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	ready atomic.Bool // as the balancers' health checks see it
}

// add describes a replica; settings come on top of the common ones.
func (f *fleet) add(name string, settings ...string) *replica {
	f.t.Helper()
	ports := loopbackPorts(f.t, 3)
	r := &replica{f: f, name: name, dir: filepath.Join(f.t.TempDir(), name), public: ports[0], private: ports[1], cluster: ports[2], settings: settings, bff: f.bff}
	file, err := os.Create(filepath.Join(f.t.TempDir(), name+".log"))
	if err != nil {
		f.t.Fatal(err)
	}
	r.log = &replicaLog{file: file, leads: map[string]bool{}}
	f.mu.Lock()
	f.replicas = append(f.replicas, r)
	f.mu.Unlock()
	watching := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer close(watching)
		r.watch(ctx)
	}()
	f.t.Cleanup(func() {
		stop()
		<-watching
		r.kill()
		if f.t.Failed() {
			if dir := os.Getenv("CHECKOUT_LOGS"); dir != "" {
				_ = os.MkdirAll(dir, 0o755)
				text, _ := os.ReadFile(file.Name())
				_ = os.WriteFile(filepath.Join(dir, name+".log"), text, 0o644)
			}
			f.t.Logf("the last words of %s:\n%s", name, r.log.tail())
		}
		_ = file.Close()
	})
	return r
}

// leave takes a replica out of the deployment.
func (f *fleet) leave(r *replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicas = slices.DeleteFunc(f.replicas, func(other *replica) bool { return other == r })
}

// join makes the replicas a cluster in the ways the settings allow: one name for all or
// one each, all three peers named or the two others.
func (f *fleet) join() {
	for i, r := range f.replicas {
		var peers []string
		for j, other := range f.replicas {
			if i != 1 || i != j {
				peers = append(peers, other.cluster)
			}
		}
		if i == 2 {
			slices.Reverse(peers)
		}
		r.settings = append(r.settings, "BFF_CLUSTER_LISTEN="+r.cluster, "BFF_CLUSTER_PEERS="+strings.Join(peers, ","),
			"BFF_CLUSTER_NAME="+[]string{"shop", "shop", "third of shop.example"}[i])
	}
}

// loopbackPorts finds ports below those that the kernel gives to outgoing connections,
// one of which could take a port while its replica is down.
func loopbackPorts(t *testing.T, n int) []string {
	t.Helper()
	var list []string
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(20_000))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		defer l.Close()
		if list = append(list, address); len(list) == n {
			return list
		}
	}
	t.Fatal("no free ports between 12000 and 32000")
	return nil
}

func (r *replica) start() {
	r.f.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	cmd := exec.Command(r.bff, "serve")
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"BFF_LISTEN=" + r.public, "BFF_PRIVATE_LISTEN=" + r.private, "BFF_DATA_DIR=" + r.dir,
	}, append(slices.Clone(r.f.common), r.settings...)...)
	cmd.Stdout, cmd.Stderr = r.log, r.log
	r.log.forget()
	if err := cmd.Start(); err != nil {
		r.f.t.Fatalf("start %s: %v", r.name, err)
	}
	ended := make(chan struct{})
	r.cmd, r.ended = cmd, ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
}

// kill is kill -9.
func (r *replica) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	<-r.ended
	r.cmd = nil
}

// stop is SIGTERM: the replica drains and ends without an error.
func (r *replica) stop() {
	r.f.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.f.t.Fatalf("stop %s: %v", r.name, err)
	}
	select {
	case <-r.ended:
	case <-time.After(40 * time.Second):
		r.f.t.Errorf("%s does not stop", r.name)
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		r.f.t.Errorf("%s ends with %d, want 0", r.name, code)
	}
	r.cmd = nil
}

// running tells whether the process has not ended by itself.
func (r *replica) running() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return false
	}
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// watch is the balancer's health check.
func (r *replica) watch(ctx context.Context) {
	for ctx.Err() == nil {
		code, _, err := r.ask(ctx, "GET", "http://"+r.private+"/readyz", nil, time.Second)
		r.ready.Store(err == nil && code == 200)
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (r *replica) ask(ctx context.Context, method, address string, header http.Header, patience time.Duration) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return exchange(ctx, method, address, header, nil)
}

// awaitReady waits until /readyz of every replica says so.
func (f *fleet) awaitReady(replicas ...*replica) time.Duration {
	f.t.Helper()
	begin := time.Now()
	for _, r := range replicas {
		for {
			code, body, err := r.ask(f.t.Context(), "GET", "http://"+r.private+"/readyz", nil, 5*time.Second)
			if err == nil && code == 200 {
				r.ready.Store(true)
				break
			}
			if !r.running() {
				f.t.Fatalf("%s has ended", r.name)
			}
			if time.Since(begin) > 120*time.Second {
				f.t.Fatalf("%s is not ready after 120 s: %d %s %v", r.name, code, body, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return time.Since(begin)
}

// leader is the replica that leads the state; nil when none says so.
func (f *fleet) leader() *replica {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, r := range f.replicas {
			if r.running() && r.log.leading("CHECKOUT") {
				return r
			}
		}
	}
	f.t.Fatal("nobody leads CHECKOUT")
	return nil
}

// replicaLog keeps a replica's words and reads from them what it leads.
type replicaLog struct {
	mu    sync.Mutex
	file  *os.File
	rest  []byte
	lines []string
	leads map[string]bool
}

func (l *replicaLog) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.Write(data)
	l.rest = append(l.rest, data...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(data), nil
		}
		l.rest = rest
		text := string(line)
		l.lines = append(l.lines, text)
		if len(l.lines) > 60 {
			l.lines = slices.Clone(l.lines[30:])
		}
		for _, stream := range []string{"CHECKOUT", "CALLBACKS_0", "CALLBACKS_1", "CALLBACKS_2"} {
			if !strings.Contains(text, "'$G > "+stream+"'") {
				continue
			}
			if strings.Contains(text, "JetStream cluster new stream leader") {
				l.leads[stream] = true
			} else if strings.Contains(text, "JetStream cluster no longer stream leader") || strings.Contains(text, "no longer leader") {
				l.leads[stream] = false
			}
		}
	}
}

func (l *replicaLog) leading(stream string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leads[stream]
}

func (l *replicaLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.leads)
}

func (l *replicaLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// exchange is one request; its answer is read whole.
func exchange(ctx context.Context, method, address string, header http.Header, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := fleetClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

var fleetClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 10 * time.Second}}

// balancer gives each request to one of the replicas that are ready, in turn.
type balancer struct {
	*httptest.Server
	f    *fleet
	pick func(*replica) string
	next atomic.Uint64

	mu        sync.Mutex
	callbacks *replica        // takes all callbacks when set
	acked     map[string]bool // invoices whose final callback was answered 200
	sample    []byte          // the body of one, and its signature
	signature string
}

func newBalancer(t *testing.T, f *fleet, pick func(*replica) string) *balancer {
	b := &balancer{f: f, pick: pick, acked: map[string]bool{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", p.In.Context().Value(targetKey{}).(string)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, 0),
		Transport: fleetClient.Transport,
	}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := b.target()
		if strings.HasSuffix(r.URL.Path, "/callbacks/wzrdpay") {
			b.callback(w, r, target)
			return
		}
		if target == nil {
			http.Error(w, "no replica is ready", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), targetKey{}, pick(target))))
	}))
	t.Cleanup(func() {
		b.CloseClientConnections()
		b.Close()
	})
	return b
}

type targetKey struct{}

func (b *balancer) target() *replica {
	n := b.next.Add(1)
	b.f.mu.Lock()
	list := slices.Clone(b.f.replicas)
	b.f.mu.Unlock()
	for i := range list {
		if r := list[(int(n)+i)%len(list)]; r.ready.Load() {
			return r
		}
	}
	return nil
}

// callback hands a callback on and notes which were answered 200.
func (b *balancer) callback(w http.ResponseWriter, r *http.Request, target *replica) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b.mu.Lock()
	if b.callbacks != nil {
		target = b.callbacks
	}
	b.mu.Unlock()
	if target == nil {
		http.Error(w, "no replica is ready", http.StatusServiceUnavailable)
		return
	}
	code, answer, err := exchange(r.Context(), "POST", "http://"+b.pick(target)+r.URL.Path, http.Header{"X-Signature": r.Header["X-Signature"]}, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	var c struct {
		Data struct {
			ID         string `json:"id"`
			Attributes struct {
				Status string `json:"status"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if code == 200 && json.Unmarshal(body, &c) == nil && c.Data.ID != "" && strings.HasPrefix(strings.ToLower(c.Data.Attributes.Status), "process") {
		b.mu.Lock()
		b.acked[c.Data.ID] = true
		b.sample, b.signature = body, r.Header.Get("X-Signature")
		b.mu.Unlock()
	}
	w.WriteHeader(code)
	_, _ = w.Write(answer)
}

func (b *balancer) ackedInvoices() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.acked)
}

func (b *balancer) sampleCallback() ([]byte, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sample, b.signature
}

// shopServer hears webhooks.
type shopServer struct {
	*httptest.Server
	mu    sync.Mutex
	heard map[string][]string // session → "type" in the order in which each was first heard
	ids   map[string]int      // webhook-id → times
	froms map[string]bool     // addresses that sent
}

func newShopServer(t *testing.T) *shopServer {
	s := &shopServer{heard: map[string][]string{}, ids: map[string]int{}, froms: map[string]bool{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e struct {
			Type string `json:"type"`
			Data struct {
				ID string `json:"id"`
			} `json:"data"`
		}
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Header.Get("webhook-signature") == "" {
			t.Errorf("webhook %s can not be read: %v", r.Header.Get("webhook-id"), err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		id := r.Header.Get("webhook-id")
		if s.ids[id]++; s.ids[id] == 1 {
			s.heard[e.Data.ID] = append(s.heard[e.Data.ID], e.Type)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shopServer) of(session string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.heard[session])
}

// twice counts webhooks that came more than once.
func (s *shopServer) twice() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, times := range s.ids {
		if times > 1 {
			n++
		}
	}
	return n
}

// payment is one session and what became of it.
type payment struct {
	id, token, reference string
	invoice              string
	want                 string // the final status that WZRDPAY's side has
}

type sessionView struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	Revision  int64  `json:"revision"`
	Reference string `json:"reference_id"`
	Invoice   *struct {
		ID string `json:"id"`
	} `json:"invoice"`
}

func merchantHeader() http.Header {
	return http.Header{"Authorization": {"Bearer " + fleetKey}, "Content-Type": {"application/json"}}
}

func pageHeader(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
}

// openSession is what the shop's server does, through the private plane at base. The same
// reference may be asked for again.
func openSession(ctx context.Context, base, reference string) (payment, error) {
	body := fmt.Sprintf(`{"reference_id":%q,"amount":10.5,"currency":"EUR"}`, reference)
	code, answer, err := exchange(ctx, "POST", base+"/v1/sessions", merchantHeader(), []byte(body))
	if err != nil {
		return payment{}, err
	}
	var made struct{ ID, Token string }
	if code != 200 && code != 201 || json.Unmarshal(answer, &made) != nil {
		return payment{}, fmt.Errorf("open session: %d %s", code, answer)
	}
	return payment{id: made.ID, token: made.Token, reference: reference}, nil
}

// pay is what the widget does, through the public plane at base.
func pay(ctx context.Context, base string, p *payment) error {
	code, answer, err := exchange(ctx, "POST", base+"/v1/checkout/invoice", pageHeader(p.token), []byte(`{"service":"payment_card_eur_hpp","fields":{}}`))
	if err != nil {
		return err
	}
	var made struct{ Session sessionView }
	if code != 201 && code != 200 && code != 409 || json.Unmarshal(answer, &made) != nil || made.Session.Invoice == nil {
		return fmt.Errorf("pay: %d %s", code, answer)
	}
	p.invoice = made.Session.Invoice.ID
	return nil
}

// look is the session as a replica's private plane at base shows it.
func look(ctx context.Context, base, id string) (sessionView, error) {
	var s sessionView
	code, answer, err := exchange(ctx, "GET", base+"/v1/sessions/"+id, merchantHeader(), nil)
	if err == nil && code != 200 {
		err = fmt.Errorf("look up session: %d %s", code, answer)
	}
	if err == nil {
		err = json.Unmarshal(answer, &s)
	}
	return s, err
}

// viewer is an open page: a socket that comes back with the revision it has seen.
type viewer struct {
	mu       sync.Mutex
	revision int64
	status   string
	statuses []string
	twice    int // revisions that came again
	sockets  int
}

// follow reads until the status is one of the final ones or ctx ends.
func (v *viewer) follow(ctx context.Context, base, origin, token string) error {
	last := errors.New("never connected")
	for ctx.Err() == nil {
		err := v.once(ctx, base, origin, token)
		if err == nil {
			return nil
		}
		last = err
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond):
		}
	}
	return fmt.Errorf("no final status, %q last: %w", v.last(), last)
}

func (v *viewer) last() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.status
}

func (v *viewer) once(ctx context.Context, base, origin, token string) error {
	address, err := url.Parse(base + "/v1/checkout/ws")
	if err != nil {
		return err
	}
	address.Scheme = "ws"
	dialer := websocket.Dialer{Subprotocols: []string{"checkout.v1"}, HandshakeTimeout: 5 * time.Second}
	conn, res, err := dialer.DialContext(ctx, address.String(), http.Header{"Origin": {origin}})
	if err != nil {
		if res != nil {
			_ = res.Body.Close()
		}
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	v.mu.Lock()
	v.sockets++
	hello := map[string]any{"type": "hello", "token": token, "revision": v.revision}
	v.mu.Unlock()
	if err := conn.WriteJSON(hello); err != nil {
		return err
	}
	for {
		// The server pings every 25 s; a page asks again when it hears nothing for 10 s.
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		var m struct {
			Type     string
			Revision int64
			Session  sessionView
		}
		if err := conn.ReadJSON(&m); err != nil {
			return err
		}
		if m.Type != "session" {
			continue
		}
		v.mu.Lock()
		if m.Revision <= v.revision {
			v.twice++
		}
		v.revision = max(v.revision, m.Revision)
		v.status = m.Session.Status
		v.statuses = append(v.statuses, m.Session.Status)
		v.mu.Unlock()
		if m.Session.Status == "paid" || m.Session.Status == "failed" {
			return nil
		}
	}
}

// whole is everything that was said.
func (l *replicaLog) whole(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(l.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
