package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// crowdSetting tells the role "sockets" what it holds. Its sockets and its senders are a
// process of their own, since a process may have only so many files open.
type crowdSetting struct {
	Addr     string         `json:"addr"`     // of the sockets and of what is sent
	Protocol string         `json:"protocol"` // "checkout" or "centrifuge"
	Tokens   []string       `json:"tokens"`   // socket i uses token i modulo their number
	News     []crowdMessage `json:"news"`     // message i is for token i
	Key      string         `json:"key"`      // signs callbacks
}

// crowdMessage is a callback with a hole for its time.
type crowdMessage struct {
	Before  []byte `json:"before"`
	After   []byte `json:"after"`
	Updated int64  `json:"updated"`
}

// crowdOrder is what it is told to do: "open" or close until there are so many sockets, "run" so many
// messages at a rate, or "cut" all sockets and open them again.
type crowdOrder struct {
	Do       string  `json:"do"`
	N        int     `json:"n"`
	Rate     float64 `json:"rate"`
	Later    int64   `json:"later"`
	Parallel int     `json:"parallel"`
}

// crowdReport is what came of it; times are milliseconds.
type crowdReport struct {
	Sockets  int     `json:"sockets"`
	Seconds  float64 `json:"seconds"`
	Sent     int     `json:"sent"`
	Received int     `json:"received"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Answered float64 `json:"answered"` // p50 until the sender had its answer
	Late99   float64 `json:"late99"`   // p99 of how late the sender was itself
	Frame    int64   `json:"frame"`    // bytes of the last frame
}

func playSockets() error {
	debug.SetGCPercent(400)
	s := newStage()
	c := &crowd{}
	if err := s.in.Decode(&c.setting); err != nil {
		return err
	}
	c.due = make([]atomic.Int64, len(c.setting.Tokens))
	if err := s.out.Encode(c.setting.Addr); err != nil {
		return err
	}
	for {
		var order crowdOrder
		if err := s.in.Decode(&order); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		report, err := c.obey(order)
		if err != nil {
			if err := s.failed(err); err != nil {
				return err
			}
			continue
		}
		if err := s.out.Encode(report); err != nil {
			return err
		}
	}
}

// crowd is many sockets.
type crowd struct {
	setting crowdSetting
	sockets []*client
	due     []atomic.Int64 // by token: when the message under way was due, Unix ns; 0 = none
	mu      sync.Mutex
	took    []time.Duration
	frame   atomic.Int64
}

// client is one socket with as little around it as can be.
type client struct {
	of       *crowd
	token    int
	c        *net.TCPConn
	revision atomic.Int64
	first    chan error // the first frame has come
	once     sync.Once
}

func (c *crowd) obey(o crowdOrder) (crowdReport, error) {
	switch o.Do {
	case "open":
		for len(c.sockets) > o.N && o.N > 0 {
			last := c.sockets[len(c.sockets)-1]
			c.sockets = c.sockets[:len(c.sockets)-1]
			_ = last.c.Close()
		}
		return c.reopen(o.N, max(o.Parallel, 64), nil)
	case "run":
		return c.run(o)
	case "cut":
		n := len(c.sockets)
		for _, s := range c.sockets {
			_ = s.c.SetLinger(0) // a cut line does not say goodbye
			_ = s.c.Close()
		}
		old := c.sockets
		c.sockets = nil
		return c.reopen(n, max(o.Parallel, 64), old)
	}
	return crowdReport{}, fmt.Errorf("no order %q", o.Do)
}

// reopen opens sockets until there are n. One that was cut asks for what it saw last, so
// that the answer proves that it has resumed.
func (c *crowd) reopen(n, parallel int, old []*client) (crowdReport, error) {
	have := len(c.sockets)
	list := make([]*client, max(n-have, 0))
	took := make([]time.Duration, len(list))
	began := time.Now()
	err := each(context.Background(), len(list), parallel, func(_ context.Context, _, i int) error {
		at := time.Now()
		s := &client{of: c, token: (have + i) % len(c.setting.Tokens), first: make(chan error, 1)}
		if old != nil {
			at = began // it waits from the cut on, not from its turn
			s.revision.Store(max(old[i].revision.Load()-1, 0))
		}
		if err := s.connect(have + i); err != nil {
			return fmt.Errorf("socket %d: %w", have+i, err)
		}
		select {
		case err := <-s.first:
			if err != nil {
				return fmt.Errorf("socket %d: %w", have+i, err)
			}
		case <-time.After(30 * time.Second):
			return fmt.Errorf("socket %d: no first frame in 30 s", have+i)
		}
		list[i], took[i] = s, time.Since(at)
		return nil
	})
	if err != nil {
		return crowdReport{}, err
	}
	c.sockets = append(c.sockets, list...)
	slices.Sort(took)
	return crowdReport{Sockets: len(c.sockets), Seconds: time.Since(began).Seconds(), P50: ms(quantile(took, 0.5)), P99: ms(quantile(took, 0.99)), Frame: c.frame.Load()}, nil
}

// run sends messages at a rate, each when it is due whatever became of those before, and
// waits until they have come out of the sockets.
func (c *crowd) run(o crowdOrder) (crowdReport, error) {
	const senders = 128
	requests := make([][]byte, o.N)
	for i := range requests {
		requests[i] = c.message(i%len(c.setting.News), o.Later+int64(i/len(c.setting.News)))
	}
	lines := make([]*line, senders)
	for i := range lines {
		l, err := dial(c.setting.Addr)
		if err != nil {
			return crowdReport{}, err
		}
		defer l.c.Close()
		lines[i] = l
	}
	perSocket := (len(c.sockets) + len(c.setting.Tokens) - 1) / len(c.setting.Tokens)
	c.mu.Lock()
	c.took = make([]time.Duration, 0, o.N*max(perSocket, 1))
	c.mu.Unlock()
	answered, late := make([]time.Duration, o.N), make([]time.Duration, o.N)
	began := time.Now().Add(50 * time.Millisecond)
	err := each(context.Background(), o.N, senders, func(_ context.Context, w, i int) error {
		due := began.Add(time.Duration(float64(i) / o.Rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		late[i] = time.Since(due)
		c.due[i%len(c.setting.News)].Store(due.UnixNano())
		status, err := lines[w].do(requests[i], nil)
		if err == nil && status != 200 {
			err = fmt.Errorf("answered %d", status)
		}
		answered[i] = time.Since(due)
		return err
	})
	if err != nil {
		return crowdReport{}, err
	}
	want := 0
	for i := range min(o.N, len(c.setting.News)) {
		for at := i; at < len(c.sockets); at += len(c.setting.Tokens) {
			want++
		}
	}
	want = want * max(o.N/len(c.setting.News), 1)
	got := 0
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		got = len(c.took)
		c.mu.Unlock()
		if got >= want {
			break
		}
	}
	c.mu.Lock()
	took := slices.Clone(c.took)
	c.mu.Unlock()
	slices.Sort(took)
	slices.Sort(answered)
	slices.Sort(late)
	return crowdReport{
		Sockets: len(c.sockets), Seconds: time.Since(began).Seconds(), Sent: o.N, Received: got, P50: ms(quantile(took, 0.5)), P99: ms(quantile(took, 0.99)),
		Answered: ms(quantile(answered, 0.5)), Late99: ms(quantile(late, 0.99)), Frame: c.frame.Load(),
	}, nil
}

func (c *crowd) message(i int, later int64) []byte {
	m := c.setting.News[i]
	if c.setting.Protocol == "centrifuge" {
		return request("POST", c.setting.Addr, "/publish?channel="+c.setting.Tokens[i], nil, m.Before)
	}
	body := paidCallback{m.Before, m.After, m.Updated}.body(later)
	return callbackRequest(c.setting.Addr, c.setting.Key, body)
}

// connect does the handshake and says hello. Sockets are spread over loopback addresses,
// since one address has only so many ports, and a closed socket keeps its own for a minute;
// the two sides have addresses of their own.
func (s *client) connect(n int) error {
	side := byte(0)
	if s.of.setting.Protocol == "centrifuge" {
		side = 1
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, side, byte(1+n/4_000))}, Timeout: 30 * time.Second} //nolint:gosec // a million sockets are 250
	conn, err := d.Dial("tcp", s.of.setting.Addr)
	if err != nil {
		return err
	}
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return errors.New("no TCP connection")
	}
	s.c = c
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	header := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.StdEncoding.EncodeToString(nonce[:])}
	path, token := "/v1/checkout/ws", s.of.setting.Tokens[s.token] //nolint:gosec // no credentials
	hello := fmt.Appendf(nil, `{"type":"hello","token":%q,"revision":%d}`, token, s.revision.Load())
	if s.of.setting.Protocol == "centrifuge" {
		path, hello = "/connection/websocket", fmt.Appendf(nil, `{"id":1,"connect":{"token":%q}}`, token)
	} else {
		header["Sec-WebSocket-Protocol"] = "checkout.v1"
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write(request("GET", s.of.setting.Addr, path, header, nil)); err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, 512)
	text, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(text, []byte("HTTP/1.1 101")) {
		return fmt.Errorf("handshake answered %q", text)
	}
	for len(text) > 2 {
		if text, err = r.ReadSlice('\n'); err != nil {
			return err
		}
	}
	if err := s.write(1, hello); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Time{})
	go s.read(r)
	return nil
}

// write sends a masked frame of at most 65,535 bytes; the mask is zero.
func (s *client) write(kind byte, text []byte) error {
	frame := []byte{0x80 | kind}
	if len(text) < 126 {
		frame = append(frame, 0x80|byte(len(text))) //nolint:gosec // below 126
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(len(text))) //nolint:gosec // hellos are short
	}
	frame = append(frame, 0, 0, 0, 0)
	_, err := s.c.Write(append(frame, text...))
	return err
}

func (s *client) read(r *bufio.Reader) {
	defer s.c.Close()
	buffer := make([]byte, 0, 2048)
	for {
		kind, text, err := readFrame(r, buffer)
		if err == nil {
			err = s.heard(kind, text)
		}
		if err != nil {
			s.once.Do(func() { s.first <- err })
			return
		}
		buffer = text[:0]
	}
}

func readFrame(r *bufio.Reader, buffer []byte) (kind byte, text []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	kind, size := head[0]&15, uint64(head[1]&127)
	switch size {
	case 126:
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return 0, nil, err
		}
		size = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err := io.ReadFull(r, head[:8]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(head[:8])
	}
	if size > 1<<20 {
		return 0, nil, fmt.Errorf("frame of %d bytes", size)
	}
	text = slices.Grow(buffer, int(size))[:size]
	_, err = io.ReadFull(r, text)
	return kind, text, err
}

// heard takes a frame: the first proves that the socket stands, a later one that carries
// news has its time taken.
func (s *client) heard(kind byte, text []byte) error {
	switch {
	case kind == 9:
		return s.write(10, text)
	case kind == 8 && len(text) >= 2:
		return fmt.Errorf("closed with %d %s", binary.BigEndian.Uint16(text), text[2:])
	case kind != 1:
		return nil
	case s.of.setting.Protocol == "centrifuge":
		if string(text) == "{}" {
			return s.write(1, text) // its ping, and our pong
		}
		if !bytes.Contains(text, []byte(`"push"`)) {
			s.once.Do(func() { s.first <- nil })
			return nil
		}
	default:
		at, ok := bytes.CutPrefix(text, []byte(`{"type":"session","revision":`))
		digits, _, _ := bytes.Cut(at, []byte(","))
		revision, err := strconv.ParseInt(string(digits), 10, 64)
		if !ok || err != nil {
			return fmt.Errorf("frame %.80q", text)
		}
		s.revision.Store(revision)
		fresh := false
		s.once.Do(func() { s.first <- nil; fresh = true })
		if fresh {
			return nil
		}
	}
	now := time.Now()
	s.of.frame.Store(int64(len(text)))
	if due := s.of.due[s.token].Load(); due != 0 {
		s.of.mu.Lock()
		s.of.took = append(s.of.took, now.Sub(time.Unix(0, due)))
		s.of.mu.Unlock()
	}
	return nil
}
