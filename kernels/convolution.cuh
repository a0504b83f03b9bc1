// What the kernels of a convolution share: its geometry, and its epilogue.

// The sizes of a convolution of NHWC arrays, x (n, height, width, cin) with w (kh, kw, cin, cout). Its output is
// (n, out_h, out_w, cout), wherever it is stored. minisrgan/device/conv.py has the same struct.
struct Geometry {
    int n, height, width, cin;
    int kh, kw, cout;
    int out_h, out_w;
    int stride_y, stride_x, pad_y, pad_x;
};

// Output pixels of all images. They are numbered image by image and row by row.
__device__ __forceinline__ int pixels_of(const Geometry &g) { return g.n * g.out_h * g.out_w; }

// Rows of w as a matrix, one for each tap and input channel.
__device__ __forceinline__ int depth_of(const Geometry &g) { return g.kh * g.kw * g.cin; }

// ---- The epilogue --------------------------------------------------------------------------------------
//
// What a kernel does with its sums before they leave the registers: y = PReLU(sum + bias) + residual. A part whose
// pointer is null is left out. A sum is stored where pixel shuffle would move it (shuffle = r; 1 for no shuffle). Each
// part that is done here saves a pass over memory.
struct Epilogue {
    real *y;
    const real *bias, *negative_slope, *residual;  // for each channel, for each channel of y, an image like y
    int height, width, channels;                   // of the convolution's output
    int shuffle;

    // Whether n channels that begin at a multiple of n always go to the same pixel of y.
    __device__ __forceinline__ bool whole_pixels(int n) const { return channels % (shuffle * shuffle * n) == 0; }
};

// The epilogue for N channels, from channel `o` on. Shuffle makes a square of r x r pixels of one pixel. These N
// channels must go to one pixel of the square, which is at (square_row, square_column) in it. WHOLE: y's channels are
// known to be a multiple of N.
template <int N, bool WHOLE = false>
struct EpilogueChannels {
    Vec<N> bias, negative_slope;
    int channel, channels, square_row, square_column;  // channel and channels: of y

    __device__ __forceinline__ EpilogueChannels(const Epilogue &epilogue, int o) {
        int r = epilogue.shuffle;
        channels = r == 1 ? epilogue.channels : epilogue.channels / (r * r);
        int square = r == 1 ? 0 : o / channels;
        channel = o - square * channels;
        square_row = square / r;
        square_column = square - square_row * r;
        int left = channels - channel;
        bool whole = WHOLE || channels % N == 0;
        bias = epilogue.bias && left > 0 ? Vec<N>::load_edge(epilogue.bias + o, left, whole) : Vec<N>::broadcast(0);
        negative_slope = epilogue.negative_slope && left > 0
                             ? Vec<N>::load_edge(epilogue.negative_slope + channel, left, whole)
                             : Vec<N>::broadcast(1);
    }

    // Finish and store the sums of these channels at pixel (p, q) of an image.
    __device__ __forceinline__ void store(const Epilogue &epilogue, Vec<N> value, int image, int p, int q) const {
        int r = epilogue.shuffle, row = (image * epilogue.height + p) * r + square_row, column = q * r + square_column;
        long long at = ((long long)row * epilogue.width * r + column) * channels + channel;
        int left = channels - channel;
        bool whole = WHOLE || channels % N == 0;
        value = value + bias;
        if (epilogue.negative_slope) value = Vec<N>::where_positive(value, value, negative_slope * value);
        if (epilogue.residual) value = value + Vec<N>::load_edge(epilogue.residual + at, left, whole);
        value.store_edge(epilogue.y + at, left, whole);
    }
};
