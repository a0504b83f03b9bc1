// conv_blocked against loops: more than one tile and slab, off their boundaries and on them.
// Builds: float native THREADS=64; double native THREADS=64; float THREADS=64; double THREADS=64
// Builds: float gpu THREADS=64; double gpu THREADS=64
#include "real/steps/check.h"

int main() {
    Shape shapes[] = {
        {2, TILE / 10 + 3, 5, SLAB + LANES - 1, 3, 3, TILE + 3, 1, 1, 1, 1},  // off every boundary
        {1, 9, 16, SLAB, 2, 1, TILE, 1, 2, 0, 0},                             // on them
        {1, 7, 6, 2 * LANES, 2, 4, LANES, 2, 3, 1, 2},
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
    };
    for (const Shape &s : shapes) check<conv_blocked>(s, THREADS, "conv_blocked");
}
