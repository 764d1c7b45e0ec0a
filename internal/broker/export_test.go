package broker

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StartUnsynced starts an engine as nobody may: without a sync after every write.
func StartUnsynced(dir string) error {
	o := singleOptions(dir)
	o.SyncAlways = false
	e, err := startEngine(o, slog.New(slog.DiscardHandler))
	if err == nil {
		e.stop()
	}
	return err
}

// Break lets the engine say what it says of a write that its disk refused.
func (b *Broker) Break() {
	(&serverLog{b.log, b.engine}).Errorf("JetStream failed to store a msg on stream '%s > %s': %v", "$G", logName(0), "no space left on device")
	b.checkDisk()
}

// Quorate tells whether a stream's leader has heard of the other nodes.
func Quorate(info *jetstream.StreamInfo) bool { return quorate(info) }

// Leader names the leader of a stream and its number of copies.
func (b *Broker) Leader(ctx context.Context, stream string) (leader string, replicas int) {
	info, err := b.streamInfo(ctx, stream)
	if err != nil || info.Cluster == nil {
		return "", 0
	}
	return info.Cluster.Leader, info.Config.Replicas
}

// Routes counts the other nodes that this one is joined with.
func (b *Broker) Routes() int { return b.engine.srv.NumRemotes() }

// RouteTLS is what a replica with this secret shows and asks for.
func RouteTLS(secret string) (*tls.Config, error) { return routeTLS(secret) }

// RoutePassword is what it says inside TLS.
func RoutePassword(secret string) (string, error) { return routePassword(secret) }

// Last is the sequence of a callback stream's last pack, as its leader knows it.
func (b *Broker) Last(ctx context.Context, stream int) (uint64, error) {
	info, err := b.streamInfo(ctx, logName(stream))
	if err != nil {
		return 0, err
	}
	return info.State.LastSeq, nil
}

// Lead asks that a node becomes the leader of a stream, until it is or ctx ends.
func (b *Broker) Lead(ctx context.Context, stream, node string) bool {
	for ctx.Err() == nil {
		if leader, _ := b.Leader(ctx, stream); leader == node {
			return true
		}
		var answer struct {
			Error *jetstream.APIError `json:"error"`
		}
		_ = b.api(ctx, "STREAM.LEADER.STEPDOWN."+stream, map[string]any{"placement": map[string]string{"preferred": node}}, &answer)
		time.Sleep(300 * time.Millisecond)
	}
	return false
}

// RecentBytes is what the packs in memory weigh.
func (b *Broker) RecentBytes() int {
	b.recent.mu.Lock()
	defer b.recent.mu.Unlock()
	return b.recent.bytes
}
