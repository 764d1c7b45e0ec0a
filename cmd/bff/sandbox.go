package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"wzrdcheckout/internal/app"
)

type sandbox struct {
	Listen        string        `default:"127.0.0.1:8082" placeholder:"ADDR" help:"Address of APIs, hosted page and control."`
	ControlListen string        `placeholder:"ADDR" help:"Serve the control routes on a port of their own."`
	PublicURL     string        `name:"public-url" placeholder:"URL" help:"Its base as seen from outside."`
	CallbackURL   string        `name:"callback-url" placeholder:"URL" help:"Where callbacks go when an invoice names no address."`
	CallbackRetry time.Duration `default:"1m" placeholder:"DURATION" help:"The n-th retry comes n of these after the one before."`
	Catalogue     string        `placeholder:"FILE" help:"Serve an OpenFinTech catalogue instead of the built-in one."`
	Faults        string        `enum:"none,misbehaving" default:"none" placeholder:"HOW" help:"none, or misbehaving: late, wrong, doubled, lost."`
	Seed          uint64        `default:"1" placeholder:"N" help:"Of the faults."`
	Verbose       bool          `short:"v" help:"Log every request."`

	PublicKey       string `name:"wzrd-public-key" env:"WZRD_PUBLIC_KEY" placeholder:"KEY" help:"Public key to accept (default: its own test keys)."`
	AccountID       string `name:"wzrd-account-id" env:"WZRD_ACCOUNT_ID" placeholder:"ID" help:"Account to accept."`
	APIKey          string `name:"wzrd-api-key" env:"WZRD_API_KEY" placeholder:"KEY" help:"API key to accept."`
	WzrdSigningKeys string `env:"WZRD_SIGNING_KEYS" placeholder:"KEYS" help:"Comma list of keys to sign callbacks with."`
}

// Run serves until a signal arrives; it prints the settings that point a BFF at it.
func (s *sandbox) Run(ctx context.Context) error {
	level := slog.LevelWarn
	if s.Verbose {
		level = slog.LevelDebug
	}
	server, err := app.NewSandbox(app.SandboxConfig{
		Listen: s.Listen, ControlListen: s.ControlListen, PublicURL: s.PublicURL, CallbackURL: s.CallbackURL,
		CallbackRetry: s.CallbackRetry, Catalogue: s.Catalogue, Faults: s.Faults, Seed: s.Seed,
		WZRD:   app.WZRD{PublicKey: s.PublicKey, AccountID: s.AccountID, APIKey: s.APIKey, SigningKeys: list(s.WzrdSigningKeys)},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return errors.Join(err, stop(server))
	}
	fmt.Printf("# WZRDPAY sandbox: no real money moves. Settings for a BFF:\n%s", server.Settings())
	<-ctx.Done()
	return stop(server)
}
