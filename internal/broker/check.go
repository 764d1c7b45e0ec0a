package broker

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/checkout"
)

// Unfit is why an external engine can not be worked with.
type Unfit struct {
	Field  string // of Config: NATSURL, NATSCreds, NATSCA, NATSCert, Replicas
	Detail string
	Mend   string // what the operator can do about it
}

// Error gives field and detail.
func (u *Unfit) Error() string { return u.Field + ": " + u.Detail }

// checkStream is what Check makes to see whether streams can be made, and removes. Its
// subject is next to the streams' own.
const (
	checkStream  = "CHECKOUT_CHECK"
	checkSubject = "checkout.check"
)

// allowed is what the user at the engine needs.
const allowed = "let the user publish to $JS.API.>, $JS.ACK.>, checkout.> and callbacks.>, and subscribe to changed.> and _INBOX.>"

// Check tries an external engine: that it is there, takes us, runs JetStream with room for
// the streams and their copies, and lets us write and hear. It gives an *Unfit that names
// the field. Streams that are there are left as they are; where there are none one is made
// and removed.
func Check(ctx context.Context, cfg Config) error {
	cfg.defaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	if cfg.mode() != external {
		return errors.New("check engine: NATSURL is missing")
	}
	b := &Broker{cfg: cfg, mode: external, log: slog.New(slog.DiscardHandler)}
	options, err := externalOptions(&b.cfg)
	if err != nil {
		field := "NATSCA"
		if strings.Contains(err.Error(), "NATSCreds") {
			field = "NATSCreds"
		} else if strings.Contains(err.Error(), "read certificate") {
			field = "NATSCert"
		}
		return &Unfit{field, err.Error(), "give a file that is there and holds what it should"}
	}
	var denied denials
	options = append(options, nats.Name("bff check"), nats.Timeout(callTimeout), nats.NoReconnect(), nats.ErrorHandler(denied.note))
	if b.nc, err = nats.Connect(cfg.NATSURL, options...); err != nil {
		return b.unreachable(err)
	}
	defer b.nc.Close()
	if err := b.fits(); err != nil {
		return &Unfit{"NATSURL", err.Error(), "run a newer one, or set max_payload: 8MB in its configuration"}
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(callTimeout)); err != nil {
		return fmt.Errorf("check engine: %w", err)
	}
	unfit := func(field, what string, err error, mend string) error {
		detail := what
		if err != nil {
			detail += ": " + err.Error()
		}
		if said := denied.said(); said != "" {
			field, detail, mend = "NATSCreds", what+": "+said, allowed
		}
		return &Unfit{field, detail, mend}
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	account, err := b.js.AccountInfo(call)
	cancel()
	if err != nil {
		return unfit("NATSURL", "JetStream is not there", err, "set jetstream { … } on the server, and let the account use it")
	}
	if cfg.Replicas > 1 && b.nc.ConnectedClusterName() == "" {
		return unfit("Replicas", fmt.Sprintf("a single server can not keep %d copies", cfg.Replicas), nil, "set it to 1, or point the URL at a cluster of so many servers")
	}
	wanted := b.wanted()
	missing := 0
	for _, want := range wanted {
		info, err := b.streamInfo(ctx, want.Name)
		switch {
		case errors.Is(err, checkout.ErrNotFound):
			missing++
		case err != nil:
			return unfit("NATSURL", "stream "+want.Name+" does not tell of itself", err, "look at the servers: a majority of them must run")
		case !quorate(info):
			return unfit("NATSURL", "stream "+want.Name+" has no leader with a majority", nil, "look at the servers: a majority of them must run")
		case !slices.Equal(info.Config.Subjects, want.Subjects):
			return unfit("NATSURL", "stream "+want.Name+" is there and is not ours", nil, "use an account of its own for bff")
		}
	}
	if room := account.Limits.MaxStreams; missing > 0 && room >= 0 && room < account.Streams+missing {
		return unfit("NATSURL", fmt.Sprintf("the account may have %d streams, has %d, and %d more are needed", room, account.Streams, missing), nil, "raise its limit")
	}
	if missing == len(wanted) {
		err := b.tryStream(ctx, wanted[0])
		if refused := new(jetstream.APIError); errors.As(err, &refused) && (strings.Contains(refused.Description, "replicas") || strings.Contains(refused.Description, "suitable peers")) {
			return unfit("Replicas", fmt.Sprintf("%d copies can not be kept", wanted[0].Replicas), err, "set it to 1, or run a cluster of as many servers")
		}
		if err != nil {
			return unfit("NATSURL", "a stream can not be made and used", err, "look at the account's limits and at the servers' logs")
		}
	} else if err := b.tryWrite(ctx, statePrefix+"probe.check"); err != nil {
		return unfit("NATSURL", "the state can not be written and heard", err, "look at the servers: a majority of them must run")
	}
	return nil
}

// denials are what the engine says it did not let us do; a request itself only times out.
type denials struct {
	mu   sync.Mutex
	text string
}

func (d *denials) note(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		d.mu.Lock()
		d.text = err.Error()
		d.mu.Unlock()
	}
}

func (d *denials) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text
}

// unreachable says why there is no connection.
func (b *Broker) unreachable(err error) error {
	var hosts []string
	for one := range strings.SplitSeq(b.cfg.NATSURL, ",") {
		if u, wrong := url.Parse(strings.TrimSpace(one)); wrong == nil && u.Host != "" {
			hosts = append(hosts, u.Host) // without the password that may stand in it
		}
	}
	at := strings.Join(hosts, ", ")
	text := err.Error()
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.Is(err, nats.ErrAuthorization), strings.Contains(strings.ToLower(text), "authorization"), strings.Contains(strings.ToLower(text), "authentication"):
		return &Unfit{"NATSCreds", "the server at " + at + " does not take the credentials", "give the .creds file of a user of the account, or user and password in the URL"}
	case errors.As(err, &authority), errors.As(err, &name), strings.Contains(text, "x509:"):
		return &Unfit{"NATSCA", "the server's certificate is not trusted: " + text, "give the authority that signed it, and the host name that it holds"}
	case strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"):
		return &Unfit{"NATSCert", "the server wants a client certificate that it trusts: " + text, "set certificate and key"}
	case errors.Is(err, nats.ErrSecureConnWanted):
		return &Unfit{"NATSURL", "the server at " + at + " has no TLS", "write nats:// instead of tls:// and leave the certificates out, or give the server TLS"}
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), errors.Is(err, io.EOF):
		return &Unfit{"NATSURL", "no server answers at " + at, "compare host and port, and let this machine reach it"}
	}
	return &Unfit{"NATSURL", "can not connect to " + at + ": " + text, "compare host and port with the server's configuration"}
}

// tryStream makes a stream like want, uses it and removes it.
func (b *Broker) tryStream(ctx context.Context, want jetstream.StreamConfig) (err error) {
	want.Name, want.Subjects = checkStream, []string{checkSubject}
	call, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	if _, err := b.js.CreateOrUpdateStream(call, want); err != nil {
		return fmt.Errorf("make stream: %w", err)
	}
	defer func() {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if gone := b.js.DeleteStream(call, checkStream); gone != nil && err == nil {
			err = fmt.Errorf("remove stream %s: %w", checkStream, gone)
		}
	}()
	return b.tryWrite(call, checkSubject)
}

// tryWrite stores something for a minute and hears that it was stored.
func (b *Broker) tryWrite(ctx context.Context, subject string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	heard, err := b.nc.SubscribeSync(changedPrefix + subject)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", changedPrefix, err)
	}
	defer func() { _ = heard.Unsubscribe() }()
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("listen to %s: %w", changedPrefix, err)
	}
	m := &nats.Msg{Subject: subject, Data: []byte("1"), Header: nats.Header{jetstream.MsgTTLHeader: {fmt.Sprint(time.Minute)}}}
	if _, err := b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := heard.NextMsgWithContext(ctx); err != nil {
		return fmt.Errorf("what is stored is not announced at %s>: %w", changedPrefix, err)
	}
	return nil
}
