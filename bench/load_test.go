package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wzrdcheckout/internal/sandbox"
)

func TestLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 3000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch r.URL.Path {
		case "/echo":
			_, _ = w.Write(append([]byte(r.Header.Get("X-Word")+" "), body...))
		case "/long": // without a length: in chunks
			_, _ = io.WriteString(w, long)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	host := server.Listener.Addr().String()
	l, err := dial(host)
	if err != nil {
		t.Fatal(err)
	}
	defer l.c.Close()
	for _, row := range []struct {
		name   string
		text   []byte
		status int
		body   string
	}{
		{"body and header", request("POST", host, "/echo", map[string]string{"X-Word": "word"}, []byte("body")), 200, "word body"},
		{"chunks", request("GET", host, "/long", nil, nil), 200, long},
		{"nothing", request("GET", host, "/empty", nil, nil), 204, ""},
		{"refused, same connection", request("GET", host, "/else", nil, nil), 404, "404 page not found\n"},
	} {
		for _, keep := range []*bytes.Buffer{nil, new(bytes.Buffer)} {
			status, err := l.do(row.text, keep)
			if err != nil || status != row.status {
				t.Fatalf("%s: do = %d, %v, want %d", row.name, status, err, row.status)
			}
			if keep != nil && keep.String() != row.body {
				t.Errorf("%s: body = %.80q, want %.80q", row.name, keep, row.body)
			}
		}
	}
}

func TestDrive(t *testing.T) {
	t.Parallel()
	var answered atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answered.Add(1)
		if r.URL.Path == "/wrong" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	host := server.Listener.Addr().String()
	l, err := drive(t.Context(), host, 3, time.Minute, 200, func(_, i int) []byte {
		if i == 5 {
			return nil
		}
		return request("GET", host, "/", nil, nil)
	})
	if err != nil || l.n != 15 || len(l.took) != 15 || answered.Load() != 15 {
		t.Errorf("drive = %d requests, %v; the server answered %d; want 15", l.n, err, answered.Load())
	}
	if _, err := drive(t.Context(), host, 2, time.Minute, 200, func(int, int) []byte { return request("GET", host, "/wrong", nil, nil) }); err == nil {
		t.Error("drive took an answer that was not wanted")
	}
}

func TestEach(t *testing.T) {
	t.Parallel()
	var done [100]atomic.Int64
	if err := each(t.Context(), len(done), 7, func(_ context.Context, _, i int) error { done[i].Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		if n := done[i].Load(); n != 1 {
			t.Errorf("thing %d was done %d times", i, n)
		}
	}
	wrong := errors.New("wrong")
	if err := each(t.Context(), 100, 7, func(_ context.Context, _, i int) error {
		if i == 50 {
			return wrong
		}
		return nil
	}); !errors.Is(err, wrong) {
		t.Errorf("each = %v, want %v", err, wrong)
	}
}

// The callback whose time is moved on must be one that WZRDPAY could have sent.
func TestReadCallback(t *testing.T) {
	t.Parallel()
	body := []byte(`{"data":{"type":"payment-invoices","id":"cpi_1","attributes":{"reference_id":"r-1","updated":1700000000,"created":1700000000}}}`)
	c, reference, err := readCallback(body)
	if err != nil || reference != "r-1" {
		t.Fatalf("readCallback = %q, %v", reference, err)
	}
	if got := c.body(0); !bytes.Equal(got, body) {
		t.Errorf("body(0) = %s, want %s", got, body)
	}
	if got := string(c.body(7)); !strings.Contains(got, `"updated":1700000007,"created":1700000000`) {
		t.Errorf("body(7) = %s", got)
	}
	if got := callbackRequest("h", "sk_test_x", body); !bytes.Contains(got, []byte("X-Signature: "+sandbox.Sign("sk_test_x", body)+"\r\n")) || !bytes.HasSuffix(got, body) {
		t.Errorf("callbackRequest = %s", got)
	}
}

func TestReadFrame(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 70_000)
	for name, row := range map[string]struct{ wire, want string }{
		"short":  {"\x81\x02hi", "hi"},
		"middle": {"\x81\x7e\x00\x80" + long[:128], long[:128]},
		"long":   {"\x81\x7f\x00\x00\x00\x00\x00\x01\x11\x70" + long, long},
	} {
		kind, text, err := readFrame(bufio.NewReader(strings.NewReader(row.wire)), nil)
		if err != nil || kind != 1 || string(text) != row.want {
			t.Errorf("%s: readFrame = %d, %d bytes, %v, want 1, %d bytes", name, kind, len(text), err, len(row.want))
		}
	}
	if _, _, err := readFrame(bufio.NewReader(strings.NewReader("\x81\x05hi")), nil); err == nil {
		t.Error("readFrame took half a frame")
	}
}

func TestAppendLog(t *testing.T) {
	t.Parallel()
	l, err := newAppendLog(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	const n = 300
	if err := each(t.Context(), n, 20, func(context.Context, int, int) error { return l.append([]byte("0123456789")) }); err != nil {
		t.Fatal(err)
	}
	info, err := l.f.Stat()
	if err != nil || info.Size() != 10*n {
		t.Errorf("the log has %d bytes, %v, want %d: what was answered is in the file", info.Size(), err, 10*n)
	}
}
