// Step 1 to a fast convolution: a thread for each output.
//
// This is the plain loop. A thread adds up the products of one output, in a register. For each multiply-add it loads
// two numbers, one of x and one of w, and it uses each of them once. If another thread needs the same number again,
// only a cache can save the way to memory.
//
//     multiply-adds for a number loaded from memory:  1/2
//     measured:  2.6 GFLOP/s, as fast as one sum can grow when each addition waits for the one before
//
// The measured speeds in these headers are those of the lesson: float32 on one core of an AMD EPYC with AVX-512.
// measure.py, in the folder above, measures your machine.
//
// x is read kh kw cout / stride^2 times, w once for each output pixel. y is written once.

#include "convolution.cuh"

extern "C" __global__ void conv_direct(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
                                       real *y /*[n*out_h*out_w*cout]*/, Geometry g) {
    FOR_EACH(e, pixels_of(g) * g.cout) {
        int o = e % g.cout;
        real sum = 0;
        for (int tap = 0; tap < g.kh * g.kw; ++tap)
            if (const real *pixel = pixel_under(g, x, e / g.cout, tap / g.kw, tap % g.kw))
                for (int c = 0; c < g.cin; ++c) sum += pixel[c] * w[(tap * g.cin + c) * g.cout + o];
        y[e] = sum;
    }
}
