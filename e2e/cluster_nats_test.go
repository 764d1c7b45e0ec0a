package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// natsServer is an operator's own NATS: TLS, accounts with credentials, JetStream synced.
type natsServer struct {
	options   *server.Options
	srv       *server.Server
	ca, creds string // files for its clients
}

func (n *natsServer) url() string { return "tls://" + n.srv.Addr().String() }

func (n *natsServer) start(t *testing.T) {
	t.Helper()
	srv, err := server.NewServer(n.options.Clone()) // the server writes into them
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	n.srv = srv
	n.options.Port = srv.Addr().(*net.TCPAddr).Port // the same after a restart
}

func (n *natsServer) stop() {
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
}

// newNATS makes the certificates, an operator, an account with JetStream and a user.
func newNATS(t *testing.T, maxPayload int32) *natsServer {
	t.Helper()
	dir := t.TempDir()
	fatal := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nats"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	fatal(err)
	n := &natsServer{ca: filepath.Join(dir, "ca.pem"), creds: filepath.Join(dir, "bff.creds")}
	fatal(os.WriteFile(n.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))

	operator, err := nkeys.CreateOperator()
	fatal(err)
	account, err := nkeys.CreateAccount()
	fatal(err)
	user, err := nkeys.CreateUser()
	fatal(err)
	public := func(k nkeys.KeyPair) string {
		p, err := k.PublicKey()
		fatal(err)
		return p
	}
	oc := jwt.NewOperatorClaims(public(operator))
	operatorJWT, err := oc.Encode(operator)
	fatal(err)
	trusted, err := jwt.DecodeOperatorClaims(operatorJWT)
	fatal(err)
	ac := jwt.NewAccountClaims(public(account))
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	accountJWT, err := ac.Encode(operator)
	fatal(err)
	system, err := nkeys.CreateAccount()
	fatal(err)
	systemJWT, err := jwt.NewAccountClaims(public(system)).Encode(operator)
	fatal(err)
	userJWT, err := jwt.NewUserClaims(public(user)).Encode(account)
	fatal(err)
	seed, err := user.Seed()
	fatal(err)
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	fatal(err)
	fatal(os.WriteFile(n.creds, creds, 0o600))
	resolver := &server.MemAccResolver{}
	fatal(resolver.Store(public(account), accountJWT))
	fatal(resolver.Store(public(system), systemJWT))

	n.options = &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, MaxPayload: maxPayload,
		JetStream: true, StoreDir: filepath.Join(dir, "js"), SyncAlways: true,
		TLSConfig:        &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		TLSTimeout:       5,
		TrustedOperators: []*jwt.OperatorClaims{trusted}, AccountResolver: resolver, SystemAccount: public(system),
	}
	return n
}

// Two replicas without a folder of their own on the NATS of an operator, which is
// restarted under them.
func TestExternalNATS(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	n := newNATS(t, 8<<20)
	n.start(t)
	t.Cleanup(func() { n.stop() })
	settings := []string{"BFF_NATS_URL=" + n.url(), "BFF_NATS_CREDS=" + n.creds, "BFF_NATS_CA=" + n.ca, "BFF_NATS_REPLICAS=1"}
	for _, name := range []string{"a", "b"} {
		f.add(name, settings...).start()
	}
	f.awaitReady(f.replicas...)
	for _, r := range f.replicas {
		if said := r.log.whole(t); !strings.Contains(said, "sync_interval") {
			t.Errorf("%s does not say what it can not know of the server", r.name)
		}
		if _, err := os.Stat(r.dir); !os.IsNotExist(err) {
			t.Errorf("%s has made a folder: %v", r.name, err)
		}
	}
	l := f.startLoad(3, "nats-")
	l.await(time.Now())
	at := time.Now()
	f.replicas[0].kill()
	l.await(at)
	t.Logf("one of two replicas killed: no callback was taken for %s", said(l.refused(at)))
	f.replicas[0].start()
	f.awaitReady(f.replicas...)
	at = time.Now()
	n.stop()
	for end := time.Now().Add(time.Minute); slices.ContainsFunc(f.replicas, func(r *replica) bool { return r.ready.Load() }); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("replicas without a store say that they are ready")
		}
	}
	n.start(t)
	f.awaitReady(f.replicas...)
	l.await(at)
	t.Logf("the NATS server restarted: no callback was taken for %s", said(l.refused(at)))
	l.end()
}

// A server that can not do the work is refused at the start, with the reason.
func TestExternalNATS_Refused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	n := newNATS(t, 512<<10)
	n.start(t)
	t.Cleanup(func() { n.stop() })
	tests := []struct {
		name, want string
		settings   []string
	}{
		{"small", "max_payload", []string{"BFF_NATS_URL=" + n.url(), "BFF_NATS_CREDS=" + n.creds, "BFF_NATS_CA=" + n.ca, "BFF_NATS_REPLICAS=1"}},
		{"nofile", "NATSCreds", []string{"BFF_NATS_URL=" + n.url(), "BFF_NATS_CREDS=" + n.creds + ".none", "BFF_NATS_CA=" + n.ca}},
	}
	for _, tt := range tests {
		r := f.add(tt.name, tt.settings...)
		r.start()
		for end := time.Now().Add(time.Minute); r.running(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the replica goes on", tt.name)
			}
		}
		if said := r.log.tail(); !strings.Contains(said, tt.want) {
			t.Errorf("%s: the replica says %q, want it to name %s", tt.name, said, tt.want)
		}
	}
}
