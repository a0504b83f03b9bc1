// conv_vectors against loops: more than one tile and slab, off their boundaries and on them.
// Builds: float native THREADS=32; double native THREADS=32; float THREADS=32; double THREADS=32
// Builds: float gpu THREADS=128; double gpu THREADS=128
#include "real/steps/check.h"

int main() {
    Shape shapes[] = {
        {2, TILE_M / 10 + 3, 5, SLAB + LANES - 1, 3, 3, TILE_O + 3, 1, 1, 1, 1},  // off every boundary
        {1, 9, 16, SLAB, 2, 1, TILE_O, 1, 2, 0, 0},                               // on them
        {1, 7, 6, 2 * LANES, 2, 4, LANES, 2, 3, 1, 2},
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
    };
    for (const Shape &s : shapes) check<conv_vectors>(s, THREADS, "conv_vectors");
}
