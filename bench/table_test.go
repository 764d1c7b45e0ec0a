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
		{[7]string{"rate", "≥ 0.7 x", "90/s", "100/s (the peer)", "0.90", "holds", "0.80–1.00 of 3"}, holds},
		{[7]string{"slow rate", "≥ 0.7 x", "60/s", "100/s (the peer)", "0.60", "falls short", "one turn"}, fallsShort},
		{[7]string{"wait", "≤ 1.05 x", "11 ms", "10 ms (the peer)", "1.10", "falls short", "one turn"}, fallsShort},
		{[7]string{"no goal", "", "11 ms", "10 ms (the peer)", "1.10", "–", "one turn"}, told},
		{[7]string{"memory", "≤ 12 kB", "8.50 kB", "another | kB", "0.71", "holds", "8–9"}, holds},
		{[7]string{"calls", "= 1", "2", "", "", "falls short", ""}, fallsShort},
		{[7]string{"peer", "≤ 1 x", "", errNoProc.Error(), "", "not run", ""}, notRun},
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
		if got := b.table.count(v); got != n {
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
	doc := b.table.markdown(machine{cpu: "a processor", cores: 2}, true, []string{"one"})
	for _, part := range []string{"`./build.sh bench -write -short one`", "## one", `another \| kB`, "a processor, 2 cores", "| falls short |"} {
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
