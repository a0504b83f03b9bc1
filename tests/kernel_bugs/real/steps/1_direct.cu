// conv_direct against loops.
// Builds: float native; double native; float; double; float gpu; double gpu
#include "real/steps/check.h"

int main() {
    Shape shapes[] = {
        {2, 5, 5, 16 + LANES - 1, 3, 3, 16 + 3, 1, 1, 1, 1},
        {1, 9, 16, 16, 2, 1, 16, 1, 2, 0, 0},
        {1, 7, 6, 2 * LANES, 2, 4, LANES, 2, 3, 1, 2},
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
    };
    for (const Shape &s : shapes) check<conv_direct>(s, 3, "conv_direct");
}
