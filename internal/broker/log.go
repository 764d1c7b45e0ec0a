package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wzrdcheckout/internal/checkout"
)

// packVersion begins a pack: the byte, the number of records, and for each record its
// length and its bytes; numbers as unsigned varints.
const packVersion = 1

var errBadPack = errors.New("not a pack of callbacks")

func encodePack(pack [][]byte) []byte {
	n := 1 + binary.MaxVarintLen64
	for _, r := range pack {
		n += binary.MaxVarintLen32 + len(r)
	}
	out := append(make([]byte, 0, n), packVersion)
	out = binary.AppendUvarint(out, uint64(len(pack)))
	for _, r := range pack {
		out = binary.AppendUvarint(out, uint64(len(r)))
		out = append(out, r...)
	}
	return out
}

func decodePack(data []byte) ([][]byte, error) {
	if len(data) == 0 || data[0] != packVersion {
		return nil, errBadPack
	}
	data = data[1:]
	count, n := binary.Uvarint(data)
	if n <= 0 || count > uint64(len(data)) {
		return nil, errBadPack
	}
	data = data[n:]
	pack := make([][]byte, 0, count)
	for range count {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) { //nolint:gosec // Uvarint reads no more than there is
			return nil, errBadPack
		}
		pack = append(pack, data[n:n+int(size)]) //nolint:gosec // not more than len(data)
		data = data[n+int(size):]                //nolint:gosec // not more than len(data)
	}
	if len(data) != 0 {
		return nil, errBadPack
	}
	return pack, nil
}

// Append stores a pack as one message and returns its sequence when it is durable. The
// records must not be changed after: they may be handed to a reader.
// ErrUnavailable: not stored. ErrTimeout: not known.
func (b *Broker) Append(ctx context.Context, stream int, pack [][]byte) (uint64, error) {
	if err := b.opened(); err != nil {
		return 0, fmt.Errorf("append callbacks: %w", err)
	}
	if b.closing.Load() {
		return 0, fmt.Errorf("append callbacks: store is closing: %w", checkout.ErrUnavailable)
	}
	if b.full.Load() {
		return 0, fmt.Errorf("append callbacks: %w", errDiskFull)
	}
	if stream < 0 || stream >= b.Streams() || len(pack) == 0 {
		return 0, fmt.Errorf("append callbacks: %w: stream %d, %d records", checkout.ErrInvalid, stream, len(pack))
	}
	body := encodePack(pack)
	// One callback may be larger than what a pack is filled up to.
	if len(body) > maxPayload-4096 || int64(len(body)) > b.nc.MaxPayload()-4096 {
		return 0, fmt.Errorf("append callbacks: %w: %d bytes", checkout.ErrTooLarge, len(body))
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.CommitTimeout)
	defer cancel()
	m := nats.NewMsg(logSubject(stream))
	m.Data = body
	ack, err := b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0), jetstream.WithExpectStream(logName(stream)))
	if err != nil {
		switch refused(err) {
		case noRefusal:
			err = fmt.Errorf("%w: %w", checkout.ErrTimeout, err)
		default:
			err = kind(err)
		}
		return 0, fmt.Errorf("append callbacks: %w", err)
	}
	if b.mode == single {
		b.recent.add(checkout.Pack{Seq: ack.Sequence, Records: pack}, len(body))
	}
	b.wake.all()
	return ack.Sequence, nil
}

// recent holds the packs that this process stored last, so that whoever reads right
// behind the writer needs no answer of the engine, which is busy storing. Only a single
// engine has one: all of its packs, of its one stream, come from here.
type recent struct {
	mu    sync.Mutex
	packs []checkout.Pack // without a hole
	sizes []int
	bytes int
}

// recentBytes bounds what recent holds.
const recentBytes = 8 << 20

// add takes a pack that is durable. Answers may overtake one another: what is no sequel
// begins anew.
func (r *recent) add(p checkout.Pack, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.packs); n > 0 && p.Seq != r.packs[n-1].Seq+1 {
		r.packs, r.sizes, r.bytes = nil, nil, 0
	}
	r.packs, r.sizes = append(r.packs, p), append(r.sizes, size)
	r.bytes += size
	old := 0
	for ; r.bytes > recentBytes; old++ {
		r.bytes -= r.sizes[old]
		r.packs[old] = checkout.Pack{} // the array lives on
	}
	r.packs, r.sizes = r.packs[old:], r.sizes[old:]
}

// forget drops all, because some of it may be gone from the stream.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packs, r.sizes, r.bytes = nil, nil, 0
}

// from gives up to max packs from a sequence on; none when that one is not held.
func (r *recent) from(seq uint64, max int) []checkout.Pack {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.packs) == 0 || seq < r.packs[0].Seq || seq > r.packs[len(r.packs)-1].Seq {
		return nil
	}
	list := r.packs[seq-r.packs[0].Seq:]
	return slices.Clone(list[:min(len(list), max)])
}

// Read gives up to max packs of a stream, from a sequence on, and waits for the first
// until ctx ends; none then is no error. A pack that can not be read has no records.
func (b *Broker) Read(ctx context.Context, stream int, from uint64, max int) ([]checkout.Pack, error) {
	if err := b.opened(); err != nil {
		return nil, fmt.Errorf("read callbacks: %w", err)
	}
	if stream < 0 || stream >= b.Streams() || max < 1 {
		return nil, fmt.Errorf("read callbacks: %w: stream %d, max %d", checkout.ErrInvalid, stream, max)
	}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		woken := b.wake.wait() // before the look, so that nothing falls between
		if list := b.recent.from(from, max); len(list) > 0 {
			return list, nil
		}
		var list []checkout.Pack
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		for m, err := range b.batch(call, logName(stream), logSubject(stream), from, min(max, 500)) {
			if err != nil {
				cancel()
				return nil, fmt.Errorf("read callbacks: %w", err)
			}
			records, err := decodePack(m.Data)
			if err != nil {
				b.log.Error("a stored pack of callbacks can not be read", "stream", stream, "sequence", m.Sequence, "err", err)
			}
			list = append(list, checkout.Pack{Seq: m.Sequence, Records: records})
		}
		cancel()
		if b.mode != single {
			var err error
			if list, err = b.whole(ctx, stream, from, list); err != nil {
				return nil, fmt.Errorf("read callbacks: %w", err)
			}
		}
		if len(list) > 0 {
			return list, nil
		}
		// In a cluster the node that answers may be a little behind the one that woke us.
		wait := time.Second
		if b.mode != single {
			wait = pause
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-woken:
			pause = 10 * time.Millisecond
		case <-time.After(wait):
		}
	}
}

// whole keeps what follows from without a hole. The sequences of a callback stream have
// none but at its beginning, where old packs make room; a node that shows another one is
// not to be believed, because what is skipped here would never be applied.
func (b *Broker) whole(ctx context.Context, stream int, from uint64, list []checkout.Pack) ([]checkout.Pack, error) {
	for i := range list {
		if i > 0 && list[i].Seq != list[i-1].Seq+1 {
			return list[:i], nil
		}
	}
	if len(list) == 0 || list[0].Seq == from {
		return list, nil
	}
	info, err := b.streamInfo(context.WithoutCancel(ctx), logName(stream))
	if err != nil {
		return nil, err
	}
	if info.State.FirstSeq < list[0].Seq {
		b.log.Warn("a node lacks callbacks that the stream has", "stream", stream, "sequence", from, "node_has", list[0].Seq)
		return nil, nil
	}
	return list, nil
}

// Trim tells that a stream's packs up to a sequence are applied. They are kept, for
// whoever wants to look back, until the stream is half full; then they make room.
func (b *Broker) Trim(ctx context.Context, stream int, applied uint64) error {
	if err := b.opened(); err != nil {
		return fmt.Errorf("trim callbacks: %w", err)
	}
	if stream < 0 || stream >= b.Streams() {
		return fmt.Errorf("trim callbacks: %w: stream %d", checkout.ErrInvalid, stream)
	}
	info, err := b.streamInfo(ctx, logName(stream))
	if err != nil {
		return fmt.Errorf("trim callbacks: %w", err)
	}
	if info.Config.MaxBytes <= 0 || int64(info.State.Bytes) < info.Config.MaxBytes/2 || info.State.FirstSeq > applied { //nolint:gosec // bytes on a disk
		return nil
	}
	// Half of what may go, so that the newest stays to be looked at.
	until := info.State.FirstSeq + (applied-info.State.FirstSeq)/2 + 1
	s, err := b.js.Stream(ctx, logName(stream))
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSequence(until))
		b.recent.forget()
	}
	if err != nil {
		return fmt.Errorf("trim callbacks: %w", kind(err))
	}
	return nil
}
