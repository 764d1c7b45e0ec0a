// Package docs_test runs what the documents say: every command and program of every
// document is executed against a demo, or says after its language why it is not
// (skip="…"). JSON and text below a command is what it must print: every member, with its
// type; values too, unless they are made anew. What stands in a page (js, html, css of
// embed.md and README.md) is run in a browser by e2e/docs_test.go.
package docs_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	"testing"
	"time"

	"wzrdcheckout/internal/app"
	"wzrdcheckout/public"
)

// block is a fenced part of a document: its language, what follows it on the fence, its text.
type block struct {
	language, mark, text string
	line                 int
}

var fence = regexp.MustCompile("(?ms)^```(\\S*)([^\n]*)\n(.*?)^```$")

func blocks(t *testing.T, name string) []block {
	t.Helper()
	var all []block
	text := read(t, name)
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		all = append(all, block{
			language: text[at[2]:at[3]], mark: strings.TrimSpace(text[at[4]:at[5]]), text: text[at[6]:at[7]],
			line: 1 + strings.Count(text[:at[0]], "\n"),
		})
	}
	return all
}

// documents are all there are: their blocks must be run or excused.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, where := range []string{"*.md", "decisions/*.md", "../*.md", "../examples/*.md", "../npm/*.md"} {
		found, err := filepath.Glob(where)
		if err != nil || len(found) == 0 {
			t.Fatalf("no document is at %s: %v", where, err)
		}
		all = append(all, found...)
	}
	return all
}

// inPages are the documents whose js, html and css is for pages.
var inPages = []string{"embed.md", "widget-review.md"}

func TestBlocks_RunOrExcused(t *testing.T) {
	t.Parallel()
	// What is shown and not run: what a command prints, what a file holds, drawings.
	shown := []string{"json", "text", "", "sql", "mermaid", "html", "css"}
	wrappers := []string{"ts", "tsx", "vue", "svelte"} // of npm/: e2e/frameworks_test.go drives them
	for _, name := range documents(t) {
		for _, b := range blocks(t, name) {
			if slices.Contains(shown, b.language) || b.language == "js" && slices.Contains(inPages, name) {
				continue
			}
			if slices.Contains(wrappers, b.language) && strings.HasPrefix(name, "../npm/") {
				continue
			}
			if b.mark != "run" && b.mark != "verify" && !regexp.MustCompile(`^skip="[^"]{8,}"$`).MatchString(b.mark) {
				t.Errorf("%s:%d: a %s block is neither run nor excused", name, b.line, b.language)
			}
		}
	}
}

// need finds a program that the documents use. Where all must be there (CHECKOUT_DOCS=required) none may be missing.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CHECKOUT_DOCS") == "required" {
				t.Fatalf("%s is missing, and CHECKOUT_DOCS=required", name)
			}
			t.Skipf("%s is not on this machine", name)
		}
	}
}

// interpreters run a program of a language that is in a file.
var interpreters = map[string][]string{
	"sh": {"bash"}, "js": {"node"}, "php": {"php"}, "python": {"python3"}, "go": {"go", "run"},
}

// command runs a program text in dir; its variables are env and what a program needs to run.
func command(ctx context.Context, t *testing.T, b block, dir string, env []string) *exec.Cmd {
	t.Helper()
	need(t, interpreters[b.language][0])
	ending := map[string]string{"js": "mjs", "python": "py"}[b.language]
	if ending == "" {
		ending = b.language
	}
	file := filepath.Join(dir, fmt.Sprintf("line%d.%s", b.line, ending))
	if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(interpreters[b.language][1:]), file)
	cmd := exec.CommandContext(ctx, interpreters[b.language][0], args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if b.language == "go" {
		cmd.Env = append(cmd.Env, "GO111MODULE=off", "GOFLAGS=") // one file, standard library
	}
	return cmd
}

// startDemo starts shop, bff and WZRDPAY's double, and gives what the documents call them.
func startDemo(t *testing.T) []string {
	t.Helper()
	demo, err := app.NewDemo(app.DemoConfig{
		Listen: "localhost:0", PrivateListen: "127.0.0.1:0", SandboxListen: "127.0.0.1:0", DataDir: t.TempDir(),
		MerchantKey: "mk_demo_of_the_documents",
	})
	if err == nil {
		err = demo.Start(t.Context())
	}
	if errors.Is(err, public.ErrNotBuilt) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := demo.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return []string{"BFF=" + demo.API(), "PUBLIC=" + demo.URL(), "SANDBOX=" + demo.Sandbox().URL(), "MERCHANT_KEY=" + demo.MerchantKey()}
}

// TestDocuments_Run runs the shell blocks of each document as one script, the others each as a program.
func TestDocuments_Run(t *testing.T) {
	t.Parallel()
	for _, name := range documents(t) {
		all := blocks(t, name)
		if !slices.ContainsFunc(all, func(b block) bool { return b.mark == "run" }) {
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			need(t, "bash", "curl", "jq")
			env, dir := startDemo(t), t.TempDir()
			occur(t, env)
			env = append(env, atHand(t, dir)...)
			script(t, name, all, dir, env)
			for _, b := range all {
				if b.mark != "run" || b.language == "sh" {
					continue
				}
				t.Run(b.language, func(t *testing.T) {
					cmd := command(t.Context(), t, b, t.TempDir(), env)
					out, err := cmd.CombinedOutput()
					if err != nil || !strings.HasPrefix(string(out), "cs_") {
						t.Errorf("%s:%d: %v\n%s", name, b.line, err, out)
					}
				})
			}
		})
	}
}

// program builds bff once for all tests and gives its folder; TestMain removes it.
var program = sync.OnceValues(func() (string, error) {
	bin, err := os.MkdirTemp("", "wzrdcheckout-docs-")
	if err != nil {
		return "", err
	}
	folder = bin
	if out, err := exec.CommandContext(context.Background(), "go", "build", "-buildvcs=false", "-o", bin, "../cmd/bff").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

var folder string // of program, "" = not built

func TestMain(m *testing.M) {
	failed := m.Run()
	if folder != "" {
		_ = os.RemoveAll(folder)
	}
	os.Exit(failed)
}

// atHand puts what a reader has at hand into dir: the folder deploy, and bff on the PATH.
func atHand(t *testing.T, dir string) []string {
	t.Helper()
	deploy, err := filepath.Abs("../deploy")
	if err == nil {
		err = os.Symlink(deploy, filepath.Join(dir, "deploy"))
	}
	if err != nil {
		t.Fatal(err)
	}
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	// The default ports may be taken on the machine of the test.
	return []string{"PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH"), "BFF_LISTEN=127.0.0.1:0", "BFF_PRIVATE_LISTEN=127.0.0.1:0", "BFF_DATA_DIR=" + filepath.Join(dir, "data"), "FIRST_PORT=" + firstPort(t)}
}

// firstPort gives the first of 23 ports that are free, below those that the system gives away.
func firstPort(t *testing.T) string {
	t.Helper()
	free := func(first int) bool {
		for n := range 23 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+n))
			if err != nil {
				return false
			}
			_ = l.Close()
		}
		return true
	}
	for range 100 {
		if first := 20_000 + 25*rand.IntN(400); free(first) {
			return strconv.Itoa(first)
		}
	}
	t.Fatal("no 23 ports in a row are free")
	return ""
}

// TestDeploy_Check fills a folder as deploy/ tells and lets check.sh judge it.
func TestDeploy_Check(t *testing.T) {
	t.Parallel()
	need(t, "bash", "openssl")
	_ = startDemo(t) // skips on a clone that was not built
	dir := t.TempDir()
	cmd := command(t.Context(), t, block{language: "sh", text: `set -euo pipefail
trap 'kill -9 $(jobs -p) 2>/dev/null || :' EXIT
bff sandbox --listen 127.0.0.1:0 >sandbox.env 2>/dev/null &
until grep -qs WZRD_SIGNING_KEYS sandbox.env; do sleep 0.1; done
mkdir conf
deploy/secrets.sh conf
(
	. ./sandbox.env
	printf '%s\n' "$WZRD_PUBLIC_KEY" >conf/wzrd_public_key
	printf '%s\n' "$WZRD_API_KEY" >conf/wzrd_api_key
	printf '%s\n' "$WZRD_SIGNING_KEYS" >conf/wzrd_signing_keys
	sed -e "s|^WZRD_PUBLIC_API=.*|WZRD_PUBLIC_API=$WZRD_PUBLIC_API|" -e "s|^WZRD_PRIVATE_API=.*|WZRD_PRIVATE_API=$WZRD_PRIVATE_API|" \
		-e "s|^WZRD_ACCOUNT_ID=.*|WZRD_ACCOUNT_ID=$WZRD_ACCOUNT_ID|" deploy/bff.env.example >conf/bff.env
)
deploy/secrets.sh conf # again: what is there stays
unset BFF_DATA_DIR
deploy/check.sh conf --currency EUR
rm conf/wzrd_api_key
if deploy/check.sh conf; then exit 9; fi
`}, dir, atHand(t, dir))
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("services in EUR")) || !bytes.Contains(out, []byte("wzrd_api_key")) || bytes.Contains(out, []byte("WRONG")) {
		t.Errorf("check.sh: %v\n%s", err, out)
	}
}

// occur makes one event, so that lists of events are not empty.
func occur(t *testing.T, env []string) {
	t.Helper()
	at, key := strings.TrimPrefix(env[0], "BFF="), strings.TrimPrefix(env[3], "MERCHANT_KEY=")
	post := func(path, body string) (answer struct{ ID string }) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode > 299 {
			t.Fatalf("POST %s = %d, %v", path, res.StatusCode, err)
		}
		return answer
	}
	session := post("/v1/sessions", `{"reference_id":"cancelled","amount":5,"currency":"EUR"}`)
	post("/v1/sessions/"+session.ID+"/expire", "{}")
}

// script runs the shell blocks one after the other in one shell, as a reader would.
func script(t *testing.T, name string, all []block, dir string, env []string) {
	t.Helper()
	text := "set -euo pipefail\ntrap 'kill -9 $(jobs -p) 2>/dev/null || :' EXIT\n" // what still runs in the background ends
	for i, b := range all {
		if b.language == "sh" && b.mark == "run" {
			text += fmt.Sprintf("echo %d >at\n{\n%s} >out.%d 2>err.%d </dev/null\n", b.line, b.text, i, i)
		}
	}
	cmd := command(t.Context(), t, block{language: "sh", text: text}, dir, env)
	if out, err := cmd.CombinedOutput(); err != nil {
		at, _ := os.ReadFile(filepath.Join(dir, "at"))
		said, _ := filepath.Glob(filepath.Join(dir, "err.*"))
		for _, file := range said {
			more, _ := os.ReadFile(file)
			out = append(out, more...)
		}
		t.Fatalf("%s:%s: %v\n%s", name, bytes.TrimSpace(at), err, out)
	}
	for i, b := range all {
		if b.language != "sh" || b.mark != "run" || i+1 == len(all) {
			continue
		}
		out, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("out.%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		switch next := all[i+1]; next.language {
		case "json":
			var want, got any
			if err := json.Unmarshal([]byte(next.text), &want); err != nil {
				t.Errorf("%s:%d: %v", name, next.line, err)
			}
			if err := json.Unmarshal(out, &got); err != nil {
				t.Errorf("%s:%d printed no JSON: %s", name, b.line, out)
			}
			compare(t, fmt.Sprintf("%s:%d", name, next.line), "", want, got)
		case "text":
			if strings.TrimSpace(string(out)) != strings.TrimSpace(next.text) {
				t.Errorf("%s:%d printed %q, want %q", name, b.line, out, next.text)
			}
		}
	}
}

// anew are the members whose values differ from run to run.
var anew = []string{"id", "token", "url", "embed_html", "expires_at", "created_at", "created", "updated", "instance", "session", "state"}

// compare holds what was printed to what the document shows.
func compare(t *testing.T, where, member string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		real, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s: %s is %v, want an object", where, member, got)
			return
		}
		if a, b := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(real)); !slices.Equal(a, b) {
			t.Errorf("%s: %s has the members %v, the document shows %v", where, member, b, a)
		}
		for name, w := range want {
			compare(t, where, name, w, real[name])
		}
		return
	case string:
		text, ok := got.(string)
		start, _, open := strings.Cut(want, "…")
		if ok && (text == want || slices.Contains(anew, member) || open && strings.HasPrefix(text, start)) {
			return
		}
	case float64:
		number, ok := got.(float64)
		if ok && (number == want || slices.Contains(anew, member)) {
			return
		}
	default:
		if fmt.Sprint(want) == fmt.Sprint(got) {
			return
		}
	}
	t.Errorf("%s: %s is %v, the document shows %v", where, member, got, want)
}

// TestWebhooks_Verify runs each verifier of webhooks.md on good and on forged webhooks.
func TestWebhooks_Verify(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte("k9"), 16)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(raw)
	body := `{"type":"session.paid","data":{"reference_id":"order-1043","description":"Lämp"}}`
	sign := func(id string, at int64, body string) string {
		mac := hmac.New(sha256.New, raw)
		fmt.Fprintf(mac, "%s.%d.%s", id, at, body)
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	seen := map[string]bool{}
	for _, b := range blocks(t, "webhooks.md") {
		if b.mark != "verify" {
			continue
		}
		seen[b.language] = true
		t.Run(b.language, func(t *testing.T) {
			t.Parallel()
			if b.language == "sh" {
				need(t, "openssl", "od")
			}
			now := time.Now().Unix()
			good := sign("evt_1", now, body)
			for _, row := range []struct {
				name, id  string
				at        int64
				signature string
				body      string
				genuine   bool
			}{
				{"genuine", "evt_1", now, good, body, true},
				{"second of two", "evt_1", now, "v1,AAAA " + good, body, true},
				{"another body", "evt_1", now, good, body + " ", false},
				{"another id", "evt_2", now, good, body, false},
				{"an hour old", "evt_1", now - 3600, sign("evt_1", now-3600, body), body, false},
				{"an hour early", "evt_1", now + 3600, sign("evt_1", now+3600, body), body, false},
				{"no signature", "evt_1", now, "", body, false},
				{"cut signature", "evt_1", now, good[:len(good)-4], body, false},
			} {
				cmd := command(t.Context(), t, b, t.TempDir(), []string{
					"WEBHOOK_SECRET=" + secret, "HTTP_WEBHOOK_ID=" + row.id, fmt.Sprintf("HTTP_WEBHOOK_TIMESTAMP=%d", row.at), "HTTP_WEBHOOK_SIGNATURE=" + row.signature,
				})
				cmd.Stdin = strings.NewReader(row.body)
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
				if (err == nil) != row.genuine || bytes.Contains(out, []byte("rror")) {
					t.Errorf("%s: genuine = %v, want %v\n%s", row.name, err == nil, row.genuine, out)
				}
			}
		})
	}
	if len(seen) != 5 {
		t.Errorf("webhooks.md verifies in %v, want five languages", slices.Sorted(maps.Keys(seen)))
	}
}
