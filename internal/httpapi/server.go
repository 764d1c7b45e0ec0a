package httpapi

import (
	"log/slog"
	"net/http"
	"time"
)

// Server gives the HTTP server of a plane. A request's header has 10 s to arrive, its
// body 30 s; an answer, the longest being a payment attempt of 40 s and a long poll of
// 25 s, has 60 s; an idle connection ends after 2 minutes. The caller sets Addr.
func Server(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
