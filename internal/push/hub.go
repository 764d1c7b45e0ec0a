package push

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"wzrdcheckout/internal/checkout"
)

// shards spreads the locks over the sessions.
const shards = 64

// beats is how many steps a ping period has: sockets are pinged in the step in which
// they came, so that pings are as spread as arrivals.
const beats = 25

// Hub joins changes of sessions with the sockets that wait for them.
type Hub struct {
	cfg      Config
	origins  map[string]bool
	upgrader websocket.Upgrader
	seed     maphash.Seed
	topics   [shards]topics
	beats    [beats]beat

	mu        sync.Mutex
	addresses map[string]int
	count     int
	draining  bool
	deaf      chan struct{} // closed while the source hears nothing, see Deafen
	unwatch   func()

	stopping chan struct{}  // closed when a planned stop begins
	quit     chan struct{}  // ends the heart
	heart    sync.WaitGroup // the goroutine that pings
	members  sync.WaitGroup // readers, writers and polls
	step     atomic.Uint32
}

type topics struct {
	mu   sync.Mutex
	open map[string][]listener
}

type beat struct {
	mu   sync.Mutex
	open map[*socket]struct{}
}

// listener is a socket or a poll. deliver does not block.
type listener interface {
	deliver(f *frame)
	lost()
}

// frame is one revision, encoded once for all that listen.
type frame struct {
	revision int64
	text     []byte
	at       time.Time // zero = a first frame, whose latency says nothing
}

func newFrame(revision int64, session []byte, at time.Time) *frame {
	text := make([]byte, 0, len(session)+64)
	text = append(text, `{"type":"session","revision":`...)
	text = strconv.AppendInt(text, revision, 10)
	text = append(text, `,"session":`...)
	text = append(text, session...)
	text = append(text, '}')
	return &frame{revision: revision, text: text, at: at}
}

// New makes a Hub; it returns an error that names the field of cfg that is wrong.
func New(cfg Config) (*Hub, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	h := &Hub{
		cfg: cfg, origins: make(map[string]bool), seed: maphash.MakeSeed(),
		addresses: make(map[string]int), deaf: make(chan struct{}), stopping: make(chan struct{}), quit: make(chan struct{}),
	}
	for _, o := range cfg.Origins {
		h.origins[o] = true
	}
	for i := range h.topics {
		h.topics[i].open = make(map[string][]listener)
	}
	for i := range h.beats {
		h.beats[i].open = make(map[*socket]struct{})
	}
	h.upgrader = websocket.Upgrader{
		HandshakeTimeout: cfg.HelloWait,
		ReadBufferSize:   512, // a hello fits; nothing else is expected
		WriteBufferSize:  1024,
		WriteBufferPool:  new(sync.Pool),
		Subprotocols:     []string{Subprotocol},
		CheckOrigin:      func(*http.Request) bool { return true }, // told with 4503, which a page can read
		Error: func(w http.ResponseWriter, r *http.Request, _ int, reason error) {
			cfg.Refuse(w, r, &checkout.Error{Kind: checkout.ErrInvalid, Code: "bad_handshake", Detail: "this address speaks WebSocket, subprotocol " + Subprotocol, Cause: reason})
		},
	}
	return h, nil
}

// Start begins to watch the source and to ping. It does not block.
func (h *Hub) Start(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unwatch != nil || h.draining {
		return errors.New("start push: already started or stopped")
	}
	h.unwatch = h.cfg.Source.Watch(h.changed)
	h.heart.Add(1)
	go h.ping()
	return nil
}

// Stop closes every socket with 4000, spread over DrainSpread so that the pages do not
// come back to the next replica all at once, and waits for all of them. When ctx ends
// first, what is left is cut. New sockets and polls are refused from the beginning.
func (h *Hub) Stop(ctx context.Context) error {
	h.mu.Lock()
	if h.draining {
		h.mu.Unlock()
		return nil
	}
	h.draining = true
	unwatch := h.unwatch
	h.mu.Unlock()
	close(h.stopping)
	h.dismiss(ctx)

	done := make(chan struct{})
	go func() { h.members.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		for _, s := range h.all() {
			_ = s.conn.Close()
		}
		<-done
	}
	if unwatch != nil {
		unwatch()
	}
	close(h.quit)
	h.heart.Wait()
	return err
}

// dismiss tells all sockets 4000, spread over DrainSpread, or half of what ctx leaves.
func (h *Hub) dismiss(ctx context.Context) {
	list := h.all()
	spread := h.cfg.DrainSpread
	if end, ok := ctx.Deadline(); ok {
		spread = min(spread, time.Until(end)/2)
	}
	const slice = 20 * time.Millisecond
	size := len(list)
	if size > 100 && spread > slice {
		size = max(1, size/int(spread/slice))
	}
	for len(list) > 0 {
		n := min(size, len(list))
		for _, s := range list[:n] {
			s.end(CodeGoingAway)
		}
		if list = list[n:]; len(list) == 0 {
			break
		}
		select {
		case <-time.After(slice):
		case <-ctx.Done():
		}
	}
}

// Deafen tells the hub that its source hears of no changes any more, as on a replica that
// the network has cut off. A page that stayed would wait for news that can not come, so
// every socket is told 4000, spread as by Stop, polls are answered, and nobody is let in
// until Undeafen. It returns when all were told, or ctx is done. Twice is once.
func (h *Hub) Deafen(ctx context.Context) {
	h.mu.Lock()
	known := closed(h.deaf)
	if !known {
		close(h.deaf)
	}
	h.mu.Unlock()
	if !known {
		h.dismiss(ctx)
	}
}

// Undeafen lets pages in again.
func (h *Hub) Undeafen() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if closed(h.deaf) {
		h.deaf = make(chan struct{})
	}
}

func (h *Hub) deafened() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deaf
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Open is how many sockets and polls there are.
func (h *Hub) Open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

func (h *Hub) all() []*socket {
	var list []*socket
	for i := range h.beats {
		b := &h.beats[i]
		b.mu.Lock()
		for s := range b.open {
			list = append(list, s)
		}
		b.mu.Unlock()
	}
	return list
}

// ServeHTTP upgrades GET /v1/checkout/ws.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if offered := websocket.Subprotocols(r); len(offered) > 0 && !slices.Contains(offered, Subprotocol) {
		h.cfg.Refuse(w, r, &checkout.Error{Kind: checkout.ErrInvalid, Code: "bad_subprotocol", Detail: "the only subprotocol is " + Subprotocol})
		return
	}
	address := h.cfg.Address(r)
	if err := h.enter(address); err != nil {
		h.cfg.Refuse(w, r, err)
		return
	}
	conn, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil { // answered by Refuse, or the connection is gone
		h.leave(address)
		return
	}
	s := &socket{hub: h, conn: conn, address: address, held: true, beat: uint8(h.step.Load() % beats)}
	b := &h.beats[s.beat]
	b.mu.Lock()
	b.open[s] = struct{}{}
	b.mu.Unlock()
	h.cfg.Observer.SocketOpened()
	if origin := r.Header.Get("Origin"); origin != "" && !h.origins[origin] {
		s.end(CodeOrigin)
	}
	if closed(h.stopping) || closed(h.deafened()) { // came between enter and the farewell
		s.end(CodeGoingAway)
	}
	// The server's goroutine, with its grown stack and its buffers, ends here.
	go s.read()
}

// LongPoll gives the session's frame when it is newer than revision, else waits for a
// change at most wait and gives it; nil when there was none. It returns
// checkout.ErrNotFound, ErrLimited, ErrUnavailable when the hub stops or is deaf, and ctx's error.
func (h *Hub) LongPoll(ctx context.Context, sessionID string, revision int64, wait time.Duration) ([]byte, error) {
	if err := h.enter(""); err != nil {
		return nil, err
	}
	defer h.leave("")
	deaf := h.deafened()
	p := &poll{after: revision, found: make(chan *frame, 1)}
	if !h.subscribe(sessionID, p) {
		return nil, limited("too many open pages of this session")
	}
	defer h.unsubscribe(sessionID, p)
	now, session, err := h.cfg.Source.Current(ctx, sessionID)
	if err != nil {
		return nil, err
	}
	if now > revision {
		return newFrame(now, session, time.Time{}).text, nil
	}
	if wait <= 0 {
		return nil, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case f := <-p.found:
		if f == nil {
			return nil, &checkout.Error{Kind: checkout.ErrUnavailable, Code: "unavailable", Detail: "the change could not be read, ask again", Retryable: true}
		}
		h.cfg.Observer.Pushed(time.Since(f.at))
		return f.text, nil
	case <-timer.C:
		return nil, nil
	case <-h.stopping:
		return nil, stopping()
	case <-deaf:
		return nil, cutOff()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type poll struct {
	after int64
	found chan *frame
}

func (p *poll) deliver(f *frame) {
	if f.revision > p.after {
		select {
		case p.found <- f:
		default: // one is enough: the next request asks from there
		}
	}
}

func (p *poll) lost() {
	select {
	case p.found <- nil:
	default:
	}
}

func stopping() error {
	return &checkout.Error{Kind: checkout.ErrUnavailable, Code: "stopping", Detail: "this replica stops, come back", Retryable: true}
}

func cutOff() error {
	return &checkout.Error{Kind: checkout.ErrUnavailable, Code: "cut_off", Detail: "this replica does not hear of the others, come back", Retryable: true}
}

func limited(detail string) error {
	return &checkout.Error{Kind: checkout.ErrLimited, Code: "too_many_sockets", Detail: detail, Retryable: true}
}

// enter counts one more member, or says why not.
func (h *Hub) enter(address string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.draining:
		return stopping()
	case closed(h.deaf):
		return cutOff()
	case h.count >= h.cfg.MaxSockets:
		return &checkout.Error{Kind: checkout.ErrUnavailable, Code: "too_many_sockets", Detail: "this replica is full, come back later", Retryable: true}
	case address != "" && h.addresses[address] >= h.cfg.MaxPerAddress:
		return limited("too many open pages from this address")
	}
	h.count++
	if address != "" {
		h.addresses[address]++
	}
	h.members.Add(1)
	return nil
}

func (h *Hub) leave(address string) {
	h.mu.Lock()
	h.count--
	if address != "" {
		if h.addresses[address]--; h.addresses[address] <= 0 {
			delete(h.addresses, address)
		}
	}
	h.mu.Unlock()
	h.members.Done()
}

func (h *Hub) topic(sessionID string) *topics {
	return &h.topics[maphash.String(h.seed, sessionID)%shards]
}

// subscribe is false when the session has as many listeners as it may have.
func (h *Hub) subscribe(sessionID string, l listener) bool {
	t := h.topic(sessionID)
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.open[sessionID]
	if len(list) >= h.cfg.MaxPerSession {
		return false
	}
	t.open[sessionID] = append(list, l)
	return true
}

func (h *Hub) unsubscribe(sessionID string, l listener) {
	t := h.topic(sessionID)
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.open[sessionID]
	i := slices.Index(list, l)
	if i < 0 {
		return
	}
	if len(list) == 1 {
		delete(t.open, sessionID)
		return
	}
	t.open[sessionID] = slices.Delete(list, i, i+1)
}

// changed is called by the source for every change, of which most concern nobody here.
func (h *Hub) changed(sessionID string, at time.Time, read func() (int64, []byte, error)) {
	t := h.topic(sessionID)
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.open[sessionID]
	if len(list) == 0 {
		return
	}
	revision, session, err := read()
	if err != nil {
		// Nobody may miss a change unnoticed: all come back and read the current one.
		h.cfg.Log.Error("read change of session", "session", sessionID, "err", err)
		for _, l := range list {
			l.lost()
		}
		return
	}
	f := newFrame(revision, session, at)
	for _, l := range list {
		l.deliver(f)
	}
}

// ping steps through the beats, one ping per socket and period.
func (h *Hub) ping() {
	defer h.heart.Done()
	ticker := time.NewTicker(max(h.cfg.PingEvery/beats, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-h.quit:
			return
		case <-ticker.C:
		}
		b := &h.beats[h.step.Add(1)%beats]
		b.mu.Lock()
		for s := range b.open {
			s.ping()
		}
		b.mu.Unlock()
	}
}
