package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"
)

// Config says where the engine runs and how much it may keep. The zero value of
// everything but Dir works: a single engine in this process.
type Config struct {
	// Dir is the data folder of an embedded engine, local disk, one process only.
	Dir string

	// NATSURL, a comma list, makes the engine external; Dir is not used then. Creds is
	// a .creds file, CA, Cert and Key are PEM files; all optional.
	NATSURL                              string
	NATSCreds, NATSCA, NATSCert, NATSKey string
	// Replicas of each stream; 0 = 3 in a cluster, 1 otherwise. Only external engines
	// may set it. An existing stream is never shrunk.
	Replicas int

	// ClusterPeers (host:port of the replicas' ClusterListen, the own one may be among
	// them) makes this process a member of a cluster of replicas.
	ClusterName   string
	ClusterListen string
	ClusterPeers  []string
	// ClusterAdvertise is the host:port at which the others reach this replica, where
	// that is not the address they see it come from. Seldom needed: they have ClusterPeers.
	ClusterAdvertise string
	// ClusterSecret is what all replicas share and nobody else has, 16 characters or more.
	// What they show one another comes from it, and the certificates of the routes.
	ClusterSecret string
	// ClusterCA, ClusterCert and ClusterKey, PEM files, replace those certificates. Both
	// ends of a route show one; it must hold the host that ClusterPeers names.
	ClusterCA, ClusterCert, ClusterKey string
	// ServerName must differ between replicas and stay the same over restarts; empty =
	// one is made and kept in Dir.
	ServerName string

	// RetentionDays is how long a value that nobody writes again is kept (400).
	RetentionDays int
	// CallbackDays and CallbackMaxBytes bound each callback stream (14 days, 8 GiB).
	CallbackDays     int
	CallbackMaxBytes int64
	// CacheBytes bounds the cache of sessions (64 MiB).
	CacheBytes int64
	// CommitTimeout is how long a commit may take when its context has no deadline (10 s).
	CommitTimeout time.Duration
	// MinFreeBytes is the free disk space below which nothing more is accepted (128 MiB).
	MinFreeBytes int64

	Logger *slog.Logger
}

type mode uint8

const (
	single mode = iota
	cluster
	external
)

func (c *Config) mode() mode {
	switch {
	case c.NATSURL != "":
		return external
	case len(c.ClusterPeers) > 0 || c.ClusterListen != "":
		return cluster
	}
	return single
}

func (c *Config) validate() error {
	bad := func(field, why string) error { return fmt.Errorf("broker config: %s: %s", field, why) }
	m := c.mode()
	if m != external && c.Dir == "" {
		return bad("Dir", "must name the data folder")
	}
	if m != external && c.Replicas != 0 {
		return bad("Replicas", "is for an external engine only")
	}
	if c.Replicas != 0 && c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		return bad("Replicas", "must be 1, 3 or 5")
	}
	if m == external {
		if len(c.ClusterPeers) > 0 || c.ClusterListen != "" {
			return bad("NATSURL", "contradicts ClusterListen and ClusterPeers: the engine is either external or in the replicas")
		}
		if (c.NATSCert == "") != (c.NATSKey == "") {
			return bad("NATSCert", "needs NATSKey, and the other way round")
		}
	} else if c.NATSCreds != "" || c.NATSCA != "" || c.NATSCert != "" || c.NATSKey != "" {
		return bad("NATSURL", "is missing, but its credentials or certificates are set")
	}
	if m == cluster {
		if c.ClusterListen == "" {
			return bad("ClusterListen", "is missing: the replicas connect to it")
		}
		if _, _, err := net.SplitHostPort(c.ClusterListen); err != nil {
			return bad("ClusterListen", "must be host:port")
		}
		if len(c.ClusterPeers) < 2 {
			return bad("ClusterPeers", "must name all three replicas, or the two others")
		}
		for _, p := range c.ClusterPeers {
			if _, _, err := net.SplitHostPort(p); err != nil {
				return bad("ClusterPeers", "must be a list of host:port")
			}
		}
		if c.ClusterAdvertise != "" {
			if _, _, err := net.SplitHostPort(c.ClusterAdvertise); err != nil {
				return bad("ClusterAdvertise", "must be host:port")
			}
		}
		if len(c.ClusterSecret) < leastSecret {
			return bad("ClusterSecret", "must have 16 characters or more: whoever guesses it joins the cluster")
		}
		files := 0
		for _, f := range []string{c.ClusterCA, c.ClusterCert, c.ClusterKey} {
			if f != "" {
				files++
			}
		}
		if files != 0 && files != 3 {
			return bad("ClusterCert", "ClusterKey and ClusterCA belong together")
		}
	}
	if strings.Map(nameRune, c.ServerName) != c.ServerName {
		return bad("ServerName", "may have letters, digits, - and _ only")
	}
	for name, v := range map[string]int64{
		"RetentionDays": int64(c.RetentionDays), "CallbackDays": int64(c.CallbackDays), "CallbackMaxBytes": c.CallbackMaxBytes,
		"CacheBytes": c.CacheBytes, "CommitTimeout": int64(c.CommitTimeout), "MinFreeBytes": c.MinFreeBytes,
	} {
		if v < 0 {
			return bad(name, "must not be negative")
		}
	}
	return nil
}

func (c *Config) defaults() {
	def := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	if c.RetentionDays == 0 {
		c.RetentionDays = 400
	}
	if c.CallbackDays == 0 {
		c.CallbackDays = 14
	}
	if c.CommitTimeout == 0 {
		c.CommitTimeout = 10 * time.Second
	}
	def(&c.CallbackMaxBytes, 8<<30)
	def(&c.CacheBytes, 64<<20)
	def(&c.MinFreeBytes, 128<<20)
	if c.ClusterName == "" {
		c.ClusterName = "checkout"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func loadTLS(ca, cert, key string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("read CA: no certificate in it")
		}
		conf.RootCAs, conf.ClientCAs = pool, pool
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
