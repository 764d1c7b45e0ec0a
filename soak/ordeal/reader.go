package ordeal

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// frame is what a socket and a long poll give.
type frame struct {
	Type     string  `json:"type"`
	Revision int64   `json:"revision"`
	Session  session `json:"session"`
}

// reader is an open page: it holds a socket, or polls, comes back with its revision when
// it is cut off, and keeps every frame it got.
type reader struct {
	program *Program
	id      string // session
	token   string
	polls   bool
	found   *findings

	mu     sync.Mutex
	frames []frame
	cuts   int
	cancel context.CancelFunc
	done   chan struct{}
}

// read opens a page.
func (p *Program) read(ctx context.Context, id, token string, polls bool, found *findings) *reader {
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{program: p, id: id, token: token, polls: polls, found: found, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			var err error
			if polls {
				err = r.poll(ctx)
			} else {
				err = r.socket(ctx)
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.mu.Lock()
				r.cuts++
				r.mu.Unlock()
			}
			_ = pause(ctx, 25*time.Millisecond) // the loop ends with ctx
		}
	}()
	return r
}

// close closes the page.
func (r *reader) close() {
	r.cancel()
	<-r.done
}

// pages are readers of sessions of their own.
type pages []*reader

func (p pages) close() {
	for _, r := range p {
		r.close()
	}
}

// missed holds, after half a minute at the most, that each page shows its session's last revision.
func (p pages) missed(ctx context.Context, final map[string]session, found *findings) {
	end := time.Now().Add(30 * time.Second)
	for _, r := range p {
		want := final[r.id].Revision
		if err := until(ctx, time.Until(end), func() error {
			if got := r.revision(); got != want {
				return fmt.Errorf("session %s: the page is at revision %d, the session at %d", r.id, got, want)
			}
			return nil
		}); err != nil {
			found.add("pages that missed something", "%v (polls: %v)", err, r.polls)
		}
	}
}

// frames counts what they were shown, and how often they were cut off.
func (p pages) frames() (frames, cuts int) {
	for _, r := range p {
		r.mu.Lock()
		frames, cuts = frames+len(r.frames), cuts+r.cuts
		r.mu.Unlock()
	}
	return frames, cuts
}

func (r *reader) revision() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.frames) == 0 {
		return 0
	}
	return r.frames[len(r.frames)-1].Revision
}

// statuses are those that were shown, one after another.
func (r *reader) statuses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, f := range r.frames {
		list = append(list, f.Session.Status)
	}
	return list
}

// moved are the statuses that nothing leads back from.
var moved = []string{"paid", "partially_paid", "verified", "refunding", "refunded", "partially_refunded", "charged_back"}

func (r *reader) got(text []byte) {
	var f frame
	if err := json.Unmarshal(text, &f); err != nil || f.Type != "session" || f.Session.ID != r.id || f.Session.Revision != f.Revision {
		r.found.add("frames that make no sense", "session %s: %.300s (%v)", r.id, text, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.frames); n > 0 {
		last := r.frames[n-1]
		if f.Revision <= last.Revision {
			r.found.add("revisions that do not increase", "session %s: %d (%s) after %d (%s)", r.id, f.Revision, f.Session.Status, last.Revision, last.Session.Status)
		}
		if slices.Contains(moved, last.Session.Status) && !slices.Contains(moved, f.Session.Status) {
			r.found.add("back from paid", "session %s: %s after %s", r.id, f.Session.Status, last.Session.Status)
		}
	}
	r.frames = append(r.frames, f)
}

func (r *reader) poll(ctx context.Context) error {
	address := fmt.Sprintf("%s/v1/checkout/updates?revision=%d&wait=20", r.program.PublicURL(), r.revision())
	status, text, err := r.program.call(ctx, http.MethodGet, address, r.token, nil)
	switch {
	case err != nil:
		return err
	case status == http.StatusOK:
		r.got(text)
	case status != http.StatusNoContent && status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout:
		r.found.add("updates refused", "session %s: %d: %.200s", r.id, status, text)
	}
	return nil
}

// socket lives one connection of RFC 6455, subprotocol checkout.v1.
func (r *reader) socket(ctx context.Context) error {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", r.program.public)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	in, err := r.upgrade(c)
	if err != nil {
		return err
	}
	hello, err := json.Marshal(map[string]any{"type": "hello", "token": r.token, "revision": r.revision()})
	if err != nil {
		return err
	}
	if err := write(c, opText, hello); err != nil {
		return err
	}
	for {
		// The other side pings every 25 s: longer silence is a dead line.
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		op, text, err := next(in)
		if err != nil {
			return err
		}
		switch op {
		case opText:
			r.got(text)
		case opPing:
			if err := write(c, opPong, text); err != nil {
				return err
			}
		case opClose:
			code := 0
			if len(text) >= 2 {
				code = int(binary.BigEndian.Uint16(text))
			}
			if code >= 4500 {
				r.found.add("sockets refused for good", "session %s: close %d %s", r.id, code, text[2:])
				r.cancel()
			}
			return fmt.Errorf("closed with %d", code)
		}
	}
}

func (r *reader) upgrade(c net.Conn) (*bufio.Reader, error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	_, err := fmt.Fprintf(c, "GET /v1/checkout/ws HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: checkout.v1\r\n\r\n",
		r.program.public, r.program.PublicURL(), base64.StdEncoding.EncodeToString(nonce[:]))
	if err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	in := bufio.NewReader(c)
	status, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == "\r\n" {
			break
		}
	}
	words := strings.Fields(status)
	if len(words) < 2 {
		return nil, fmt.Errorf("no HTTP: %q", status)
	}
	if code, err := strconv.Atoi(words[1]); err != nil || code != http.StatusSwitchingProtocols {
		if code != http.StatusServiceUnavailable {
			r.found.add("sockets refused", "session %s: %s", r.id, status)
		}
		return nil, errors.New(status)
	}
	return in, nil
}

const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// write sends one masked frame of less than 64 kB.
func write(w io.Writer, op byte, payload []byte) error {
	head := []byte{0x80 | op}
	if len(payload) < 126 {
		head = append(head, 0x80|byte(len(payload))) //nolint:gosec // less than 126
	} else {
		head = append(head, 0x80|126)
		head = binary.BigEndian.AppendUint16(head, uint16(len(payload))) //nolint:gosec // a hello has a few hundred
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails (crypto/rand)
	head = append(head, mask[:]...)
	for i, b := range payload {
		head = append(head, b^mask[i%4])
	}
	_, err := w.Write(head)
	return err
}

// next reads one frame; the server sends none in pieces, and none masked.
func next(in *bufio.Reader) (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0x80 == 0 || head[1]&0x80 != 0 {
		return 0, nil, errors.New("a frame in pieces, or masked")
	}
	size := uint64(head[1])
	switch size {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(in, b[:])
		size = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(in, b[:])
		size = binary.BigEndian.Uint64(b[:])
	}
	if err != nil {
		return 0, nil, err
	}
	if size > 1<<20 {
		return 0, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(in, payload)
	return head[0] & 0x0f, payload, err
}
