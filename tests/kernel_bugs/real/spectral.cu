// A round of power iteration against loops: more rows and columns than threads, and fewer.
// Builds: float; double; float gpu
#include "host.h"

void normalise(std::vector<double> &x) {
    double square = 0;
    for (double each : x) square += each * each;
    for (double &each : x) each /= sqrt(square);
}

void check(int rows, int columns, unsigned blocks, int rows_per_part) {
    auto w = numbers(rows * columns), v = numbers(columns, 3), u = nothing(rows), made = nothing(columns);
    std::vector<double> want_u(rows), want_v(columns);
    for (int i = 0; i < rows * columns; ++i) want_u[i / columns] += double(w[i]) * v[i % columns];
    normalise(want_u);
    for (int i = 0; i < rows * columns; ++i) want_v[i % columns] += double(w[i]) * want_u[i / columns];
    normalise(want_v);
    unsigned ticket = 0, parts = (rows - 1) / rows_per_part + 1, across = (columns - 1) / THREADS + 1;
    auto scratch = nothing(parts * columns);
    launch<refine_u>({blocks, 1, 1}, {THREADS, 1, 1}, w.data(), v.data(), u.data(), &ticket, rows, columns);
    expect_close(u, std::vector<real>(want_u.begin(), want_u.end()), 1e-5, "refine_u");
    launch<refine_v>({parts, across, 1}, {THREADS, 1, 1}, w.data(), u.data(), scratch.data(), made.data(), &ticket, rows,
                     columns, rows_per_part);
    expect_close(made, std::vector<real>(want_v.begin(), want_v.end()), 1e-5, "refine_v");
    if (ticket) printf("wrong: a ticket is left\n"), exit(1);
}

int main() {
    check(300, 40, 3, 64);
    check(5, THREADS + 7, 2, 2);
    check(1, 1, 1, 1);
}
