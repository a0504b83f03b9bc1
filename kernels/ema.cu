// The exponential moving average of weights. In each step it moves a part of the way to where the weights are now:
//
//     average <- average + part (w - average)             part = 1 - decay
//
// A thread takes an element (FOR_EACH). One pass reads 2 numbers and writes 1, where the formula line by line would
// move 9. The difference is computed first, so that an average that has arrived stays where it is.

extern "C" __global__ void ema(real *average /*[n]*/, const real *w /*[n]*/, real part, int n) {
    FOR_EACH(i, n) average[i] += part * (w[i] - average[i]);
}
