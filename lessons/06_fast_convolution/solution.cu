// Lesson 6: a 3 x 3 convolution from a tile in shared memory.
//
//     y[n, p, q, o] = sum over i, j < 3 and c < cin of x[n, p + i - 1, q + j - 1, c] w[i, j, c, o]
//
// Stride 1, padding 1: y is as large as x, and beyond the image x is 0. Arrays are NHWC, weights (3, 3, cin, cout).
//
// A block has TILE x TILE threads. It computes a tile of TILE x TILE pixels of y, of one output channel. These pixels
// need nearly the same pixels of x: the tile and a border of one pixel around it, its halo. So the block takes one
// input channel after another. It loads the HALO x HALO numbers of the channel into shared memory, waits, and reads all
// nine taps of each pixel from there.

constexpr int TILE = 8, HALO = TILE + 2, THREADS = TILE * TILE;

// There is a block for each tile (blockIdx.x: the tiles of an image row by row, image after image) and output channel
// (blockIdx.y).
extern "C" __global__ void __launch_bounds__(THREADS)
conv3x3(const real *x /*[n*height*width*cin]*/, const real *w /*[9*cin*cout]*/, real *y /*[n*height*width*cout]*/,
        int n, int height, int width, int cin, int cout) {
    SHARED(real, halo, [HALO][HALO]);
    int across = (width + TILE - 1) / TILE, down = (height + TILE - 1) / TILE;
    int image = blockIdx.x / across / down, o = blockIdx.y;
    int row0 = blockIdx.x / across % down * TILE, column0 = blockIdx.x % across * TILE;  // the tile's first pixel
    int t = threadIdx.x, i0 = t / TILE, j0 = t % TILE;                                   // this thread's pixel in it
    real sum = 0;
    for (int c = 0; c < cin; ++c) {
        // >>> Load the halo of channel c with all threads together; zeros beyond the image
        for (int e = t; e < HALO * HALO; e += THREADS) {
            int row = row0 + e / HALO - 1, column = column0 + e % HALO - 1;
            bool inside = row >= 0 && row < height && column >= 0 && column < width;
            halo[e / HALO][e % HALO] = inside ? x[((image * height + row) * width + column) * cin + c] : 0;
        }
        __syncthreads();
        // <<<
        // >>> Add the nine products of this thread's pixel to its sum, from shared memory
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j) sum += halo[i0 + i][j0 + j] * w[((i * 3 + j) * cin + c) * cout + o];
        __syncthreads();
        // <<<
    }
    // >>> Store the sum, if the pixel is in the image
    int row = row0 + i0, column = column0 + j0;
    if (row < height && column < width) y[((image * height + row) * width + column) * cout + o] = sum;
    // <<<
}
