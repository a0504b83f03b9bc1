// conv_vectors against loops: more than one tile and slab, off their boundaries and on them.
// Builds: float native THREADS=32; double native THREADS=32; float THREADS=32; double THREADS=32
// Builds: float gpu THREADS=128; double gpu THREADS=128
#include "real/steps/check.h"

int main() { check_sizes<conv_vectors>(TILE_M, TILE_O, SLAB, THREADS, "conv_vectors"); }
