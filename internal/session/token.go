package session

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"wzrdcheckout/internal/checkout"
)

const (
	issuer   = "wzrdcheckout"
	audience = "checkout"
	// minKey is the size of HS256's own output (RFC 7518 section 3.2).
	minKey = 32
	// payGrace: the page of a session that just ended still reads what became of it.
	payGrace = 3600
	// statusLife: the shopper may come back to the result page for a month.
	statusLife = 30 * 24 * 3600
	// maxToken: ours are about 300 bytes.
	maxToken = 1024
)

// Scope is what a token allows: ScopePay everything, ScopeStatus reading.
type Scope string

// The scopes.
const (
	ScopePay    Scope = "pay"
	ScopeStatus Scope = "status"
)

// Claims is what a verified token says.
type Claims struct {
	SessionID string
	Scope     Scope
	ExpiresAt int64 // Unix seconds
}

// Key signs or verifies tokens. ID is the JWT's kid.
type Key struct {
	ID     string
	Secret Secret
}

// Secret is key material; it prints as [redacted].
type Secret []byte

// String hides the secret.
func (Secret) String() string { return "[redacted]" }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return "[redacted]" }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// ParseKeys reads the comma list kid:base64 of BFF_SESSION_KEYS. Keys have at least 32
// bytes; standard and URL base64, padded or not, are read. Errors name the kid, never the key.
func ParseKeys(list string) ([]Key, error) {
	var keys []Key
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		kid, text, ok := strings.Cut(part, ":")
		if !ok {
			return nil, fmt.Errorf("key %d is not kid:base64", len(keys)+1)
		}
		text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		secret, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("key %q is not base64", kid)
		}
		keys = append(keys, Key{ID: kid, Secret: secret})
	}
	return keys, checkKeys(keys)
}

func checkKeys(keys []Key) error {
	if len(keys) == 0 {
		return errors.New("no key")
	}
	seen := map[string]bool{}
	for _, k := range keys {
		switch {
		case k.ID == "" || len(k.ID) > 64:
			return errors.New("a key has no kid, or one longer than 64")
		case seen[k.ID]:
			return fmt.Errorf("kid %q is there twice", k.ID)
		case len(k.Secret) < minKey:
			return fmt.Errorf("key %q has %d bytes, needs %d", k.ID, len(k.Secret), minKey)
		}
		seen[k.ID] = true
	}
	return nil
}

// tokens issues and verifies. What was verified once is remembered: the HMAC is cheap,
// the JSON is not, and a page sends the same token with every request.
type tokens struct {
	first  Key
	byID   map[string]Secret
	parser *jwt.Parser

	mu    *sync.RWMutex
	known map[string]Claims
}

// maxKnown bounds the memory of verified tokens: 300 B each, about 3 MB.
const maxKnown = 8192

func newTokens(keys []Key) tokens {
	byID := make(map[string]Secret, len(keys))
	for _, k := range keys {
		byID[k.ID] = k.Secret
	}
	return tokens{
		first: keys[0], byID: byID, mu: &sync.RWMutex{}, known: map[string]Claims{},
		// Times are checked by us, with our clock, after the signature.
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding()),
	}
}

type wireClaims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Scope    Scope  `json:"scope"`
}

// The claims are checked by valid, not by the library; it only wants the interface.
func (c *wireClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(c.Expires, 0)), nil
}

func (c *wireClaims) GetIssuedAt() (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(c.IssuedAt, 0)), nil
}
func (c *wireClaims) GetNotBefore() (*jwt.NumericDate, error) { return nil, nil }
func (c *wireClaims) GetIssuer() (string, error)              { return c.Issuer, nil }
func (c *wireClaims) GetSubject() (string, error)             { return c.Subject, nil }
func (c *wireClaims) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings{c.Audience}, nil
}

// valid does not hold iat against the clock: what our key signed is ours, and one that was
// signed before the clock was put back must not lock the shopper out until it catches up.
func (c *wireClaims) valid() bool {
	return c.Issuer == issuer && c.Audience == audience && validID(c.Subject) &&
		(c.Scope == ScopePay || c.Scope == ScopeStatus) && c.Expires > c.IssuedAt
}

func (t *tokens) issue(c wireClaims) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, &c)
	token.Header["kid"] = t.first.ID
	text, err := token.SignedString([]byte(t.first.Secret))
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return text, nil
}

// verify says nothing about why a token is refused, but for a good one that ran out.
func (t *tokens) verify(text string, now int64) (Claims, error) {
	t.mu.RLock()
	c, ok := t.known[text]
	t.mu.RUnlock()
	if !ok {
		var wire wireClaims
		if len(text) > maxToken {
			return Claims{}, errToken
		}
		if _, err := t.parser.ParseWithClaims(text, &wire, t.key); err != nil || !wire.valid() {
			return Claims{}, errToken
		}
		c = Claims{SessionID: wire.Subject, Scope: wire.Scope, ExpiresAt: wire.Expires}
		t.mu.Lock()
		if len(t.known) >= maxKnown {
			for old := range t.known { // any will do: it is verified again when it comes
				delete(t.known, old)
				break
			}
		}
		t.known[text] = c
		t.mu.Unlock()
	}
	if now >= c.ExpiresAt {
		return Claims{}, errTokenExpired
	}
	return c, nil
}

var (
	errToken        = &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_invalid", Detail: "the session token is not valid"}
	errTokenExpired = &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_expired", Detail: "the session token has expired"}
)

func (t *tokens) key(token *jwt.Token) (any, error) {
	kid, _ := token.Header["kid"].(string)
	secret, ok := t.byID[kid]
	if !ok {
		return nil, errToken
	}
	return []byte(secret), nil
}

// Issue signs a token for a session. ErrInvalid for an unknown scope or a bad id.
func (s *Service) Issue(sessionID string, scope Scope, expiresAt int64) (string, error) {
	now := s.now()
	c := wireClaims{Issuer: issuer, Audience: audience, Subject: sessionID, IssuedAt: now, Expires: expiresAt, Scope: scope}
	if !c.valid() {
		return "", &checkout.Error{Kind: checkout.ErrInvalid, Code: "token", Detail: "scope, session or expiry is not valid"}
	}
	return s.tokens.issue(c)
}

// PayToken signs a token that may pay. It lives an hour longer than the session, so
// that an open page can read the outcome; paying itself ends with the session.
func (s *Service) PayToken(v checkout.Session) (string, error) {
	return s.Issue(v.ID, ScopePay, max(v.ExpiresAt, s.now())+payGrace)
}

// StatusToken signs a token that reads the session for 30 days.
func (s *Service) StatusToken(sessionID string) (string, error) {
	return s.Issue(sessionID, ScopeStatus, s.now()+statusLife)
}

// Authenticate verifies a token: signature, issuer, audience, expiry. Every refusal is
// ErrUnauthorized with the code token_invalid or, for a good one that ran out, token_expired.
func (s *Service) Authenticate(token string) (Claims, error) {
	return s.tokens.verify(token, s.now())
}
