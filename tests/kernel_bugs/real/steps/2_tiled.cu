// conv_tiled against loops: more than one tile and slab, off their boundaries and on them.
// Builds: float native THREADS=256; double native THREADS=256; float THREADS=256; double THREADS=256
// Builds: float gpu THREADS=256; double gpu THREADS=256
#include "real/steps/check.h"

int main() {
    Shape shapes[] = {
        {2, TILE / 10 + 3, 5, SLAB + LANES - 1, 3, 3, TILE + 3, 1, 1, 1, 1},  // off every boundary
        {1, 9, 16, SLAB, 2, 1, TILE, 1, 2, 0, 0},                             // on them
        {1, 7, 6, 2 * LANES, 2, 4, LANES, 2, 3, 1, 2},
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
    };
    for (const Shape &s : shapes) check<conv_tiled>(s, THREADS, "conv_tiled");
}
