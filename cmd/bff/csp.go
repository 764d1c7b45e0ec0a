package main

import (
	"context"
	"encoding/json"
	"os"

	"wzrdcheckout/internal/app"
)

type csp struct {
	PublicURL   string `name:"public-url" env:"BFF_PUBLIC_URL" required:"" placeholder:"URL" help:"The public plane as seen from outside."`
	InlineStyle bool   `name:"inline-style" help:"For embed_html with its style inside (?embed_style=inline): add the style's hash."`
	JSON        bool   `name:"json" help:"Print JSON."`
}

// Run prints the policy.
func (c *csp) Run(context.Context) error {
	policy, err := app.CSP(c.PublicURL)
	if err != nil {
		return err
	}
	if c.InlineStyle {
		if policy, err = policy.WithInlineStyle(); err != nil {
			return err
		}
	}
	if !c.JSON {
		return policy.Write(os.Stdout)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(policy)
}
