// Command assets turns the sources of the widget into what browsers load: it
// minifies, gives immutable names, precompresses, and writes the manifest with
// sizes and integrity that package public embeds. The same input gives the same
// bytes. build.sh runs it after compiling wasm/; it alone imports the minifier and
// the brotli encoder.
//
// Sources are widget/js/*.{js,mjs,css,html,svg} (minified), *.d.ts (as it is), and
// two files named by flags: the wasm and the wasm_exec.js of the compiler that made
// it. A file's logical name is its file name. Names that start with "_" are parts to
// include and wasm_exec_*.js are runtimes to choose from: neither is published.
// Entry points (checkout.js, checkout.mjs, checkout.d.ts) keep their names, every
// other file gets a hash of its content into its name.
//
// A source refers to another one by a placeholder, replaced before minifying:
//
//	%%asset:widget.wasm%%      its published file name, without a folder
//	%%name:widget.css%%        the same, of a file that few pages load: it is not counted
//	%%integrity:widget.wasm%%  its subresource integrity, "sha384-…"
//	%%text:widget.css%%        its minified content, escaped for a "…" JavaScript string
//	%%include:_core.js%%       its source text, placeholders replaced
//
// What checkout.js names by asset, transitively, is what a page loads.
//
// With -check nothing is written: it exits 1 and names what in public/widget/v1 no
// longer fits the sources.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "assets:", err)
		}
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	root     string // of the project
	wasm     string // compiled module
	wasmExec string // its JavaScript runtime
	compiler string // recorded in the manifest
	check    bool
	budget   int // brotli bytes a page may load with a TinyGo build; 0: any
}

func (c config) validate() error {
	switch {
	case c.root == "":
		return errors.New("-root is empty")
	case c.budget < 0:
		return errors.New("-budget is negative")
	case c.check:
		return nil
	case c.wasm == "":
		return errors.New("-wasm is missing")
	case c.wasmExec == "":
		return errors.New("-wasm-exec is missing")
	case c.compiler == "":
		return errors.New("-compiler is missing")
	}
	return nil
}

func run(args []string, out io.Writer) error {
	var c config
	flags := flag.NewFlagSet("assets", flag.ContinueOnError)
	flags.StringVar(&c.root, "root", ".", "root `folder` of the project")
	flags.StringVar(&c.wasm, "wasm", "", "compiled wasm `file`")
	flags.StringVar(&c.wasmExec, "wasm-exec", "", "wasm_exec.js `file` of the compiler")
	flags.StringVar(&c.compiler, "compiler", "", "`name` and version of the compiler")
	flags.BoolVar(&c.check, "check", false, "write nothing, exit 1 naming what is stale")
	flags.IntVar(&c.budget, "budget", 0, "brotli `bytes` that a page may load (TinyGo builds only)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err := c.validate(); err != nil {
		return err
	}
	if c.check {
		return check(c, out)
	}
	return build(c, out)
}

// build publishes the sources and reports sizes.
func build(c config, out io.Writer) error {
	inputs, err := hashInputs(c.root)
	if err != nil {
		return err
	}
	if err := refuseOlder(c.root, c.wasm); err != nil {
		return err
	}
	s, err := loadSources(c)
	if err != nil {
		return err
	}
	assets, err := s.renderAll()
	if err != nil {
		return err
	}
	m, err := publish(c, inputs, assets)
	if err != nil {
		return err
	}
	if err := report(out, m); err != nil {
		return err
	}
	return overBudget(c, m)
}
