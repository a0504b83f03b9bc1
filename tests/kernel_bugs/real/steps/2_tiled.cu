// conv_tiled against loops: more than one tile and slab, off their boundaries and on them.
// Builds: float native THREADS=256; double native THREADS=256; float THREADS=256; double THREADS=256
// Builds: float gpu THREADS=256; double gpu THREADS=256
#include "real/steps/check.h"

int main() { check_sizes<conv_tiled>(TILE, TILE, SLAB, THREADS, "conv_tiled"); }
