// The other end of emulated_arm.py: launches come by stdin, the arrays after them go to stdout.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

typedef int (*Entry)(const unsigned[3], const unsigned[3], unsigned, void **);

static void read_bytes(void *to, size_t bytes) {
    if (bytes && fread(to, bytes, 1, stdin) != 1) exit(0);  // nobody asks for anything any more
}
template <class T>
static T read_number() {
    T value;
    read_bytes(&value, sizeof value);
    return value;
}
static std::string read_line() {
    std::string line;
    for (char c; (c = read_number<char>()) != '\n';) line += c;
    return line;
}
static void write_number(int number) { fwrite(&number, sizeof number, 1, stdout); }

static void *library(const char *path) {
    void *found = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!found) fprintf(stderr, "%s\n", dlerror()), exit(1);
    return found;
}

int main(int, char **paths) {
    void *runtime = library(paths[1]);
    auto kernel_error = reinterpret_cast<const char *(*)()>(dlsym(runtime, "kernel_error"));
    write_number(reinterpret_cast<int (*)()>(dlsym(runtime, "kernel_threads"))());
    for (;;) {
        fflush(stdout);
        void *kernels = library(read_line().c_str());
        Entry entry = reinterpret_cast<Entry>(dlsym(kernels, read_line().c_str()));
        unsigned grid[3], block[3];
        read_bytes(grid, sizeof grid);
        read_bytes(block, sizeof block);
        unsigned shared = read_number<unsigned>();
        int count = read_number<int>();
        std::vector<void *> arrays(count), args(count);
        std::vector<int64_t> bytes(count);
        std::vector<uint64_t> scalars(count);
        for (int i = 0; i < count; ++i) {
            bytes[i] = read_number<int64_t>();
            if (bytes[i] < 0) {
                scalars[i] = read_number<uint64_t>();
                args[i] = &scalars[i];
                continue;
            }
            arrays[i] = bytes[i] ? aligned_alloc(64, (bytes[i] + 63) / 64 * 64) : nullptr;
            read_bytes(arrays[i], bytes[i]);
            args[i] = &arrays[i];
        }
        const char *error = entry(grid, block, shared, args.data()) ? kernel_error() : "";
        write_number(strlen(error));
        if (*error) fwrite(error, strlen(error), 1, stdout);
        for (int i = 0; i < count; ++i) {
            if (!*error && arrays[i]) fwrite(arrays[i], bytes[i], 1, stdout);
            free(arrays[i]);
        }
    }
}
