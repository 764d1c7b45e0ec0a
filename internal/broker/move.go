package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/checkout"
)

// A replica that was a single engine brings its streams into the cluster. The engine
// itself would do the opposite: it deletes, after 30 s, streams that it finds on its disk
// and not in the cluster's metadata; that is why the two kinds have folders of their own.
//
// The stream CHECKOUT comes last and says in its metadata whether it is whole: no
// replica works with it before, and a move that was cut off is done again from the start.
const (
	movingKey  = "checkout-moving" // the move that makes this stream
	movedKey   = "checkout-moved"  // set to the same when it is whole
	moveAsk    = "checkoutmove.pending"
	moveIDFile = "move-id"

	// gatherPeers is how long a replica without data waits for one that may have some.
	gatherPeers = 10 * time.Second
	chunkSize   = 512 << 10
	movePause   = 4 * time.Second // the engine gives up after 5 s without a chunk
)

// hasSingle tells whether this replica still has the data of a single engine.
func (b *Broker) hasSingle() bool {
	_, err := os.Stat(filepath.Join(b.singleDir(), "jetstream"))
	return err == nil
}

// answerMoves tells other replicas that this one brings data.
func (b *Broker) answerMoves() error {
	if b.mode != cluster {
		return nil
	}
	_, err := b.nc.Subscribe(moveAsk, func(m *nats.Msg) {
		if b.hasSingle() {
			_ = m.Respond([]byte("yes"))
		}
	})
	if err != nil {
		return fmt.Errorf("answer moves: %w", err)
	}
	b.since = time.Now()
	return nil
}

// moveIn is called until it says nil: then the streams may be made or used.
func (b *Broker) moveIn(ctx context.Context) error {
	info, err := b.streamInfo(ctx, stateStream)
	missing := errors.Is(err, checkout.ErrNotFound)
	if err != nil && !missing {
		return err
	}
	moving, moved := "", ""
	if !missing {
		moving, moved = info.Config.Metadata[movingKey], info.Config.Metadata[movedKey]
	}
	if !b.hasSingle() {
		if !missing {
			if moving != moved {
				return fmt.Errorf("another replica moves its data in: %w", checkout.ErrUnavailable)
			}
			return nil
		}
		return b.mayCreate(ctx)
	}
	id, err := b.moveID()
	if err != nil {
		return err
	}
	switch {
	case !missing && moved == id:
		return b.moveDone()
	case !missing && moving != id:
		return &stopError{fmt.Sprintf("the folder %s holds the data of a single node and the cluster has data of its own: remove one of them", b.singleDir())}
	}
	b.log.Info("moving the data of the single node into the cluster")
	if err := b.moveStreams(ctx, id); err != nil {
		return fmt.Errorf("move data into the cluster: %w", err)
	}
	return b.moveDone()
}

// mayCreate makes sure that no other replica brings data before streams are made anew.
func (b *Broker) mayCreate(ctx context.Context) error {
	need := max(3, len(b.cfg.ClusterPeers))
	if peers := len(b.engine.srv.JetStreamClusterPeers()); peers < need && time.Since(b.since) < gatherPeers {
		// Only the leader of the metadata knows the peers; the others see its streams.
		return fmt.Errorf("%d of %d replicas are here: %w", peers, need, checkout.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	_, err := b.nc.RequestWithContext(ctx, moveAsk, nil)
	switch {
	case err == nil:
		return fmt.Errorf("another replica brings data: %w", checkout.ErrUnavailable)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil
	}
	return kind(err)
}

// moveID is the name of this replica's move, the same over restarts.
func (b *Broker) moveID() (string, error) {
	path := filepath.Join(b.singleDir(), moveIDFile)
	text, err := os.ReadFile(path)
	if err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	id := token(12)
	if err := os.WriteFile(path, []byte(id), 0o600); err != nil {
		return "", fmt.Errorf("note the move: %w", err)
	}
	return id, nil
}

func (b *Broker) moveDone() error {
	if err := os.Rename(b.singleDir(), b.singleDir()+".moved"); err != nil {
		return fmt.Errorf("put the single node's folder aside: %w", err)
	}
	b.log.Info("the single node's data is in the cluster; the old folder can be removed", "folder", b.singleDir()+".moved")
	return nil
}

func (b *Broker) moveStreams(ctx context.Context, id string) error {
	e, err := startEngine(singleOptions(b.singleDir()), b.log)
	if err != nil {
		return err
	}
	defer e.stop()
	nc, err := nats.Connect("", e.connectOptions()...)
	if err != nil {
		return fmt.Errorf("connect the single node: %w", err)
	}
	defer nc.Close()
	old, err := jetstream.New(nc, jetstream.WithDefaultTimeout(callTimeout))
	if err != nil {
		return fmt.Errorf("connect the single node: %w", err)
	}
	wanted := b.wanted()
	for i := len(wanted) - 1; i >= 0; i-- {
		name := wanted[i].Name
		if _, err := old.Stream(ctx, name); errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		} else if err != nil {
			return fmt.Errorf("look for %s: %w", name, err)
		}
		if err := b.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove a half moved %s: %w", name, err)
		}
		if err := b.moveStream(ctx, nc, name, id, wanted[i]); err != nil {
			return fmt.Errorf("move %s: %w", name, err)
		}
	}
	return nil
}

// moveStream hands one stream over, chunk by chunk: a snapshot of the old is the restore
// of the new. Sequences, timers and consumers stay what they were.
func (b *Broker) moveStream(ctx context.Context, from *nats.Conn, name, id string, want jetstream.StreamConfig) error {
	inbox := from.NewRespInbox()
	sub, err := from.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	request, err := json.Marshal(map[string]any{"deliver_subject": inbox, "chunk_size": chunkSize, "window_size": 8 * chunkSize, "jsck": true})
	if err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, time.Minute) // it checks every message first
	defer cancel()
	m, err := from.RequestWithContext(call, "$JS.API.STREAM.SNAPSHOT."+name, request)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	var snapshot struct {
		Error  *jetstream.APIError `json:"error"`
		Config map[string]any      `json:"config"`
		State  json.RawMessage     `json:"state"`
	}
	if err := json.Unmarshal(m.Data, &snapshot); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if snapshot.Error != nil {
		return fmt.Errorf("snapshot: %w", snapshot.Error)
	}
	snapshot.Config["num_replicas"] = want.Replicas
	snapshot.Config["metadata"] = map[string]string{movingKey: id}

	var restore struct {
		Error   *jetstream.APIError `json:"error"`
		Deliver string              `json:"deliver_subject"`
	}
	if err := b.api(call, "STREAM.RESTORE."+name, map[string]any{"config": snapshot.Config, "state": snapshot.State}, &restore); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if restore.Error != nil {
		return fmt.Errorf("restore: %w", restore.Error)
	}
	chunk := func(data []byte, wait time.Duration) error {
		call, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		m, err := b.nc.RequestWithContext(call, restore.Deliver, data)
		// The node that restores may be another one, and the way to it not known yet.
		for errors.Is(err, nats.ErrNoResponders) && call.Err() == nil {
			time.Sleep(20 * time.Millisecond)
			m, err = b.nc.RequestWithContext(call, restore.Deliver, data)
		}
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		var answer struct {
			Error *jetstream.APIError `json:"error"`
		}
		if len(m.Data) > 0 && json.Unmarshal(m.Data, &answer) == nil && answer.Error != nil {
			return fmt.Errorf("restore: %w", answer.Error)
		}
		return nil
	}
	for {
		m, err := sub.NextMsg(movePause)
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get("Status"); status != "" && status != "204" {
				return fmt.Errorf("snapshot: %s %s", status, m.Header.Get("Description"))
			}
			break
		}
		if err := chunk(m.Data, movePause); err != nil {
			return err
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return fmt.Errorf("snapshot: %w", err)
			}
		}
	}
	if err := chunk(nil, time.Minute); err != nil {
		return err
	}
	return b.markWhole(ctx, name, id)
}

// markWhole waits until a restored stream answers and says in it that it is whole.
func (b *Broker) markWhole(ctx context.Context, name, id string) error {
	var err error
	for try := range 50 {
		var info *jetstream.StreamInfo
		if info, err = b.streamInfo(ctx, name); err == nil {
			next := info.Config
			next.Metadata = map[string]string{movingKey: id, movedKey: id}
			if _, err = b.js.UpdateStream(ctx, next); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(time.Duration(try+1)*50*time.Millisecond, time.Second)):
		}
	}
	return fmt.Errorf("mark as whole: %w", err)
}
