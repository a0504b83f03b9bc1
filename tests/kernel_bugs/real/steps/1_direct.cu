// conv_direct against loops. It has no tiles; its sizes are as the others'.
// Builds: float native; double native; float; double; float gpu; double gpu
#include "real/steps/check.h"

int main() { check_sizes<conv_direct>(20, 16, 16, 3, "conv_direct"); }
