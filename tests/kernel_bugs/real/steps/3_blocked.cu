// conv_blocked against loops: more than one tile and slab, off their boundaries and on them.
// Builds: float native THREADS=64; double native THREADS=64; float THREADS=64; double THREADS=64
// Builds: float gpu THREADS=64; double gpu THREADS=64
#include "real/steps/check.h"

int main() { check_sizes<conv_blocked>(TILE, TILE, SLAB, THREADS, "conv_blocked"); }
