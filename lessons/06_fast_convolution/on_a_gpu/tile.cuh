// What steps 5 to 9 share: the sizes of a tile, where its slabs lie in shared memory, and how they are loaded.
//
// A block of 4 warps makes 128 x 64 outputs, pixels by channels. As in steps 2 to 4 it goes through the depth in slabs:
// SLAB channels of one tap. All loads and copies are of 16 bytes, a chunk of 4 numbers. So channels must be multiples
// of 4, and numbers are floats. Blocks take tiles in turn, so that any grid is right.

#include "../steps/convolution.cuh"

constexpr int TILE_M = 128, TILE_N = 64, SLAB = 16, CHUNK = 4;
static_assert(sizeof(real) == 4 && THREADS == 128, "the tile is made for 4 warps and for floats");

// Where chunk number `chunk` of row r of A lies. A row has 16 numbers, so two rows fill the 32 banks. Threads that read
// the same chunk of 4 or 8 neighbouring rows would meet in the same banks. So the chunks of every other two rows are
// exchanged ("swizzled"): row r has chunk c in place c XOR r/2.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * SLAB + (chunk ^ row / 2 % 4) * CHUNK; }

// A slab in shared memory: of A a row for each pixel, of W a row for each k. The rows of W are 8 numbers longer than
// the tile, so that 4 rows of 8 numbers lie in 32 different banks.
struct __align__(16) Stage {
    float a[TILE_M * SLAB], b[SLAB][TILE_N + 8];
};

__device__ __forceinline__ int slabs_of(const Geometry &g) { return g.kh * g.kw * ((g.cin + SLAB - 1) / SLAB); }
__device__ __forceinline__ int tiles_of(const Geometry &g) {
    return (pixels_of(g) + TILE_M - 1) / TILE_M * ((g.cout + TILE_N - 1) / TILE_N);
}

// Load a slab of the tile whose first output is channel o0 of pixel m0. copy(to, from, inside) loads 16 bytes, or zeros
// where they would lie beyond an edge. Neighbouring threads take neighbouring chunks.
template <class Copy>
__device__ __forceinline__ void load_slab(Stage &stage, const Geometry &g, const float *x, const float *w, int m0,
                                          int o0, int slab, Copy copy) {
    int of_a_tap = (g.cin + SLAB - 1) / SLAB, tap = slab / of_a_tap, c0 = slab % of_a_tap * SLAB;
    int chunk = threadIdx.x % 4, c = c0 + chunk * CHUNK;
    for (int r = threadIdx.x / 4; r < TILE_M; r += THREADS / 4) {
        const float *pixel = pixel_under(g, x, m0 + r, tap / g.kw, tap % g.kw);
        bool inside = pixel && c < g.cin;
        copy(&stage.a[swizzled(r, chunk)], inside ? pixel + c : x, inside);
    }
    int o = threadIdx.x % 16 * CHUNK;
    for (int k = threadIdx.x / 16; k < SLAB; k += THREADS / 16) {
        bool inside = c0 + k < g.cin && o0 + o < g.cout;
        copy(&stage.b[k][o], inside ? w + ((tap * g.cin + c0 + k) * g.cout + o0 + o) : w, inside);
    }
}
