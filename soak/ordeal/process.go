package ordeal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// MerchantKey opens the private plane of a Program.
const MerchantKey = "ordeal-merchant-key-0123456789"

// webhookSecret is what a Program signs webhooks with, and a receiver checks them by.
var webhookSecret = bytes.Repeat([]byte{11}, 32)

// Build compiles cmd/bff of the module at root into dir. The widget has to be built.
func Build(ctx context.Context, root, dir string, flags ...string) (string, error) {
	bin, err := filepath.Abs(filepath.Join(dir, "bff"))
	if err != nil {
		return "", fmt.Errorf("find folder: %w", err)
	}
	args := append([]string{"build", "-o", bin}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/bff")...) //nolint:gosec // of our own tree
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bff: %w: %s", err, out)
	}
	return bin, nil
}

// Settings are what a Program is made from.
type Settings struct {
	Bin        string
	Dir        string // of data and log
	WZRD       *sandbox.Server
	WebhookURL string   // "" = none
	Env        []string // more variables, or others
	Trace      bool     // run under strace, for PowerCut
}

// Program is a bff that can be killed and started again, on the same ports and data.
type Program struct {
	settings        Settings
	public, private string // host:port
	data            string
	http            *http.Client

	mu    sync.Mutex
	run   *running
	boots int
	trace *ledger
}

// running is one life of the process.
type running struct {
	cmd  *exec.Cmd
	pid  int // of bff itself, also under strace
	done chan struct{}
	err  error
	log  string
}

// NewProgram takes ports and folders; Start starts it.
func NewProgram(s Settings) (*Program, error) {
	p := &Program{settings: s, data: filepath.Join(s.Dir, "data")}
	var err error
	if p.public, err = freeAddress(); err != nil {
		return nil, err
	}
	if p.private, err = freeAddress(); err != nil {
		return nil, err
	}
	// Half of the connections die with each kill: no more are kept than are in use.
	p.http = &http.Client{Timeout: 45 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 5 * time.Second}}
	return p, nil
}

// freeAddress finds a port below those that the kernel gives to outgoing connections,
// one of which could take it while the program is down.
func freeAddress() (string, error) {
	for range 200 {
		address := "127.0.0.1:" + strconv.Itoa(12_000+rand.IntN(20_000)) //nolint:gosec // not a secret
		l, err := net.Listen("tcp", address)                             //nolint:noctx // local and at once
		if err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no free port between 12000 and 32000")
}

// PrivateURL is the private plane.
func (p *Program) PrivateURL() string { return "http://" + p.private }

// PublicURL is the public plane.
func (p *Program) PublicURL() string { return "http://" + p.public }

// name is what it keeps as its name among replicas.
func (p *Program) name() (string, error) {
	text, err := os.ReadFile(filepath.Join(p.data, "server-name"))
	if err != nil {
		return "", fmt.Errorf("read name: %w", err)
	}
	return string(text), nil
}

// Boots is how often it was started.
func (p *Program) Boots() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.boots
}

// Launch starts the process and does not wait for it.
func (p *Program) Launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run != nil {
		return errors.New("start bff: it runs")
	}
	if err := os.MkdirAll(p.data, 0o755); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	p.boots++
	log := filepath.Join(p.settings.Dir, fmt.Sprintf("bff-%d.log", p.boots))
	out, err := os.Create(log)
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer out.Close()
	args := []string{p.settings.Bin, "serve"}
	if p.settings.Trace {
		if p.trace, err = newLedger(p.data, filepath.Join(p.settings.Dir, "trace")); err != nil {
			return err
		}
		args = append(p.trace.command(), args...)
	}
	keys := p.settings.WZRD.Credentials()
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // our own binary; Kill ends it
	cmd.Env = append(os.Environ(),
		"BFF_LISTEN="+p.public, "BFF_PRIVATE_LISTEN="+p.private, "BFF_PUBLIC_URL="+p.PublicURL(),
		"BFF_DATA_DIR="+p.data, "BFF_MERCHANT_KEYS="+MerchantKey,
		"BFF_SESSION_KEYS=ordeal:"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)),
		"BFF_LOG_LEVEL=warn", "BFF_LIMIT_PAYS=1000000", "BFF_LIMIT_PAYS_BURST=1000000",
		"BFF_LIMIT_REQUESTS=1000000", "BFF_LIMIT_REQUESTS_BURST=1000000",
		"WZRD_PUBLIC_API="+p.settings.WZRD.URL()+"/public-api", "WZRD_PRIVATE_API="+p.settings.WZRD.URL()+"/api",
		"WZRD_HPP_URL="+p.settings.WZRD.URL(), "WZRD_PUBLIC_KEY="+keys.PublicKeys[0], "WZRD_ACCOUNT_ID="+keys.AccountID,
		"WZRD_API_KEY="+keys.APIKey, "WZRD_SIGNING_KEYS="+keys.SigningKeys[0], "WZRD_RATE=1000000", "WZRD_BURST=1000000",
	)
	if p.settings.WebhookURL != "" {
		cmd.Env = append(cmd.Env, "BFF_WEBHOOK_URL="+p.settings.WebhookURL,
			"BFF_WEBHOOK_SECRETS=whsec_"+base64.StdEncoding.EncodeToString(webhookSecret))
	}
	cmd.Env = append(cmd.Env, p.settings.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start bff: %w", err)
	}
	r := &running{cmd: cmd, pid: cmd.Process.Pid, done: make(chan struct{}), log: log}
	go func() {
		r.err = cmd.Wait()
		close(r.done)
	}()
	p.run = r
	if p.settings.Trace {
		if r.pid, err = child(cmd.Process.Pid, r.done); err != nil {
			return errors.Join(err, errors.New(r.tail()))
		}
	}
	return nil
}

// child waits until a process has its one child.
func child(pid int, ended <-chan struct{}) (int, error) {
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if fields := strings.Fields(string(text)); err == nil && len(fields) == 1 {
			// strace forks before it executes; until then the child is another strace.
			name, err := os.ReadFile("/proc/" + fields[0] + "/comm") //nolint:gosec // the kernel's own number
			if err == nil && strings.TrimSpace(string(name)) == "bff" {
				return strconv.Atoi(fields[0])
			}
		}
		select {
		case <-ended:
			return 0, errors.New("strace ended at its start")
		case <-time.After(time.Millisecond):
		}
	}
}

// Start starts it and waits until it is ready.
func (p *Program) Start(ctx context.Context) error {
	if err := p.Launch(); err != nil {
		return err
	}
	return p.Ready(ctx)
}

// Ready waits, two minutes at most, until /readyz is 200.
func (p *Program) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	p.mu.Lock()
	r := p.run
	p.mu.Unlock()
	if r == nil {
		return errors.New("wait for bff: it does not run")
	}
	for {
		if status, _, err := p.call(ctx, http.MethodGet, "http://"+p.private+"/readyz", "", nil); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-r.done:
			return fmt.Errorf("%w: %w: %s", errEnded, r.err, r.tail())
		case <-ctx.Done():
			return fmt.Errorf("bff is not ready: %w: %s", ctx.Err(), r.tail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Kill is kill -9. It returns when the process is gone.
func (p *Program) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.run
	if r == nil {
		return nil
	}
	p.run = nil
	select {
	case <-r.done:
		return fmt.Errorf("%w: %w: %s", errEnded, r.err, r.tail())
	default:
	}
	target, err := os.FindProcess(r.pid)
	if err == nil {
		err = target.Kill()
	}
	if err != nil {
		return fmt.Errorf("kill bff: %w", err)
	}
	<-r.done
	p.http.CloseIdleConnections()
	return nil
}

// Restart kills it and starts it again.
func (p *Program) Restart(ctx context.Context) error {
	if err := p.Kill(); err != nil {
		return err
	}
	return p.Start(ctx)
}

// PowerCut kills it and takes from its files what was not synced. It gives how many
// bytes of how many files were lost.
func (p *Program) PowerCut() (lost, error) {
	if err := p.Kill(); err != nil {
		return lost{}, err
	}
	return p.trace.cut()
}

// errEnded: the process has ended, and nobody killed it.
var errEnded = errors.New("bff ended by itself")

// ended gives errEnded with the end of its log when that is so.
func (p *Program) ended() error {
	p.mu.Lock()
	r := p.run
	p.mu.Unlock()
	if r == nil {
		return nil
	}
	select {
	case <-r.done:
		return fmt.Errorf("%w: %w: %s", errEnded, r.err, r.tail())
	default:
		return nil
	}
}

// told gives the end of the log as an error, to stand beside another.
func (p *Program) told() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return nil
	}
	return errors.New("bff logged at last: " + p.run.tail())
}

func (r *running) tail() string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// message finds the text of a log line.
var message = regexp.MustCompile(`"level":"(ERROR|WARN)","msg":"([^"]*)"`)

// Logged counts the messages of all lives, and gives what no life may have: a panic or a
// data race.
func (p *Program) Logged() (counts map[string]int, fatal []string, err error) {
	counts = map[string]int{}
	logs, err := filepath.Glob(filepath.Join(p.settings.Dir, "bff-*.log"))
	if err != nil {
		return nil, nil, fmt.Errorf("find logs: %w", err)
	}
	slices.Sort(logs)
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			return nil, nil, fmt.Errorf("read log: %w", err)
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if m := message.FindStringSubmatch(line); m != nil {
				counts[m[1]+" "+m[2]]++
			}
			if strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE") || strings.HasPrefix(line, "fatal error:") {
				fatal = append(fatal, filepath.Base(log)+": "+line)
			}
		}
	}
	return counts, fatal, nil
}
