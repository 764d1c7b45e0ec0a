package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// command is one word after bff. options points at a struct whose fields are its flags;
// their tags say all there is to say (see option), and only reflect's fields read them:
// one use of reflect's methods anywhere keeps 3 MB of dead code in the binary.
type command struct {
	name, help string
	options    any
	run        func(context.Context) error
}

// execute runs the command that args name and gives the exit code: 0 fine, 1 failed, 2 usage.
func execute(ctx context.Context, args []string) int {
	all := commands()
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, overview(all))
		return 2
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Print(overview(all))
		return 0
	}
	for _, c := range all {
		if c.name != args[0] {
			continue
		}
		err := parse(c.options, args[1:], os.Getenv)
		switch {
		case errors.Is(err, flag.ErrHelp):
			fmt.Print(c.flags())
			return 0
		case err != nil:
			report(err)
			fmt.Fprintf(os.Stderr, "\nUsage: bff %s [flags]\n\"bff %s --help\" lists the flags.\n", c.name, c.name)
			return 2
		}
		if err := c.run(ctx); err != nil {
			report(err)
			return 1
		}
		return 0
	}
	fmt.Fprintf(os.Stderr, "bff: unknown command %q\n\n", args[0])
	fmt.Fprint(os.Stderr, overview(all))
	return 2
}

// option is a flag, and a variable where env names one. Tags: name (else the field's name
// in kebab case), short, env, default, enum (comma list), required, placeholder, help.
type option struct {
	name  string
	tag   reflect.StructTag
	field any // points at it
	given bool
	err   error
}

var capital = regexp.MustCompile("([a-z])([A-Z])")

// optionsOf walks a struct and the structs in it.
func optionsOf(v reflect.Value) []*option {
	var all []*option
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Type.Kind() == reflect.Struct {
			all = append(all, optionsOf(v.Field(i))...)
			continue
		}
		name := field.Tag.Get("name")
		if name == "" {
			name = strings.ToLower(capital.ReplaceAllString(field.Name, "$1-$2"))
		}
		all = append(all, &option{name: name, tag: field.Tag, field: v.Field(i).Addr().Interface()})
	}
	return all
}

// String names the option in errors: the flag and the variable.
func (o *option) String() string {
	if env := o.tag.Get("env"); env != "" {
		return "--" + o.name + " (" + env + ")"
	}
	return "--" + o.name
}

// IsBoolFlag lets package flag take --json without a value.
func (o *option) IsBoolFlag() bool {
	_, is := o.field.(*bool)
	return is
}

// Set takes the value of a flag. Its error waits for parse: package flag would print the
// value, which may be a secret.
func (o *option) Set(text string) error {
	if _, list := o.field.(*[]string); o.given && !list {
		o.err = fmt.Errorf("%s: given twice", o)
		return nil
	}
	o.given = true
	o.err = errors.Join(o.err, o.read(text))
	return nil
}

// read puts a value into the field; the error says what is wanted, never what was given.
func (o *option) read(text string) error {
	var err error
	want := "true or false"
	switch field := o.field.(type) {
	case *string:
		*field = text
		if enum := o.tag.Get("enum"); enum != "" && !slices.Contains(strings.Split(enum, ","), text) {
			want, err = "one of "+strings.ReplaceAll(enum, ",", ", "), strconv.ErrSyntax
		}
	case *[]string:
		*field = append(*field, strings.Split(text, ",")...)
	case *bool:
		*field, err = strconv.ParseBool(text)
	case *uint64:
		want = "a whole number that is not negative"
		*field, err = strconv.ParseUint(text, 10, 64)
	case *time.Duration:
		want = "a duration, e.g. 1m30s"
		*field, err = time.ParseDuration(text)
	case **int:
		want, *field = "a whole number", new(int)
		**field, err = strconv.Atoi(text)
	case **float64:
		want, *field = "a number", new(float64)
		if **field, err = strconv.ParseFloat(text, 64); err == nil && **field-**field != 0 {
			err = strconv.ErrRange // an infinity, or not a number
		}
	default:
		panic(fmt.Sprintf("bff: --%s has the type %T", o.name, field))
	}
	if err != nil {
		return fmt.Errorf("%s: want %s", o, want)
	}
	return nil
}

// parse fills a struct of options: from the flags, else from the variable (an empty one
// counts as not set), else from the default. flag.ErrHelp: help was asked for.
func parse(into any, args []string, getenv func(string) string) error {
	all := optionsOf(reflect.ValueOf(into).Elem())
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, o := range all {
		set.Var(o, o.name, "")
		if short := o.tag.Get("short"); short != "" {
			set.Var(o, short, "")
		}
	}
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
			return fmt.Errorf("unknown flag --%s", name)
		}
		if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
			return fmt.Errorf("--%s: want a value", name)
		}
		return errors.New("a flag is written --name value or --name=value") // not which: it may hold a secret
	}
	if set.NArg() > 0 {
		return fmt.Errorf("argument %d belongs to no flag: a flag is written --name value or --name=value", len(args)-set.NArg()+1)
	}
	var wrong []error
	for _, o := range all {
		if !o.given {
			text := o.tag.Get("default")
			if env := o.tag.Get("env"); env != "" && getenv(env) != "" {
				text = getenv(env)
			}
			if text != "" {
				o.err = o.read(text)
			}
		}
		_, required := o.tag.Lookup("required")
		if text, ok := o.field.(*string); ok && required && *text == "" {
			o.err = fmt.Errorf("%s: is missing", o)
		}
		wrong = append(wrong, o.err)
	}
	return errors.Join(wrong...)
}
