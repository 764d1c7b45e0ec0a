package callback

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Record is one callback as it is stored.
type Record struct {
	// ReceivedAt is when it was accepted, Unix seconds.
	ReceivedAt int64
	// Mode is the mode of the key that signed it: "test" or "live".
	Mode string
	// Body is what was signed, byte for byte.
	Body []byte
}

// recordVersion begins a record: the byte, the mode (0 test, 1 live), the time as an
// unsigned varint, and the body to the end.
const recordVersion = 1

const (
	modeTest = "test"
	modeLive = "live"
)

var errBadRecord = errors.New("not a stored callback")

// Append adds the record's encoding to b.
func (r Record) Append(b []byte) ([]byte, error) {
	var mode byte
	switch r.Mode {
	case modeTest:
	case modeLive:
		mode = 1
	default:
		return nil, fmt.Errorf("encode callback: unknown mode %q", r.Mode)
	}
	if r.ReceivedAt < 0 {
		return nil, fmt.Errorf("encode callback: time %d", r.ReceivedAt)
	}
	b = append(b, recordVersion, mode)
	b = binary.AppendUvarint(b, uint64(r.ReceivedAt))
	return append(b, r.Body...), nil
}

// ParseRecord reads what Append wrote; Body shares data's memory.
func ParseRecord(data []byte) (Record, error) {
	if len(data) < 3 || data[0] != recordVersion || data[1] > 1 {
		return Record{}, errBadRecord
	}
	at, n := binary.Uvarint(data[2:])
	if n <= 0 || at > 1<<62 {
		return Record{}, errBadRecord
	}
	r := Record{ReceivedAt: int64(at), Mode: modeTest, Body: data[2+n:]}
	if data[1] == 1 {
		r.Mode = modeLive
	}
	return r, nil
}
