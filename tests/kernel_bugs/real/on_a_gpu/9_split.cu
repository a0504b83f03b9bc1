// conv_split against loops: in one part, in several, and with parts that have no slab.
// Builds: float gpu THREADS=128; float native THREADS=128
#include "real/on_a_gpu/check.h"

int main() {
    for (int n_parts : {1, 3, 20})
        check_sizes("conv_split", [=](const Shape &s, auto &x, auto &w, auto &y) {
            auto parts = nothing(n_parts * y.size());
            launch<conv_split>({3, 1, 1}, {THREADS, 1, 1}, x.data(), w.data(), parts.data(), s.geometry(), n_parts);
            for (size_t i = 0; i < parts.size(); ++i) y[i % y.size()] = (i < y.size() ? 0 : y[i % y.size()]) + parts[i];
        });
}
