package broker

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"time"
)

const (
	// routeName is what every replica's certificate is made out to: a replica proves that
	// it has the secret, not where it lives.
	routeName = "replica.wzrdcheckout"
	// routeUser and a password derived from the secret are shown on every route.
	routeUser = "replica"

	leastSecret = 16 // characters
)

// derive makes 32 bytes of the cluster's secret, others for each purpose.
func derive(secret, purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "wzrdcheckout cluster "+purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive %s from the cluster secret: %w", purpose, err)
	}
	return key, nil
}

// routePassword is what replicas show one another inside TLS.
func routePassword(secret string) (string, error) {
	key, err := derive(secret, "password")
	return base64.RawURLEncoding.EncodeToString(key), err
}

// routeTLS is mutual TLS between replicas that share nothing but a secret: the secret
// gives the key of an authority, which each replica recreates and lets sign a certificate
// for a key of its own. Nothing is written to disk and nothing expires, because there is
// nothing that could outlive the process. Who has not the secret can neither be believed
// nor read along.
func routeTLS(secret string) (*tls.Config, error) {
	seed, err := derive(secret, "authority")
	if err != nil {
		return nil, err
	}
	// The clock of a replica must not decide whether it may join.
	begin, end := time.Unix(0, 0).UTC(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	authority := ed25519.NewKeyFromSeed(seed)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "wzrdcheckout cluster"}, NotBefore: begin, NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(nil, root, root, authority.Public(), authority)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's authority: %w", err)
	}
	if root, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("make the cluster's authority: %w", err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make a key for the routes: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make a certificate for the routes: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: routeName}, DNSNames: []string{routeName}, NotBefore: begin, NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if der, err = x509.CreateCertificate(nil, leaf, root, public, authority); err != nil {
		return nil, fmt.Errorf("make a certificate for the routes: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		RootCAs:      pool,
		ClientCAs:    pool,
		ServerName:   routeName,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
	}, nil
}
