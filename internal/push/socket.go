package push

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"wzrdcheckout/internal/checkout"
)

const (
	helloLimit = 4 << 10 // bytes of the first frame; a token has a few hundred
	chatLimit  = 64      // frames a page may send unasked within one ping period
)

// socket is one page. Its reader is a goroutine that lives as long as the connection;
// its writer is a goroutine that lives while there is something to write.
type socket struct {
	hub     *Hub
	conn    *websocket.Conn
	address string
	session string // set by the hello, before the first subscription
	expires int64  // Unix seconds of the token's end
	chat    int    // unasked frames since the last pong that was asked for; the reader's own
	beat    uint8

	mu      sync.Mutex
	last    int64    // newest revision that was queued or that the page has
	queue   []*frame // in order, at most Config.Queue
	held    bool     // the current session is not known yet: changes wait
	pinging bool
	asked   bool // a ping is on its way, or waits for its pong
	writing bool // a writer is on its way
	gone    bool // the reader has left; nothing may start any more
	code    int  // close code to send, 0 = none
	told    bool // the close code was written
}

// hello is the first frame of a page.
type hello struct {
	Type     string `json:"type"`
	Token    string `json:"token"`
	Revision int64  `json:"revision"`
}

// read begins the life of a socket. Checking the hello takes a deep stack, waiting does
// not: the goroutine that waits is a fresh one.
func (s *socket) read() {
	s.conn.SetPongHandler(func(string) error {
		s.mu.Lock()
		asked := s.asked
		s.asked = false
		s.mu.Unlock()
		if asked {
			s.chat = 0
			return s.awake()
		}
		// One that nobody asked for buys no time and no frames.
		if s.chatty() {
			return errChatty
		}
		return nil
	})
	s.conn.SetPingHandler(func(data string) error {
		if s.chatty() {
			return errChatty
		}
		err := s.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		if e := net.Error(nil); errors.As(err, &e) || errors.Is(err, websocket.ErrCloseSent) {
			return nil // a full pipe is the writer's to notice
		}
		return err
	})
	if code := s.greet(); code != 0 {
		s.close(s.farewell(code))
		return
	}
	go func() { s.close(s.wait()) }()
}

// close ends the life of a socket, code is what it ended with.
func (s *socket) close(code int) {
	h := s.hub
	if s.session != "" {
		h.unsubscribe(s.session, s)
	}
	b := &h.beats[s.beat]
	b.mu.Lock()
	delete(b.open, s)
	b.mu.Unlock()

	s.mu.Lock()
	if s.code != 0 {
		code = s.code
	}
	s.gone, s.queue = true, nil
	s.mu.Unlock()
	_ = s.conn.Close()
	h.cfg.Observer.SocketClosed(code)
	h.leave(s.address)
}

// wait reads until the connection ends and gives the code it ended with.
func (s *socket) wait() int {
	s.conn.SetReadLimit(helloLimit) // beyond it the protocol's reader says 1009
	for {
		_, r, err := s.conn.NextReader()
		if err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(r, helloLimit))
		}
		switch {
		case err == nil && !s.chatty():
			continue
		case err == nil || errors.Is(err, errChatty):
			return s.farewell(CodeBadHello)
		case errors.Is(err, websocket.ErrReadLimit):
			return websocket.CloseMessageTooBig
		case timedOut(err):
			if s.expires <= time.Now().Unix() {
				return s.farewell(CodeExpired)
			}
			return s.farewell(CodeGoingAway) // no pong: most likely nobody hears it
		}
		return ended(err)
	}
}

var errChatty = errors.New("too many frames")

func (s *socket) chatty() bool {
	s.chat++
	return s.chat > chatLimit
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func ended(err error) int {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return closed.Code
	}
	return websocket.CloseAbnormalClosure
}

// awake moves the end of patience: to the pong after the next ping, or to the token's end.
func (s *socket) awake() error {
	until := time.Now().Add(s.hub.cfg.PingEvery + s.hub.cfg.PongWait)
	if end := time.Unix(s.expires, 0); end.Before(until) {
		until = end
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told {
		return nil // the farewell has its own end
	}
	return s.conn.SetReadDeadline(until)
}

// greet waits for the hello, subscribes, and queues the current session; it gives the
// close code when that did not work out.
func (s *socket) greet() int {
	h := s.hub
	if s.ending() {
		return CodeGoingAway // end was called before the reader began: its code stands
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(h.cfg.HelloWait))
	hi, code := s.hello()
	if code != 0 {
		return code
	}
	session, _, expires, err := h.cfg.Auth.Authenticate(hi.Token)
	var e *checkout.Error
	switch {
	case err == nil && expires <= time.Now().Unix(), errors.As(err, &e) && e.Code == "token_expired":
		return CodeExpired
	case errors.Is(err, checkout.ErrUnauthorized):
		return CodeUnauthorized
	case err != nil:
		h.cfg.Log.Error("authenticate socket", "err", err)
		return CodeGoingAway
	}
	s.expires = expires
	if err := s.awake(); err != nil {
		return websocket.CloseAbnormalClosure
	}

	// Subscribe first, then read the current one: what changes in between waits in the
	// queue, and what the current one already holds is dropped from it.
	s.last = hi.Revision
	if !h.subscribe(session, s) {
		return CodeLimited
	}
	s.session = session
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.ReadWait)
	defer cancel()
	revision, text, err := h.cfg.Source.Current(ctx, session)
	switch {
	case errors.Is(err, checkout.ErrNotFound):
		return CodeUnauthorized
	case err != nil:
		h.cfg.Log.Warn("read session for socket", "session", session, "err", err)
		return CodeGoingAway
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	base := max(revision, hi.Revision)
	var queue []*frame
	if revision > hi.Revision {
		queue = append(queue, newFrame(revision, text, time.Time{}))
	}
	for _, f := range s.queue {
		if f.revision > base {
			queue = append(queue, f)
		}
	}
	s.queue, s.held, s.last = queue, false, max(s.last, base)
	s.write()
	return 0
}

// hello reads the first frame.
func (s *socket) hello() (hello, int) {
	kind, r, err := s.conn.NextReader()
	if err != nil {
		if timedOut(err) || errors.Is(err, errChatty) {
			return hello{}, CodeBadHello
		}
		return hello{}, ended(err)
	}
	text, err := io.ReadAll(io.LimitReader(r, helloLimit+1))
	var hi hello
	switch {
	case timedOut(err):
		return hello{}, CodeBadHello
	case err != nil:
		return hello{}, ended(err)
	case kind != websocket.TextMessage, len(text) > helloLimit,
		json.Unmarshal(text, &hi) != nil,
		hi.Type != "hello", hi.Token == "", hi.Revision < 0:
		return hello{}, CodeBadHello
	}
	return hi, 0
}

// deliver queues a change; a page that is too far behind is cut and resumes.
func (s *socket) deliver(f *frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || s.code != 0 || f.revision <= s.last {
		return
	}
	if len(s.queue) >= s.hub.cfg.Queue {
		s.endLocked(CodeSlow)
		return
	}
	s.last = f.revision
	s.queue = append(s.queue, f)
	if !s.held {
		s.write()
	}
}

func (s *socket) lost() { s.end(CodeGoingAway) }

func (s *socket) ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held || s.code != 0 { // before its hello a socket has the hello's deadline
		return
	}
	s.pinging = true
	s.write()
}

// end closes the socket with a code; the first code wins.
func (s *socket) end(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(code)
}

func (s *socket) endLocked(code int) {
	if s.gone || s.code != 0 {
		return
	}
	s.code, s.queue = code, nil
	s.write()
}

func (s *socket) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.code != 0
}

// farewell ends the socket from its reader, which then waits for the peer to have read
// the code: closing a connection with unread bytes in it would take the code back.
// A code outside ours means that the connection itself is over.
func (s *socket) farewell(code int) int {
	if code < CodeGoingAway {
		return code
	}
	s.mu.Lock()
	if !s.told { // else the writer sets, or has set, the end of the wait
		_ = s.conn.SetReadDeadline(time.Now().Add(s.hub.cfg.WriteWait + s.hub.cfg.LingerWait))
	}
	s.endLocked(code)
	s.mu.Unlock()
	for range 64 * chatLimit {
		_, r, err := s.conn.NextReader()
		if err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(r, helloLimit))
		}
		if err == nil {
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) {
			// The protocol's reader failed before and stays so; what comes is the rest of a
			// flood, or the peer's answer to our code.
			var b [512]byte
			for range 64 * chatLimit {
				if _, err := s.conn.NetConn().Read(b[:]); err != nil {
					break
				}
			}
		}
		break
	}
	return code
}

// write sees to it that a writer is on its way; s.mu is held.
func (s *socket) write() {
	if s.writing || s.gone {
		return
	}
	s.writing = true
	s.hub.members.Add(1) // the reader is still counted, so the group is not at zero
	go s.flush()
}

// flush writes what is queued and ends when nothing is left.
func (s *socket) flush() {
	h := s.hub
	defer h.members.Done()
	for {
		s.mu.Lock()
		var f *frame
		code, ping := s.code, s.pinging
		s.pinging = false
		s.asked = s.asked || ping
		switch {
		case s.gone || s.told || code == 0 && !ping && len(s.queue) == 0:
			s.writing = false
			if len(s.queue) == 0 {
				s.queue = nil // an idle socket holds no buffer
			}
			s.mu.Unlock()
			return
		case code != 0:
			s.told = true
		case len(s.queue) > 0:
			f = s.queue[0]
			s.queue[0] = nil
			s.queue = s.queue[1:]
		}
		s.mu.Unlock()

		until := time.Now().Add(h.cfg.WriteWait)
		var err error
		switch {
		case code != 0:
			err = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason(code)), until)
			_ = s.conn.SetReadDeadline(time.Now().Add(h.cfg.LingerWait))
		case f != nil:
			_ = s.conn.SetWriteDeadline(until)
			if err = s.conn.WriteMessage(websocket.TextMessage, f.text); err == nil && !f.at.IsZero() {
				h.cfg.Observer.Pushed(time.Since(f.at))
			}
		}
		if err == nil && ping && code == 0 {
			err = s.conn.WriteControl(websocket.PingMessage, nil, until)
		}
		if err != nil {
			s.mu.Lock()
			if s.code == 0 && timedOut(err) {
				s.code, s.told = CodeSlow, true // for the count: the pipe is too full to say it
			}
			s.mu.Unlock()
			_ = s.conn.Close() // the reader wakes and clears up
		}
	}
}

// reason is for people who look at a connection; pages read the code.
func reason(code int) string {
	switch code {
	case CodeGoingAway:
		return "going away"
	case CodeSlow:
		return "slow"
	case CodeLimited:
		return "limited"
	case CodeBadHello:
		return "bad hello"
	case CodeUnauthorized:
		return "unauthorized"
	case CodeExpired:
		return "expired"
	}
	return "origin"
}
