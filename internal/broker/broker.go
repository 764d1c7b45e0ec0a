package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/checkout"
)

const (
	stateStream   = "CHECKOUT"
	statePrefix   = "checkout.state."
	duePrefix     = "checkout.due."
	changedPrefix = "changed."
	dueConsumer   = "DUE"

	// logStreams is the number of callback streams where there is more than one replica:
	// a stream without a leader stands still for some seconds, three seldom do at once.
	logStreams = 3

	callTimeout = 5 * time.Second
	probeTime   = 2500 * time.Millisecond // what all of Ready may take

	// electionTime is how long a stream may be without a leader after one has died.
	electionTime = 10 * time.Second
)

// Broker is the open store. All methods may be called from any goroutine.
type Broker struct {
	cfg    Config
	mode   mode
	log    *slog.Logger
	lockF  *os.File
	engine *engine
	nc     *nats.Conn
	js     jetstream.JetStream

	committer *committer
	watch     *watch
	cache     *cache
	known     *versions
	wake      wake
	recent    recent

	// ready is set when all streams are there; replicas is their number of copies.
	ready   atomic.Bool
	started chan struct{} // closed with the first ready
	joined  atomic.Bool   // this replica has had all that the others have, and has stored something
	fatal   atomic.Pointer[error]
	full    atomic.Bool // the disk is
	failed  chan error  // see Failed

	leases struct {
		sync.Mutex
		byName map[string]*lease
	}
	id string // the holder in leases: of a replica with a folder the same over restarts

	since time.Time // when a member of a cluster began to look for the others

	stop    context.CancelFunc
	workers sync.WaitGroup
	closing atomic.Bool
}

// Open starts the engine or connects to it. With a single engine the store is ready when
// Open returns; a member of a cluster and the user of an external engine may have to wait
// for others, which Ready tells. ctx bounds the opening only.
func Open(ctx context.Context, cfg Config) (_ *Broker, err error) {
	cfg.defaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, mode: cfg.mode(), log: cfg.Logger, id: token(8), started: make(chan struct{}), failed: make(chan error, 1)}
	b.cache = newCache(cfg.CacheBytes)
	b.known = &versions{}
	b.leases.byName = map[string]*lease{}
	defer func() {
		if err != nil {
			b.shutdown()
		}
	}()

	var options []nats.Option
	address := ""
	if b.mode == external {
		if options, err = externalOptions(&cfg); err != nil {
			return nil, err
		}
		address = cfg.NATSURL
	} else {
		if b.lockF, err = lock(cfg.Dir); err != nil {
			return nil, err
		}
		if err = b.startEmbedded(); err != nil {
			return nil, err
		}
		// The folder's lock tells that whoever held leases under this name is gone.
		b.id = b.cfg.ServerName
		options = b.engine.connectOptions()
	}
	options = append(options,
		nats.Name("bff"),
		nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		// Nothing is sent later than its caller thinks: what can not be sent now fails now.
		nats.ReconnectBufSize(-1),
		nats.RetryOnFailedConnect(b.mode == external),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.disconnected(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.log.Warn("engine connection", "err", err) }),
	)
	if b.nc, err = nats.Connect(address, options...); err != nil {
		return nil, fmt.Errorf("connect engine: %w", err)
	}
	if b.mode == external {
		b.log.Warn("the engine is external and does not tell how it syncs: every node of it must run with jetstream { sync_interval: always }, or a power cut loses what was acknowledged")
		if b.nc.IsConnected() {
			if err = b.fits(); err != nil {
				return nil, err
			}
		}
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(callTimeout)); err != nil {
		return nil, fmt.Errorf("connect engine: %w", err)
	}

	run, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.watch = newWatch(b)
	b.committer = newCommitter(b)
	if b.mode == single {
		if err = b.ensure(ctx); err != nil {
			return nil, err
		}
		b.checkDisk()
		b.cache.turn(true)
		b.ready.Store(true)
		close(b.started)
	} else {
		if err = b.watch.subscribe(); err != nil {
			return nil, err
		}
		if err = b.answerMoves(); err != nil {
			return nil, err
		}
		b.workers.Go(func() { b.settle(run) })
	}
	b.workers.Go(func() { b.committer.run(run) })
	b.workers.Go(func() { b.watch.run(run) })
	b.workers.Go(func() { b.guardDisk(run) })
	return b, nil
}

func externalOptions(c *Config) ([]nats.Option, error) {
	var list []nats.Option
	if c.NATSCreds != "" {
		if _, err := os.Stat(c.NATSCreds); err != nil {
			return nil, fmt.Errorf("broker config: NATSCreds: %w", err)
		}
		list = append(list, nats.UserCredentials(c.NATSCreds))
	}
	if c.NATSCA != "" || c.NATSCert != "" {
		conf, err := loadTLS(c.NATSCA, c.NATSCert, c.NATSKey)
		if err != nil {
			return nil, fmt.Errorf("broker config: NATSCA: %w", err)
		}
		list = append(list, nats.Secure(conf))
	}
	return list, nil
}

const (
	// leastPayload is what an external engine must take: a value, a pack or a callback of
	// the largest size, and its headers.
	leastPayload = maxValue + 16<<10
	// leastMinor: batches, schedules and their syncs work together since 2.15; an older
	// engine ignores settings that it does not know without a word.
	leastMajor, leastMinor = 2, 15
)

// fits tells whether an external engine can do the work, and says what is less than good.
func (b *Broker) fits() error {
	var major, minor int
	if _, err := fmt.Sscanf(b.nc.ConnectedServerVersion(), "%d.%d", &major, &minor); err != nil || major < leastMajor || major == leastMajor && minor < leastMinor {
		return &stopError{fmt.Sprintf("the external engine is nats-server %q: 2.15 or newer is needed", b.nc.ConnectedServerVersion())}
	}
	switch limit := b.nc.MaxPayload(); {
	case limit < leastPayload:
		return &stopError{fmt.Sprintf("the external engine has max_payload %d: %d or more is needed, 8MB is good", limit, leastPayload)}
	case limit < maxPayload:
		b.log.Warn("the external engine takes small messages only: callbacks of more than that are refused with 413; set max_payload: 8MB", "max_payload", limit)
	}
	return nil
}

func (b *Broker) startEmbedded() error {
	if b.cfg.ServerName == "" {
		name, err := serverName(b.cfg.Dir, b.cfg.ClusterName)
		if err != nil {
			return err
		}
		b.cfg.ServerName = name
	}
	if b.mode == single {
		if _, err := os.Stat(b.clusterDir()); err == nil {
			return fmt.Errorf("open data folder %s: it belongs to a member of a cluster; going back to one node needs ClusterPeers still set, or an empty folder", b.cfg.Dir)
		}
		e, err := startEngine(singleOptions(b.singleDir()), b.log)
		b.engine = e
		return err
	}
	o, err := clusterOptions(&b.cfg, b.clusterDir(), token(16))
	if err != nil {
		return err
	}
	b.engine, err = startEngine(o, b.log)
	return err
}

func (b *Broker) singleDir() string  { return filepath.Join(b.cfg.Dir, "single") }
func (b *Broker) clusterDir() string { return filepath.Join(b.cfg.Dir, "cluster") }

// Name is this replica's own, stable over restarts; "" with an external engine, where
// nothing of the replica lasts.
func (b *Broker) Name() string {
	if b.mode == external {
		return ""
	}
	return b.cfg.ServerName
}

// Streams is the number of callback streams.
func (b *Broker) Streams() int {
	if b.mode == single {
		return 1
	}
	return logStreams
}

// Close stops taking commits, finishes those under way, gives the leases back and stops
// the engine. ctx bounds the finishing.
func (b *Broker) Close(ctx context.Context) error {
	if b.closing.Swap(true) {
		return nil
	}
	b.releaseLeases(ctx)
	err := b.committer.close(ctx)
	b.shutdown()
	return err
}

func (b *Broker) shutdown() {
	if b.stop != nil {
		b.stop()
	}
	b.workers.Wait()
	if b.nc != nil {
		b.nc.Close()
	}
	if b.engine != nil {
		b.engine.stop()
	}
	if b.lockF != nil {
		_ = b.lockF.Close()
	}
}

// Failed gives an error when the store can only be brought back by a new process: a
// write failed (the disk was filled to its last byte, or is breaking) and there is space
// again, so that a start can succeed.
func (b *Broker) Failed() <-chan error { return b.failed }

// broken tells that the embedded engine has given up a file.
func (b *Broker) broken() error {
	if b.engine == nil {
		return nil
	}
	if p := b.engine.broken.Load(); p != nil {
		return *p
	}
	return nil
}

// Ready tells whether a callback can be stored right now: by the leaders of its streams
// and the majority behind them, and, on a single engine and before the first success, by
// storing something. The error says what is missing.
func (b *Broker) Ready(ctx context.Context) error {
	if p := b.fatal.Load(); p != nil {
		return *p
	}
	if b.closing.Load() {
		return fmt.Errorf("store is closing: %w", checkout.ErrUnavailable)
	}
	if !b.ready.Load() {
		return fmt.Errorf("streams are not there yet: %w", checkout.ErrUnavailable)
	}
	if b.full.Load() {
		return errDiskFull
	}
	if err := b.broken(); err != nil {
		return err
	}
	if !b.nc.IsConnected() {
		return errNotConnected
	}
	if b.mode != single && b.watch.silent() > electionTime {
		return fmt.Errorf("the leader of the state is silent: %w", checkout.ErrUnavailable)
	}
	if b.mode == cluster && !b.joined.Load() {
		// Until then the cluster may not miss this replica, but must not rest on it either.
		if err := b.behind(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	answers := make(chan error, b.Streams())
	for i := range b.Streams() {
		go func() { answers <- b.logReady(ctx, i) }()
	}
	// One that takes callbacks is enough.
	last := <-answers
	for i := 1; i < b.Streams() && last != nil; i++ {
		last = <-answers
	}
	if last != nil {
		return last
	}
	// While the state elects a leader no replica can write it, and all of them can still
	// take callbacks: that must not make a balancer send them away.
	if b.mode != single && b.joined.Load() {
		return nil
	}
	name := b.cfg.ServerName
	if name == "" {
		name = "bff"
	}
	if _, err := b.Commit(ctx, checkout.Write{Key: "probe." + name, Value: []byte("1"), Any: true, TTL: 3600}); err != nil {
		return fmt.Errorf("store a probe: %w", err)
	}
	b.joined.Store(true)
	return nil
}

// behind tells which stream this replica's engine has not caught up with yet.
func (b *Broker) behind() error {
	for _, c := range b.wanted() {
		switch {
		case b.engine.srv.JetStreamIsStreamCurrent(server.DEFAULT_GLOBAL_ACCOUNT, c.Name):
		case b.engine.srv.JetStreamIsStreamAssigned(server.DEFAULT_GLOBAL_ACCOUNT, c.Name):
			return fmt.Errorf("%s is still being copied to this replica: %w", c.Name, checkout.ErrUnavailable)
		default:
			return fmt.Errorf("the copies of %s belong to other replicas than %s: one that lost its disk must keep its name, in the file server-name: %w",
				c.Name, b.cfg.ServerName, checkout.ErrUnavailable)
		}
	}
	return nil
}

func (b *Broker) logReady(ctx context.Context, i int) error {
	info, err := b.streamInfo(ctx, logName(i))
	if err != nil {
		return fmt.Errorf("ask for %s: %w", logName(i), err)
	}
	if !quorate(info) {
		return fmt.Errorf("%s has no leader with a majority: %w", logName(i), checkout.ErrUnavailable)
	}
	if info.Config.MaxBytes > 0 && int64(info.State.Bytes) > info.Config.MaxBytes-2*maxValue { //nolint:gosec // bytes on a disk
		return fmt.Errorf("%s is full: %w", logName(i), checkout.ErrUnavailable)
	}
	return nil
}

// streamInfo asks the stream's leader.
func (b *Broker) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, b.patience())
	defer cancel()
	var info struct {
		Error *jetstream.APIError `json:"error"`
		jetstream.StreamInfo
	}
	if err := b.api(ctx, "STREAM.INFO."+name, nil, &info); err != nil {
		return nil, err
	}
	if info.Error != nil {
		return nil, kind(info.Error)
	}
	return &info.StreamInfo, nil
}

// patience is how long one question may take. A cluster that has no leader yet does not
// answer at all, so while it is waited for the question is asked again soon.
func (b *Broker) patience() time.Duration {
	if b.mode != single && !b.ready.Load() {
		return time.Second
	}
	return callTimeout
}

// api is one request to the engine's own interface; answer is JSON.
func (b *Broker) api(ctx context.Context, subject string, request, answer any) error {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	m, err := b.nc.RequestWithContext(ctx, "$JS.API."+subject, body)
	if err != nil {
		return kind(err)
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fmt.Errorf("decode answer of %s: %w", subject, err)
	}
	return nil
}

func (b *Broker) disconnected(err error) {
	if b.closing.Load() {
		return
	}
	b.cache.turn(false)
	if b.watch != nil {
		b.watch.lost()
	}
	b.log.Warn("connection to the engine lost", "err", err)
}

// errNotConnected is what the client calls a full buffer: it may keep nothing for later.
var errNotConnected = fmt.Errorf("no connection to the engine: %w", checkout.ErrUnavailable)

var errDiskFull = fmt.Errorf("less than the smallest allowed space is free on the data folder's disk: %w", checkout.ErrUnavailable)

// checkDisk refuses new writes while the disk is nearly full: an engine that runs into
// the end of its disk stops for good, one that is held back goes on when there is room.
func (b *Broker) checkDisk() {
	free, ok := freeBytes(b.cfg.Dir)
	full := ok && free < b.cfg.MinFreeBytes
	if b.full.Swap(full) != full {
		b.log.Warn("disk space", "accepting", !full, "free_bytes", free, "least_bytes", b.cfg.MinFreeBytes)
	}
	if err := b.broken(); err != nil && !full {
		select {
		case b.failed <- err:
		default: // it was said
		}
	}
}

func (b *Broker) guardDisk(ctx context.Context) {
	if b.mode == external {
		return
	}
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		b.checkDisk()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// kind gives an engine's error its kind of internal/checkout.
func kind(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, checkout.ErrUnavailable), errors.Is(err, checkout.ErrTimeout), errors.Is(err, checkout.ErrNotFound):
		return err
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return errNotConnected
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", checkout.ErrTimeout, err)
	case errors.As(err, &api) && api.Code == 404:
		return fmt.Errorf("%w: %w", checkout.ErrNotFound, err)
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: %w", checkout.ErrNotFound, err)
	}
	return fmt.Errorf("%w: %w", checkout.ErrUnavailable, err)
}

// Stats are counters and gauges for the metrics.
type Stats struct {
	Queued                 int    // commits that wait now
	Commits, Groups        uint64 // commits stored; batches and single publishes they took
	Conflicts, Retries     uint64 // commits refused for a stale Expect; tries that had to be repeated
	CacheHits, CacheMisses uint64
	CacheBytes             int64
	Changes, Gaps          uint64 // changes handed to watchers; times some had to be fetched after a gap
}

// Stats reads the counters.
func (b *Broker) Stats() Stats {
	var s Stats
	s.Queued = len(b.committer.queue)
	s.Commits, s.Groups = b.committer.commits.Load(), b.committer.groups.Load()
	s.Conflicts, s.Retries = b.committer.conflicts.Load(), b.committer.retries.Load()
	s.CacheHits, s.CacheMisses, s.CacheBytes = b.cache.counts()
	s.Changes, s.Gaps = b.watch.changes.Load(), b.watch.gaps.Load()
	return s
}
