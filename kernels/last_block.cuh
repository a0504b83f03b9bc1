// The last block of several to finish does what is left, with what all of them have stored. It needs no launch of its
// own for that. Which block is the last one differs from run to run, but not what it computes: it reads everything in a
// fixed order.

// Whether this block is the last of `blocks` blocks to get here. Then what the others have stored before can be read.
// *tickets is 0 before the launch and after it.
__device__ __forceinline__ bool is_last(unsigned *tickets, unsigned blocks) {
    SHARED(unsigned, ticket, [1]);
    __threadfence();  // what this thread has stored is in memory before the block draws its ticket
    __syncthreads();
    if (threadIdx.x == 0) ticket[0] = atomicInc(tickets, blocks - 1);
    __syncthreads();
    bool last = ticket[0] == blocks - 1;
    if (last) __threadfence();  // and what the others stored before they drew theirs is read anew
    return last;
}
