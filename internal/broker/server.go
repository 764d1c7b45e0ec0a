package broker

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"wzrdcheckout/internal/checkout"
)

const (
	// maxPayload leaves room for a whole pack and for a large session; the engine's own
	// default of 1 MiB would cap a pack at some 240 callbacks.
	maxPayload = 8 << 20
	// maxValue is what one value or pack may have, so that an external engine with its
	// default limit of 1 MiB takes it too.
	maxValue = 1000 << 10
	// storeLimit is no limit: MinFreeBytes and the streams' own limits are what counts,
	// and the engine would refuse to start on a disk smaller than the streams' limits.
	storeLimit = 1 << 50

	startWait = 30 * time.Second

	// routePing is how often a silent route is asked whether it still is one; after three
	// times it is given up.
	routePing = 4 * time.Second
)

var errInUse = errors.New("another process uses it")

// lock takes the data folder for this process.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock data folder %s: %w", dir, err)
	}
	return f, nil
}

// serverName reads the name kept in dir, or makes one that begins with prefix.
func serverName(dir, prefix string) (string, error) {
	path := filepath.Join(dir, "server-name")
	text, err := os.ReadFile(path)
	if kept := strings.TrimSpace(string(text)); err == nil && kept != "" {
		if strings.Map(nameRune, kept) != kept {
			return "", fmt.Errorf("read server name %q from %s: only letters, digits, - and _ are allowed", kept, path)
		}
		return kept, nil
	}
	// The prefix is for people; whatever else it holds must not get into keys.
	name := strings.TrimPrefix(strings.Map(nameRune, prefix)+"-bff-"+token(8), "-")
	if err := keepFile(path, name+"\n"); err != nil {
		return "", fmt.Errorf("write server name: %w", err)
	}
	return name, nil
}

// keepFile writes a small file so that a power cut leaves it, or nothing under its name: a
// replica that forgot its name would be a stranger to its own copies and claims.
func keepFile(path, text string) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	// The name is in the folder's own blocks. Where folders can not be synced (Windows)
	// the system sees to it.
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

// nameRune keeps what a word of a key may have.
func nameRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		return r
	}
	return '-'
}

func token(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// engine is a server inside this process.
type engine struct {
	srv            *server.Server
	user, password string
	broken         atomic.Pointer[error]  // a write failed; the file it was for is given up
	stopped        atomic.Pointer[string] // why it can not go on, most often a port in use
}

func singleOptions(dir string) *server.Options {
	return &server.Options{
		ServerName:         "bff",
		DontListen:         true,
		JetStream:          true,
		StoreDir:           dir,
		SyncAlways:         true,
		NoSigs:             true,
		MaxPayload:         maxPayload,
		JetStreamMaxMemory: 256 << 20,
		JetStreamMaxStore:  storeLimit,
	}
}

// clusterOptions: routes are not started without a client listener, so there is one, on
// loopback, at a port of the system's choice, behind a password that nobody has.
func clusterOptions(c *Config, dir, password string) (*server.Options, error) {
	o := singleOptions(dir)
	o.ServerName = c.ServerName
	o.DontListen = false
	o.Host, o.Port = "127.0.0.1", server.RANDOM_PORT
	o.Username, o.Password = "bff", password
	host, port, _ := net.SplitHostPort(c.ClusterListen)
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("broker config: ClusterListen: port %q is no number", port)
	}
	// One name for every cluster: what keeps strangers out is the secret, and replicas
	// whose operators named them one by one must find each other too.
	o.Cluster.Name = "wzrdcheckout"
	o.Cluster.Host, o.Cluster.Port, o.Cluster.Advertise = host, n, c.ClusterAdvertise
	secret, err := routePassword(c.ClusterSecret)
	if err != nil {
		return nil, err
	}
	o.Cluster.Username, o.Cluster.Password = routeUser, secret
	var conf *tls.Config
	if c.ClusterCert == "" {
		conf, err = routeTLS(c.ClusterSecret)
	} else if conf, err = loadTLS(c.ClusterCA, c.ClusterCert, c.ClusterKey); err != nil {
		err = fmt.Errorf("broker config: ClusterCert: %w", err)
	}
	if err != nil {
		return nil, err
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	o.Cluster.TLSConfig, o.Cluster.TLSTimeout = conf, 5
	// A network that swallows what is sent says nothing. Without these a route would be
	// believed in for minutes, and taken up again as late.
	o.Cluster.PingInterval, o.Cluster.MaxPingsOut = routePing, 2
	for _, p := range c.ClusterPeers {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: p, User: url.UserPassword(routeUser, secret)})
	}
	return o, nil
}

func startEngine(o *server.Options, log *slog.Logger) (*engine, error) {
	srv, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("make engine: %w", err)
	}
	e := &engine{srv: srv, user: o.Username, password: o.Password}
	srv.SetLoggerV2(&serverLog{log, e}, false, false, false)
	srv.Start()
	for end := time.Now().Add(startWait); !srv.ReadyForConnections(200 * time.Millisecond); {
		if reason := e.stopped.Load(); reason != nil {
			e.stop()
			return nil, fmt.Errorf("start engine: %s", *reason)
		}
		if time.Now().After(end) {
			e.stop()
			return nil, errors.New("start engine: not ready in time")
		}
	}
	conf := srv.JetStreamConfig()
	if conf == nil {
		e.stop()
		return nil, errors.New("start engine: its storage did not start (see the log)")
	}
	// Without this a power cut takes every callback of the last two minutes with it.
	if !conf.SyncAlways {
		e.stop()
		return nil, errors.New("start engine: it does not sync every write")
	}
	return e, nil
}

func (e *engine) connectOptions() []nats.Option {
	list := []nats.Option{nats.InProcessServer(e.srv)}
	if e.user != "" {
		list = append(list, nats.UserInfo(e.user, e.password))
	}
	return list
}

func (e *engine) stop() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

// serverLog hands the engine's words to slog. Its notices are our debugging.
type serverLog struct {
	log    *slog.Logger
	engine *engine
}

// failedWrite is what the engine says of a write that failed. It keeps such an error for
// as long as it runs: the stream takes nothing more, whatever becomes of the disk.
const failedWrite = "JetStream failed to store a msg on stream"

func (l *serverLog) Noticef(f string, v ...any) {
	l.log.Debug("engine", "said", fmt.Sprintf(f, v...))
}
func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}
func (l *serverLog) Warnf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	// The passwords are those of Config, in memory; they are not in a file.
	if strings.Contains(text, "Plaintext passwords detected") {
		return
	}
	l.log.Warn("engine", "said", text)
}

func (l *serverLog) Errorf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	// A replica that is down is no error of this one.
	if strings.Contains(text, "trying to connect to route") {
		l.log.Warn("engine", "said", text)
		return
	}
	if strings.HasPrefix(text, failedWrite) {
		err := fmt.Errorf("%w: %s", errBroken, text)
		l.engine.broken.CompareAndSwap(nil, &err)
	}
	l.log.Error("engine", "said", text)
}

// errBroken is a store that takes no more until it is started again.
var errBroken = fmt.Errorf("the disk refused a write, start again: %w", checkout.ErrUnavailable)

func (l *serverLog) Fatalf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	l.engine.stopped.Store(&text)
	l.log.Error("engine stops", "said", text)
}
