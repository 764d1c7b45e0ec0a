package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/checkout"
)

func logName(i int) string    { return "CALLBACKS_" + strconv.Itoa(i) }
func logSubject(i int) string { return "callbacks." + strconv.Itoa(i) }

// wanted is what the streams look like when this replica creates them.
func (b *Broker) wanted() []jetstream.StreamConfig {
	day := 24 * time.Hour
	replicas := b.replicas()
	state := jetstream.StreamConfig{
		Name:               stateStream,
		Subjects:           []string{statePrefix + ">", duePrefix + ">"},
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardOld,
		MaxMsgsPerSubject:  1,
		MaxAge:             time.Duration(b.cfg.RetentionDays) * day,
		Duplicates:         2 * time.Minute,
		Replicas:           replicas,
		AllowDirect:        true,
		AllowRollup:        true,
		AllowMsgTTL:        true,
		AllowAtomicPublish: true,
		AllowMsgSchedules:  true,
	}
	if b.mode != single {
		state.RePublish = &jetstream.RePublish{Source: "checkout.>", Destination: changedPrefix + "checkout.>"}
	}
	list := []jetstream.StreamConfig{state}
	for i := range b.Streams() {
		c := jetstream.StreamConfig{
			Name:        logName(i),
			Subjects:    []string{logSubject(i)},
			Storage:     jetstream.FileStorage,
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardNew,
			MaxAge:      time.Duration(b.cfg.CallbackDays) * day,
			MaxBytes:    b.cfg.CallbackMaxBytes,
			Replicas:    replicas,
			AllowDirect: true,
		}
		if b.mode != single {
			c.RePublish = &jetstream.RePublish{Source: logSubject(i), Destination: changedPrefix + logSubject(i), HeadersOnly: true}
		}
		list = append(list, c)
	}
	return list
}

func (b *Broker) replicas() int {
	switch {
	case b.cfg.Replicas > 0:
		return b.cfg.Replicas
	case b.mode == cluster, b.mode == external && b.nc.ConnectedClusterName() != "":
		return 3
	}
	return 1
}

// ensure makes the streams that are missing and widens those that are narrower than
// wanted. Nothing is ever narrowed: replicas may run with different settings during a
// roll-out, and two of them must not pull one stream to and fro.
func (b *Broker) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for _, want := range b.wanted() {
		if err := b.ensureStream(ctx, want); err != nil {
			return fmt.Errorf("make stream %s: %w", want.Name, err)
		}
	}
	return nil
}

func (b *Broker) ensureStream(ctx context.Context, want jetstream.StreamConfig) error {
	info, err := b.streamInfo(ctx, want.Name)
	if errors.Is(err, checkout.ErrNotFound) {
		call, cancel := context.WithTimeout(ctx, 2*b.patience())
		_, err = b.js.CreateStream(call, want)
		cancel()
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return err
		}
		info, err = b.streamInfo(ctx, want.Name)
	}
	if err != nil {
		return err
	}
	have := info.Config
	next := have
	next.Subjects = want.Subjects
	next.Replicas = max(have.Replicas, want.Replicas)
	next.MaxAge = widest(have.MaxAge, want.MaxAge)
	if have.MaxBytes > 0 && want.MaxBytes > have.MaxBytes {
		next.MaxBytes = want.MaxBytes
	}
	next.AllowDirect = true
	next.AllowAtomicPublish = have.AllowAtomicPublish || want.AllowAtomicPublish
	next.AllowMsgTTL = have.AllowMsgTTL || want.AllowMsgTTL
	next.AllowMsgSchedules = have.AllowMsgSchedules || want.AllowMsgSchedules
	if next.RePublish == nil {
		next.RePublish = want.RePublish
	}
	same := next.Replicas == have.Replicas && next.MaxAge == have.MaxAge && next.MaxBytes == have.MaxBytes && have.AllowDirect &&
		next.AllowAtomicPublish == have.AllowAtomicPublish && next.AllowMsgTTL == have.AllowMsgTTL &&
		next.AllowMsgSchedules == have.AllowMsgSchedules && next.RePublish == have.RePublish &&
		len(have.Subjects) == len(want.Subjects)
	if same {
		return nil
	}
	if have.Retention != want.Retention || have.MaxMsgsPerSubject != want.MaxMsgsPerSubject && want.Name == stateStream {
		return fmt.Errorf("a stream of that name is there and is not ours")
	}
	_, err = b.js.UpdateStream(ctx, next)
	return err
}

// widest of two ages; 0 is for ever.
func widest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// settle brings a replica to work: it waits until the streams can be made or found, then
// keeps an eye on them.
func (b *Broker) settle(ctx context.Context) {
	warned := time.Now()
	for wait := 100 * time.Millisecond; !b.ready.Load(); wait = min(2*wait, time.Second) {
		err := b.settleOnce(ctx)
		if err == nil {
			b.ready.Store(true)
			close(b.started)
			b.log.Info("store is ready", "replicas", b.replicas(), "name", b.Name())
			break
		}
		var stop *stopError
		if errors.As(err, &stop) {
			err = fmt.Errorf("open store: %w", err)
			b.fatal.Store(&err)
			b.log.Error("store can not work", "err", err)
			return
		}
		if time.Since(warned) > 5*time.Second {
			warned = time.Now()
			b.log.Warn("store is not ready", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
	for {
		// Soon again while there is something to mend: a replica that has just come back.
		pause := 15 * time.Second
		if !b.spreadLeaders(ctx) {
			pause = 2 * time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (b *Broker) settleOnce(ctx context.Context) error {
	if !b.nc.IsConnected() {
		return fmt.Errorf("no connection to the engine: %w", checkout.ErrUnavailable)
	}
	if b.mode == external {
		if err := b.fits(); err != nil {
			return err
		}
	}
	if b.mode == cluster {
		if err := b.moveIn(ctx); err != nil {
			return err
		}
	}
	if err := b.ensure(ctx); err != nil {
		return err
	}
	return b.watch.begin(ctx)
}

// spreadLeaders asks callback streams whose leaders sit on one node to move apart, so
// that one lost node stops one stream. One replica does it. done: there is nothing to
// move, or it is another's business.
func (b *Broker) spreadLeaders(ctx context.Context) (done bool) {
	if b.mode != cluster {
		return true
	}
	held, err := b.Lease(ctx, "leaders", 25*time.Second)
	if err != nil || !held {
		return err == nil
	}
	done = true
	taken := map[string]bool{}
	for i := range b.Streams() {
		info, err := b.streamInfo(ctx, logName(i))
		if err != nil || info.Cluster == nil || info.Cluster.Leader == "" {
			done = false
			continue
		}
		leader := info.Cluster.Leader
		if !taken[leader] {
			taken[leader] = true
			continue
		}
		done = false
		for _, p := range info.Cluster.Replicas {
			if p.Current && !p.Offline && !taken[p.Name] {
				taken[p.Name] = true
				b.moveLeader(ctx, logName(i), p.Name)
				break
			}
		}
	}
	return done
}

func (b *Broker) moveLeader(ctx context.Context, stream, to string) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	request := map[string]any{"placement": map[string]string{"preferred": to}}
	err := b.api(ctx, "STREAM.LEADER.STEPDOWN."+stream, request, &answer)
	if err == nil && answer.Error != nil {
		err = answer.Error
	}
	if err != nil {
		b.log.Debug("leader did not move", "stream", stream, "err", err)
	}
}

// stopError is one that waiting does not mend.
type stopError struct{ reason string }

func (e *stopError) Error() string { return e.reason }
