package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"wzrdcheckout/internal/app"
)

type demo struct {
	Listen         string   `env:"BFF_LISTEN" default:"localhost:8080" placeholder:"ADDR" help:"Shop and public plane."`
	PrivateListen  string   `env:"BFF_PRIVATE_LISTEN" default:"127.0.0.1:8081" placeholder:"ADDR" help:"Private plane."`
	SandboxListen  string   `default:"127.0.0.1:8082" placeholder:"ADDR" help:"WZRDPAY's double."`
	DataDir        string   `placeholder:"DIR" help:"Keep the data there (default: a new folder, removed at the end)."`
	AllowedOrigins []string `default:"http://localhost:3000,http://localhost:5173" placeholder:"ORIGIN" help:"Comma list of origins of your own pages."`
	WebhookURL     string   `name:"webhook-url" placeholder:"URL" help:"Your shop's server hears instead of the demo's."`
	WebhookSecret  string   `placeholder:"SECRET" help:"whsec_… that signs (default: a new one, printed)."`
	Verbose        bool     `short:"v" help:"Log every request."`
}

// Run runs the demo until a signal arrives.
func (d *demo) Run(ctx context.Context) error {
	level := slog.LevelWarn
	if d.Verbose {
		level = slog.LevelDebug
	}
	bff, err := app.NewDemo(app.DemoConfig{
		Listen: d.Listen, PrivateListen: d.PrivateListen, SandboxListen: d.SandboxListen, DataDir: d.DataDir,
		Origins: d.AllowedOrigins, WebhookURL: d.WebhookURL, WebhookSecret: d.WebhookSecret,
		MerchantKey: os.Getenv("BFF_MERCHANT_KEYS"), Version: version, Commit: commit,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	return run(ctx, touring{bff})
}

// touring prints the tour once the demo stands.
type touring struct{ *app.Demo }

// Start starts the demo.
func (t touring) Start(ctx context.Context) error {
	if err := t.Demo.Start(ctx); err != nil {
		return err
	}
	fmt.Print(t.Tour())
	return nil
}
