// What the main() of each file here uses: launch a kernel, compare its result.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <vector>

extern "C" const char *kernel_error();

inline unsigned shared_bytes = 0;  // dynamic shared memory for the launches that follow

template <auto kernel>
struct Launch;
template <class... Parameters, void (*kernel)(Parameters...)>
struct Launch<kernel> {
    static void run(uint3 grid, uint3 block, Parameters... values) {
        const unsigned g[] = {grid.x, grid.y, grid.z}, b[] = {block.x, block.y, block.z};
        void *args[] = {const_cast<void *>(static_cast<const void *>(&values))...};
        if (cuda_launch("kernel", CudaEntry<kernel>::run_thread, cuda_find_shared, g, b, shared_bytes, args)) {
            printf("refused: %s\n", kernel_error());
            exit(3);
        }
    }
};
// launch<kernel>({blocks, 1, 1}, {threads, 1, 1}, arguments...)
template <auto kernel, class... Values>
void launch(uint3 grid, uint3 block, Values... values) {
    Launch<kernel>::run(grid, block, values...);
}

// Distinct small whole numbers: sums of them are exact.
inline std::vector<real> numbers(int n, int shift = 0) {
    std::vector<real> x(n);
    for (int i = 0; i < n; ++i) x[i] = real((i + shift) * 7 % 29 - 11);
    return x;
}
// What a kernel is to write to: NaN, so that an element that it forgets differs from any result.
inline std::vector<real> nothing(int n) { return std::vector<real>(n, real(NAN)); }

// |got - want| <= tolerance max(1, |want|)
inline void expect_close(const std::vector<real> &got, const std::vector<real> &want, double tolerance,
                         const char *kernel = "the") {
    for (size_t i = 0; i < want.size(); ++i) {
        if (fabs(got[i] - want[i]) <= tolerance * fmax(1, fabs(want[i]))) continue;
        printf("wrong: %s element %zu is %g, not %g\n", kernel, i, double(got[i]), double(want[i]));
        exit(1);
    }
}
inline void expect_equal(const std::vector<real> &got, const std::vector<real> &want, const char *kernel = "the") {
    expect_close(got, want, 0, kernel);
}
