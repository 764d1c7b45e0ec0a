package main

import (
	"fmt"
	"reflect"
	"strings"
)

// overview is bff --help.
func overview(all []command) string {
	var b strings.Builder
	b.WriteString("Usage: bff <command> [flags]\n\nEmbedded checkout for merchants of WZRDPAY. Settings are flags or the variables named\nbeside them; every secret also as a file.\n\nCommands:\n")
	for _, c := range all {
		fmt.Fprintf(&b, "  %-9s %s\n", c.name, c.help)
	}
	b.WriteString("\n\"bff <command> --help\" lists the flags of a command. Exit codes: 0 fine, 1 failed, 2 usage.\n")
	return b.String()
}

// flags is bff <command> --help.
func (c command) flags() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: bff %s [flags]\n\n%s\n\nFlags:\n  -h, --help\n        Print this.\n", c.name, c.help)
	for _, o := range optionsOf(reflect.ValueOf(c.options).Elem()) {
		line, help := "--"+o.name, o.tag.Get("help")
		if short := o.tag.Get("short"); short != "" {
			line = "-" + short + ", " + line
		}
		if !o.IsBoolFlag() {
			line += "=" + o.tag.Get("placeholder")
		}
		if env := o.tag.Get("env"); env != "" {
			line += "  [" + env + "]"
		}
		if value := o.tag.Get("default"); value != "" {
			help = strings.TrimSuffix(help, ".") + " (default " + value + ")."
		}
		fmt.Fprintf(&b, "  %s\n        %s\n", line, help)
	}
	return b.String()
}
