// Tensor cores: a warp multiplies small matrices in one instruction. Its lanes hold the matrices together, each a
// fragment of them in its registers.
//
//     load_rows_of_four(a, row)      ldmatrix: four 8 x 4 matrices from shared memory into fragments
//     multiply_tf32(d, a, b)         D += A B        16 x 8 += (16 x 8) (8 x 8),  factors of 10 bits after the point
//     multiply_bf16(d, a, b)         D += A B        16 x 8 += (16 x 16) (16 x 8), factors of 7 bits after the point
//
// Sums are float32 in both. Which lane holds which number is laid down in the PTX ISA, "Matrix Fragments for
// mma.m16n8k8" and "... for mma.m16n8k16". With group = lane / 4 and member = lane % 4:
//
//     tf32   a[0..3]   (row, k) = (group, member), (group + 8, member), (group, member + 4), (group + 8, member + 4)
//            b[0..1]   (k, column) = (member, group), (member + 4, group)
//     bf16   a[0..3]   two numbers, k and k + 1: (row, k) = (group, 2 member), (group + 8, 2 member),
//                      (group, 2 member + 8), (group + 8, 2 member + 8)
//            b[0..1]   two numbers, k and k + 1: (k, column) = (2 member, group), (2 member + 8, group)
//     both   d[0..3]   (row, column) = (group, 2 member), (group, 2 member + 1), and the same of row group + 8
//
// Without CUDA's compiler the lanes of a warp exchange their registers, and each works out its own four numbers of D. A
// GPU sums the products of a step in a way of its own, so the last bits differ. But there too the sum is rounded
// towards zero (Fasi, Higham, Mikaitis and Pranesh 2021, on V100, T4 and A100), so long sums drift.
// tests/device/test_mma.py compares both with the tables of the PTX ISA.
//
// GPUs before sm_80 have none of this.

typedef unsigned Fragment[4];  // of A; B has the first two

// The float that these bits are.
static __device__ __forceinline__ float float_of(unsigned bits) {
#ifndef __CUDACC__
    float x;
    memcpy(&x, &bits, 4);
    return x;
#else
    return __uint_as_float(bits);
#endif
}

static __device__ __forceinline__ unsigned bits_of(float x) {
#ifndef __CUDACC__
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
#else
    return __float_as_uint(x);
#endif
}

// A float as a factor of multiply_tf32: rounded to 10 bits after the point, halves away from zero.
static __device__ __forceinline__ unsigned as_tf32(float x) {
#ifndef __CUDACC__
    unsigned bits = bits_of(x);
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;  // infinity and NaN stay
#elif __CUDA_ARCH__ >= 800
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
#else
    return 0;
#endif
}

// Two floats as a pair for multiply_bf16: rounded to 7 bits after the point, halves to even.
static __device__ __forceinline__ unsigned as_bf16_pair(float first, float second) {
#ifndef __CUDACC__
    auto rounded = [](float x) {
        unsigned bits = bits_of(x);
        if (x != x) return 0x7fffu;
        return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    };
    return rounded(second) << 16 | rounded(first);
#elif __CUDA_ARCH__ >= 800
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
#else
    return 0;
#endif
}

#ifndef __CUDACC__
// x as a float, rounded towards zero.
inline float towards_zero(double x) {
    float nearest = float(x);
    bool beyond = fabs(double(nearest)) > fabs(x) && fabs(double(nearest)) < HUGE_VAL;
    return beyond ? float_of(bits_of(nearest) - 1) : nearest;
}

struct LaneFactors {
    unsigned a[4], b[2];
};

// This lane's four numbers of D += A B, from what every lane of the warp has in its registers: PACKED numbers in each.
// number(bits, k) is the one for step k.
template <int PACKED, class Number>
void multiply_in_turn(float (&d)[4], const Fragment &a, const unsigned *b, Number number, const char *file, int line) {
    LaneFactors mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    uint64_t words[CUDA_EXCHANGED];
    memcpy(words, &mine, sizeof words);
    auto *of = reinterpret_cast<const LaneFactors *>(cuda_exchange(words, file, line));
    int group = cuda_lane() / 4, member = cuda_lane() % 4;
    for (int e = 0; e < 4; ++e) {
        int column = 2 * member + e % 2;
        double sum = 0;
        for (int k = 0; k < 8 * PACKED; ++k) {
            int lane = k / PACKED % 4, half = k / PACKED / 4;
            unsigned left = of[group * 4 + lane].a[e / 2 + half * 2], right = of[column * 4 + lane].b[half];
            sum += double(number(left, k)) * number(right, k);
        }
        d[e] = towards_zero(d[e] + sum);
    }
}
#define MMA_SITE , CUDA_SITE
#else
#define MMA_SITE
#endif

static __device__ __forceinline__ void multiply_tf32(float (&d)[4], const Fragment &a, const unsigned *b MMA_SITE) {
#ifndef __CUDACC__
    // it looks at no bits but these
    multiply_in_turn<1>(d, a, b, [](unsigned bits, int) { return float_of(bits & 0xffffe000u); }, file, line);
#elif __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();
#endif
}

static __device__ __forceinline__ void multiply_bf16(float (&d)[4], const Fragment &a, const unsigned *b MMA_SITE) {
#ifndef __CUDACC__
    auto of_pair = [](unsigned pair, int k) { return float_of(k % 2 ? pair & 0xffff0000u : pair << 16); };
    multiply_in_turn<2>(d, a, b, of_pair, file, line);
#elif __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();
#endif
}

// ldmatrix. Lane l says where a row of four numbers begins in shared memory, at a multiple of 16 bytes: row l % 8 of
// matrix l / 8. The lane gets number l % 4 of row l / 4 of each of the four matrices.
static __device__ __forceinline__ void load_rows_of_four(Fragment &to, const float *row MMA_SITE) {
#ifndef __CUDACC__
    uint64_t words[CUDA_EXCHANGED] = {reinterpret_cast<uint64_t>(row)};
    auto rows = cuda_exchange(words, file, line);
    for (int i = 0; i < 4; ++i)
        memcpy(&to[i], reinterpret_cast<const float *>(rows[8 * i + cuda_lane() / 4][0]) + cuda_lane() % 4, 4);
#elif __CUDA_ARCH__ >= 800
    unsigned from = unsigned(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
#else
    __trap();
#endif
}
