// Command bench measures the program against what could be had instead, on the machine it
// runs on: every goal is a ratio to a peer or a limit that is measured in the same run,
// in turns, with the median and the spread said. `bin/bff` runs as a process of its own,
// WZRDPAY is internal/sandbox, peers are processes too. All traffic is on loopback.
//
//	./build.sh bench [-short] [-write] [-strict] [section …]
//
// A section that can not run here says why in its row; nothing is guessed. Bench may
// import anything of the module and of its requirements.
package main
