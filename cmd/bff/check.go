package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"wzrdcheckout/internal/app"
)

type check struct {
	Settings settings
	Currency string `default:"USD" placeholder:"CODE" help:"Currency to ask services for."`
	Reach    bool   `help:"Call BFF_PUBLIC_URL and BFF_WEBHOOK_URL too: bff runs, the shop must refuse a forged webhook."`
	JSON     bool   `name:"json" help:"Print one JSON object a line."`
}

// errCheck makes the exit code 1; what is wrong was printed already.
var errCheck = errors.New("not ready to serve: see above")

// Run tries the settings.
func (c *check) Run(ctx context.Context) error {
	config, err := c.Settings.config()
	if err != nil {
		return err
	}
	config.Logger = slog.New(slog.DiscardHandler)
	lines := json.NewEncoder(os.Stdout)
	found := func(f app.Finding) {
		if c.JSON {
			_ = lines.Encode(f)
			return
		}
		mark := "ok   "
		if !f.OK {
			mark = "WRONG"
		}
		fmt.Printf("%s  %-20s %s\n", mark, f.Subject, f.Detail)
		if f.Mend != "" {
			fmt.Printf("%28s→ %s\n", "", f.Mend)
		}
	}
	well := app.Check(ctx, config, c.Currency, found)
	if c.Reach && well {
		well = app.CheckReach(ctx, config, found)
	}
	if !well {
		return errCheck
	}
	return nil
}
