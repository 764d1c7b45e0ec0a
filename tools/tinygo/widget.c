// What TinyGo's runtime would take from a C library on js/wasm. Three symbols
// are cheaper than wasi-libc: it is neither downloaded, built nor linked.

__attribute__((import_module("wasi_snapshot_preview1"), import_name("random_get")))
extern int host_random_get(unsigned char *buf, unsigned long len);

// Seeds the runtime's hash of map keys.
unsigned int arc4random(void) {
	unsigned int seed = 0;
	(void)host_random_get((unsigned char *)&seed, sizeof seed);
	return seed;
}

// Called at exit to flush C streams; there are none.
void __stdio_exit(void) {}

// errno lives behind a function in wasi-libc; one thread, so one int.
static int errno_cell;

int *__errno_location(void) { return &errno_cell; }
