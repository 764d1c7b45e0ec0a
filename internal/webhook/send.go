package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// maxAnswer bounds what is read of an answer; it is dropped.
const maxAnswer = 64 << 10

// sender posts signed messages to the one configured URL, and nowhere else: no
// redirects, no proxy from the environment.
type sender struct {
	url     string
	agent   string
	signers []*standardwebhooks.Webhook
	client  *http.Client
}

func newSender(c Config) (*sender, error) {
	version := c.Version
	if version == "" {
		version = "dev"
	}
	out := &sender{url: c.URL, agent: "wzrdcheckout/" + version}
	for i, secret := range c.Secrets {
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return nil, fmt.Errorf("BFF_WEBHOOK_SECRETS: secret %d can not be used", i+1)
		}
		out.signers = append(out.signers, signer)
	}
	transport := c.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  nil,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    5 * time.Second,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    concurrency,
			MaxConnsPerHost:        2 * concurrency,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: maxAnswer,
		}
	}
	out.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return out, nil
}

// message is the body of a webhook.
type message struct {
	Type      string          `json:"type"`
	Timestamp string          `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// post sends the event once. The result is one of Observer's words.
func (s *sender) post(ctx context.Context, e stored) (a Attempt, result string) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	began := time.Now()
	a.At = began.Unix()
	status, err := s.request(ctx, e, began)
	a.Status, a.MS = status, time.Since(began).Milliseconds()
	if err != nil {
		a.Error = reason(err)
		if timeout(err) {
			return a, "timeout"
		}
		return a, "error"
	}
	switch {
	case status >= 200 && status <= 299:
		return a, "delivered"
	case status == http.StatusGone:
		return a, "gone"
	case status >= 300 && status <= 399:
		return a, "redirect"
	case status >= 400 && status <= 499:
		return a, "http_4xx"
	case status >= 500 && status <= 599:
		return a, "http_5xx"
	}
	return a, "http_other"
}

func (s *sender) request(ctx context.Context, e stored, now time.Time) (int, error) {
	body, err := json.Marshal(message{e.Type, e.Timestamp, e.Data})
	if err != nil {
		return 0, fmt.Errorf("write message: %w", err)
	}
	signatures := make([]string, len(s.signers))
	for i, signer := range s.signers {
		if signatures[i], err = signer.Sign(e.ID, now, body); err != nil {
			return 0, errors.New("message not signed")
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("request not made")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", s.agent)
	r.Header.Set(standardwebhooks.HeaderWebhookID, e.ID)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	answer, err := s.client.Do(r)
	if err != nil {
		return 0, fmt.Errorf("send message: %w", err)
	}
	defer answer.Body.Close()
	// The status is the answer; the body is read only to keep the connection.
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	return answer.StatusCode, nil
}

func timeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// reason tells in a few words why no status came: no URL, no secret, at most 200 bytes.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in " + attemptTimeout.String()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), 200)], "")
}
