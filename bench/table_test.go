package main

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	t.Parallel()
	b := &bench{sect: "one"}
	b.versus("rate", 0.7, []float64{80, 100, 90}, []float64{100, 100, 100}, []float64{0.8, 1, 0.9}, "the peer")
	b.versus("slow rate", 0.7, []float64{60}, []float64{100}, []float64{0.6}, "the peer")
	b.below("wait", 1.05, []float64{11}, []float64{10}, []float64{1.1}, " ms", "the peer")
	b.below("no goal", 0, []float64{11}, []float64{10}, []float64{1.1}, " ms", "the peer")
	b.atMost("memory", 12, []float64{9, 8}, " kB", "another | kB")
	b.must("calls", "= 1", "2", "", false)
	b.missing("peer", "≤ 1 x", errNoProc)
	want := []struct {
		cells   [7]string
		verdict verdict
	}{
		{[7]string{"rate", "≥ 0.7 x", "90/s", "0.90", "0.80–1.00 of 3", "holds", "100/s (the peer)"}, holds},
		{[7]string{"slow rate", "≥ 0.7 x", "60/s", "0.60", "one turn", "falls short", "100/s (the peer)"}, fallsShort},
		{[7]string{"wait", "≤ 1.05 x", "11 ms", "1.10", "one turn", "falls short", "10 ms (the peer)"}, fallsShort},
		{[7]string{"no goal", "", "11 ms", "1.10", "one turn", "–", "10 ms (the peer)"}, told},
		{[7]string{"memory", "≤ 12 kB", "8.50 kB", "0.71", "8–9", "holds", "another | kB"}, holds},
		{[7]string{"calls", "= 1", "2", "", "", "falls short", ""}, fallsShort},
		{[7]string{"peer", "≤ 1 x", "", "", "", "not run", errNoProc.Error()}, notRun},
	}
	if len(b.table.rows) != len(want) {
		t.Fatalf("table has %d rows, want %d", len(b.table.rows), len(want))
	}
	counts := map[verdict]int{}
	for i, w := range want {
		if got := b.table.rows[i].cells(); got != w.cells {
			t.Errorf("row %d = %q, want %q", i, got, w.cells)
		}
		counts[w.verdict]++
	}
	for v, n := range counts {
		if got := count(b.table.rows, v); got != n {
			t.Errorf("count(%q) = %d, want %d", v, got, n)
		}
	}
	text := strings.Split(strings.TrimRight(b.table.text(), "\n"), "\n")
	if len(text) != len(want)+2 {
		t.Fatalf("text has %d lines, want %d", len(text), len(want)+2)
	}
	column := strings.Index(text[0], "goal")
	for _, line := range text[2:5] {
		if !strings.HasPrefix(line[column:], "≥") && !strings.HasPrefix(line[column:], "≤") {
			t.Errorf("line %q has no goal in the column of goals", line)
		}
	}
	d := document{host: machine{cpu: "a processor", cores: 2}, table: b.table, short: true, chosen: []string{"one"}, pictures: []picture{{"benchmarks-x.svg", "A plot"}}}
	doc := d.markdown()
	for _, part := range []string{"`./build.sh bench -write -short one`", "## one", `another \| kB`, "a processor, 2 cores", "| falls short |", "![A plot](benchmarks-x.svg)"} {
		if !strings.Contains(doc, part) {
			t.Errorf("markdown lacks %q:\n%s", part, doc)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 0.123: "0.12", 7: "7", 7.26: "7.26", 12.34: "12.3", 640: "640", 1234.5: "1234", 23_456: "23.5k", 12_345_678: "12.3M"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}

// Every goal has a line, whatever was measured.
func TestSummary(t *testing.T) {
	t.Parallel()
	b := &bench{sect: "start"}
	b.atMost("binary", 25, []float64{22}, " MiB", "")
	b.atMost("idle memory (RSS)", 40, []float64{41}, " MiB", "")
	b.fact("start to /readyz, empty store, of a peer", "3 ms", "") // no goal: not the goal's row
	b.missing("section start", "", errNoProc)
	b.sect = "paint"
	b.must("a goal that no list has", "= 1", "1", "", true)
	got := map[string]verdict{}
	summary := b.table.summary()
	why := ""
	for _, r := range summary {
		got[r.section+": "+r.what] = r.verdict
		if r.what == "start to /readyz, empty store" {
			why = r.peer
		}
	}
	want := map[string]verdict{
		"start: binary": holds, "start: idle memory (RSS)": fallsShort, "start: start to /readyz, empty store": notRun,
		"paint: a goal that no list has": holds, "paint: interactive": notRun, "size: bytes to an interactive widget": notRun,
	}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("summary has %q as %q, want %q", name, got[name], v)
		}
	}
	if len(summary) != len(goals)+1 {
		t.Errorf("summary has %d rows, want %d", len(summary), len(goals)+1)
	}
	if why != errNoProc.Error() {
		t.Errorf("a goal of a section that ended early says %q, want %q", why, errNoProc)
	}
	if got, want := tally(summary), "2 of 20 goals hold, 1 fall short, 17 were not measured"; got != want {
		t.Errorf("tally = %q, want %q", got, want)
	}
}
