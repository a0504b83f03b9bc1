// The exponential moving average of weights, which moves a part of the way to where they are now:
//
//     average <- average + part (w - average)             part = 1 - decay
//
// A thread takes an element (FOR_EACH), in one pass: 2 numbers read and 1 written, where the formula line by line
// would move 9. The difference comes first, so that an average that has arrived stays where it is.

extern "C" __global__ void ema(real *average /*[n]*/, const real *w /*[n]*/, real part, int n) {
    FOR_EACH(i, n) average[i] += part * (w[i] - average[i]);
}
