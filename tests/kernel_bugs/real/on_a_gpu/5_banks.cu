// conv_banks against loops.
// Builds: float gpu THREADS=128; float native THREADS=128
#include "real/on_a_gpu/check.h"

int main() { check<conv_banks>("conv_banks"); }
