// A sum in one launch: each block leaves its part in memory, and the last block to finish adds up the parts, in an order
// that is always the same. To know whether it is the last, each block draws a ticket.

// Whether this block is the last of so many to get here. Then what the others have stored before can be read. The counter
// is 0 before the launch and after it.
__device__ __forceinline__ bool is_last(unsigned *counter, unsigned blocks) {
    SHARED(unsigned, ticket, [1]);
    __threadfence();  // what this thread has stored is in memory before the block draws its ticket
    __syncthreads();
    if (threadIdx.x == 0) ticket[0] = atomicInc(counter, blocks - 1);
    __syncthreads();
    bool last = ticket[0] == blocks - 1;
    if (last) __threadfence();  // and what the others stored before they drew theirs is read anew
    return last;
}
