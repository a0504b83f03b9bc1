// How steps 2 to 4 load their tiles. A block works through the depth of the product in slabs: SLAB channels of one tap
// at a time. It loads a slab of both factors into shared memory, the pixels as `a` and the weights as `b`. What lies
// beyond an edge is loaded as zeros.

#include "convolution.cuh"

#ifdef CPU
constexpr int SLAB = 64;  // channels loaded between two barriers: a CPU has the room, and its barriers cost more
#else
constexpr int SLAB = 16;
#endif

// How many neighbouring threads load a row of a slab together. On a GPU neighbours read neighbouring numbers, so that
// the load of a warp is a few runs of memory. On a CPU each thread has rows of its own.
#ifdef CPU
#define ABREAST(numbers) 1
#else
#define ABREAST(numbers) (numbers)
#endif

// a[r][k] = channel c0 + k of the pixel under tap `tap` of output pixel m0 + r, or 0. WIDTH numbers at a time.
template <int WIDTH, int ROWS>
__device__ __forceinline__ void load_pixels(real (&a)[ROWS][SLAB], const Geometry &g, const real *x, int m0, int tap,
                                            int c0) {
    typedef Vec<WIDTH> V;
    constexpr int SHARERS = ABREAST(SLAB / WIDTH);
    int left = g.cin - c0;
    bool whole = g.cin % WIDTH == 0;
    for (int r = threadIdx.x / SHARERS; r < ROWS; r += blockDim.x / SHARERS) {
        const real *pixel = pixel_under(g, x, m0 + r, tap / g.kw, tap % g.kw);
        for (int k = threadIdx.x % SHARERS * WIDTH; k < min(SLAB, left); k += SHARERS * WIDTH)
            (pixel ? V::load_edge(pixel + c0 + k, left - k, whole) : V::broadcast(0)).store(&a[r][k]);
    }
}

// b[k][c] = w[tap, c0 + k, o0 + c], or 0. WIDTH numbers at a time.
template <int WIDTH, int COLUMNS>
__device__ __forceinline__ void load_weights(real (&b)[SLAB][COLUMNS], const Geometry &g, const real *w, int tap,
                                             int c0, int o0) {
    typedef Vec<WIDTH> V;
    constexpr int SHARERS = ABREAST(COLUMNS / WIDTH);
    bool whole = g.cout % WIDTH == 0;
    for (int k = threadIdx.x / SHARERS; k < min(SLAB, g.cin - c0); k += blockDim.x / SHARERS) {
        const real *row = w + (tap * g.cin + c0 + k) * g.cout;
        for (int c = threadIdx.x % SHARERS * WIDTH; c < COLUMNS; c += SHARERS * WIDTH) {
            int left = g.cout - o0 - c;
            (left > 0 ? V::load_edge(row + o0 + c, left, whole) : V::broadcast(0)).store(&b[k][c]);
        }
    }
}
