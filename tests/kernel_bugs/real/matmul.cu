// The kernels of matmul.cu against loops: more than one tile and slab, each factor and the product transposed or
// not, a batch of products, and a depth cut into parts.
// Builds: float native; double native; float native SKINNY=1; double SKINNY=1; float native NARROW=1; double NARROW=1
// Builds: float; float gpu; double gpu SKINNY=1; float gpu NARROW=1
#include "host.h"

struct Strides {
    int row, column;
};
Strides strides(int rows, int columns, bool transposed) {
    if (transposed) return {1, rows};
    return {columns, 1};
}

// k_next: how deep a part is; 0: `count` products of one a with as many b.
void check(int m, int n, int k, bool turn_a, bool turn_b, bool turn_c, int k_next = 0, int count = 1) {
    if (k_next) count = (k - 1) / k_next + 1;
    Strides of_a = strides(m, k, turn_a), of_b = strides(k, n, turn_b), of_c = strides(m, n, turn_c);
    auto a = numbers(m * k), b = numbers(k * n * (k_next ? 1 : count), 3), c = nothing(count * m * n), want = c;
    int a_next = k_next * of_a.column, b_next = k_next ? k_next * of_b.row : k * n;
    for (int z = 0; z < count; ++z)
        for (int i = 0; i < m; ++i)
            for (int j = 0; j < n; ++j) {
                real sum = 0;
                for (int l = 0; l < (k_next ? min(k_next, k - z * k_next) : k); ++l)
                    sum += a[z * a_next + i * of_a.row + l * of_a.column] *
                           b[z * b_next + l * of_b.row + j * of_b.column];
                want[z * m * n + i * of_c.row + j * of_c.column] = sum;
            }
    launch<matmul>({3, 1, 1}, {THREADS, 1, 1}, a.data(), b.data(), c.data(),
                   Products{of_a.row, of_a.column, of_b.row, of_b.column, of_c.row, of_c.column, m, n, k, a_next, b_next,
                            k_next, count});
    expect_equal(c, want, "matmul");
}

int main() {
    for (int turned = 0; turned < 8; ++turned) {
        check(TILE_M + 3, TILE_N + 1, SLAB + 5, turned & 1, turned & 2, turned & 4);  // all of it off the boundaries
        check(TILE_M, TILE_N + LANES, SLAB + LANES, turned & 1, turned & 2, turned & 4);  // all vectors whole
    }
    check(TILE_M + LANES, 2 * TILE_N, 3 * SLAB, true, false, false, SLAB + LANES);
    check(LANES + 1, 3, 2 * SLAB + 3, false, true, false, SLAB);
    check(5, TILE_N + 1, LANES, false, false, false, 0, 3);
    check(1, 1, 1, false, false, false);
}
