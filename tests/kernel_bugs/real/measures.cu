// Lengths of arrays in pieces, the board's rows, and means of ratios, against loops.
// Builds: float; double; float gpu
#include "host.h"

void check_length(const std::vector<int> &sizes, unsigned blocks) {
    std::vector<std::vector<real>> x;
    Vectors arrays = {};
    int pieces = 0, count = 0;
    double square = 0;
    for (int n : sizes) {
        x.push_back(numbers(n, count));
        for (real each : x.back()) square += double(each) * each;
        arrays.at[count] = (long long)x.back().data();
        arrays.size[count] = n, arrays.first_piece[count++] = pieces;
        pieces += (n + PIECE - 1) / PIECE;
    }
    unsigned ticket = 0;
    for (double before : {0., 11.}) {
        std::vector<double> sums(pieces, NAN);
        double total = NAN;
        auto out = nothing(1);
        launch<length>({blocks, 1, 1}, {THREADS, 1, 1}, arrays, before ? &before : nullptr, sums.data(), &total,
                       out.data(), &ticket, count, pieces);
        expect_close(out, {real(sqrt(square + before))}, 1e-6, "length");
        if (total != square + before || ticket) printf("wrong: total %g, ticket %u\n", total, ticket), exit(1);
    }
}

void check_notes() {
    const int rows = 3, width = 8;
    auto board = nothing(rows * width), a = numbers(3), b = numbers(1, 5), want = board;
    int state[2] = {};
    for (int step = 0; step < 4; ++step) {
        b[0] = step == 2 ? real(INFINITY) : real(step);
        if (step == 3) a[1] = real(NAN);  // which was not to be checked
        Numbers numbers = {{(long long)a.data(), (long long)b.data()}, {3, 1}, {0, 5}, {0, 1}};
        launch<note>({1, 1, 1}, {32, 1, 1}, numbers, board.data(), state, 2, 1, rows, width);
        if (state[0] != (step >= 2) || state[1] != step + 1) printf("wrong: state %d %d\n", state[0], state[1]), exit(1);
    }
    for (int step : {3, 1, 2}) {
        const real *row = &board[step % rows * width];
        bool right = row[0] == numbers(3)[0] && row[2] == numbers(3)[2] && isnan(row[3]) && isnan(row[6]);
        right &= step == 3 ? isnan(row[1]) : row[1] == numbers(3)[1];
        right &= step == 2 ? isinf(row[5]) : row[5] == step;
        if (!right) printf("wrong: row of step %d\n", step), exit(1);
    }
}

void check_ratio() {
    double state[3] = {};
    auto made = nothing(1);
    auto follow = [&](real content, real length) {
        launch<follow_ratio>({1, 1, 1}, {1, 1, 1}, &content, &length, state, made.data(), 10., 4., 100., 1e30);
        return double(made[0]);
    };
    std::vector<double> got = {follow(1, 0), state[2], follow(6, 2), follow(5, 1), follow(1, 0), state[2]};
    std::vector<double> want = {0, 0, 3, 4, 4 + (16 - 4) / 3., 3};
    for (int i = 0; i < 6; ++i)
        if (fabs(got[i] - want[i]) > 1e-5) printf("wrong: ratio %d is %g, not %g\n", i, got[i], want[i]), exit(1);
}

void check_images(int images, int pixels, int channels, int run) {
    int size = pixels * channels, n = images * size;
    auto bicubic = numbers(n), hr = numbers(n, 3), sr = numbers(n, 7), out = nothing(4);
    std::vector<double> want(4), all(size);
    auto beyond = [&](const std::vector<real> &x, int i) { return x[i] - (2 * double(bicubic[i]) - 1); };
    for (int image = 0; image <= images; ++image) {
        for (int c = 0; c < channels; ++c) {
            double mean_x = 0, mean_y = 0, square_x = 0, square_y = 0;
            auto x = [&](int p) { return image < images ? beyond(sr, image * size + p * channels + c) : all[p * channels + c]; };
            auto y = [&](int p) { return image < images ? beyond(hr, image * size + p * channels + c) : 0; };
            for (int p = 0; p < pixels; ++p) mean_x += x(p) / pixels, mean_y += y(p) / pixels;
            for (int p = 0; p < pixels; ++p) {
                square_x += (x(p) - mean_x) * (x(p) - mean_x), square_y += (y(p) - mean_y) * (y(p) - mean_y);
                if (image < images) all[p * channels + c] += x(p);
            }
            if (image < images) want[0] += square_x, want[1] += square_y;
            else want[2] += square_x, want[3] = fmax(want[3], 127.5 * fabs(mean_x) / images);
        }
    }
    unsigned ticket = 0, blocks = (size - 1) / run + 1;
    std::vector<double> parts((images + 1) * blocks * 4 * channels, NAN);
    launch<image_moments>({blocks, unsigned(images + 1), 1}, {IMAGE_THREADS, 1, 1}, bicubic.data(), hr.data(), sr.data(),
                          parts.data(), out.data(), &ticket, images, size, channels, run);
    expect_close(out, std::vector<real>(want.begin(), want.end()), 1e-5, "image_moments");
    if (ticket) printf("wrong: a ticket is left\n"), exit(1);
}

int main() {
    check_images(3, 150, 3, 2 * IMAGE_THREADS);
    check_images(1, 5, 1, IMAGE_THREADS);
    check_length({2 * PIECE + 100, 7, 0, 300}, 3);
    check_length({5}, 1);
    check_notes();
    check_ratio();
}
