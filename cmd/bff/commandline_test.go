package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/app"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// TestMain lets the test binary stand in for bff.
func TestMain(m *testing.M) {
	if os.Getenv("BFF_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// bff runs the program with no variables but those given.
func bff(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"BFF_TEST_MAIN=1"}, env...)
	var out, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &wrong
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), wrong.String(), cmd.ProcessState.ExitCode()
}

// read parses the flags of serve.
func read(env map[string]string, args ...string) (app.Config, error) {
	var s settings
	if err := parse(&s, args, func(name string) string { return env[name] }); err != nil {
		return app.Config{}, err
	}
	return s.config()
}

// setting is a variable, where it ends up and its documented default; a secret exists as
// NAME_FILE too.
type setting struct {
	name   string
	field  func(app.Config) any
	preset any
	secret bool
}

// contract is what merchants depend on.
var contract = []setting{
	{"BFF_LISTEN", func(c app.Config) any { return c.Listen }, ":8080", false},
	{"BFF_PRIVATE_LISTEN", func(c app.Config) any { return c.PrivateListen }, "127.0.0.1:8081", false},
	{"BFF_PUBLIC_URL", func(c app.Config) any { return c.PublicURL }, "", false},
	{"BFF_DATA_DIR", func(c app.Config) any { return c.DataDir }, "./data", false},
	{"BFF_NATS_URL", func(c app.Config) any { return c.NATS.URL }, "", false},
	{"BFF_CLUSTER_NAME", func(c app.Config) any { return c.Cluster.Name }, "", false},
	{"BFF_CLUSTER_LISTEN", func(c app.Config) any { return c.Cluster.Listen }, ":6222", false},
	{"BFF_CLUSTER_PEERS", func(c app.Config) any { return c.Cluster.Peers }, []string(nil), false},
	{"BFF_CLUSTER_SECRET", func(c app.Config) any { return c.Cluster.Secret }, "", true},
	{"BFF_MERCHANT_KEYS", func(c app.Config) any { return c.MerchantKeys }, []string(nil), true},
	{"BFF_SESSION_KEYS", func(c app.Config) any { return c.SessionKeys }, []string(nil), true},
	{"BFF_ALLOWED_ORIGINS", func(c app.Config) any { return c.AllowedOrigins }, []string(nil), false},
	{"BFF_WEBHOOK_URL", func(c app.Config) any { return c.WebhookURL }, "", false},
	{"BFF_WEBHOOK_SECRETS", func(c app.Config) any { return c.WebhookSecrets }, []string(nil), true},
	{"WZRD_PUBLIC_API", func(c app.Config) any { return c.WZRD.PublicAPI }, "", false},
	{"WZRD_PRIVATE_API", func(c app.Config) any { return c.WZRD.PrivateAPI }, "", false},
	{"WZRD_HPP_URL", func(c app.Config) any { return c.WZRD.HPPURL }, "", false},
	{"WZRD_PUBLIC_KEY", func(c app.Config) any { return c.WZRD.PublicKey }, "", true},
	{"WZRD_ACCOUNT_ID", func(c app.Config) any { return c.WZRD.AccountID }, "", false},
	{"WZRD_API_KEY", func(c app.Config) any { return c.WZRD.APIKey }, "", true},
	{"WZRD_SIGNING_KEYS", func(c app.Config) any { return c.WZRD.SigningKeys }, []string(nil), true},
}

// flagOf is the contract's rule: the same name as a flag.
func flagOf(variable string) string {
	return "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "BFF_"), "_", "-"))
}

func TestSettings_Contract(t *testing.T) {
	t.Parallel()
	help, _, _ := bff(t, nil, "serve", "--help")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(" from-file \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range contract {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			name := flagOf(row.name)
			list := reflect.TypeOf(row.preset).Kind() == reflect.Slice
			check := func(how string, want any, env map[string]string, args ...string) {
				t.Helper()
				c, err := read(env, args...)
				if err != nil {
					t.Errorf("%s: %v", how, err)
				} else if got := row.field(c); !reflect.DeepEqual(got, want) {
					t.Errorf("%s = %#v, want %#v", how, got, want)
				}
			}
			value := func(one string) any {
				if list {
					return []string{one}
				}
				return one
			}
			check("nothing", row.preset, nil)
			check("empty variable", row.preset, map[string]string{row.name: ""})
			check("variable", value("v"), map[string]string{row.name: "v"})
			check("flag", value("f"), nil, name, "f")
			check("flag with =", value("f=g"), nil, name+"=f=g")
			check("flag beats variable", value("f"), map[string]string{row.name: "v"}, name, "f")
			if list {
				check("list", []string{"a", "b"}, map[string]string{row.name: "a, b,"})
			}
			if !strings.Contains(help, "  "+name+"=") || !strings.Contains(help, "["+row.name+"]") {
				t.Errorf("bff serve --help lists not both of %s and %s", name, row.name)
			}
			if !row.secret {
				return
			}
			check("file", value("from-file"), map[string]string{row.name + "_FILE": file})
			check("file by flag", value("from-file"), nil, name+"-file", file)
			if _, err := read(map[string]string{row.name: "hush-1", row.name + "_FILE": file}); err == nil || !strings.Contains(err.Error(), row.name+": given twice") || strings.Contains(err.Error(), "hush") {
				t.Errorf("value and file = %v, want given twice, without the value", err)
			}
			if _, err := read(map[string]string{row.name + "_FILE": file + "-none"}); err == nil || !strings.Contains(err.Error(), row.name+"_FILE") {
				t.Errorf("no such file = %v, want an error that names %s_FILE", err, row.name)
			}
		})
	}
}

// TestSettings_Design: the contract above is that of the design, where it is at hand.
func TestSettings_Design(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("WZRDCHECKOUT_SHARED")
	if shared == "" {
		shared = "../../../shared"
	}
	text, err := os.ReadFile(filepath.Join(shared, "design.md"))
	if err != nil {
		t.Log("the design is not at hand: nothing to compare with")
		return
	}
	_, section, _ := strings.Cut(string(text), "## 3. ")
	section, _, _ = strings.Cut(section, "## 4. ")
	seen := 0
	for _, name := range regexp.MustCompile("`((?:BFF|WZRD)_[A-Z_]+)`").FindAllStringSubmatch(section, -1) {
		seen++
		if !slices.ContainsFunc(contract, func(row setting) bool { return row.name == name[1] }) {
			t.Errorf("the design names %s, and the contract of this test does not", name[1])
		}
	}
	if seen < 20 {
		t.Errorf("the design names %d variables, want at least 20: the test looks at the wrong place", seen)
	}
}

// TestSettings_Everything: each field is named after its variable and reaches app.Config.
func TestSettings_Everything(t *testing.T) {
	t.Parallel()
	nothing, err := read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := read(nil); !reflect.DeepEqual(nothing, again) {
		t.Fatal("reading nothing twice gives two answers: the test can see no difference")
	}
	for _, o := range optionsOf(reflect.ValueOf(&settings{}).Elem()) {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			env, value := o.tag.Get("env"), "7"
			if want := flagOf(env); "--"+o.name != want {
				t.Errorf("the flag of %s is --%s, want %s", env, o.name, want)
			}
			switch {
			case strings.HasSuffix(env, "_FILE"):
				value = filepath.Join(t.TempDir(), "file")
				if err := os.WriteFile(value, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			case env == "BFF_LOG_LEVEL":
				value = "debug"
			case env == "BFF_LOG_FORMAT":
				value = "text"
			}
			c, err := read(map[string]string{env: value})
			if err != nil {
				t.Fatalf("%s=%s: %v", env, value, err)
			}
			if reflect.DeepEqual(c, nothing) {
				t.Errorf("%s=%s changes nothing", env, value)
			}
		})
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	type options struct {
		Settings struct {
			DeepName string `env:"DEEP" default:"preset"`
		}
		ShortURL string        `name:"short-url" required:"" env:"SHORT_URL"`
		Many     []string      `env:"MANY"`
		Whole    *int          `env:"WHOLE"`
		Rate     *float64      `env:"RATE"`
		Wait     time.Duration `default:"1m"`
		Seed     uint64        `default:"1"`
		Mode     string        `enum:"none,all" default:"none" env:"MODE"`
		JSON     bool          `name:"json" short:"j"`
	}
	for _, row := range []struct {
		name string
		args string // separated by spaces; SHORT_URL is always set
		env  map[string]string
		want func(options) bool
		err  string // part of the error
	}{
		{"defaults", "", nil, func(o options) bool {
			return o.Settings.DeepName == "preset" && o.Wait == time.Minute && o.Seed == 1 && o.Mode == "none" && o.Whole == nil && o.Rate == nil && o.Many == nil && !o.JSON
		}, ""},
		{"nested and kebab", "--deep-name x", nil, func(o options) bool { return o.Settings.DeepName == "x" }, ""},
		{"variable beats default", "", map[string]string{"DEEP": "v"}, func(o options) bool { return o.Settings.DeepName == "v" }, ""},
		{"flag beats variable", "--deep-name=f", map[string]string{"DEEP": "v"}, func(o options) bool { return o.Settings.DeepName == "f" }, ""},
		{"an empty flag is given", "--deep-name=", map[string]string{"DEEP": "v"}, func(o options) bool { return o.Settings.DeepName == "" }, ""},
		{"a flag spares a wrong variable", "--whole 3", map[string]string{"WHOLE": "hush"}, func(o options) bool { return *o.Whole == 3 }, ""},
		{"zero is said", "--whole 0 --rate=0.5", nil, func(o options) bool { return *o.Whole == 0 && *o.Rate == 0.5 }, ""},
		{"negative", "--whole -3", nil, func(o options) bool { return *o.Whole == -3 }, ""},
		{"list adds up", "--many a,b --many c", map[string]string{"MANY": "d"}, func(o options) bool { return slices.Equal(o.Many, []string{"a", "b", "c"}) }, ""},
		{"list of the variable", "", map[string]string{"MANY": "d,e"}, func(o options) bool { return slices.Equal(o.Many, []string{"d", "e"}) }, ""},
		{"switch", "--json --seed 2", nil, func(o options) bool { return o.JSON && o.Seed == 2 }, ""},
		{"switch off", "--json=false", nil, func(o options) bool { return !o.JSON }, ""},
		{"short", "-j", nil, func(o options) bool { return o.JSON }, ""},
		{"duration", "--wait 1h2m", nil, func(o options) bool { return o.Wait == 62*time.Minute }, ""},
		{"enum", "--mode all", nil, func(o options) bool { return o.Mode == "all" }, ""},

		{"wrong switch", "--json=hush", nil, nil, "--json: want true or false"},
		{"wrong number", "--whole=hush", nil, nil, "--whole (WHOLE): want a whole number"},
		{"wrong number in the variable", "", map[string]string{"WHOLE": "hush"}, nil, "--whole (WHOLE): want a whole number"},
		{"too large", "--whole=99999999999999999999", nil, nil, "--whole (WHOLE): want a whole number"},
		{"wrong rate", "--rate=hush", nil, nil, "--rate (RATE): want a number"},
		{"endless rate", "--rate=inf", nil, nil, "--rate (RATE): want a number"},
		{"no rate", "--rate=nan", nil, nil, "--rate (RATE): want a number"},
		{"wrong duration", "--wait=hush", nil, nil, "--wait: want a duration"},
		{"wrong seed", "--seed=-1", nil, nil, "--seed: want a whole number"},
		{"wrong enum", "--mode=hush", nil, nil, "--mode (MODE): want one of none, all"},
		{"two of an enum", "--mode=none,all", nil, nil, "--mode (MODE): want one of"},
		{"empty enum", "--mode=", nil, nil, "--mode (MODE): want one of none, all"},
		{"given twice", "--deep-name hush --deep-name hush2", nil, nil, "--deep-name (DEEP): given twice"},
		{"switch given twice", "-j --json", nil, nil, "--json: given twice"},
		{"all at once", "--whole=hush --rate=hush", nil, nil, "--rate (RATE): want a number"},
		{"required", "--short-url=", nil, nil, "--short-url (SHORT_URL): is missing"},
		{"unknown flag", "--deepname=hush", nil, nil, "unknown flag --deepname"},
		{"no value", "--deep-name", nil, nil, "--deep-name: want a value"},
		{"no name", "--=hush", nil, nil, "--name=value"},
		{"three dashes", "---deep-name=hush", nil, nil, "--name=value"},
		{"stray argument", "--deep-name hush1, hush2", nil, nil, "argument 3 belongs to no flag"},
		{"after dashes", "-- hush", nil, nil, "belongs to no flag"},
		{"help", "--deep-name x --help", nil, nil, flag.ErrHelp.Error()},
		{"short help", "-h", nil, nil, flag.ErrHelp.Error()},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"SHORT_URL": "u"}
			for name, value := range row.env {
				env[name] = value
			}
			var o options
			err := parse(&o, strings.Fields(row.args), func(name string) string { return env[name] })
			if row.want != nil {
				if err != nil || !row.want(o) {
					t.Errorf("parse(%q, %v) = %+v, %v", row.args, row.env, o, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), row.err) || strings.Contains(err.Error(), "hush") {
				t.Errorf("parse(%q, %v) = %v, want %q and no value", row.args, row.env, err, row.err)
			}
		})
	}
	var o options
	if err := parse(&o, nil, func(string) string { return "" }); err == nil || !strings.Contains(err.Error(), "--short-url (SHORT_URL): is missing") {
		t.Errorf("parse without what is required = %v, want it named", err)
	}
}

// TestExecute runs the program: what it prints where, and its exit code.
func TestExecute(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name           string
		env            []string
		args           string
		code           int
		stdout, stderr string // golden of testdata, or part of the text
	}{
		{"help", nil, "--help", 0, "help.txt", ""},
		{"help by word", nil, "help", 0, "help.txt", ""},
		{"help of serve", nil, "serve --help", 0, "serve.txt", ""},
		{"help of demo", nil, "demo -h", 0, "demo.txt", ""},
		{"help of sandbox", nil, "sandbox --help", 0, "sandbox.txt", ""},
		{"help of check", nil, "check --json --help", 0, "bff check [flags]", ""},
		{"help of csp", nil, "csp --help", 0, "BFF_PUBLIC_URL", ""},
		{"version", nil, "version", 0, "bff dev", ""},
		{"nothing", nil, "", 2, "", "Usage: bff <command>"},
		{"unknown command", nil, "server", 2, "", `bff: unknown command "server"`},
		{"a flag for no command", nil, "--listen :1", 2, "", "unknown command"},
		{"unknown flag", nil, "serve --listn :1", 2, "", "bff: unknown flag --listn\n\nUsage: bff serve [flags]"},
		{"version with a flag", nil, "version --json", 2, "", "unknown flag --json"},
		{"wrong value", nil, "serve --retention-days=hush", 2, "", "bff: --retention-days (BFF_RETENTION_DAYS): want a whole number"},
		{"wrong variable", []string{"WZRD_RATE=hush"}, "check", 2, "", "bff: --wzrd-rate (WZRD_RATE): want a number"},
		{"csp without its URL", nil, "csp", 2, "", "bff: --public-url (BFF_PUBLIC_URL): is missing"},
		{"nothing set", nil, "serve", 1, "", "WZRD_PUBLIC_KEY"},
		{"a level that is none", []string{"BFF_LOG_LEVEL=loud"}, "serve", 1, "", "BFF_LOG_LEVEL"},
		{"secrets that fit nothing", []string{
			"BFF_MERCHANT_KEYS=hush", "BFF_SESSION_KEYS=hush", "BFF_WEBHOOK_SECRETS=hush", "WZRD_PUBLIC_KEY=hush",
			"WZRD_API_KEY=hush", "WZRD_SIGNING_KEYS=hush", "BFF_CLUSTER_SECRET=hush",
		}, "serve", 1, "", "BFF_SESSION_KEYS"},
		{"a secret twice", []string{"WZRD_API_KEY=hush", "WZRD_API_KEY_FILE=/nowhere"}, "check", 1, "", "WZRD_API_KEY: given twice"},
		{"a secret with a space", nil, "serve --merchant-keys hush1, hush2", 2, "", "argument 3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := bff(t, row.env, strings.Fields(row.args)...)
			if code != row.code {
				t.Errorf("bff %s = %d, want %d; it said: %s", row.args, code, row.code, stderr)
			}
			if strings.Contains(stdout+stderr, "hush") {
				t.Errorf("bff %s echoes a value: %s%s", row.args, stdout, stderr)
			}
			if !strings.Contains(stderr, row.stderr) || (row.stderr == "") != (stderr == "") {
				t.Errorf("bff %s: stderr = %q, want %q", row.args, stderr, row.stderr)
			}
			if !strings.HasSuffix(row.stdout, ".txt") {
				if !strings.Contains(stdout, row.stdout) || (row.stdout == "") != (stdout == "") {
					t.Errorf("bff %s: stdout = %q, want %q", row.args, stdout, row.stdout)
				}
				return
			}
			path := filepath.Join("testdata", row.stdout)
			if *update {
				if err := os.WriteFile(path, []byte(stdout), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if stdout != string(want) {
				t.Errorf("bff %s differs from %s:\n%s", row.args, path, stdout)
			}
		})
	}
}

// TestHelp_ListsEverything: every flag of every command has a help, a variable's default
// in words or a default, and a placeholder unless it is a switch.
func TestHelp_ListsEverything(t *testing.T) {
	t.Parallel()
	all := commands()
	if len(all) != 6 {
		t.Errorf("there are %d commands, want 6", len(all))
	}
	for _, c := range all {
		if !strings.Contains(overview(all), "  "+c.name+" ") || c.help == "" {
			t.Errorf("bff --help lists not %s", c.name)
		}
		for _, o := range optionsOf(reflect.ValueOf(c.options).Elem()) {
			if o.tag.Get("help") == "" || (o.tag.Get("placeholder") == "") != o.IsBoolFlag() {
				t.Errorf("bff %s: %s has no help, or no placeholder", c.name, o)
			}
			if !strings.Contains(c.flags(), "--"+o.name) || !strings.Contains(c.flags(), o.tag.Get("env")) {
				t.Errorf("bff %s --help lists not %s", c.name, o)
			}
		}
	}
}
