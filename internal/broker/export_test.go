package broker

import "log/slog"

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
