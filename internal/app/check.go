package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"wzrdcheckout/internal/broker"
	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/wzrd"
	"wzrdcheckout/public"
)

// Finding is what `bff check` says of one thing: whether it works, and how to mend it.
type Finding struct {
	Subject string `json:"subject"` // a setting's variable, or what was tried
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
	Mend    string `json:"mend,omitempty"`
}

// checkTimeout bounds each thing that is tried.
const checkTimeout = 10 * time.Second

// Check looks at every setting and tries what can be tried without changing anything:
// ports, data folder or engine, the keys at WZRDPAY. Each finding is handed to found as
// soon as it is known. It returns whether all is well.
func Check(ctx context.Context, cfg Config, currency string, found func(Finding)) bool {
	well := true
	tell := func(f Finding) {
		well = well && f.OK
		found(f)
	}
	if err := cfg.Validate(); err != nil {
		for _, one := range settingsOf(err) {
			setting, detail, _ := strings.Cut(one.Error(), ": ")
			tell(Finding{Subject: setting, Detail: detail, Mend: "set it and check again"})
		}
		return false
	}
	tell(Finding{Subject: "settings", OK: true, Detail: "complete, and of one mode: " + map[bool]string{true: "live", false: "test"}[cfg.Live()]})
	tell(checkWidget())
	for _, f := range checkShop(cfg) {
		tell(f)
	}
	tell(checkPort(ctx, "BFF_LISTEN", cfg.Listen, "/widget/v1/checkout.js"))
	tell(checkPort(ctx, "BFF_PRIVATE_LISTEN", cfg.PrivateListen, "/healthz"))
	if cfg.NATS.URL == "" {
		tell(checkFolder(cfg.DataDir))
	} else {
		tell(checkNATS(ctx, cfg))
	}
	client, err := wzrd.New(wzrd.Config{
		PublicAPI: cfg.WZRD.PublicAPI, PrivateAPI: cfg.WZRD.PrivateAPI, HPPURL: cfg.WZRD.HPPURL,
		PublicKey: cfg.WZRD.PublicKey, AccountID: cfg.WZRD.AccountID, APIKey: wzrd.Secret(cfg.WZRD.APIKey),
		SigningKeys: secrets(cfg.WZRD.SigningKeys), RatePerSecond: cfg.WZRD.RatePerSecond, Burst: cfg.WZRD.Burst,
	})
	if err != nil {
		tell(Finding{Subject: "WZRDPAY", Detail: err.Error()})
		return false
	}
	defer func() { _ = client.Stop(context.WithoutCancel(ctx)) }()
	tell(checkPublicKey(ctx, client, currency))
	tell(checkAPIKey(ctx, client))
	if f, compared := checkClock(ctx, cfg.WZRD.PrivateAPI, time.Now); compared {
		tell(f)
	}
	return well
}

// settingsOf splits what Validate joined.
func settingsOf(err error) []error {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		return many.Unwrap()
	}
	return []error{err}
}

func checkWidget() Finding {
	manifest, err := public.Load()
	if err != nil {
		return Finding{Subject: "widget", Detail: err.Error(), Mend: "build the binary with ./build.sh"}
	}
	return Finding{Subject: "widget", OK: true, Detail: fmt.Sprintf("by %s, %d bytes (brotli) in a page", manifest.Compiler, manifest.PageBrotli)}
}

// checkPort takes a port and gives it back. A port that is taken is fine when a bff
// already answers there: one may check a running service.
func checkPort(ctx context.Context, setting, address, known string) Finding {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		if err := l.Close(); err != nil {
			return Finding{Subject: setting, Detail: err.Error()}
		}
		return Finding{Subject: setting, OK: true, Detail: address + " is free"}
	}
	if errors.Is(err, syscall.EADDRINUSE) && answers(ctx, address, known) {
		return Finding{Subject: setting, OK: true, Detail: "a bff answers at " + address}
	}
	return Finding{Subject: setting, Detail: err.Error(), Mend: "stop what uses the port, or choose another"}
}

// answers tells whether a GET of path at a local address gives 200.
func answers(ctx context.Context, address, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func checkFolder(dir string) Finding {
	f := Finding{Subject: "BFF_DATA_DIR", Mend: "give a folder on a local disk that this user may write to"}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		f.Detail = err.Error()
		return f
	}
	probe := filepath.Join(dir, ".check")
	if err := os.WriteFile(probe, []byte("check"), 0o600); err != nil {
		f.Detail = err.Error()
		return f
	}
	if err := os.Remove(probe); err != nil {
		f.Detail = err.Error()
		return f
	}
	return Finding{Subject: "BFF_DATA_DIR", OK: true, Detail: dir + " can be written to"}
}

// natsSettings are the variables behind the broker's names.
var natsSettings = map[string]string{ //nolint:gosec // names of variables, no credentials
	"NATSURL": "BFF_NATS_URL", "NATSCreds": "BFF_NATS_CREDS", "NATSCA": "BFF_NATS_CA", "NATSCert": "BFF_NATS_CERT", "Replicas": "BFF_NATS_REPLICAS",
}

func checkNATS(ctx context.Context, cfg Config) Finding {
	ctx, cancel := context.WithTimeout(ctx, 3*checkTimeout)
	defer cancel()
	err := broker.Check(ctx, broker.Config{
		NATSURL: cfg.NATS.URL, NATSCreds: cfg.NATS.Creds, NATSCA: cfg.NATS.CA, NATSCert: cfg.NATS.Cert, NATSKey: cfg.NATS.Key,
		Replicas: cfg.NATS.Replicas, RetentionDays: cfg.RetentionDays,
	})
	var unfit *broker.Unfit
	switch {
	case errors.As(err, &unfit):
		return Finding{Subject: natsSettings[unfit.Field], Detail: unfit.Detail, Mend: unfit.Mend}
	case err != nil:
		return Finding{Subject: "BFF_NATS_URL", Detail: err.Error(), Mend: "see docs/operations.md, external NATS"}
	}
	return Finding{Subject: "BFF_NATS_URL", OK: true, Detail: fmt.Sprintf("connected; JetStream keeps %d copies, can be written to and heard", cfg.NATS.Replicas)}
}

func checkPublicKey(ctx context.Context, client *wzrd.Client, currency string) Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	f := Finding{Subject: "WZRD_PUBLIC_KEY", Mend: "compare WZRD_PUBLIC_API and the key with Account → Integration"}
	p, err := client.PreRequest(ctx, currency)
	switch {
	case err != nil:
		f.Detail = err.Error()
		var call *checkout.UpstreamError
		if errors.As(err, &call) && call.Status == 0 {
			f.Mend = "WZRD_PUBLIC_API does not answer: compare it, and let this machine reach it"
		}
		return f
	case p.TestMode != (client.Mode() == "test"):
		f.Detail = "WZRDPAY answers in the other mode"
		f.Mend = "WZRD_PUBLIC_API and the key must both be the test ones, or both the live ones"
		return f
	case len(p.Services) == 0:
		f.Detail = "WZRDPAY offers no service in " + currency
		f.Mend = "check with --currency of one that the account has, or let WZRDPAY switch services on"
		return f
	}
	return Finding{Subject: "WZRD_PUBLIC_KEY", OK: true, Detail: fmt.Sprintf("%d services in %s", len(p.Services), currency)}
}

func checkAPIKey(ctx context.Context, client *wzrd.Client) Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	list, _, err := client.Services(ctx, "", 100)
	if err != nil {
		mend := "compare WZRD_PRIVATE_API, WZRD_ACCOUNT_ID and WZRD_API_KEY with Account → Integration, and its list of allowed addresses"
		var call *checkout.UpstreamError
		if errors.As(err, &call) && call.Status == 0 {
			mend = "WZRD_PRIVATE_API does not answer: compare it, and let this machine reach it"
		}
		return Finding{Subject: "WZRD_API_KEY", Detail: err.Error(), Mend: mend}
	}
	return Finding{Subject: "WZRD_API_KEY", OK: true, Detail: fmt.Sprintf("the private API answers; %d services on the first page", len(list))}
}
