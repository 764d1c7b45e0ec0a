package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Close codes of checkout.v1. A client comes back after 4000 to 4499 and stays away
// after 4500 to 4999.
const (
	CodeGoingAway    = 4000 // this replica stops, is cut off, or could not read the session; come back
	CodeSlow         = 4001 // the page did not take its frames; come back and resume
	CodeLimited      = 4002 // too many sockets of one session; come back later
	CodeBadHello     = 4500 // no hello in time, or not the protocol
	CodeUnauthorized = 4501 // forged or unknown token
	CodeExpired      = 4502 // the token's time is over
	CodeOrigin       = 4503 // a page that is not on the merchant's list
)

// Subprotocol is the name that client and server agree on in the handshake.
const Subprotocol = "checkout.v1"

// Source is where sessions come from.
type Source interface {
	// Watch calls f for every stored change of any session by any replica, in order
	// per session. f does not block; it calls read only when somebody listens. at is
	// when the change became known to this replica.
	Watch(f func(sessionID string, at time.Time, read func() (revision int64, session []byte, err error))) (stop func())
	// Current gives the session as the page may see it, as JSON. It is never older than
	// what Watch has handed over. It returns checkout.ErrNotFound.
	Current(ctx context.Context, sessionID string) (revision int64, session []byte, err error)
}

// Authenticator says whose token it is. Its error has the kind checkout.ErrUnauthorized,
// and the code "token_expired" when the token was once good.
type Authenticator interface {
	Authenticate(token string) (sessionID, scope string, expiresAt int64, err error)
}

// Observer counts. Its methods do not block.
type Observer interface {
	SocketOpened()
	SocketClosed(code int)        // ours, the peer's, or 1006 when the connection just ended
	Pushed(latency time.Duration) // from the change being known here to its frame being written
}

// Config says what a Hub works with. Source, Auth, Refuse and Log are required, the
// rest has a default.
type Config struct {
	Source Source
	Auth   Authenticator
	// Origins are the page origins that may connect, compared whole: the merchant's and
	// the BFF's own. A handshake without Origin is no browser's and is let in.
	Origins []string
	// Refuse answers a handshake that is not upgraded.
	Refuse   func(w http.ResponseWriter, r *http.Request, err error)
	Observer Observer
	Log      *slog.Logger
	// Address tells the address a limit counts by; the connection's own by default.
	Address func(r *http.Request) string

	HelloWait   time.Duration // 5 s: until the first frame must be there
	PingEvery   time.Duration // 25 s
	PongWait    time.Duration // 15 s after a ping that was not answered
	WriteWait   time.Duration // 10 s for one frame to leave
	LingerWait  time.Duration // 2 s for the peer to read our close code
	ReadWait    time.Duration // 5 s for Source.Current
	DrainSpread time.Duration // 3 s over which a planned stop spreads its farewell

	MaxSockets    int // 200,000 sockets and polls together
	MaxPerAddress int // 20,000; loopback and private addresses (a proxy) are not counted
	MaxPerSession int // 64
	Queue         int // 16 changes a socket may be behind
}

func (c *Config) validate() error {
	switch {
	case c.Source == nil:
		return errors.New("push: Source is missing")
	case c.Auth == nil:
		return errors.New("push: Auth is missing")
	case c.Refuse == nil:
		return errors.New("push: Refuse is missing")
	case c.Log == nil:
		return errors.New("push: Log is missing")
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"HelloWait", &c.HelloWait, 5 * time.Second},
		{"PingEvery", &c.PingEvery, 25 * time.Second},
		{"PongWait", &c.PongWait, 15 * time.Second},
		{"WriteWait", &c.WriteWait, 10 * time.Second},
		{"LingerWait", &c.LingerWait, 2 * time.Second},
		{"ReadWait", &c.ReadWait, 5 * time.Second},
		{"DrainSpread", &c.DrainSpread, 3 * time.Second},
	} {
		if *d.value < 0 {
			return fmt.Errorf("push: %s is negative", d.name)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	for _, n := range []struct {
		name  string
		value *int
		def   int
	}{
		{"MaxSockets", &c.MaxSockets, 200_000},
		{"MaxPerAddress", &c.MaxPerAddress, 20_000},
		{"MaxPerSession", &c.MaxPerSession, 64},
		{"Queue", &c.Queue, 16},
	} {
		if *n.value < 0 {
			return fmt.Errorf("push: %s is negative", n.name)
		}
		if *n.value == 0 {
			*n.value = n.def
		}
	}
	for _, o := range c.Origins {
		if o == "" || strings.Contains(o, "*") {
			return fmt.Errorf("push: Origins: %q is no origin", o)
		}
	}
	if c.Address == nil {
		c.Address = peer
	}
	if c.Observer == nil {
		c.Observer = silent{}
	}
	return nil
}

// peer is the address of the connection, "" for those a limit must not count: a
// loopback or private address is a reverse proxy, behind which everybody stands.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() {
		return ""
	}
	return a.String()
}

type silent struct{}

func (silent) SocketOpened()        {}
func (silent) SocketClosed(int)     {}
func (silent) Pushed(time.Duration) {}
