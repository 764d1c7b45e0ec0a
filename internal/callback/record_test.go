package callback_test

import (
	"bytes"
	"testing"

	"wzrdcheckout/internal/callback"
)

func TestRecord(t *testing.T) {
	t.Parallel()
	for _, r := range []callback.Record{
		{ReceivedAt: 0, Mode: "test", Body: []byte("{}")},
		{ReceivedAt: 1_700_000_000, Mode: "live", Body: []byte(`{"data":{}}`)},
		{ReceivedAt: 1 << 40, Mode: "live", Body: nil},
	} {
		data, err := r.Append(nil)
		if err != nil {
			t.Fatalf("Append(%+v) = %v", r, err)
		}
		got, err := callback.ParseRecord(data)
		if err != nil || got.ReceivedAt != r.ReceivedAt || got.Mode != r.Mode || !bytes.Equal(got.Body, r.Body) {
			t.Errorf("ParseRecord(Append(%+v)) = %+v, %v", r, got, err)
		}
	}
	for _, r := range []callback.Record{{Mode: ""}, {Mode: "demo"}, {Mode: "test", ReceivedAt: -1}} {
		if _, err := r.Append(nil); err == nil {
			t.Errorf("Append(%+v) = nil, want an error", r)
		}
	}
	for _, data := range []string{"", "\x01", "\x01\x00", "\x00\x00\x00", "\x02\x00\x00", "\x01\x02\x00", "\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if r, err := callback.ParseRecord([]byte(data)); err == nil {
			t.Errorf("ParseRecord(%q) = %+v, want an error", data, r)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x00\x00{}"))
	f.Add([]byte("\x01\x01\x80\x9c\x8c\xac\x06{\"data\":{}}"))
	f.Add([]byte("\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := callback.ParseRecord(data)
		if err != nil {
			return
		}
		again, err := r.Append(nil)
		if err != nil {
			t.Fatalf("Append(%+v) = %v, want nil: it was read", r, err)
		}
		back, err := callback.ParseRecord(again)
		if err != nil || back.ReceivedAt != r.ReceivedAt || back.Mode != r.Mode || !bytes.Equal(back.Body, r.Body) {
			t.Errorf("ParseRecord(%q) = %+v, %v, want %+v", again, back, err, r)
		}
	})
}
