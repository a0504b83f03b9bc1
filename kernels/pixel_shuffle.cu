// Pixel shuffle: r^2 channels of one pixel become an r x r square of pixels (minisrgan/ops/pixel_shuffle.py).
//
//     y[n, r h + i, r w + j, c] = x[n, h, w, (i r + j) C + c]
//
// On the right, j and c together count a run of rC numbers that lie one after another. On the left they do too. So
// nothing moves within a run. To shuffle is to exchange the two axes before it; to unshuffle is to exchange them back.
//
//     x (N H, W, r, rC)  <->  y (N H, r, W, rC)
//
// Threads.  A row of threads (threadIdx.x, neighbours in memory) copies a run. The rows of a block (threadIdx.y), and
// the blocks, share the runs.
//
// Memory traffic.  Each number is read once and written once, the least that is possible.

// y (outer, b, a, run) = x (outer, a, b, run) with the axes a and b exchanged. There are `runs` = outer a b runs in
// all.
extern "C" __global__ void exchange_axes(const real *x /*[runs*run]*/, real *y /*[runs*run]*/, int runs, int a, int b,
                                         int run, int runs_per_block) {
    REQUIRE((long long)gridDim.x * runs_per_block >= runs);
    int first = blockIdx.x * runs_per_block, count = min(runs_per_block, runs - first);
    for (int k = threadIdx.y; k < count; k += blockDim.y) {
        int to = first + k, i = to % a, j = to / a % b, o = to / a / b;
        const real *source = x + (((long long)o * a + i) * b + j) * run;
        real *target = y + (long long)to * run;
        for (int e = threadIdx.x; e < run; e += blockDim.x) target[e] = source[e];
    }
}
