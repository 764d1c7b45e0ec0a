package broker_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/broker"
)

const clusterSecret = "a secret of the whole cluster"

// openMember opens a member of a cluster in this process; it does not wait for the others.
func openMember(t *testing.T, name, listen, secret string, peers []string, files ...string) *broker.Broker {
	t.Helper()
	c := broker.Config{Dir: t.TempDir(), ServerName: name, ClusterListen: listen, ClusterPeers: peers, ClusterSecret: secret, MinFreeBytes: 1}
	if len(files) == 3 {
		c.ClusterCA, c.ClusterCert, c.ClusterKey = files[0], files[1], files[2]
	}
	b, err := broker.Open(t.Context(), c)
	if err != nil {
		t.Fatalf("Open(%s) = %v", name, err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

// Two replicas that share nothing but the secret find one another; a third with another
// secret joins neither, and whoever has no certificate or no password is sent away.
func TestRoutes_Secret(t *testing.T) {
	t.Parallel()
	peers := freePorts(t, 3)
	a := openMember(t, "a", peers[0], clusterSecret, peers)
	b := openMember(t, "b", peers[1], clusterSecret, peers)
	stranger := openMember(t, "stranger", peers[2], "another secret altogether", peers)
	eventually(t, "the two to join", func() bool { return a.Routes() == 1 && b.Routes() == 1 })

	conf := func(secret string) *tls.Config {
		c, err := broker.RouteTLS(secret)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	password := func(secret string) string {
		p, err := broker.RoutePassword(secret)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	noCertificate := conf(clusterSecret)
	noCertificate.Certificates = nil
	believesAll := conf("another secret altogether")
	believesAll.InsecureSkipVerify = true
	tests := []struct {
		name     string
		tls      *tls.Config
		password string
		in       bool
	}{
		{"member", conf(clusterSecret), password(clusterSecret), true},
		{"plaintext", nil, password(clusterSecret), false},
		{"no certificate", noCertificate, password(clusterSecret), false},
		{"certificate of another secret", conf("another secret altogether"), password(clusterSecret), false},
		{"certificate of another secret, believes all", believesAll, password(clusterSecret), false},
		{"wrong password", conf(clusterSecret), password("another secret altogether"), false},
		{"no password", conf(clusterSecret), "", false},
	}
	t.Run("knock", func(t *testing.T) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				said, in := knock(t, peers[0], tt.tls, tt.password)
				if in != tt.in {
					t.Errorf("route to a replica: let in = %v, want %v; it said %q", in, tt.in, said)
				}
			})
		}
	})
	// The stranger has tried all the while.
	if a.Routes() != 1 || b.Routes() != 1 || stranger.Routes() != 0 {
		t.Errorf("routes = %d, %d, stranger %d, want 1, 1, 0", a.Routes(), b.Routes(), stranger.Routes())
	}
}

// knock speaks to a replica's port as another replica would. in: it answered a ping.
func knock(t *testing.T, address string, conf *tls.Config, password string) (said string, in bool) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if conf != nil {
		secure := tls.Client(conn, conf)
		if err := secure.Handshake(); err != nil {
			return err.Error(), false
		}
		conn = secure
	}
	_, _ = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"pedantic\":false,\"user\":\"replica\",\"pass\":%q,\"tls_required\":%v,\"name\":\"knock\",\"cluster\":\"wzrdcheckout\"}\r\nPING\r\n", password, conf != nil)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		said += lines.Text() + "\n"
		if lines.Text() == "PONG" {
			return said, true
		}
	}
	return said, false
}

// The operator's own certificates do it too, and only with the host that they name.
func TestRoutes_Files(t *testing.T) {
	t.Parallel()
	peers := freePorts(t, 3)
	ca, cert, key := certificates(t, net.IPv4(127, 0, 0, 1))
	a := openMember(t, "a", peers[0], clusterSecret, peers, ca, cert, key)
	b := openMember(t, "b", peers[1], clusterSecret, peers, ca, cert, key)
	eventually(t, "the two to join", func() bool { return a.Routes() == 1 && b.Routes() == 1 })
	other, cert, key := certificates(t, net.IPv4(127, 0, 0, 1))
	c := openMember(t, "c", peers[2], clusterSecret, peers, other, cert, key)
	said, in := knock(t, peers[2], nil, "")
	if in || c.Routes() != 0 || a.Routes() != 1 {
		t.Errorf("routes = %d, with another authority %d, want 1, 0; plaintext let in = %v %q", a.Routes(), c.Routes(), in, said)
	}
}

// A port that somebody else has is said, and soon.
func TestOpen_ClusterPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := broker.Config{Dir: t.TempDir(), ClusterListen: l.Addr().String(), ClusterPeers: freePorts(t, 2), ClusterSecret: clusterSecret, MinFreeBytes: 1}
	b, err := broker.Open(t.Context(), c)
	if err == nil {
		closeBroker(t, b)
	}
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Open with a port in use = %v, want that it is in use", err)
	}
}

// certificates makes a CA and one certificate for an address.
func certificates(t *testing.T, ip net.IP) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fatal := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(err)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	fatal(err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "bff"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{ip}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, caKey)
	fatal(err)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	fatal(err)
	return write("ca.pem", "CERTIFICATE", rootDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "EC PRIVATE KEY", keyDER)
}
