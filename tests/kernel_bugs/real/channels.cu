// The kernels of channels.cu against loops: parts of unequal length, and fewer and more channels than a block's.
// Builds: float native; double native; float; float gpu; double gpu
#include "host.h"

const real EPS = 0.5;

void check(int rows, int channels, int rows_per_part) {
    int n = rows * channels, parts = (rows - 1) / rows_per_part + 1;
    uint3 grid = {unsigned(parts), unsigned((channels - 1) / WIDTH + 1), 1}, block = {THREADS, 1, 1};
    double close = sizeof(real) == 4 ? 1e-5 : 1e-13;
    auto x = numbers(n), g = numbers(n, 3), a = numbers(channels, 5), b = numbers(channels, 8);
    auto y = nothing(n), want = y;
    auto each = [&](auto f) {
        y = nothing(n);
        for (int i = 0; i < n; ++i) want[i] = f(i, i % channels);
    };
    each([&](int i, int c) { return x[i] + b[c]; });
    launch<add_channels>(grid, block, x.data(), b.data(), y.data(), rows, channels, rows_per_part);
    expect_equal(y, want, "add_channels");
    each([&](int i, int c) { return x[i] * a[c]; });
    launch<scale_channels>(grid, block, x.data(), a.data(), y.data(), rows, channels, rows_per_part);
    expect_equal(y, want, "scale_channels");
    each([&](int i, int c) { return x[i] > 0 ? x[i] : a[c] * x[i]; });
    launch<prelu_forward>(grid, block, x.data(), a.data(), y.data(), rows, channels, rows_per_part);
    expect_equal(y, want, "prelu_forward");
    each([&](int i, int c) { return x[i] > 0 ? g[i] : a[c] * g[i]; });
    launch<prelu_backward>(grid, block, g.data(), x.data(), a.data(), y.data(), rows, channels, rows_per_part);
    expect_equal(y, want, "prelu_backward");

    // Sums of whole numbers.
    std::vector<real> made, sums(channels), slopes = sums, error(1);
    std::vector<unsigned> tickets(grid.y);
    auto scratch = nothing(parts * channels), more_scratch = scratch;
    for (int i = 0; i < n; ++i) {
        sums[i % channels] += x[i];
        slopes[i % channels] += x[i] > 0 ? 0 : g[i] * x[i];
        error[0] += (x[i] - g[i]) * (x[i] - g[i]);
    }
    made = nothing(channels);
    launch<column_sums>(grid, block, x.data(), scratch.data(), made.data(), tickets.data(), rows, channels,
                        rows_per_part);
    expect_equal(made, sums, "column_sums");
    made = nothing(channels);
    launch<slope_gradient>(grid, block, g.data(), x.data(), scratch.data(), made.data(), tickets.data(), rows, channels,
                           rows_per_part);
    expect_equal(made, slopes, "slope_gradient");
    // the kernel for a sum over everything sees a matrix of one column
    made = nothing(1);
    launch<squared_error>({unsigned(parts), 1, 1}, block, x.data(), g.data(), scratch.data(), made.data(),
                          tickets.data(), n, 1, rows_per_part * channels);
    expect_equal(made, error, "squared_error");

    for (unsigned ticket : tickets)
        if (ticket) printf("wrong: a ticket is left\n"), exit(1);
}

// Batch norm of some groups of rows, and what follows it.
void check_norm(int groups, int rows, int channels, int rows_per_part) {
    int n = groups * rows * channels, parts = (rows - 1) / rows_per_part + 1, sums = groups == 1 ? 1 : groups + 1;
    uint3 grid = {unsigned(parts), unsigned((channels - 1) / WIDTH + 1), unsigned(groups)}, block = {THREADS, 1, 1};
    double close = sizeof(real) == 4 ? 1e-5 : 1e-13;
    auto x = numbers(n), g = numbers(n, 3), a = numbers(channels, 5), b = numbers(channels, 8);
    auto y = nothing(n), want = y;
    auto each = [&](auto f) {
        y = nothing(n);
        for (int i = 0; i < n; ++i) want[i] = f(i, i % channels, i / (rows * channels) * channels + i % channels);
    };
    std::vector<unsigned> tickets(grid.y);
    auto scratch = nothing(groups * parts * channels), more = scratch, third = scratch;
    std::vector<real> mean(groups * channels), var = mean;
    each([&](int i, int c, int s) { return mean[s] += x[i] / rows; });
    each([&](int i, int c, int s) { return var[s] += (x[i] - mean[s]) * (x[i] - mean[s]) / rows; });
    auto made_mean = nothing(groups * channels), made_var = made_mean, running_mean = a, running_var = b;
    for (bool follow : {false, true}) {
        launch<column_moments>(grid, block, x.data(), scratch.data(), more.data(), made_mean.data(), made_var.data(),
                               follow ? running_mean.data() : nullptr, follow ? running_var.data() : nullptr,
                               real(0.25), tickets.data(), groups, rows, channels, rows_per_part);
        expect_close(made_mean, mean, close, "column_moments: mean");
        expect_close(made_var, var, 10 * close, "column_moments: var");
    }
    auto want_mean = a, want_var = b;
    for (int s = 0; s < groups * channels; ++s) {
        want_mean[s % channels] += real(0.25) * (mean[s] - want_mean[s % channels]);
        want_var[s % channels] += real(0.25) * (var[s] * rows / fmax(rows - 1, 1) - want_var[s % channels]);
    }
    expect_close(running_mean, want_mean, close, "column_moments: running mean");
    expect_close(running_var, want_var, 10 * close, "column_moments: running variance");
    for (auto *made : {&made_mean, &made_var}) *made = nothing(groups * channels);  // from parts that lie there already
    for (real &m : scratch) m += 1;
    launch<merge_moments>({1, grid.y, 1}, block, scratch.data(), more.data(), made_mean.data(), made_var.data(),
                          nullptr, nullptr, real(0), groups, parts, channels, rows, rows_per_part);
    for (int s = 0; s < groups * channels; ++s)  // the means were relative to the first row of x
        made_mean[s] += x[s / channels * rows * channels + s % channels] - 1;
    expect_close(made_mean, mean, 10 * close, "merge_moments: mean");
    expect_close(made_var, var, 10 * close, "merge_moments: var");

    auto z = [&](int i, int c, int s) { return a[c] * (x[i] - mean[s]) / sqrt(var[s] + EPS) + b[c]; };
    for (int kind : {0, 1, 2}) {  // nothing after it; a leak of 1/4 and a residual; a slope for each channel
        real leak = kind == 1 ? real(0.25) : real(1);
        auto slope = numbers(channels, 4);
        real *slopes = kind == 2 ? slope.data() : nullptr;
        auto activate = [&](real z, real number, int c) {
            return z > 0 ? number : (kind == 2 ? slope[c] : leak) * number;
        };
        auto h = [&](int i, int c, int s) { return activate(z(i, c, s), g[i], c); };
        each([&](int i, int c, int s) { return activate(z(i, c, s), z(i, c, s), c) + (kind == 1 ? g[i] : 0); });
        launch<batch_norm_forward>(grid, block, x.data(), a.data(), b.data(), mean.data(), var.data(), slopes,
                                   kind == 1 ? g.data() : nullptr, EPS, leak, y.data(), groups, rows, channels,
                                   rows_per_part);
        expect_close(y, want, 100 * close, "batch_norm_forward");
        std::vector<real> dgamma(sums * channels), dbeta = dgamma, dslope = dgamma;
        each([&](int i, int c, int s) {
            for (int at : {s, groups * channels + c}) {
                if (at >= sums * channels) continue;
                dgamma[at] += h(i, c, s) * (x[i] - mean[s]) / sqrt(var[s] + EPS);
                dbeta[at] += h(i, c, s);
                dslope[at] += z(i, c, s) > 0 ? 0 : g[i] * z(i, c, s);
            }
            return real(0);
        });
        auto made_gamma = nothing(sums * channels), made_beta = made_gamma, made_slope = made_gamma;
        launch<batch_norm_sums>(grid, block, g.data(), x.data(), a.data(), b.data(), mean.data(), var.data(), slopes,
                                EPS, leak, scratch.data(), more.data(), slopes ? third.data() : nullptr,
                                made_gamma.data(), made_beta.data(), slopes ? made_slope.data() : nullptr,
                                tickets.data(), sums, groups, rows, channels, rows_per_part);
        double many = sqrt(groups * rows) * 300 * close;
        expect_close(made_gamma, dgamma, many, "batch_norm_sums: gamma");
        expect_close(made_beta, dbeta, many, "batch_norm_sums: beta");
        if (slopes) expect_close(made_slope, dslope, many, "batch_norm_sums: slope");
        each([&](int i, int c, int s) {
            real sigma = sqrt(var[s] + EPS);
            return a[c] / sigma * (h(i, c, s) - dbeta[s] / rows - (x[i] - mean[s]) / sigma * dgamma[s] / rows);
        });
        launch<batch_norm_backward>(grid, block, g.data(), x.data(), a.data(), b.data(), mean.data(), var.data(),
                                    slopes, dgamma.data(), dbeta.data(), EPS, leak, y.data(), sums, groups, rows,
                                    channels, rows_per_part);
        expect_close(y, want, 100 * close, "batch_norm_backward");
    }
    for (unsigned ticket : tickets)
        if (ticket) printf("wrong: a ticket is left\n"), exit(1);
}

int main() {
    check(3 * WIDTH / 5 + 7, 5, WIDTH / 5 + 3);
    check(7, WIDTH + 3, 4);
    check(2 * WIDTH + 9, 1, WIDTH + 5);
    check(5, WIDTH, 5);
    check(1, 1, 1);
    check_norm(1, 3 * WIDTH / 5 + 7, 5, WIDTH / 5 + 3);
    check_norm(2, 7, WIDTH + 4, 4);
    check_norm(3, WIDTH / 8 + 5, 8, WIDTH / 16 + 1);
    check_norm(1, 1, 1, 1);
}
