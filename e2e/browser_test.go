package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a step may take on a loaded machine before the test fails.
const patience = 40 * time.Second

// chromium gives the browser's path. Without one the test is skipped, unless
// CHECKOUT_BROWSER=required, which ./build.sh test sets: then it fails.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHECKOUT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CHECKOUT_BROWSER") == "required" {
		t.Fatal("no Chromium: install it, or name it in CHECKOUT_CHROMIUM")
	}
	t.Skip("no Chromium: install it, or name it in CHECKOUT_CHROMIUM")
	return ""
}

// tab is one tab of a fresh browser. Whatever the page logs as an error, or throws, fails
// the test at its end, unless the test says that it expects it.
type tab struct {
	t        *testing.T
	ctx      context.Context
	noScript bool

	mu       sync.Mutex
	trouble  []string
	sent     []string // "METHOD URL" of every request
	expected []string
}

type setting func(*browserSettings)

type browserSettings struct {
	width, height int64
	mobile        bool
	dark          bool
	noScript      bool
	flags         []chromedp.ExecAllocatorOption
}

func phone(s *browserSettings)    { s.width, s.height, s.mobile = 390, 844, true }
func darkMode(s *browserSettings) { s.dark = true }
func noScript(s *browserSettings) { s.noScript = true }

func open(t *testing.T, settings ...setting) *tab {
	t.Helper()
	s := browserSettings{width: 1120, height: 900}
	for _, set := range settings {
		set(&s)
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("lang", "en-US"),
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(int(s.width), int(s.height)),
		chromedp.WSURLReadTimeout(patience),
	)
	flags = append(flags, s.flags...)
	allocator, stopBrowser := chromedp.NewExecAllocator(context.Background(), flags...)
	b := &tab{t: t, noScript: s.noScript}
	ctx, stopTab := chromedp.NewContext(allocator, chromedp.WithListener(b.listen))
	b.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() {
			b.keepPicture()
		}
		_ = chromedp.Cancel(ctx)
		stopTab()
		stopBrowser()
		b.judge()
	})
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "light"}}
	if s.dark {
		features[0].Value = "dark"
	}
	setUp := chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, t, runtime.Enable, cdp.Empty{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: s.width, Height: s.height, DeviceScaleFactor: 2, Mobile: s.mobile,
		})
		if err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
			return err
		}
		_, err = cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: s.noScript})
		return err
	})
	// The first run owns the browser: it must not have a deadline.
	if err := chromedp.Do(b.ctx, setUp); err != nil {
		t.Fatalf("open browser: %v", err)
	}
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.trouble = append(b.trouble, "exception: "+e.ExceptionDetails.Text+" "+describe(e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			var words []string
			for _, arg := range e.Args {
				words = append(words, describe(arg))
			}
			b.trouble = append(b.trouble, "console: "+strings.Join(words, " "))
		}
	case *network.EventRequestWillBeSent:
		b.sent = append(b.sent, e.Request.Method+" "+e.Request.URL)
	}
}

// expect says that trouble which holds the text is part of the story.
func (b *tab) expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text)
}

func (b *tab) judge() {
	b.mu.Lock()
	defer b.mu.Unlock()
trouble:
	for _, line := range b.trouble {
		for _, text := range b.expected {
			if strings.Contains(line, text) {
				continue trouble
			}
		}
		b.t.Errorf("the page complained: %s", line)
	}
}

// requests counts the requests so far whose "METHOD URL" holds the text.
func (b *tab) requests(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, line := range b.sent {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func describe(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return string(o.Value) + o.Description
}

func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

func (b *tab) visit(address string) {
	b.t.Helper()
	b.do("visit "+address, chromedp.Navigate(address))
}

// deep finds the first element that fits a selector in the document or in any open
// shadow root; with "text=" it must hold that text.
const deep = `function deep(selector, text) {
	const look = (root) => {
		for (const e of root.querySelectorAll(selector)) if (text === undefined || e.textContent.includes(text)) return e;
		for (const e of root.querySelectorAll("*")) if (e.shadowRoot) { const f = look(e.shadowRoot); if (f) return f; }
		return null;
	};
	return look(document);
}
function shown(e) { if (!e) return false; const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0 && getComputedStyle(e).visibility !== "hidden"; }
`

// evaluate runs an expression that may use deep() and shown().
func evaluate[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T]("(()=>{"+deep+"return ("+expression+")})()"))
	if err != nil {
		b.t.Fatalf("evaluate %.400s: %.2000s", expression, err.Error())
	}
	return value
}

// await waits until the expression is true. While the page is between two documents an
// evaluation may fail; that is not yet a failure.
func (b *tab) await(what, expression string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	var last error
	for time.Now().Before(deadline) {
		var ok bool
		ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
		ok, last = chromedp.Run(ctx, chromedp.Evaluate[bool]("(()=>{"+deep+"return !!("+expression+")})()"))
		cancel()
		if last == nil && ok {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.keepPicture()
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
	b.t.Fatalf("waited %v for %s; last error %v; the page says:\n%s", patience, what, last, text)
}

// never watches for a while that an expression stays false.
func (b *tab) never(what, expression string, during time.Duration) {
	b.t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if evaluate[bool](b, "!!("+expression+")") {
			b.t.Fatalf("%s, and must not be", what)
		}
	}
}

// click presses the middle of an element with the mouse, as a person does: once it stands
// still, and again when the press did not reach the page, for a browser drops what is
// pressed between a navigation and the first picture of the new page.
func (b *tab) click(selector string, text ...string) {
	b.t.Helper()
	find := quoteCall("deep", append([]string{selector}, text...)...)
	b.await("something to click: "+find, "shown("+find+")")
	middle := `(()=>{const e=` + find + `;if(!e)return null;e.scrollIntoView({block:"center",behavior:"instant"});const r=e.getBoundingClientRect();return {x:r.x+r.width/2,y:r.y+r.height/2}})()`
	for tries := 0; ; tries++ {
		at := b.still(find, middle)
		evaluate[bool](b, `(()=>{const e=`+find+`;window.pressed="";addEventListener("mousedown",(m)=>window.pressed=m.composedPath().includes(e)?"it":"else",{capture:true,once:true});return true})()`)
		b.do("click "+find, chromedp.MouseClickXY(at.X, at.Y))
		if b.noScript || b.pressed(tries) {
			return
		}
		if tries == 20 {
			b.t.Fatalf("the page never heard the click on %s", find)
		}
		b.t.Logf("the click on %s did not reach it; once more", find)
	}
}

// still gives the middle of an element that has stopped moving.
func (b *tab) still(find, middle string) point {
	b.t.Helper()
	last := point{-1, -1}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		at := evaluate[point](b, middle)
		if at == last && at != (point{}) {
			return at
		}
		last = at
	}
	b.t.Fatalf("%s does not stand still", find)
	return last
}

// pressed waits for the press to reach the element. A page that went away heard it too; a
// press that again and again meets something else was meant for what lies above.
func (b *tab) pressed(tries int) bool {
	for range 20 {
		ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
		heard, err := chromedp.Run(ctx, chromedp.Evaluate[string](`window.pressed ?? "gone"`))
		cancel()
		switch {
		case err != nil || heard == "it" || heard == "gone":
			return true
		case heard == "else":
			return tries >= 3
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

type point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// fill replaces what stands in an input by typing.
func (b *tab) fill(selector, value string) {
	b.t.Helper()
	find := quoteCall("deep", selector)
	b.await("an input: "+find, "shown("+find+")")
	evaluate[bool](b, "("+find+".focus(),"+find+".select(),true)")
	if value == "" {
		b.do("clear "+selector, chromedp.KeyEvent("\b"))
		return
	}
	b.do("type into "+selector, chromedp.KeyEvent(value))
}

func quoteCall(name string, args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		text, err := json.Marshal(a)
		if err != nil {
			panic(err)
		}
		quoted[i] = string(text)
	}
	return name + "(" + strings.Join(quoted, ",") + ")"
}

// picture keeps a screenshot when CHECKOUT_PICTURES names a folder.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("CHECKOUT_PICTURES")
	if dir == "" {
		return
	}
	shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatalf("take picture: %v", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(fmt.Sprintf("%s/%s.png", dir, name), shot, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// keepPicture shows what a failed test saw.
func (b *tab) keepPicture() {
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return
	}
	path := fmt.Sprintf("%s/%s.png", os.TempDir(), strings.ReplaceAll(b.t.Name(), "/", "-"))
	if os.WriteFile(path, shot, 0o600) == nil {
		b.t.Logf("what the page looked like: %s", path)
	}
}
