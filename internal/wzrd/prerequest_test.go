package wzrd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/fields"
	"wzrdcheckout/internal/wzrd"
)

// fast lifts the limit for tests that make many calls.
func fast(c *wzrd.Config) { c.RatePerSecond, c.Burst = 1e6, 1e6 }

// scripted is a client on a synthetic clock whose pre-requests are answered by answer.
func scripted(t *testing.T, answer func(n int, currency string) (*http.Response, error)) (*wzrd.Client, *tally, *atomic.Int64) {
	t.Helper()
	heard, calls := newTally(), &atomic.Int64{}
	config := good()
	config.PublicKey, config.SigningKeys = publicKey, []wzrd.Secret{signingKey}
	config.Observer = heard
	config.Transport = transport(func(r *http.Request) (*http.Response, error) {
		text, _ := io.ReadAll(r.Body)
		var body map[string]string
		if err := json.Unmarshal(text, &body); err != nil || r.Method != "POST" || r.URL.String() != "https://api.gate.example/public-api/payment-prerequest" || body["public_key"] != publicKey || len(body) != 2 {
			t.Errorf("request = %s %s %s", r.Method, r.URL, text)
		}
		return answer(int(calls.Add(1)), body["currency"])
	})
	return newClient(t, config, fast), heard, calls
}

func list(currency, service string) string {
	return fmt.Sprintf(`{"data":{"currency":%q,"test_mode":true,"services":{%q:{"method":"m"}},"methods":{"m":{}}}}`, currency, service)
}

func TestPreRequest(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(int, request) reply { return ok(sample(t, "prerequest.json")) })
	now := time.Unix(1790000000, 0)
	got, err := p.client(func(c *wzrd.Config) { c.Now = func() time.Time { return now } }).PreRequest(t.Context(), "EUR")
	if err != nil {
		t.Fatal(err)
	}
	logo := "https://static.methods.example/"
	want := checkout.PreRequest{
		Currency: "EUR", TestMode: true, FetchedAt: 1790000000, Version: got.Version,
		Services: []checkout.Service{
			{Code: "payment_card_eur_hpp", Method: "payment_card", Flow: "hpp", Currency: "EUR", Fields: []checkout.Field{}, AmountMin: amount("0.5"), AmountMax: amount("250000")},
			{Code: "test_eur_test", Method: "test", Flow: "test", Currency: "EUR", AmountMin: amount("0.5"), AmountMax: amount("7777777"), Fields: []checkout.Field{{
				Key: "status", Type: "string", Label: checkout.Text{"ru": "Исход", "en": "Outcome", "uk": "Результат"},
				Hint: checkout.Text{"ru": "Введите исход", "en": "Enter the outcome", "uk": "Введіть результат"}, Regexp: "^[a-zA-Z_]*$", Required: true,
			}}},
		},
		Methods: map[string]checkout.Method{
			"payment_card": {Code: "payment_card", Category: "payment_card", Name: checkout.Text{"en": "Bank card", "ru": "Банковская карта", "uk": "Банківська картка"}, Logo: logo + "payment_card/logo.svg", Icon: logo + "payment_card/icon.svg"},
			"test":         {Code: "test", Category: "alternative", Name: checkout.Text{"en": "Trial", "ru": "Проба", "uk": "Проба"}, Logo: logo + "test/logo.png", Icon: logo + "test/icon.svg"},
		},
		Account: checkout.Account{Name: "Book corner", Description: "Books and maps", Icon: "https://static.shop.example/corner.svg?7"},
	}
	if !reflect.DeepEqual(got, want) || len(got.Version) < 8 {
		t.Errorf("PreRequest = %+v, want %+v", got, want)
	}
}

// Position first (none last), then kind, then code; hidden ones stay, flagged.
func TestPreRequest_Order(t *testing.T) {
	t.Parallel()
	const answer = `{"data":{"services":{"z":{"method":"bank"},"y":{"method":"card"},"x":{"method":"card"},"w":{"method":"pinned"},"v":{"method":"none"},"u":{"method":"test"},"t":{"method":"top"}},
		"methods":{"bank":{"category":"bank_transfer"},"card":{"category":"payment_card"},"pinned":{"category":"alternative","position":2},"test":{"category":"alternative","hide":true},"top":{"position":1}}}}`
	p := newPSP(t, func(int, request) reply { return ok(answer) })
	got, err := p.client().PreRequest(t.Context(), "EUR")
	if err != nil {
		t.Fatal(err)
	}
	order := ""
	for _, s := range got.Services {
		order += s.Code
	}
	if order != "twxyzvu" || !got.Methods["test"].Hide || got.Methods["card"].Hide {
		t.Errorf("services in the order %s, hidden %v; want twxyzvu and only test hidden", order, got.Methods)
	}
}

// The version follows the content and nothing else.
func TestPreRequest_Version(t *testing.T) {
	t.Parallel()
	version := func(answer string) string {
		p := newPSP(t, func(int, request) reply { return ok(answer) })
		v, err := p.client().PreRequest(t.Context(), "EUR")
		if err != nil {
			t.Fatal(err)
		}
		return v.Version
	}
	base := version(`{"data":{"services":{"a":{"method":"m"},"b":{}},"methods":{"m":{},"n":{}}}}`)
	if again := version(`{"data":{"methods":{"n":{},"m":{}},"services":{"b":{},"a":{"flow":"","method":"m"}},"account":[]}}`); again != base {
		t.Errorf("version = %s for the same content, want %s", again, base)
	}
	for _, other := range []string{
		`{"data":{"services":{"a":{"method":"m"},"b":{"amount_max":1}},"methods":{"m":{},"n":{}}}}`,
		`{"data":{"services":{"a":{"method":"m"},"b":{}},"methods":{"m":{"hide":1},"n":{}}}}`,
		`{"data":{"services":{"a":{"method":"m"},"b":{}},"methods":{"m":{},"n":{}},"account":{"name":"x"}}}`,
	} {
		if version(other) == base {
			t.Errorf("%s has the version of another content", other)
		}
	}
}

func TestPreRequest_Stampede(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, heard, calls := scripted(t, func(_ int, currency string) (*http.Response, error) {
			time.Sleep(300 * time.Millisecond)
			return respond(200, list(currency, "s")), nil
		})
		var group sync.WaitGroup
		for i := range 1000 {
			group.Go(func() {
				// Some arrive while the answer lands: they must find it, not ask again.
				time.Sleep(time.Duration(i) * time.Millisecond)
				if pre, err := c.PreRequest(t.Context(), "EUR"); err != nil || len(pre.Services) != 1 || pre.Stale {
					t.Errorf("PreRequest = %+v, %v", pre, err)
				}
			})
		}
		group.Wait()
		if n := calls.Load(); n != 1 {
			t.Errorf("1000 cold requests made %d calls, want 1", n)
		}
		if n := heard.cache["hit"] + heard.cache["miss"]; n != 1000 || heard.cache["hit"] < 600 {
			t.Errorf("cache = %v", heard.cache)
		}
		// Another currency is another flight.
		if _, err := c.PreRequest(t.Context(), "USD"); err != nil || calls.Load() != 2 {
			t.Errorf("PreRequest(USD) = %v after %d calls, want 2", err, calls.Load())
		}
	})
}

// The same at full speed, without a clock to order it.
func TestPreRequest_StampedeAtOnce(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(int, request) reply { return ok(sample(t, "prerequest.json")) })
	c := p.client()
	var group sync.WaitGroup
	start := make(chan struct{})
	for range 1000 {
		group.Go(func() {
			<-start
			if _, err := c.PreRequest(t.Context(), "EUR"); err != nil {
				t.Errorf("PreRequest = %v", err)
			}
		})
	}
	close(start)
	group.Wait()
	if n := len(p.requests()); n != 1 {
		t.Errorf("1000 requests made %d calls, want 1", n)
	}
}

func TestPreRequest_Fresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _, calls := scripted(t, func(n int, currency string) (*http.Response, error) {
			return respond(200, list(currency, fmt.Sprint("s", n))), nil
		})
		start := time.Now()
		for _, row := range []struct {
			after time.Duration
			want  string
		}{{0, "s1"}, {59 * time.Second, "s1"}, {61 * time.Second, "s2"}, {120 * time.Second, "s2"}, {122 * time.Second, "s3"}} {
			time.Sleep(time.Until(start.Add(row.after)))
			pre, err := c.PreRequest(t.Context(), "EUR")
			if err != nil || pre.Services[0].Code != row.want || pre.Stale {
				t.Errorf("PreRequest after %v = %+v, %v, want %s", row.after, pre.Services, err, row.want)
			}
		}
		if n := calls.Load(); n != 3 {
			t.Errorf("%d calls, want 3", n)
		}
	})
}

// Down: the last good copy, at once after the first failure, and no row of calls.
func TestPreRequest_Down(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func() (*http.Response, error){
		"500":  func() (*http.Response, error) { return respond(500, "{}"), nil },
		"401":  func() (*http.Response, error) { return respond(401, "{}"), nil },
		"HTML": func() (*http.Response, error) { return respond(200, "<html>"), nil },
		"other mode": func() (*http.Response, error) {
			return respond(200, strings.Replace(list("EUR", "s"), "true", "false", 1)), nil
		},
		"no services": func() (*http.Response, error) { return respond(200, `{"data":{}}`), nil },
		"lost":        func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				down := false
				c, heard, calls := scripted(t, func(_ int, currency string) (*http.Response, error) {
					if down {
						return broken()
					}
					return respond(200, list(currency, "s")), nil
				})
				if _, err := c.PreRequest(t.Context(), "EUR"); err != nil {
					t.Fatal(err)
				}
				down = true
				time.Sleep(time.Hour)
				before := calls.Load()
				var group sync.WaitGroup
				for range 100 {
					group.Go(func() {
						if pre, err := c.PreRequest(t.Context(), "EUR"); err != nil || !pre.Stale || len(pre.Services) != 1 {
							t.Errorf("PreRequest = %+v, %v, want the last good copy", pre, err)
						}
					})
				}
				group.Wait()
				if n := calls.Load() - before; n > 3 {
					t.Errorf("%d calls, want one read of at most 3 tries", n)
				}
				before = calls.Load()
				for range 100 {
					if pre, err := c.PreRequest(t.Context(), "EUR"); err != nil || !pre.Stale {
						t.Errorf("PreRequest = %+v, %v, want the last good copy", pre, err)
					}
				}
				if n := calls.Load() - before; n != 0 {
					t.Errorf("%d calls within the second after a failure, want none", n)
				}
				if heard.cache["stale"] != 200 {
					t.Errorf("cache = %v, want 200 stale", heard.cache)
				}
				down = false
				time.Sleep(10 * time.Second) // past the failure and, should it be open, the breaker
				if pre, err := c.PreRequest(t.Context(), "EUR"); err != nil || pre.Stale {
					t.Errorf("PreRequest after it is back = %+v, %v, want a fresh one", pre, err)
				}
			})
		})
	}
}

// Slow: the last good copy after a second, the refresh goes on and lands.
func TestPreRequest_Slow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _, calls := scripted(t, func(n int, currency string) (*http.Response, error) {
			if n > 1 {
				time.Sleep(8 * time.Second)
			}
			return respond(200, list(currency, fmt.Sprint("s", n))), nil
		})
		if _, err := c.PreRequest(t.Context(), "EUR"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		start := time.Now()
		for range 3 {
			if pre, err := c.PreRequest(t.Context(), "EUR"); err != nil || !pre.Stale || pre.Services[0].Code != "s1" {
				t.Errorf("PreRequest = %+v, %v, want the copy", pre, err)
			}
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("3 copies took %v, want 3s", took)
		}
		time.Sleep(6 * time.Second)
		if pre, err := c.PreRequest(t.Context(), "EUR"); err != nil || pre.Stale || pre.Services[0].Code != "s2" || calls.Load() != 2 {
			t.Errorf("PreRequest = %+v, %v after %d calls, want the refreshed one", pre, err, calls.Load())
		}
	})
}

// Without a copy there is nothing to serve: the error, once per second upstream.
func TestPreRequest_ColdAndDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, heard, calls := scripted(t, func(int, string) (*http.Response, error) { return respond(503, "{}"), nil })
		for range 100 {
			if _, err := c.PreRequest(t.Context(), "EUR"); !errors.Is(err, checkout.ErrUnavailable) {
				t.Errorf("PreRequest = %v, want ErrUnavailable", err)
			}
		}
		if n := calls.Load(); n != 3 || heard.cache["error"] != 100 {
			t.Errorf("%d calls, cache %v, want one read of 3 tries", n, heard.cache)
		}
		time.Sleep(1001 * time.Millisecond)
		if _, err := c.PreRequest(t.Context(), "EUR"); err == nil || calls.Load() == 3 {
			t.Errorf("PreRequest a second later = %v after %d calls, want a new try", err, calls.Load())
		}
	})
}

// A refusal of the currency itself is an answer: no copy hides it.
func TestPreRequest_Refused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := scripted(t, func(n int, currency string) (*http.Response, error) {
			if n > 1 {
				return respond(422, `{"errors":{"currency":"This value is not valid."}}`), nil
			}
			return respond(200, list(currency, "s")), nil
		})
		if _, err := c.PreRequest(t.Context(), "EUR"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if pre, err := c.PreRequest(t.Context(), "EUR"); !errors.Is(err, checkout.ErrInvalid) {
			t.Errorf("PreRequest = %+v, %v, want ErrInvalid", pre, err)
		}
		for _, currency := range []string{"", "eur", "€€€", "TOOLONGACODE"} {
			if _, err := c.PreRequest(t.Context(), currency); !errors.Is(err, checkout.ErrInvalid) {
				t.Errorf("PreRequest(%q) = %v, want ErrInvalid", currency, err)
			}
		}
	})
}

// A caller that gives up leaves the flight to the others.
func TestPreRequest_CallerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _, calls := scripted(t, func(_ int, currency string) (*http.Response, error) {
			time.Sleep(5 * time.Second)
			return respond(200, list(currency, "s")), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.PreRequest(ctx, "EUR"); !errors.Is(err, checkout.ErrTimeout) {
			t.Errorf("PreRequest of a caller with a second = %v, want ErrTimeout", err)
		}
		if _, err := c.PreRequest(t.Context(), "EUR"); err != nil || calls.Load() != 1 {
			t.Errorf("PreRequest of the next = %v after %d calls, want the same flight", err, calls.Load())
		}
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		config := good()
		config.Transport = transport(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			time.Sleep(2 * time.Second) // a connection that dies slowly
			close(ended)
			return nil, r.Context().Err()
		})
		c, err := wzrd.New(config)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = c.PreRequest(t.Context(), "EUR") }()
		synctest.Wait()
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Stop(hurried); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop with a second = %v, want its deadline", err)
		}
		if err := c.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
		select {
		case <-ended:
		default:
			t.Error("Stop came back before the refresh had ended")
		}
		if _, err := c.PreRequest(t.Context(), "USD"); !errors.Is(err, checkout.ErrUnavailable) {
			t.Errorf("PreRequest after Stop = %v, want ErrUnavailable", err)
		}
	})
}

// One currency too many costs the one fetched longest ago its place.
func TestPreRequest_Bounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := false
		c, _, _ := scripted(t, func(_ int, currency string) (*http.Response, error) {
			if down {
				return respond(400, "{}"), nil
			}
			return respond(200, list(currency, "s")), nil
		})
		get := func(i int) (checkout.PreRequest, error) { return c.PreRequest(t.Context(), fmt.Sprintf("C%04d", i)) }
		for i := range wzrd.MaxCurrencies + 10 {
			if _, err := get(i); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		down = true
		time.Sleep(time.Hour)
		for i := range wzrd.MaxCurrencies + 10 {
			pre, err := get(i)
			if kept := err == nil && pre.Stale; kept != (i >= 10) {
				t.Errorf("currency %d: %v, kept %v; want the first 10 gone", i, err, kept)
			}
		}
	})
}

// The whole OpenFinTech catalogue (MIT, not part of the repository) as 95 pre-requests:
// every service is listed with its fields in order, and every pattern is usable or told.
// Without the catalogue the sample stands in.
func TestPreRequest_Catalogue(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("WZRDCHECKOUT_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	answers, total := map[string]string{}, 2
	text, err := os.ReadFile(filepath.Join(shared, "data", "openfintech.json"))
	if err != nil {
		answers["EUR"] = sample(t, "prerequest.json")
	} else {
		var file struct {
			Methods  json.RawMessage
			Services map[string]json.RawMessage
		}
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		total = 1640
		for currency, services := range file.Services {
			answers[currency] = fmt.Sprintf(`{"data":{"currency":%q,"test_mode":true,"services":%s,"methods":%s}}`, currency, services, file.Methods)
		}
	}
	p := newPSP(t, func(_ int, r request) reply { return ok(answers[r.JSON["currency"].(string)]) })
	c := p.client(fast)
	heard := newTally()
	patterns := wzrd.NewPatterns(heard)
	listed, checked, unusable := 0, map[string]bool{}, 0
	for currency := range answers {
		pre, err := c.PreRequest(t.Context(), currency)
		if err != nil {
			t.Fatalf("PreRequest(%s) = %v", currency, err)
		}
		listed += len(pre.Services)
		for _, s := range pre.Services {
			if s.Code == "" || s.Method == "" || s.Flow == "" || s.Currency == "" || s.AmountMin == nil || s.AmountMax == nil || pre.Methods[s.Method].Code == "" || pre.Methods[s.Method].Name.In("en") == "" {
				t.Errorf("%s: %+v is not whole", currency, s)
			}
			for i, f := range s.Fields {
				if i > 0 && s.Fields[i-1].Position > f.Position {
					t.Errorf("%s: %s stands before %s", s.Code, s.Fields[i-1].Key, f.Key)
				}
				if f.Label.In("uk") == "" || strings.HasPrefix(f.Regexp, "/") {
					t.Errorf("%s: field %+v", s.Code, f)
				}
				if _, usable := patterns.Match(f.Regexp, "x"); !usable {
					unusable++
				}
				checked[f.Regexp] = true
				if _, problem := fields.One(f, "\x00", patterns); problem == nil {
					t.Errorf("%s: %s takes a null byte", s.Code, f.Key)
				}
			}
		}
	}
	if listed != total {
		t.Errorf("%d services listed, want %d", listed, total)
	}
	if told := len(heard.heard()); (unusable == 0) != (told == 0) {
		t.Errorf("%d fields with an unusable pattern, %d told", unusable, told)
	}
	t.Logf("%d currencies, %d services, %d patterns, %d fields with an unusable one", len(answers), listed, len(checked), unusable)
}
