package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// line is a kept-alive HTTP/1.1 connection with as little client around it as can be:
// client and server share the machine, and what the client burns the server lacks.
type line struct {
	c net.Conn
	r *bufio.Reader
}

func dial(addr string) (*line, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &line{c: c, r: bufio.NewReaderSize(c, 16<<10)}, nil
}

// do sends a whole request and reads the whole answer; keep gets the body when not nil.
func (l *line) do(request []byte, keep *bytes.Buffer) (status int, err error) {
	if err := l.c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := l.c.Write(request); err != nil {
		return 0, err
	}
	text, err := l.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(text) < 12 {
		return 0, fmt.Errorf("status line %q", text)
	}
	if status, err = strconv.Atoi(string(text[9:12])); err != nil {
		return 0, fmt.Errorf("status line %q", text)
	}
	length, chunked := 0, false
	for {
		if text, err = l.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if len(text) <= 2 {
			break
		}
		switch name, value, _ := bytes.Cut(text, []byte(":")); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	if !chunked {
		return status, l.body(length, keep)
	}
	for {
		if text, err = l.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(text)), 16, 32)
		if err != nil {
			return 0, fmt.Errorf("chunk %q", text)
		}
		if err := l.body(int(size), keep); err != nil {
			return 0, err
		}
		if _, err := l.r.Discard(2); err != nil {
			return 0, err
		}
		if size == 0 {
			return status, nil
		}
	}
}

func (l *line) body(n int, keep *bytes.Buffer) error {
	if keep == nil {
		_, err := l.r.Discard(n)
		return err
	}
	_, err := io.CopyN(keep, l.r, int64(n))
	return err
}

// request encodes a request once, so that sending it costs nothing.
func request(method, host, path string, header map[string]string, body []byte) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	for name, value := range header {
		fmt.Fprintf(&out, "%s: %s\r\n", name, value)
	}
	if body != nil {
		fmt.Fprintf(&out, "Content-Length: %d\r\n", len(body))
	}
	out.WriteString("\r\n")
	out.Write(body)
	return out.Bytes()
}

// load is what a number of clients got done.
type load struct {
	n       int
	seconds float64
	took    []time.Duration // sorted
}

func (l load) rate() float64 { return float64(l.n) / l.seconds }

// drive lets clients send one request after the other for a while. next gives the i-th
// request of a client; nil ends that client. An answer other than want is an error.
func drive(ctx context.Context, addr string, clients int, span time.Duration, want int, next func(client, i int) []byte) (load, error) {
	lines := make([]*line, clients)
	defer func() {
		for _, l := range lines {
			if l != nil {
				_ = l.c.Close()
			}
		}
	}()
	for i := range lines {
		l, err := dial(addr)
		if err != nil {
			return load{}, err
		}
		lines[i] = l
	}
	took := make([][]time.Duration, clients)
	wrong := make([]error, clients)
	var all sync.WaitGroup
	began := time.Now()
	end := began.Add(span)
	for client, l := range lines {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				at := time.Now()
				if at.After(end) {
					return
				}
				text := next(client, i)
				if text == nil {
					return
				}
				status, err := l.do(text, nil)
				if err == nil && status != want {
					err = fmt.Errorf("answered %d, want %d", status, want)
				}
				if err != nil {
					wrong[client] = err
					return
				}
				took[client] = append(took[client], time.Since(at))
			}
		})
	}
	all.Wait()
	out := load{seconds: time.Since(began).Seconds(), took: sorted(took)}
	out.n = len(out.took)
	return out, errors.Join(errors.Join(wrong...), ctx.Err())
}

// each does n things with a number of workers; the first error ends it.
func each(ctx context.Context, n, workers int, do func(ctx context.Context, worker, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next sync.Mutex
	at := 0
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for ctx.Err() == nil {
				next.Lock()
				i := at
				at++
				next.Unlock()
				if i >= n {
					return
				}
				if err := do(ctx, w, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// exchange is one request with the standard client, for set-up.
func exchange(ctx context.Context, method, url string, header map[string]string, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := plain.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res, text, err
}

// plain is a client that adds nothing and keeps enough connections.
var plain = &http.Client{
	Timeout:   30 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
}
