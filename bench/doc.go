// Command bench measures the program against what could be had instead, on the machine it
// runs on: every goal is a ratio to a peer or a limit that is measured in the same run,
// in turns, with the median and the spread said. `bin/bff` runs as a process of its own,
// WZRDPAY is internal/sandbox, peers are processes too. All traffic is on loopback.
//
//	./build.sh bench [-short] [-write] [-goals] [-limit 12m] [section …]
//
// In full it takes 12 minutes at most, with -short about 2, on two cores that have nothing
// else to do; building before it, and the peers at the first run, apart. What is not
// measured when -limit is over has a row that says so: a loaded machine loses no row.
//
// A section that can not run here says why in its row; nothing is guessed. goals.go names
// every goal, and each has a line in the summary whatever became of it. Numbers are said,
// so the exit code is 0 unless -goals is given. -write makes docs/benchmarks.md and its
// plots. Bench may import anything of the module and of its requirements; what draws
// (plot), what drives a browser (paint) and the peers are modules of their own.
package main
