package broker_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/broker"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	user := func(p *server.Permissions) func(*server.Options) {
		return func(o *server.Options) {
			o.Users = []*server.User{{Username: "bff", Password: "s3cret-word", Permissions: p}}
		}
	}
	all := []string{"$JS.API.>", "$JS.ACK.>", "checkout.>", "callbacks.>"}
	web := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	web.Close()
	secure := func(verify bool) func(*server.Options) {
		return func(o *server.Options) {
			o.TLS, o.TLSVerify, o.TLSTimeout = true, verify, 20
			o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: web.TLS.Certificates}
			if verify {
				o.TLSConfig.ClientAuth, o.TLSConfig.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
			}
		}
	}
	authority := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	notFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		server func(*server.Options)
		config broker.Config
		url    string // in front of the address; "" = nats://
		field  string // "" = nothing is wrong
		detail string
	}{
		{name: "as documented"},
		{name: "with credentials", server: user(nil), url: "nats://bff:s3cret-word@"},
		{
			name:   "least permissions",
			server: user(&server.Permissions{Publish: &server.SubjectPermission{Allow: all}, Subscribe: &server.SubjectPermission{Allow: []string{"changed.>", "_INBOX.>"}}}),
			url:    "nats://bff:s3cret-word@",
		},
		{name: "no credentials", server: user(nil), field: "NATSCreds", detail: "does not take the credentials"},
		{name: "wrong credentials", server: user(nil), url: "nats://bff:wr0ng-word@", field: "NATSCreds", detail: "does not take the credentials"},
		{name: "no JetStream", server: func(o *server.Options) { o.JetStream = false }, field: "NATSURL", detail: "JetStream is not there"},
		{name: "small messages", server: func(o *server.Options) { o.MaxPayload = 64 << 10 }, field: "NATSURL", detail: "max_payload"},
		{name: "copies on a single server", config: broker.Config{Replicas: 3}, field: "Replicas", detail: "can not keep 3 copies"},
		{name: "no TLS", url: "tls://", field: "NATSURL", detail: "has no TLS"},
		{name: "TLS", server: secure(false), url: "tls://", config: broker.Config{NATSCA: authority}},
		{name: "a certificate of somebody else's", server: secure(false), url: "tls://", field: "NATSCA", detail: "is not trusted"},
		{name: "a client certificate is wanted", server: secure(true), url: "tls://", config: broker.Config{NATSCA: authority}, field: "NATSCert", detail: "wants a client certificate"},
		{name: "no creds file", config: broker.Config{NATSCreds: "/nowhere/creds"}, field: "NATSCreds", detail: "/nowhere/creds"},
		{name: "an authority that is none", config: broker.Config{NATSCA: notFile}, field: "NATSCA", detail: "no certificate in it"},
		{
			name:   "may not make streams",
			server: user(&server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"$JS.API.INFO", "$JS.API.STREAM.INFO.>", "checkout.>"}}}),
			url:    "nats://bff:s3cret-word@", field: "NATSCreds", detail: "$JS.API.STREAM.",
		},
		{
			name:   "may not write",
			server: user(&server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"$JS.API.>"}}}),
			url:    "nats://bff:s3cret-word@", field: "NATSCreds", detail: `"checkout.check"`,
		},
		{
			name:   "may not hear",
			server: user(&server.Permissions{Publish: &server.SubjectPermission{Allow: all}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}),
			url:    "nats://bff:s3cret-word@", field: "NATSCreds", detail: `"changed.checkout.check"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true}
			if c.server != nil {
				c.server(o)
			}
			s, err := server.NewServer(o)
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			defer stopServer(s)
			if !s.ReadyForConnections(30 * time.Second) {
				t.Fatal("the server does not start")
			}
			if c.url == "" {
				c.url = "nats://"
			}
			c.config.NATSURL = c.url + s.Addr().String()
			for range 2 { // it leaves nothing behind that would be in its own way
				wantUnfit(t, broker.Check(t.Context(), c.config), c.field, c.detail)
			}
			if z, err := s.Jsz(nil); err == nil && z.Streams != 0 {
				t.Errorf("%d streams are left, want none", z.Streams)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		wantUnfit(t, broker.Check(t.Context(), broker.Config{NATSURL: "nats://bff:s3cret-word@" + l.Addr().String()}), "NATSURL", "no server answers at "+l.Addr().String())
	})
}

// What runs is not disturbed, and what belongs to another is found.
func TestCheck_InUse(t *testing.T) {
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	defer stopServer(s)
	b := openExternal(t, s.ClientURL())
	v := must(t, b, put("session.x", "0", 0))
	wantUnfit(t, broker.Check(t.Context(), broker.Config{NATSURL: s.ClientURL()}), "", "")
	must(t, b, put("session.x", "1", v[0]))
	want(t, b, "session.x", "1")
	closeBroker(t, b)

	other := external(t, t.TempDir(), server.RANDOM_PORT)
	defer stopServer(other)
	nc, err := nats.Connect(other.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CHECKOUT", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	wantUnfit(t, broker.Check(t.Context(), broker.Config{NATSURL: other.ClientURL()}), "NATSURL", "is not ours")
}

func wantUnfit(t *testing.T, err error, field, detail string) {
	t.Helper()
	var u *broker.Unfit
	switch {
	case field == "" && err != nil:
		t.Errorf("Check = %v, want nil", err)
	case field == "":
	case !errors.As(err, &u) || u.Field != field || !strings.Contains(u.Detail, detail) || u.Mend == "":
		t.Errorf("Check = %v, want %s: … %s …, and how to mend it", err, field, detail)
	case strings.Contains(u.Detail+u.Mend, "-word"):
		t.Errorf("Check shows a password: %s", u.Detail)
	}
}
