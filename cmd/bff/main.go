// Command bff is the checkout's one binary: it reads the settings from flags and the
// environment, starts what internal/app joins, and stops it on a signal.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"wzrdcheckout/internal/app"
)

// version and commit are set by build.sh: the release, and what it was built from.
var (
	version = "dev"
	commit  = ""
)

// commands are the whole command line.
func commands() []command {
	var (
		serve   serve
		demo    demo
		sandbox sandbox
		check   check
		csp     csp
		about   about
	)
	return []command{
		{"serve", "Run the BFF.", &serve, serve.Run},
		{"demo", "Run BFF, sandbox and a demo shop on http://localhost:8080.", &demo, demo.Run},
		{"sandbox", "Run the WZRDPAY emulator alone.", &sandbox, sandbox.Run},
		{"check", "Try every setting and say what is wrong; exits 0 or 1.", &check, check.Run},
		{"csp", "Print what a shop adds to its Content-Security-Policy, the SRI hashes and the script inventory.", &csp, csp.Run},
		{"version", "Print the version.", &about, about.Run},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// report prints one line for each thing that is wrong.
func report(err error) {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) && len(many.Unwrap()) > 0 {
		for _, one := range many.Unwrap() {
			fmt.Fprintln(os.Stderr, "bff:", strings.ReplaceAll(one.Error(), "\n", "\nbff: "))
		}
		return
	}
	fmt.Fprintln(os.Stderr, "bff:", err)
}

type serve struct {
	Settings settings
}

// Run serves until a signal arrives.
func (s *serve) Run(ctx context.Context) error {
	config, err := s.Settings.config()
	if err := errors.Join(err, validate(err, config)); err != nil {
		return err
	}
	bff, err := app.New(config)
	if err != nil {
		return err
	}
	return run(ctx, bff)
}

// validate looks at the settings' meaning only when they could be read.
func validate(read error, config app.Config) error {
	if read != nil {
		return nil
	}
	return config.Validate()
}

// program is what New of internal/app gives.
type program interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Failed() <-chan error
}

// run starts a program and stops it when the context ends or a part of it fails.
func run(ctx context.Context, p program) error {
	if err := p.Start(ctx); err != nil {
		return errors.Join(err, stop(p))
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-p.Failed():
	}
	return errors.Join(failed, stop(p))
}

// stop gives a running program 30 s to drain.
func stop(p program) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return p.Stop(ctx)
}

type about struct{}

// Run prints version, commit and the build of the widget.
func (*about) Run(context.Context) error {
	fmt.Println(app.About(version, commit))
	return nil
}
