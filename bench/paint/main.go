// Command paint visits pages in real Chromium over a slow line, with a slow processor,
// each visit in a fresh profile, and says when what counts was seen. It reads an order
// from the standard input and writes what it saw to the standard output, both JSON. It is
// a module of its own, so that what drives a browser stays out of the program's go.mod.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

type order struct {
	Chromium  string     `json:"chromium"`
	Rounds    int        `json:"rounds"`
	RoundTrip int        `json:"round_trip"` // ms
	Kilobits  int        `json:"kilobits"`   // per second, each way
	Slowdown  int        `json:"slowdown"`   // of the processor
	Pages     []pageWish `json:"pages"`
}

type pageWish struct {
	Name        string `json:"name"`
	URL         string `json:"url"`
	First       string `json:"first"`
	Interactive string `json:"interactive"`
	Then        string `json:"then"`
}

type seen struct {
	First       float64 `json:"first"`
	Interactive float64 `json:"interactive"`
	Bytes       float64 `json:"bytes"`
	Requests    float64 `json:"requests"`
	Fetched     []fetch `json:"fetched"`

	Then   map[string][]float64 `json:"then,omitempty"`   // what Then gave, in the last round
	Undone string               `json:"undone,omitempty"` // why it gave nothing
}

// fetch is one request of a visit, in ms since the first one began; 0 = it did not happen
// before the visit was over.
type fetch struct {
	Name  string  `json:"name"`
	Began float64 `json:"began"`
	First float64 `json:"first"` // its answer began
	Ended float64 `json:"ended"`
	Bytes float64 `json:"bytes"`

	id network.RequestID
}

// report is what is written: every visit, and why a page could not be measured.
type report struct {
	Visits map[string][]seen `json:"visits"`
	Failed map[string]string `json:"failed"`
}

// watch runs in every page before the page's own scripts. A time counts when the frame
// that shows the thing has been handed over, which is when the next one begins.
const watch = `(() => {
	const mark = self.paintMark = { first: 0, interactive: 0 };
	const q = (selector) => document.querySelector(selector) || document.querySelector("wzrd-checkout")?.shadowRoot?.querySelector(selector);
	const seen = (e) => { if (!e) return false; const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0 && getComputedStyle(e).visibility !== "hidden"; };
	const first = () => seen(%s), interactive = () => %s;
	let shown = false, works = false;
	const frame = (now) => {
		if (shown && !mark.first) mark.first = now;
		if (works && !mark.interactive) mark.interactive = now;
		try { shown ||= first(); works ||= shown && interactive(); } catch (e) { mark.error = String(e); }
		if (!mark.first || !mark.interactive) requestAnimationFrame(frame);
	};
	requestAnimationFrame(frame);
})()`

// memories counts the module instances of a page for Then: self.paintMemories.
const memories = `;(() => {
	const made = self.paintMemories = [];
	for (const name of ["instantiate", "instantiateStreaming"]) {
		const real = WebAssembly[name];
		WebAssembly[name] = (...args) => real.apply(WebAssembly, args).then((result) => {
			for (const e of Object.values((result.instance || result).exports)) if (e instanceof WebAssembly.Memory) made.push(e);
			return result;
		});
	}
})()`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "paint:", err)
		os.Exit(1)
	}
}

func run() error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	profile, err := os.MkdirTemp("", "wzrdcheckout-paint-")
	if err != nil {
		return fmt.Errorf("make profile: %w", err)
	}
	defer os.RemoveAll(profile)
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(o.Chromium), chromedp.NoSandbox, chromedp.UserDataDir(profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"), // nothing leaves the machine
		chromedp.WindowSize(390, 844), chromedp.WSURLReadTimeout(time.Minute),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	defer stop()
	browser, end := chromedp.NewContext(allocator)
	defer end()
	if err := chromedp.Do(browser); err != nil {
		return fmt.Errorf("start Chromium: %w", err)
	}
	out := report{Visits: map[string][]seen{}, Failed: map[string]string{}}
	for round := range o.Rounds + 1 {
		for i := range o.Pages {
			// Each round begins with another page, so that none is always the first.
			wish := o.Pages[(i+round)%len(o.Pages)]
			if out.Failed[wish.Name] != "" {
				continue
			}
			if round < o.Rounds {
				wish.Then = ""
			}
			s, err := o.visit(browser, wish)
			switch {
			case err != nil:
				out.Failed[wish.Name] = err.Error()
			case round > 0: // the first round warms the browser and the servers
				out.Visits[wish.Name] = append(out.Visits[wish.Name], s)
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func (o order) visit(browser context.Context, wish pageWish) (seen, error) {
	tab, end := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	defer end()
	tab, cancel := context.WithTimeout(tab, 5*time.Minute)
	defer cancel()
	if err := o.prepare(tab, wish); err != nil {
		return seen{}, err
	}
	var mu sync.Mutex
	var thrown string
	var line waterfall
	err := chromedp.Listen(tab, func(event any) {
		mu.Lock()
		line.hear(event)
		mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			mu.Lock()
			thrown += fmt.Sprintf("%s %s; ", e.ExceptionDetails.Text, description(e.ExceptionDetails.Exception))
			mu.Unlock()
		case *runtime.EventConsoleAPICalled:
			mu.Lock()
			for _, arg := range e.Args {
				thrown += fmt.Sprintf("console: %s %s; ", arg.Value, arg.Description)
			}
			mu.Unlock()
		}
	})
	if err != nil {
		return seen{}, err
	}
	gone, err := chromedp.Call(tab, page.Navigate, page.NavigateParams{URL: wish.URL})
	if err == nil && gone.ErrorText != "" {
		err = errors.New(gone.ErrorText)
	}
	if err != nil {
		return seen{}, err
	}
	var last mark
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		if last, err = chromedp.Run(tab, chromedp.Evaluate[mark]("self.paintMark || {}")); err != nil {
			return seen{}, err
		}
		if last.First > 0 && last.Interactive > 0 {
			mu.Lock()
			s := seen{First: last.First, Bytes: line.bytes, Requests: float64(len(line.fetched)), Fetched: line.fetched}
			mu.Unlock()
			if wish.Interactive != "" {
				s.Interactive = last.Interactive
			}
			if wish.Then != "" {
				if s.Then, err = then(tab, wish.Then); err != nil {
					s.Undone = err.Error()
				}
			}
			return s, nil
		}
	}
	mu.Lock()
	defer mu.Unlock()
	text, _ := chromedp.Run(tab, chromedp.Evaluate[string]("document.body.outerHTML.slice(0, 2000)"))
	return seen{}, fmt.Errorf("30 s were not enough: first %v, interactive %v; %s %s the page: %s", last.First, last.Interactive, last.Error, thrown, text)
}

// waterfall writes down what a page fetches.
type waterfall struct {
	began   float64 // seconds of Chromium's clock
	fetched []fetch
	bytes   float64
}

func (w *waterfall) hear(event any) {
	at := func(id network.RequestID, t cdp.MonotonicTime) (*fetch, float64) {
		for i := len(w.fetched) - 1; i >= 0; i-- { // a redirect and what it leads to have one id
			if w.fetched[i].id == id {
				return &w.fetched[i], (float64(t) - w.began) * 1000
			}
		}
		return &fetch{}, 0
	}
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if w.began == 0 {
			w.began = float64(e.Timestamp)
		}
		w.fetched = append(w.fetched, fetch{id: e.RequestID, Name: e.Request.Method + " " + e.Request.URL})
		f, now := at(e.RequestID, e.Timestamp)
		f.Began = now
	case *network.EventResponseReceived:
		f, now := at(e.RequestID, e.Timestamp)
		f.First = now
	case *network.EventDataReceived:
		w.bytes += float64(e.EncodedDataLength)
		f, _ := at(e.RequestID, e.Timestamp)
		f.Bytes += float64(e.EncodedDataLength)
	case *network.EventLoadingFinished:
		f, now := at(e.RequestID, e.Timestamp)
		f.Ended = now
	case *network.EventLoadingFailed:
		f, now := at(e.RequestID, e.Timestamp)
		f.Ended = now
	}
}

// mark is what watch leaves in the page.
type mark struct {
	First       float64 `json:"first"`
	Interactive float64 `json:"interactive"`
	Error       string  `json:"error"`

	Then map[string][]float64 `json:"then"`
}

// then runs what is to be done in a page that works, and waits for what it gives.
func then(tab context.Context, do string) (map[string][]float64, error) {
	start := "(paintMark.error = '', (" + do + ")().then((v) => { paintMark.then = v; }, (e) => { paintMark.error = String(e); }), true)"
	if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](start)); err != nil {
		return nil, err
	}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		last, err := chromedp.Run(tab, chromedp.Evaluate[mark]("self.paintMark"))
		if err != nil {
			return nil, err
		}
		if last.Error != "" {
			return nil, errors.New(last.Error)
		}
		if last.Then != nil {
			return last.Then, nil
		}
	}
	return nil, errors.New("3 minutes were not enough for what was to be done then")
}

// prepare makes the tab's line and processor slow and puts the watch into its pages.
func (o order) prepare(tab context.Context, wish pageWish) error {
	interactive := wish.Interactive
	if interactive == "" {
		interactive = "true"
	}
	perSecond := float64(o.Kilobits) * 1000 / 8
	if _, err := chromedp.Call(tab, network.Enable, network.EnableParams{}); err != nil {
		return err
	}
	if _, err := chromedp.Call(tab, runtime.Enable, cdp.Empty{}); err != nil {
		return err
	}
	line := &network.Conditions{Latency: float64(o.RoundTrip), DownloadThroughput: perSecond, UploadThroughput: perSecond}
	if _, err := chromedp.Call(tab, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: []*network.Conditions{line}}); err != nil {
		return err
	}
	if _, err := chromedp.Call(tab, emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: float64(o.Slowdown)}); err != nil {
		return err
	}
	script := fmt.Sprintf(watch, wish.First, interactive)
	if wish.Then != "" {
		script += memories
	}
	_, err := chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	return err
}

func description(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return o.Description
}
