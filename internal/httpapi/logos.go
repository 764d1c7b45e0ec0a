package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/page"
)

// The bounds of the logo proxy.
const (
	logoSize    = 256 << 10
	logoBytes   = 32 << 20 // of pictures kept
	logoFresh   = 24 * time.Hour
	logoAgain   = time.Minute // after a failure
	logoTime    = 5 * time.Second
	logoMethods = 10_000
	logoCalls   = 8 // at once
)

// logos fetches the pictures of methods, so that a shopper's browser meets no third
// host. It fetches only addresses that a pre-request gave, of images, of a bounded
// size, over https, and with live keys from public addresses only.
type logos struct {
	live   bool
	client *http.Client
	find   Logos
	now    func() time.Time
	flight singleflight.Group
	calls  chan struct{}

	mu    sync.Mutex
	shown map[string]string // method → address of its logo
	kept  map[string]*picture
	bytes int
}

// picture is a fetched logo, or the memory that it could not be had.
type picture struct {
	kind, tag string
	data      []byte
	err       error
	until     time.Time
}

func newLogos(cfg Config) *logos {
	l := &logos{
		live: cfg.Live, find: cfg.Logos, now: cfg.Now,
		calls: make(chan struct{}, logoCalls),
		shown: make(map[string]string), kept: make(map[string]*picture),
	}
	transport := cfg.Transport
	if transport == nil {
		dialer := &net.Dialer{Timeout: 3 * time.Second, Control: l.reach}
		transport = &http.Transport{
			DialContext: dialer.DialContext, MaxIdleConns: 16, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: 3 * time.Second, ResponseHeaderTimeout: logoTime, MaxResponseHeaderBytes: 16 << 10,
		}
	}
	l.client = &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if first := via[0].URL; len(via) > 3 || r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
			return errors.New("logo leads elsewhere")
		}
		return nil
	}}
	return l
}

// reach judges the address that a name led to, after it was looked up.
func (l *logos) reach(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	if l.live && (!ip.IsGlobalUnicast() || ip.IsPrivate() || shared.Contains(ip)) {
		return errors.New("logo is at a private address")
	}
	return nil
}

// shared is carrier-grade NAT (RFC 6598), private in all but Go's name for it.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// proxied is a method whose logo is at our own address. It remembers where it was.
func (l *logos) proxied(m checkout.Method, base string) checkout.Method {
	address := m.Logo
	if address == "" {
		address = m.Icon
	}
	m.Logo, m.Icon = "", ""
	if !l.fetchable(address) {
		return m
	}
	l.mu.Lock()
	if _, known := l.shown[m.Code]; known || len(l.shown) < logoMethods {
		l.shown[m.Code] = address
	}
	l.mu.Unlock()
	m.Logo = base + "/widget/v1/logos/" + url.PathEscape(m.Code)
	return m
}

// fetchable tells whether an address may be asked at all: https, or, without live keys,
// http on this machine (the sandbox).
func (l *logos) fetchable(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || len(address) > 2048 {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && !l.live && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

func (a *API) getLogo(w http.ResponseWriter, r *http.Request) {
	shareable(w.Header())
	p, err := a.logos.get(r.Context(), r.PathValue("code"))
	if err != nil && r.Header.Get("Sec-Fetch-Dest") == "image" {
		a.noLogo(w, r, err)
		return
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=86400, stale-while-revalidate=604800")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox") // an SVG opened by itself
	h.Set("Content-Type", p.kind)
	h.Set("ETag", p.tag)
	if matches(r.Header.Get("If-None-Match"), p.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(p.data)
}

// noLogo answers a page that wants a picture with the sign of the method's kind: without
// script nothing else takes the browser's sign of a broken picture away.
func (a *API) noLogo(w http.ResponseWriter, r *http.Request, err error) {
	category := ""
	if a.cfg.Logos != nil {
		if m, found := a.cfg.Logos.Method(r.Context(), r.PathValue("code")); found == nil {
			category = m.Category
		}
	}
	h := w.Header()
	h.Add("Vary", "Sec-Fetch-Dest")
	h.Set("Cache-Control", "public, max-age=60")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Content-Type", "image/svg+xml")
	w.WriteHeader(describe(err, false).Status)
	_, _ = w.Write(page.Sign(category))
}

// get gives the logo of a method. It returns ErrNotFound for a method without one and
// ErrUpstream when it could not be had.
func (l *logos) get(ctx context.Context, code string) (*picture, error) {
	l.mu.Lock()
	address := l.shown[code]
	l.mu.Unlock()
	if address == "" && l.find != nil {
		if m, err := l.find.Method(ctx, code); err == nil {
			l.proxied(m, "")
			l.mu.Lock()
			address = l.shown[code]
			l.mu.Unlock()
		}
	}
	if address == "" {
		return nil, &checkout.Error{Kind: checkout.ErrNotFound, Code: "no_logo", Detail: "this method has no logo here"}
	}
	l.mu.Lock()
	old := l.kept[address]
	l.mu.Unlock()
	if old != nil && l.now().Before(old.until) {
		return old, old.err
	}
	v, _, _ := l.flight.Do(address, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoTime)
		defer cancel()
		p, err := l.fetch(ctx, address)
		switch {
		case err == nil:
			p.until = l.now().Add(logoFresh)
		case old != nil && old.err == nil: // the last good one, and ask again soon
			p = &picture{kind: old.kind, tag: old.tag, data: old.data, until: l.now().Add(logoAgain)}
		default:
			p = &picture{err: &checkout.Error{Kind: checkout.ErrUpstream, Code: "logo_unavailable", Detail: "the logo could not be fetched", Retryable: true, Cause: err}, until: l.now().Add(logoAgain)}
		}
		l.keep(address, p)
		return p, nil
	})
	p := v.(*picture)
	return p, p.err
}

// keep stores a picture; when there is no room all others go.
func (l *logos) keep(address string, p *picture) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.kept[address]; old != nil {
		l.bytes -= len(old.data) + 512
	}
	if l.bytes+len(p.data)+512 > logoBytes {
		clear(l.kept)
		l.bytes = 0
	}
	l.kept[address] = p
	l.bytes += len(p.data) + 512
}

func (l *logos) fetch(ctx context.Context, address string) (*picture, error) {
	select {
	case l.calls <- struct{}{}:
		defer func() { <-l.calls }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch logo: %w", err)
	}
	r.Header.Set("Accept", "image/svg+xml,image/*")
	answer, err := l.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetch logo: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch logo: status %d", answer.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, logoSize+1))
	if err != nil {
		return nil, fmt.Errorf("fetch logo: %w", err)
	}
	if len(data) > logoSize {
		return nil, errors.New("fetch logo: too large")
	}
	kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil || !isImage(kind, data) {
		return nil, errors.New("fetch logo: no image")
	}
	return &picture{kind: kind, data: data, tag: `"` + tagOf(data) + `"`}, nil
}

// isImage tells whether kind is a picture that browsers draw and data does not look like
// another thing.
func isImage(kind string, data []byte) bool {
	sniffed := http.DetectContentType(data)
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return sniffed == kind
	case "image/avif":
		return len(data) > 12 && string(data[4:8]) == "ftyp"
	case "image/svg+xml":
		return sniffed != "text/html; charset=utf-8" && len(data) > 0 && (data[0] == '<' || data[0] == 0xef || data[0] == ' ' || data[0] == '\n')
	}
	return false
}
